//! The checkpoints in run directories, and which of them `--resume` means.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::{entries, has_marks, numbered};
use crate::trainer::checkpoint::{self, Checkpoint};
use crate::trainer::files::directory_of;

/// The checkpoints of a run directory, oldest first, each with its update.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let update = |name: &OsStr| numbered(&name.to_string_lossy(), "checkpoint_", ".ckpt");
    let names = entries(directory)?;
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((update(name)?, directory.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// Removes all but the newest `keep` checkpoints of a run, and their parameters.
///
/// # Errors
/// One line that names the file.
pub fn keep_newest(path: &Path, keep: usize) -> Result<()> {
    let mut old = checkpoints(path)?;
    old.truncate(old.len().saturating_sub(keep));
    for (update, checkpoint) in old {
        let params = path.join(format!("params_{update}.safetensors"));
        // The checkpoint last: as long as it is there, a process that is killed in between leaves nothing that no later one
        // finds.
        for file in [params, checkpoint] {
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

/// A checkpoint to continue from.
#[derive(Clone, Debug)]
pub struct Resumed {
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
    /// Whether the history at W&B is to end at the checkpoint, too. Without, it goes on after its last step.
    pub rewind: bool,
}

impl Resumed {
    /// Loads what `--resume` names: a checkpoint, a run directory or a run's name (its newest checkpoint), or
    /// `latest` (the newest checkpoint of all runs).
    ///
    /// # Errors
    /// One line: nothing there, or why the file cannot be loaded and which older one to take instead.
    pub fn open(request: &Path, checkpoint_dir: &Path) -> Result<Self> {
        let path = find_checkpoint(request, checkpoint_dir)?;
        match Checkpoint::load(&path) {
            Ok(checkpoint) => Ok(Self { path, checkpoint, rewind: false }),
            Err(error) => match older_checkpoint(&path) {
                Some(older) if error.is_damage() => {
                    bail!("{error}; the one before it is {}", older.display())
                }
                _ => bail!(error),
            },
        }
    }

    /// The directory that holds the checkpoint.
    pub fn directory(&self) -> &Path {
        directory_of(&self.path)
    }

    /// Whether that is the directory of a run, which then goes on there. From one that lies anywhere else a run goes on
    /// in a directory of its own, and nothing beside the checkpoint is touched.
    pub fn is_in_run(&self) -> bool {
        has_marks(self.directory())
    }
}

fn find_checkpoint(request: &Path, checkpoint_dir: &Path) -> Result<PathBuf> {
    let by_name = checkpoint_dir.join(request);
    if request.is_file() {
        Ok(request.to_path_buf())
    } else if request.is_dir() {
        newest_in(request)
    } else if request == Path::new("latest") {
        newest_of_all(checkpoint_dir)
    } else if by_name.is_dir() {
        newest_in(&by_name)
    } else {
        bail!(checkpoint::Error::Missing(request.into()))
    }
}

fn newest_in(run: &Path) -> Result<PathBuf> {
    match checkpoints(run)?.pop() {
        Some((_, path)) => Ok(path),
        None => bail!("there is no checkpoint in {}", run.display()),
    }
}

fn newest_of_all(checkpoint_dir: &Path) -> Result<PathBuf> {
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for run in if checkpoint_dir.is_dir() { entries(checkpoint_dir)? } else { Vec::new() } {
        let Ok(mut found) = checkpoints(&checkpoint_dir.join(run)) else { continue }; // no directory
        let Some((_, path)) = found.pop() else { continue };
        let modified = fs::metadata(&path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if newest.as_ref().is_none_or(|(time, _)| modified > *time) {
            newest = Some((modified, path));
        }
    }
    match newest {
        Some((_, path)) => Ok(path),
        None => bail!("there is no checkpoint in any run of {}", checkpoint_dir.display()),
    }
}

/// The newest checkpoint beside `path` that is older and loads.
fn older_checkpoint(path: &Path) -> Option<PathBuf> {
    let update = numbered(&path.file_name()?.to_string_lossy(), "checkpoint_", ".ckpt")?;
    let older = checkpoints(directory_of(path)).ok()?.into_iter().rev().filter(|(other, _)| *other < update);
    older.map(|(_, path)| path).find(|path| Checkpoint::load(path).is_ok())
}
