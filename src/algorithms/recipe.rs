//! What the command line needs to know of an algorithm.
//!
//! A [`Recipe`] says it with types: the settings with their flags, and how an algorithm is made of them. An [`Entry`] is the same
//! without types, so that nothing else has to know an algorithm by name: settings are a table there.

use std::fmt;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Result, anyhow, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::array::HostArray;
use crate::envs::{AnyEnv, EnvSpec, Open, Replay};
use crate::runtime::{Client, DeviceKind};

use super::curriculum::{self, Stage, Stages};
use super::dialect::Dialect;
use super::learner::{self, Algorithm, One, Staged, Start};
use super::policy::{Choice, Metadata, Policy};
use super::{Group, Learner, Metric, NamedArrays};

/// How an algorithm is made from its settings.
pub trait Recipe {
    /// One field for each setting, with its flag. Other algorithms may have settings of the same names, the run has not.
    type Settings: Args + Serialize + DeserializeOwned;
    type Algorithm: Algorithm + 'static;

    /// As in `--algo`, and in the metadata of parameter files.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// Settings that cannot change when a run is resumed: they decide the shape of its state.
    const FIXED: &'static [&'static str];
    /// Settings that are inputs of the programs, in which the agents of a group may differ.
    const TRACED: &'static [&'static str];
    /// Settings of which a choice is kept: where somebody gives one of them, nothing is scaled.
    const UNSCALED: &'static [&'static str] = &[];

    /// Settings that go together, by the values of the setting `preset`: lines of a configuration file, which give way to whatever else
    /// is said.
    const PRESETS: &'static [(&'static str, &'static str)] = &[];

    /// Where in the state of a learner the parameters are, as the names of its arrays begin.
    const PARAMS: &'static str = "params";

    /// What documents call the settings: by their own names by default.
    const DIALECT: Dialect = Dialect::PLAIN;

    /// Environments that step in lockstep.
    fn num_envs(settings: &Self::Settings) -> usize;

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    fn check(settings: &Self::Settings) -> Result<()> {
        let _ = settings;
        Ok(())
    }

    /// Checks sizes that must divide each other.
    ///
    /// # Errors
    /// One line with the numbers and what would fit.
    fn check_sizes(settings: &Self::Settings) -> Result<()> {
        let _ = settings;
        Ok(())
    }

    /// Whether the cores of a processor are to share the environments where nobody says how many devices there are.
    const SHARED_BY_CORES: bool = true;

    /// Checks that so many devices can share the environments.
    ///
    /// # Errors
    /// One line with the numbers and what would fit.
    fn check_devices(settings: &Self::Settings, num_devices: usize) -> Result<()> {
        divides("num_envs", Self::num_envs(settings), num_devices)
    }

    /// The settings with what follows from the size of a batch; as they are by default.
    fn scale(settings: &Self::Settings) -> Self::Settings {
        copy(settings)
    }

    /// The settings with sizes that suit the device; as they are by default.
    fn tune(settings: &Self::Settings, device: DeviceKind, num_devices: usize) -> Self::Settings {
        let _ = (device, num_devices);
        copy(settings)
    }

    /// Sizes that follow from the settings, in words: `batch 32,768`; nothing by default.
    fn sizes(settings: &Self::Settings) -> String {
        let _ = settings;
        String::new()
    }

    /// Whether what an update does depends on the length of the whole run, as it does with an annealed learning rate.
    fn depends_on_length(settings: &Self::Settings) -> bool {
        let _ = settings;
        false
    }

    /// # Errors
    /// One line: the algorithm cannot be had on that environment.
    fn make(settings: Self::Settings, env: Rc<dyn AnyEnv>) -> Result<Self::Algorithm>;

    /// All metrics that runs in an environment may have, for those who only want to know which there are; those of the default
    /// settings by default.
    ///
    /// # Errors
    /// As [`Recipe::make`].
    fn metrics(env: Rc<dyn AnyEnv>) -> Result<Vec<Metric>> {
        learner::metrics(&Self::make(defaults(), env)?)
    }

    /// Reads golden data of the algorithm's arithmetic and opens what computes it; nothing if the file holds something else, which
    /// is so by default.
    ///
    /// # Errors
    /// One line that says what in such a file is malformed.
    fn golden(file: &Path, open: Open) -> Result<Option<Replay>> {
        let _ = (file, open);
        Ok(None)
    }

    /// The policy in a file of parameters that the algorithm saved: that of an actor-critic by default.
    ///
    /// # Errors
    /// One line that says why the arrays are no network for the environment.
    fn policy(params: NamedArrays, metadata: &Metadata, choice: Choice, spec: &EnvSpec) -> Result<Policy> {
        Policy::of_network(params, metadata, choice, spec)
    }
}

