//! The games.

mod env;
pub mod hackmatrix;

pub use env::{Aggregate, Env, EnvSpec, Metric, Step};
