//! The arithmetic of the learner against known numbers: what `verify` compares with a document of golden data.
//!
//! `jax_env_spec/connect4/dqn.json.gz` has the numbers, computed in 64 bits: gradient steps of small networks and of that of the
//! document, exploration and learning rates, returns over several steps, priorities, the replay. Weights there lie as in
//! PyTorch.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::array::{DType, HostArray};
use crate::envs::{EnvSpec, Open, Replay};
use crate::files;
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

/// What was compared: its name, and what differs.
type Compared = Vec<(String, Vec<String>)>;

/// Reads a document and opens what computes its numbers; nothing if the file holds something else.
///
/// # Errors
/// One line with the name of the file: a part is malformed, or what the device reports.
pub fn open(path: &Path, open: Open) -> Result<Option<Replay>> {
    // What cannot be read is told by whoever else is asked for the file.
    let Ok(text) = files::read_unpacked_text(path, TEXT_LIMIT) else { return Ok(None) };
    let document: Value = match serde_json::from_str(&text) {
        Ok(document @ Value::Object(_)) => document,
        _ => return Ok(None),
    };
    if document.get("learner").is_none() {
        return Ok(None);
    }
    let backend = open()?;
    let name = path.display().to_string();
    Ok(Some(Box::new(move |_seeds, out| {
        let compared = compare(&document, &backend).with_context(|| name)?;
        let failed: Vec<_> = compared.iter().filter(|(_, differences)| !differences.is_empty()).collect();
        for (name, differences) in failed.iter().take(PRINTED) {
            writeln!(out, "{name}")?;
            for difference in differences.iter().take(PRINTED) {
                writeln!(out, "  {difference}")?;
            }
        }
        if failed.len() > PRINTED {
            writeln!(out, "and {} more failures", failed.len() - PRINTED)?;
        }
        writeln!(out, "{} passed, {} failed", compared.len() - failed.len(), failed.len())?;
        Ok(failed.len())
    })))
}

/// Failures that are printed, and differences of each.
const PRINTED: usize = 10;
/// The most text in a file, in bytes.
const TEXT_LIMIT: u64 = 1 << 26;

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

fn part<T: DeserializeOwned>(document: &Value, name: &str) -> Result<T> {
    let value = document.get(name).with_context(|| format!("the golden data has no part {name}"))?;
    T::deserialize(value).map_err(|error| anyhow!("the part {name} of the golden data: {error}"))
}

/// Collects what differs.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn same(&mut self, what: &str, found: f64, expected: f64) {
        if found != expected {
            self.0.push(format!("{what}: expected {expected}, got {found}"));
        }
    }

    /// Compares up to `tolerance`, relative to numbers above 1.
    fn close(&mut self, what: &str, found: f64, expected: f64, tolerance: f64) {
        let agree = (found - expected).abs() <= tolerance * expected.abs().max(1.0); // not so for a NaN
        if !agree {
            self.0.push(format!("{what}: expected {expected}, got {found}"));
        }
    }

    fn all_close(&mut self, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        if found.len() != expected.len() {
            self.0.push(format!("{what}: expected {} numbers, got {}", expected.len(), found.len()));
        }
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.close(&format!("{what}[{i}]"), *found, *expected, tolerance);
        }
    }
}