/// The defaults of the flags, so that each stands in one place only.
///
/// # Panics
/// A flag has none.
pub fn defaults<S: Args>() -> S {
    let command = S::augment_args(Command::new("defaults").no_binary_name(true));
    S::from_arg_matches(&command.get_matches_from([""; 0])).expect("every setting has a default")
}

/// Checks that `devices` share evenly what the setting `name` counts.
///
/// # Errors
/// One line that says what would fit.
pub fn divides(name: &str, count: usize, devices: usize) -> Result<()> {
    ensure!(
        count.is_multiple_of(devices),
        "{name} = {count} cannot be split evenly over devices = {devices}; use {name} = {}",
        count.next_multiple_of(devices)
    );
    Ok(())
}

/// The same settings once more.
fn copy<S: Serialize + DeserializeOwned>(settings: &S) -> S {
    let table = Table::try_from(settings).expect("settings are a table");
    table.try_into().expect("a table of settings are settings")
}

/// Makes a learner on a device; its seed is that of the start.
pub type Build = fn(&Client, &Agent, &Start) -> Result<Box<dyn Learner>>;

/// Makes learners that one program trains.
pub type BuildGroup = fn(&Client, &[Agent], &Start) -> Result<Box<dyn Group>>;

/// What a learner is made of.
#[derive(Clone)]
pub struct Agent {
    pub settings: Table,
    pub env: Rc<dyn AnyEnv>,
    /// Where it is one of several.
    pub seed: u64,
    pub stages: Stages,
    /// Where there are stages, the environment whose phases are what they set of it.
    pub in_stages: Option<Rc<dyn AnyEnv>>,
}

impl Agent {
    /// One without stages.
    pub fn new(settings: Table, env: Rc<dyn AnyEnv>, seed: u64) -> Agent {
        Agent { settings, env, seed, stages: Stages::default(), in_stages: None }
    }
}

/// Names with values.
pub type Entries = Vec<(String, String)>;

/// Programs by name, as StableHLO text.
pub type Modules = [(&'static str, String); 2];

/// An algorithm by name. Settings are tables with a key for each.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    /// See [`Recipe::FIXED`].
    pub fixed: &'static [&'static str],
    /// See [`Recipe::SHARED_BY_CORES`].
    pub shared_by_cores: bool,
    /// See [`Recipe::TRACED`].
    pub traced: &'static [&'static str],
    /// See [`Recipe::UNSCALED`].
    pub unscaled: &'static [&'static str],
    /// See [`Recipe::PRESETS`].
    pub presets: &'static [(&'static str, &'static str)],
    /// See [`Recipe::DIALECT`].
    pub dialect: Dialect,
    /// Adds the flags of the settings to a command.
    pub flags: fn(Command) -> Command,
    /// The settings that the flags of such a command say, each checked by itself.
    pub parse: fn(&ArgMatches) -> Result<Table>,
    /// The table with every setting and each of its type, from one that has more or fewer keys; what is missing has its default.
    /// A value of another type is a [`toml::de::Error`].
    pub complete: fn(&Table) -> Result<Table>,
    /// See [`Recipe::num_envs`].
    pub num_envs: fn(&Table) -> Result<usize>,
    /// Checks that the table holds settings, each by itself.
    pub check: fn(&Table) -> Result<()>,
    /// See [`Recipe::check_sizes`].
    pub check_sizes: fn(&Table) -> Result<()>,
    /// See [`Recipe::check_devices`].
    pub check_devices: fn(&Table, usize) -> Result<()>,
    /// What files of the parameters of such an agent say of themselves, by name.
    pub metadata: fn(&Agent) -> Result<Entries>,
    /// Checks that the algorithm can be had like that: on the environment, in these stages.
    pub check_agent: fn(&Agent) -> Result<()>,
    pub scale: fn(&Table) -> Result<Table>,
    pub tune: fn(&Table, DeviceKind, usize) -> Result<Table>,
    /// See [`Recipe::sizes`].
    pub sizes: fn(&Table) -> Result<String>,
    /// See [`Recipe::depends_on_length`].
    pub depends_on_length: fn(&Table) -> Result<bool>,
    /// See [`Recipe::metrics`].
    pub metrics: fn(Rc<dyn AnyEnv>) -> Result<Vec<Metric>>,
    /// Environment steps of an update.
    pub timesteps_per_update: fn(&Table, Rc<dyn AnyEnv>) -> Result<u64>,
    /// A learner with the first state.
    pub build: Build,
    /// Learners that one program trains, which differ in seeds, traced settings and parameters of their environments only. The seed of
    /// `Start` has no meaning.
    pub build_group: BuildGroup,
    /// The programs of a learner by name, as StableHLO text.
    pub modules: fn(&Agent, &Start, DeviceKind) -> Result<Modules>,
    /// Floating-point operations of the products in one update, on all devices together.
    pub update_flops: fn(&Agent, &Start, DeviceKind) -> Result<u64>,
    /// See [`Recipe::golden`].
    pub golden: fn(&Path, Open) -> Result<Option<Replay>>,
    /// See [`Recipe::PARAMS`].
    pub params: &'static str,
    /// See [`Recipe::policy`]; the arrays may be a whole state.
    pub policy: fn(NamedArrays, &Metadata, Choice, &EnvSpec) -> Result<Policy>,
}

