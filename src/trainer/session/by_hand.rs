//! A run by hand: a program says itself how many updates come next, and when something is logged, evaluated, saved or taken up.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use super::Session;
use crate::algorithms::report::Report;
use crate::trainer::checkpoint::Checkpoint;
use crate::trainer::evaluation;
use crate::trainer::metrics::{Interval, Row};
use crate::trainer::run_dir::holder;

impl Session<'_> {
    /// Trains for so many updates, or until the run ends. Gives what they came to.
    pub fn train_for(&mut self, updates: u64) -> Result<Row> {
        self.catch_up()?;
        let (end, begin) = (self.progress.update.saturating_add(updates), Instant::now());
        let mut interval = Interval::new(self.learner.metrics());
        while self.progress.update < end && self.ending().is_none() {
            let left = usize::try_from(end - self.progress.update).unwrap_or(usize::MAX);
            for row in self.run_chunk(self.chunk_size()?.min(left))? {
                interval.add(self.learner.metrics(), &row);
            }
        }
        self.wait_for_replays();
        ensure!(interval.updates > 0 || updates == 0, "the run has ended; there is nothing left to train");
        interval.seconds = begin.elapsed().as_secs_f64();
        Ok(self.row(&interval, Vec::new()))
    }

    /// Compiles what evaluations run.
    pub fn prepare_evaluation(&mut self) -> Result<()> {
        let choice = evaluation::choice(&self.settings);
        self.learner.prepare_evaluation(choice, self.settings.eval_episodes)
    }

    /// Plays an evaluation, whatever is due.
    pub fn evaluate_now(&mut self) -> Result<Report> {
        let begin = Instant::now();
        let evaluated = self.evaluate();
        self.timings.evaluations += begin.elapsed();
        Ok(evaluated?.context("the run is asked to stop, so the evaluation was broken off")?.report)
    }

    /// Logs the updates since the last row, if there are some.
    pub fn log_now(&mut self) {
        if self.progress.interval.updates > 0 {
            self.log_interval(Vec::new());
        }
    }

    /// Saves a checkpoint and the parameters, which say these keys besides. Gives the checkpoint.
    pub fn save_now(&mut self, metadata: &[(&str, &str)]) -> Result<PathBuf> {
        let before = self.settings.save_metadata.clone();
        self.settings.save_metadata.extend(metadata.iter().map(|(key, value)| format!("{key}={value}")));
        let own = self.learner.params_metadata();
        let saved = self.settings.check().and_then(|()| self.settings.check_metadata(&own)).and_then(|()| {
            if !metadata.is_empty() {
                self.saved = None; // what is there does not say it
            }
            self.save()
        });
        self.settings.save_metadata = before;
        saved?;
        let Some((_, path)) = &self.saved else { bail!("nothing was saved") };
        Ok(path.clone())
    }

    /// Goes on from a checkpoint of this run or another one.
    pub fn load(&mut self, path: &Path) -> Result<()> {
        let mut checkpoint = Checkpoint::load(path)?;
        let env = &self.settings.env;
        ensure!(checkpoint.env == *env, "{} was trained in {}, not in {env}", path.display(), checkpoint.env);
        checkpoint.match_state(path, &self.learner.state_types())?;
        let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let is_own = whole(holder(path)) == whole(self.run.path());
        if !is_own {
            checkpoint.progress.offsets.clear(); // its logs are elsewhere
        }
        if !checkpoint.progress.interval.is_of(self.learner.metrics()) {
            checkpoint.progress.interval = Interval::new(self.learner.metrics());
        }
        self.run.supersede_after(checkpoint.progress.update, checkpoint.progress.timesteps)?;
        self.take_up(path.to_path_buf(), checkpoint)?;
        if !is_own {
            self.saved = None;
        }
        self.console.say(&format!("the run goes on from {}", path.display()));
        Ok(())
    }
}
