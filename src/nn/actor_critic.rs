//! The actor-critic: a policy and a value function, with one trunk for both or a trunk each. In front of them stand, if wanted,
//! convolutions over images and a recurrent cell.

use anyhow::{Context, Result};

use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Features, Float, Key, Leaves, Packing, leaf_types, merge_first_axes, scan, split_first_axis,
};

use super::conv::{self, Conv, Image};
use super::{Cell, Dense, LayerSpec, Network, Outputs, Settings, dense};

/// What is fixed about the network.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorCritic {
    pub settings: Settings,
    pub obs_size: usize,
    pub num_actions: usize,
    /// Whether observations are mostly zeros (see `EnvSpec`): the first layer skips them.
    pub sparse_obs: bool,
    /// How observations are packed, where they are.
    pub packing: Option<Packing>,
    /// What the convolutions read, where there are any.
    image: Option<Image>,
}

/// The parameters. Hidden layers stand in `trunk` if shared, else before the head in `actor` and `critic`.
#[derive(Clone, Debug)]
pub struct ActorCriticParams {
    pub conv: Vec<Conv>,
    pub rnn: Option<Cell>,
    pub trunk: Vec<Dense>,
    pub actor: Vec<Dense>,
    pub critic: Vec<Dense>,
}

crate::tree!(ActorCriticParams { conv, rnn, trunk, actor, critic });

impl ActorCritic {
    /// The network for what an environment shows and takes.
    ///
    /// # Errors
    /// One line: convolutions over observations that are no images.
    pub fn new(settings: Settings, spec: &EnvSpec) -> Result<ActorCritic> {
        let EnvSpec { name, obs_shape, .. } = spec;
        let image = if settings.conv.is_empty() {
            None
        } else {
            let image = Image::of(obs_shape, settings.conv_channels);
            Some(image.with_context(|| {
                format!(
                    "conv needs observations that are images, of 2 or 3 axes; those of {name} have the shape {obs_shape:?}"
                )
            })?)
        };
        Ok(ActorCritic {
            settings,
            obs_size: spec.obs_size(),
            num_actions: spec.num_actions,
            sparse_obs: spec.sparse_obs,
            packing: spec.packing(),
            image,
        })
    }

    /// Numbers that the cell reads, or the trunks where there is none.
    fn torso_outputs(&self) -> usize {
        self.image.map_or(self.obs_size, |image| image.outputs(&self.settings.conv))
    }

    /// Numbers that the trunks read.
    fn trunk_inputs(&self) -> usize {
        if self.settings.rnn.is_some() { self.settings.rnn_dim } else { self.torso_outputs() }
    }

    /// What the convolutions make of observations; without any, these themselves.
    #[track_caller]
    fn torso(&self, params: &ActorCriticParams, obs: Features) -> Features {
        let Some(image) = self.image else { return obs };
        let pixels = match obs {
            Features::Plain(x) => x,
            Features::Packed { numbers, flags } => self.packing().unpack(numbers, flags),
        };
        Features::Plain(conv::torso(
            &self.settings.conv,
            &params.conv,
            self.settings.activation,
            image.arrange(pixels),
        ))
    }

    #[track_caller]
    fn packing(&self) -> &Packing {
        self.packing.as_ref().expect("the network was made for observations that are packed")
    }

    /// The layers of trunk, actor and critic.
    fn layers(&self) -> [Vec<LayerSpec>; 3] {
        let Settings { hidden_dim, num_layers, separate_trunks, .. } = self.settings;
        let hidden = |i: usize| LayerSpec {
            inputs: if i == 0 { self.trunk_inputs() } else { hidden_dim },
            outputs: hidden_dim,
            gain: std::f64::consts::SQRT_2,
        };
        let head_inputs = if num_layers == 0 { self.trunk_inputs() } else { hidden_dim };
        let head = |outputs, gain| LayerSpec { inputs: head_inputs, outputs, gain };
        let hidden: Vec<LayerSpec> = (0..num_layers).map(hidden).collect();
        let (actor, critic) = (head(self.num_actions, 0.01), head(1, 1.0));
        if separate_trunks {
            [vec![], [&hidden[..], &[actor]].concat(), [&hidden[..], &[critic]].concat()]
        } else {
            [hidden, vec![actor], vec![critic]]
        }
    }

    /// Logits and values from what the trunks read.
    #[track_caller]
    fn heads(&self, params: &ActorCriticParams, x: Features) -> Outputs {
        match (&params.trunk[..], &params.actor[..], &params.critic[..]) {
            // Heads that read the same numbers are one layer.
            ([_, ..], [actor], [critic]) => {
                let layers = [&params.trunk[..], &[actor.beside(critic)]].concat();
                let both = self.mlp(&layers, x);
                let actions = actor.bias.size();
                let value = both.slice(1, actions..actions + 1).squeeze(1);
                Outputs { logits: both.slice(1, 0..actions), value }
            }
            (trunk, actor, critic) => {
                let part = |head: &[Dense]| self.mlp(&[trunk, head].concat(), x);
                Outputs { logits: part(actor), value: part(critic).squeeze(1) }
            }
        }
    }

