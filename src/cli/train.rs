//! `lockstep train`: from a command line to a finished run.

use anyhow::Result;
use clap::ArgMatches;

use crate::config::{self, Resolved};
use crate::runtime::plugin;
use crate::trainer::{self, evaluation, tell};

use super::dashboard::{self, Screen};
use super::learner::{MAX_UPDATES, Plan, build, env_defaults, find_env};

/// Trains.
///
/// # Errors
/// One line; a [`config::UsageError`] if the settings are wrong.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let Resolved { mut config, mut resumed, rewind, dashboard, json, notes } =
        config::resolve(matches, env_defaults)?;
    if dashboard {
        dashboard::check_terminal("train --dashboard", "without it, the run is told in lines")?;
    }
    if let Some(resumed) = &mut resumed {
        resumed.rewind = rewind;
    }
    let plugin = plugin::find(config.run.device, config.run.plugin.as_deref())?;
    for line in notes.into_iter().chain(config.adapt(plugin.kind)?) {
        tell(&line);
    }
    let plan = Plan {
        env: &config.run.env,
        seed: config.run.seed,
        total_updates: config.run.total_timesteps / config.ppo.batch_size() as u64,
        max_updates: MAX_UPDATES,
        devices: config.devices(),
        deterministic: config.run.deterministic,
        plugin: &plugin,
        kernels: !config.run.no_kernels,
    };
    let (mut learner, facts) = build(&config.ppo, &plan)?;
    if config.run.eval_interval.is_some() {
        let env = (find_env(&config.run.env)?.make)();
        learner.prepare_evaluation(&*env, evaluation::choice(&config.run), config.run.eval_episodes)?;
    }
    let timing = learner.timing();
    let how = if timing.cached { "loaded from cache" } else { "compiled" };
    tell(&format!("traced in {:.1} s, {how} in {:.1} s", timing.trace_seconds, timing.compile_seconds));
    let (screen, live) = dashboard.then(Screen::open).transpose()?.unzip();
    let outcome = trainer::train(&config.run, &config.to_toml()?, &facts, &mut learner, resumed, live);
    drop(screen); // the terminal is restored before anything else is said
    let outcome = outcome?;
    if json {
        super::print_line(serde_json::to_string(&outcome)?)?;
    }
    Ok(())
}
