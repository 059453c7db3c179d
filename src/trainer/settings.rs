//! The settings of a training run, apart from those of its algorithm.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum, value_parser};
use serde::{Deserialize, Serialize};

use super::naming::Naming;
use super::status::PROGRAM;
use super::thousands;
use crate::algorithms::count;
use crate::algorithms::curriculum::Stages;
use crate::algorithms::evaluation::{MAX_EPISODES, MAX_STEPS};
use crate::algorithms::learner::MOST_UPDATES;
use crate::algorithms::recipe::defaults;
use crate::envs::{Entry, Health};
use crate::runtime::DeviceKind;

/// The most agents in one program.
const MAX_SEEDS: usize = 4096;

/// The most episodes for a replay.
const MOST_REPLAYS: usize = 1000;

/// The key of the options of the environment, in files of parameters too.
pub const ENV_SET: &str = "env_set";

/// Settings that have no flag of their own.
pub const UNFLAGGED: [&str; 2] = ["front", "stages"];

/// The most characters in the name of a run.
const LONGEST_NAME: usize = 200;

/// What to do when a metric is not a finite number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnNan {
    /// Stop, and keep the state before that update
    Stop,
    /// Go back to the newest checkpoint and go on with other random numbers, at most three times
    Rollback,
}

/// Where a run is logged by Weights & Biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wandb {
    /// To the server, and to files
    Online,
    /// To files, which `wandb sync` sends later
    Offline,
    /// Nowhere
    Disabled,
}

/// Where a run is logged, beside `metrics.jsonl`, which it needs itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
pub enum Logger {
    /// Weights & Biases, as --wandb says
    #[strum(to_string = "W&B")]
    Wandb,
    /// The MLflow server at MLFLOW_TRACKING_URI
    #[strum(to_string = "MLflow")]
    Mlflow,
    /// An offline directory, which `neptune sync` sends
    Neptune,
    /// Event files for TensorBoard
    #[strum(to_string = "TensorBoard")]
    Tensorboard,
    /// updates.csv, for a spreadsheet
    #[strum(to_string = "CSV")]
    Csv,
    /// Nowhere else
    None,
}

/// A document that says what to train, and has a run directory of its own kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The file, word for word: the run keeps it as `config.yaml`.
    pub text: String,
    /// What `meta.json` says besides, or otherwise.
    pub facts: Vec<(String, serde_json::Value)>,
}

/// How a row of metrics is told where there is no progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One aligned line of key numbers; all numbers are in the files of the run
    Short,
    /// One line of all numbers: `[Update N] [seconds] [updates/s] name: value, ...`
    Spec,
}

