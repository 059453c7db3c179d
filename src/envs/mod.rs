//! The games.

mod cartpole;
mod env;
pub mod hackmatrix;

pub use cartpole::CartPole;
pub use env::{Aggregate, Env, EnvSpec, Metric, Step};
