//! What a command times or compiles: the flags that `bench` and `compile` share.

use anyhow::Result;
use clap::Args;

use super::App;
use crate::algorithms::ppo;
use crate::lower::Precision;

/// Training in an environment, of some size.
#[derive(Debug, Args)]
pub struct Workload {
    /// Environment
    #[arg(long, value_name = "NAME", default_value = "")]
    pub env: String,
    /// Environments that step in lockstep [default: the environment's]
    #[arg(long, value_name = "N")]
    num_envs: Option<usize>,
    /// Steps of each environment per update [default: the environment's]
    #[arg(long, value_name = "N")]
    num_steps: Option<usize>,
    /// How the network's matrix products are computed
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub precision: Precision,
    /// Bit-equal runs on cuda, which are slower
    #[arg(long)]
    pub deterministic: bool,
}

impl Workload {
    /// The environment's settings, in this size. Nobody has checked them yet.
    ///
    /// # Errors
    /// There is no such environment.
    pub fn settings(&self, app: &App) -> Result<ppo::Settings> {
        let defaults = app.env_defaults(&self.env)?;
        Ok(ppo::Settings {
            num_envs: self.num_envs.unwrap_or(defaults.num_envs),
            num_steps: self.num_steps.unwrap_or(defaults.num_steps),
            precision: self.precision,
            ..defaults
        })
    }
}
