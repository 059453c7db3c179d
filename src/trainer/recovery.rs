//! When a metric is no finite number: the state before that update is found again, and kept or left behind.
//!
//! Programs overwrite their state, so the state before a bad update is gone when the host sees the metrics. It can be
//! computed again: from a copy that is taken now and then, and is as seldom as it is costly, the same updates
//! give the same bits.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::algorithms::{Learner, NamedArrays};

/// A copy of the learner's state on the host.
#[derive(Debug)]
pub struct Snapshot {
    update: u64,
    state: NamedArrays,
    taken: Instant,
    cost: Duration,
}

impl Snapshot {
    /// Copies the state after `update` updates.
    pub fn take(learner: &dyn Learner, update: u64) -> Result<Self> {
        let begin = Instant::now();
        let state = learner.state()?;
        Ok(Self { update, state, taken: Instant::now(), cost: begin.elapsed() })
    }

    /// Whether it is time for the next one: after ten seconds, or longer where copying would take half a percent.
    pub fn is_old(&self) -> bool {
        self.taken.elapsed() > (self.cost * 200).max(Duration::from_secs(10))
    }

    /// Brings the learner to its last healthy state at or before `update` updates: metrics show what an update began
    /// with, so its end may have been bad before any of them was. Gives the updates of that state; the copy's if it
    /// is not healthy itself.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn replay_to_health(&self, learner: &mut dyn Learner, update: u64) -> Result<u64> {
        let (mut healthy, mut step) = (update, 1);
        self.replay(learner, healthy)?;
        while healthy > self.update && !is_healthy(learner)? {
            healthy = healthy.saturating_sub(step).max(self.update);
            step *= 2;
            self.replay(learner, healthy)?;
        }
        if healthy == update || !is_healthy(learner)? {
            return Ok(healthy);
        }
        while healthy < update {
            learner.run(1)?;
            if !is_healthy(learner)? {
                break;
            }
            healthy += 1;
        }
        self.replay(learner, healthy)?;
        Ok(healthy)
    }

    /// Brings the learner to its state after `update` updates, by repeating those since the copy.
    fn replay(&self, learner: &mut dyn Learner, update: u64) -> Result<()> {
        learner.load_state(&self.state)?;
        let mut left = (update - self.update) as usize;
        while left > 0 {
            let updates = left.min(learner.max_updates());
            learner.run(updates)?;
            left -= updates;
        }
        Ok(())
    }
}

/// Whether all parameters are finite.
///
/// # Errors
/// Whatever the device reports.
pub fn is_healthy(learner: &dyn Learner) -> Result<bool> {
    Ok(learner.params()?.iter().all(|(_, array)| array.is_finite()))
}
