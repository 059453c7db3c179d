//! What happens when a metric is no finite number: the state before it is kept, then the run fails or goes back.
//!
//! How that state is found again is `recovery`'s business.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Session;
use super::begin::{open_journal, open_logs, read_back};
use super::follow::open_windows;
use super::opponents::open_pool;
use crate::trainer::checkpoint::Checkpoint;
use crate::trainer::evaluation;
use crate::trainer::recovery;
use crate::trainer::run_dir;
use crate::trainer::settings::OnNan;

/// How often a run may go back to a checkpoint because of a value that is not finite.
const MOST_ROLLBACKS: u32 = 3;

impl Session<'_> {
    /// The chunk that would follow has a metric that is no finite number, `index` updates from here: goes to the state
    /// before it, keeps that, and does what the settings say.
    pub(super) fn fail_on_non_finite(&mut self, rows: &[Vec<f32>], index: usize) -> Result<()> {
        let column =
            rows[index].iter().position(|value| !value.is_finite()).expect("the row was found by it");
        let (name, value) = (&self.learner.metrics()[column].name, rows[index][column]);
        let before = self.progress.update + index as u64;
        let mut what = format!("{name} is {value} at update {}", before + 1);
        let healthy = match &self.snapshot {
            Some(snapshot) => snapshot.replay_to_health(&mut *self.learner, before)?,
            None => before,
        };
        if healthy < before {
            what += &format!(" and parameters are not finite since update {}", healthy + 1);
        }
        rows[..healthy.saturating_sub(self.progress.update) as usize].iter().for_each(|row| self.add(row));
        let path = self.run.file(&format!("nonfinite_{healthy}.ckpt"));
        let mut kept = self.checkpoint()?;
        kept.progress.update = healthy; // what else it counts may be ahead of a state before this chunk
        kept.save(&path)?;
        let what = format!("{what}; the state before it is kept in {}", path.display());
        self.alert("a value is not finite", &what);
        if self.settings.on_nan == OnNan::Rollback && self.rollbacks < MOST_ROLLBACKS {
            self.console.warn(&what);
            return self.roll_back();
        }
        let kept = self.what_is_kept();
        let run = self.run.path().display();
        bail!(
            "{what}; {kept}: continue from an earlier checkpoint with a lower --lr, or start afresh; \
             `lockstep runs diagnose {run}` says more"
        )
    }

    /// Goes back to the newest checkpoint and on from there with other random numbers.
    fn roll_back(&mut self) -> Result<()> {
        self.rollbacks += 1;
        let (path, checkpoint) = self.newest_healthy()?;
        self.take_up(path.clone(), checkpoint)?;
        self.learner.reseed(self.rollbacks)?;
        let (path, count) = (path.display(), self.rollbacks);
        self.console.say(&format!("rolled back to {path} ({count} of at most {MOST_ROLLBACKS} times)"));
        Ok(())
    }

    /// Goes on from a checkpoint, whose logs are those of this run.
    pub(super) fn take_up(&mut self, path: PathBuf, checkpoint: Checkpoint) -> Result<()> {
        self.wait_for_replays();
        self.learner.load_state(&checkpoint.state)?;
        if let Some(row) = &self.last_row {
            self.trackers.skip_to(row.update);
        }
        self.progress = checkpoint.progress;
        evaluation::restore(self.run.path(), checkpoint.best.as_ref(), self.params_metadata())?;
        self.best = checkpoint.best;
        let Session { settings, facts, run, learner, columns, progress, .. } = self;
        self.logs = open_logs(settings, run, progress, columns, &**learner)?;
        self.journal = open_journal(settings, run, progress)?;
        self.windows = open_windows(settings, run, facts, &**learner, progress)?;
        self.pool = open_pool(settings, run, &**learner)?;
        (self.health, self.recent) = read_back(run, learner.metrics(), settings.health)?;
        self.saved = Some((self.progress.update, path));
        self.snapshot = None;
        Ok(())
    }

    /// The newest checkpoint whose parameters are all finite: one may have been saved before any metric showed it.
    fn newest_healthy(&mut self) -> Result<(PathBuf, Checkpoint)> {
        for (_, path) in run_dir::checkpoints(self.run.path())?.into_iter().rev() {
            let mut checkpoint = Checkpoint::load(&path)?;
            checkpoint.match_state(&path, &self.learner.state_types())?;
            self.learner.load_state(&checkpoint.state)?;
            if recovery::is_healthy(&*self.learner)? {
                return Ok((path, checkpoint));
            }
        }
        bail!("there is no checkpoint to go back to")
    }
}
