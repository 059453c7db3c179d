//! The mean return of the last episodes: what the bar, the status and lists of runs show of a run.

use std::collections::VecDeque;

use super::history::History;
use crate::algorithms::metrics::{EPISODE_RETURN, EPISODES};

/// How many episodes count.
const LAST: f64 = 100.0;

/// The last hundred episodes that ended, as far as sums over updates tell: how many ended together, with which mean.
#[derive(Debug, Default)]
pub struct RecentEpisodes {
    groups: VecDeque<(f64, f64)>,
    episodes: f64,
}

impl RecentEpisodes {
    /// Those that the logged rows of a run tell of.
    pub fn of(history: &History) -> Self {
        let mut recent = Self::default();
        for row in 0..history.len() {
            recent.add(history.get(row, EPISODES).unwrap_or(0.0), history.get(row, EPISODE_RETURN));
        }
        recent
    }

    /// Adds the episodes that ended together, with their mean return; None if none ended.
    pub fn add(&mut self, episodes: f64, mean: Option<f64>) {
        let Some(mean) = mean.filter(|_| episodes > 0.0) else { return };
        self.groups.push_back((episodes, mean));
        self.episodes += episodes;
        while let Some((oldest, _)) = self.groups.front()
            && self.episodes - oldest >= LAST
        {
            self.episodes -= oldest;
            self.groups.pop_front();
        }
    }

    /// The mean return of the last hundred episodes, or of all if there are fewer; None before the first. Of the oldest group
    /// as many count as are needed.
    pub fn mean_return(&self) -> Option<f64> {
        let (oldest, oldest_mean) = self.groups.front()?;
        let newer = self.episodes - oldest;
        let needed = (LAST - newer).min(*oldest);
        let sum: f64 = self.groups.iter().skip(1).map(|(episodes, mean)| episodes * mean).sum();
        Some((sum + needed * oldest_mean) / (newer + needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hundred_episodes_count() {
        let mut recent = RecentEpisodes::default();
        recent.add(0.0, None);
        assert_eq!(recent.mean_return(), None);
        recent.add(3.0, Some(10.0));
        recent.add(0.0, None);
        recent.add(1.0, Some(2.0));
        assert_eq!(recent.mean_return(), Some(8.0));
        recent.add(98.0, Some(0.0));
        // One of the three oldest counts: (10 + 2 + 0) / 100.
        assert_eq!(recent.mean_return(), Some(0.12));
        recent.add(1000.0, Some(5.0));
        assert_eq!(recent.mean_return(), Some(5.0));
        assert_eq!(recent.groups.len(), 1);
    }
}
