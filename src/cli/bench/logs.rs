//! `bench --logs`: what it costs to log a run.
//!
//! The bare learner and the whole training session, with every log that needs no server, do the same updates in turn,
//! in pairs, so that a noisy machine slows both.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::algorithms::Learner;
use crate::trainer::live::connect;
use crate::trainer::{self, status::State, trackers::wandb};

use super::median;

/// What the pairs came to.
pub struct Cost {
    /// Seconds per update, without and with the logs, by pair.
    pairs: Vec<(f64, f64)>,
    batch: u64,
}

impl Cost {
    /// Times `pairs` pairs of about `seconds` each half. An update takes about `update_seconds`.
    ///
    /// # Errors
    /// One line: the temporary folder cannot be written, or the device failed.
    pub fn measure(
        learner: &mut dyn Learner,
        env: &str,
        pairs: usize,
        update_seconds: f64,
        seconds: f64,
    ) -> Result<Self> {
        let batch = learner.timesteps_per_update();
        let interval = trainer::Settings::default().log_interval;
        let rows = (seconds / update_seconds / interval as f64).ceil().max(1.0) as u64;
        let updates = rows * interval;
        let chunk = ((trainer::CHUNK_SECONDS / update_seconds) as u64).clamp(1, interval);
        let pair = |_| Ok((bare(learner, updates, chunk)?, logged(learner, env, updates)?));
        let pairs = (0..pairs).map(pair).collect::<Result<Vec<_>>>()?;
        Ok(Self { pairs, batch })
    }

    /// The figures, for the report.
    pub fn figures(&self) -> [(&'static str, Value); 3] {
        let of = |part: fn(&(f64, f64)) -> f64| median(&self.pairs.iter().map(part).collect::<Vec<_>>());
        let rate = |seconds: f64| json!((self.batch as f64 / seconds).round());
        let overhead = of(|(bare, logged)| 100.0 * (logged / bare - 1.0));
        [
            ("bare_steps_per_second", rate(of(|pair| pair.0))),
            ("logged_steps_per_second", rate(of(|pair| pair.1))),
            ("logging_overhead_percent", json!((overhead * 100.0).round() / 100.0)),
        ]
    }
}

/// Seconds per update of the learner alone, in chunks like those of a session.
fn bare(learner: &mut dyn Learner, updates: u64, chunk: u64) -> Result<f64> {
    let start = Instant::now();
    let mut left = updates;
    while left > 0 {
        let chunk = chunk.min(left);
        learner.run(chunk as usize)?;
        left -= chunk;
    }
    Ok(start.elapsed().as_secs_f64() / updates as f64)
}

/// Seconds per update of a training session with all logs in a temporary folder: files, TensorBoard, W&B offline, and lines
/// for a screen, which nobody looks at. Its start and its last save do not count: they do not grow with the run.
fn logged(learner: &mut dyn Learner, env: &str, updates: u64) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let settings = trainer::Settings {
        env: env.into(),
        total_timesteps: updates * learner.timesteps_per_update(),
        checkpoint_dir: folder.path().into(),
        run_name: Some("bench".into()),
        wandb: Some(wandb::Mode::Offline),
        ..trainer::Settings::default()
    };
    let (live, _unseen) = connect();
    let outcome = trainer::train(&settings, "", &[], learner, None, Some(live))?;
    ensure!(outcome.state == State::Completed, "interrupted");
    Ok(outcome.seconds / updates as f64)
}
