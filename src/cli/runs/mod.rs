//! `lockstep runs`: look at runs, compare them, stop them and clear them away.

pub(super) mod chart;
mod compare;
mod diagnose;
mod list;
mod plot;
mod remove;
mod show;
mod stop;
mod watch;

use std::io::{ErrorKind, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::cli::App;
use crate::config::{UsageError, nearest};
use crate::trainer::run_dir;

/// What to do with which runs.
#[derive(Debug, Args)]
struct Runs {
    /// Directory that holds the run directories
    #[arg(long, value_name = "DIR", default_value = "checkpoints", global = true)]
    checkpoint_dir: PathBuf,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the runs that are running
    List(list::List),
    /// Show all about one run
    Show(show::Show),
    /// Show in which settings two runs differ, and their curves side by side
    Compare(compare::Compare),
    /// Watch the curves of a run on the full screen
    Watch(watch::Watch),
    /// Ask a run to save and stop
    Stop(stop::Stop),
    /// Remove runs that are not running
    Rm(remove::Remove),
    /// Repeat the update at which a run met a value that is not finite, and say where it stands
    Diagnose(diagnose::Diagnose),
    /// Draw the curves of runs into an SVG file
    Plot(plot::Plot),
}

pub fn command() -> Command {
    let command = Runs::augment_args(Command::new("runs"));
    let command = command.mut_arg("checkpoint_dir", |arg| arg.env("LOCKSTEP_CHECKPOINT_DIR").hide_env(true));
    command.about("List, show, compare, stop, remove and plot runs").arg_required_else_help(true)
}

/// Does it.
///
/// # Errors
/// One line; a [`UsageError`] for a name that is no run.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let Runs { checkpoint_dir, action } = Runs::from_arg_matches(matches)?;
    match action {
        Action::List(list) => list.run(&checkpoint_dir),
        Action::Show(show) => show.run(&checkpoint_dir),
        Action::Compare(compare) => compare.run(&checkpoint_dir),
        Action::Watch(watch) => watch.run(&checkpoint_dir),
        Action::Stop(stop) => stop.run(&checkpoint_dir),
        Action::Rm(remove) => remove.run(&checkpoint_dir),
        Action::Diagnose(diagnose) => diagnose.run(app, &checkpoint_dir),
        Action::Plot(plot) => plot.run(&checkpoint_dir),
    }
}

/// The directory of a run that is named by its path, its name, or as `latest`.
fn find(run: &str, checkpoint_dir: &Path) -> Result<PathBuf> {
    if run == "latest" {
        return run_dir::latest(checkpoint_dir);
    }
    let candidates = [checkpoint_dir.join(run), PathBuf::from(run)];
    if let Some(path) = candidates.into_iter().find(|path| run_dir::is_run(path)) {
        return Ok(path);
    }
    let names = run_dir::names(checkpoint_dir);
    let hint = match nearest(run, &names) {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    };
    bail!(UsageError(format!("there is no run {run} in {}{hint}", checkpoint_dir.display())))
}

/// Prints a line on stdout. A reader that has seen enough (`| head`) is no error.
fn print(line: &str) -> Result<()> {
    match writeln!(stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// `1d 2h`, `2h 3m`, `3m 4s` or `4s`: the two largest units.
pub(super) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        let texts = [0.0, 59.9, 61.0, 3600.0, 3_725.0, 100_000.0].map(duration);
        assert_eq!(texts, ["0s", "59s", "1m 1s", "1h 0m", "1h 2m", "1d 3h"]);
    }

    #[test]
    fn runs_are_found_by_path_name_and_latest() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["cartpole-jan05-26-1", "cartpole-jan05-26-2"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
            std::fs::write(dir.path().join(name).join("config.toml"), "").unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        std::fs::create_dir(dir.path().join("other")).unwrap();
        let path = dir.path().join("cartpole-jan05-26-1");
        assert_eq!(find("cartpole-jan05-26-1", dir.path()).unwrap(), path);
        assert_eq!(find(path.to_str().unwrap(), Path::new("nowhere")).unwrap(), path);
        assert!(find("latest", dir.path()).unwrap().ends_with("cartpole-jan05-26-2"));
        let error = find("cartpole-jan05-26-3", dir.path()).unwrap_err();
        assert!(
            error.is::<UsageError>() && error.to_string().contains("did you mean cartpole-jan05-26-"),
            "{error}"
        );
        assert!(find("other", dir.path()).is_err(), "a directory without a run");
    }
}
