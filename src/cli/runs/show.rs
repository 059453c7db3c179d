//! `runs show`: what the files of one run say.

use std::fs;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use crate::trainer::evaluation::BEST_PARAMS;
use crate::trainer::overview::Overview;
use crate::trainer::{History, METRICS, run_dir, thousands};

use super::{duration, find};
use crate::cli::{print, print_line};

/// Which run to show.
#[derive(Debug, Args)]
pub struct Show {
    /// A run directory, the name of a run, or "latest"
    run: String,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

impl Show {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find(&self.run, checkpoint_dir)?;
        let overview = Overview::of(&directory)?;
        // A run that was stopped early has logged nothing; what is there must be readable.
        let has_logged = directory.join(METRICS).exists();
        let history = if has_logged { History::read(&directory)? } else { History::default() };
        let newest = newest(&history);
        let checkpoints: Vec<_> =
            run_dir::checkpoints(&directory)?.into_iter().map(|(_, path)| path).collect();
        let meta: Map<String, Value> = fs::read(directory.join("meta.json"))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default();
        if self.json {
            let object =
                json!({"status": overview, "meta": meta, "metrics": newest, "checkpoints": checkpoints});
            return print_line(object);
        }
        let status = &overview.status;
        let mut text = String::new();
        let mut field = |name: &str, value: String| text += &format!("{name:>24}  {value}\n");
        field("run", overview.run.clone());
        field("directory", directory.display().to_string());
        field("state", overview.life.as_str().into());
        if let Some(error) = &status.error {
            field("error", error.clone());
        }
        field("updates", format!("{} of {}", thousands(status.update), thousands(status.num_updates)));
        field(
            "timesteps",
            format!("{} of {}", thousands(status.timesteps), thousands(status.total_timesteps)),
        );
        field("episodes", thousands(status.episodes));
        field("steps_per_second", thousands(status.steps_per_second as u64));
        field("duration", duration(overview.duration_seconds));
        field("last sign of life", format!("{} ago", duration(overview.silence_seconds)));
        for (name, value) in &meta {
            field(name, value.as_str().map_or_else(|| value.to_string(), String::from));
        }
        for (name, value) in &newest {
            field(name, value.to_string());
        }
        if let Some(best) = history.best("eval/mean_return") {
            field("best eval/mean_return", format!("{best} ({})", directory.join(BEST_PARAMS).display()));
        }
        for path in checkpoints {
            field("checkpoint", path.display().to_string());
        }
        print(&text)
    }
}

/// The last logged value of each metric: of those of evaluations, that of the last evaluation.
fn newest(history: &History) -> Map<String, Value> {
    let last = |name: &str| {
        let value = history.column(name)?.iter().rev().find(|value| !value.is_nan())?;
        Some((name.to_string(), Value::from(*value)))
    };
    history.names().filter_map(last).collect()
}
