//! Metrics: the numbers that a learner reports with every update, declared where they are computed.
//!
//! While an update is traced, a [`Recorder`] takes each number with its name, its unit and its meaning; the method says
//! how the numbers of several devices, and those of several updates, become one. So there is one list of metrics:
//! the columns of a learner's rows, the aggregation of the logs and the page `docs/metrics.md` are read from it.
//! What devices have in parts crosses in one gather for all metrics together.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::envs::health::Range;
use crate::lang::{Bool, Float, all_gather, constant, float, select, stack};

/// Environment steps of an update, over all environments. Every learner reports it.
pub const TIMESTEPS: &str = "train/num_timesteps";
/// Episodes that ended in an update. The weight of all means over episodes.
pub const EPISODES: &str = "train/num_episodes";
/// Mean return of the episodes that ended.
pub const EPISODE_RETURN: &str = "train/mean_episode_return";
/// Lowest and highest return of the episodes that ended.
pub const MIN_EPISODE_RETURN: &str = "train/min_episode_return";
pub const MAX_EPISODE_RETURN: &str = "train/max_episode_return";
/// Mean length of the episodes that ended.
pub const EPISODE_LENGTH: &str = "train/mean_episode_length";

/// A number that a learner reports with every update.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// As in every log: `train/entropy`, `reward/kills`.
    pub name: Cow<'static, str>,
    pub aggregate: Aggregate,
    /// What it is counted in; empty for a number without a unit.
    pub unit: &'static str,
    /// What it means, in one phrase.
    pub description: Cow<'static, str>,
    /// Where it should be, whatever the environment.
    pub healthy: Option<Range>,
    /// What no range says.
    pub checks: Vec<Check>,
}

/// The values of a row of metrics by name.
pub type Values<'a> = &'a dyn Fn(&str) -> Option<f64>;

/// A sign that training goes wrong, which stands in several metrics or in several rows.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// What is wrong, in a few words.
    pub title: &'static str,
    /// How the metric should be, for lists of metrics; empty where another check of it says so.
    pub rule: &'static str,
    /// Whether a row is bad; `None` where the metrics for it are missing.
    pub is_bad: fn(Values) -> Option<bool>,
    /// Rows on end that must be bad.
    pub rows: u32,
    /// What to do, in one phrase.
    pub advice: &'static str,
}

/// Checks are told apart by their titles.
impl PartialEq for Check {
    fn eq(&self, other: &Check) -> bool {
        self.title == other.title
    }
}

/// How the values of several updates become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aggregate {
    /// The mean over the updates.
    Mean,
    Sum,
    Max,
    /// The mean over the episodes that ended, of which [`EPISODES`] is the number. Without any there is no value.
    EpisodeMean,
    /// The smallest of the episodes that ended.
    EpisodeMin,
    /// The largest of the episodes that ended.
    EpisodeMax,
}

impl Aggregate {
    /// Whether there is no value without an episode that ended.
    pub fn is_of_episodes(self) -> bool {
        matches!(self, Aggregate::EpisodeMean | Aggregate::EpisodeMin | Aggregate::EpisodeMax)
    }
}

/// Collects the metrics of an update while it is traced.
pub struct Recorder {
    metrics: Vec<Metric>,
    values: Vec<Value>,
    /// What this device has of the sums and maxima over all devices, f32 scalars.
    parts: Vec<Float>,
    /// What each step comes to on this device, and which columns are maxima.
    steps: Option<(Float, Vec<bool>)>,
    /// What the episodes that ended in each step came to on this device.
    episodes: Option<Float>,
}

/// Where the value of a metric comes from. Numbers are places among the parts.
enum Value {
    /// Every device has it.
    Shared(Float),
    /// The sum over the devices divided by a constant.
    Sum {
        part: usize,
        divisor: f64,
    },
    Max {
        part: usize,
    },
    /// The sum over the devices divided by that of another part, or by 1 if that is less.
    Ratio {
        part: usize,
        by: usize,
    },
    /// The largest over the devices times `sign`, or 0 where the sum of another part is.
    Extreme {
        part: usize,
        sign: f64,
        by: usize,
    },
}

