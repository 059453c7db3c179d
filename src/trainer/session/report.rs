//! What those who follow a run hear of it: evaluations, rows of the logs, alerts, the status.
//!
//! None of it may stop a run: whatever cannot be evaluated or written is a warning.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Session;
use crate::trainer::evaluation::{self, Best, Evaluation};
use crate::trainer::metrics::{Interval, Row};
use crate::trainer::progress::Progress;
use crate::trainer::status::{self, Machine, State, Status};
use crate::trainer::trackers::Point;
use crate::trainer::utilisation::process_memory;

/// How often `status.json` is written.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often trackers are told how busy the machine is.
const MACHINE: Duration = Duration::from_secs(15);

/// What became of the evaluation after an update.
pub(super) enum Evaluated {
    /// None was due, or it failed.
    Nothing,
    /// The run is asked to stop. The evaluation is played when the run goes on.
    Interrupted,
    Values(Vec<Option<f32>>),
}

/// Rounded to six digits after the point.
fn six_digits(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Session<'_> {
    /// Plays the evaluation that belongs here, if one does, and keeps the parameters if they are the best so far. Gives
    /// its numbers for the logs. One that fails is a warning; a request to stop interrupts it.
    pub(super) fn evaluate_if_due(&mut self) -> Evaluated {
        let Progress { update, timesteps, .. } = self.progress;
        if !evaluation::is_due(&self.settings, update) {
            return Evaluated::Nothing;
        }
        let begin = Instant::now();
        let evaluated = self.evaluate();
        self.timings.evaluations += begin.elapsed();
        let evaluation = match evaluated {
            Ok(Some(evaluation)) => evaluation,
            Ok(None) => return Evaluated::Interrupted,
            Err(error) => {
                let text = format!("the evaluation at update {update} failed: {error:#}; training continues");
                self.console.warn(&text);
                self.alert("an evaluation failed", &text);
                return Evaluated::Nothing;
            }
        };
        let is_best = evaluation.beats(self.best.as_ref());
        self.console.announce(&evaluation.describe(&self.settings, update, is_best));
        let kept = if is_best { self.keep_best(evaluation.report.episode_return.mean) } else { Ok(()) };
        let logged = self.logs.episodes(update, timesteps, &evaluation.episodes);
        if let Err(error) = kept.and(logged) {
            self.console.warn(&format!("{error:#}; training continues"));
        }
        Evaluated::Values(evaluation.values())
    }

    /// Evaluates, and says meanwhile that the run lives.
    pub(super) fn evaluate(&self) -> Result<Option<Evaluation>> {
        let mut status = self.status(State::Running, None);
        let mut last = Instant::now();
        let mut go_on = || {
            if last.elapsed() >= HEARTBEAT {
                last = Instant::now();
                status.last_heartbeat = status::now();
                let _ = status.write(self.run.path()); // the next one may succeed
            }
            !self.stop_is_asked()
        };
        Evaluation::run(&self.settings, &*self.learner, self.progress.update, &mut go_on)
    }

    /// Keeps the parameters of this moment as the best.
    fn keep_best(&mut self, mean_return: f64) -> Result<()> {
        let Progress { update, timesteps, .. } = self.progress;
        let best = Best { update, timesteps, mean_return, params: self.learner.params()? };
        let metadata = self.params_metadata();
        self.best.insert(best).save(self.run.path(), metadata)
    }

    /// Logs the interval that ends here with the numbers of an evaluation, and begins the next.
    pub(super) fn log_interval(&mut self, evaluated: Vec<Option<f32>>) {
        let next = Interval::new(self.learner.metrics());
        let interval = std::mem::replace(&mut self.progress.interval, next);
        self.log(&interval, evaluated);
    }

    /// What an interval that ends here came to.
    pub(super) fn row(&self, interval: &Interval, evaluated: Vec<Option<f32>>) -> Row {
        let seconds = interval.seconds.max(1e-9);
        Row {
            update: self.progress.update,
            timesteps: self.progress.timesteps,
            names: self.columns.clone(),
            values: [interval.values(), evaluated].concat(),
            steps_per_second: interval.timesteps() as f64 / seconds,
            updates_per_second: interval.updates as f64 / seconds,
            wall_seconds: self.progress.seconds,
            phases: Some(self.timings.since(self.at_last_row).phases(self.last_row_told.elapsed())),
            episodes: self.progress.episodes,
            rates: self.learner.rates(self.progress.timesteps, self.progress.episodes),
            time: jiff::Timestamp::now(),
            naming: self.settings.metric_names,
        }
    }

    pub(super) fn log(&mut self, interval: &Interval, evaluated: Vec<Option<f32>>) {
        let begin = Instant::now();
        let row = self.row(interval, evaluated);
        let by_window = self.shows_windows();
        if !by_window {
            self.trackers.row(&row);
        }
        let pool = self.log_pool();
        if let Err(error) = self.logs.append(&row).and(pool) {
            self.console.warn(&format!("{error:#}; the lines are kept for later"));
        }
        self.tell_of_logs();
        self.console.row(&row);
        for warning in self.health.check(&|name| row.get(name).map(f64::from)) {
            self.console.warn(&warning.text);
            self.alert(warning.title, &warning.text);
        }
        self.last_row = Some(row);
        self.timings.logs += begin.elapsed();
        (self.at_last_row, self.last_row_told) = (self.timings, Instant::now());
    }

    /// Tells the people who follow the run, and the log of warnings.
    pub(super) fn alert(&mut self, title: &str, text: &str) {
        if let Err(error) = self.logs.warn(self.progress.update, title, text) {
            self.console.warn(&format!("{error:#}; the warning is kept for later"));
        }
        self.trackers.alert(title, text);
    }

    /// Warns of what has become of the log files.
    pub(super) fn tell_of_logs(&mut self) {
        self.logs.take_notices().iter().for_each(|notice| self.console.warn(notice));
    }

    pub(super) fn heartbeat(&mut self) {
        self.trackers.notices().iter().for_each(|notice| self.console.say(notice));
        self.tell_trackers_of_lines();
        if self.machine_told.elapsed() >= MACHINE {
            self.tell_trackers_of_machine();
        }
        let has_steps = self.settings.status_steps.is_some_and(|steps| self.has_reached_multiple(steps));
        if has_steps || self.last_heartbeat.is_none_or(|last| last.elapsed() >= HEARTBEAT) {
            self.write_status(State::Running, None);
        }
    }

    /// Tells trackers what the run has said.
    pub(super) fn tell_trackers_of_lines(&mut self) {
        self.trackers.console(self.console.take_heard());
    }

    /// Tells trackers how busy the machine is.
    pub(super) fn tell_trackers_of_machine(&mut self) {
        self.machine_told = Instant::now();
        if self.trackers.is_empty() {
            return;
        }
        let Progress { update, timesteps, seconds, .. } = self.progress;
        let now = Point {
            step: update,
            timesteps,
            wall_seconds: seconds,
            time: jiff::Timestamp::now(),
            fields: Vec::new(),
        };
        self.trackers.utilisation(&self.watcher.look(), &now);
    }

    /// Timesteps that the run will have in the end: the updates that are left have as many as planned.
    fn total_timesteps(&self) -> u64 {
        let left = self.num_updates.saturating_sub(self.progress.update);
        self.progress.timesteps + left * self.learner.timesteps_per_update()
    }

    /// What the run says of itself at this moment.
    pub(super) fn status(&self, state: State, error: Option<String>) -> Status {
        let Progress { timesteps, episodes, .. } = self.progress;
        let told = || status::Told {
            status: state,
            step: timesteps,
            total_steps: self.total_timesteps(),
            episode: episodes,
        };
        let has_ended = state != State::Running;
        let exploration = self.learner.rates(timesteps, episodes).exploration;
        Status {
            told: self.run.has_document().then(told),
            // What callbacks see before they lower it; at the end they have.
            epsilon: exploration.map(|[last, next]| six_digits(if has_ended { next } else { last })),
            state,
            update: self.progress.update,
            num_updates: self.num_updates,
            timesteps: self.progress.timesteps,
            total_timesteps: self.total_timesteps(),
            episodes: self.progress.episodes,
            mean_return: self.recent.mean_return(),
            steps_per_second: self.steps_per_second(),
            start_time: self.start_time.clone(),
            last_heartbeat: status::now(),
            memory_bytes: process_memory(),
            device_memory_bytes: self.learner.device_memory(),
            machine: Some(self.machine.clone()),
            phases: Some(self.timings.phases(self.start.elapsed())),
            error,
        }
    }

    pub(super) fn write_status(&mut self, state: State, error: Option<String>) {
        self.machine = Machine::of(&self.watcher.look());
        let status = self.status(state, error);
        self.last_heartbeat = Some(Instant::now());
        if let Err(error) = status.write(self.run.path()) {
            self.console.warn(&format!("{error:#}"));
        }
    }
}
