//! `lockstep verify`: golden transitions through the compiled environment.

use std::io;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use crate::config::UsageError;
use crate::envs::hackmatrix::CompiledPlayer;
use crate::envs::hackmatrix::host::golden;
use crate::lang::Backend;

use super::Reported;
use super::device::Device;

/// Records that are played at once.
const WIDTH: usize = 512;

/// What to verify.
#[derive(Debug, Args)]
struct Verify {
    /// Environment: one that has golden transitions in lockstep's format
    #[arg(value_name = "NAME", value_parser = ["hackmatrix"])]
    env: String,
    /// Golden transitions: JSON lines, gzipped or not
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Times to play each transition that has random outcomes
    #[arg(long, value_name = "N", default_value_t = 20)]
    seeds: usize,
    #[command(flatten)]
    device: Device,
}

pub fn command() -> Command {
    Verify::augment_args(Command::new("verify")).about("Replay golden transitions through a compiled environment").after_help(
        "Prints the first differences field by field and ends with `N passed, M failed`; exit status 1 if any failed. \
         jax_env_spec/hackmatrix/README.md describes the file.",
    )
}

/// Plays the records and prints what differs.
///
/// # Errors
/// One line for a malformed file; [`Reported`] if records failed.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let verify = Verify::from_arg_matches(matches)?;
    if !(1..=10_000).contains(&verify.seeds) {
        return Err(UsageError(format!("seeds is {}; it must be from 1 to 10000", verify.seeds)).into());
    }
    let records = golden::read_file(&verify.file)?;
    ensure!(!records.is_empty(), "there are no records in {}", verify.file.display());
    let (client, stage) = verify.device.open("tracing the game")?;
    let mut player = CompiledPlayer::new(WIDTH.min(records.len()), &Backend::from(&client))?;
    drop(stage);
    let report = golden::verify(&records, &mut player, verify.seeds, &mut io::stdout())?;
    if report.failed > 0 { Err(Reported.into()) } else { Ok(()) }
}
