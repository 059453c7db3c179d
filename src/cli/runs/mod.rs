//! `lockstep runs`: look at runs, compare them, stop them and clear them away.

mod compare;
mod diagnose;
mod list;
mod plot;
mod remove;
mod show;
mod stop;
mod subject;
mod watch;

pub use compare::differences;
pub use stop::stop_run;
pub use subject::moments;
pub use watch::warnings;

use std::io::{ErrorKind, Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use crate::cli::App;

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
    /// Draw the curves of runs into an SVG or PNG file
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
/// One line; [`find::Unknown`](crate::trainer::find::Unknown) for a name that is no run.
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

/// Prints a line on stdout. A reader that has seen enough (`| head`) is no error.
fn print(line: &str) -> Result<()> {
    match writeln!(stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
