//! All that the commands need to know of an environment.

use std::fmt;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use clap::{ArgMatches, Command};

use crate::lang::Backend;

use super::description::Param;
use super::front::Front;
use super::make::Make;
use super::native::Native;
use super::options::{Choices, Options, Sizes, Switch};
use super::painter::{ObservationPainter, Painter};
use super::survival::Survival;
use super::telemetry::Telemetry;
use super::{AnyEnv, Description, Env, EnvSpec, Erased, Health, default_params};

/// An environment by name.
#[derive(Clone, Copy)]
pub struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    make: Make,
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
    /// What `eval --positions` reads.
    pub positions: Option<ReadPositions>,
    /// What `serve` speaks.
    pub protocol: Option<Protocol>,
    /// What windows and replays say of it beside what they say of every environment.
    pub telemetry: Telemetry,
    /// Other makes of it.
    pub switches: &'static [Switch],
    /// Sizes that it may have.
    pub sizes: Option<Sizes>,
    /// What is chosen of it.
    pub(super) options: Options,
    /// A command line of its own for `train`.
    pub front: Option<Front>,
    /// How `eval` lets agents live on in it.
    pub survival: Option<Survival>,
    check: Option<Check>,
    describe: Option<fn() -> Description>,
    painter: Option<fn() -> Box<dyn Painter>>,
}

/// Where a program is to run, once it is needed.
pub type Open<'a> = &'a dyn Fn() -> Result<Backend>;

/// Says why an environment with these default parameters cannot be, if it cannot.
pub type Check = fn(&dyn AnyEnv) -> Result<(), String>;

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

/// Reads a file of positions.
pub type ReadPositions = fn(file: &Path) -> Result<Vec<Position>>;

