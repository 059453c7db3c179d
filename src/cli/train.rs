//! `lockstep train`: from a command line to a finished run.

use std::rc::Rc;

use anyhow::{Result, bail};
use clap::ArgMatches;

use crate::algorithms::Group;
use crate::algorithms::learner::Timing;
use crate::config::{self, Config, Resolved, UsageError, usage};
use crate::envs::Entry;
use crate::output::tell;
use crate::runtime::plugin::{self, PluginFile};
use crate::trainer::live::Live;
use crate::trainer::{self, Failure, Member, Resumed, Stage, evaluation, thousands, wandb};

use super::App;
use super::dashboard::Screen;
use super::learner::{Facts, MAX_UPDATES, Plan, build, build_group};
use super::terminal;

/// Trains.
///
/// # Errors
/// One line; a [`config::UsageError`] if the settings are wrong.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    trainer::listen()?;
    let Resolved { mut config, mut resumed, rewind, dashboard, json, notes } =
        config::resolve(app.catalog(), matches)?;
    if dashboard && config.run.num_seeds > 1 {
        let advice = "train --dashboard shows one run; leave it out with --num-seeds, and see a run of the group \
                      with `lockstep runs watch RUN`";
        return Err(UsageError(advice.into()).into());
    }
    if dashboard {
        terminal::check("train --dashboard", "without it, the run is told in lines")?;
    }
    let entry = app.catalog().env(&config.run.env)?.with(&config.run.env_set).map_err(UsageError)?;
    (config.algorithm.check_env)(&config.settings, Rc::from(entry.build())).map_err(usage)?;
    config.run.health = entry.health;
    wandb::check(&config.run).map_err(usage)?;
    config.run.wandb_home = entry.wandb;
    config.run.entry = Some(entry);
    if let Some(resumed) = &mut resumed {
        resumed.rewind = rewind;
    }
    let plugin = plugin::find(config.run.device, config.run.plugin.as_deref())?;
    for line in notes.into_iter().chain(config.adapt(plugin.kind)?) {
        tell(&line);
    }
    let (screen, live) = dashboard.then(Screen::open).transpose()?.unzip();
    let work = Work { program: app.name(), entry: &entry, config: &config, plugin: &plugin, json };
    let trained = train(&work, resumed, live);
    drop(screen); // the terminal is restored before anything else is said
    trained
}

/// What is to be trained, and on what.
struct Work<'a> {
    program: &'static str,
    entry: &'a Entry,
    config: &'a Config,
    plugin: &'a PluginFile,
    json: bool,
}

fn train(work: &Work, resumed: Option<Resumed>, live: Option<Live>) -> Result<()> {
    let Work { config, json, .. } = *work;
    let stage = Stage::begin("opening the device", live.as_ref());
    let plan = Plan {
        program: work.program,
        env: work.entry,
        env_set: &config.run.env_set,
        algorithm: &config.algorithm,
        seed: config.run.seed,
        total_updates: config.num_updates(work.entry)?,
        max_updates: MAX_UPDATES,
        devices: config.devices(),
        deterministic: config.run.deterministic,
        plugin: work.plugin,
        kernels: !config.run.no_kernels,
        clusters: !config.run.no_clusters,
        record_steps: config.run.window_steps.is_some(),
        stage: &stage,
    };
    if config.run.num_seeds > 1 {
        let built = build_group_of(config, &plan);
        drop(stage);
        return train_group(config, built?, json);
    }
    if resumed.is_none() {
        trainer::run_dir::check_is_new(&config.run)?;
    }
    let (mut learner, facts) = build(&config.settings, &plan)?;
    if config.run.eval_interval.is_some() {
        stage.change("tracing the evaluation");
        learner.prepare_evaluation(evaluation::choice(&config.run), config.run.eval_episodes)?;
    }
    drop(stage);
    if let Some(timing) = learner.timing().map(described) {
        live.as_ref().map_or_else(|| tell(&timing), |live| live.say(&timing));
    }
    let outcome = trainer::train(&config.run, &config.to_toml()?, &facts, &mut *learner, resumed, live)?;
    if json {
        super::print_line(serde_json::to_string(&outcome)?)?;
    }
    Ok(())
}

/// A group that is ready to be trained.
struct Built {
    name: String,
    members: Vec<Member>,
    group: Box<dyn Group>,
    facts: Facts,
}

/// Compiles the program of `num_seeds` agents, if their runs can be made.
fn build_group_of(config: &Config, plan: &Plan) -> Result<Built> {
    let Config { run, settings, .. } = config;
    let name = trainer::run_dir::new_name(run)?;
    let member = |agent: Config| Ok(Member { config: agent.to_toml()?, settings: agent.run });
    let members = config.agents(&name).into_iter().map(member).collect::<Result<Vec<_>>>()?;
    trainer::check_group(&members)?;
    let (mut group, mut facts) = build_group(settings, plan, run.num_seeds)?;
    facts.push(("group".into(), name.as_str().into()));
    if run.eval_interval.is_some() {
        plan.stage.change("tracing the evaluation");
        group.prepare_evaluation(evaluation::choice(run), run.eval_episodes)?;
    }
    Ok(Built { name, members, group, facts })
}

/// Trains `num_seeds` agents in one program.
fn train_group(config: &Config, built: Built, json: bool) -> Result<()> {
    let Config { run, .. } = config;
    let Built { name, members, mut group, facts } = built;
    if let Some(timing) = group.timing() {
        tell(&described(timing));
    }
    let mut learners = group.members();
    let outcome = trainer::train_group(&name, &members, &facts, &mut *group, &mut learners)?;
    let (agents, steps) = (run.num_seeds, thousands(outcome.timesteps));
    let rate = thousands(outcome.steps_per_second as u64);
    tell(&format!(
        "{agents} agents, {steps} timesteps in {:.1} s: {rate} steps/s; their runs are {name}-s{} to {name}-s{} in {}",
        outcome.seconds,
        run.seed,
        run.seed + agents as u64 - 1,
        run.checkpoint_dir.display()
    ));
    if json {
        super::print_line(serde_json::to_string(&outcome)?)?;
    }
    let failed = outcome.failures.len();
    match outcome.failures.first() {
        Some(Failure { run, error }) => {
            bail!("{failed} of {agents} agents failed, the first of them {run}: {error}")
        }
        None => Ok(()),
    }
}

fn described(timing: Timing) -> String {
    let how = if timing.cached { "loaded from cache" } else { "compiled" };
    format!("traced in {:.1} s, {how} in {:.1} s", timing.trace_seconds, timing.compile_seconds)
}
