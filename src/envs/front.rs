//! Fronts: a command line of an environment's own for `train`, and what the readers of its runs expect to find there.
//!
//! Where an environment comes with a trainer that people know, its flags and the names in its files are a part of the environment.
//! A front declares them here and says what they mean in the settings of lockstep, so that no command has to know them. It is in use
//! when one of its flags is given; a run that began with it goes on with it.

use anyhow::Result;
use clap::{ArgMatches, Command};
use serde_json::{Map, Value};
use toml::Table;

/// The command line of an environment's own.
#[derive(Clone, Copy)]
pub struct Front {
    /// Adds its flags to a command, which must have none of their names.
    pub flags: fn(Command) -> Command,
    /// All that its flags say, as the JSON text that `config.json` of a run holds; `name` is that of a run for which no flag says one.
    pub read: fn(flags: &ArgMatches, seed: u64, name: &str) -> Result<String>,
    /// What such a text means.
    pub meaning: fn(config: &str) -> Result<Meaning>,
}

/// What the flags of a front mean.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// Settings of the run and of its algorithm.
    pub settings: Table,
    /// What the run calls what trains it.
    pub backend: String,
    /// What is added to the seed of the run for the episodes of replays.
    pub seed_offset: u64,
    /// Whether frames of replays have `info`.
    pub info: bool,
    /// The tags that replays earn.
    pub milestones: Vec<Milestone>,
    /// The metrics of the environment that a run names.
    pub metric_keys: Vec<&'static str>,
    /// What `run_metadata.json` says beside what it says of every run.
    pub metadata: Map<String, Value>,
    /// The keys under which it has the device, and the updates that are done.
    pub device_key: Option<&'static str>,
    pub updates_key: Option<&'static str>,
    /// Tags at Weights & Biases.
    pub tags: Vec<&'static str>,
}

/// Thresholds of a number of a replay; it earns the tag `milestone:NAME:X` for each that it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Milestone {
    pub name: &'static str,
    /// The key of an outcome of the environment's telemetry; `None` for the return.
    pub outcome: Option<&'static str>,
    pub thresholds: Vec<f64>,
}

impl Front {
    /// The names of its flags.
    pub fn names(&self) -> Vec<String> {
        let command = (self.flags)(Command::new("front"));
        command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
    }
}
