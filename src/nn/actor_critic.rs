//! The actor-critic: a policy and a value function, with one trunk for both or a trunk each.

use crate::lang::{Float, Key};

use super::{Activation, Dense, Init};

/// What is fixed about the network beside its parameters' shapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Architecture {
    pub obs_size: usize,
    pub num_actions: usize,
    pub hidden_dim: usize,
    pub num_layers: usize,
    pub activation: Activation,
    pub separate_trunks: bool,
    pub init: Init,
}

/// The parameters. Hidden layers stand in `trunk` if shared, else before the head in `actor` and `critic`.
#[derive(Clone)]
pub struct ActorCritic {
    pub trunk: Vec<Dense>,
    pub actor: Vec<Dense>,
    pub critic: Vec<Dense>,
}
crate::tree!(ActorCritic { trunk, actor, critic });

impl Architecture {
    #[track_caller]
    pub fn init(&self, key: Key) -> ActorCritic {
        let [trunk, actor, critic] = key.split();
        if self.separate_trunks {
            ActorCritic {
                trunk: vec![],
                actor: self.layers(actor, self.obs_size, Some((self.num_actions, 0.01))),
                critic: self.layers(critic, self.obs_size, Some((1, 1.0))),
            }
        } else {
            ActorCritic {
                trunk: self.layers(trunk, self.obs_size, None),
                actor: vec![self.init.dense(actor, self.hidden_dim, self.num_actions, 0.01)],
                critic: vec![self.init.dense(critic, self.hidden_dim, 1, 1.0)],
            }
        }
    }

    /// The hidden layers, and a head of the given size and gain.
    #[track_caller]
    fn layers(&self, key: Key, inputs: usize, head: Option<(usize, f64)>) -> Vec<Dense> {
        let mut layers = Vec::new();
        let mut size = inputs;
        for i in 0..self.num_layers {
            let gain = std::f64::consts::SQRT_2;
            layers.push(self.init.dense(key.fold_in(i), size, self.hidden_dim, gain));
            size = self.hidden_dim;
        }
        if let Some((outputs, gain)) = head {
            layers.push(self.init.dense(key.fold_in(self.num_layers), size, outputs, gain));
        }
        layers
    }
}

impl ActorCritic {
    /// Logits `[N, A]` and values `[N]` for observations `[N, O]`.
    #[track_caller]
    pub fn apply(&self, activation: Activation, obs: Float) -> (Float, Float) {
        let hidden = self.hidden(activation, obs);
        let logits = mlp(&self.actor, activation, hidden);
        (logits, mlp(&self.critic, activation, hidden).squeeze(1))
    }

    /// Values `[N]` alone.
    #[track_caller]
    pub fn value(&self, activation: Activation, obs: Float) -> Float {
        mlp(&self.critic, activation, self.hidden(activation, obs)).squeeze(1)
    }

    #[track_caller]
    fn hidden(&self, activation: Activation, obs: Float) -> Float {
        let mut hidden = obs;
        for layer in &self.trunk {
            hidden = activation.apply(layer.apply(hidden));
        }
        hidden
    }
}

/// Layers with the activation between them.
#[track_caller]
fn mlp(layers: &[Dense], activation: Activation, x: Float) -> Float {
    let mut x = layers[0].apply(x);
    for layer in &layers[1..] {
        x = layer.apply(activation.apply(x));
    }
    x
}
