//! The games.

mod cartpole;
pub mod description;
mod env;
mod erased;
pub mod hackmatrix;
pub mod registry;
pub mod vector;

pub use cartpole::CartPole;
pub use description::Description;
pub use env::{Aggregate, Env, EnvSpec, Metric, Step};
pub use erased::{AnyEnv, Erased};

use crate::array::HostArray;
use crate::interpret::interpret;
use crate::lang::trace;

/// The default parameters of an environment as named host values.
pub fn default_params(env: &dyn AnyEnv) -> Vec<(String, HostArray)> {
    let traced = trace(&(), |()| env.default_params());
    traced.output_names.into_iter().zip(interpret(&traced.graph, &[])).collect()
}
