//! How many files the process may have open: a group of runs needs some for each of them.

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a run keeps open: its directory, its logs, the log for W&B and a connection to it, and a file that is being saved.
const PER_RUN: u64 = 12;
/// What the process keeps open whatever it trains: programs, devices, the terminal.
const OTHERS: u64 = 200;

/// Sees to it that this process may open the files of so many runs at once.
///
/// # Errors
/// One line: the system allows fewer, and how to raise that.
pub fn reserve(runs: usize) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if let Some(raised) = raised(limit, runs)? {
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok(())
}

/// The limit that is enough for so many runs, if it is not the present one.
fn raised(Rlimit { current, maximum }: Rlimit, runs: usize) -> Result<Option<Rlimit>> {
    let needed = OTHERS + PER_RUN * runs as u64;
    if current.is_none_or(|current| current >= needed) {
        return Ok(None);
    }
    if let Some(most) = maximum.filter(|most| *most < needed) {
        bail!(
            "{runs} runs in one process need {needed} open files, and the system allows {most}; train fewer seeds at once, \
             or raise the limit (ulimit -Hn {needed}, which may need an administrator)"
        );
    }
    Ok(Some(Rlimit { current: Some(needed), maximum }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_as_far_as_needed_or_the_group_is_refused() {
        let limit = |current, maximum| Rlimit { current, maximum };
        let soft = |current, maximum, runs| {
            raised(limit(current, maximum), runs).unwrap().map(|limit| limit.current)
        };
        assert_eq!(soft(Some(1024), Some(1 << 20), 1), None);
        assert_eq!(soft(None, None, 4096), None);
        assert_eq!(soft(Some(1024), Some(1 << 20), 204), Some(Some(2648)));
        assert_eq!(soft(Some(1024), None, 204), Some(Some(2648)));
        let error = raised(limit(Some(1024), Some(2000)), 204).unwrap_err().to_string();
        assert!(
            error.starts_with("204 runs in one process need 2648 open files, and the system allows 2000"),
            "{error}"
        );
    }
}
