//! `lockstep train`: from a command line to a finished run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{ArgMatches, FromArgMatches};
use serde::Serialize;
use serde_json::Value;

use crate::algorithms::learner::Timing;
use crate::algorithms::recording::Record;
use crate::algorithms::{Group, Learner};
use crate::config::{self, Config, Nodes, Part, Place, Ranks, Resolved, UsageError};
use crate::envs::Entry;
use crate::envs::front::{Meaning, Measured, Variant};
use crate::envs::painter::arrow;
use crate::output::tell;
use crate::runtime::DeviceKind;
use crate::runtime::plugin::{self, PluginFile};
use crate::trainer::live::Live;
use crate::trainer::status::State;
use crate::trainer::{
    self, ENV_SET, Failure, GroupOutcome, Member, Outcome, Resumed, Stage, evaluation, thousands,
};
use crate::training::init_from::Beginning;
use crate::training::learner::{Plan, build, build_group};
use crate::training::settle;
use crate::training::team::{Lead, Leader, Meeting, Team};

use super::App;
use super::dashboard::{Company, Screen};
use super::{launch, terminal};

/// Trains, by itself or as one of several processes.
///
/// # Errors
/// One line; a [`config::UsageError`] if the settings are wrong.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    trainer::listen()?;
    let nodes = Nodes::from_arg_matches(matches)?;
    match nodes.part()? {
        Part::Alone => run_as(app, matches, None).map(drop),
        Part::Start { processes, size, variables } => {
            // What is wrong is said once, by this process.
            prepare(app, matches, None, Ranks { count: size, settings_of_first: None })?;
            launch::run(processes, &variables)
        }
        Part::Of(place) => run_as_one_of(app, matches, &place, Duration::from_secs(nodes.join_timeout)),
    }
}

/// As [`run`]; `meta.json` of a run that a document begins says this command, if it is given. Gives what became of a run that is
/// none of a group.
///
/// # Errors
/// As [`run`].
pub fn run_as(app: &App, matches: &ArgMatches, command: Option<&str>) -> Result<Option<Outcome>> {
    trainer::listen()?;
    prepare(app, matches, command, Ranks::ONE)?.train(app, None)
}

/// As [`run`], for a process of several.
fn run_as_one_of(app: &App, matches: &ArgMatches, place: &Place, patience: Duration) -> Result<()> {
    let count = place.size;
    let (meeting, prepared) = if place.rank == 0 {
        let prepared = prepare(app, matches, None, Ranks { count, settings_of_first: None })?;
        (Meeting::open(place, Some(prepared.lead()?), patience)?, prepared)
    } else {
        let meeting = Meeting::open(place, None, patience)?;
        let settings = &meeting.lead().settings;
        let ranks = Ranks { count, settings_of_first: Some(settings) };
        let prepared = prepare(app, matches, None, ranks).and_then(|prepared| {
            let first = Config::stored(app.catalog(), settings)?;
            match prepared.config.difference(&first)? {
                Some(difference) => bail!("{difference} as at rank 0; give all ranks the same command line"),
                None => Ok(prepared),
            }
        });
        match prepared {
            Ok(prepared) => (meeting, prepared),
            Err(error) => {
                meeting.refuse(&error);
                return Err(error);
            }
        }
    };
    let team = meeting.begin(prepared.facts(), prepared.sums_itself())?;
    if team.leads() {
        let (world, engine) = (team.world(), place.engine);
        let way = match (prepared.sums_itself(), world.is_over_mpi()) {
            (false, _) => "",
            (true, true) => "; their sums go over MPI",
            (true, false) => "; their sums go over sockets",
        };
        let here = world.processes().here;
        tell(&format!("{count} processes train together (by {engine}), {here} of them on this machine{way}"));
    }
    let trained = prepared.train(app, Some(&team));
    team.end(trained).map(drop)
}

/// What a command line asks for, and what is needed for it.
struct Prepared {
    config: Config,
    entry: Entry,
    resumed: Option<Resumed>,
    dashboard: bool,
    json: bool,
    together: Vec<Variant>,
    in_turn: Vec<Variant>,
    measured: Option<fn(&Measured) -> Value>,
    episodes: Option<&'static [&'static str]>,
    stop_file: Option<&'static str>,
    plugin: PluginFile,
    /// What to tell of the settings.
    lines: Vec<String>,
}

