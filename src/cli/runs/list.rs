//! `runs list`: one line for each run.

use std::path::Path;

use anyhow::Result;
use clap::Args;

use crate::output::tell;
use crate::trainer::overview::{Life, Overview};
use crate::trainer::status::STATUS;
use crate::trainer::{run_dir, thousands};

use super::duration;
use crate::cli::print_line;

/// Which runs to list, and how.
#[derive(Debug, Args)]
pub struct List {
    /// List all runs, not only those that are running
    #[arg(long, short)]
    all: bool,
    /// Print a JSON array on stdout
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let runs = if checkpoint_dir.is_dir() { Overview::all(checkpoint_dir)? } else { Vec::new() };
        let shown: Vec<_> = runs.iter().filter(|run| self.all || run.life.is_live()).collect();
        if self.json {
            print_line(serde_json::to_string(&shown)?)?;
        } else if !checkpoint_dir.is_dir() {
            tell(&format!(
                "there is no directory {}; --checkpoint-dir names another",
                checkpoint_dir.display()
            ));
        } else if shown.is_empty() && !runs.is_empty() {
            tell(&format!("no run is running; --all lists the {} others", runs.len()));
        } else if shown.is_empty() {
            tell(&format!("there is no run in {}", checkpoint_dir.display()));
        }
        for line in unreadable(checkpoint_dir) {
            tell(&format!("warning: {line}"));
        }
        if !self.json {
            shown.iter().try_for_each(|run| print_line(line(run)))?;
        }
        Ok(())
    }
}

/// One line for each run that cannot be listed, because its status is damaged.
fn unreadable(checkpoint_dir: &Path) -> Vec<String> {
    let mut names = run_dir::names(checkpoint_dir);
    names.sort();
    let begun = names.iter().map(|name| checkpoint_dir.join(name)).filter(|run| run.join(STATUS).exists());
    begun.filter_map(|run| Some(format!("{:#}", Overview::of(&run).err()?))).collect()
}

/// Name, state, progress, episodes, rate, duration, process; and what is wrong.
fn line(run: &Overview) -> String {
    let status = &run.status;
    let progress =
        format!("{}/{} ({:.1}%)", status.timesteps, status.total_timesteps, 100.0 * run.progress());
    let mut line = format!(
        "  {:<40} {:<10} step={progress:<28}  ep={:<8}  {:>12} steps/s  [{}]",
        run.run,
        run.life.as_str(),
        status.episodes,
        thousands(status.steps_per_second as u64),
        duration(run.duration_seconds),
    );
    if let Some(pid) = run.pid {
        line += &format!("  (pid={pid})");
    }
    match (run.life, &status.error) {
        (Life::Stale | Life::Dead, _) => {
            line += &format!("  no sign of life for {}", duration(run.silence_seconds));
        }
        (Life::Failed, Some(error)) => line += &format!("  {error}"),
        _ => line += &format!("  {} ago", duration(run.silence_seconds)),
    }
    line
}
