//! Windows: what a run comes to in stretches of so many environment steps, wherever these begin and end.
//!
//! Updates end where the algorithm wants, windows where a reader wants: after so many ticks, which are steps unless the environment has
//! a clock. So the learner tells what each step of all its environments together came to, and a step that crosses the end of a window is
//! divided: ticks and reward go to both sides in proportion, and an episode counts where the last tick of its last step is. All
//! sums are taken in f64 in the order of the steps; what stands here is part of every checkpoint, so a resumed run goes on in the middle
//! of a window.

use serde::{Deserialize, Serialize};

use crate::algorithms::recording::StepColumn;
use crate::envs::Aggregate;

/// The windows of a run so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// The number of the window that is open, and the tick at which it began.
    pub number: u64,
    pub start: u64,
    /// Ticks and episodes of the run.
    pub ticks: u64,
    pub episodes: u64,
    /// Of the open window.
    sums: Sums,
    /// The first of the windows that the last update closed; the open one if it closed none.
    pub closed_from: u64,
    /// Checkpoints of windows that were written.
    pub checkpoints: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Sums {
    reward: f64,
    returns: f64,
    terminated: f64,
    truncated: f64,
    /// Of each metric of the environment.
    metrics: Vec<Total>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Total {
    /// Weighted with ticks.
    Sum(f64),
    Largest(f64),
    /// Over the episodes that ended.
    OfEpisodes(f64),
}

/// A window that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    pub number: u64,
    /// Whether it has all its ticks.
    pub complete: bool,
    /// The ticks at which it began and ended.
    pub start: u64,
    pub end: u64,
    pub terminated: u64,
    pub truncated: u64,
    pub reward: f64,
    /// The sum of the returns of the episodes that ended.
    pub returns: f64,
    /// Of each metric of the environment the mean per tick, the largest value, or the mean over the episodes that ended.
    pub metrics: Vec<f64>,
}

impl Window {
    pub fn ticks(&self) -> u64 {
        self.end - self.start
    }

    pub fn episodes(&self) -> u64 {
        self.terminated + self.truncated
    }

    /// The mean return of the episodes that ended; 0 if there are none.
    pub fn mean_return(&self) -> f64 {
        self.returns / self.episodes().max(1) as f64
    }
}

impl Tally {
    /// Before the first step.
    pub fn new() -> Tally {
        Tally {
            number: 0,
            start: 0,
            ticks: 0,
            episodes: 0,
            sums: Sums::default(),
            closed_from: 0,
            checkpoints: 0,
        }
    }

    /// Whether the open window of `size` ticks can be as it is; that of a file may be anything.
    pub fn fits(&self, size: u64) -> bool {
        self.ticks - self.start < size
    }

    /// Takes in the steps of an update, the values of the `columns` of each after those of the one before. Gives the windows of `size`
    /// ticks that are over. Nothing counts any more once there are `limit` ticks.
    pub fn add_update(
        &mut self,
        columns: &[StepColumn],
        steps: &[f32],
        size: u64,
        limit: Option<u64>,
    ) -> Vec<Window> {
        let number = self.number;
        let mut closed = Vec::new();
        for step in steps.chunks_exact(columns.len()) {
            if limit.is_some_and(|limit| self.ticks >= limit) {
                break;
            }
            self.add(columns, step, size, &mut closed);
        }
        self.closed_from = number;
        closed
    }

    fn add(&mut self, columns: &[StepColumn], step: &[f32], size: u64, closed: &mut Vec<Window>) {
        let value = |place: usize| f64::from(step[place]);
        let of = |wanted| columns.iter().position(|column| *column == wanted).map_or(0.0, value);
        let ticks = (of(StepColumn::Ticks) as u64).max(1);
        let mut left = ticks;
        while left > 0 {
            let part = left.min(self.start + size - self.ticks);
            left -= part;
            let share = part as f64 / ticks as f64;
            self.ticks += part;
            self.sums.reward += share * of(StepColumn::Reward);
            self.sums.take_metrics(columns, step, share, left == 0);
            if left == 0 {
                let (terminated, truncated) = (of(StepColumn::Terminated), of(StepColumn::Truncated));
                self.sums.returns += of(StepColumn::Returns);
                self.sums.terminated += terminated;
                self.sums.truncated += truncated;
                self.episodes += (terminated + truncated) as u64;
            }
            if self.ticks == self.start + size {
                closed.push(self.close(true));
            }
        }
    }

    /// Ends the open window here, if there is anything in it.
    pub fn flush(&mut self) -> Option<Window> {
        self.closed_from = self.number;
        (self.ticks > self.start).then(|| self.close(false))
    }

    fn close(&mut self, complete: bool) -> Window {
        let Sums { reward, returns, terminated, truncated, metrics } = std::mem::take(&mut self.sums);
        let (start, end) = (self.start, self.ticks);
        let episodes = terminated + truncated;
        let window = Window {
            number: self.number,
            complete,
            start,
            end,
            terminated: terminated as u64,
            truncated: truncated as u64,
            reward,
            returns,
            metrics: metrics
                .into_iter()
                .map(|total| match total {
                    Total::Sum(sum) => sum / (end - start) as f64,
                    Total::Largest(largest) => largest,
                    Total::OfEpisodes(sum) => sum / episodes.max(1.0),
                })
                .collect(),
        };
        (self.number, self.start) = (self.number + 1, end);
        window
    }