/// What to train, for how long, on what, and what to keep of it.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Run")]
#[group(skip)]
pub struct Settings {
    /// Environment to train in, or native:PATH for one in a C library (include/lockstep_env.h)
    #[arg(long, value_name = "NAME", default_value = "")]
    pub env: String,
    /// Parameters, switches and sizes of the environment other than by default, such as time_max=500,mask_invalid=true or rows=5
    #[arg(long, value_name = "NAME=VALUE,..", value_delimiter = ',')]
    #[serde(default)]
    pub env_set: Vec<String>,
    /// Algorithm to train with [default: the environment's, as `envs NAME` says]
    #[arg(long, value_name = "NAME")]
    pub algo: Option<String>,
    /// Environment steps of the whole run, also when it is resumed: 3000000, 3_000_000, 3e6 or 3M. A run has whole
    /// updates, as many as fit in, but at least one
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = count::parse)]
    #[serde(deserialize_with = "count::deserialize")]
    pub total_timesteps: u64,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = value_parser!(u64).range(..=i64::MAX as u64))]
    pub seed: u64,
    /// Agents to train in one program, each a run of its own with the seed --seed, --seed + 1, ...; a value that is not
    /// finite, or any other failure of one agent, does not stop the others
    #[arg(long, value_name = "K", default_value_t = 1)]
    pub num_seeds: usize,
    /// Kind of device [default: the best that is present]
    #[arg(long, value_name = "KIND")]
    pub device: Option<DeviceKind>,
    /// Devices to split the environments over, or with --num-seeds the agents; of several processes those of each [default: on cpu one
    /// per core where that is faster, else 1]
    #[arg(long, value_name = "N")]
    pub devices: Option<usize>,
    /// PJRT plugin to load instead of searching for one
    #[arg(long, value_name = "FILE")]
    #[serde(skip)]
    // it is code: a flag or a variable names it, never a file that somebody else may have written
    pub plugin: Option<PathBuf>,
    /// Bit-equal runs on cuda, which are slower: no choosing of kernels by timing them, and every sum in a fixed
    /// order (on cpu and tpu runs are bit-equal anyway)
    #[arg(long)]
    pub deterministic: bool,
    /// Compute everything with the plugin's own code, nothing with native kernels
    #[arg(long)]
    pub no_kernels: bool,
    /// Compile every equation on small arrays by itself, none of them together into one kernel (on cpu)
    #[arg(long)]
    pub no_clusters: bool,
    /// Scale minibatches and epochs with batches above 32768 steps
    #[arg(long, default_value_t = true)]
    pub auto_scale: bool,
    /// Adapt the number of environments and minibatches to the device
    #[arg(long)]
    pub auto_tune: bool,
    /// Updates between two lines of metrics
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub log_interval: u64,
    /// How those lines are told where stderr is no terminal: key numbers in short, or all numbers
    #[arg(long, value_name = "FORMAT", default_value = "short")]
    pub log_format: LogFormat,
    /// Updates between two checkpoints, instead of minutes
    #[arg(long, value_name = "N")]
    pub save_interval: Option<u64>,
    /// Minutes between two checkpoints
    #[arg(long, value_name = "X", default_value_t = 10.0)]
    pub save_interval_minutes: f64,
    /// Environment steps between two checkpoints, instead of minutes; a checkpoint is saved with the update that reaches a multiple
    #[arg(long, value_name = "N", conflicts_with = "save_interval")]
    pub save_steps: Option<u64>,
    /// Keep checkpoints and their parameters as checkpoints/NAME_STEP in the run directory
    #[arg(long, value_name = "NAME")]
    pub checkpoint_prefix: Option<String>,
    /// Checkpoints to keep: the newest N [default: all]
    #[arg(long, value_name = "N")]
    pub keep: Option<u64>,
    /// Updates between two evaluations, whose best parameters are kept [default: no evaluations]
    #[arg(long, value_name = "N")]
    pub eval_interval: Option<u64>,
    /// Episodes of an evaluation
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub eval_episodes: usize,
    /// Steps after which an episode of an evaluation is cut off
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub eval_max_steps: usize,
    /// Evaluate with actions drawn with their probabilities instead of the most probable ones
    #[arg(long)]
    pub eval_stochastic: bool,
    /// Environment steps of a window, by the environment's own clock if it has one. A run with windows has metrics/windows.jsonl, with a line
    /// for each, and run_metadata.json [default: no windows]
    #[arg(long, value_name = "N", value_parser = count::parse)]
    pub window_steps: Option<u64>,
    /// Windows from one that is kept with a checkpoint (and replays) to the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub checkpoint_every_windows: u64,
    /// Episodes to play when a window is kept, the best of which becomes a replay that `watch` shows; --eval-max-steps and
    /// --eval-stochastic hold for them [default: no replays]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub replays_per_window: usize,
    /// Keep the last window of a run although it is not complete
    #[arg(long)]
    pub flush_partial_window: bool,
    /// End the run after so many environment steps by the environment's own clock, if that is before --total-timesteps
    #[arg(long, value_name = "N", value_parser = count::parse)]
    pub total_ticks: Option<u64>,
    /// Write each episode of the evaluations into episodes.csv (those of the training never leave the device)
    #[arg(long)]
    pub log_episodes: bool,
    /// Environment steps after which status.json is written at the latest; it is written once a second anyway
    #[arg(long, value_name = "N")]
    pub status_steps: Option<u64>,
    /// A table of the logged rows by step, with the episodes, the exploration and the learning rate: a file in the run directory
    #[arg(long, value_name = "NAME")]
    pub metrics_file: Option<String>,
    /// The names of metrics in the charts of TensorBoard and Weights & Biases: lockstep's own, or puffer for those of PufferLib 3 (SPS,
    /// losses/policy_loss, environment/...)
    #[arg(long, value_name = "WHOSE", default_value = "lockstep", hide_possible_values = true)]
    pub metric_names: Naming,
    /// Say at the end how long the device, evaluations and everything else took
    #[arg(long)]
    pub track_timings: bool,
    /// What to do when a metric is not a finite number
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub on_nan: OnNan,
    /// Begin a new run with the parameters of another one, whose optimizer and progress it does not take over: a run's name, its directory,
    /// "latest", a checkpoint or a file of parameters
    #[arg(long, value_name = "PARAMS")]
    pub init_from: Option<String>,
    /// What files of parameters say of themselves besides; once for each key
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub save_metadata: Vec<String>,
    /// Directory that holds the run directories
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    pub checkpoint_dir: PathBuf,
    /// Name of the run [default: ENV-MONdd-yy-N, such as maze-jan25-26-1]
    #[arg(long, value_name = "NAME")]
    pub run_name: Option<String>,
    /// Text to append to the automatic name
    #[arg(long, value_name = "TEXT")]
    pub run_suffix: Option<String>,
    /// Where to log, beside metrics.jsonl, which every run has [default: tensorboard,csv, and wandb if an API key is found]
    #[arg(long, value_name = "NAME,..", value_delimiter = ',')]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logger: Option<Vec<Logger>>,
    /// How to log to Weights & Biases [default: online if an API key is found; otherwise offline if --logger lists wandb, else
    /// disabled]
    #[arg(long, value_name = "MODE")]
    pub wandb: Option<Wandb>,
    /// The same as --wandb disabled
    #[arg(long)]
    pub no_wandb: bool,
    /// Weights & Biases project of a new run [default: as `lockstep envs NAME` says, else the environment's name]
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Weights & Biases entity of a new run [default: as `lockstep envs NAME` says, else the account's]
    #[arg(long, value_name = "NAME")]
    pub entity: Option<String>,
    /// Do not upload checkpoints as artifacts
    #[arg(long)]
    pub no_artifact: bool,
    /// What the environment's own command line says, as JSON.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub front: Option<String>,
    /// The stages of the run: a list in a configuration file.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Stages::is_empty")]
    pub stages: Stages,
    /// The environment.
    #[arg(skip)]
    #[serde(skip)]
    pub entry: Option<Entry>,
    /// The entity and project at Weights & Biases of the environment, where it has its own.
    #[arg(skip)]
    #[serde(skip)]
    pub wandb_home: Option<(&'static str, &'static str)>,
    /// The document that the run was begun by, if there is one.
    #[arg(skip)]
    #[serde(skip)]
    pub document: Option<Document>,
    /// Whether the run may begin anew in its directory, if it had not come to a checkpoint there.
    #[arg(skip)]
    #[serde(skip)]
    pub begins_again: bool,
    /// The name of the group that this run is one agent of.
    #[arg(skip)]
    #[serde(skip)]
    pub group: Option<String>,
    /// What is known of healthy training in the environment.
    #[arg(skip)]
    #[serde(skip)]
    pub health: Health,
}