/// The parameters among arrays, which are those of a file of parameters or a whole state, where their names begin with `place`.
fn params_of(place: &str, arrays: NamedArrays) -> NamedArrays {
    let own = |(name, array): (String, HostArray)| {
        let rest = name.strip_prefix("params").or(name.strip_prefix(place))?;
        rest.starts_with('.').then(|| (format!("params{rest}"), array))
    };
    arrays.into_iter().filter_map(own).collect()
}

impl Entry {
    /// The parameters among the arrays of a file of parameters, or of a checkpoint.
    pub fn params_of(&self, arrays: NamedArrays) -> NamedArrays {
        params_of(self.params, arrays)
    }

    /// The entry of a recipe.
    pub const fn of<R: Recipe>() -> Entry {
        Entry {
            name: R::NAME,
            summary: R::SUMMARY,
            fixed: R::FIXED,
            shared_by_cores: R::SHARED_BY_CORES,
            traced: R::TRACED,
            unscaled: R::UNSCALED,
            presets: R::PRESETS,
            dialect: R::DIALECT,
            flags: R::Settings::augment_args,
            parse: |matches| {
                let settings = R::Settings::from_arg_matches(matches)?;
                R::check(&settings)?; // first, for what is out of range may not fit into a table
                table_of(&settings)
            },
            complete: |table| {
                let mut whole = table_of(&defaults::<R::Settings>())?;
                let known = names(R::Settings::augment_args(Command::new(R::NAME)));
                whole.extend(table.clone().into_iter().filter(|(key, _)| known.contains(key)));
                table_of(&whole.try_into::<R::Settings>()?)
            },
            num_envs: |table| Ok(R::num_envs(&typed::<R>(table)?)),
            check: |table| R::check(&typed::<R>(table)?),
            check_sizes: |table| R::check_sizes(&typed::<R>(table)?),
            check_devices: |table, num_devices| R::check_devices(&typed::<R>(table)?, num_devices),
            metadata: |agent| Ok(learner::metadata(&make::<R>(agent)?)),
            check_agent: |agent| make::<R>(agent).map(drop),
            scale: |table| table_of(&R::scale(&typed::<R>(table)?)),
            tune: |table, device, num_devices| table_of(&R::tune(&typed::<R>(table)?, device, num_devices)),
            sizes: |table| Ok(R::sizes(&typed::<R>(table)?)),
            depends_on_length: |table| Ok(R::depends_on_length(&typed::<R>(table)?)),
            metrics: |env| {
                let mut metrics = R::metrics(env)?;
                if metrics.iter().all(|metric| metric.name != curriculum::METRIC) {
                    metrics.push(curriculum::metric()); // any run may have stages
                }
                Ok(metrics)
            },
            timesteps_per_update: |table, env| Ok(R::make(typed::<R>(table)?, env)?.timesteps_per_update()),
            build: |client, agent, start| Ok(Box::new(One::new(client, make::<R>(agent)?, start)?)),
            build_group: |client, agents, start| {
                check_group(R::TRACED, agents)?;
                let seeds: Vec<u64> = agents.iter().map(|agent| agent.seed).collect();
                let agents = agents.iter().map(make::<R>).collect::<Result<Vec<_>>>()?;
                Ok(Box::new(learner::Group::with_seeds(client, agents, &seeds, start)?))
            },
            modules: |agent, start, kind| learner::modules(&make::<R>(agent)?, start, kind),
            update_flops: |agent, start, kind| learner::update_flops(&make::<R>(agent)?, start, kind),
            golden: R::golden,
            params: R::PARAMS,
            policy: |arrays, metadata, choice, spec| {
                R::policy(params_of(R::PARAMS, arrays), metadata, choice, spec)
            },
        }
    }
}