impl Recorder {
    /// The list for an update that has so many environment steps, over all devices.
    pub fn new(timesteps: Float) -> Self {
        let mut recorder = Recorder {
            metrics: Vec::new(),
            values: Vec::new(),
            parts: Vec::new(),
            steps: None,
            episodes: None,
        };
        let steps = recorder.add(TIMESTEPS, Aggregate::Sum, Value::Shared(timesteps));
        steps.describe("timesteps", "steps of all environments together");
        recorder
    }

    /// A scalar that is the same on all devices; its mean over updates.
    pub fn value(&mut self, name: impl Into<Cow<'static, str>>, x: Float) -> &mut Metric {
        self.add(name, Aggregate::Mean, Value::Shared(x))
    }

    /// A scalar that is the same on all devices; the largest over updates.
    pub fn largest(&mut self, name: impl Into<Cow<'static, str>>, x: Float) -> &mut Metric {
        self.add(name, Aggregate::Max, Value::Shared(x))
    }

    /// The sum of all elements of `sums`, of any shape, on all devices, divided by `count`; its mean over updates.
    pub fn mean(&mut self, name: impl Into<Cow<'static, str>>, sums: Float, count: usize) -> &mut Metric {
        let part = self.part(sums.sum_all());
        self.add(name, Aggregate::Mean, Value::Sum { part, divisor: count as f64 })
    }

    /// The sum of all elements of `x`, of any shape, on all devices, and over updates.
    pub fn sum(&mut self, name: impl Into<Cow<'static, str>>, x: Float) -> &mut Metric {
        let part = self.part(x.sum_all());
        self.add(name, Aggregate::Sum, Value::Sum { part, divisor: 1.0 })
    }

    /// The largest of all elements of `x`, of any shape, on all devices, and over updates.
    pub fn max(&mut self, name: impl Into<Cow<'static, str>>, x: Float) -> &mut Metric {
        let part = self.part(x.max_all());
        self.add(name, Aggregate::Max, Value::Max { part })
    }

    /// A mean over the episodes that ended: the sum of all elements of `sums`, of any shape, on all devices, divided
    /// by [`EPISODES`], which must be recorded before, by [`Recorder::sum`]; over updates weighted by them.
    ///
    /// # Panics
    /// If the number of episodes is not recorded.
    pub fn episode_mean(&mut self, name: impl Into<Cow<'static, str>>, sums: Float) -> &mut Metric {
        let by = self.episodes_part();
        let part = self.part(sums.sum_all());
        self.add(name, Aggregate::EpisodeMean, Value::Ratio { part, by })
    }

    /// The smallest of all episodes that ended: the smallest of all elements of `least`, of any shape, which is any larger number where
    /// none did.
    ///
    /// # Panics
    /// As [`Recorder::episode_mean`].
    pub fn episode_min(&mut self, name: impl Into<Cow<'static, str>>, least: Float) -> &mut Metric {
        let by = self.episodes_part();
        let part = self.part((-least).max_all());
        self.add(name, Aggregate::EpisodeMin, Value::Extreme { part, sign: -1.0, by })
    }

    /// The largest, as [`Recorder::episode_min`] the smallest.
    ///
    /// # Panics
    /// As [`Recorder::episode_mean`].
    pub fn episode_max(&mut self, name: impl Into<Cow<'static, str>>, most: Float) -> &mut Metric {
        let by = self.episodes_part();
        let part = self.part(most.max_all());
        self.add(name, Aggregate::EpisodeMax, Value::Extreme { part, sign: 1.0, by })
    }

    /// The part that is the number of episodes.
    fn episodes_part(&self) -> usize {
        let episodes = self.metrics.iter().position(|metric| metric.name == EPISODES);
        let Some(Value::Sum { part, .. }) = episodes.map(|column| &self.values[column]) else {
            panic!("a metric of episodes needs {EPISODES}, recorded before it")
        };
        *part
    }

