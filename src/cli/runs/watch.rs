//! `runs watch`: the curves of a run on the full screen, while another process trains it.
//!
//! It only reads the run's files, so it can be opened and closed at any time and costs the training nothing.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use crate::cli::dashboard;
use crate::trainer::overview::Overview;
use crate::trainer::run_dir::{self, SAVE_FILE};

use super::{find, stop};

/// Which run to watch.
#[derive(Debug, Args)]
pub struct Watch {
    /// A run directory, the name of a run, or "latest"
    run: String,
    /// Metrics to draw [default: all, the important ones large]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
}

const KEYS: [(&str, &str); 3] = [("q", "leave"), ("s", "save now"), ("x", "stop the run cleanly")];

impl Watch {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find(&self.run, checkpoint_dir)?;
        dashboard::check_terminal("runs watch", "`lockstep runs show` prints the same as text")?;
        dashboard::watch(&directory, &self.metrics, &KEYS, || warnings(&directory), ask)
    }
}

/// What the run has warned of.
fn warnings(directory: &Path) -> Vec<String> {
    let text = fs::read_to_string(directory.join("warnings.jsonl")).unwrap_or_default();
    let line = |json: &str| {
        let warning: Value = serde_json::from_str(json).ok()?;
        Some(format!("warning: update {}: {}", warning["update"], warning["text"].as_str()?))
    };
    text.lines().filter_map(line).collect()
}

/// Does what a key asks for. Gives what to say about it.
fn ask(key: char, overview: &Overview) -> Result<Option<String>> {
    match key {
        'x' => stop::ask(overview).map(Some),
        's' if !overview.life.is_live() => Ok(Some("the run is not running".into())),
        's' => {
            run_dir::ask_by_file(&overview.directory, SAVE_FILE)?;
            Ok(Some("the run saves after its chunk".into()))
        }
        _ => Ok(None),
    }
}