    /// Layers with the activation between them. The first one reads observations in its own way if they are packed or sparse.
    #[track_caller]
    fn mlp(&self, layers: &[Dense], x: Features) -> Float {
        let activation = self.settings.activation;
        let (first, rest) = layers.split_first().expect("a network has a layer");
        match x {
            Features::Plain(x) if !self.is_sparse(self.settings.rnn.is_none()) => {
                dense::mlp(layers, activation, x)
            }
            x => {
                let y = self.read(first, x);
                if rest.is_empty() { y } else { dense::mlp(rest, activation, activation.apply(y)) }
            }
        }
    }

    /// Whether the layer after the convolutions skips zeros, if it is the `first` to read what comes out of them.
    fn is_sparse(&self, first: bool) -> bool {
        first && self.sparse_obs && self.image.is_none()
    }

    /// What the first layer makes of observations, or of what the convolutions made of them.
    #[track_caller]
    fn read(&self, layer: &Dense, x: Features) -> Float {
        let product = match x {
            Features::Packed { numbers, flags } => self.packing().matmul(numbers, flags, layer.kernel),
            Features::Plain(x) if self.is_sparse(true) => x.sparse_matmul(layer.kernel),
            Features::Plain(x) => x.matmul(layer.kernel),
        };
        product + layer.bias.broadcast(0, product.shape()[0])
    }
}

impl Network for ActorCritic {
    type Params = ActorCriticParams;

    #[track_caller]
    fn init(&self, key: Key) -> ActorCriticParams {
        let Settings { init, rnn, rnn_dim, .. } = self.settings;
        let (conv, key) = match self.image {
            None => (Vec::new(), key),
            Some(image) => {
                let [conv, key] = key.split();
                (conv::init(init, conv, image.channels, &self.settings.conv), key)
            }
        };
        let (cell, key) = match rnn {
            None => (None, key),
            Some(rnn) => {
                let [cell, key] = key.split();
                (Some(rnn.init(init, cell, self.torso_outputs(), rnn_dim)), key)
            }
        };
        let [trunk, actor, critic] = self.layers();
        let mut layers = init.layers(key, &[&trunk[..], &actor, &critic].concat());
        let critic = layers.split_off(trunk.len() + actor.len());
        let actor = layers.split_off(trunk.len());
        ActorCriticParams { conv, rnn: cell, trunk: layers, actor, critic }
    }

    #[track_caller]
    fn begin(&self, rows: usize) -> Leaves {
        self.settings.rnn.map_or(Leaves::default(), |rnn| rnn.begin(rows, self.settings.rnn_dim))
    }

    #[track_caller]
    fn apply(
        &self,
        params: &ActorCriticParams,
        carry: Leaves,
        view: &View,
        starts: Option<Bool>,
    ) -> (Leaves, Outputs) {
        let x = self.torso(params, view.obs);
        match (self.settings.rnn, &params.rnn) {
            (Some(rnn), Some(cell)) => {
                let (carry, output) = rnn.step(cell, carry, self.read(&cell.input, x), starts);
                (carry, self.heads(params, Features::Plain(output)))
            }
            _ => (carry, self.heads(params, x)),
        }
    }

    #[track_caller]
    fn value(&self, params: &ActorCriticParams, carry: Leaves, view: &View, starts: Option<Bool>) -> Float {
        let x = self.torso(params, view.obs);
        let x = match (self.settings.rnn, &params.rnn) {
            (Some(rnn), Some(cell)) => {
                Features::Plain(rnn.step(cell, carry, self.read(&cell.input, x), starts).1)
            }
            _ => x,
        };
        self.mlp(&[&params.trunk[..], &params.critic].concat(), x).squeeze(1)
    }

    fn activations(&self, params: &ActorCriticParams) -> usize {
        let dense = ActorCriticParams { conv: Vec::new(), ..params.clone() };
        let of_dense: usize = leaf_types(&dense).iter().map(|array_type| array_type.shape[0]).sum();
        of_dense + self.image.map_or(0, |image| image.activations(&self.settings.conv))
    }

