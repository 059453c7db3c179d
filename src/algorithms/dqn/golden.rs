//! The arithmetic of the learner against known numbers: what `verify` compares with a document of golden data.
//!
//! `jax_env_spec/connect4/dqn.json.gz` has the numbers, computed in 64 bits: gradient steps of small networks and of that of the
//! document, exploration and learning rates, returns over several steps, priorities, the replay. Weights there lie as in
//! PyTorch.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::algorithms::golden::torch::{Layer, Tensors};
use crate::algorithms::golden::{self, Compared, Differences, flat, part};
use crate::array::{DType, HostArray};
use crate::envs::{EnvSpec, Open, Replay};
use crate::lang::{
    Backend, Bool, Features, Float, HostFunction, Int, Key, arange, constant, float, int_u64, kind, scan,
    structure_of, vmap,
};
use crate::nn::{Activation, Channels, ConvSpec, Init, QNetwork, QParams, QSettings};

use super::actor::greedy;
use super::experience::{Experience, Seen, Step, Steps};
use super::loss::{Estimator, Scale, follow};
use super::{Networks, Settings};

mod networks;
mod parts;

/// Reads a document and opens what computes its numbers; nothing if the file holds something else.
///
/// # Errors
/// One line with the name of the file: a part is malformed, or what the device reports.
pub fn open(path: &Path, open: Open) -> Result<Option<Replay>> {
    golden::open(path, open, "learner", compare)
}

fn compare(document: &Value, backend: &Backend) -> Result<Compared> {
    let mut compared = Compared::new();
    compared.extend(networks::learner(part(document, "learner")?, backend)?);
    compared.extend(networks::forward(part(document, "forward")?, backend)?);
    compared.extend(networks::full(part(document, "full_network")?, backend)?);
    compared.extend(parts::schedules(part(document, "schedules")?, backend)?);
    compared.extend(parts::n_step(part(document, "n_step")?, backend)?);
    compared.extend(parts::prioritized(part(document, "prioritised_replay")?, backend)?);
    compared.extend(parts::ring(part(document, "replay_ring")?, backend)?);
    compared.extend(parts::greedy_actions(part(document, "greedy")?, backend)?);
    Ok(compared)
}
