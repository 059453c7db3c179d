//! What happens to a sweep, as a line of JSON.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use toml::Table;

/// The version of the journal.
const VERSION: u32 = 1;

/// What a trial had come to after so many environment steps.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub steps: u64,
    pub score: f64,
    /// Seconds that it had cost.
    pub cost: f64,
}

/// Something that happened. Trials count from 1, and so do the attempts at one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The sweep began: always the first event, and never another one.
    Began {
        version: u32,
        name: String,
        time: String,
        /// Settings of `train` that all trials have in common.
        settings: Table,
        /// The table `[sweep]` of the file.
        sweep: Table,
    },
    /// A worker began a trial that was not there before.
    Suggested {
        trial: u64,
        values: Table,
        /// Added to the seed of the settings.
        seed: u64,
        worker: String,
        /// The score and the seconds that the model expects.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        expected: Option<[f64; 2]>,
        time: String,
    },
    /// A worker began a trial once more that nobody works on any more.
    Claimed { trial: u64, attempt: u32, worker: String, time: String },
    /// A trial ended with a score.
    Observed {
        trial: u64,
        attempt: u32,
        run: String,
        points: Vec<Point>,
        /// Whether it ended early.
        stopped: bool,
        time: String,
    },
    /// A trial failed.
    Failed { trial: u64, attempt: u32, run: String, error: String, cost: f64, time: String },
    /// A worker left a trial unfinished, for others to begin once more.
    Released { trial: u64, attempt: u32, time: String },
}

/// The time, UTC.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl Event {
    pub fn began(name: &str, settings: Table, sweep: Table) -> Event {
        Event::Began { version: VERSION, name: name.to_owned(), time: now(), settings, sweep }
    }

    pub fn suggested(
        trial: u64,
        values: Table,
        seed: u64,
        worker: &str,
        expected: Option<[f64; 2]>,
    ) -> Event {
        Event::Suggested { trial, values, seed, worker: worker.to_owned(), expected, time: now() }
    }

    pub fn claimed(trial: u64, attempt: u32, worker: &str) -> Event {
        Event::Claimed { trial, attempt, worker: worker.to_owned(), time: now() }
    }

    pub fn observed(trial: u64, attempt: u32, run: String, points: Vec<Point>, stopped: bool) -> Event {
        Event::Observed { trial, attempt, run, points, stopped, time: now() }
    }

    pub fn failed(trial: u64, attempt: u32, run: String, error: String, cost: f64) -> Event {
        Event::Failed { trial, attempt, run, error, cost, time: now() }
    }

    pub fn released(trial: u64, attempt: u32) -> Event {
        Event::Released { trial, attempt, time: now() }
    }

    /// As a line of the journal, without its end.
    pub fn line(&self) -> Result<String> {
        serde_json::to_string(self).context("an event that cannot be written")
    }

    /// # Errors
    /// One line: it is no event, or of a newer version.
    pub fn parse(line: &str) -> Result<Event> {
        let event: Event = serde_json::from_str(line)?;
        if let Event::Began { version, .. } = event {
            ensure!(version <= VERSION, "the journal is of version {version}; this lockstep knows {VERSION}");
        }
        Ok(event)
    }
}
