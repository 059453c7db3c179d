//! Which checkpoint `--resume` means.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::checkpoint::Checkpoint;
use super::find;
use super::run_dir::{checkpoints, has_marks, holder};
use super::settings::Settings;

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

    /// Loads the newest checkpoint of the run of these settings that is whole; nothing if there is none, so that the run has to begin.
    ///
    /// # Errors
    /// One line: the run has no name by which it could be found again.
    pub fn find(settings: &Settings) -> Result<Option<Self>> {
        let Some(name) = &settings.run_name else {
            bail!("--resume auto looks for the run of that name; say it with --run-name");
        };
        let all = checkpoints(&settings.checkpoint_dir.join(name)).unwrap_or_default();
        let whole = |path: PathBuf| {
            let checkpoint = Checkpoint::load(&path).ok()?;
            Some(Self { path, checkpoint, rewind: false })
        };
        Ok(all.into_iter().rev().find_map(|(_, path)| whole(path)))
    }

    /// The directory that holds the checkpoint, or of its run.
    pub fn directory(&self) -> &Path {
        holder(&self.path)
    }

    /// Whether that is the directory of a run, which then goes on there. From one that lies anywhere else a run goes on
    /// in a directory of its own, and nothing beside the checkpoint is touched.
    pub fn is_in_run(&self) -> bool {
        has_marks(self.directory())
    }
}

/// The newest checkpoint beside `path` that is older and loads.
fn older_checkpoint(path: &Path) -> Option<PathBuf> {
    let all = checkpoints(holder(path)).ok()?;
    let place = all.iter().position(|(_, other)| other.file_name() == path.file_name())?;
    all[..place].iter().rev().map(|(_, path)| path).find(|path| Checkpoint::load(path).is_ok()).cloned()
}
