//! HackMatrix on the host: everything about the game that needs no array language.
//!
//! The compiled environment keeps a game as device arrays. People, files and other programs want
//! names and lists instead, so this module owns the plain form, [`Game`], and all that reads it:
//!
//! * [`layout`]: names, scales, costs and coefficients, read from `jax_env_spec/hackmatrix/`;
//! * [`rules`]: the oracle, the whole game as plain sequential code;
//! * [`golden`]: recorded transitions that every implementation has to reproduce;
//! * [`stats`]: recorded frequencies of what is random, to compare with;
//! * [`protocol`]: the JSON-lines protocol of the original game;
//! * [`describe`]: the environment in names;
//! * [`view`]: a game as text.
//!
//! Nothing here knows about tracing or devices: the environment converts its arrays to and from
//! [`Game`], and is reached through two small traits, [`golden::Player`] and [`protocol::Table`].

mod cell;
mod cell_numbers;
pub mod describe;
mod game;
pub mod golden;
pub mod layout;
mod numbers;
pub mod protocol;
mod reach;
pub mod rules;
pub mod stats;
mod step_result;
pub mod view;

pub use cell::{CELLS, Cell, Grid, SIDE};
pub use game::{Board, Enemy, EnemyType, Game, SLOTS, Snapshot, Transmission, block, digits};
pub use reach::is_valid_layout;
pub use step_result::StepResult;
