//! What is a run's own: the directories that are runs, and the names of the files that a run writes.
//!
//! A directory may be anybody's. Only one with a run's own marks is taken for a run, and only what a run writes is
//! touched in it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

use super::owner::Owner;
use super::{CHECKPOINTS, DOCUMENT, POOL, entries, numbered, presence};
use crate::trainer::files;
use crate::trainer::status::{META, Status, read_meta};

/// Files and folders of a run whose names have no number.
const NAMES: [&str; 33] = [
    "config.toml",
    DOCUMENT,
    CHECKPOINTS,
    POOL,
    META,
    "status.json",
    "summary.json",
    "owner.json",
    "pid",
    "stop",
    "save",
    "final_params.safetensors",
    "best_params.safetensors",
    "metrics.jsonl",
    "curves.jsonl",
    "pool.jsonl",
    "updates.csv",
    "episodes.csv",
    "warnings.jsonl",
    "tensorboard",
    "wandb",
    ".uploads",
    ".mlflow_uploads",
    ".neptune",
    "superseded",
    "wandb.json",
    "mlflow.json",
    "neptune.json",
    "config.json",
    "run_metadata.json",
    "replay_index.json",
    "metrics",
    "replays",
];

/// What stands before and after the number in the names of others.
const NUMBERED: [(&str, &str); 7] = [
    ("checkpoint_", ".ckpt"),
    ("params_", ".safetensors"),
    ("phase_", "_complete.ckpt"),
    ("nonfinite_", ".ckpt"),
    ("metrics_", ".jsonl"),
    ("updates_", ".csv"),
    ("episodes_", ".csv"),
];

/// Whether a run writes files of this name.
pub fn is_own_file(name: &str) -> bool {
    NAMES.contains(&name) || NUMBERED.iter().any(|(before, after)| numbered(name, before, after).is_some())
}

/// Whether a run writes to this name before it renames the file to its own.
fn is_own_temporary(name: &str) -> bool {
    files::is_temporary(name).is_some_and(is_own_file)
}

/// Whether a directory is that of a run, by what lockstep has written there.
pub fn has_marks(directory: &Path) -> bool {
    let is_ours = |meta: Map<String, Value>| {
        meta.get("id").or(meta.get("lockstep_version")).is_some_and(Value::is_string)
    };
    read_meta(directory).is_some_and(is_ours)
        || Status::read(directory).is_ok()
        || Owner::read(directory).is_some()
}

/// Whether a new run may have this directory: it is empty, or that of a run that ended before it had anything to keep.
pub fn is_vacant(directory: &Path) -> bool {
    let is_directory = fs::symlink_metadata(directory).is_ok_and(|data| data.is_dir());
    let Some(names) = entries(directory).ok().filter(|_| is_directory) else { return false };
    let keeps_nothing = |name: &str| match name {
        "metrics.jsonl" => fs::metadata(directory.join(name)).is_ok_and(|data| data.len() == 0),
        "superseded" => false,
        CHECKPOINTS | POOL | "metrics" | "replays" => {
            entries(&directory.join(name)).is_ok_and(|names| names.is_empty())
        }
        _ => is_own_temporary(name) || (is_own_file(name) && !holds_state(name)),
    };
    names.iter().all(|name| name.to_str().is_some_and(keeps_nothing)) && !presence(directory).may_be_alive()
}

/// Whether a file of this name holds something that was learned.
fn holds_state(name: &str) -> bool {
    name.ends_with(".ckpt") || name.ends_with(".safetensors")
}

/// Empties a vacant directory.
pub(super) fn clear(directory: &Path) -> Result<()> {
    for name in entries(directory)? {
        let path = directory.join(name);
        let is_directory = fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
        let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Moves what a run has written to `superseded/`, but for its checkpoints, so that another run can begin in its directory.
pub(super) fn set_aside(directory: &Path) -> Result<()> {
    let target = directory.join("superseded");
    let is_moved = |name: &str| is_own_file(name) && name != CHECKPOINTS && name != "superseded";
    for name in entries(directory)?.iter().filter_map(|name| name.to_str()).filter(|name| is_moved(name)) {
        files::make_own_directory(&target)?;
        let (from, to) = (directory.join(name), target.join(name));
        if to.is_dir() {
            fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        fs::rename(&from, &to).with_context(|| format!("cannot move {}", from.display()))?;
    }
    Ok(())
}

/// Removes what a killed process left half-written in the directory of a run.
pub(super) fn remove_leftovers(directory: &Path) -> Result<()> {
    for name in entries(directory)? {
        if name.to_str().is_some_and(is_own_temporary) {
            let path = directory.join(name);
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// Refuses a directory that is no run's.
///
/// # Errors
/// One line that says what is missing.
pub(super) fn check_is_run(directory: &Path) -> Result<()> {
    ensure!(
        has_marks(directory),
        "{} is not the directory of a run: no meta.json, status.json or owner.json of lockstep is there",
        directory.display()
    );
    Ok(())
}
