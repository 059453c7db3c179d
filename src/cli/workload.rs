//! What a command times or compiles: the flags that `bench` and `compile` share.

use anyhow::{Context, Result, ensure};
use clap::Args;
use toml::{Table, Value};

use super::App;
use crate::algorithms::Agent;
use crate::config::usage;
use crate::lower::Precision;
use crate::{algorithms, envs};

/// Training in an environment, of some size.
#[derive(Debug, Args)]
pub struct Workload {
    /// Environment
    #[arg(long, value_name = "NAME", default_value = "")]
    pub env: String,
    /// Algorithm [default: the environment's]
    #[arg(long, value_name = "NAME")]
    algo: Option<String>,
    /// Environments that step in lockstep [default: the environment's]
    #[arg(long, value_name = "N")]
    num_envs: Option<usize>,
    /// Steps of each environment per update [default: the environment's]
    #[arg(long, value_name = "N")]
    num_steps: Option<usize>,
    /// Another setting of the algorithm, such as hidden_dim=512; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// How the network's matrix products are computed
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub precision: Precision,
    /// Bit-equal runs on cuda, which are slower
    #[arg(long)]
    pub deterministic: bool,
}

/// Training in an environment of a program.
pub struct Training {
    pub env: envs::Entry,
    pub algorithm: algorithms::Entry,
    pub settings: Table,
    /// Environments, and the steps of each in an update.
    pub num_envs: usize,
    pub num_steps: usize,
}

impl Workload {
    /// The environment and its algorithm with its settings, in this size. `more` are settings with the values that mean that
    /// they are left alone.
    ///
    /// # Errors
    /// There is no such environment or algorithm, or the settings make no sense.
    pub fn training(&self, app: &App, more: &[(&str, Value, Value)]) -> Result<Training> {
        let catalog = app.catalog();
        let env = catalog.env(&self.env)?;
        let algorithm = match &self.algo {
            Some(name) => catalog.algorithm(name)?,
            None => catalog.algorithm_of(&env),
        };
        let mut settings = catalog.defaults(&env, &algorithm)?;
        let sizes = [("num_envs", self.num_envs), ("num_steps", self.num_steps)];
        let sizes = sizes.into_iter().filter_map(|(key, size)| Some((key, Value::try_from(size?))));
        for (key, value) in sizes {
            let value = value.map_err(|_| usage(anyhow::anyhow!("{key} is too large")))?;
            set(&algorithm, &mut settings, key, value, None).map_err(usage)?;
        }
        for word in &self.set {
            let (key, value) = assigned(word).map_err(usage)?;
            set(&algorithm, &mut settings, key, value, None).map_err(usage)?;
        }
        let precision = |precision: Precision| Value::try_from(precision);
        let precision = ("precision", precision(self.precision)?, precision(Precision::F32)?);
        for (key, value, unset) in [&[precision], more].concat() {
            set(&algorithm, &mut settings, key, value, Some(&unset)).map_err(usage)?;
        }
        (algorithm.check)(&settings)
            .and_then(|()| (algorithm.check_sizes)(&settings))
            .and_then(|()| (algorithm.check_agent)(&agent(&env, &settings)))
            .map_err(usage)?;
        let num_envs = (algorithm.num_envs)(&settings)?;
        let steps = (algorithm.timesteps_per_update)(&settings, env.build().into())?;
        Ok(Training { env, algorithm, settings, num_envs, num_steps: steps as usize / num_envs })
    }
}

impl Training {
    /// What a learner is made of.
    pub fn agent(&self) -> Agent {
        agent(&self.env, &self.settings)
    }
}

fn agent(env: &envs::Entry, settings: &Table) -> Agent {
    Agent::new(settings.clone(), env.build().into(), 0)
}

/// The setting and its value in `NAME=VALUE`, which is written as in a TOML file, or text without quotes.
fn assigned(word: &str) -> Result<(&str, Value)> {
    let (key, text) = word.split_once('=').with_context(|| format!("`{word}` is not NAME=VALUE"))?;
    let value = |text: &str| format!("value = {text}").parse::<Table>().ok()?.remove("value");
    Ok((key, value(text).unwrap_or_else(|| Value::String(text.to_owned()))))
}

/// Gives a setting a value. An algorithm need not have it if the value is the one that means that it is left alone.
fn set(
    algorithm: &algorithms::Entry,
    settings: &mut Table,
    key: &str,
    value: Value,
    unset: Option<&Value>,
) -> Result<()> {
    if !algorithm.settings().iter().any(|name| name == key) {
        ensure!(unset == Some(&value), "{} has no setting {key}", algorithm.name);
        return Ok(());
    }
    settings.insert(key.to_owned(), value);
    Ok(())
}
