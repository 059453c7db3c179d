//! A program: the whole command line over the environments that a crate chooses.
//!
//! ```no_run
//! use lockstep::{App, envs};
//!
//! fn main() -> std::process::ExitCode {
//!     App::new("mygame").envs(envs::builtin()).main()
//! }
//! ```

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::algorithms::ppo;
use crate::config::{UsageError, ppo_defaults};
use crate::envs::registry::{Entry, Registry};

/// What a program is made of. The first environment is the default of all commands.
pub struct App {
    name: &'static str,
    envs: Registry,
}

impl App {
    /// A program of that name without environments. The name is that of the executable: messages tell users to run it.
    pub fn new(name: &'static str) -> App {
        App { name, envs: Registry::default() }
    }

    /// Adds an environment.
    ///
    /// # Panics
    /// There is one of that name already, or the name is not what its spec says.
    #[must_use]
    #[track_caller]
    pub fn env(mut self, entry: Entry) -> App {
        self.envs.add(entry);
        self
    }

    /// Adds environments.
    ///
    /// # Panics
    /// As [`App::env`].
    #[must_use]
    #[track_caller]
    pub fn envs(self, entries: impl IntoIterator<Item = Entry>) -> App {
        entries.into_iter().fold(self, App::env)
    }

    /// The whole program: does what the command line says and gives the exit status.
    ///
    /// # Panics
    /// There is no environment.
    pub fn main(self) -> ExitCode {
        self.main_with(std::env::args_os())
    }

    /// [`App::main`] with a command line of its own, the name of the program first.
    ///
    /// # Panics
    /// There is no environment.
    pub fn main_with(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        assert!(!self.envs.entries().is_empty(), "the program {} has no environment", self.name);
        super::main(&self, args)
    }

    /// The name of the program.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.envs.entries()
    }

    /// The environment that is meant when none is named.
    pub(crate) fn default_env(&self) -> &'static str {
        self.envs.entries()[0].name
    }

    /// The environment of that name.
    ///
    /// # Errors
    /// A [`UsageError`] with the nearest known name.
    pub(crate) fn find_env(&self, name: &str) -> Result<Entry> {
        self.envs.find(name).map_err(|error| UsageError(error.to_string()).into())
    }

    /// The default settings for the environment of that name.
    pub(crate) fn env_defaults(&self, name: &str) -> Result<ppo::Settings> {
        ppo_defaults(self.find_env(name)?.defaults)
    }
}
