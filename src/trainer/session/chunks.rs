//! The chunk loop: the device computes, and between chunks the host sees what is due.
//!
//! A chunk ends at the latest where something is logged, evaluated or saved, so that what is kept does not depend on how long
//! chunks are.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Session;
use crate::algorithms::curriculum;
use crate::trainer::recovery::Snapshot;
use crate::trainer::status::State;

/// How long a chunk should take: short enough for a prompt Ctrl-C, long enough that the host costs nothing.
pub const CHUNK_SECONDS: f64 = 1.0;

impl Session<'_> {
    /// Trains until the run is complete or asked to stop.
    pub(super) fn run_chunks(&mut self) -> Result<State> {
        loop {
            if let Some(state) = self.ending() {
                return Ok(state);
            }
            let updates = self.chunk_size();
            self.prepare()?;
            let begin = Instant::now();
            let rows = self.learner.run(updates)?;
            self.take(rows, updates, begin.elapsed())?;
        }
    }

    /// How the run ends, if it ends here: complete, or asked to stop.
    pub fn ending(&self) -> Option<State> {
        if self.progress.update >= self.num_updates {
            return Some(State::Completed);
        }
        let is_asked =
            self.signals.stop_is_asked() || self.console.stop_is_asked() || self.run.has_stop_file();
        is_asked.then_some(State::Stopped)
    }

    /// Does what must be done before the learner runs a chunk.
    pub fn prepare(&mut self) -> Result<()> {
        if self.snapshot.as_ref().is_none_or(Snapshot::is_old) {
            self.snapshot = Some(Snapshot::take(self.learner, self.progress.update)?);
        }
        Ok(())
    }

    /// Takes in the metrics of a chunk of `updates` that the learner has run, then logs, evaluates and saves what is due.
    pub fn take(&mut self, rows: Vec<Vec<f32>>, updates: usize, elapsed: Duration) -> Result<()> {
        self.seconds_per_update = Some(elapsed.as_secs_f64() / updates as f64);
        if !self.add_chunk(rows, updates)? {
            return Ok(()); // it was undone
        }
        let evaluated = self.evaluate_if_due();
        // An evaluation ends the interval, so that its row is that of its update.
        if evaluated.is_some() || self.progress.update.is_multiple_of(self.settings.log_interval) {
            self.log_interval(evaluated.unwrap_or_default());
        }
        self.save_finished_phase()?;
        self.save_if_wanted();
        self.heartbeat();
        Ok(())
    }

    /// Updates of the next chunk: about a second's worth, ending at the latest where something is logged,
    /// evaluated or saved, or where a phase of the curriculum may end.
    pub fn chunk_size(&self) -> usize {
        let update = self.progress.update;
        let paced = match self.seconds_per_update {
            Some(seconds) => (CHUNK_SECONDS / seconds.max(1e-9)) as u64,
            None => 1, // to learn how long one takes
        };
        let limits = [
            until_multiple(update, self.settings.log_interval),
            self.settings.eval_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.settings.save_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.learner.updates_to_phase_end(update),
            self.num_updates - update,
            self.learner.max_updates() as u64,
        ];
        limits.into_iter().fold(paced, u64::min).max(1) as usize
    }

    /// Takes in the metrics of a chunk. Says whether it counts: not if the run was rolled back instead.
    fn add_chunk(&mut self, rows: Vec<Vec<f32>>, updates: usize) -> Result<bool> {
        let width = self.progress.interval.names().len();
        ensure!(
            rows.len() == updates && rows.iter().all(|row| row.len() == width),
            "the learner gave {} rows for {updates} updates of {width} metrics",
            rows.len()
        );
        if let Some(index) = rows.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            return self.fail_on_non_finite(&rows, index).map(|()| false);
        }
        for row in &rows {
            self.add(row);
        }
        let now = Instant::now();
        let seconds = (now - self.chunk_end).as_secs_f64();
        self.chunk_end = now;
        self.progress.seconds += seconds;
        self.progress.interval.seconds += seconds;
        let last = rows.last().expect("a chunk has updates");
        let value = |name| self.progress.interval.value(last, name);
        self.last_return = value("mean_episode_return");
        self.last_phase = value(curriculum::METRIC).map(|phase| phase as usize);
        self.console.progress(
            self.progress.update,
            self.steps_per_second(),
            self.last_return,
            value("entropy"),
        );
        Ok(true)
    }

    /// Takes in the metrics of one update.
    pub(super) fn add(&mut self, row: &[f32]) {
        let progress = &mut self.progress;
        progress.update += 1;
        progress.timesteps += self.learner.timesteps_per_update();
        progress.episodes += progress.interval.value(row, "num_episodes").unwrap_or(0.0) as u64;
        progress.interval.add(row);
    }
}

/// Updates from `update` to the next multiple of `interval`, 1 to `interval`.
fn until_multiple(update: u64, interval: u64) -> u64 {
    interval - update % interval
}
