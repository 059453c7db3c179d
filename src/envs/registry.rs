//! Environments by name, with all that the commands need to know of each.
//!
//! A program is an [`App`](crate::App) with a [`Registry`] of its own: the entries of [`builtin`], those of the crate that
//! makes the program, or both. A new environment is a module and one entry.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::lang::Backend;

use super::cartpole::{self, CartPole};
use super::hackmatrix::{self, HackMatrix};
use super::painter::{ObservationPainter, Painter};
use super::{AnyEnv, Description, Env, EnvSpec, Erased, Health};

/// An environment by name.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub make: fn() -> Box<dyn AnyEnv>,
    /// The algorithm that learns it where none is named; without, the first one of the program.
    pub algorithm: Option<&'static str>,
    /// Settings of training that differ from the general defaults, as lines of a configuration file.
    pub defaults: &'static str,
    /// What healthy training looks like.
    pub health: Health,
    /// Entity and project at Weights & Biases, where the environment's documentation names them.
    pub wandb: Option<(&'static str, &'static str)>,
    /// What `verify` plays.
    pub golden: Option<Golden>,
    /// What `serve` speaks.
    pub protocol: Option<Protocol>,
    describe: Option<fn() -> Description>,
    painter: Option<fn() -> Box<dyn Painter>>,
}

/// Where a program is to run, once it is needed.
pub type Open<'a> = &'a dyn Fn() -> Result<Backend>;

/// Golden transitions: what an environment must do, in files of its own format.
#[derive(Clone, Copy)]
pub struct Golden {
    /// Where the format is described, for the help.
    pub help: &'static str,
    /// Reads a file and compiles what plays its transitions.
    pub open: fn(file: &Path, open: Open) -> Result<Replay>,
}

/// Plays each transition with so many seeds, prints what differs, and gives the number of transitions that failed.
pub type Replay = Box<dyn FnOnce(usize, &mut dyn Write) -> Result<usize>>;

/// A protocol on standard input and output, by which other programs play an environment.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// What its clients need to know, for the help.
    pub help: &'static str,
    /// Adds its flags to a command.
    pub flags: fn(Command) -> Command,
    /// Compiles what the flags ask for, with a seed.
    pub open: fn(flags: &ArgMatches, seed: u64, open: Open) -> Result<Serve>,
}

/// Answers until the input ends.
pub type Serve = Box<dyn FnOnce() -> Result<()>>;

impl Entry {
    /// An environment whose numbers have no names yet, with the general defaults.
    pub const fn new(name: &'static str, summary: &'static str, make: fn() -> Box<dyn AnyEnv>) -> Entry {
        Entry {
            name,
            summary,
            make,
            algorithm: None,
            defaults: "",
            wandb: None,
            health: Health::UNKNOWN,
            golden: None,
            protocol: None,
            describe: None,
            painter: None,
        }
    }

    /// What healthy training looks like: from which return on it is solved, and ranges of its own metrics.
    pub const fn health(self, health: Health) -> Entry {
        Entry { health, ..self }
    }

    /// The algorithm that learns it where `--algo` names none.
    pub const fn algorithm(self, name: &'static str) -> Entry {
        Entry { algorithm: Some(name), ..self }
    }

    /// Settings of training that differ from the general defaults, as lines of a configuration file: `num_envs = 64`. They are
    /// those of the environment's algorithm; a table of its name, `[ppo]`, holds those of another one.
    pub const fn defaults(self, lines: &'static str) -> Entry {
        Entry { defaults: lines, ..self }
    }

    /// The names of its observation, actions and rewards.
    pub const fn described(self, describe: fn() -> Description) -> Entry {
        Entry { describe: Some(describe), ..self }
    }

    /// What draws its states; otherwise the numbers of the observation are listed.
    pub const fn painted(self, painter: fn() -> Box<dyn Painter>) -> Entry {
        Entry { painter: Some(painter), ..self }
    }

    /// The entity and project at Weights & Biases that its documentation names; without, runs go to the account's default
    /// entity and a project of the environment's name.
    pub const fn wandb(self, entity: &'static str, project: &'static str) -> Entry {
        Entry { wandb: Some((entity, project)), ..self }
    }

    /// Golden transitions, which `verify` plays.
    pub const fn golden(self, golden: Golden) -> Entry {
        Entry { golden: Some(golden), ..self }
    }

    /// The protocol that `serve` speaks.
    pub const fn protocol(self, protocol: Protocol) -> Entry {
        Entry { protocol: Some(protocol), ..self }
    }

    pub fn spec(&self) -> EnvSpec {
        (self.make)().spec()
    }

    /// The meaning of its numbers; without names of its own they are numbered.
    pub fn description(&self) -> Description {
        match self.describe {
            Some(describe) => describe(),
            None => Description::numbered(&self.spec()),
        }
    }

