//! Neural networks: layers, initializers, the policy's distribution, the actor-critic.
//!
//! A network is a tree of parameters and a pure function of it. Sizes are read from the shapes of the
//! parameters, so that a parameter file says all that is needed to run it.

mod actor_critic;
mod categorical;
mod dense;
mod init;

pub use actor_critic::{ActorCritic, Architecture, NotANetwork, Style};
pub use categorical::Categorical;
pub use dense::{Activation, Dense};
pub use init::{Init, LayerSpec};
