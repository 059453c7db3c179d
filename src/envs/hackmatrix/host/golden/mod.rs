//! Golden transitions: what the rules allow, written down once, for every implementation to reproduce.
//!
//! A record holds a complete state, one action, and every result that the rules allow for it. An
//! implementation plays the record ([`Player`]) and [`verify`] requires that what it did is one of the
//! outcomes. `jax_env_spec/hackmatrix/README.md` describes the file format.

mod compare;
mod record;
mod verify;

pub use compare::differences;
pub use record::{Outcome, Record, Spawn, built_in, read, read_file};
pub use verify::{Player, Report, verify};
