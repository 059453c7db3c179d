//! What a rollout can tell beside its metrics: what every single step came to, and every single episode.
//!
//! Both are tables that grow with the steps, so they are recorded only where somebody reads them: the windows of a run, or a log with a
//! line for each episode.

use crate::array::HostArray;
use crate::envs::vector::VectorStep;
use crate::envs::{Aggregate, EnvSpec};
use crate::lang::{Bool, Float, Int, int, select, stack};

/// What is recorded of the steps of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What each step comes to over all environments: [`Learner::steps`](super::Learner::steps).
    pub steps: bool,
    /// The episodes that end, each with the values that these metrics of the environment have in its last step:
    /// [`Learner::episodes`](super::Learner::episodes).
    pub episodes: Option<&'static [&'static str]>,
}

/// An episode of the training that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub episode_return: f32,
    /// Steps.
    pub length: u64,
    /// The values of the metrics that are recorded, in their order.
    pub metrics: Vec<f32>,
}

/// What the steps of a rollout come to over the environments, step by step: for those who follow a run in windows that end anywhere.
#[derive(Clone, Copy)]
pub struct StepTable {
    /// f32`[T, K]`: the columns of [`step_columns`].
    pub table: Float,
    /// Steps that are in it, i32.
    count: Int,
}
crate::tree!(StepTable { table, count });

/// What is recorded of each step, summed over the environments; the environment's own metrics follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepColumn {
    /// By the clock of the environment.
    Ticks,
    Reward,
    /// The returns of the episodes that ended.
    Returns,
    /// Episodes that ended, and those that were cut off.
    Terminated,
    Truncated,
    /// A metric of the environment, by its place: weighted with the ticks of the steps, the largest, or where episodes ended.
    Metric(usize, Aggregate),
}

/// The columns of what is recorded of each step.
pub fn step_columns(spec: &EnvSpec) -> Vec<StepColumn> {
    use StepColumn::{Metric, Returns, Reward, Terminated, Ticks, Truncated};
    let own = spec.metrics.iter().enumerate().map(|(place, metric)| Metric(place, metric.aggregate));
    [Ticks, Reward, Returns, Terminated, Truncated].into_iter().chain(own).collect()
}

impl StepTable {
    /// A table of no steps, with room for so many.
    #[track_caller]
    pub fn new(spec: &EnvSpec, num_steps: usize) -> StepTable {
        StepTable { table: Float::full([num_steps, step_columns(spec).len()], 0.0), count: int(0) }
    }

    /// With one more step, in which episodes had these returns.
    #[track_caller]
    pub fn with(self, spec: &EnvSpec, step: &VectorStep, returns: Float) -> StepTable {
        let ones = Float::full(returns.shape(), 1.0);
        let ticks = spec.clock_column().map_or(ones, |column| step.metrics[column]);
        let cut = step.truncated.as_ref().map(|(truncated, _)| *truncated);
        let terminated = cut.map_or(step.done, |cut| step.done & !cut);
        let sum = |column| match column {
            StepColumn::Ticks => ticks.sum_all(),
            StepColumn::Reward => step.reward.sum_all(),
            StepColumn::Returns => select(step.done, returns, 0.0).sum_all(),
            StepColumn::Terminated => terminated.as_f32().sum_all(),
            StepColumn::Truncated => cut.map_or(0.0 * ones, Bool::as_f32).sum_all(),
            StepColumn::Metric(place, Aggregate::Mean | Aggregate::Running) => {
                (step.metrics[place] * ticks).sum_all()
            }
            StepColumn::Metric(place, Aggregate::Max) => step.metrics[place].max_all(),
            StepColumn::Metric(place, Aggregate::Episode) => {
                select(step.done, step.metrics[place], 0.0).sum_all()
            }
        };
        let row = stack(step_columns(spec).into_iter().map(sum).collect::<Vec<_>>());
        let table = self.table.dynamic_update(self.count, row.expand_dims(0));
        StepTable { table, count: self.count + 1 }
    }
}

/// The episodes that end in the steps of a rollout, step by step.
#[derive(Clone, Copy)]
pub struct EpisodeTable {
    /// f32`[T, K, B]`: whether an episode ended, its return, its length, the metrics that are recorded.
    pub table: Float,
    /// Steps that are in it, i32.
    count: Int,
}
crate::tree!(EpisodeTable { table, count });

/// The columns before the metrics.
const OWN_COLUMNS: usize = 3;

impl EpisodeTable {
    /// A table of no steps, with room for so many in each of `num_envs` environments, with these metrics.
    #[track_caller]
    pub fn new(metrics: &[&str], num_steps: usize, num_envs: usize) -> EpisodeTable {
        let table = Float::full([num_steps, OWN_COLUMNS + metrics.len(), num_envs], 0.0);
        EpisodeTable { table, count: int(0) }
    }

    /// With one more step, at the end of which episodes have these returns and lengths.
    ///
    /// # Panics
    /// The environment has no metric of one of the names.
    #[track_caller]
    pub fn with(
        self,
        (spec, metrics): (&EnvSpec, &[&str]),
        step: &VectorStep,
        returns: Float,
        lengths: Int,
    ) -> EpisodeTable {
        let value = |name: &&str| {
            let place = spec.metrics.iter().position(|metric| metric.name == **name);
            step.metrics[place.unwrap_or_else(|| panic!("{} has no metric {name}", spec.name))]
        };
        let own = [step.done.as_f32(), returns, lengths.as_f32()];
        let row = stack(own.into_iter().chain(metrics.iter().map(value)).collect::<Vec<_>>());
        let table = self.table.dynamic_update(self.count, row.expand_dims(0));
        EpisodeTable { table, count: self.count + 1 }
    }
}

/// The episodes in the tables of some updates, f32 `[U, T, K, B]`: for each update those that ended, in the order of the steps.
pub fn ended_of(tables: &HostArray) -> Vec<Vec<Ended>> {
    let [_, steps, columns, num_envs] = tables.shape()[..] else { panic!("tables have four axes") };
    let tables = tables.as_slice().chunks_exact(steps * columns * num_envs);
    tables.map(|table| ended(table, columns, num_envs)).collect()
}

/// The episodes in a table f32 `[T, K, B]`.
fn ended(table: &[f32], columns: usize, num_envs: usize) -> Vec<Ended> {
    let of_step = |step: &[f32]| -> Vec<Ended> {
        let value = |column: usize, env: usize| step[column * num_envs + env];
        let episode = |env: usize| Ended {
            episode_return: value(1, env),
            length: value(2, env) as u64,
            metrics: (OWN_COLUMNS..columns).map(|column| value(column, env)).collect(),
        };
        (0..num_envs).filter(|&env| value(0, env) != 0.0).map(episode).collect()
    };
    table.chunks_exact(columns * num_envs).flat_map(of_step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_are_read_in_the_order_of_their_ends() {
        // Two steps of two environments: one episode ends in each step.
        let table = [
            [[0.0, 1.0], [9.0, 2.5], [9.0, 7.0], [9.0, 3.0]], //
            [[1.0, 0.0], [-1.0, 9.0], [4.0, 9.0], [0.0, 9.0]],
        ];
        let of = |episode_return, length, metric| Ended { episode_return, length, metrics: vec![metric] };
        assert_eq!(ended(table.as_flattened().as_flattened(), 4, 2), [of(2.5, 7, 3.0), of(-1.0, 4, 0.0)]);
    }
}
