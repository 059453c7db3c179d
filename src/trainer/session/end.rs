//! How a run ends: what must not be lost is saved, and people are told what became of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use super::Session;
use crate::trainer::console::Console;
use crate::trainer::evaluation::BEST_PARAMS;
use crate::trainer::metrics::Row;
use crate::trainer::readable::{path_as_text, thousands};
use crate::trainer::run_dir::RunDir;
use crate::trainer::status::State;
use crate::trainer::summary;
use crate::trainer::trackers::Ending;

/// What became of a run; `train --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub run: String,
    #[serde(serialize_with = "path_as_text")]
    pub directory: PathBuf,
    pub state: State,
    pub update: u64,
    pub timesteps: u64,
    pub episodes: u64,
    /// Seconds of training, in all processes that worked on the run.
    pub seconds: f64,
    /// Environment steps per second of this process.
    pub steps_per_second: f64,
    /// The newest checkpoint that this process wrote.
    #[serde(serialize_with = "path_as_text")]
    pub checkpoint: Option<PathBuf>,
    /// The parameters at the end, if the run is complete.
    #[serde(serialize_with = "path_as_text")]
    pub final_params: Option<PathBuf>,
    /// The parameters that did best in an evaluation, if there was one.
    #[serde(serialize_with = "path_as_text")]
    pub best_params: Option<PathBuf>,
    /// The last logged row.
    pub metrics: Option<Row>,
}

/// How long a process waits, once everything is saved, for what is still to be sent: a cluster may kill it half a minute
/// after its signal.
pub const SENDING: Duration = Duration::from_secs(10);

/// A run that has ended: everything is saved and its status is final. Only what is sent to a server may not be there yet.
#[must_use = "what is sent is lost unless it is waited for"]
pub struct Ended {
    result: Result<Outcome>,
    trackers: Vec<Ending>,
    console: Console,
    /// Taken until the last file in it is written.
    _run: RunDir,
}

impl Ended {
    /// Why the run failed, if it did.
    pub fn error(&self) -> Option<&anyhow::Error> {
        self.result.as_ref().err()
    }

    /// Waits for what is being sent, until `deadline`, and gives what became of the run.
    pub fn wait(self, deadline: Instant) -> Result<Outcome> {
        let notices = self.trackers.into_iter().flat_map(|tracker| tracker.wait(deadline));
        notices.for_each(|notice| self.console.say(&notice));
        self.result
    }
}

impl Session<'_> {
    /// Saves what there is to save and tells what became of the run, before anything waits for a server.
    pub fn close(mut self, result: Result<State>) -> Ended {
        let result = result.and_then(|state| self.end(state));
        self.wait_for_replays();
        self.console.finish();
        if self.settings.track_timings {
            self.console.say(&self.timings());
        }
        match &result {
            Ok(outcome) => {
                self.write_status(outcome.state, None);
                self.write_windows(outcome.state, None);
                self.say_goodbye(outcome);
            }
            Err(error) => {
                let text = format!("{error:#}");
                self.write_windows(State::Failed, Some(&text));
                self.write_status(State::Failed, Some(text));
            }
        }
        self.sum_up_windows(result.is_err());
        self.tell_trackers_of_machine();
        self.tell_trackers_of_lines();
        let state = result.as_ref().map_or(State::Failed, |outcome| outcome.state);
        let trackers = std::mem::take(&mut self.trackers).end(state);
        Ended { result, trackers, console: self.console, _run: self.run }
    }

    /// Saves what must not be lost.
    fn end(&mut self, state: State) -> Result<Outcome> {
        if state == State::Completed {
            self.end_windows();
        }
        // A run that saves by steps and is complete has saved what it was to save.
        let is_saved = state == State::Completed && self.settings.save_steps.is_some();
        if self.progress.update > 0 && !is_saved {
            self.save().with_context(|| format!("the last save failed ({})", self.what_is_kept()))?;
        }
        let mut final_params = None;
        if state == State::Completed {
            // After the checkpoint, which knows nothing of this shorter interval: a longer run goes on with it.
            if self.progress.interval.updates > 0 {
                let interval = self.progress.interval.clone();
                self.log(&interval, Vec::new());
            }
            self.logs.sync()?;
            self.tell_of_logs();
            let path = self.run.file("final_params.safetensors");
            self.save_params(&path)?;
            self.keep_artifact("final-model".into(), path.clone());
            final_params = Some(path);
        }
        self.end_journal(state)?;
        let best_params = self.best.is_some().then(|| self.run.file(BEST_PARAMS));
        if let (Some(path), State::Completed) = (&best_params, state) {
            self.keep_artifact("best-model".into(), path.clone());
        }
        summary::write(
            self.run.path(),
            &self.settings.env,
            &self.config,
            &self.progress,
            final_params.as_deref(),
            self.best.as_ref(),
        )?;
        let checkpoint = self.saved.as_ref().map(|(_, path)| path.clone());
        Ok(Outcome {
            run: self.run.name(),
            directory: self.run.path().to_path_buf(),
            state,
            update: self.progress.update,
            timesteps: self.progress.timesteps,
            episodes: self.progress.episodes,
            seconds: self.progress.seconds,
            steps_per_second: self.steps_per_second(),
            checkpoint,
            final_params,
            best_params,
            metrics: self.last_row.clone(),
        })
    }

    /// Where the time of this process went.
    fn timings(&self) -> String {
        let total = self.start.elapsed().as_secs_f64();
        let [core, eval] =
            [self.timings.updates, self.timings.evaluations].map(|duration| duration.as_secs_f64());
        let rest = (total - core - eval).max(0.0);
        let part = |name: &str, seconds: f64| {
            format!("{name} {seconds:.2} s ({:.1}%)", 100.0 * seconds / total.max(1e-9))
        };
        let parts = [part("core", core), part("callbacks", rest), part("eval", eval)];
        format!("timings: total {total:.2} s, {}", parts.join(", "))
    }

    fn say_goodbye(&self, outcome: &Outcome) {
        let (update, steps) = (outcome.update, thousands(outcome.timesteps));
        let done = format!("at update {update} ({steps} timesteps)");
        let directory = self.run.path().display();
        self.console.announce(&match (&outcome.final_params, &outcome.checkpoint) {
            (Some(params), _) => format!("completed {done}: {}", params.display()),
            (None, Some(_)) => format!("stopped {done}; continue with: lockstep train --resume {directory}"),
            (None, None) => "stopped before the first update; nothing to save".to_string(),
        });
    }
}
