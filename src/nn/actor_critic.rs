//! The actor-critic: a policy and a value function, with one trunk for both or a trunk each. In front of them stand, if wanted,
//! convolutions over images and a recurrent cell.
//!
//! Where an environment has privileged observations, the value function reads them, too (an asymmetric actor-critic, Pinto et al.
//! 2017): a layer of the critic's own takes them in beside what the shared trunk makes of the observation. The policy never reads
//! them, so a trained network acts where there are none.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Features, Float, Key, Leaves, Packing, leaf_types, merge_first_axes, split_first_axis,
};

use super::conv::{self, Conv, Image};
use super::{
    Activation, Cell, Critic, Dense, LayerOutputs, LayerSpec, Network, Outputs, PopArt, Settings, ValueHead,
    dense, settings,
};

/// The entry of a file's metadata that says how many numbers a privileged observation has.
const PRIVILEGED_SIZE: &str = "privileged_size";

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
    /// Numbers of a privileged observation; 0 where there are none.
    privileged_size: usize,
}

/// What a layer reads.
#[derive(Clone, Copy)]
enum Input {
    /// Observations, in the form in which they are stored.
    Observed(Features),
    /// What other layers made of them, f32`[N, I]`.
    Computed(Float),
}

/// The parameters. Hidden layers stand in `trunk` if shared, else before the head in `actor` and `critic`.
#[derive(Clone, Debug)]
pub struct ActorCriticParams {
    pub conv: Vec<Conv>,
    pub rnn: Option<Cell>,
    pub trunk: Vec<Dense>,
    pub actor: Vec<Dense>,
    pub critic: Vec<Dense>,
    /// What normalizes the critic's values, where something does.
    pub popart: Option<PopArt>,
}

crate::tree!(ActorCriticParams { conv, rnn, trunk, actor, critic, popart });

impl ActorCritic {
    /// The network for what an environment shows and takes.
    ///
    /// # Errors
    /// One line: convolutions over observations that are no images, or too small ones.
    pub fn new(settings: Settings, spec: &EnvSpec) -> Result<ActorCritic> {
        let image = Image::required(spec, settings.conv_channels, &settings.conv)?;
        let privileged_size = if settings.privileged_critic { spec.privileged_size() } else { 0 };
        Ok(ActorCritic {
            settings,
            obs_size: spec.obs_size(),
            num_actions: spec.num_actions,
            sparse_obs: spec.sparse_obs,
            packing: spec.packing(),
            image,
            privileged_size,
        })
    }

