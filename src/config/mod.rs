//! Configuration: turns text into the settings of the modules below.
//!
//! Every setting is defined once, as a field of its module's `Settings`; its flag, its environment variable, its key
//! in a file and its line of help follow from that. `--num-envs`, `LOCKSTEP_NUM_ENVS` and `num_envs` are the same
//! setting. They are layered, the later over the earlier:
//!
//! 1. the defaults of the environment,
//! 2. the file given by `--config`, or the configuration stored in the checkpoint given by `--resume`,
//! 3. environment variables,
//! 4. flags.
//!
//! Each layer is a table of what it really says, so merging is putting one table over another. [`resolve`] does it,
//! [`Config::adapt`] then does what the settings ask for automatically, and [`Config::to_toml`] writes the result so
//! that `--config` gives the same configuration again.

mod command;
mod layers;
mod scaling;

use anyhow::Result;

use crate::algorithms::ppo;
use crate::runtime::DeviceKind;
use crate::trainer;

pub use command::{Invocation, train_command, with_variables};
pub use layers::{Resolved, resolve};
pub use scaling::{auto_devices, check_devices};

/// Settings that make no sense: the user's mistake, exit status 2. One line that says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// All settings of a training run.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub run: trainer::Settings,
    pub ppo: ppo::Settings,
}

/// The default settings of PPO with the given lines of a configuration file over them: the defaults of an
/// environment.
///
/// # Errors
/// A line that is no setting or of the wrong type.
pub fn ppo_defaults(lines: &str) -> Result<ppo::Settings> {
    layers::overlay(&ppo::Settings::default(), lines)
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
            let scaled = ppo::auto_scale(&self.ppo);
            lines.extend(scaling::describe("auto-scale", &self.ppo, &scaled));
            self.ppo = scaled;
        }
        if std::mem::take(&mut self.run.auto_tune) {
            let sharers = if self.run.num_seeds > 1 { 1 } else { self.devices() };
            let tuned = ppo::auto_tune(&self.ppo, device, sharers);
            lines.extend(scaling::describe(&format!("auto-tune for {device}"), &self.ppo, &tuned));
            self.ppo = tuned;
        }
        let num_seeds = self.run.num_seeds;
        self.run.devices.get_or_insert_with(|| scaling::auto_devices(&self.ppo, num_seeds, device));
        self.check_divisions()?;
        Ok(lines)
    }

    /// Devices that share the environments, or the agents if there are several.
    pub fn devices(&self) -> usize {
        self.run.devices.unwrap_or(1)
    }

    fn check_divisions(&self) -> Result<()> {
        self.ppo.check_minibatches().map_err(|error| UsageError(error.to_string()))?;
        scaling::check_devices(&self.ppo, self.run.num_seeds, self.devices())
            .map_err(|error| UsageError(error.to_string()).into())
    }

    /// The configuration of each agent of the group `name`: that of a run which is trained alone, on one device.
    pub fn agents(&self, name: &str) -> Vec<Config> {
        let agent = |index| {
            let mut config = self.clone();
            let seed = self.run.seed + index;
            config.run.seed = seed;
            config.run.num_seeds = 1;
            config.run.devices = Some(1);
            config.run.run_name = Some(format!("{name}-s{seed}"));
            config.run.group = Some(name.to_owned());
            config
        };
        (0..self.run.num_seeds as u64).map(agent).collect()
    }

    /// The configuration that a run or a checkpoint holds as text.
    ///
    /// # Errors
    /// A line that is no setting's, or of the wrong type.
    pub fn stored(text: &str) -> Result<Self> {
        layers::stored(text)
    }

    /// The configuration as a file that `--config` accepts.
    pub fn to_toml(&self) -> Result<String> {
        let (run, ppo) = (toml::to_string(&self.run)?, toml::to_string(&self.ppo)?);
        Ok(format!(
            "# The configuration of this run; `lockstep train --config FILE` starts another one like it.\n\n\
             # Run\n{run}\n# PPO\n{ppo}"
        ))
    }
}

#[cfg(test)]
mod tests;