    /// Whether these are numbers that a run can have; those of a file may be any.
    pub fn is_sound(&self) -> bool {
        const MOST: u64 = i64::MAX as u64 / 2;
        let Tally { number, start, ticks, episodes, closed_from, checkpoints, .. } = *self;
        [number, start, ticks, episodes, closed_from, checkpoints].into_iter().all(|count| count <= MOST)
            && start <= ticks
    }
}

impl Sums {
    /// Takes in a share of a step, which may be its last one.
    fn take_metrics(&mut self, columns: &[StepColumn], step: &[f32], share: f64, is_last: bool) {
        let mut place = 0;
        for (column, &value) in columns.iter().zip(step) {
            let StepColumn::Metric(_, aggregate) = column else { continue };
            let value = if value.is_finite() { f64::from(value) } else { 0.0 };
            if place == self.metrics.len() {
                self.metrics.push(match aggregate {
                    Aggregate::Mean | Aggregate::Running => Total::Sum(0.0),
                    Aggregate::Max => Total::Largest(value),
                    Aggregate::Episode => Total::OfEpisodes(0.0),
                });
            }
            match &mut self.metrics[place] {
                Total::Sum(sum) => *sum += share * value,
                Total::Largest(largest) => *largest = largest.max(value),
                Total::OfEpisodes(sum) if is_last => *sum += value,
                Total::OfEpisodes(_) => {}
            }
            place += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use StepColumn::{Metric, Returns, Reward, Terminated, Ticks, Truncated};

    const COLUMNS: [StepColumn; 8] = [
        Ticks,
        Reward,
        Returns,
        Terminated,
        Truncated,
        Metric(0, Aggregate::Mean),
        Metric(1, Aggregate::Max),
        Metric(2, Aggregate::Episode),
    ];

    #[test]
    fn a_step_across_an_end_is_divided_and_its_episode_counts_where_it_ends() {
        let mut tally = Tally::new();
        // Metrics that are means are weighted with the ticks already: 2 x 3, 8 x 5.
        let steps = [[2.0, 1.0, 0.0, 0.0, 0.0, 6.0, 1.0, 0.0], [8.0, 4.0, 7.0, 1.0, 0.0, 40.0, 3.0, 0.5]];
        let closed = tally.add_update(&COLUMNS, steps.as_flattened(), 4, None);
        let ends: Vec<_> = closed.iter().map(|w| (w.number, w.start, w.end, w.complete)).collect();
        assert_eq!(ends, [(0, 0, 4, true), (1, 4, 8, true)]);
        assert_eq!((closed[0].reward, closed[0].episodes()), (1.0 + 4.0 * 2.0 / 8.0, 0));
        assert_eq!(closed[0].metrics, [(6.0 + 40.0 * 2.0 / 8.0) / 4.0, 3.0, 0.0]);
        assert_eq!((closed[1].reward, closed[1].metrics[0], closed[1].episodes()), (2.0, 5.0, 0));
        assert_eq!((tally.ticks, tally.episodes, tally.closed_from), (10, 1, 0));
        assert!(tally.fits(4) && !tally.fits(2), "two ticks of the open window have passed");
        let rest = tally.flush().unwrap();
        assert_eq!((rest.number, rest.start, rest.end, rest.complete), (2, 8, 10, false));
        assert_eq!((rest.reward, rest.terminated, rest.mean_return()), (1.0, 1, 7.0));
        assert_eq!(rest.metrics[2], 0.5, "it counts where its episode ends");
        assert_eq!(tally.flush(), None);
    }

    #[test]
    fn an_end_at_the_last_tick_of_a_step_holds_its_episode() {
        let mut tally = Tally::new();
        let step = [4.0, 1.0, 2.5, 0.0, 1.0, 4.0, 0.0, 0.0];
        let closed = tally.add_update(&COLUMNS, &step, 4, None);
        assert_eq!((closed.len(), closed[0].truncated, closed[0].returns), (1, 1, 2.5));
        assert_eq!(tally.flush(), None);
    }

    #[test]
    fn nothing_counts_after_the_limit_and_updates_may_be_divided_anyhow() {
        let steps: Vec<f32> =
            (0..20).flat_map(|i| [3.0, i as f32, 0.0, 0.0, 0.0, 3.0, i as f32, 0.0]).collect();
        let (mut whole, mut parts) = (Tally::new(), Tally::new());
        let closed = whole.add_update(&COLUMNS, &steps, 7, Some(40));
        let mut others = Vec::new();
        for update in steps.chunks(COLUMNS.len() * 4) {
            others.extend(parts.add_update(&COLUMNS, update, 7, Some(40)));
        }
        assert_eq!(closed, others);
        assert_eq!((whole.ticks, parts.ticks, closed.len()), (42, 42, 6));
    }
}
