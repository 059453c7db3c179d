//! The processes of one machine, started together: what `train --nproc-per-node` does.
//!
//! Each is this program with the same command line; a variable tells it which one it is. The first signal to stop is passed on to all, and when
//! one fails the others find out by themselves, so here is nothing to do but to wait.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::Reported;
use crate::config::LOCAL_RANK;
use crate::output::tell;
use crate::trainer::Signals;

/// How long the others may take to end once one has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// Starts so many processes, each with these variables, and waits until all have ended.
///
/// # Errors
/// One line: a process cannot be started. What has failed in one of them, it has said itself.
pub fn run(processes: usize, variables: &[(&'static str, String)]) -> Result<()> {
    let signals = Signals::begin(true)?;
    let program = std::env::current_exe().context("this program does not know its own file")?;
    let start = |rank: usize| {
        let mut command = Command::new(&program);
        command.args(std::env::args_os().skip(1)).env(LOCAL_RANK, rank.to_string());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().context("cannot start a process")?;
        anyhow::Ok((rank, child))
    };
    let mut children = Children(Vec::new());
    for rank in 0..processes {
        children.0.push(start(rank)?);
    }
    let (mut stop_is_told, mut failed) = (false, None);
    while !children.0.is_empty() {
        if signals.stop_is_asked() && !std::mem::replace(&mut stop_is_told, true) {
            children.signal(Signal::TERM);
        }
        for (rank, problem) in children.ended()? {
            problem.into_iter().for_each(|problem| tell(&format!("local rank {rank} {problem}")));
            failed.get_or_insert_with(Instant::now);
        }
        if failed.is_some_and(|when| when.elapsed() > PATIENCE) {
            bail!("{} processes did not end after another one failed, and are killed", children.0.len());
        }
        std::thread::sleep(LOOK);
    }
    if failed.is_some() { Err(Reported.into()) } else { Ok(()) }
}

/// Processes with their local ranks; those that are left are killed.
struct Children(Vec<(usize, Child)>);

impl Children {
    fn signal(&self, signal: Signal) {
        for (_, child) in &self.0 {
            let _ = kill_process(Pid::from_child(child), signal); // it may have ended
        }
    }

    /// Takes out those that have ended. Gives the ranks of those that failed, and what they cannot have said themselves.
    fn ended(&mut self) -> Result<Vec<(usize, Option<String>)>> {
        let mut failed = Vec::new();
        let mut left = Vec::new();
        for (rank, mut child) in std::mem::take(&mut self.0) {
            match child.try_wait()? {
                None => left.push((rank, child)),
                Some(status) if status.success() => {}
                Some(status) if status.code().is_some() => failed.push((rank, None)),
                Some(status) => failed.push((rank, Some(format!("was ended by a {status}")))),
            }
        }
        self.0 = left;
        Ok(failed)
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        for (_, child) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
