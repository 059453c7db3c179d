//! HackMatrix on the host: everything about the game that needs no array language.
//!
//! The compiled environment keeps a game as device arrays. People, files and other programs want
//! names and lists instead, so this module owns the plain form, [`Game`], and all that reads it:
//! the golden transitions that every implementation has to reproduce ([`golden`]).
//!
//! Nothing here knows about tracing or devices: the environment converts its arrays to and from
//! [`Game`], and is reached through small traits.

mod game;
pub mod golden;
pub mod layout;
pub mod rules;
mod step_result;

pub use game::{Board, CELLS, Cell, Enemy, EnemyType, Game, Grid, SIDE, Snapshot, Transmission, block};
pub use step_result::StepResult;
