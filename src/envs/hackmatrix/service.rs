//! What the commands `verify` and `serve` do with the game.

use std::io::{self, BufReader};

use anyhow::ensure;
use clap::{Args, FromArgMatches};

use crate::envs::{Golden, Protocol};

use super::host::golden;
use super::host::layout::PROGRAMS;
use super::host::protocol::{Flags, OracleTable, Table, serve_with};
use super::host::rules::Rules;
use super::{CompiledPlayer, CompiledTable};

/// Records that are played at once.
const WIDTH: usize = 512;

/// Golden transitions through the compiled game.
pub const GOLDEN: Golden = Golden {
    help: "jax_env_spec/hackmatrix/README.md describes that of hackmatrix.",
    open: |file, open| {
        let records = golden::read_file(file)?;
        ensure!(!records.is_empty(), "there are no records in {}", file.display());
        let mut player = CompiledPlayer::new(WIDTH.min(records.len()), &open()?)?;
        Ok(Box::new(move |seeds, out| Ok(golden::verify(&records, &mut player, seeds, out)?.failed)))
    },
};

/// The JSON lines of the original game.
pub const PROTOCOL: Protocol = Protocol {
    help: "Clients of the original game find it through HACKMATRIX_BINARY=<checkout>/scripts/hackmatrix-headless. The game \
           is the compiled one; with --dev-mode and --programs, which it does not know, the slow plain one.",
    flags: Flags::augment_args,
    open: |flags, seed, open| {
        let flags = Flags::from_arg_matches(flags)?;
        let pool = flags.pool();
        let mut table: Box<dyn Table> = if pool.len() < PROGRAMS {
            Box::new(OracleTable::new(Rules { pool, ..Rules::default() }, seed))
        } else {
            Box::new(CompiledTable::new(&open()?, seed)?)
        };
        Ok(Box::new(move || {
            let (input, output) = (BufReader::new(io::stdin()), io::stdout());
            serve_with(&flags, input, output, io::stderr(), &mut *table)
        }))
    },
};