    /// The network in a parameter file with this metadata. `has_trunk` says whether the arrays in it have a shared trunk.
    ///
    /// # Errors
    /// One line: the metadata is incomplete or makes no sense, or the network is one for other observations.
    pub fn from_metadata(
        metadata: &BTreeMap<String, String>,
        has_trunk: bool,
        spec: &EnvSpec,
    ) -> Result<ActorCritic> {
        let network = ActorCritic::new(Settings::from_metadata(metadata, has_trunk)?, spec)?;
        // The environment in which it acts may be one without privileged observations.
        let privileged_size = match metadata.contains_key(PRIVILEGED_SIZE) {
            true => settings::entry(metadata, PRIVILEGED_SIZE)?,
            false => 0,
        };
        Ok(ActorCritic { privileged_size, ..network })
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
    fn torso(&self, params: &ActorCriticParams, obs: Features) -> Input {
        let Some(images) = self.images(obs) else { return Input::Observed(obs) };
        let Settings { conv, activation, .. } = &self.settings;
        Input::Computed(conv::torso(conv, &params.conv, *activation, images))
    }

    /// What the convolutions read, if there are any.
    #[track_caller]
    fn images(&self, obs: Features) -> Option<Float> {
        let image = self.image?;
        let pixels = match obs {
            Features::Plain(x) => x,
            Features::Packed { numbers, flags } => self.packing().unpack(numbers, flags),
        };
        Some(image.arrange(pixels))
    }

    #[track_caller]
    fn packing(&self) -> &Packing {
        self.packing.as_ref().expect("the network was made for observations that are packed")
    }

    /// The layers of trunk, actor and critic. The critic's first layer reads privileged observations as well; behind a shared trunk,
    /// that is a hidden layer of its own.
    fn layers(&self) -> [Vec<LayerSpec>; 3] {
        let Settings { hidden_dim, num_layers, separate_trunks, .. } = self.settings;
        let (inputs, privileged) = (self.trunk_inputs(), self.privileged_size);
        let width = |inputs: usize, layers: usize| if layers == 0 { inputs } else { hidden_dim };
        let hidden = |inputs: usize, layers: usize| -> Vec<LayerSpec> {
            let layer = |i| LayerSpec {
                inputs: width(inputs, i),
                outputs: hidden_dim,
                gain: std::f64::consts::SQRT_2,
            };
            (0..layers).map(layer).collect()
        };
        let head = |inputs: usize, layers: usize, outputs: usize, gain: f64| -> Vec<LayerSpec> {
            let head = LayerSpec { inputs: width(inputs, layers), outputs, gain };
            [&hidden(inputs, layers)[..], &[head]].concat()
        };
        let actor = |inputs, layers| head(inputs, layers, self.num_actions, 0.01);
        let critic = |inputs, layers| head(inputs + privileged, layers, 1, 1.0);
        if separate_trunks {
            [vec![], actor(inputs, num_layers), critic(inputs, num_layers)]
        } else {
            let features = width(inputs, num_layers);
            [hidden(inputs, num_layers), actor(features, 0), critic(features, usize::from(privileged > 0))]
        }
    }

    /// What the trunks read in one step, and what is remembered of it.
    #[track_caller]
    fn read_view(
        &self,
        params: &ActorCriticParams,
        carry: Leaves,
        view: &View,
        starts: Option<Bool>,
    ) -> (Leaves, Input) {
        let x = self.torso(params, view.obs);
        match (self.settings.rnn, &params.rnn) {
            (Some(rnn), Some(cell)) => {
                let (carry, output) = rnn.step(cell, carry, self.read(&cell.input, x), starts);
                (carry, Input::Computed(output))
            }
            _ => (carry, x),
        }
    }

    /// Logits and values from what the trunks read.
    #[track_caller]
    fn heads(&self, params: &ActorCriticParams, x: Input, privileged: Option<Float>) -> Outputs {
        match (&params.trunk[..], &params.actor[..], &params.critic[..]) {
            // Heads that read the same numbers are one layer.
            ([_, ..], [actor], [critic]) => {
                let layers = [&params.trunk[..], &[actor.beside(critic)]].concat();
                let both = self.mlp(&layers, x);
                let actions = actor.bias.size();
                let value = both.slice(1, actions..actions + 1).squeeze(1);
                Outputs { logits: both.slice(1, 0..actions), value }
            }
            (trunk, actor, critic) if self.privileged_size == 0 => {
                let part = |head: &[Dense]| self.mlp(&[trunk, head].concat(), x);
                Outputs { logits: part(actor), value: part(critic).squeeze(1) }
            }
            (trunk, actor, _) => {
                let features = self.features(trunk, x);
                let value = self.asymmetric_value(params, features, privileged);
                Outputs { logits: self.mlp(actor, features), value }
            }
        }
    }

    /// The values f32`[N]` from what the trunks read.
    #[track_caller]
    fn values(&self, params: &ActorCriticParams, x: Input, privileged: Option<Float>) -> Float {
        if self.privileged_size == 0 {
            return self.mlp(&[&params.trunk[..], &params.critic].concat(), x).squeeze(1);
        }
        self.asymmetric_value(params, self.features(&params.trunk, x), privileged)
    }

    /// What a trunk makes of its input, for several to read; the input if it has no layers.
    #[track_caller]
    fn features(&self, trunk: &[Dense], x: Input) -> Input {
        if trunk.is_empty() { x } else { Input::Computed(self.settings.activation.apply(self.mlp(trunk, x))) }
    }

    /// The critic over features and privileged observations side by side.
    #[track_caller]
    fn asymmetric_value(
        &self,
        params: &ActorCriticParams,
        features: Input,
        privileged: Option<Float>,
    ) -> Float {
        let privileged =
            privileged.expect("the value function reads privileged observations, and there are none");
        let activation = self.settings.activation;
        let (Dense { kernel, bias }, rest) = params.critic.split_first().expect("a critic has a layer");
        let total = kernel.shape()[0];
        let inputs = total - self.privileged_size;
        let of_features = Dense { kernel: kernel.slice(0, 0..inputs), bias: *bias };
        let y = self.read(&of_features, features) + privileged.matmul(kernel.slice(0, inputs..total));
        let value = if rest.is_empty() { y } else { dense::mlp(rest, activation, activation.apply(y)) };
        value.squeeze(1)
    }

    /// Layers with the activation between them. The first one reads observations in its own way if they are packed or sparse.
    #[track_caller]
    fn mlp(&self, layers: &[Dense], x: Input) -> Float {
        let activation = self.settings.activation;
        let (first, rest) = layers.split_first().expect("a network has a layer");
        match x {
            Input::Observed(Features::Plain(x)) if !self.sparse_obs => dense::mlp(layers, activation, x),
            Input::Computed(x) => dense::mlp(layers, activation, x),
            Input::Observed(_) => {
                let y = self.read(first, x);
                if rest.is_empty() {
                    return y;
                }
                // The derivative of this relu is a half at 0, by which the runs of hackmatrix keep their bits.
                let hidden = if activation == Activation::Relu { y.relu() } else { activation.apply(y) };
                dense::mlp(rest, activation, hidden)
            }
        }
    }

    /// What a layer makes of its input.
    #[track_caller]
    fn read(&self, layer: &Dense, x: Input) -> Float {
        let product = match x {
            Input::Observed(Features::Packed { numbers, flags }) => {
                self.packing().matmul(numbers, flags, layer.kernel)
            }
            Input::Observed(Features::Plain(x)) if self.sparse_obs => x.sparse_matmul(layer.kernel),
            Input::Observed(Features::Plain(x)) | Input::Computed(x) => {
                return dense::mlp(std::slice::from_ref(layer), self.settings.activation, x);
            }
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
        let popart = (self.settings.value_head == ValueHead::Popart).then(PopArt::begin);
        ActorCriticParams { conv, rnn: cell, trunk: layers, actor, critic, popart }
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
        let (carry, x) = self.read_view(params, carry, view, starts);
        (carry, self.heads(params, x, view.privileged))
    }

    /// The values are there if the view has what the critic reads, and are not normalized.
    #[track_caller]
    fn act(&self, params: &ActorCriticParams, carry: Leaves, view: &View) -> (Leaves, Float, Option<Float>) {
        let (carry, x) = self.read_view(params, carry, view, None);
        let privileged = view.privileged.map_or(0, |privileged| privileged.shape()[1]);
        if self.privileged_size == 0 || privileged == self.privileged_size {
            let Outputs { logits, value } = self.heads(params, x, view.privileged);
            let value = params.popart.map_or(value, |popart| popart.denormalize(value));
            return (carry, logits, Some(value));
        }
        (carry, self.mlp(&[&params.trunk[..], &params.actor].concat(), x), None)
    }

    #[track_caller]
    fn value(&self, params: &ActorCriticParams, carry: Leaves, view: &View, starts: Option<Bool>) -> Float {
        self.values(params, self.read_view(params, carry, view, starts).1, view.privileged)
    }

    fn critic<'a>(&self, params: &'a mut ActorCriticParams) -> Option<Critic<'a>> {
        Some(Critic { layers: &mut params.critic, popart: params.popart.as_mut() })
    }

