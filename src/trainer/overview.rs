//! What runs there are and how they are, seen from outside: what `runs` shows.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;

use super::history::newest_value;
use super::readable::path_as_text;
use super::run_dir::{Owner, name_of, presence};
use super::status::{State, Status, seconds_since};
use crate::algorithms::metrics::EPISODE_RETURN;

/// A process without a heartbeat for longer than this hangs, or its machine does.
const STALE_SECONDS: f64 = 120.0;

/// What has become of a run. A process writes only what it knows of itself; `Stale` and `Dead` others must find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    Running,
    /// Its process is there, but has given no sign for two minutes.
    Stale,
    /// It says that it runs, but its process is gone.
    Dead,
    Completed,
    Stopped,
    Failed,
}

impl Life {
    /// What a run's own word, its process and the seconds since its heartbeat come to.
    pub fn of(state: State, has_process: bool, silence: f64) -> Self {
        match state {
            State::Completed => Life::Completed,
            State::Stopped => Life::Stopped,
            State::Failed => Life::Failed,
            State::Running if !has_process => Life::Dead,
            State::Running if silence > STALE_SECONDS => Life::Stale,
            State::Running => Life::Running,
        }
    }

    /// Whether a process works on it.
    pub fn is_live(self) -> bool {
        matches!(self, Life::Running | Life::Stale)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Life::Running => "running",
            Life::Stale => "stale",
            Life::Dead => "dead",
            Life::Completed => "completed",
            Life::Stopped => "stopped",
            Life::Failed => "failed",
        }
    }
}

/// A run as seen from outside.
#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    pub run: String,
    #[serde(serialize_with = "path_as_text")]
    pub directory: PathBuf,
    pub life: Life,
    /// The process that works on it, or was killed when it did.
    pub pid: Option<u32>,
    /// The machine of that process.
    pub host: Option<String>,
    /// Seconds from the start of its last process to now, or to the last heartbeat if it has ended.
    pub duration_seconds: f64,
    /// Seconds since the last heartbeat.
    pub silence_seconds: f64,
    #[serde(flatten)]
    pub status: Status,
}

impl Overview {
    /// Looks at the run in a directory.
    ///
    /// # Errors
    /// One line: there is no status, or it cannot be understood.
    pub fn of(directory: &Path) -> Result<Self> {
        let status = Status::read(directory)?;
        let presence = presence(directory);
        let has_process = presence.may_be_alive();
        // Once more, for a run may have ended between the two looks.
        let status = if has_process { status } else { Status::read(directory)? };
        let since = |time: &str| seconds_since(time).map_or(0.0, |seconds| seconds.max(0.0));
        let silence = since(&status.last_heartbeat);
        let life = Life::of(status.state, has_process, silence);
        let age = since(&status.start_time);
        // Of a process that was killed the record is still there.
        let process = presence.owner().cloned().or_else(|| Owner::read(directory)).map(|owner| owner.process);
        Ok(Self {
            run: name_of(directory),
            directory: directory.to_path_buf(),
            life,
            pid: process.as_ref().map(|process| process.pid),
            host: process.map(|process| process.host),
            duration_seconds: if life.is_live() { age } else { (age - silence).max(0.0) },
            silence_seconds: silence,
            status,
        })
    }

    /// The runs in a directory, by name. What has no readable status is no run, or has not begun.
    ///
    /// # Errors
    /// One line: the directory cannot be listed.
    pub fn all(directory: &Path) -> Result<Vec<Self>> {
        let cannot = || format!("cannot list {}", directory.display());
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory).with_context(cannot)? {
            paths.push(entry.with_context(cannot)?.path());
        }
        paths.sort();
        Ok(paths.iter().filter_map(|path| Self::of(path).ok()).collect())
    }

    /// The mean return of the last hundred episodes; of a run that does not say, that of the newest row in which episodes
    /// ended.
    pub fn mean_return(&self) -> Option<f64> {
        self.status.mean_return.or_else(|| newest_value(&self.directory, EPISODE_RETURN))
    }

    /// The share of the run that is done, 0 to 1.
    pub fn progress(&self) -> f64 {
        if self.life == Life::Completed {
            return 1.0; // perhaps by another clock than that of timesteps
        }
        (self.status.timesteps as f64 / (self.status.total_timesteps as f64).max(1.0)).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::status::now;
    use crate::trainer::{RunDir, Settings};

    #[test]
    fn the_states_of_the_specification() {
        for (state, has_process, silence, life) in [
            (State::Running, true, 120.0, Life::Running),
            (State::Running, true, 120.1, Life::Stale),
            (State::Running, false, 0.0, Life::Dead),
            (State::Completed, false, 1e9, Life::Completed),
            (State::Stopped, true, 0.0, Life::Stopped),
            (State::Failed, false, 0.0, Life::Failed),
        ] {
            assert_eq!(Life::of(state, has_process, silence), life);
        }
    }

    #[test]
    fn a_run_is_running_while_its_directory_is_taken_and_dead_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            checkpoint_dir: dir.path().to_path_buf(),
            run_name: Some("r".into()),
            ..Settings::default()
        };
        let run = RunDir::create(&settings).unwrap();
        fs::create_dir(dir.path().join("no-run")).unwrap();
        assert!(Overview::all(dir.path()).unwrap().is_empty());
        let status = Status {
            state: State::Running,
            update: 1,
            num_updates: 4,
            timesteps: 100,
            total_timesteps: 400,
            episodes: 2,
            mean_return: None,
            steps_per_second: 1.0,
            start_time: "2026-01-01T00:00:00+00:00".into(),
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
        let overview = Overview::of(run.path()).unwrap();
        assert_eq!((overview.life, overview.progress()), (Life::Running, 0.25));
        assert_eq!(overview.pid, Some(std::process::id()));
        drop(run);
        let runs = Overview::all(dir.path()).unwrap();
        assert_eq!((runs.len(), runs[0].life, runs[0].run.as_str()), (1, Life::Dead, "r"));
        let json = serde_json::to_value(&runs[0]).unwrap();
        assert_eq!((&json["life"], &json["timesteps"]), (&"dead".into(), &100.into()));
    }
}