    /// What each step of the update comes to on this device, f32 `[T, K]`: sums over its environments, or maxima.
    pub fn steps(&mut self, table: Float, is_largest: Vec<bool>) {
        self.steps = Some((table, is_largest));
    }

    /// What the episodes that ended in each step of the update came to on this device, f32 `[T, K, B]`.
    pub fn episodes(&mut self, table: Float) {
        self.episodes = Some(table);
    }

    fn part(&mut self, x: Float) -> usize {
        self.parts.push(x);
        self.parts.len() - 1
    }

    fn add(&mut self, name: impl Into<Cow<'static, str>>, aggregate: Aggregate, value: Value) -> &mut Metric {
        let name = name.into();
        assert!(self.metrics.iter().all(|metric| metric.name != name), "two metrics have the name {name}");
        self.values.push(value);
        self.metrics.push(Metric {
            name,
            aggregate,
            unit: "",
            description: "".into(),
            healthy: None,
            checks: Vec::new(),
        });
        self.metrics.last_mut().expect("it was just added")
    }

    /// Combines the numbers of the `num_devices` devices that share an agent.
    pub fn gather(self, num_devices: usize) -> Metrics {
        let Recorder { metrics, values, parts, steps, episodes } = self;
        let steps = steps.map(|(table, is_largest)| {
            let all = all_gather(table, num_devices);
            let is_largest: Bool = constant(is_largest).broadcast(0, table.shape()[0]);
            select(is_largest, all.max([0]), all.sum([0]))
        });
        let episodes = episodes.map(|table| merge_last_axis(all_gather(table, num_devices)));
        let combined = (!parts.is_empty()).then(|| {
            let all = all_gather(stack(&parts), num_devices);
            (all.sum([0]), all.max([0]))
        });
        let (sums, maxima) = combined.unwrap_or_else(|| (stack([float(0.0)]), stack([float(0.0)])));
        let value = |value: Value| match value {
            Value::Shared(x) => x,
            Value::Sum { part, divisor: 1.0 } => sums.index(0, part),
            Value::Sum { part, divisor } => sums.index(0, part) / divisor,
            Value::Max { part } => maxima.index(0, part),
            Value::Ratio { part, by } => sums.index(0, part) / sums.index(0, by).maximum(1.0),
            Value::Extreme { part, sign, by } => {
                select(sums.index(0, by).gt(0.0), maxima.index(0, part) * sign, 0.0)
            }
        };
        let row = stack(values.into_iter().map(value).collect::<Vec<_>>());
        Metrics { list: metrics, row, steps, episodes }
    }
}

/// `[D, T, K, B]` as `[T, K, D * B]`.
fn merge_last_axis(parts: Float) -> Float {
    let [devices, steps, columns, envs] = parts.shape()[..] else { panic!("a table has three axes") };
    parts.transpose([1, 2, 0, 3]).reshape([steps, columns, devices * envs])
}

impl Metric {
    /// Sets the unit and the meaning.
    pub fn describe(&mut self, unit: &'static str, description: impl Into<Cow<'static, str>>) -> &mut Metric {
        self.unit = unit;
        self.description = description.into();
        self
    }

    /// Sets where it should be.
    pub fn healthy(&mut self, range: Range) -> &mut Metric {
        self.healthy = Some(range);
        self
    }

    /// Adds a sign that training goes wrong.
    pub fn check(&mut self, check: Check) -> &mut Metric {
        self.checks.push(check);
        self
    }
}

/// The metrics of an update: their list, and their values as one row.
pub struct Metrics {
    pub list: Vec<Metric>,
    /// f32 `[list.len()]`. What is of episodes is 0 where none ended.
    pub row: Float,
    /// f32 `[T, K]`: what each step comes to over all environments, if it was recorded.
    pub steps: Option<Float>,
    /// f32 `[T, K, B]`: the episodes that ended in each step in all environments, if they were recorded.
    pub episodes: Option<Float>,
}