fn prepare(app: &App, matches: &ArgMatches, command: Option<&str>, ranks: Ranks) -> Result<Prepared> {
    let Resolved { mut config, mut resumed, rewind, dashboard, json, notes } =
        config::resolve(app.catalog(), matches, ranks)?;
    let entry = app.catalog().env(&config.run.env)?;
    config.run.entry = Some(entry);
    let Meaning { variants, sequential, measured, episodes, stop_file, .. } =
        trainer::meaning_of(&config.run)?;
    let (together, in_turn) = if sequential { (vec![], variants) } else { (variants, vec![]) };
    if !together.is_empty() {
        config.run.num_seeds = together.len();
    }
    if dashboard && measured.is_some() {
        return Err(UsageError("a benchmark has no dashboard; leave out one of them".into()).into());
    }
    let follows = ranks.settings_of_first.is_some(); // rank 0 tells and shows
    if dashboard && !follows {
        terminal::check("train --dashboard", "without it, the run is told in lines")?;
    }
    if ranks.count > 1 && (!in_turn.is_empty() || measured.is_some()) {
        let what = if measured.is_some() { "a benchmark" } else { "runs one after the other" };
        return Err(UsageError(format!("{what} cannot be shared by several processes")).into());
    }
    let entry = settle(entry, &mut config)?;
    if let Some(resumed) = &mut resumed {
        resumed.rewind = rewind;
    }
    let plugin = plugin::find(config.run.device, config.run.plugin.as_deref())?;
    let lines = notes.into_iter().chain(config.adapt(plugin.kind)?).collect();
    if let Some(document) = &mut config.run.document {
        let facts = [("device", Some(plugin.kind.to_string())), ("command", command.map(str::to_owned))];
        let facts = facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.into())));
        document.facts.extend(facts);
    }
    let dashboard = dashboard && !follows;
    Ok(Prepared {
        config,
        entry,
        resumed,
        dashboard,
        json,
        together,
        in_turn,
        measured,
        episodes,
        stop_file,
        plugin,
        lines,
    })
}

impl Prepared {
    fn train(self, app: &App, team: Option<&Team>) -> Result<Option<Outcome>> {
        if team.is_none_or(Team::leads) {
            self.lines.iter().for_each(|line| tell(line));
        }
        let has_company = self.config.run.num_seeds > 1 || !self.in_turn.is_empty();
        let company = has_company.then(|| Company { actions: labels(&self.entry) });
        let (screen, live) = self.dashboard.then(|| Screen::open(company)).transpose()?.unzip();
        let results = RefCell::default();
        let work = Work {
            program: app.name(),
            entry: &self.entry,
            config: &self.config,
            variants: &self.together,
            plugin: &self.plugin,
            team,
            json: self.json,
            measured: self.measured,
            episodes: self.episodes,
            results: &results,
        };
        let trained = match self.in_turn.is_empty() {
            true => train(&work, self.resumed, live),
            false => train_in_turn(&work, &self.in_turn, self.stop_file.map(Path::new), live),
        };
        drop(screen); // the terminal is restored before anything else is said
        results.into_inner().into_iter().try_for_each(super::print_line)?;
        trained
    }

    /// What rank 0 tells the others.
    fn lead(&self) -> Result<Lead> {
        let run = &self.config.run;
        let directory = match &self.resumed {
            Some(resumed) if resumed.is_in_run() => resumed.directory().to_path_buf(),
            _ => run.checkpoint_dir.join(trainer::run_dir::new_name(run)?),
        };
        Ok(Lead { settings: self.config.to_toml()?, directory: directory.display().to_string() })
    }

    /// Whether lockstep sums over the devices of several processes itself: elsewhere XLA does, and agents of their own need no sums.
    fn sums_itself(&self) -> bool {
        self.plugin.kind == DeviceKind::Cpu && self.config.run.num_seeds == 1
    }

    /// What must be the same for all processes that train together, beside their settings.
    fn facts(&self) -> Vec<(String, String)> {
        let file = self.plugin.path.metadata().map_or(0, |data| data.len());
        [
            ("the kind of device", self.plugin.kind.to_string()),
            ("the size of the plugin's file", format!("{file} bytes")),
        ]
        .map(|(what, value)| (what.to_owned(), value))
        .into()
    }
}

