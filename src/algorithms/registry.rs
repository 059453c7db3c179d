//! The table of algorithms: a new one is a module, a [`Recipe`] and one line here.
//!
//! A recipe says with types what the command line needs: the settings with their flags, and how an algorithm is made of them. An
//! [`Entry`] is the same without types, so that nothing else has to know an algorithm by name: settings are a table there.

use std::rc::Rc;

use anyhow::{Result, anyhow, ensure};
use clap::{Args, Command};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Table;

use crate::envs::{AnyEnv, EnvSpec};
use crate::runtime::{Client, DeviceKind};

use super::learner::{self, Algorithm, One, Start};
use super::policy::{Choice, Metadata, Policy};
use super::{Group, Learner, NamedArrays, ppo};

/// How an algorithm is made from its settings.
pub trait Recipe {
    /// One field for each setting, with its flag.
    type Settings: Args + Serialize + DeserializeOwned + Default;
    type Algorithm: Algorithm + 'static;

    /// As in `--algorithm`, and in the metadata of parameter files.
    const NAME: &'static str;
    /// One line.
    const SUMMARY: &'static str;
    /// Settings that cannot change when a run is resumed: they decide the shape of its state.
    const FIXED: &'static [&'static str];
    /// Settings that are inputs of the programs, in which the agents of a group may differ.
    const TRACED: &'static [&'static str];

    /// Checks each setting by itself.
    ///
    /// # Errors
    /// One line that names the setting, its value and what is allowed.
    fn check(settings: &Self::Settings) -> Result<()>;

    /// Checks sizes that must divide each other.
    ///
    /// # Errors
    /// One line with the numbers and what would fit.
    fn check_sizes(settings: &Self::Settings) -> Result<()> {
        let _ = settings;
        Ok(())
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

    /// # Errors
    /// One line: the algorithm cannot be had on that environment.
    fn make(settings: Self::Settings, env: Rc<dyn AnyEnv>) -> Result<Self::Algorithm>;

    /// The policy in a file of parameters that the algorithm saved: that of an actor-critic by default.
    ///
    /// # Errors
    /// One line that says why the arrays are no network for the environment.
    fn policy(params: NamedArrays, metadata: &Metadata, choice: Choice, spec: &EnvSpec) -> Result<Policy> {
        Policy::of_network(params, metadata, choice, spec)
    }
}

/// The same settings once more.
fn copy<S: Serialize + DeserializeOwned>(settings: &S) -> S {
    let table = Table::try_from(settings).expect("settings are a table");
    table.try_into().expect("a table of settings are settings")
}

/// Makes learners with those settings on a device.
pub type Build<Settings, Learners> = fn(&Client, &Settings, Rc<dyn AnyEnv>, &Start) -> Result<Box<Learners>>;

/// Programs by name, as StableHLO text.
pub type Modules = [(&'static str, String); 2];

/// An algorithm by name. Settings are tables with a key for each.
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    /// See [`Recipe::FIXED`].
    pub fixed: &'static [&'static str],
    /// See [`Recipe::TRACED`].
    pub traced: &'static [&'static str],
    /// Adds the flags of the settings to a command.
    pub flags: fn(Command) -> Command,
    pub defaults: fn() -> Result<Table>,
    /// Checks that the table holds settings, each by itself.
    pub check: fn(&Table) -> Result<()>,
    /// See [`Recipe::check_sizes`].
    pub check_sizes: fn(&Table) -> Result<()>,
    pub scale: fn(&Table) -> Result<Table>,
    pub tune: fn(&Table, DeviceKind, usize) -> Result<Table>,
    /// Environment steps of an update.
    pub timesteps_per_update: fn(&Table, Rc<dyn AnyEnv>) -> Result<u64>,
    /// A learner with the first state.
    pub build: Build<Table, dyn Learner>,
    /// Learners that one program trains, with a table for each, which differ in traced settings only.
    pub build_group: Build<[Table], dyn Group>,
    /// The programs of a learner by name, as StableHLO text.
    pub modules: fn(&Table, Rc<dyn AnyEnv>, &Start, DeviceKind) -> Result<Modules>,
    /// See [`Recipe::policy`].
    pub policy: fn(NamedArrays, &Metadata, Choice, &EnvSpec) -> Result<Policy>,
}