    /// Only the cell goes step by step; the products before and after it take all rows at once.
    #[track_caller]
    fn unroll(&self, params: &ActorCriticParams, carry: Leaves, views: View, starts: Bool) -> Outputs {
        let rows = self.torso(params, merge_first_axes(views.obs));
        let (Some(rnn), Some(cell)) = (self.settings.rnn, &params.rnn) else {
            return self.heads(params, rows);
        };
        let read = split_first_axis(self.read(&cell.input, rows), starts.shape()[0]);
        let (_, outputs) =
            scan(carry, (read, starts), |carry, (read, starts)| rnn.step(cell, carry, read, Some(starts)));
        self.heads(params, Features::Plain(merge_first_axes(outputs)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::array::{ArrayType, DType};
    use crate::interpret::interpret;
    use crate::lang::{arange, leaf_paths, leaf_types, structure_of, trace};
    use crate::nn::{Activation, Channels, Init, Rnn, check_params};

    fn network(separate_trunks: bool, num_layers: usize, rnn: Option<Rnn>) -> ActorCritic {
        let activation = Activation::Tanh;
        let (hidden_dim, rnn_dim, init) = (8, 6, Init::Lecun);
        let (conv, conv_channels) = (vec![], Channels::Last);
        let settings = Settings {
            hidden_dim,
            num_layers,
            activation,
            separate_trunks,
            init,
            conv,
            conv_channels,
            rnn,
            rnn_dim,
        };
        ActorCritic { settings, obs_size: 4, num_actions: 3, sparse_obs: false, packing: None, image: None }
    }

    /// Names and types of the parameters that training would save.
    fn types(network: &ActorCritic) -> Vec<(String, ArrayType)> {
        let params = structure_of(|| network.init(Key::new(0)));
        let names = leaf_paths(&params).into_iter().map(|path| format!("params.{path}"));
        names.zip(leaf_types(&params)).collect()
    }

    #[test]
    fn the_metadata_says_what_the_network_is() {
        for rnn in [None, Some(Rnn::Lstm), Some(Rnn::MinGru)] {
            for (separate_trunks, num_layers) in [(false, 2), (true, 2), (false, 12)] {
                let network = network(separate_trunks, num_layers, rnn);
                let mut types = types(&network);
                types.sort_by(|(a, _), (b, _)| a.cmp(b)); // as files hold them: layer 10 before layer 2
                let mut metadata: BTreeMap<String, String> =
                    network.settings.metadata().into_iter().collect();
                let mut settings = Settings::from_metadata(&metadata, false).unwrap();
                settings.rnn_dim = network.settings.rnn_dim; // said only where there is a cell
                assert_eq!(settings, network.settings);
                // Files of the first versions leave it to the names of their arrays.
                metadata.remove("separate_trunks");
                let old = Settings::from_metadata(&metadata, !separate_trunks).unwrap();
                assert_eq!(old.separate_trunks, separate_trunks);
                check_params(&network, &types).unwrap();
            }
        }
    }

    #[test]
    fn arrays_that_are_no_network_are_refused() {
        let message = |change: fn(&mut Vec<(String, ArrayType)>)| {
            let network = network(false, 2, None);
            let mut types = types(&network);
            change(&mut types);
            check_params(&network, &types).unwrap_err().to_string()
        };
        assert!(message(|types| types.clear()).ends_with("there is no params.trunk.0.kernel"));
        assert!(message(|types| types.retain(|(n, _)| n != "params.trunk.1.bias")).contains("trunk.1.bias"));
        assert!(message(|types| types[0].1.dtype = DType::F64).contains("f64"));
        let reshape = |types: &mut Vec<(String, ArrayType)>| {
            let kernel = types.iter_mut().find(|(name, _)| name == "params.trunk.1.kernel").unwrap();
            kernel.1.shape = vec![9, 8];
        };
        assert!(message(reshape).contains("params.trunk.1.kernel is f32[9,8]"));
        assert!(message(|types| types.push(("rest".into(), ArrayType::scalar(DType::F32)))).contains("rest"));
    }

    #[test]
    fn a_sequence_is_its_steps() {
        let network = network(false, 1, Some(Rnn::Gru));
        let traced = trace(&(), |()| {
            let params = network.init(Key::new(1));
            let obs = (arange(5 * 3 * 4).as_f32() * 0.7).sin().reshape([5, 3, 4]);
            let starts = (arange(15) % 7).eq(3).reshape([5, 3]);
            let view = |obs| View { obs: Features::Plain(obs), mask: None, privileged: None, to_move: None };
            let (_, steps) = scan(network.begin(3), (obs, starts), |carry, (obs, starts)| {
                network.apply(&params, carry, &view(obs), Some(starts))
            });
            (network.unroll(&params, network.begin(3), view(obs), starts), merge_first_axes(steps))
        });
        let outputs = interpret(&traced.graph, &[]);
        for (at_once, by_steps) in [(0, 2), (1, 3)] {
            let pairs = outputs[at_once].to_f64().into_iter().zip(outputs[by_steps].to_f64());
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }
}
