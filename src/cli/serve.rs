//! `lockstep serve`: an environment behind a protocol on standard input and output.

use std::cell::Cell;

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::config::usage;
use crate::envs::{Entry, Protocol};
use crate::lang::Backend;

use super::App;
use super::device::Device;

/// What to serve.
#[derive(Debug, Args)]
struct Serve {
    /// Environment: one that has a protocol
    #[arg(value_name = "NAME", index = 1)]
    env: String,
    /// Seed of all random numbers [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    device: Device,
}

pub fn command(app: &App) -> Command {
    let protocol = |entry: &Entry| entry.protocol.map(|protocol| (entry.name, protocol));
    let (names, protocols): (Vec<_>, Vec<_>) = app.entries().iter().filter_map(protocol).unzip();
    let help: Vec<_> = protocols.iter().map(|Protocol { help, .. }| *help).collect();
    let command = protocols.iter().fold(Command::new("serve"), |command, protocol| (protocol.flags)(command));
    Serve::augment_args(command)
        .about("Serve an environment to other programs, by JSON lines on standard input and output")
        .mut_arg("env", |arg| super::of_these(arg, names))
        .after_help(help.join(" "))
}

/// Answers until the input ends.
///
/// # Errors
/// One line: no device, or input and output that cannot be used.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let serve = Serve::from_arg_matches(matches)?;
    let seed = serve.seed.unwrap_or_else(|| jiff::Timestamp::now().as_nanosecond() as u64);
    let entry = app.catalog().env(&serve.env)?;
    let none =
        || usage(anyhow::anyhow!("{} has no protocol; its entry in the program names none", entry.name));
    let protocol = entry.protocol.ok_or_else(none)?;
    let stage = Cell::new(None);
    let open = || -> Result<Backend> {
        let (client, tracing) = serve.device.open("tracing the environment")?;
        stage.set(Some(tracing));
        Ok(Backend::from(&client))
    };
    let answer = (protocol.open)(matches, seed, &open)?;
    drop(stage.take());
    answer()
}