    /// What draws its states.
    pub fn painter(&self) -> Box<dyn Painter> {
        match self.painter {
            Some(painter) => painter(),
            None => Box::new(ObservationPainter { description: self.description() }),
        }
    }
}

/// An environment of that type, for [`Entry::new`].
pub fn boxed<E: Env + 'static>(env: E) -> Box<dyn AnyEnv> {
    Box::new(Erased::new(env))
}

/// The environments that come with lockstep.
pub const fn builtin() -> [Entry; 2] {
    [
        Entry::new("hackmatrix", "a turn-based hacking game on a 6x6 board", || boxed(HackMatrix))
            .described(hackmatrix::host::describe::description)
            .painted(hackmatrix::painter)
            .defaults(include_str!("../../jax_env_spec/hackmatrix/defaults.toml"))
            .health(hackmatrix::HEALTH)
            .algorithm("ppo")
            .golden(hackmatrix::GOLDEN)
            .protocol(hackmatrix::PROTOCOL)
            .wandb("charles-team", "hackmatrix"),
        Entry::new("cartpole", "balance a pole on a cart (Gymnasium CartPole-v1)", || boxed(CartPole))
            .described(cartpole::description)
            .painted(cartpole::painter)
            .defaults(include_str!("../../jax_env_spec/cartpole/defaults.toml"))
            .health(cartpole::HEALTH)
            .algorithm("ppo"),
    ]
}

/// The environments of a program. The first one is the default.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Adds an environment.
    ///
    /// # Panics
    /// There is one of that name already, or the name is not what its spec says.
    #[track_caller]
    pub fn add(&mut self, entry: Entry) {
        let name = entry.name;
        assert!(self.entries.iter().all(|other| other.name != name), "two environments are called `{name}`");
        let said = entry.spec().name;
        assert!(said == name, "the environment `{name}` is called `{said}` in its spec");
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name, or the nearest known name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<Entry, UnknownEnv> {
        self.entries.iter().find(|entry| entry.name == name).copied().ok_or_else(|| {
            let distance = |entry: &&Entry| strsim::damerau_levenshtein(entry.name, name);
            let nearest = self.entries.iter().min_by_key(distance).map(|entry| entry.name);
            UnknownEnv { name: name.to_owned(), nearest }
        })
    }
}

impl FromIterator<Entry> for Registry {
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Registry {
        let mut registry = Registry::default();
        entries.into_iter().for_each(|entry| registry.add(entry));
        registry
    }
}

/// The entry of that name among those that come with lockstep.
pub fn find(name: &str) -> Result<Entry, UnknownEnv> {
    Registry::from_iter(builtin()).find(name)
}

#[derive(Debug, thiserror::Error)]
#[error("unknown environment `{name}`; {}`envs` lists all", hint(*nearest))]
pub struct UnknownEnv {
    pub name: String,
    pub nearest: Option<&'static str>,
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or(String::new(), |name| format!("did you mean `{name}`? "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_is_described_in_full() {
        for entry in builtin() {
            let (spec, description) = (entry.spec(), entry.description());
            assert_eq!(spec.name, entry.name);
            assert_eq!(description.observation_names().len(), spec.obs_size(), "{}", entry.name);
            assert_eq!(description.actions.len(), spec.num_actions, "{}", entry.name);
            let names = description.rewards.iter().map(|reward| format!("reward/{}", reward.name));
            let logged: Vec<String> = spec
                .metrics
                .iter()
                .map(|m| m.name.clone())
                .filter(|name| name.starts_with("reward/"))
                .collect();
            assert!(logged.is_empty() || logged == names.collect::<Vec<_>>(), "{}", entry.name);
        }
    }

    #[test]
    fn a_misspelt_name_gives_the_nearest() {
        let message = find("cart-pole").err().unwrap().to_string();
        assert!(
            message.starts_with("unknown environment `cart-pole`; did you mean `cartpole`?"),
            "{message}"
        );
    }

    #[test]
    fn numbers_without_names_are_numbered() {
        let entry = Entry::new("cartpole", "", || boxed(CartPole));
        let description = entry.description();
        assert_eq!(description.observation_names(), ["obs 0", "obs 1", "obs 2", "obs 3"]);
        assert_eq!(description.action(1), "action 1");
    }

    #[test]
    #[should_panic(expected = "two environments are called `cartpole`")]
    fn names_are_unique() {
        let mut registry = Registry::default();
        registry.add(find("cartpole").unwrap());
        registry.add(find("cartpole").unwrap());
    }

    #[test]
    #[should_panic(expected = "the environment `pole` is called `cartpole` in its spec")]
    fn an_entry_has_the_name_of_its_spec() {
        Registry::default().add(Entry::new("pole", "", || boxed(CartPole)));
    }
}