/// The names of the actions that are directions, by the metrics that count them.
fn labels(entry: &Entry) -> BTreeMap<String, String> {
    let (painter, spec) = (entry.painter(), entry.spec());
    let label = |(name, actions): &(&'static str, Range<usize>)| {
        let sign = arrow(painter.direction(actions.start).filter(|_| actions.len() == 1)?);
        Some((format!("actions/{name}_frac"), format!("{sign} {name}")))
    };
    spec.action_groups.iter().filter_map(label).collect()
}

/// What is to be trained, and on what.
#[derive(Clone, Copy)]
struct Work<'a> {
    program: &'static str,
    entry: &'a Entry,
    config: &'a Config,
    /// The runs of a group, where they differ in more than their seeds.
    variants: &'a [Variant],
    plugin: &'a PluginFile,
    /// The processes that it is shared by, if there are several.
    team: Option<&'a Team>,
    json: bool,
    /// What is said of a run of which the throughput is all that is wanted.
    measured: Option<fn(&Measured) -> Value>,
    /// The metrics with which single episodes are logged, if they are.
    episodes: Option<&'static [&'static str]>,
    /// Lines for programs, which wait for the end of a screen.
    results: &'a RefCell<Vec<String>>,
}

impl<'a> Work<'a> {
    /// What is to be compiled for it.
    fn plan(&self, stage: &'a Stage) -> Result<Plan<'a>> {
        let plan = Plan::of(self.program, self.entry, self.config, self.plugin, stage)?;
        Ok(Plan { team: self.team, record: Record { episodes: self.episodes, ..plan.record }, ..plan })
    }

    /// Prints a result as JSON, at once if there is no screen.
    fn give(&self, result: &impl Serialize, live: Option<&Live>) -> Result<()> {
        let text = serde_json::to_string(result)?;
        match live {
            None => super::print_line(text)?,
            Some(_) => self.results.borrow_mut().push(text),
        }
        Ok(())
    }
}

/// One run after the other; the first one that is stopped is the last one, or the one after which there is a stop file. Gives what
/// became of that.
fn train_in_turn(
    work: &Work,
    variants: &[Variant],
    stop_file: Option<&Path>,
    live: Option<Live>,
) -> Result<Option<Outcome>> {
    let mut last = None;
    for (done, variant) in variants.iter().enumerate() {
        if let Some(file) = stop_file.filter(|file| done > 0 && file.exists()) {
            let (file, left) = (file.display(), variants.len() - done);
            tell(&format!(
                "{file} is there, so the {left} that are left are not trained; it stays until you remove it"
            ));
            break;
        }
        let mut config = work.config.variant(variant);
        let entry = config.chosen(*work.entry)?;
        config.run.entry = Some(entry);
        let alone = Work { entry: &entry, config: &config, ..*work };
        last = train(&alone, None, live.clone())?;
        if last.as_ref().is_some_and(|outcome| outcome.state == State::Stopped) {
            break;
        }
    }
    Ok(last)
}

/// Gives what became of a run that is none of a group.
fn train(work: &Work, resumed: Option<Resumed>, live: Option<Live>) -> Result<Option<Outcome>> {
    let Work { config, json, .. } = *work;
    let stage = Stage::begin("opening the device", live.as_ref());
    let plan = work.plan(&stage)?;
    let total_updates = plan.total_updates;
    if config.run.num_seeds > 1 {
        let name = match work.team {
            None => trainer::run_dir::new_name(&config.run)?,
            Some(team) => team.name(),
        };
        let agents = config.agents(&name, work.variants);
        let own = work.team.map_or(0..agents.len(), |team| team.share(agents.len()));
        let built = build_group_of(work, &plan.alone(), &name, &agents[own]);
        drop(stage);
        match work.measured {
            Some(said) => measure_group(built?, total_updates, Some(said).filter(|_| json)),
            None => train_group(work, built?, live.as_ref()),
        }?;
        work.team.filter(|team| team.leads()).map_or(Ok(()), Team::wait_for_all)?;
        return Ok(None);
    }
    if let Some(team) = work.team.filter(|team| !team.leads()) {
        let (mut learner, _) = build(&config.agent(work.entry), &plan)?;
        drop(stage);
        return team.follow(&mut *learner).map(|()| None);
    }
    if resumed.is_none() && work.measured.is_none() {
        trainer::run_dir::check_is_new(&config.run)?;
    }
    let beginning = match &resumed {
        None => Beginning::of(&config.run, &config.algorithm)?,
        Some(_) => None,
    };
    let (learner, facts) = build(&config.agent(work.entry), &plan)?;
    let mut learner: Box<dyn Learner + '_> = match work.team {
        None => learner,
        Some(team) => Box::new(Leader::new(learner, team)),
    };
    if let Some(beginning) = beginning {
        beginning.give(&mut *learner)?;
        let line = beginning.line();
        live.as_ref().map_or_else(|| tell(&line), |live| live.say(&line));
    }
    if config.run.eval_interval.is_some() {
        stage.change("tracing the evaluation");
        learner.prepare_evaluation(evaluation::choice(&config.run), config.run.eval_episodes)?;
    }
    drop(stage);
    if let Some(timing) = learner.timing().map(described) {
        live.as_ref().map_or_else(|| tell(&timing), |live| live.say(&timing));
    }
    if let Some(said) = work.measured {
        let batch = learner.timesteps_per_update();
        let name = config.run.run_name.clone().unwrap_or_default();
        let said = Some(said).filter(|_| json);
        measure(&[name], (total_updates, batch), said, |updates| learner.run(updates).map(drop))?;
        return Ok(None);
    }
    let screen = live.clone();
    let outcome = trainer::train(&config.run, &config.to_toml()?, &facts, &mut *learner, resumed, live)?;
    if json {
        work.give(&outcome, screen.as_ref())?;
    }
    Ok(Some(outcome))
}

