//! Which checkpoint `--resume` means.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::checkpoint::Checkpoint;
use super::files::directory_of;
use super::find;
use super::run_dir::{checkpoints, has_marks, numbered};
use super::windows::CHECKPOINTS;

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

    /// The directory that holds the checkpoint; of one of a window, that of the run.
    pub fn directory(&self) -> &Path {
        let directory = directory_of(&self.path);
        let of_window = directory.file_name().is_some_and(|name| name == CHECKPOINTS);
        directory.parent().filter(|run| of_window && has_marks(run)).unwrap_or(directory)
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