    fn metadata(&self) -> Vec<(String, String)> {
        let mut entries = self.settings.metadata();
        if self.privileged_size > 0 {
            entries.push((PRIVILEGED_SIZE.to_owned(), self.privileged_size.to_string()));
        }
        entries
    }

    fn activations(&self, params: &ActorCriticParams) -> usize {
        let dense = ActorCriticParams { conv: Vec::new(), popart: None, ..params.clone() };
        let of_dense: usize = leaf_types(&dense).iter().map(|array_type| array_type.shape[0]).sum();
        of_dense + self.image.map_or(0, |image| image.activations(&self.settings.conv))
    }

    #[track_caller]
    fn layer_outputs(&self, params: &ActorCriticParams, carry: Leaves, view: &View) -> LayerOutputs {
        let Settings { conv, activation, rnn, .. } = &self.settings;
        let mut outputs = Vec::new();
        let mut x = Input::Observed(view.obs);
        if let Some(images) = self.images(view.obs) {
            let maps = conv::outputs(conv, &params.conv, *activation, images);
            x = Input::Computed(conv::flat(*maps.last().expect("there are convolutions")));
            outputs.extend((0..).zip(maps).map(|(i, map): (usize, Float)| (format!("conv.{i}"), map)));
        }
        if let (Some(rnn), Some(cell)) = (rnn, &params.rnn) {
            let (_, output) = rnn.step(cell, carry, self.read(&cell.input, x), None);
            outputs.push(("rnn".to_owned(), output));
            x = Input::Computed(output);
        }
        let (last, hidden) = params.actor.split_last().expect("an actor has a layer");
        let named = |part: &'static str, layers: &[Dense]| -> Vec<(String, Dense)> {
            layers.iter().enumerate().map(|(i, layer)| (format!("{part}.{i}"), *layer)).collect()
        };
        for (name, layer) in [named("trunk", &params.trunk), named("actor", hidden)].concat() {
            let output = activation.apply(self.read(&layer, x));
            outputs.push((name, output));
            x = Input::Computed(output);
        }
        outputs.push(("logits".to_owned(), self.read(last, x)));
        outputs
    }

    /// Only the cell goes step by step; the products before and after it take all rows at once.
    #[track_caller]
    fn unroll(&self, params: &ActorCriticParams, carry: Leaves, views: View, starts: Bool) -> Outputs {
        let rows = self.torso(params, merge_first_axes(views.obs));
        let privileged = views.privileged.map(merge_first_axes);
        let (Some(rnn), Some(cell)) = (self.settings.rnn, &params.rnn) else {
            return self.heads(params, rows, privileged);
        };
        let read = split_first_axis(self.read(&cell.input, rows), starts.shape()[0]);
        let (_, outputs) = rnn.unroll(cell, carry, read, starts);
        self.heads(params, Input::Computed(merge_first_axes(outputs)), privileged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayType, DType, HostArray};
    use crate::interpret::interpret;
    use crate::lang::{arange, concatenate, leaf_paths, leaf_types, scan, structure_of, trace};
    use crate::nn::{Channels, Init, Rnn, check_params};

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
            privileged_critic: true,
            value_head: ValueHead::Simple,
        };
        ActorCritic {
            settings,
            obs_size: 4,
            num_actions: 3,
            sparse_obs: false,
            packing: None,
            image: None,
            privileged_size: 0,
        }
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

    /// Plain, sparse and packed observations, with a shared trunk, trunks apart and no hidden layers.
    #[test]
    fn observations_are_read_alike_in_every_form() {
        let plain = EnvSpec { privileged_shape: Some(vec![2]), ..EnvSpec::new("plain", [6], 3) };
        let sparse = EnvSpec { sparse_obs: true, ..plain.clone() };
        let packed = EnvSpec { flags: std::iter::once(2..6).collect(), ..plain.clone() };
        for (separate_trunks, num_layers) in [(false, 1), (true, 2), (false, 0), (true, 0)] {
            let settings = network(separate_trunks, num_layers, None).settings;
            let outputs = |spec: &EnvSpec| {
                let traced = trace(&(), |()| {
                    let network = ActorCritic::new(settings.clone(), spec).unwrap();
                    let params = network.init(Key::new(1));
                    let numbers = (arange(2 * 5).as_f32() * 0.7).sin().reshape([2, 5]);
                    let flags = (arange(4 * 5) % 3).eq(1).as_f32().reshape([4, 5]);
                    let columns = concatenate(0, [numbers, flags]);
                    let obs = match &network.packing {
                        Some(packing) => packing.pack(columns),
                        None => Features::Plain(columns.transpose([1, 0])),
                    };
                    let privileged = Some((arange(10).as_f32() * 0.9).cos().reshape([5, 2]));
                    let view = View { obs, mask: None, privileged, to_move: None };
                    let value = network.value(&params, Leaves::default(), &view, None);
                    let outputs = network.apply(&params, Leaves::default(), &view, None).1;
                    let layers = network.layer_outputs(&params, Leaves::default(), &view);
                    let (name, logits) = layers.last().expect("there are layers");
                    assert_eq!((name.as_str(), layers.len()), ("logits", num_layers + 1));
                    (outputs, value, *logits)
                });
                interpret(&traced.graph, &[]).iter().flat_map(HostArray::to_f64).collect::<Vec<_>>()
            };
            let expected = outputs(&plain);
            assert_eq!(expected[15..20], expected[20..25], "the values are those of the step");
            let logits = expected[..15].iter().zip(&expected[25..]);
            assert!(logits.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "layer by layer it is the same");
            for other in [&sparse, &packed] {
                let pairs = expected.iter().zip(outputs(other));
                assert!(
                    pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5),
                    "{separate_trunks} {num_layers}"
                );
            }
        }
    }
}