impl Entry {
    /// The names of its settings.
    pub fn settings(&self) -> Vec<String> {
        names((self.flags)(Command::new(self.name)))
    }
}

/// Entries are told apart by their names.
impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.name == other.name
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}", self.name)
    }
}

/// The names of the flags of a command.
fn names(command: Command) -> Vec<String> {
    command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

fn table_of(settings: &impl Serialize) -> Result<Table> {
    Table::try_from(settings).map_err(|error| anyhow!("a setting cannot be stored: {error}"))
}

fn typed<R: Recipe>(table: &Table) -> Result<R::Settings> {
    let settings = table.clone().try_into();
    settings.map_err(|error: toml::de::Error| {
        anyhow!("these are no settings of {}: {}", R::NAME, error.message())
    })
}

/// The algorithm of an agent, in its stages.
fn make<R: Recipe>(agent: &Agent) -> Result<Staged<R::Algorithm>> {
    let Agent { settings, env, stages, in_stages, .. } = agent;
    let whole = R::make(typed::<R>(settings)?, env.clone())?;
    let Some(env) = in_stages else { return Ok(Staged::plain(whole)) };
    ensure!(whole.schedule().is_none(), "stages are a curriculum of their own; leave out --curriculum");
    let make = |settings: Table| R::make(typed::<R>(&settings)?, env.clone());
    let of_stage = |stage: &Stage| make(settings.clone().into_iter().chain(stage.settings.clone()).collect());
    let each = stages.all().iter().map(of_stage).collect::<Result<Vec<_>>>()?;
    Ok(Staged::new(make(settings.clone())?, each, stages))
}

/// Checks that agents of a group differ in nothing that their program is compiled from.
fn check_group(traced: &[&str], agents: &[Agent]) -> Result<()> {
    let Some((first, rest)) = agents.split_first() else { return Ok(()) };
    for agent in rest {
        for (key, value) in &agent.settings {
            ensure!(
                traced.contains(&key.as_str()) || first.settings.get(key) == Some(value),
                "agents of one group cannot differ in {key}: it decides what is compiled"
            );
        }
        let kinds = |agent: &Agent| agent.stages.schedule(1).map(|schedule| schedule.begins.kind());
        ensure!(
            kinds(agent) == kinds(first),
            "agents of one group cannot have stages of other numbers or kinds"
        );
        ensure!(
            agent.env.spec() == first.env.spec(),
            "agents of one group cannot have environments that show or take other things"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_of_a_group_differ_in_traced_settings_only() {
        let agent = |text: &str| {
            let env = Rc::from(crate::envs::registry::find("cartpole").unwrap().build());
            Agent::new(text.parse().unwrap(), env, 0)
        };
        let check = |a: &str, b: &str| check_group(&["lr"], &[agent(a), agent(b)]);
        check("lr = 0.1\nnum_envs = 4", "lr = 0.2\nnum_envs = 4").unwrap();
        let error = check("num_envs = 4", "num_envs = 8").unwrap_err().to_string();
        assert!(error.contains("cannot differ in num_envs"), "{error}");
    }
}
