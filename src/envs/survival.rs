//! Evaluation by lives, as an environment asks for it: who lives there, what is counted, and a command line of its own for `eval`.
//!
//! In some environments agents live on, die and go on, and what matters is how long they live and what they come upon. Such an
//! environment declares that here, so that no command has to know it. The command line is in use when one of its flags is given.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use clap::{ArgMatches, Command};

/// How the lives in an environment are evaluated.
#[derive(Clone, Copy)]
pub struct Survival {
    /// Adds its flags to a command, which must have none of their names.
    pub flags: fn(Command) -> Command,
    /// What its flags ask for; `seed` is that of the flag `--seed`, if it was given.
    ///
    /// # Errors
    /// One line that names the flag.
    pub read: fn(flags: &ArgMatches, seed: Option<u64>) -> Result<Protocol>,
    /// Of which kind a file of parameters is that says this of itself, if it says so.
    pub kind_of: fn(metadata: &BTreeMap<String, String>) -> Option<&'static str>,
    /// All kinds of agents, in the order of reports.
    pub kinds: &'static [Kind],
    /// The pairs of kinds that reports compare, the most important one first, which also gives the ratio of their survival.
    pub pairs: &'static [(&'static str, &'static str)],
    /// What is good for an agent, and what is bad for it.
    pub good: Item,
    pub bad: Item,
    /// The parameter that says what energy a step costs.
    pub step_cost: &'static str,
}

/// What an agent may come upon.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    /// As in the names of numbers: `food`.
    pub name: &'static str,
    /// The metric that is 1 in steps in which it is eaten, else 0.
    pub metric: &'static str,
    /// The parameter that says what energy it gives.
    pub energy: &'static str,
}

/// Agents that were trained in one way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    pub name: &'static str,
    /// In figures on a dark and on a light ground.
    pub dark: [u8; 3],
    pub light: [u8; 3],
}

/// What is to be evaluated, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Protocol {
    pub subjects: Vec<Subject>,
    pub envs: usize,
    /// Of each environment.
    pub steps: usize,
    pub seeds: Seeds,
    /// Take the most probable action instead of drawing one.
    pub deterministic: bool,
    pub temperature: f64,
    /// Where the results are written; those of each kind go beside it.
    pub output: PathBuf,
    /// Where a report is written, if it is.
    pub report: Option<PathBuf>,
    /// What the files say of the protocol beside this.
    pub facts: Vec<(&'static str, Option<u64>)>,
}

/// Agents of a kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Subject {
    pub kind: &'static str,
    /// What names the player: a file of parameters, a run, or a script of the environment.
    pub model: String,
    /// What to do if there is no such file.
    pub advice: String,
    /// The options of the environment in which it is evaluated.
    pub options: Vec<String>,
}

/// The seeds of the runs.
#[derive(Clone, Debug, PartialEq)]
pub enum Seeds {
    /// A single run.
    One(u64),
    /// Several runs, whose seeds were drawn from a first one.
    Drawn { base: u64, seeds: Vec<u64> },
}

impl Seeds {
    pub fn list(&self) -> Vec<u64> {
        match self {
            Seeds::One(seed) => vec![*seed],
            Seeds::Drawn { seeds, .. } => seeds.clone(),
        }
    }
}

impl Survival {
    /// The names of its flags.
    pub fn names(&self) -> Vec<String> {
        super::front::names(self.flags)
    }

    /// Those of the kinds that are wanted, in the order of reports; unknown ones come last.
    pub fn place(&self, kind: &str) -> usize {
        self.kinds.iter().position(|known| known.name == kind).unwrap_or(self.kinds.len())
    }
}
