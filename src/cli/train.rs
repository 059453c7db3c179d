//! `lockstep train`: from a command line to a finished run.

use anyhow::Result;
use clap::ArgMatches;
use serde_json::Value;

use crate::algorithms::{Learner, ppo};
use crate::config::{self, Config, Resolved};
use crate::runtime::plugin::{self, PluginFile};
use crate::trainer;

/// A compiled learner, and what `meta.json` should say of the device and the program.
pub struct Built {
    pub learner: Box<dyn Learner>,
    pub facts: Vec<(String, Value)>,
}

/// Trains. `env_defaults` gives an environment's default settings; `build` compiles the learner of a configuration.
///
/// # Errors
/// One line; a [`config::UsageError`] if the settings are wrong.
pub fn run(
    matches: &ArgMatches,
    env_defaults: impl Fn(&str) -> Result<ppo::Settings>,
    build: impl FnOnce(&Config, &PluginFile) -> Result<Built>,
) -> Result<()> {
    let Resolved { mut config, resumed, json, notes, .. } = config::resolve(matches, env_defaults)?;
    let plugin = plugin::find(config.run.device, config.run.plugin.as_deref())?;
    for line in notes.into_iter().chain(config.adapt(plugin.kind)?) {
        eprintln!("{line}");
    }
    let Built { mut learner, facts } = build(&config, &plugin)?;
    let outcome = trainer::train(&config.run, &config.to_toml()?, &facts, &mut *learner, resumed)?;
    if json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(())
}
