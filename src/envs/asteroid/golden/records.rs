//! What stands in a file of traces.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
pub struct Document {
    pub rng_unit: Option<Generator>,
    pub traces: BTreeMap<String, Trace>,
}

/// Draws of one seed, one after another.
#[derive(Deserialize)]
pub struct Generator {
    pub seed: u64,
    pub state_after_seed: String,
    pub state_after_16: String,
    pub first_u32: Vec<u32>,
    pub normal_0_1_x4: Vec<f64>,
    pub beta_3_2_x2: Vec<f64>,
    pub dirichlet6_x1: Vec<f64>,
    #[serde(rename = "lognormal_m0.2_0.65_x2")]
    pub lognormal: Vec<f64>,
}

#[derive(Deserialize)]
pub struct Trace {
    pub seed: u64,
    pub time_max: f32,
    pub reset: Begun,
    pub steps: Vec<Move>,
    pub final_world_mutable: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub struct Begun {
    pub u32_draws: usize,
    pub obs: Vec<f64>,
    pub world: BTreeMap<String, Value>,
    pub state: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
pub struct Move {
    pub action: i32,
    pub rng_before: String,
    pub u32_draws: usize,
    pub reward: f64,
    pub terminated: bool,
    pub truncated: bool,
    pub info: BTreeMap<String, Value>,
    pub obs: Vec<f64>,
    pub state: BTreeMap<String, Value>,
    pub node: BTreeMap<String, Value>,
    pub auto_reset: Option<Again>,
}

/// A new world after the last step of an episode.
#[derive(Deserialize)]
pub struct Again {
    pub seed: u64,
    pub u32_draws: usize,
    pub obs: Vec<f64>,
    pub rng_state: String,
    pub node_count: i64,
}

/// The numbers in a record, whatever lists they stand in.
pub fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        Value::Object(array) => array.get("data").map(numbers).unwrap_or_default(),
        Value::Bool(flag) => vec![f64::from(u8::from(*flag))],
        value => value.as_f64().into_iter().collect(),
    }
}

pub fn hex(text: &str) -> Result<u64> {
    u64::from_str_radix(text, 16).with_context(|| format!("`{text}` is no state of the generator"))
}

impl Trace {
    /// States of the generator are numbers.
    pub fn check(&self) -> Result<()> {
        for step in &self.steps {
            hex(&step.rng_before)?;
            hex(step.state.get("rng_state").and_then(Value::as_str).unwrap_or_default())?;
            step.auto_reset.as_ref().map(|again| hex(&again.rng_state)).transpose()?;
        }
        hex(self.reset.state.get("rng_state").and_then(Value::as_str).unwrap_or_default())?;
        Ok(())
    }
}
