//! The chunk loop: the device computes, and between chunks the host sees what is due.
//!
//! A chunk ends at the latest where something is logged, evaluated or saved, so that what is kept does not depend on how long
//! chunks are.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Session;
use super::report::Evaluated;
use crate::algorithms::recording::Ended;
use crate::algorithms::schedule::Rates;
use crate::algorithms::{curriculum, metrics};
use crate::trainer::console::Pulse;
use crate::trainer::evaluation;
use crate::trainer::metrics::{Interval, Row, timesteps};
use crate::trainer::progress::Progress;
use crate::trainer::recovery::Snapshot;
use crate::trainer::status::State;

/// How long a chunk should take: short enough for a prompt Ctrl-C, long enough that the host costs nothing.
pub const CHUNK_SECONDS: f64 = 1.0;

impl Session<'_> {
    /// Trains until the run is complete or asked to stop.
    pub(super) fn run_chunks(&mut self) -> Result<State> {
        self.catch_up()?;
        loop {
            if let Some(state) = self.ending() {
                return Ok(state);
            }
            let updates = self.chunk_size()?;
            self.run_chunk(updates)?;
        }
    }

    /// Runs a chunk and does what is due after it. Gives the metrics of its updates.
    pub(super) fn run_chunk(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        self.prepare()?;
        let begin = Instant::now();
        let rows = self.learner.run(updates)?;
        self.take(&rows, updates, begin.elapsed())?;
        Ok(rows)
    }

    /// How the run ends, if it ends here: complete, or asked to stop.
    pub fn ending(&self) -> Option<State> {
        let all_done = self.progress.update >= self.num_updates || self.has_all_ticks();
        let is_asked = self.stop_is_asked();
        // The last update may have an evaluation that was interrupted.
        if is_asked && (!all_done || self.is_behind()) {
            return Some(State::Stopped);
        }
        all_done.then_some(State::Completed)
    }

    /// Whether a signal, the screen or a file asks the run to end.
    pub(super) fn stop_is_asked(&self) -> bool {
        self.signals.stop_is_asked() || self.console.stop_is_asked() || self.run.has_stop_file()
    }

    /// Does what must be done before the learner runs a chunk.
    pub fn prepare(&mut self) -> Result<()> {
        if self.snapshot.as_ref().is_none_or(Snapshot::is_old) {
            self.snapshot = Some(Snapshot::take(&*self.learner, self.progress.update)?);
        }
        Ok(())
    }

    /// Takes in the metrics of a chunk of `updates` that the learner has run, then logs, evaluates and saves what is due.
    pub fn take(&mut self, rows: &[Vec<f32>], updates: usize, elapsed: Duration) -> Result<()> {
        self.seconds_per_update = Some(elapsed.as_secs_f64() / updates as f64);
        self.timings.updates += elapsed;
        self.chunk_begin = self.progress.timesteps;
        if !self.add_chunk(rows, updates)? {
            return Ok(()); // it was undone
        }
        self.follow_pool()?;
        let begin = Instant::now();
        self.follow()?;
        self.timings.evaluations += begin.elapsed();
        self.log_and_save()
    }

    /// Logs, evaluates and saves what is due after an update.
    fn log_and_save(&mut self) -> Result<()> {
        let ends_interval = self.progress.update.is_multiple_of(self.settings.log_interval);
        match self.evaluate_if_due() {
            // It ends the interval, so that its row is that of its update.
            Evaluated::Values(values) => self.log_interval(values),
            Evaluated::Nothing if ends_interval => self.log_interval(Vec::new()),
            Evaluated::Nothing | Evaluated::Interrupted => {}
        }
        self.save_finished_phase()?;
        self.save_if_wanted();
        self.heartbeat();
        Ok(())
    }

    /// Makes up for what was interrupted when the run stopped: replays, and an evaluation, whose interval is not logged yet.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        self.catch_up_with_windows();
        if self.is_behind() { self.log_and_save() } else { Ok(()) }
    }

    /// Whether an evaluation belongs after the last update, but did not end its interval.
    fn is_behind(&self) -> bool {
        let Progress { update, ref interval, .. } = self.progress;
        update > 0 && interval.updates > 0 && evaluation::is_due(&self.settings, update)
    }

    /// Updates of the next chunk: about a second's worth, ending at the latest where something is logged,
    /// evaluated or saved, or where a phase of the curriculum may end.
    pub fn chunk_size(&self) -> Result<usize> {
        let update = self.progress.update;
        let paced = match self.seconds_per_update {
            Some(seconds) => (CHUNK_SECONDS / seconds.max(1e-9)) as u64,
            None => 1, // to learn how long one takes
        };
        let steps = |interval: Option<u64>| {
            let left = interval.map(|interval| until_multiple(self.progress.timesteps, interval));
            left.map_or(u64::MAX, |left| left.div_ceil(self.learner.timesteps_per_update().max(1)))
        };
        let limits = [
            steps(self.settings.save_steps),
            steps(self.learner.freeze_every()),
            steps(self.settings.status_steps),
            until_multiple(update, self.settings.log_interval),
            self.settings.eval_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.settings.save_interval.map_or(u64::MAX, |interval| until_multiple(update, interval)),
            self.learner.updates_to_phase_end(update)?,
            self.updates_to_window_end(),
            self.num_updates - update,
            self.learner.max_updates() as u64,
        ];
        Ok(limits.into_iter().fold(paced, u64::min).max(1) as usize)
    }

    /// Takes in the metrics of a chunk. Says whether it counts: not if the run was rolled back instead.
    fn add_chunk(&mut self, rows: &[Vec<f32>], updates: usize) -> Result<bool> {
        let width = self.learner.metrics().len();
        ensure!(
            rows.len() == updates && rows.iter().all(|row| row.len() == width),
            "the learner gave {} rows for {updates} updates of {width} metrics",
            rows.len()
        );
        if let Some(index) = rows.iter().position(|row| row.iter().any(|value| !value.is_finite())) {
            return self.fail_on_non_finite(rows, index).map(|()| false);
        }
        let now = Instant::now();
        let seconds = (now - self.chunk_end).as_secs_f64();
        self.chunk_end = now;
        let (begin, per_update) = (self.progress.seconds, seconds / updates as f64);
        let (mut points, mut journal) = (Vec::new(), Vec::new());
        let mut ended = self.learner.episodes().unwrap_or_default().into_iter();
        for (index, row) in rows.iter().enumerate() {
            self.add(row);
            let ended = ended.next().unwrap_or_default();
            let point = || self.point(row, begin + (index + 1) as f64 * per_update, per_update);
            if self.progress.update.is_multiple_of(curve_interval(self.num_updates)) {
                points.push(point());
            }
            journal.extend(self.journal.is_some().then(|| (point(), ended)));
        }
        self.draw_on(&points);
        self.write_journal(&journal);
        self.progress.seconds += seconds;
        self.progress.interval.seconds += seconds;
        let last = rows.last().expect("a chunk has updates");
        let value = |name| metrics::value(self.learner.metrics(), last, name);
        self.last_phase = value(curriculum::METRIC).map(|phase| phase as usize);
        let entropy = value("train/entropy");
        self.console.progress(&Pulse {
            update: self.progress.update,
            steps_per_second: self.steps_per_second(),
            episode_return: self.recent.mean_return(),
            entropy,
        });
        Ok(true)
    }

    /// What the curves show of the update that was just taken in.
    fn point(&self, row: &[f32], wall_seconds: f64, seconds: f64) -> Row {
        let columns = self.learner.metrics();
        let mut update = Interval::new(columns);
        update.add(columns, row);
        Row {
            update: self.progress.update,
            timesteps: self.progress.timesteps,
            names: columns.iter().map(|metric| metric.name.to_string()).collect(),
            values: update.values(),
            steps_per_second: update.timesteps() as f64 / seconds.max(1e-9),
            updates_per_second: 1.0 / seconds.max(1e-9),
            wall_seconds,
            phases: None,
            episodes: self.progress.episodes,
            rates: Rates::default(),
            time: jiff::Timestamp::now(),
            naming: self.settings.metric_names,
        }
    }

    /// Adds updates to the files that the front of the run has beside its directory.
    fn write_journal(&mut self, updates: &[(Row, Vec<Ended>)]) {
        let num_updates = self.num_updates;
        let written = self.journal.as_mut().map_or(Ok(()), |journal| journal.take(updates, num_updates));
        if let Err(error) = written {
            self.console.warn(&format!("{error:#}; the lines are kept for later"));
        }
    }

    /// Adds to the curves. Of rows that cannot be written, the first are told.
    fn draw_on(&mut self, points: &[Row]) {
        let written = self.logs.curves(points);
        if let (Err(error), false) = (&written, self.curves_wait) {
            self.console.warn(&format!("{error:#}; the lines are kept for later"));
        }
        self.curves_wait = written.is_err();
    }

    /// Takes in the metrics of one update.
    pub(super) fn add(&mut self, row: &[f32]) {
        let (progress, columns) = (&mut self.progress, self.learner.metrics());
        progress.update += 1;
        progress.timesteps += timesteps(columns, row);
        let episodes = metrics::episodes(columns, row);
        progress.episodes += episodes as u64;
        progress.interval.add(columns, row);
        self.recent.add(episodes, metrics::value(columns, row, metrics::EPISODE_RETURN));
    }
}

/// Updates for one point of the curves: few enough for any screen, and a file that stays small.
fn curve_interval(num_updates: u64) -> u64 {
    const MOST_POINTS: u64 = 1 << 13;
    num_updates.div_ceil(MOST_POINTS).next_power_of_two()
}

/// Updates from `update` to the next multiple of `interval`, 1 to `interval`.
fn until_multiple(update: u64, interval: u64) -> u64 {
    interval - update % interval
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_have_every_update_of_a_short_run_and_stay_small_for_a_long_one() {
        assert_eq!([1, 8192, 8193, 20_000, 1 << 30].map(curve_interval), [1, 1, 2, 4, 1 << 17]);
    }
}
