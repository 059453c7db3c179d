//! Fronts: a command line of an environment's own for `train`, and what the readers of its runs expect to find there.
//!
//! Where an environment comes with a trainer that people know, its flags and the names in its files are a part of the environment.
//! A front declares them here and says what they mean in the settings of lockstep, so that no command has to know them. It is in use
//! when one of its flags is given; a run that began with it goes on with it.

use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Command};
use serde_json::{Map, Value};
use toml::Table;

use crate::names::nearest;

/// The command line of an environment's own.
#[derive(Clone, Copy)]
pub struct Front {
    /// Adds its flags to a command, which must have none of their names.
    pub flags: fn(Command) -> Command,
    /// All that is said to it, as the JSON text that `config.json` of a run holds.
    pub read: fn(&Said) -> Result<String>,
    /// What such a text means.
    pub meaning: fn(config: &str) -> Result<Meaning>,
    /// Files of a format of its own for `--config`.
    pub config_file: Option<ConfigFile>,
    /// An environment variable that says on what to train, where no flag does.
    pub device: Option<DeviceVariable>,
}

/// What is said to a front.
pub struct Said<'a> {
    pub flags: &'a ArgMatches,
    /// What a file of its own says, as [`ConfigFile::check`] gives it.
    pub file: Option<&'a Table>,
    pub seed: u64,
    /// The name of a run for which no flag says one.
    pub name: &'a str,
}

/// Files of a format that an environment brings with it.
#[derive(Clone, Copy)]
pub struct ConfigFile {
    /// The tables by any of which such a file is known.
    pub sections: &'static [&'static str],
    /// What a file says; one line if it makes no sense.
    pub check: fn(&Table) -> Result<Table>,
}

/// An environment variable with a device.
#[derive(Clone, Copy)]
pub struct DeviceVariable {
    pub name: &'static str,
    /// The kind of device that a value means; one line if it means none.
    pub kind: fn(&str) -> Result<&str>,
}

/// What the flags of a front mean.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// Settings of the run and of its algorithm.
    pub settings: Table,
    /// The same of a file, which give way to flags.
    pub of_file: Table,
    /// Lines to tell the user: what has no effect.
    pub notes: Vec<String>,
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
    /// Files of the run that are not in its directory.
    pub journal: Option<Journal>,
    /// The runs that are asked for, if these are several.
    pub variants: Vec<Variant>,
    /// Whether they are trained one after the other instead of as one program.
    pub sequential: bool,
    /// The metrics that single episodes of the training are recorded with, if a table of the journal wants them: the values of their
    /// last steps.
    pub episodes: Option<&'static [&'static str]>,
    /// A file that ends them between two that are trained one after the other.
    pub stop_file: Option<&'static str>,
    /// What is printed of a run of which the throughput is all that is wanted, and nothing is saved.
    pub measured: Option<fn(&Measured) -> Value>,
}

/// A run that was only measured.
pub struct Measured<'a> {
    pub run_name: &'a str,
    /// Environment steps.
    pub steps: u64,
    pub seconds: f64,
}

/// One of several runs, in an environment of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    pub run_name: String,
    /// The options of its environment.
    pub env_set: Vec<String>,
    /// What its flags would have been if it were alone: what [`Front::meaning`] reads.
    pub config: String,
}

/// Files of a run under the names that people know, beside its directory.
#[derive(Clone, Debug)]
pub struct Journal {
    /// What the run is about, with which the names of its files begin. Older files about it are moved to `previous/`.
    pub subject: String,
    /// The name of the run in the names of files.
    pub name: String,
    /// Where a table with a line for each update and a summary are written, if they are.
    pub logs: Option<PathBuf>,
    /// Where a directory of the run's name gets event files for TensorBoard, if there are logs.
    pub events: PathBuf,
    /// The first line of the table, and that of an update, without their ends.
    pub columns: &'static str,
    pub line: fn(&Update) -> String,
    /// The same of the table with a line for each episode.
    pub episode_columns: &'static str,
    pub episode_line: fn(&Episode, &Update) -> String,
    /// What TensorBoard shows of an update.
    pub scalars: fn(&Update) -> Vec<(&'static str, f64)>,
    pub summary: fn(&Summary) -> Value,
    /// The file of the parameters at the end.
    pub model: PathBuf,
    /// What it says of itself beside what every such file says; the key for the environment steps.
    pub metadata: Vec<(String, String)>,
    pub steps_key: &'static str,
}

/// An update of a run.
pub struct Update<'a> {
    pub number: u64,
    /// Environment steps so far.
    pub timesteps: u64,
    pub time: jiff::Timestamp,
    /// Its metrics by name.
    pub value: &'a dyn Fn(&str) -> Option<f64>,
    /// The episodes that ended in it, in order.
    pub episodes: &'a [Episode<'a>],
    /// The share of the run that is done with it.
    pub progress: f64,
}

/// An episode that has ended.
pub struct Episode<'a> {
    /// Its number in the run, from 1.
    pub number: u64,
    pub episode_return: f32,
    /// Steps.
    pub length: u64,
    /// The values that [`Meaning::episodes`] names.
    pub metrics: &'a [f32],
}

/// What a run came to.
pub struct Summary<'a> {
    pub journal: &'a Journal,
    /// When it began, as text.
    pub began: &'a str,
    /// Seconds of training.
    pub seconds: f64,
    pub episodes: u64,
    pub updates: u64,
    /// The best mean return of an update.
    pub best_return: Option<f64>,
    /// Whether the model was saved.
    pub is_saved: bool,
    /// The names of the tables of updates and of episodes.
    pub updates_table: &'a str,
    pub episodes_table: &'a str,
    /// All settings of the run and of its algorithm.
    pub settings: &'a Map<String, Value>,
}

/// Thresholds of a number of a replay; it earns the tag `milestone:NAME:X` for each that it reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Milestone {
    pub name: &'static str,
    /// The key of an outcome of the environment's telemetry; `None` for the return.
    pub outcome: Option<&'static str>,
    pub thresholds: Vec<f64>,
}

/// What to say of a key that is none of these: the nearest one, or else `otherwise`.
pub fn hint<'a>(key: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(key, known).map_or(otherwise.to_owned(), |name| format!("did you mean {name}?"))
}

impl Front {
    /// The names of its flags.
    pub fn names(&self) -> Vec<String> {
        names(self.flags)
    }
}

/// The names of what is added to a command.
pub(super) fn names(flags: fn(Command) -> Command) -> Vec<String> {
    let command = flags(Command::new("flags"));
    command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}
