//! `runs stop`: asks the process of a run to save and end.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::trainer::overview::{Life, Overview};

use super::find;

/// Which run to stop.
#[derive(Debug, Args)]
pub struct Stop {
    /// A run directory, the name of a run, or "latest"
    run: String,
}

impl Stop {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let overview = Overview::of(&find(&self.run, checkpoint_dir)?)?;
        eprintln!("{}", ask(&overview)?);
        Ok(())
    }
}

/// Sends SIGTERM; where no process can be signalled (another machine, another user), makes the file `stop`, which
/// the run looks for after each chunk. Gives a line that says what was done.
pub fn ask(overview: &Overview) -> Result<String> {
    let run = &overview.run;
    if let Life::Completed | Life::Stopped | Life::Failed = overview.life {
        return Ok(format!("{run} is not running: it is {}", overview.life.as_str()));
    }
    let process = overview.pid.filter(|_| overview.life.is_live());
    let mut trouble = String::new();
    if let Some(pid) = process.and_then(|pid| Pid::from_raw(pid as i32)) {
        let number = pid.as_raw_nonzero();
        match kill_process(pid, Signal::TERM) {
            Ok(()) => {
                return Ok(format!(
                    "sent SIGTERM to process {number} ({run}); it saves a checkpoint and ends"
                ));
            }
            Err(error) => trouble = format!("cannot signal process {number}: {error}; "),
        }
    }
    let file = overview.directory.join("stop");
    fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
    let file = file.display();
    Ok(format!("{trouble}made {file}; a process that works on the run stops after its next chunk"))
}
