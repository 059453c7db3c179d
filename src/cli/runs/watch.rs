//! `runs watch`: the curves of a run on the full screen, while another process trains it.
//!
//! It only reads the run's files, so it can be opened and closed at any time and costs the training nothing.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::cli::dashboard::{self, Reach};
use crate::cli::terminal;
use crate::files;
use crate::trainer::find;
use crate::trainer::overview::Overview;
use crate::trainer::run_dir::{self, SAVE_FILE};

use super::stop;

/// Which run to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// A run: its name, its directory, a file in it or "latest"
    run: String,
    /// Metrics to draw [default: all, the important ones large]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
}

impl Watch {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find::run(&self.run, checkpoint_dir)?;
        terminal::check("runs watch", "`lockstep runs show` prints the same as text")?;
        dashboard::watch(&directory, &self.metrics, &Files(&directory))
    }
}

/// A run that is reached through the files in its directory.
struct Files<'a>(&'a Path);

impl Reach for Files<'_> {
    /// What the run has warned of.
    fn lines(&self) -> Vec<String> {
        warnings(self.0)
    }

    fn save(&self, overview: &Overview) -> Result<String> {
        run_dir::ask_by_file(&overview.directory, SAVE_FILE)?;
        Ok("the run saves after its chunk".into())
    }

    fn stop(&self, overview: &Overview) -> Result<String> {
        stop::ask(overview)
    }
}

/// What a run has warned of.
pub fn warnings(directory: &Path) -> Vec<String> {
    let text = files::read_text(&directory.join("warnings.jsonl")).unwrap_or_default();
    let line = |json: &str| {
        let warning: Value = serde_json::from_str(json).ok()?;
        Some(format!("warning: update {}: {}", warning["update"], warning["text"].as_str()?))
    };
    text.lines().filter_map(line).collect()
}
