//! Runs that a YAML document says, from Rust: what `train --config FILE.yaml` does, as a function.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result};

use super::{App, train};
use crate::config::train_command;
use crate::envs;
use crate::trainer::Outcome;

impl App {
    /// Trains what a YAML document says, in the directory `run_dir`, as `train --config CONFIG --run-dir RUN_DIR` does: variables such
    /// as `LOCKSTEP_DEVICE` count, and the first SIGINT or SIGTERM ends the run cleanly. `meta.json` says `command`, or the command
    /// line of the process. Gives what became of the run.
    ///
    /// # Errors
    /// One line: a mistake in the document, a directory that cannot be used, or what the device reports.
    ///
    /// # Panics
    /// There is no environment.
    pub fn run(
        self,
        config: impl AsRef<Path>,
        run_dir: impl AsRef<Path>,
        command: Option<&str>,
    ) -> Result<Outcome> {
        let app = self.complete();
        let args = [
            OsStr::new("train"),
            OsStr::new("--config"),
            config.as_ref().as_os_str(),
            OsStr::new("--run-dir"),
            run_dir.as_ref().as_os_str(),
        ];
        let matches = train_command(app.catalog()).try_get_matches_from(args)?;
        train::run_as(&app, &matches, command)?.context("several agents have no outcome of one")
    }
}

/// Trains what a YAML document says with the environments and algorithms that come with lockstep: [`App::run`].
///
/// ```no_run
/// let outcome = lockstep::run("config.yaml", "runs/my_run", None)?;
/// println!("{} steps, {} games", outcome.timesteps, outcome.episodes);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// As [`App::run`].
pub fn run(config: impl AsRef<Path>, run_dir: impl AsRef<Path>, command: Option<&str>) -> Result<Outcome> {
    App::new("lockstep").envs(envs::builtin()).run(config, run_dir, command)
}
