//! The checkpoints in run directories, and which of them `--resume` means.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::{entries, has_marks, numbered};
use crate::trainer::checkpoint::Checkpoint;
use crate::trainer::files::directory_of;
use crate::trainer::find;

/// The checkpoints of a run directory, oldest first, each with its update.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered_files(directory, "checkpoint_", ".ckpt")
}

/// The files `<prefix><number><suffix>` in a directory by their numbers.
pub fn numbered_files(directory: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let number = |name: &OsStr| numbered(&name.to_string_lossy(), prefix, suffix);
    let names = entries(directory)?;
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((number(name)?, directory.join(name)))).collect();
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
    /// Loads what `--resume` names (see [`find::checkpoint`]).
    ///
    /// # Errors
    /// One line: nothing there, or why the file cannot be loaded and which older one to take instead.
    pub fn open(request: &Path, checkpoint_dir: &Path) -> Result<Self> {
        let path = find::checkpoint(request, checkpoint_dir)?;
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

/// The newest checkpoint beside `path` that is older and loads.
fn older_checkpoint(path: &Path) -> Option<PathBuf> {
    let update = numbered(&path.file_name()?.to_string_lossy(), "checkpoint_", ".ckpt")?;
    let older = checkpoints(directory_of(path)).ok()?.into_iter().rev().filter(|(other, _)| *other < update);
    older.map(|(_, path)| path).find(|path| Checkpoint::load(path).is_ok())
}
