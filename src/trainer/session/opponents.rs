//! The pool of opponents, as a run goes on: chunks end with the update in which an agent may be frozen.

use anyhow::Result;

use super::Session;
use crate::algorithms::Learner;
use crate::trainer::pool::{Followed, Pool};
use crate::trainer::progress::Progress;
use crate::trainer::run_dir::RunDir;
use crate::trainer::settings::Settings;

/// Opens the pool of a run, if its learner has one.
pub(super) fn open_pool(settings: &Settings, run: &RunDir, learner: &dyn Learner) -> Result<Option<Pool>> {
    let faced = learner.faced()?;
    faced.map(|faced| Pool::open(run.path(), settings.seed, &faced, || learner.state())).transpose()
}

impl Session<'_> {
    /// Keeps an agent that was frozen in the chunk that was just run, and puts those in its place that are met next.
    pub(super) fn follow_pool(&mut self) -> Result<()> {
        if self.pool.is_none() {
            return Ok(());
        }
        let metadata = self.params_metadata().into_iter().collect();
        let (Some(pool), Some(faced)) = (&mut self.pool, self.learner.faced()?) else { return Ok(()) };
        let learner = &*self.learner;
        match pool.follow(&faced, &metadata, || learner.state())? {
            Followed::Nothing => return Ok(()),
            Followed::Frozen => {}
            Followed::Exchanged(state) => self.learner.load_state(&state)?,
        }
        if let Err(error) = self.log_pool() {
            self.console.warn(&format!("{error:#}; the line is kept for later"));
        }
        Ok(())
    }

    /// Logs how things stand with the opponents, if there is a pool of them.
    pub(super) fn log_pool(&mut self) -> Result<()> {
        let Progress { update, timesteps, episodes, .. } = self.progress;
        let (Some(pool), Some(faced)) = (&mut self.pool, self.learner.faced()?) else { return Ok(()) };
        let line = pool.line(update, timesteps, episodes, &faced);
        line.map_or(Ok(()), |line| self.logs.pool(&line))
    }
}
