//! The arithmetic of the learner against known numbers: what `verify` compares with a document of golden data.
//!
//! `jax_env_spec/goodharts/learner.json.gz` has the numbers, computed in 64 bits: advantages, PopArt, gradient steps of a small network
//! and of that of the document, schedules, forward passes.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::algorithms::golden::torch::{Layer, Tensors};
use crate::algorithms::golden::{self, Compared, Differences, flat, part};
use crate::algorithms::learner::Inputs;
use crate::array::{DType, HostArray};
use crate::envs::vector::View;
use crate::envs::{Env, EnvSpec, Observation, Open, Replay, Step, boxed};
use crate::lang::{
    Backend, Features, Float, HostFunction, Int, Key, Leaves, Outputs, boolean, constant, float, int, kind,
    leaf_paths, leaf_types, ravel, structure_of, unravel,
};
use crate::nn::{ActorCriticParams, Categorical, Channels, ConvSpec, Network, PopArt, ValueHead};

use super::losses::{Losses, Sides, no_losses, total_loss};
use super::{Adam, Hyper, Learned, Ppo, Sample, Settings, popart};

mod networks;
mod parts;

/// Numbers in 32 bits against 64.
const TOLERANCE: f64 = 2e-5;
/// After steps of Adam, which divides by small numbers.
const AFTER_ADAM: f64 = 1e-4;

/// Reads a document and opens what computes its numbers; nothing if the file holds something else.
///
/// # Errors
/// One line with the name of the file: a part is malformed, or what the device reports.
pub fn open(path: &Path, open: Open) -> Result<Option<Replay>> {
    golden::open(path, open, "popart", compare)
}

fn compare(document: &Value, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    compared.extend(parts::advantages(part(document, "gae")?, backend)?);
    compared.extend(parts::popart(part(document, "popart")?, backend)?);
    compared.extend(parts::schedules(part(document, "schedules")?, backend)?);
    compared.extend(networks::gradient_steps(part(document, "ppo")?, backend)?);
    compared.extend(networks::forward(part(document, "forward")?, backend)?);
    compared.extend(networks::full(part(document, "full_network")?, backend)?);
    Ok(compared)
}

/// An environment in which nothing happens: sizes for networks.
struct Nothing(EnvSpec);

impl Env for Nothing {
    type State = ();
    type Params = ();

    fn spec(&self) -> EnvSpec {
        self.0.clone()
    }

    fn default_params(&self) {}

    fn reset(&self, (): &(), _key: Key) {}

    fn step(&self, (): &(), _key: Key, (): (), _action: Int) -> Step<()> {
        let terminated = boolean(true);
        Step { state: (), reward: float(0.0), terminated, truncated: None, metrics: Vec::new() }
    }

    fn observe(&self, (): &(), (): &()) -> Observation {
        let zeros = |shape: &[usize]| Float::full(shape, 0.0);
        let privileged = self.0.privileged_shape.as_deref().map(zeros);
        Observation { actor: zeros(&self.0.obs_shape), privileged }
    }
}

/// PPO with what the documents are about, on such observations.
fn ppo(settings: Settings, obs_shape: &[usize], privileged: usize, num_actions: usize) -> Result<Ppo> {
    let spec = EnvSpec {
        privileged_shape: Some(vec![privileged]),
        ..EnvSpec::new("golden", obs_shape.to_vec(), num_actions)
    };
    let settings = Settings {
        num_layers: 1,
        conv_channels: Channels::First,
        clip_vloss_of_means: true,
        clip_parts: true,
        value_head: ValueHead::Popart,
        ..settings
    };
    Ppo::new(settings, Rc::from(boxed(Nothing(spec))))
}

/// What an update is given, but for the world.
fn inputs(settings: &Settings) -> Inputs<Hyper> {
    Inputs {
        hyper: settings.hyper(),
        env: Leaves::default(),
        update: int(0),
        total_updates: float(1.0),
        num_devices: 1,
        record: Default::default(),
    }
}

/// Sets the statistics of PopArt in the vector of all parameters.
fn set_popart(structure: &ActorCriticParams, params: &mut [f32], mean: f64, std: f64) {
    let (paths, types) = (leaf_paths(structure), leaf_types(structure));
    for (path, value) in [("popart.mean", mean), ("popart.std", std)] {
        let leaf = paths.iter().position(|other| other == path).expect("the network normalizes its values");
        let start: usize = types[..leaf].iter().map(|array_type| array_type.size()).sum();
        params[start] = value as f32;
    }
}

fn vector(values: &[f32]) -> HostArray {
    HostArray::new(&[values.len()], values.to_vec())
}