impl Default for Settings {
    fn default() -> Self {
        defaults()
    }
}

impl Settings {
    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    pub fn check(&self) -> Result<()> {
        check_count("total_timesteps", self.total_timesteps)?;
        let (seeds, devices) = (self.num_seeds, self.devices.unwrap_or(1));
        ensure!((1..=MAX_SEEDS).contains(&seeds), "num_seeds is {seeds}; it must be from 1 to {MAX_SEEDS}");
        ensure!((1..=4096).contains(&devices), "devices is {devices}; it must be from 1 to 4096");
        check_count("log_interval", self.log_interval)?;
        check_count("save_interval", self.save_interval.unwrap_or(1))?;
        check_count("save_steps", self.save_steps.unwrap_or(1))?;
        check_count("status_steps", self.status_steps.unwrap_or(1))?;
        check_count("keep", self.keep.unwrap_or(1))?;
        check_count("eval_interval", self.eval_interval.unwrap_or(1))?;
        check_count("window_steps", self.window_steps.unwrap_or(1))?;
        check_count("checkpoint_every_windows", self.checkpoint_every_windows)?;
        check_count("total_ticks", self.total_ticks.unwrap_or(1))?;
        let replays = self.replays_per_window;
        ensure!(
            replays <= MOST_REPLAYS,
            "replays_per_window is {replays}; it must be from 0 to {MOST_REPLAYS}"
        );
        for (name, value, most) in [
            ("eval_episodes", self.eval_episodes, MAX_EPISODES),
            ("eval_max_steps", self.eval_max_steps, MAX_STEPS),
        ] {
            ensure!((1..=most).contains(&value), "{name} is {value}; it must be from 1 to {most}");
        }
        let minutes = self.save_interval_minutes;
        ensure!(minutes > 0.0, "save_interval_minutes is {minutes}; it must be above 0");
        let nameless = self.checkpoint_dir.as_os_str().is_empty();
        ensure!(!nameless, "checkpoint_dir is empty; give a directory, such as . for the current one");
        let directory = &self.checkpoint_dir;
        ensure!(
            directory.to_str().is_some(),
            "checkpoint_dir is {directory:?}, which is no UTF-8 and cannot be stored; give another directory"
        );
        if let Some(name) = &self.run_name {
            check_file_name("run_name", name)?;
        }
        let mut keys = HashSet::new();
        for said in &self.save_metadata {
            let key = said.split_once('=').map_or("", |(key, _)| key);
            ensure!(!key.is_empty(), "save_metadata is {said:?}; write it as KEY=VALUE");
            ensure!(keys.insert(key), "save_metadata has the key {key} twice");
        }
        for (setting, name) in [
            ("run_suffix", &self.run_suffix),
            ("checkpoint_prefix", &self.checkpoint_prefix),
            ("metrics_file", &self.metrics_file),
        ] {
            if let Some(name) = name {
                check_file_name(setting, name)?;
            }
        }
        Ok(())
    }

