//! Environments: the trait [`Env`], what is made of any of them ([`vector`]: many side by side with automatic reset), the check
//! that one keeps the contract ([`conformance`](conformance())), a wrapper that pays something else ([`RewardShaping`]), and the
//! games that come with lockstep ([`registry`]) or lie in C libraries ([`native`]).

pub mod asteroid;
pub mod bandit;
mod bits;
mod boundary;
mod cartpole;
pub mod chain_mdp;
mod conformance;
pub mod connect4;
pub mod description;
mod entry;
mod env;
mod erased;
pub mod front;
pub mod g2048;
pub(crate) mod golden;
pub mod goodharts;
pub mod hackmatrix;
pub mod health;
mod layout;
mod make;
pub mod memory;
pub mod native;
mod options;
pub mod painter;
pub mod password;
mod random_action;
pub mod registry;
pub mod scene;
pub mod shaping;
pub mod squared;
pub mod stochastic;
pub mod survival;
pub mod telemetry;
pub mod vector;

pub use asteroid::Asteroid;
pub use bandit::Bandit;
pub use cartpole::CartPole;
pub use chain_mdp::ChainMdp;
pub use conformance::conformance;
pub use connect4::Connect4;
pub use description::Description;
pub use entry::{Entry, Golden, Open, Position, Protocol, Replay, boxed};
pub use env::{Aggregate, Clock, Env, EnvSpec, Metric, Mirror, Observation, Player, Step};
pub use erased::{AnyEnv, Erased};
pub use g2048::G2048;
pub use health::Health;
pub use memory::Memory;
pub use native::short_name;
pub use options::{OtherSize, Sizes, Switch, name_and_value};
pub use password::Password;
pub use random_action::{random_action, random_action_by};
pub use registry::{Registry, builtin};
pub use shaping::RewardShaping;
pub use squared::Squared;
pub use stochastic::Stochastic;
pub use telemetry::Telemetry;

use crate::array::HostArray;
use crate::interpret::interpret;
use crate::lang::{Leaves, trace};

/// The default parameters of an environment as named host values.
pub fn default_params(env: &dyn AnyEnv) -> Vec<(String, HostArray)> {
    values(|| env.default_params())
}

/// The parameters of each phase of an environment's curriculum, as named host values.
pub fn phases(env: &dyn AnyEnv) -> Vec<Vec<(String, HostArray)>> {
    let count = trace(&(), |()| env.phases()).output.len();
    (0..count).map(|phase| values(|| env.phases().swap_remove(phase))).collect()
}

fn values(params: impl Fn() -> Leaves) -> Vec<(String, HostArray)> {
    let traced = trace(&(), |()| params());
    traced.output_names.into_iter().zip(interpret(&traced.graph, &[])).collect()
}