/// A position of a game, and what is known of its moves.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Which of several collections it belongs to.
    pub set: String,
    /// The actions that lead there from the first state.
    pub moves: Vec<i32>,
    /// If it is known: for each action what perfect play makes of it for the player to move, above 0 for a win, below 0 for a loss;
    /// `None` for an invalid action.
    pub values: Option<Vec<Option<f64>>>,
}

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
            make: Make::Function(make),
            algorithm: None,
            defaults: "",
            wandb: None,
            health: Health::UNKNOWN,
            golden: None,
            positions: None,
            protocol: None,
            telemetry: Telemetry::PLAIN,
            switches: &[],
            sizes: None,
            options: Options::NONE,
            front: None,
            survival: None,
            check: None,
            describe: None,
            painter: None,
        }
    }

    /// The environment of a library, with the names and the settings that it says.
    pub fn native(native: Native) -> Entry {
        let unused = || unreachable!("a library makes it");
        let entry = Entry::new(native.name, native.summary(), unused).defaults(native.defaults());
        Entry { make: Make::Library(native), ..entry }
    }

    /// Says why the environment cannot be computed elsewhere than on cpu, if it is so.
    pub fn only_on_cpu(&self) -> Option<String> {
        let Make::Library(native) = self.make else { return None };
        Some(format!("{} is a library for the processor", native.name))
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

    /// Reads a file of positions whose results are known, by which `eval --positions` measures a player.
    pub const fn positions(self, read: ReadPositions) -> Entry {
        Entry { positions: Some(read), ..self }
    }

    /// The protocol that `serve` speaks.
    pub const fn protocol(self, protocol: Protocol) -> Entry {
        Entry { protocol: Some(protocol), ..self }
    }

    /// What windows and replays say of it beside what they say of every environment.
    pub const fn telemetry(self, telemetry: Telemetry) -> Entry {
        Entry { telemetry, ..self }
    }

    /// The environment, with what is chosen of it.
    pub fn build(&self) -> Box<dyn AnyEnv> {
        self.options.build(&self.choices())
    }

    fn choices(&self) -> Choices {
        let Entry { name, make, switches, sizes, .. } = *self;
        Choices { name, make, switches, sizes }
    }

    /// The names of what [`Entry::with`] chooses.
    pub fn options(&self) -> Vec<String> {
        Options::names(&self.choices())
    }

    /// The environment with other parameters and switches, each as `NAME=VALUE`.
    ///
    /// # Errors
    /// One line: there is no such option, the value is none for it, or the values do not go together.
    pub fn with(self, options: &[String]) -> Result<Entry, String> {
        Entry { options: Options::parse(&self.choices(), options)?, ..self }.checked_options()
    }

    /// The environment with phases in the place of its own ones, in each of which it has some other parameters, as `NAME=VALUE`; what it
    /// is outside of them stays.
    ///
    /// # Errors
    /// The number of the first phase that cannot be, from 1, and what [`Entry::with`] says of it.
    pub fn with_phases(self, phases: &[Vec<String>]) -> Result<Entry, (usize, String)> {
        let phase = |(number, options): (usize, &Vec<String>)| {
            let options = self.options.in_phase(&self.choices(), options);
            let entry = options.and_then(|options| Entry { options, ..self }.checked_options());
            entry.map(|entry| entry.options).map_err(|problem| (number + 1, problem))
        };
        let phases = phases.iter().enumerate().map(phase).collect::<Result<Vec<_>, _>>()?;
        Ok(Entry { options: self.options.with_phases(&phases), ..self })
    }

    /// The environment with its own phases.
    pub fn without_phases(self) -> Entry {
        Entry { options: self.options.with_phases(&[]), ..self }
    }

    /// The same, if what is chosen of it can be.
    fn checked_options(self) -> Result<Entry, String> {
        self.check_ranges()?;
        if let Some(check) = self.check {
            check(&*self.build()).map_err(|problem| format!("{}: {problem}", self.name))?;
        }
        Ok(self)
    }

    /// Says which parameter is out of its range, where that is known.
    fn check_ranges(&self) -> Result<(), String> {
        let values = default_params(&*self.build());
        for Param { name, range: [low, high], .. } in self.description().params {
            let value = values.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_f64()[0]);
            // A value is an f32, and so are the ends of its range.
            let [low, high] = [low, high].map(|end| f64::from(end as f32));
            if let Some(value) = value.filter(|value| !(low..=high).contains(value)) {
                let (env, [value, low, high]) = (self.name, [value, low, high].map(|x| x as f32));
                return Err(format!(
                    "the option {name} of {env} is {value}; it must be from {low} to {high}"
                ));
            }
        }
        Ok(())
    }

    /// Other makes of it, which `--env-set NAME=true` chooses.
    pub const fn switches(self, switches: &'static [Switch]) -> Entry {
        Entry { switches, ..self }
    }

    /// Sizes that it may have, which `--env-set NAME=N` chooses.
    pub const fn sizes(self, sizes: Sizes) -> Entry {
        Entry { sizes: Some(sizes), ..self }
    }

    /// A command line of its own for `train`.
    pub const fn front(self, front: Front) -> Entry {
        Entry { front: Some(front), ..self }
    }

    /// How `eval` lets agents live on in it.
    pub const fn survival(self, survival: Survival) -> Entry {
        Entry { survival: Some(survival), ..self }
    }

    /// What says, in one line, why parameters do not go together.
    pub const fn checked(self, check: Check) -> Entry {
        Entry { check: Some(check), ..self }
    }

    pub fn spec(&self) -> EnvSpec {
        self.build().spec()
    }

    /// The meaning of its numbers; without names of its own they are numbered.
    pub fn description(&self) -> Description {
        match (self.options.of_size(&self.choices()), self.make, self.describe) {
            (Some(other), ..) => other.description,
            (None, Make::Library(native), _) => native.description(),
            (None, _, Some(describe)) => describe(),
            (None, _, None) => Description::numbered(&self.spec()),
        }
    }

    /// What draws its states.
    pub fn painter(&self) -> Box<dyn Painter> {
        match (self.options.of_size(&self.choices()), self.make, self.painter) {
            (Some(other), ..) => other.painter,
            (None, Make::Library(native), _) => native.painter(),
            (None, _, Some(painter)) => painter(),
            (None, _, None) => Box::new(ObservationPainter { description: self.description() }),
        }
    }
}

/// An environment of that type, for [`Entry::new`].
pub fn boxed<E: Env + 'static>(env: E) -> Box<dyn AnyEnv> {
    Box::new(Erased::new(env))
}
