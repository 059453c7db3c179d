//! When a metric is no finite number: the state before that update is found again, and kept or left behind.
//!
//! Programs overwrite their state, so the state before a bad update is gone when the host sees the metrics. It can be
//! computed again: from a copy that is taken now and then, and is as seldom as it is costly, the same updates
//! give the same bits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::algorithms::{Learner, NamedArrays};
use crate::array::{DType, HostArray};

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

/// Gives the state other random numbers than it had, the same ones for the same `attempt`.
///
/// # Errors
/// One line if the state has no random key.
pub fn change_key(state: &mut NamedArrays, attempt: u32) -> Result<()> {
    let is_key = |array: &HostArray| array.dtype() == DType::U32 && array.shape() == [2];
    let key = state.iter_mut().find(|(name, array)| name == "key" && is_key(array));
    let (_, key) = key.context("the state has no random key to change")?;
    let words: &[u32] = key.as_slice();
    *key = HostArray::new(&[2], vec![words[0], words[1] ^ attempt.wrapping_mul(0x9e37_79b9)]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_has_a_key_of_its_own() {
        let state = || vec![("key".to_string(), HostArray::new(&[2], vec![1u32, 2]))];
        let changed = |attempt| {
            let mut state = state();
            change_key(&mut state, attempt).unwrap();
            state
        };
        assert_ne!(changed(1), state());
        assert_ne!(changed(1), changed(2));
        assert_eq!(changed(1), changed(1));
        let mut keyless = vec![("count".to_string(), HostArray::scalar(1u32))];
        assert!(change_key(&mut keyless, 1).is_err());
    }
}
