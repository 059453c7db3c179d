//! The checkpoints in run directories, and the parameters beside them.
//!
//! They are called by their update, `checkpoint_<update>.ckpt`, or lie in a directory of their own and are called by their step,
//! `checkpoints/<prefix>_<step>.ckpt`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

use super::{CHECKPOINTS, entries, has_marks, numbered};
use crate::trainer::files::directory_of;

/// The checkpoints of a run directory, oldest first, each with its update or, if they are called so, with its step.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let by_update = numbered_files(directory, "checkpoint_", ".ckpt")?;
    if by_update.is_empty() { by_step(directory, ".ckpt") } else { Ok(by_update) }
}

/// The files that are called by their step, oldest first.
fn by_step(directory: &Path, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let directory = directory.join(CHECKPOINTS);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let step = |name: &str| name.strip_suffix(suffix)?.rsplit_once('_')?.1.parse().ok();
    sorted(&directory, step)
}

/// The files `<prefix><number><suffix>` in a directory by their numbers.
pub fn numbered_files(directory: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
    sorted(directory, |name| numbered(name, prefix, suffix))
}

fn sorted(directory: &Path, number: impl Fn(&str) -> Option<u64>) -> Result<Vec<(u64, PathBuf)>> {
    let names = entries(directory)?;
    let mut found: Vec<_> = names
        .iter()
        .filter_map(|name| Some((number(&name.to_string_lossy())?, directory.join(name))))
        .collect();
    found.sort();
    Ok(found)
}

/// The files of a run that are called by a step after so many.
pub(super) fn saved_after(directory: &Path, timesteps: u64) -> Result<Vec<PathBuf>> {
    let files = [by_step(directory, ".ckpt")?, by_step(directory, ".safetensors")?].concat();
    Ok(files.into_iter().filter(|(step, _)| *step > timesteps).map(|(_, path)| path).collect())
}

/// Where the parameters are that were saved with a checkpoint.
pub fn params_beside(checkpoint: &Path) -> PathBuf {
    let name = checkpoint.file_name().unwrap_or_default().to_string_lossy();
    match numbered(&name, "checkpoint_", ".ckpt") {
        Some(update) => checkpoint.with_file_name(format!("params_{update}.safetensors")),
        None => checkpoint.with_extension("safetensors"),
    }
}

/// The directory of the run that a file belongs to, if it belongs to one: that of the file, or the one around it.
pub fn holder(file: &Path) -> &Path {
    let directory = directory_of(file);
    match directory.file_name().zip(directory.parent()) {
        Some((name, run)) if name == CHECKPOINTS && has_marks(run) => directory_of(directory),
        _ => directory,
    }
}

/// Removes all but the newest `keep` checkpoints of a run, and their parameters.
///
/// # Errors
/// One line that names the file.
pub fn keep_newest(path: &Path, keep: usize) -> Result<()> {
    let mut old = checkpoints(path)?;
    old.truncate(old.len().saturating_sub(keep));
    for (_, checkpoint) in old {
        // The checkpoint last: as long as it is there, a process that is killed in between leaves nothing that no later one
        // finds.
        for file in [params_beside(&checkpoint), checkpoint] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