impl Entry {
    /// The entry of a recipe.
    pub const fn of<R: Recipe>() -> Entry {
        Entry {
            name: R::NAME,
            summary: R::SUMMARY,
            fixed: R::FIXED,
            traced: R::TRACED,
            flags: R::Settings::augment_args,
            defaults: || Ok(Table::try_from(R::Settings::default())?),
            check: |table| R::check(&typed::<R>(table)?),
            check_sizes: |table| R::check_sizes(&typed::<R>(table)?),
            scale: |table| Ok(Table::try_from(R::scale(&typed::<R>(table)?))?),
            tune: |table, device, num_devices| {
                Ok(Table::try_from(R::tune(&typed::<R>(table)?, device, num_devices))?)
            },
            timesteps_per_update: |table, env| Ok(R::make(typed::<R>(table)?, env)?.timesteps_per_update()),
            build: |client, table, env, start| {
                Ok(Box::new(One::new(client, R::make(typed::<R>(table)?, env)?, start)?))
            },
            build_group: |client, tables, env, start| {
                check_group(R::TRACED, tables)?;
                let agent = |table| R::make(typed::<R>(table)?, env.clone());
                let agents = tables.iter().map(agent).collect::<Result<Vec<_>>>()?;
                Ok(Box::new(learner::Group::new(client, agents, start)?))
            },
            modules: |table, env, start, kind| {
                learner::modules(&R::make(typed::<R>(table)?, env)?, start, kind)
            },
            policy: R::policy,
        }
    }
}

fn typed<R: Recipe>(table: &Table) -> Result<R::Settings> {
    let settings = table.clone().try_into();
    settings.map_err(|error: toml::de::Error| anyhow!("these are no settings of {}: {error}", R::NAME))
}

/// Checks that agents of a group differ in nothing that their program is compiled from.
fn check_group(traced: &[&str], tables: &[Table]) -> Result<()> {
    let Some((first, rest)) = tables.split_first() else { return Ok(()) };
    for (key, value) in rest.iter().flatten() {
        ensure!(
            traced.contains(&key.as_str()) || first.get(key) == Some(value),
            "agents of one group cannot differ in {key}: it decides what is compiled"
        );
    }
    Ok(())
}

pub const ALGORITHMS: &[Entry] = &[Entry::of::<ppo::Recipe>()];

/// The entry of that name, or the nearest known name.
///
/// # Errors
/// There is none.
pub fn find(name: &str) -> Result<&'static Entry, UnknownAlgorithm> {
    ALGORITHMS.iter().find(|entry| entry.name == name).ok_or_else(|| {
        let distance = |entry: &&Entry| strsim::damerau_levenshtein(entry.name, name);
        let nearest = ALGORITHMS.iter().min_by_key(distance).expect("the table is not empty").name;
        UnknownAlgorithm { name: name.to_owned(), nearest }
    })
}

#[derive(Debug, thiserror::Error)]
#[error("unknown algorithm `{name}`; did you mean `{nearest}`?")]
pub struct UnknownAlgorithm {
    pub name: String,
    pub nearest: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_fixed_and_traced_settings_are_those_of_settings() {
        for entry in ALGORITHMS {
            let flags = (entry.flags)(Command::new("settings"));
            let known: Vec<&str> = flags.get_arguments().map(|arg| arg.get_id().as_str()).collect();
            for key in entry.fixed.iter().chain(entry.traced) {
                assert!(known.contains(key), "{}: there is no setting {key}", entry.name);
            }
            assert!(entry.fixed.iter().all(|key| !entry.traced.contains(key)), "{}", entry.name);
            let defaults = (entry.defaults)().unwrap();
            (entry.check)(&defaults).unwrap();
            assert!(defaults.keys().all(|key| known.contains(&key.as_str())), "{}", entry.name);
        }
    }

    #[test]
    fn agents_of_a_group_differ_in_traced_settings_only() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let check = |a: &str, b: &str| check_group(&["lr"], &[table(a), table(b)]);
        check("lr = 0.1\nnum_envs = 4", "lr = 0.2\nnum_envs = 4").unwrap();
        let error = check("num_envs = 4", "num_envs = 8").unwrap_err().to_string();
        assert!(error.contains("cannot differ in num_envs"), "{error}");
    }

    #[test]
    fn a_misspelt_name_gives_the_nearest() {
        let message = find("pppo").err().unwrap().to_string();
        assert_eq!(message, "unknown algorithm `pppo`; did you mean `ppo`?");
    }
}
