//! `runs list`: one line for each run.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::Args;

use crate::envs::short_name;
use crate::files;
use crate::output::tell;
use crate::trainer::overview::{Life, Overview};
use crate::trainer::readable::{ABSENT, count, duration, significant};
use crate::trainer::run_dir;
use crate::trainer::status::{STATUS, seconds_since};

use crate::cli::table::table;
use crate::cli::{print, print_line};

/// Which runs to list, and how.
#[derive(Debug, Args)]
pub struct List {
    /// List all runs, not only those that are running
    #[arg(long, short)]
    all: bool,
    /// List the runs in this directory, each in a line of step, episode, exploration, duration and process
    #[arg(long, value_name = "DIR", conflicts_with = "json")]
    runs_dir: Option<PathBuf>,
    /// Print a JSON array on stdout
    #[arg(long)]
    json: bool,
}

impl List {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        if let Some(runs_dir) = &self.runs_dir {
            return print(&lines(runs_dir, self.all)?);
        }
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

/// The runs in a directory as the format of documents has them: those that are running, or all.
fn lines(runs_dir: &Path, all: bool) -> Result<String> {
    if !runs_dir.is_dir() {
        return Ok(format!("Runs directory not found: {}\n", runs_dir.display()));
    }
    let runs = Overview::all(runs_dir)?;
    let shown = runs.iter().filter(|run| all || run.life == Life::Running);
    let lines: String = shown.map(line).collect();
    Ok(match (lines.is_empty(), all) {
        (false, _) => lines,
        (true, false) => "No running pipelines. Use --all to show completed/stopped runs.\n".into(),
        (true, true) => "No runs found.\n".into(),
    })
}

/// `  my_run     completed  step=500/500 (100.0%)  ep=57     ε=0.0816  [1m 2s]  (pid=123)`
fn line(run: &Overview) -> String {
    let status = &run.status;
    let (step, total, episode) = (status.timesteps, status.total_timesteps, status.episodes);
    let done = format!("{step}/{total} ({:.1}%)", 100.0 * run.progress());
    let mut line = format!("  {:<40} {:<10} step={done:<16}  ep={episode:<6}", run.run, run.life.as_str());
    if let Some(epsilon) = status.epsilon {
        line += &format!(" ε={epsilon:.4}");
    }
    if let Some(seconds) = seconds_since(&status.start_time) {
        line += &format!("  [{}]", elapsed(seconds.max(0.0) as u64));
    }
    let pid =
        files::read_text(&run.directory.join("pid")).ok().and_then(|text| text.trim().parse::<u32>().ok());
    if let Some(pid) = pid {
        line += &format!("  (pid={pid})");
    }
    line + "\n"
}

/// `1h 2m 3s`, without what is zero before the first.
fn elapsed(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m {seconds}s"),
        _ => format!("{hours}h {minutes}m {seconds}s"),
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
        short_name(&setting("env")),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_begin_with_what_is_not_zero() {
        assert_eq!([59, 61, 3600, 7384].map(elapsed), ["59s", "1m 1s", "1h 0m 0s", "2h 3m 4s"]);
    }
}
