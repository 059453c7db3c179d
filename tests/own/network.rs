//! A network of one's own: a policy with one hidden layer, and one number that is learned as the value of all observations.

use lockstep::envs::{EnvSpec, vector::View};
use lockstep::lang::{Bool, Float, Key, Leaves, float};
use lockstep::nn::{Dense, Init, LayerSpec, Network, Outputs};

const HIDDEN: usize = 32;

/// What is fixed about it: the sizes of the environment, and how it packs observations.
#[derive(Clone)]
pub struct Small(EnvSpec);

/// The names of the fields are those of the arrays in parameter files: `params.hidden.kernel`.
#[derive(Clone, Copy)]
pub struct SmallParams {
    pub hidden: Dense,
    pub head: Dense,
    pub value: Float,
}
lockstep::tree!(SmallParams { hidden, head, value });

impl Small {
    pub fn new(spec: &EnvSpec) -> Small {
        Small(spec.clone())
    }
}

impl Network for Small {
    type Params = SmallParams;

    fn init(&self, key: Key) -> SmallParams {
        let hidden = LayerSpec { inputs: self.0.obs_size(), outputs: HIDDEN, gain: 1.0 };
        let head = LayerSpec { inputs: HIDDEN, outputs: self.0.num_actions, gain: 0.01 };
        let layers = Init::Orthogonal.layers(key, &[hidden, head]);
        SmallParams { hidden: layers[0], head: layers[1], value: float(0.0) }
    }

    /// Of `N` observations f32`[N, inputs]`. A network that remembers something also reads `carry` and gives a new one.
    fn apply(&self, params: &SmallParams, carry: Leaves, view: &View, _: Option<Bool>) -> (Leaves, Outputs) {
        let obs = view.obs.unpacked(self.0.packing().as_ref());
        let logits = params.head.apply(params.hidden.apply(obs).tanh());
        (carry, Outputs { logits, value: params.value.broadcast(0, obs.shape()[0]) })
    }
}
