//! `runs stop`: asks the process of a run to save and end.

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;

use crate::output::tell;
use crate::trainer::find;
use crate::trainer::overview::{Life, Overview};
use crate::trainer::run_dir::{self, DOCUMENT, STOP_FILE};

use super::print;

/// Which run to stop.
#[derive(Debug, Args)]
pub struct Stop {
    /// A run: its name, its directory, a file in it or "latest"
    run: String,
}

impl Stop {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let named = Path::new(&self.run);
        ensure!(
            named.components().count() < 2 || named.exists() || checkpoint_dir.join(named).exists(),
            "Run directory not found: {}",
            self.run
        );
        let directory = find::run(&self.run, checkpoint_dir)?;
        if is_documented(&directory) {
            return print(&ask_as_documented(&directory)?);
        }
        tell(&ask(&Overview::of(&directory)?)?);
        Ok(())
    }
}

/// Asks a run to save and end, however it was begun. Gives what was done, in words.
///
/// # Errors
/// One line: the run cannot be asked.
pub fn stop_run(overview: &Overview) -> Result<String> {
    let directory = &overview.directory;
    if is_documented(directory) { ask_as_documented(directory) } else { ask(overview) }
}

fn is_documented(directory: &Path) -> bool {
    directory.join(DOCUMENT).exists()
}

/// As [`ask`], of a run that was begun by a document, whose words and whose ways are others: the file is made for a run that has ended,
/// too. The next one to begin in the directory removes it.
fn ask_as_documented(directory: &Path) -> Result<String> {
    let mut said = String::new();
    if let Some(owner) = run_dir::presence(directory).owner() {
        let pid = owner.process.pid;
        match run_dir::terminate(owner, directory) {
            Ok(true) => return Ok(format!("Sent SIGTERM to PID {pid} ({})", run_dir::name_of(directory))),
            Ok(false) => {}
            Err(error) => said = format!("Could not send signal: {error}\n"),
        }
    }
    let file = run_dir::ask_by_file(directory, STOP_FILE)?;
    Ok(format!("{said}Created stop file: {}\nTraining stops at the next status check.", file.display()))
}

/// Sends SIGTERM to the process that works on the run and on no other. Where there is none to be sure of (another
/// machine or container, a group of runs), makes the file `stop`, which a run looks for after each chunk. Gives a line
/// that says what was done.
pub fn ask(overview: &Overview) -> Result<String> {
    let Overview { run, directory, .. } = overview;
    if let Life::Completed | Life::Stopped | Life::Failed = overview.life {
        return Ok(format!("{run} is not running: it is {}", overview.life.as_str()));
    }
    let presence = run_dir::presence(directory);
    let mut trouble = String::new();
    if let Some(owner) = presence.owner() {
        let pid = owner.process.pid;
        match run_dir::terminate(owner, directory) {
            Ok(true) => {
                return Ok(format!("sent SIGTERM to process {pid} ({run}); it saves a checkpoint and ends"));
            }
            Ok(false) => {}
            Err(error) => trouble = format!("cannot signal process {pid}: {error}; "),
        }
    }
    let file = run_dir::ask_by_file(directory, STOP_FILE)?;
    let who = match presence.owner() {
        Some(owner) if owner.shared => "the run leaves its group after the next chunk".into(),
        Some(_) => format!("{} stops it after its next chunk", presence.describe()),
        None => "a process that works on the run stops after its next chunk".to_string(),
    };
    Ok(format!("{trouble}made {}; {who}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::status::{State, Status, now};
    use crate::trainer::{RunDir, Settings};

    fn running(dir: &Path, name: &str, group: Option<String>) -> RunDir {
        let run_name = Some(name.to_string());
        let checkpoint_dir = dir.to_path_buf();
        let run =
            RunDir::create(&Settings { checkpoint_dir, run_name, group, ..Settings::default() }).unwrap();
        let status = Status {
            state: State::Running,
            update: 1,
            num_updates: 4,
            timesteps: 100,
            total_timesteps: 400,
            episodes: 2,
            mean_return: None,
            steps_per_second: 1.0,
            start_time: now(),
            last_heartbeat: now(),
            memory_bytes: None,
            device_memory_bytes: None,
            machine: None,
            phases: None,
            told: None,
            epsilon: None,
            error: None,
        };
        status.write(run.path()).unwrap();
        run
    }

    /// A signal would end this test, and the other runs of the group.
    #[test]
    fn one_run_of_a_group_is_asked_by_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let run = running(dir.path(), "g-s1", Some("g".into()));
        let said = ask(&Overview::of(run.path()).unwrap()).unwrap();
        assert!(said.ends_with("stop; the run leaves its group after the next chunk"), "{said}");
        assert!(run.has_stop_file());
    }

    /// Whatever pid and record say, only a process that holds the lock is signalled; this one does.
    #[test]
    fn a_process_that_does_not_hold_the_lock_is_not_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let run = running(dir.path(), "r", None);
        let mut other = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let record = run.file("owner.json");
        let mut owner: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
        for pid in [other.id(), u32::MAX, u32::MAX - other.id() + 1] {
            owner["pid"] = pid.into();
            std::fs::write(&record, owner.to_string()).unwrap();
            std::fs::write(run.file("pid"), pid.to_string()).unwrap();
            let said = ask(&Overview::of(run.path()).unwrap()).unwrap();
            assert!(said.starts_with("made ") && run.has_stop_file(), "{said}");
        }
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