    /// Whether the run is logged there. Without a list, its variables decide about Weights & Biases.
    pub fn logs_to(&self, logger: Logger) -> bool {
        match &self.logger {
            Some(list) => list.contains(&logger),
            None => [Logger::Tensorboard, Logger::Csv].contains(&logger),
        }
    }

    /// What files of parameters say of themselves besides, by key.
    pub fn metadata(&self) -> impl Iterator<Item = (String, String)> {
        let parts = self.save_metadata.iter().filter_map(|said| said.split_once('='));
        parts.map(|(key, value)| (key.to_owned(), value.to_owned()))
    }

    /// Refuses keys that lockstep says itself; `own` are those of the agent.
    ///
    /// # Errors
    /// One line with the first such key.
    pub fn check_metadata(&self, own: &[(String, String)]) -> Result<()> {
        let of_every_run = [PROGRAM, ENV_SET, "update", "timesteps"];
        let is_own = |key: &str| of_every_run.contains(&key) || own.iter().any(|(other, _)| other == key);
        if let Some((key, _)) = self.metadata().find(|(key, _)| is_own(key)) {
            bail!(
                "save_metadata has the key {key}, which files of parameters have anyway; choose another one"
            );
        }
        Ok(())
    }

    /// Updates of the whole run, if each has so many timesteps: those that fit into `total_timesteps`, but at least one.
    pub fn num_updates(&self, timesteps_per_update: u64) -> u64 {
        (self.total_timesteps / timesteps_per_update).max(1)
    }

    /// Refuses more updates than a learner can count.
    ///
    /// # Errors
    /// One line that says how many there would be.
    pub fn check_updates(&self, timesteps_per_update: u64) -> Result<()> {
        let updates = self.num_updates(timesteps_per_update);
        ensure!(
            updates <= MOST_UPDATES,
            "total_timesteps is {}, which is {} updates of {} timesteps; it must be at most {} updates: lower it, or make an \
             update larger",
            thousands(self.total_timesteps),
            thousands(updates),
            thousands(timesteps_per_update),
            thousands(MOST_UPDATES)
        );
        Ok(())
    }

