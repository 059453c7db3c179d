//! How far a run has come, and what it has logged on the way: the host's part of the training state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::Interval;
use super::tally::Tally;
use crate::algorithms::Metric;

/// The host's part of the training state. With the learner's state it is all that a run consists of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Updates done.
    pub update: u64,
    /// Environment steps done.
    pub timesteps: u64,
    /// Episodes finished.
    pub episodes: u64,
    /// Seconds spent in training, in all processes that worked on the run.
    pub seconds: f64,
    /// The metrics of the updates since the last logged one.
    pub interval: Interval,
    /// Length in bytes of each log file of the run directory.
    pub offsets: BTreeMap<String, u64>,
    /// The windows, in a run that has them. A checkpoint holds them apart from the rest, which is older.
    #[serde(skip)]
    pub windows: Option<Tally>,
}

impl Progress {
    /// A run that has not begun, of a learner with these metrics.
    pub fn new(metrics: &[Metric]) -> Self {
        Self {
            update: 0,
            timesteps: 0,
            episodes: 0,
            seconds: 0.0,
            interval: Interval::new(metrics),
            offsets: BTreeMap::new(),
            windows: None,
        }
    }

    /// Whether these are numbers that a run can have; those of a file may be any.
    pub fn is_sound(&self) -> bool {
        const MOST: u64 = i64::MAX as u64 / 2; // sums of two stay in range
        let counters =
            [self.update, self.timesteps, self.episodes].into_iter().chain(self.offsets.values().copied());
        counters.max().is_some_and(|largest| largest <= MOST)
            && self.seconds.is_finite()
            && self.seconds >= 0.0
            && self.interval.is_sound()
            && self.windows.as_ref().is_none_or(Tally::is_sound)
    }
}
