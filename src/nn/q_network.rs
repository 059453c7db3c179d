//! The Q-network: what each action is worth. Convolutions, if wanted, and hidden layers, then one number for each action; or, *dueling*
//! (Wang et al. 2016, "Dueling network architectures for deep reinforcement learning"), the worth of the situation and the advantage
//! of each action in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::envs::EnvSpec;
use crate::lang::{Bool, Features, Float, Key, Packing, select};

use super::conv::{self, Conv, Image};
use super::settings::{choice, convolutions, entry};
use super::{Activation, Channels, ConvSpec, Dense, Init, LayerOutputs, LayerSpec, dense};

/// How a Q-network is built.
#[derive(Clone, Debug, PartialEq)]
pub struct QSettings {
    /// The convolutions in front of everything else; none for observations that are no images.
    pub conv: Vec<ConvSpec>,
    pub conv_channels: Channels,
    /// Units of each hidden layer.
    pub hidden_dim: usize,
    /// Hidden layers.
    pub num_layers: usize,
    pub activation: Activation,
    /// Whether it has a value and advantages.
    pub dueling: bool,
    /// Units of the hidden layer that each of these two has for itself; 0 for none.
    pub dueling_dim: usize,
    pub init: Init,
}

/// What is fixed about the network.
#[derive(Clone, Debug, PartialEq)]
pub struct QNetwork {
    pub settings: QSettings,
    obs_size: usize,
    num_actions: usize,
    packing: Option<Packing>,
    image: Option<Image>,
}

/// The parameters. `value` is empty without dueling; then `advantage` holds what actions are worth.
#[derive(Clone, Debug)]
pub struct QParams {
    pub conv: Vec<Conv>,
    pub hidden: Vec<Dense>,
    pub value: Vec<Dense>,
    pub advantage: Vec<Dense>,
}
crate::tree!(QParams { conv, hidden, value, advantage });

impl QSettings {
    /// As the metadata of a parameter file.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let mut entries = vec![
            ("activation", self.activation.to_string()),
            ("hidden_dim", self.hidden_dim.to_string()),
            ("num_layers", self.num_layers.to_string()),
            ("dueling", self.dueling.to_string()),
            ("dueling_dim", self.dueling_dim.to_string()),
        ];
        if !self.conv.is_empty() {
            let layers: Vec<String> = self.conv.iter().map(ConvSpec::to_string).collect();
            entries.push(("conv", layers.join(",")));
            entries.push(("conv_channels", self.conv_channels.to_string()));
        }
        entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The settings in the metadata of a parameter file.
    ///
    /// # Errors
    /// One line: an entry is missing or makes no sense.
    pub fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<QSettings> {
        Ok(QSettings {
            conv: convolutions(metadata)?,
            conv_channels: choice(metadata, "conv_channels")?.unwrap_or_default(),
            hidden_dim: entry(metadata, "hidden_dim")?,
            num_layers: entry(metadata, "num_layers")?,
            activation: choice(metadata, "activation")?
                .context("it does not say its network's activation")?,
            dueling: entry(metadata, "dueling")?,
            dueling_dim: entry(metadata, "dueling_dim")?,
            init: Init::Uniform, // of no meaning for parameters that exist
        })
    }
}

impl QNetwork {
    /// The network for what an environment shows and takes.
    ///
    /// # Errors
    /// One line: convolutions over observations that are no images, or too small ones.
    pub fn new(settings: QSettings, spec: &EnvSpec) -> Result<QNetwork> {
        let image = Image::required(spec, settings.conv_channels, &settings.conv)?;
        Ok(QNetwork {
            settings,
            obs_size: spec.obs_size(),
            num_actions: spec.num_actions,
            packing: spec.packing(),
            image,
        })
    }

    /// Fresh parameters.
    #[track_caller]
    pub fn init(&self, key: Key) -> QParams {
        let QSettings { init, ref conv, .. } = self.settings;
        let [conv_key, key] = key.split();
        let [hidden, value, advantage] = self.layers();
        let mut layers = init.layers(key, &[&hidden[..], &value, &advantage].concat()).into_iter();
        let mut part = |specs: &[LayerSpec]| layers.by_ref().take(specs.len()).collect();
        QParams {
            conv: match self.image {
                Some(image) => conv::init(init, conv_key, image.channels, conv),
                None => Vec::new(),
            },
            hidden: part(&hidden),
            value: part(&value),
            advantage: part(&advantage),
        }
    }

