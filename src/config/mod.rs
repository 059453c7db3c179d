//! Configuration: turns text into the settings of the modules below.
//!
//! Every setting is defined once, as a field of its module's `Settings` (the run's, or those of an algorithm, which are a table
//! here: [`Catalog`] knows by name which algorithms and environments a program has); its flag, its environment variable, its key
//! in a file and its line of help follow from that. `--num-envs`, `LOCKSTEP_NUM_ENVS` and `num_envs` are the same
//! setting. They are layered, the later over the earlier:
//!
//! 1. the defaults of the environment,
//! 2. the file given by `--config` (lines of settings, or a YAML [`document`] or an INI file of PufferLib that is turned into some), or the
//!    configuration stored in the checkpoint given by `--resume`,
//! 3. environment variables,
//! 4. flags.
//!
//! Each layer is a table of what it really says, so merging is putting one table over another. [`resolve`] does it,
//! [`Config::adapt`] then does what the settings ask for automatically, and [`Config::to_toml`] writes the result so
//! that `--config` gives the same configuration again.

mod catalog;
mod command;
mod document;
mod layers;
mod place;
mod puffer;
mod scaling;
mod stages;
mod sweep_file;
mod text;

use std::rc::Rc;

use anyhow::Result;
use toml::Table;

use crate::algorithms::{self, recipe::divides};
use crate::envs::front::Variant;
use crate::runtime::DeviceKind;
use crate::{envs, trainer};

pub use catalog::Catalog;
pub use command::{Invocation, run_settings, train_command, with_variables};
pub use layers::{Ranks, Resolved, own_flag, resolve, resolve_over};
pub use place::{LOCAL_RANK, Nodes, Part, Place};
pub use puffer::translate_words;
pub use scaling::{auto_devices, check_devices};
pub use sweep_file::{SweepFile, read_sweep_file};

/// The settings of a run in which processes that train together must agree, beside those of the algorithm.
const SHARED: [&str; 11] = [
    "env",
    "env_set",
    "algo",
    "total_timesteps",
    "seed",
    "num_seeds",
    "devices",
    "deterministic",
    "no_kernels",
    "no_clusters",
    "window_steps",
];

/// Settings that make no sense: the user's mistake, exit status 2. One line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// An error as the user's mistake.
pub fn usage(error: anyhow::Error) -> anyhow::Error {
    UsageError(format!("{error:#}")).into()
}

/// All settings of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub run: trainer::Settings,
    pub algorithm: algorithms::Entry,
    /// Those of the algorithm, all of them.
    pub settings: Table,
    /// Those that train together; each has as many of the devices.
    pub processes: usize,
}

