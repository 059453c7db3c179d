//! A program: the whole command line over the environments and algorithms that a crate chooses.
//!
//! ```no_run
//! use lockstep::{App, algorithms, envs};
//!
//! fn main() -> std::process::ExitCode {
//!     App::new("mygame").envs(envs::builtin()).algorithms(algorithms::builtin()).main()
//! }
//! ```

use std::ffi::OsString;
use std::process::ExitCode;

use crate::config::{Catalog, run_settings};
use crate::training::Trainer;
use crate::{algorithms, envs};

/// What a program is made of. The first environment is the default of all commands, the first algorithm that of the environments
/// that name none.
#[derive(Clone)]
pub struct App {
    name: &'static str,
    catalog: Catalog,
}

impl App {
    /// A program of that name without environments. The name is that of the executable: messages tell users to run it.
    pub fn new(name: &'static str) -> App {
        App { name, catalog: Catalog::default() }
    }

    /// Adds an environment.
    ///
    /// # Panics
    /// There is one of that name already, or the name is not what its spec says.
    #[must_use]
    #[track_caller]
    pub fn env(mut self, entry: envs::Entry) -> App {
        self.catalog.envs.add(entry);
        self
    }

    /// Adds environments.
    ///
    /// # Panics
    /// As [`App::env`].
    #[must_use]
    #[track_caller]
    pub fn envs(self, entries: impl IntoIterator<Item = envs::Entry>) -> App {
        entries.into_iter().fold(self, App::env)
    }

    /// Adds an algorithm. A program to which none is added has those of [`algorithms::builtin`].
    ///
    /// # Panics
    /// There is one of that name already; a setting of it is called like one of the run; or as
    /// [`algorithms::Registry::add`] says.
    #[must_use]
    #[track_caller]
    pub fn algorithm(mut self, entry: algorithms::Entry) -> App {
        let run = run_settings();
        if let Some(taken) = entry.settings().iter().find(|name| run.contains(name)) {
            panic!("the algorithm `{}` calls a setting {taken}, which is one of every run", entry.name);
        }
        self.catalog.algorithms.add(entry);
        self
    }

    /// Adds algorithms.
    ///
    /// # Panics
    /// As [`App::algorithm`].
    #[must_use]
    #[track_caller]
    pub fn algorithms(self, entries: impl IntoIterator<Item = algorithms::Entry>) -> App {
        entries.into_iter().fold(self, App::algorithm)
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
        super::main(&self.complete(), args)
    }

    /// Begins a run in one of its environments, as [`Trainer::new`] does.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    ///
    /// # Panics
    /// There is no environment.
    pub fn trainer(self, settings: &str) -> anyhow::Result<Trainer> {
        let app = self.complete();
        Trainer::of(app.name, &app.catalog, settings)
    }

    /// With the algorithms that come with lockstep, if it has none.
    pub(super) fn complete(self) -> App {
        let has_algorithm = !self.catalog.algorithms.entries().is_empty();
        let app = if has_algorithm { self } else { self.algorithms(algorithms::builtin()) };
        assert!(!app.entries().is_empty(), "the program {} has no environment", app.name);
        app
    }

    /// The name of the program.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The environments.
    pub(crate) fn entries(&self) -> &[envs::Entry] {
        self.catalog.envs.entries()
    }
}