/// A group that is ready to be trained.
struct Built {
    name: String,
    members: Vec<Member>,
    group: Box<dyn Group>,
}

/// Compiles the program of several agents, if their runs can be made.
fn build_group_of(work: &Work, plan: &Plan, name: &str, configs: &[Config]) -> Result<Built> {
    let run = &work.config.run;
    let member = |agent: &Config| {
        Ok(Member { config: agent.to_toml()?, settings: agent.run.clone(), facts: Vec::new() })
    };
    let mut members = configs.iter().map(member).collect::<Result<Vec<_>>>()?;
    trainer::check_group(&members)?;
    let agent = |config: &Config| Ok(config.agent(&config.chosen(*work.entry)?));
    let agents = configs.iter().map(agent).collect::<Result<Vec<_>>>()?;
    let beginning = Beginning::of(run, &work.config.algorithm)?;
    let (mut group, mut facts) = build_group(&agents, plan)?;
    if let Some(beginning) = beginning {
        group.members().iter_mut().try_for_each(|member| beginning.give(&mut **member))?;
        tell(&beginning.line());
    }
    facts.push(("group".into(), name.into()));
    for member in &mut members {
        member.facts = facts.clone();
        member.facts.retain(|(key, _)| key != ENV_SET);
        let options = member.settings.env_set.join(",");
        member.facts.extend((!options.is_empty()).then(|| (ENV_SET.to_owned(), options.into())));
    }
    if run.eval_interval.is_some() {
        plan.stage.change("tracing the evaluation");
        group.prepare_evaluation(evaluation::choice(run), run.eval_episodes)?;
    }
    Ok(Built { name: name.to_owned(), members, group })
}

/// Trains runs that differ only in numbers which are inputs of their program, all of them in one; a single one by itself. They are those of
/// the group `name`. Gives what became of each, in their order.
///
/// # Errors
/// One line: nothing could be trained.
pub fn train_trials(
    program: &'static str,
    plugin: &PluginFile,
    name: &str,
    mut configs: Vec<Config>,
) -> Result<Vec<Result<Outcome>>> {
    let count = configs.len();
    let mut entries = Vec::new();
    for config in &mut configs {
        let entry = config.run.entry.expect("an environment was settled");
        config.run.group = Some(name.to_owned());
        config.run.num_seeds = count;
        let lines = config.adapt(plugin.kind)?;
        if entries.is_empty() {
            lines.iter().for_each(|line| tell(line)); // those of the others are the same
        }
        entries.push(entry);
    }
    let results = RefCell::default();
    let shared = configs[0].clone();
    let work = Work {
        program,
        entry: &entries[0],
        config: &shared,
        variants: &[],
        plugin,
        team: None,
        json: false,
        measured: None,
        episodes: None,
        results: &results,
    };
    if count == 1 {
        let outcome = train(&work, None, None)?;
        return Ok(vec![outcome.context("a run that is none of a group comes to something")]);
    }
    for config in &mut configs {
        config.run.num_seeds = 1;
        config.run.devices = Some(1);
    }
    let stage = Stage::begin("opening the device", None);
    let built = build_group_of(&work, &work.plan(&stage)?, name, &configs);
    drop(stage);
    let GroupOutcome { runs, failures, .. } = run_group(built?, None)?;
    let outcome_of = |config: &Config| {
        let name = config.run.run_name.as_ref();
        let outcome = runs.iter().find(|outcome| Some(&outcome.run) == name);
        let failure = failures.iter().find(|failure| Some(&failure.run) == name);
        match (outcome, failure) {
            (Some(outcome), _) => Ok(outcome.clone()),
            (None, Some(failure)) => Err(anyhow!("{}", failure.error)),
            (None, None) => Err(anyhow!("it is not among those of its group")),
        }
    };
    Ok(configs.iter().map(outcome_of).collect())
}

