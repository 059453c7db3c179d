//! Training from a program of one's own: a run as the command `train` makes it, update by update.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! let mut trainer = lockstep::Trainer::new("env = 'cartpole'\ntotal_timesteps = 1_000_000")?;
//! while !trainer.is_done() {
//!     let row = trainer.train(10)?;
//!     println!("{} steps: return {:?}", row.timesteps, row.get("train/mean_episode_return"));
//! }
//! trainer.finish()?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Trainer`] is the session of the command line with somebody else at the wheel: its settings are those of a configuration file, its
//! run directory, logs and checkpoints are the same, and `watch`, `eval` and `runs` know what it makes. From a configuration to a
//! compiled [`learner`] there is one way for both. Several processes that share a run are a [`team`].

pub mod init_from;
pub mod learner;
pub mod team;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, anyhow};
use toml::Table;

use crate::algorithms::report::Report;
use crate::config::{Catalog, Config, Ranks, Resolved, UsageError, resolve_over, train_command, usage};
use crate::envs::Entry;
use crate::output::tell;
use crate::runtime::plugin;
use crate::trainer::metrics::Row;
use crate::trainer::session::{Job, Lent, SENDING, Session};
use crate::trainer::{self, Outcome, Stage, evaluation, trackers};

use init_from::Beginning;
use learner::{Plan, build};

/// A run at work. Nobody else works on it until it is dropped.
pub struct Trainer {
    session: Session<'static>,
    can_evaluate: bool,
}

impl Trainer {
    /// Begins a new run. The settings are lines of a configuration file, such as `env = "cartpole"` and `lr = 1e-3`; environment variables
    /// count as they do for the command.
    ///
    /// # Errors
    /// One line, as the command `train` has it: a [`UsageError`] if a setting is wrong.
    pub fn new(settings: &str) -> Result<Trainer> {
        Trainer::of(env!("CARGO_PKG_NAME"), &Catalog::builtin(), settings)
    }

    /// Goes on with a run from its newest checkpoint, or from the checkpoint that is named.
    ///
    /// # Errors
    /// One line, as the command `train --resume` has it.
    pub fn resume(run: impl AsRef<Path>) -> Result<Trainer> {
        let words = ["train".into(), "--resume".into(), run.as_ref().as_os_str().to_owned()];
        Trainer::said(env!("CARGO_PKG_NAME"), &Catalog::builtin(), &words, None)
    }

