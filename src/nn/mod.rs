//! Neural networks: layers, initializers, the policy's distribution, the actor-critic, the Q-network.
//!
//! A [`Network`] is what is fixed: sizes, activations, the cell. Its parameters are a tree, and what it does is a pure function of
//! them. [`Settings`] say how lockstep's own network, the [`ActorCritic`], is built; they stand in the metadata of every
//! parameter file, so that a reader can build it again and check the arrays against it.

mod actor_critic;
mod categorical;
mod conv;
mod dense;
mod init;
mod network;
mod popart;
mod q_network;
mod recurrent;
mod settings;

pub use actor_critic::{ActorCritic, ActorCriticParams};
pub use categorical::Categorical;
pub use conv::{Channels, Conv, ConvSpec, Convs};
pub use dense::{Activation, Dense};
pub use init::{Init, LayerSpec};
pub use network::{Critic, LayerOutputs, Network, NotANetwork, Outputs, check_arrays, check_params};
pub use popart::PopArt;
pub use q_network::{QNetwork, QParams, QSettings};
pub use recurrent::{Cell, Rnn};
pub use settings::{Settings, ValueHead};
