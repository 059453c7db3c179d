//! Checkpoints and parameters.
//!
//! A save on the way that fails is a warning: the checkpoint before it stays, and the next one may succeed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::Session;
use crate::trainer::checkpoint::Checkpoint;
use crate::trainer::journal::End;
use crate::trainer::params;
use crate::trainer::progress::Progress;
use crate::trainer::run_dir::{self, SAVE_FILE};
use crate::trainer::settings::Settings;
use crate::trainer::status::State;
use crate::trainer::summary;
use crate::trainer::trackers::Artifact;
use crate::trainer::windows::WINDOWS;

impl Session<'_> {
    /// Saves if somebody asks for it, or the settings do.
    pub(super) fn save_if_wanted(&mut self) {
        if self.save_is_asked() {
            self.save_as_asked();
        } else if self.save_is_due() {
            self.save_or_warn();
        }
    }

    fn save_is_due(&self) -> bool {
        let Settings { save_interval, save_steps, .. } = self.settings;
        match (save_interval, save_steps) {
            (_, Some(steps)) => self.has_reached_multiple(steps),
            (Some(interval), None) => self.progress.update.is_multiple_of(interval),
            (None, None) => {
                self.last_save.elapsed().as_secs_f64() >= self.settings.save_interval_minutes * 60.0
            }
        }
    }

    /// Whether somebody wants a checkpoint now: the screen of this process, or, with a signal or a file `save`, anybody
    /// else.
    fn save_is_asked(&mut self) -> bool {
        let by_screen = self.console.take_save();
        let by_file = fs::remove_file(self.run.file(SAVE_FILE)).is_ok();
        let asked = self.signals.saves_asked();
        let by_signal = std::mem::replace(&mut self.saves_asked, asked) != asked;
        by_screen || by_file || by_signal
    }

    fn save_as_asked(&mut self) {
        if self.save_or_warn() {
            let saved = self.saved.iter().map(|(_, path)| path.display());
            saved.for_each(|path| self.console.say(&format!("saved {path}")));
        }
    }

    /// Says whether it worked.
    fn save_or_warn(&mut self) -> bool {
        self.last_save = Instant::now();
        let saved = self.save();
        if let Err(error) = &saved {
            self.console.warn(&format!("{error:#}; {}, training continues", self.what_is_kept()));
        }
        saved.is_ok()
    }

    pub(super) fn what_is_kept(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or_default().display().to_string();
        match &self.saved {
            Some((_, path)) if path.exists() => format!("{} is kept", name(path)),
            _ if !self.run.path().exists() => "the run directory is gone, and all that was in it".into(),
            Some((_, path)) => format!("{} is gone", name(path)),
            None => "there is no checkpoint yet".into(),
        }
    }

    /// Saves a checkpoint and the parameters of this moment, unless they are there.
    pub(super) fn save(&mut self) -> Result<()> {
        let update = self.progress.update;
        if self.saved.as_ref().is_some_and(|(saved, _)| *saved == update) {
            return Ok(());
        }
        let begin = Instant::now();
        let saved = self.write_checkpoint();
        self.timings.saves += begin.elapsed();
        saved
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        let update = self.progress.update;
        let checkpoint = self.checkpoint()?;
        let (path, params) = self.saved_paths();
        // Parameters first: whoever finds a checkpoint finds its parameters, too. Neither waits for the other's luck.
        let params = self.save_params(&params);
        checkpoint.save(&path)?;
        self.saved = Some((update, path.clone()));
        self.keep_artifact(format!("checkpoint-{update}"), path);
        if let Some(keep) = self.settings.keep {
            run_dir::keep_newest(self.run.path(), keep as usize)?;
        }
        params
    }

    /// The files of a checkpoint and of its parameters that are saved at this moment. One that is saved for a multiple of `save_steps` is
    /// called by it.
    pub(super) fn saved_paths(&self) -> (PathBuf, PathBuf) {
        let Progress { update, timesteps, .. } = self.progress;
        let Some(prefix) = &self.settings.checkpoint_prefix else {
            return (self.run.checkpoint_path(update), self.run.params_path(update));
        };
        let multiple = match self.settings.save_steps {
            Some(steps) if self.has_reached_multiple(steps) => timesteps - timesteps % steps,
            _ => timesteps,
        };
        self.run.paths_by_step(prefix, multiple)
    }

    /// Whether the chunk that has just ended reached a multiple of so many timesteps.
    pub(super) fn has_reached_multiple(&self, steps: u64) -> bool {
        self.progress.timesteps / steps > self.chunk_begin / steps
    }

    /// Keeps a checkpoint of the moment at which a phase of the curriculum ends.
    pub(super) fn save_finished_phase(&mut self) -> Result<()> {
        let next = self.learner.phase(self.progress.update)?;
        let Some((last, next)) = self.last_phase.zip(next).filter(|(last, next)| last < next) else {
            return Ok(());
        };
        let path = self.run.phase_path(last);
        let what = match self.beginning(next) {
            Some(beginning) => format!("stage {last} is complete, {beginning}"),
            None => format!("phase {last} of the curriculum is complete, phase {next} begins"),
        };
        match self.checkpoint().and_then(|checkpoint| checkpoint.save(&path)) {
            Ok(()) => {
                self.console.say(&format!("{what}; its end is kept in {}", path.display()));
                self.keep_artifact(format!("phase-{last}-snapshot"), path);
            }
            Err(error) => self.console.warn(&format!("{what}; {error:#}, training continues")),
        }
        Ok(())
    }

    /// That the stage with this number begins, from 1, and what it sets; nothing of a run without stages.
    fn beginning(&self, number: usize) -> Option<String> {
        let stages = self.settings.stages.all();
        let stage = stages.get(number - 1)?;
        Some(format!("stage {number} of {} begins: {stage}", stages.len()))
    }

    /// Tells in which stage the run begins or goes on, if it has some.
    pub(super) fn tell_of_stage(&self) -> Result<()> {
        let Some(number) = self.learner.phase(self.progress.update)? else { return Ok(()) };
        match self.beginning(number) {
            Some(beginning) if self.progress.update == 0 => self.console.say(&beginning),
            Some(_) => {
                let count = self.settings.stages.all().len();
                self.console.say(&format!("the run goes on in stage {number} of {count}"));
            }
            None => {}
        }
        Ok(())
    }

    /// The run as it stands.
    pub(super) fn checkpoint(&mut self) -> Result<Checkpoint> {
        self.wait_for_earlier_replays();
        self.logs.sync()?; // the checkpoint counts on it
        self.progress.offsets = self.logs.offsets();
        if let Some(windows) = &mut self.windows {
            self.progress.offsets.insert(WINDOWS.into(), windows.sync()?);
        }
        if let Some(journal) = &mut self.journal {
            self.progress.offsets.extend(journal.sync()?);
        }
        Ok(Checkpoint {
            config: self.config.clone(),
            env: self.settings.env.clone(),
            progress: self.progress.clone(),
            state: self.learner.state()?,
            best: self.best.clone(),
        })
    }

    pub(super) fn keep_artifact(&mut self, name: String, path: PathBuf) {
        let Progress { update, timesteps, .. } = self.progress;
        let by_window = self.shows_windows();
        if !by_window {
            let metadata =
                serde_json::json!({"update": update, "timesteps": timesteps, "run": self.run.name()});
            let aliases = vec!["latest".into()];
            self.trackers.artifact(&Artifact { name, kind: "model", path, metadata, aliases });
        }
    }

    pub(super) fn save_params(&self, path: &Path) -> Result<()> {
        params::save_params(path, &self.learner.params()?, &self.counted_metadata())
    }

    /// What a file of the parameters of this moment says of itself.
    fn counted_metadata(&self) -> params::Metadata {
        let Progress { update, timesteps, .. } = self.progress;
        let counters = [("update".into(), update.to_string()), ("timesteps".into(), timesteps.to_string())];
        self.params_metadata().into_iter().chain(counters).collect()
    }

    /// Completes the files that the front of the run has beside its directory. A run that a signal ends has no model.
    pub(super) fn end_journal(&mut self, state: State) -> Result<()> {
        let is_saved = state == State::Completed || self.console.is_enough();
        let metadata = self.counted_metadata();
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let Progress { update: updates, timesteps, episodes, seconds, .. } = self.progress;
        if is_saved {
            journal.save_model(&self.learner.params()?, metadata, timesteps)?;
        }
        let settings = &summary::config_object(&self.config);
        journal.sum_up(&End { seconds, episodes, updates, is_saved, settings })
    }
}