impl Config {
    /// Does what `auto_scale` and `auto_tune` ask for, now that the kind of device is known, and clears them: the
    /// numbers are final then. Gives the lines to tell the user.
    ///
    /// # Errors
    /// A [`UsageError`] if the sizes do not divide evenly in the end.
    pub fn adapt(&mut self, device: DeviceKind) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        if std::mem::take(&mut self.run.auto_scale) {
            let scaled = (self.algorithm.scale)(&self.settings)?;
            lines.extend(self.replace("auto-scale", scaled)?);
        }
        if std::mem::take(&mut self.run.auto_tune) {
            let sharers = if self.run.num_seeds > 1 { 1 } else { self.devices() };
            let tuned = (self.algorithm.tune)(&self.settings, device, sharers)?;
            lines.extend(self.replace(&format!("auto-tune for {device}"), tuned)?);
        }
        if self.run.devices.is_none() && self.processes > 1 {
            self.run.devices = Some(self.processes);
        }
        if self.run.devices.is_none() {
            let devices = auto_devices(&self.algorithm, &self.settings, self.run.num_seeds, device)?;
            self.run.devices = Some(devices);
        }
        self.check_divisions()?;
        Ok(lines)
    }

    /// Puts other settings in the place of those that are there. Gives a line that says what changed, if something did.
    fn replace(&mut self, title: &str, settings: Table) -> Result<Option<String>> {
        let before = std::mem::replace(&mut self.settings, settings);
        let sizes = (self.algorithm.sizes)(&self.settings)?;
        Ok(scaling::describe(title, &before, &self.settings, &sizes))
    }

    /// Devices that share the environments, or the agents if there are several: those of all processes.
    pub fn devices(&self) -> usize {
        self.run.devices.unwrap_or(1)
    }

    fn check_divisions(&self) -> Result<()> {
        divides("devices", self.devices(), self.processes).map_err(usage)?;
        (self.algorithm.check_sizes)(&self.settings)
            .and_then(|()| check_devices(&self.algorithm, &self.settings, self.run.num_seeds, self.devices()))
            .map_err(usage)
    }

    /// The environment as the settings choose it, with what the stages set of it as its phases.
    ///
    /// # Errors
    /// A [`UsageError`]: there is no such option, or its value is none.
    pub fn chosen(&self, env: envs::Entry) -> Result<envs::Entry> {
        let env = env.with(&self.run.env_set).map_err(UsageError)?;
        stages::choose(&self.run.stages, env)
    }

    /// What the learner is made of, in an environment that was chosen like that.
    pub fn agent(&self, env: &envs::Entry) -> algorithms::Agent {
        let stages = self.run.stages.clone();
        algorithms::Agent {
            settings: self.settings.clone(),
            env: Rc::from(env.without_phases().build()),
            seed: self.run.seed,
            in_stages: (!stages.is_empty()).then(|| Rc::from(env.build())),
            stages,
        }
    }

    /// Updates of the whole run.
    ///
    /// # Errors
    /// A [`UsageError`] if they are too many to be counted.
    pub fn num_updates(&self, env: &envs::Entry) -> Result<u64> {
        let steps = (self.algorithm.timesteps_per_update)(&self.settings, Rc::from(env.build()))?;
        self.run.check_updates(steps).map_err(|error| UsageError(error.to_string()))?;
        Ok(self.run.num_updates(steps))
    }

    /// The configuration of each agent of the group `name`: that of a run which is trained alone, on one device. Agents differ in their
    /// seeds, or are the `variants` if there are any.
    pub fn agents(&self, name: &str, variants: &[Variant]) -> Vec<Config> {
        let with_seed = |index| {
            let seed = self.run.seed + index;
            let run_name = Some(format!("{name}-s{seed}"));
            Config { run: trainer::Settings { seed, run_name, ..self.run.clone() }, ..self.clone() }
        };
        let agents: Vec<Config> = match variants {
            [] => (0..self.run.num_seeds as u64).map(with_seed).collect(),
            variants => variants.iter().map(|variant| self.variant(variant)).collect(),
        };
        let in_group = |mut config: Config| {
            config.run.num_seeds = 1;
            config.run.devices = Some(1);
            config.run.group = Some(name.to_owned());
            config
        };
        agents.into_iter().map(in_group).collect()
    }

    /// The configuration of one of the runs that a front asks for.
    pub fn variant(&self, variant: &Variant) -> Config {
        let Variant { run_name, env_set, config } = variant.clone();
        let env_set = [env_set, self.run.env_set.clone()].concat();
        let run =
            trainer::Settings { run_name: Some(run_name), env_set, front: Some(config), ..self.run.clone() };
        Config { run, ..self.clone() }
    }

    /// The configuration that a run or a checkpoint holds as text.
    ///
    /// # Errors
    /// A line that is no setting's, or of the wrong type; an environment or an algorithm that the program does not have.
    pub fn stored(catalog: &Catalog, text: &str) -> Result<Self> {
        layers::stored(catalog, text)
    }

    /// The first setting in which two processes that train together differ: its name, and both values.
    ///
    /// # Errors
    /// As [`Config::to_toml`].
    pub fn difference(&self, other: &Config) -> Result<Option<String>> {
        let of = |config: &Config| -> Result<Table> {
            let run = Table::try_from(&config.run)?.into_iter();
            let shared = run.filter(|(key, _)| SHARED.contains(&key.as_str()));
            Ok(shared.chain(config.settings.clone()).collect())
        };
        let (own, others) = (of(self)?, of(other)?);
        let names = own.keys().chain(others.keys());
        let value = |table: &Table, name: &str| table.get(name).map_or("not set".into(), |v| v.to_string());
        let differs = names.into_iter().find(|name| own.get(*name) != others.get(*name));
        Ok(differs.map(|name| format!("{name} = {}, not {}", value(&own, name), value(&others, name))))
    }

    /// The configuration as a file that `--config` accepts.
    pub fn to_toml(&self) -> Result<String> {
        let mut run = self.run.clone();
        let stages = stages::to_toml(std::mem::take(&mut run.stages))?; // lists of tables come last
        let (run, settings) = (toml::to_string(&run)?, toml::to_string(&self.settings)?);
        Ok(format!(
            "# The configuration of this run; `lockstep train --config FILE` starts another one like it.\n\n\
             # Run\n{run}\n# Settings of {}\n{settings}{stages}",
            self.algorithm.name
        ))
    }
}

#[cfg(test)]
mod tests;
