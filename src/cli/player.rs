//! From what the command line names to an environment, a policy and a device: what `eval` and `watch` share.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::algorithms::policy::{Choice, Policy};
use crate::envs::registry::Entry;
use crate::nn::Activation;
use crate::runtime::{Client, DeviceKind, plugin};
use crate::trainer::load_params;

use super::learner::find_env;

/// Which device plays.
#[derive(Debug, Args)]
pub struct Device {
    /// Kind of device [default: the best that is present]
    #[arg(long, value_name = "KIND")]
    device: Option<DeviceKind>,
    /// PJRT plugin to load instead of searching for one
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

impl Device {
    pub fn open(&self) -> Result<Client> {
        Ok(Client::open(&plugin::find(self.device, self.plugin.as_deref())?, 1)?)
    }
}

/// A policy, and the environment it plays in.
pub struct Player {
    pub env: &'static Entry,
    pub policy: Policy,
}

impl Player {
    /// The policy that chooses at random.
    pub fn random(env: &str) -> Result<Player> {
        Ok(Player { env: find_env(env)?, policy: Policy::random() })
    }

    /// The policy in a file of parameters. The file says its environment; `env` is what the user says of it.
    ///
    /// # Errors
    /// One line: an unreadable file, or parameters of another environment or network.
    pub fn load(path: &Path, env: Option<&str>, choice: Choice) -> Result<Player> {
        let env = env.map(find_env).transpose()?; // a misspelt name is found first
        let (params, metadata) = load_params(path)?;
        let file = path.display();
        let env = match (metadata.get("env"), env) {
            (Some(trained), Some(env)) if trained != env.name => bail!(
                "{file} was trained on {trained}, not on {}; leave out --env or choose another file",
                env.name
            ),
            (_, Some(env)) => env,
            (Some(trained), None) => find_env(trained).map_err(|_| {
                anyhow::anyhow!("{file} was trained on {trained}, which this lockstep does not know")
            })?,
            (None, None) => bail!("{file} does not say its environment; add --env NAME"),
        };
        let said = metadata.get("activation").map(String::as_str);
        let activation = said.and_then(|name| Activation::from_str(name, false).ok()).with_context(|| {
            format!("{file} does not say its network's activation: it is no file of parameters that lockstep saved")
        })?;
        let policy = Policy::of_network(params, activation, choice, &(env.make)().spec())
            .with_context(|| format!("{file} cannot play {}", env.name))?;
        Ok(Player { env, policy })
    }
}