    /// As [`Trainer::new`], for the environments and algorithms of the program of that name.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub fn of(program: &'static str, catalog: &Catalog, settings: &str) -> Result<Trainer> {
        let values: Table = settings.parse().map_err(|error: toml::de::Error| {
            usage(anyhow!("the settings: {}", error.message().replace('\n', ", ")))
        })?;
        Trainer::said(program, catalog, &["train".into()], Some(values))
    }

    /// The run that a command line asks for, with some settings as those of a file.
    fn said(
        program: &'static str,
        catalog: &Catalog,
        words: &[std::ffi::OsString],
        settings: Option<Table>,
    ) -> Result<Trainer> {
        let matches = train_command(catalog).try_get_matches_from(words)?;
        let settings = settings.map(|values| ("the settings", values));
        let Resolved { mut config, resumed, notes, .. } =
            resolve_over(catalog, &matches, settings, Ranks::ONE)?;
        if config.run.num_seeds > 1 {
            return Err(UsageError("num_seeds must be 1: a Trainer trains one agent".into()).into());
        }
        let entry = catalog.env(&config.run.env)?;
        let entry = settle(entry, &mut config)?;
        let plugin = plugin::find(config.run.device, config.run.plugin.as_deref())?;
        for line in notes.into_iter().chain(config.adapt(plugin.kind)?) {
            tell(&line);
        }
        let mut beginning = None;
        if resumed.is_none() {
            trainer::run_dir::check_is_new(&config.run)?;
            beginning = Beginning::of(&config.run, &config.algorithm)?;
        }
        let stage = Stage::begin("opening the device", None);
        let plan = Plan::of(program, &entry, &config, &plugin, &stage)?;
        let (mut learner, facts) = build(&config.agent(&entry), &plan)?;
        if let Some(beginning) = &beginning {
            beginning.give(&mut *learner)?;
        }
        let can_evaluate = config.run.eval_interval.is_some();
        if can_evaluate {
            learner.prepare_evaluation(evaluation::choice(&config.run), config.run.eval_episodes)?;
        }
        drop(stage);
        let text = config.to_toml()?;
        let job = Job { settings: &config.run, config: &text, facts: &facts, learner: Lent::Own(learner) };
        let mut session = Session::start(job, resumed, None)?;
        session.open()?;
        Ok(Trainer { session, can_evaluate })
    }

    /// Trains for so many updates: in each the agent collects experience and learns from it. What is due on the way is done, as the
    /// settings say: rows of the logs, evaluations, checkpoints. It ends early if the run does, or if a signal or a file `stop` asks it to.
    /// Gives what these updates came to.
    ///
    /// # Errors
    /// One line: the device failed; a value is no finite number; the run had ended before.
    pub fn train(&mut self, updates: u64) -> Result<Row> {
        self.session.train_for(updates)
    }

    /// Whether the run has all its timesteps, or is asked to stop.
    pub fn is_done(&self) -> bool {
        self.session.ending().is_some()
    }

    /// Updates done.
    pub fn update(&self) -> u64 {
        self.session.update()
    }

    /// The directory of the run.
    pub fn directory(&self) -> &Path {
        self.session.directory()
    }

    /// Plays `eval_episodes` whole episodes with the parameters as they are, which leaves no trace in the training.
    ///
    /// # Errors
    /// One line: the device failed, or the run is asked to stop.
    pub fn evaluate(&mut self) -> Result<Report> {
        if !self.can_evaluate {
            self.session.prepare_evaluation()?;
            self.can_evaluate = true;
        }
        self.session.evaluate_now()
    }

    /// Writes what the updates since the last row came to as a row of all logs, without waiting for `log_interval`. Without such updates
    /// nothing is written.
    pub fn log(&mut self) {
        self.session.log_now();
    }

    /// Saves a checkpoint and the parameters, whose file says these keys besides those of `save_metadata`. Gives the checkpoint.
    ///
    /// # Errors
    /// One line: it cannot be written; a key that such files have anyway.
    pub fn save_checkpoint(&mut self, metadata: &[(&str, &str)]) -> Result<PathBuf> {
        self.session.save_now(metadata)
    }

    /// Goes on from a checkpoint, of this run or of another one of the same sizes: with its parameters, its optimizer and its counters. Of
    /// this run's logs, what came after it is taken back; files that were saved after it move to `superseded/`.
    ///
    /// # Errors
    /// One line: it cannot be read, or is of something else. The run is as it was then.
    pub fn load_checkpoint(&mut self, path: impl AsRef<Path>) -> Result<()> {
        self.session.load(path.as_ref())
    }

    /// Ends the run: saves what is not saved yet and tells what became of it. A run that is not complete can be resumed.
    ///
    /// # Errors
    /// One line: the last save failed.
    pub fn finish(self) -> Result<Outcome> {
        let state = self.session.ending().unwrap_or(trainer::status::State::Stopped);
        self.session.close(Ok(state)).wait(Instant::now() + SENDING)
    }
}

/// The environment as the settings choose it, if it can be trained in like that. The run knows it from now on.
///
/// # Errors
/// A [`UsageError`].
pub fn settle(entry: Entry, config: &mut Config) -> Result<Entry> {
    let entry = config.chosen(entry)?;
    let agent = config.agent(&entry);
    (config.algorithm.check_agent)(&agent).map_err(usage)?;
    config.run.check_metadata(&(config.algorithm.metadata)(&agent)?).map_err(usage)?;
    config.run.health = entry.health;
    trackers::check(&config.run).map_err(usage)?;
    config.run.wandb_home = entry.wandb;
    config.run.entry = Some(entry);
    Ok(entry)
}
