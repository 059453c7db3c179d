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
    /// Sends SIGTERM; where no process can be signalled (another machine, another user), makes the file `stop`, which
    /// the run looks for after each chunk.
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let directory = find(&self.run, checkpoint_dir)?;
        let overview = Overview::of(&directory)?;
        let run = &overview.run;
        if let Life::Completed | Life::Stopped | Life::Failed = overview.life {
            eprintln!("{run} is not running: it is {}", overview.life.as_str());
            return Ok(());
        }
        let process = overview.pid.filter(|_| overview.life.is_live());
        if let Some(pid) = process.and_then(|pid| Pid::from_raw(pid as i32)) {
            match kill_process(pid, Signal::TERM) {
                Ok(()) => {
                    eprintln!(
                        "sent SIGTERM to process {} ({run}); it saves a checkpoint and ends",
                        pid.as_raw_nonzero()
                    );
                    return Ok(());
                }
                Err(error) => eprintln!("cannot signal process {}: {error}", pid.as_raw_nonzero()),
            }
        }
        let file = directory.join("stop");
        fs::write(&file, "").with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("made {}; a process that works on the run stops after its next chunk", file.display());
        Ok(())
    }
}