impl Metrics {
    /// The value of a metric.
    ///
    /// # Panics
    /// If there is no such metric.
    #[track_caller]
    pub fn get(&self, name: &str) -> Float {
        self.row.index(0, column(&self.list, name).unwrap_or_else(|| panic!("there is no metric {name}")))
    }
}

/// The place of a metric in a list of them.
pub fn column(metrics: &[Metric], name: &str) -> Option<usize> {
    metrics.iter().position(|metric| metric.name == name)
}

/// The value of a metric in a row with the columns `metrics`. None if there is no such metric, or if it is of episodes and none
/// ended.
pub fn value(metrics: &[Metric], row: &[f32], name: &str) -> Option<f64> {
    let place = column(metrics, name)?;
    let is_absent = metrics[place].aggregate.is_of_episodes() && episodes(metrics, row) == 0.0;
    row.get(place).filter(|_| !is_absent).map(|&value| f64::from(value))
}

/// The episodes that ended in the update of a row.
pub fn episodes(metrics: &[Metric], row: &[f32]) -> f64 {
    column(metrics, EPISODES).and_then(|place| row.get(place)).map_or(0.0, |&count| f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::trace;

    /// A row of every kind of metric on one device; the episodes have ended with these returns.
    fn row(returns: [f32; 4], ended: [f32; 4]) -> (Vec<Metric>, Vec<f32>) {
        let mut list = Vec::new();
        let traced = trace(&(), |()| {
            let (returns, ended): (Float, Float) = (constant(returns), constant(ended));
            let mut m = Recorder::new(float(8.0));
            m.value("train/lr", float(0.5)).describe("", "the learning rate");
            m.sum(EPISODES, ended);
            m.episode_mean(EPISODE_RETURN, returns * ended);
            m.episode_min(MIN_EPISODE_RETURN, select(ended.gt(0.0), returns, f64::from(f32::MAX)));
            m.episode_max(MAX_EPISODE_RETURN, select(ended.gt(0.0), returns, f64::from(f32::MIN)));
            m.mean("train/mean_reward", returns, 8);
            m.max("stats/highest", returns);
            let metrics = m.gather(1);
            let row = metrics.row + 0.0 * metrics.get(EPISODES);
            list = metrics.list;
            row
        });
        (list, interpret(&traced.graph, &[])[0].as_slice().to_vec())
    }

    #[test]
    fn each_method_says_how_numbers_become_one() {
        let (list, values) = row([1.0, 2.0, 3.0, 10.0], [1.0, 0.0, 1.0, 0.0]);
        // The means and extremes of returns are those of the two episodes that ended.
        assert_eq!(values, [8.0, 0.5, 2.0, 2.0, 1.0, 3.0, 2.0, 10.0]);
        use Aggregate::{EpisodeMax, EpisodeMean, EpisodeMin, Max, Mean, Sum};
        let aggregates: Vec<_> = list.iter().map(|metric| metric.aggregate).collect();
        assert_eq!(aggregates, [Sum, Mean, Sum, EpisodeMean, EpisodeMin, EpisodeMax, Mean, Max]);
        assert_eq!(value(&list, &values, EPISODE_RETURN), Some(2.0));
        assert_eq!((episodes(&list, &values), value(&list, &values, "train/none")), (2.0, None));
        assert_eq!((list[1].unit, &*list[1].description), ("", "the learning rate"));
    }

    #[test]
    fn a_mean_over_no_episodes_is_absent() {
        let (list, values) = row([1.0; 4], [0.0; 4]);
        assert!(values.iter().all(|value| value.is_finite()));
        for name in [EPISODE_RETURN, MIN_EPISODE_RETURN, MAX_EPISODE_RETURN] {
            assert_eq!(value(&list, &values, name), None);
        }
        assert_eq!(value(&list, &values, "train/mean_reward"), Some(0.5));
    }

    #[test]
    #[should_panic(expected = "two metrics have the name train/lr")]
    fn a_name_is_taken_once() {
        trace(&(), |()| {
            let mut m = Recorder::new(float(1.0));
            m.value("train/lr", float(0.5));
            m.value("train/lr", float(0.5));
        });
    }
}
