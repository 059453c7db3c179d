//! `lockstep serve`: an environment behind a protocol on standard input and output.

use std::io::{self, BufReader};

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::envs::hackmatrix::CompiledTable;
use crate::envs::hackmatrix::host::layout::PROGRAMS;
use crate::envs::hackmatrix::host::protocol::{Flags, OracleTable, Table, serve_with};
use crate::envs::hackmatrix::host::rules::Rules;
use crate::lang::Backend;

use super::device::Device;

/// What to serve.
#[derive(Debug, Args)]
struct Serve {
    /// Environment: one that has a protocol
    #[arg(value_name = "NAME", value_parser = ["hackmatrix"])]
    env: String,
    #[command(flatten)]
    flags: Flags,
    /// Seed of all random numbers [default: another one each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    device: Device,
}

pub fn command() -> Command {
    Serve::augment_args(Command::new("serve"))
        .about("Serve an environment to other programs, by JSON lines on standard input and output")
        .after_help(
            "Clients of the original game find it through HACKMATRIX_BINARY=<checkout>/scripts/hackmatrix-headless. \
             The game is the compiled one; with --dev-mode and --programs, which it does not know, the slow plain one.",
        )
}

/// Answers until the input ends.
///
/// # Errors
/// One line: no device, or input and output that cannot be used.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let serve = Serve::from_arg_matches(matches)?;
    let seed = serve.seed.unwrap_or_else(|| jiff::Timestamp::now().as_nanosecond() as u64);
    let pool = serve.flags.pool();
    let mut table: Box<dyn Table> = if pool.len() < PROGRAMS {
        Box::new(OracleTable::new(Rules { pool, ..Rules::default() }, seed))
    } else {
        let (client, _stage) = serve.device.open("tracing the game")?;
        Box::new(CompiledTable::new(&Backend::Device(client), seed)?)
    };
    let (input, output) = (BufReader::new(io::stdin()), io::stdout());
    serve_with(&serve.flags, input, output, io::stderr(), &mut *table)
}
