//! `lockstep verify`: golden transitions through the compiled environment.

use std::cell::Cell;
use std::io;
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::config::{UsageError, usage};
use crate::envs::{Entry, Golden};
use crate::lang::Backend;

use super::device::Device;
use super::{App, Reported};

/// What to verify.
#[derive(Debug, Args)]
struct Verify {
    /// Environment: one that has golden data
    #[arg(value_name = "NAME", index = 1)]
    env: String,
    /// Golden data: JSON lines or one JSON document, gzipped or not
    #[arg(value_name = "FILE", index = 2)]
    file: PathBuf,
    /// Times to play each record that has random outcomes
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: usize,
    #[command(flatten)]
    device: Device,
}

pub fn command(app: &App) -> Command {
    let golden = |entry: &Entry| entry.golden.map(|Golden { help, .. }| (entry.name, help));
    let (names, help): (Vec<_>, Vec<_>) = app.entries().iter().filter_map(golden).unzip();
    let about = "Prints the first differences field by field and ends with `N passed, M failed`; exit status 1 if any failed.";
    Verify::augment_args(Command::new("verify"))
        .about("Compare golden data with a compiled environment")
        .mut_arg("env", |arg| super::of_these(arg, names))
        .after_help([&[about], &help[..]].concat().join(" "))
}

/// Plays the records and prints what differs.
///
/// # Errors
/// One line for a malformed file; [`Reported`] if records failed.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let verify = Verify::from_arg_matches(matches)?;
    if !(1..=10_000).contains(&verify.seeds) {
        return Err(UsageError(format!("seeds is {}; it must be from 1 to 10000", verify.seeds)).into());
    }
    let entry = app.catalog().env(&verify.env)?;
    let none = || {
        usage(anyhow::anyhow!(
            "{} has no golden transitions; its entry in the program names none",
            entry.name
        ))
    };
    let stage = Cell::new(None);
    let open = || -> Result<Backend> {
        let (client, tracing) = verify.device.open("tracing the environment")?;
        stage.set(Some(tracing));
        Ok(Backend::from(&client))
    };
    let of_algorithms = app.catalog().algorithms.entries().iter();
    let of_algorithm =
        of_algorithms.map(|entry| (entry.golden)(&verify.file, &open)).find_map(Result::transpose);
    let replay = match of_algorithm {
        Some(replay) => replay?,
        None => (entry.golden.ok_or_else(none)?.open)(&verify.file, &open)?,
    };
    drop(stage.take());
    let failed = replay(verify.seeds, &mut io::stdout())?;
    if failed > 0 { Err(Reported.into()) } else { Ok(()) }
}
