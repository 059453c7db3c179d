//! The games.

mod cartpole;
mod env;
mod erased;
pub mod hackmatrix;
pub mod vector;

pub use cartpole::CartPole;
pub use env::{Aggregate, Env, EnvSpec, Metric, Step};
pub use erased::{AnyEnv, Erased};