    /// The layers: hidden ones, those of the value, and those of the advantages.
    fn layers(&self) -> [Vec<LayerSpec>; 3] {
        let QSettings { hidden_dim, num_layers, dueling, dueling_dim, ref conv, .. } = self.settings;
        let first = self.image.map_or(self.obs_size, |image| image.outputs(conv));
        let chain = |sizes: &[usize]| -> Vec<LayerSpec> {
            let layer = |sizes: &[usize]| LayerSpec { inputs: sizes[0], outputs: sizes[1], gain: 1.0 };
            sizes.windows(2).map(layer).collect()
        };
        let hidden = [&[first], &vec![hidden_dim; num_layers][..]].concat();
        let inputs = *hidden.last().expect("the inputs");
        let head = |outputs: usize| match (dueling, dueling_dim) {
            (true, 1..) => chain(&[inputs, dueling_dim, outputs]),
            _ => chain(&[inputs, outputs]),
        };
        [chain(&hidden), if dueling { head(1) } else { Vec::new() }, head(self.num_actions)]
    }

    /// What every action is worth, f32`[N, A]`, also those that are not valid. `mask`, bool`[N, A]`, says which are: advantages are
    /// relative to their mean over these. The advantage of an action that is not valid counts as 0.
    #[track_caller]
    pub fn values(&self, params: &QParams, obs: Features, mask: Option<Bool>) -> Float {
        let x = self.read(params, obs);
        let network =
            |heads: &[Dense]| dense::mlp(&[&params.hidden, heads].concat(), self.settings.activation, x);
        if params.value.is_empty() {
            return network(&params.advantage);
        }
        let both = network(&dense::heads_beside(&params.value, &params.advantage));
        let (value, advantage) = (both.slice(1, 0..1).squeeze(1), both.slice(1, 1..self.num_actions + 1));
        let (advantage, count) = match mask {
            None => (advantage, Float::full([advantage.shape()[0]], self.num_actions as f64)),
            Some(mask) => (select(mask, advantage, 0.0), mask.as_f32().sum([1]).maximum(1.0)),
        };
        (value - advantage.sum([1]) / count).broadcast(1, self.num_actions) + advantage
    }

    /// What each layer makes of observations, by name, what actions are worth last: see [`Network::layer_outputs`](super::Network).
    #[track_caller]
    pub fn layer_outputs(&self, params: &QParams, obs: Features, mask: Option<Bool>) -> LayerOutputs {
        let QSettings { ref conv, activation, .. } = self.settings;
        let (flat, mut outputs) = (self.numbers(obs), Vec::new());
        let mut x = flat;
        if let Some(image) = self.image {
            let maps = conv::outputs(conv, &params.conv, activation, image.arrange(flat));
            x = conv::flat(*maps.last().expect("there are convolutions"));
            outputs.extend((0..).zip(maps).map(|(i, map): (usize, Float)| (format!("conv.{i}"), map)));
        }
        for (i, layer) in params.hidden.iter().enumerate() {
            x = activation.apply(layer.apply(x));
            outputs.push((format!("hidden.{i}"), x));
        }
        outputs.push(("values".to_owned(), self.values(params, obs, mask)));
        outputs
    }

    /// What the dense layers read.
    #[track_caller]
    fn read(&self, params: &QParams, obs: Features) -> Float {
        let QSettings { ref conv, activation, .. } = self.settings;
        let flat = self.numbers(obs);
        self.image.map_or(flat, |image| conv::torso(conv, &params.conv, activation, image.arrange(flat)))
    }

    /// Observations as plain numbers.
    #[track_caller]
    fn numbers(&self, obs: Features) -> Float {
        match (obs, &self.packing) {
            (Features::Plain(x), _) => x,
            (Features::Packed { numbers, flags }, Some(packing)) => packing.unpack(numbers, flags),
            (Features::Packed { .. }, None) => {
                panic!("the network was made for observations that are not packed")
            }
        }
    }

    /// Numbers in an observation.
    pub fn obs_size(&self) -> usize {
        self.obs_size
    }
}