    /// The same in words, with the timesteps that come of it if they are not those that were asked for.
    pub fn describe_updates(&self, timesteps_per_update: u64) -> String {
        let updates = self.num_updates(timesteps_per_update);
        let plural = if updates == 1 { "" } else { "s" };
        if let Some(ticks) = self.total_ticks {
            let (updates, steps) = (thousands(updates), thousands(timesteps_per_update));
            return format!("{} ticks, in at most {updates} updates of {steps} timesteps", thousands(ticks));
        }
        let (asked, done) = (self.total_timesteps, updates * timesteps_per_update);
        let text =
            format!("{} update{plural} of {} timesteps", thousands(updates), thousands(timesteps_per_update));
        match done.cmp(&asked) {
            Ordering::Equal => text,
            Ordering::Less => format!(
                "{text}, {} in all: total_timesteps is {}, and what is left is less than an update",
                thousands(done),
                thousands(asked)
            ),
            Ordering::Greater => {
                format!("{text}, the least there is: total_timesteps is {}", thousands(asked))
            }
        }
    }

    /// Checks that the settings make sense together.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn check_together(&self) -> Result<()> {
        let evaluates = self.eval_interval.is_some();
        ensure!(!self.log_episodes || evaluates, "log_episodes needs evaluations; add --eval-interval N");
        self.check_windows()?;
        self.check_loggers()?;
        let (seed, seeds) = (self.seed, self.num_seeds);
        let last = seed.saturating_add(seeds as u64 - 1);
        ensure!(
            last <= i64::MAX as u64,
            "seed = {seed} leaves no room for num_seeds = {seeds}; the last seed may be {}",
            i64::MAX
        );
        Ok(())
    }

    fn check_loggers(&self) -> Result<()> {
        let Some(list) = &self.logger else { return Ok(()) };
        ensure!(
            list.len() < 2 || !list.contains(&Logger::None),
            "logger lists none beside others; leave out one or the other"
        );
        let mode = match self.wandb {
            Some(Wandb::Online) => "online",
            Some(Wandb::Offline) => "offline",
            Some(Wandb::Disabled) | None => return Ok(()),
        };
        ensure!(
            self.no_wandb || list.contains(&Logger::Wandb),
            "wandb is {mode}, but logger does not list it; add wandb to the list, or leave out one of them"
        );
        Ok(())
    }

    fn check_windows(&self) -> Result<()> {
        let Some(steps) = self.window_steps else {
            let needs = |name: &str| format!("{name} needs windows; add --window-steps N");
            ensure!(self.replays_per_window == 0, needs("replays_per_window"));
            ensure!(!self.flush_partial_window, needs("flush_partial_window"));
            ensure!(self.total_ticks.is_none(), needs("total_ticks"));
            return Ok(());
        };
        ensure!(self.num_seeds == 1, "window_steps is for a run of one agent; leave out --num-seeds");
        let total = self.total_ticks.unwrap_or(self.total_timesteps);
        ensure!(
            steps <= total,
            "window_steps is {steps}, more than the {total} environment steps of the run; lower it"
        );
        Ok(())
    }
}

/// TOML numbers end at 2^63 - 1.
fn check_count(name: &str, value: u64) -> Result<()> {
    ensure!((1..=i64::MAX as u64).contains(&value), "{name} is {value}; it must be from 1 to {}", i64::MAX);
    Ok(())
}

/// A run's name is the name of its directory, so it must be one on every system.
fn check_file_name(setting: &str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+=@".contains(c);
    ensure!(
        !name.is_empty() && !name.starts_with('.') && name.chars().all(plain),
        "{setting} is {name:?}; use letters, digits and - _ . only, at most {LONGEST_NAME}, not beginning with a dot"
    );
    let length = name.len();
    ensure!(length <= LONGEST_NAME, "{setting} has {length} characters, more than {LONGEST_NAME}: {name}");
    Ok(())
}

#[cfg(test)]
mod tests;
