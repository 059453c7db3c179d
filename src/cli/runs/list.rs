//! `runs list`: one line for each run.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;

use crate::output::tell;
use crate::trainer::overview::{Life, Overview};
use crate::trainer::readable::{ABSENT, count, duration, significant};
use crate::trainer::run_dir;
use crate::trainer::status::STATUS;

use crate::cli::table::table;
use crate::cli::{print, print_line};

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
        let named = checkpoint_dir.display();
        ensure!(!checkpoint_dir.is_file(), "{named} is a file; --checkpoint-dir takes the directory of runs");
        let runs = if checkpoint_dir.is_dir() { Overview::all(checkpoint_dir)? } else { Vec::new() };
        let shown: Vec<_> = runs.iter().filter(|run| self.all || run.life.is_live()).collect();
        if self.json {
            print_line(serde_json::to_string(&shown)?)?;
        } else if !checkpoint_dir.is_dir() {
            tell(&format!("there is no directory {named}; --checkpoint-dir names another"));
        } else if shown.is_empty() && !runs.is_empty() {
            tell(&format!("no run is running; --all lists the {} others", runs.len()));
        } else if shown.is_empty() {
            tell(&format!("there is no run in {named}"));
        }
        for line in unreadable(checkpoint_dir) {
            tell(&format!("warning: {line}"));
        }
        if !self.json && !shown.is_empty() {
            let rows: Vec<_> = shown.into_iter().map(row).collect();
            print(&table(&HEAD, &rows))?;
        }
        Ok(())
    }
}

const HEAD: [&str; 10] = [
    "run",
    "env",
    ">seed",
    "state",
    ">timesteps",
    ">done",
    ">return",
    ">steps/s",
    ">time",
    "last sign of life",
];

/// One line for each run that cannot be listed, because its status is damaged.
fn unreadable(checkpoint_dir: &Path) -> Vec<String> {
    let begun = run_dir::runs(checkpoint_dir).into_iter().filter(|run| run.join(STATUS).exists());
    begun.filter_map(|run| Some(format!("{:#}", Overview::of(&run).err()?))).collect()
}

/// The cells of a run.
fn row(run: &Overview) -> Vec<String> {
    let status = &run.status;
    let setting = |name: &str| {
        let config = run_dir::config(&run.directory).ok()?;
        let value = config.get(name)?;
        Some(value.as_str().map_or_else(|| value.to_string(), String::from))
    };
    let setting = |name: &str| setting(name).unwrap_or(ABSENT.into());
    let steps = |steps: u64| count(steps as f64);
    let mut last = format!("{} ago", duration(run.silence_seconds));
    if let Some(pid) = run.pid {
        last += &format!(" (pid={pid})");
    }
    if let (Life::Failed, Some(error)) = (run.life, &status.error) {
        last += &format!("  {error}");
    }
    vec![
        run.run.clone(),
        setting("env"),
        setting("seed"),
        run.life.as_str().into(),
        format!("{}/{}", steps(status.timesteps), steps(status.total_timesteps)),
        format!("{:.0}%", (100.0 * run.progress()).floor()),
        significant(run.mean_return().unwrap_or(f64::NAN), 4),
        count(status.steps_per_second),
        duration(run.duration_seconds),
        last,
    ]
}