/// Trains the runs of a group until all have ended.
fn run_group(built: Built, live: Option<&Live>) -> Result<GroupOutcome> {
    let Built { name, members, mut group } = built;
    if let Some(timing) = group.timing().map(described) {
        live.map_or_else(|| tell(&timing), |live| live.say(&timing));
    }
    let mut learners = group.members();
    trainer::train_group(&name, &members, &mut *group, &mut learners, live.cloned())
}

/// Trains several agents in one program.
fn train_group(work: &Work, built: Built, live: Option<&Live>) -> Result<()> {
    let Work { config: Config { run, .. }, json, .. } = *work;
    let told = |line: &str| live.map_or_else(|| tell(line), |live| live.say(line));
    let names: Vec<String> =
        built.members.iter().filter_map(|Member { settings, .. }| settings.run_name.clone()).collect();
    let outcome = run_group(built, live)?;
    let (agents, steps) = (run.num_seeds, thousands(outcome.timesteps));
    let rate = thousands(outcome.steps_per_second as u64);
    told(&format!(
        "{agents} agents, {steps} timesteps in {:.1} s: {rate} steps/s; their runs are {} to {} in {}",
        outcome.seconds,
        names.first().map_or("", String::as_str),
        names.last().map_or("", String::as_str),
        run.checkpoint_dir.display()
    ));
    if json {
        work.give(&outcome, live)?;
    }
    let failed = outcome.failures.len();
    match outcome.failures.first() {
        Some(Failure { run, error }) => {
            bail!("{failed} of {agents} agents failed, the first of them {run}: {error}")
        }
        None => Ok(()),
    }
}

/// Measures several agents in one program.
fn measure_group(built: Built, total_updates: u64, said: Option<fn(&Measured) -> Value>) -> Result<()> {
    let Built { members, mut group, .. } = built;
    if let Some(timing) = group.timing() {
        tell(&described(timing));
    }
    let batch = group.members().first().map_or(0, |learner| learner.timesteps_per_update());
    let names: Vec<String> =
        members.into_iter().filter_map(|Member { settings, .. }| settings.run_name).collect();
    measure(&names, (total_updates, batch), said, |updates| group.run(updates).map(drop))
}

/// Runs updates and tells how fast they were; nothing is saved.
fn measure(
    names: &[String],
    (total_updates, batch): (u64, u64),
    said: Option<fn(&Measured) -> Value>,
    mut run: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let begin = Instant::now();
    for _ in 0..total_updates {
        run(1)?;
    }
    let (seconds, steps) = (begin.elapsed().as_secs_f64().max(1e-9), total_updates * batch);
    let all = steps * names.len() as u64;
    let rate = thousands((all as f64 / seconds) as u64);
    tell(&format!("{} in {seconds:.1} s: {rate} steps/s; nothing was saved", thousands(all)));
    for (name, said) in names.iter().zip(said.into_iter().cycle()) {
        super::print_line(said(&Measured { run_name: name, steps, seconds }).to_string())?;
    }
    Ok(())
}

fn described(timing: Timing) -> String {
    let how = if timing.cached { "loaded from cache" } else { "compiled" };
    format!("traced in {:.1} s, {how} in {:.1} s", timing.trace_seconds, timing.compile_seconds)
}
