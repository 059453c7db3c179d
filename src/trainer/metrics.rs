//! Metrics: one row of numbers per update becomes one row per logging interval.
//!
//! Rows are added one by one in the order of the updates, in f64, so what is logged does not depend on how the
//! updates were divided into chunks, nor on where a run was stopped and resumed.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{self, Deserialize};

use super::naming::Naming;
use super::status::Phases;
use crate::algorithms::Metric;
use crate::algorithms::metrics::{Aggregate, EPISODES, TIMESTEPS, column};
use crate::algorithms::schedule::Rates;

/// The metrics of the updates since the last logged one.
#[derive(Clone, Debug, PartialEq, serde::Serialize, Deserialize)]
pub struct Interval {
    columns: Vec<Column>,
    /// Updates added so far.
    pub updates: u64,
    /// Seconds these updates took.
    pub seconds: f64,
}

/// One metric of an interval.
#[derive(Clone, Debug, PartialEq, serde::Serialize, Deserialize)]
struct Column {
    name: String,
    aggregate: Aggregate,
    /// The sum, the smallest or the largest of the values so far; of a mean over episodes the sum over the episodes.
    total: f64,
}

impl Interval {
    /// An interval without updates.
    pub fn new(metrics: &[Metric]) -> Self {
        let column = |metric: &Metric| Column {
            name: metric.name.to_string(),
            aggregate: metric.aggregate,
            total: match metric.aggregate {
                Aggregate::Max | Aggregate::EpisodeMax => f64::NEG_INFINITY,
                Aggregate::EpisodeMin => f64::INFINITY,
                Aggregate::Mean | Aggregate::Sum | Aggregate::EpisodeMean => 0.0,
            },
        };
        Self { columns: metrics.iter().map(column).collect(), updates: 0, seconds: 0.0 }
    }

    /// Whether it is of these metrics.
    pub fn is_of(&self, metrics: &[Metric]) -> bool {
        self.columns.len() == metrics.len()
            && self
                .columns
                .iter()
                .zip(metrics)
                .all(|(column, metric)| column.name == metric.name && column.aggregate == metric.aggregate)
    }

    /// Whether it is one that updates can lead to; what stands in a file may be any.
    pub fn is_sound(&self) -> bool {
        self.updates <= i64::MAX as u64
    }

    /// Adds the row of one update, one value per metric.
    pub fn add(&mut self, metrics: &[Metric], row: &[f32]) {
        let episodes = crate::algorithms::metrics::episodes(metrics, row);
        for (column, &value) in self.columns.iter_mut().zip(row) {
            let value = f64::from(value);
            match column.aggregate {
                Aggregate::Mean | Aggregate::Sum => column.total += value,
                Aggregate::Max => column.total = column.total.max(value),
                Aggregate::EpisodeMean => column.total += value * episodes,
                Aggregate::EpisodeMin | Aggregate::EpisodeMax if episodes == 0.0 => {}
                Aggregate::EpisodeMin => column.total = column.total.min(value),
                Aggregate::EpisodeMax => column.total = column.total.max(value),
            }
        }
        self.updates += 1;
    }

    /// The values of the whole interval, in the order of the metrics. None for what is of episodes if none ended.
    pub fn values(&self) -> Vec<Option<f32>> {
        let episodes = self.total(EPISODES);
        let value = |column: &Column| match column.aggregate {
            Aggregate::Mean => Some(column.total / self.updates as f64),
            Aggregate::Sum | Aggregate::Max => Some(column.total),
            Aggregate::EpisodeMean => (episodes > 0.0).then(|| column.total / episodes),
            Aggregate::EpisodeMin | Aggregate::EpisodeMax => (episodes > 0.0).then_some(column.total),
        };
        self.columns.iter().map(|column| value(column).map(|value| value as f32)).collect()
    }

    /// Environment steps of the updates.
    pub fn timesteps(&self) -> u64 {
        self.total(TIMESTEPS) as u64
    }

    /// The total of a metric; 0 if there is no such metric.
    fn total(&self, name: &str) -> f64 {
        self.columns.iter().find(|column| column.name == name).map_or(0.0, |column| column.total)
    }
}

/// The environment steps of an update, by its row of metrics.
pub fn timesteps(metrics: &[Metric], row: &[f32]) -> u64 {
    column(metrics, TIMESTEPS).and_then(|place| row.get(place)).map_or(0, |&steps| steps as u64)
}

/// Environment steps per second.
pub const STEPS_PER_SECOND: &str = "time/steps_per_second";
pub const UPDATES_PER_SECOND: &str = "time/updates_per_second";
/// Seconds of training since the run began.
pub const WALL_SECONDS: &str = "time/wall_seconds";

/// What the time went into, in the order of [`Phases::shares`].
const PHASES: [&str; 5] = [
    "time/train_percent",
    "time/evaluate_percent",
    "time/save_percent",
    "time/log_percent",
    "time/other_percent",
];

/// What the trainer itself measures, in the order of [`Row::times`].
pub fn time_metrics() -> Vec<Metric> {
    let metric = |name: &'static str, unit, description: &'static str| Metric {
        name: name.into(),
        aggregate: Aggregate::Mean,
        unit,
        description: description.into(),
        healthy: None,
        checks: Vec::new(),
    };
    vec![
        metric(STEPS_PER_SECOND, "steps/s", "environment steps per second"),
        metric(UPDATES_PER_SECOND, "updates/s", "updates per second"),
        metric(WALL_SECONDS, "s", "seconds of training since the run began, in all processes"),
        metric(PHASES[0], "%", "share of the time since the row before in which the device computed updates"),
        metric(PHASES[1], "%", "share of it in evaluations and replays"),
        metric(PHASES[2], "%", "share of it in which checkpoints and parameters were saved"),
        metric(PHASES[3], "%", "share of it in which rows were logged"),
        metric(PHASES[4], "%", "share of it in everything else"),
    ]
}

/// One logged line: the metrics of an interval, and where and how fast it ended.
#[derive(Clone, Debug)]
pub struct Row {
    pub update: u64,
    pub timesteps: u64,
    /// All columns of the run, those of evaluations last.
    pub names: Vec<String>,
    /// The values of the first of them: the others are missing in a row without an evaluation.
    /// One that has no value in this interval is None.
    pub values: Vec<Option<f32>>,
    /// Environment steps per second within the interval.
    pub steps_per_second: f64,
    pub updates_per_second: f64,
    /// Seconds of training since the run began.
    pub wall_seconds: f64,
    /// What the time since the row before went into; none in the curves, whose rows are single updates.
    pub phases: Option<Phases>,
    /// Episodes that have ended since the run began.
    pub episodes: u64,
    /// What the learner's schedules said.
    pub rates: Rates,
    /// When it was logged.
    pub time: Timestamp,
    /// By which names charts have it.
    pub naming: Naming,
}

impl Row {
    /// The value of a metric, if there is such a metric.
    pub fn get(&self, name: &str) -> Option<f32> {
        let column = self.names.iter().position(|other| other == name)?;
        self.values.get(column).copied().flatten()
    }

    /// What the trainer itself measures, beside the metrics of the learner.
    pub fn times(&self) -> Vec<(&'static str, f64)> {
        let Row { steps_per_second, updates_per_second, wall_seconds, phases, .. } = *self;
        let own = [
            (STEPS_PER_SECOND, steps_per_second),
            (UPDATES_PER_SECOND, updates_per_second),
            (WALL_SECONDS, wall_seconds),
        ];
        let tenths = |share: f64| (10.0 * share).round() / 10.0;
        let shares = phases.map(|phases| phases.shares().map(|(_, share)| tenths(share)));
        own.into_iter().chain(PHASES.into_iter().zip(shares.into_iter().flatten())).collect()
    }

    /// All numbers by the names that charts have; those without a value are left out.
    pub fn scalars(&self) -> impl Iterator<Item = (Cow<'_, str>, f64)> {
        let metrics = self.names.iter().zip(&self.values);
        let metrics = metrics.filter_map(|(name, &value)| Some((name.as_str(), f64::from(value?))));
        let own = metrics.chain(self.times()).map(|(name, value)| (self.naming.name(name), value));
        own.chain(self.naming.counters(self.update, self.timesteps))
    }
}

/// One flat object: `update`, `timesteps`, the metrics in their order, then the times. What has no value is null.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 5))?;
        map.serialize_entry("update", &self.update)?;
        map.serialize_entry("timesteps", &self.timesteps)?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.times() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::metrics::{EPISODE_LENGTH, EPISODE_RETURN};

    fn metrics(named: &[(&'static str, Aggregate)]) -> Vec<Metric> {
        let metric = |&(name, aggregate): &(&'static str, Aggregate)| Metric {
            name: name.into(),
            aggregate,
            unit: "",
            description: "".into(),
            healthy: None,
            checks: Vec::new(),
        };
        named.iter().map(metric).collect()
    }

    #[test]
    fn means_sums_records_and_episode_means() {
        use Aggregate::{EpisodeMean, Max, Mean, Sum};
        let metrics = metrics(&[
            (TIMESTEPS, Sum),
            ("train/entropy", Mean),
            (EPISODES, Sum),
            (EPISODE_RETURN, EpisodeMean),
            ("stats/highest_stage", Max),
        ]);
        let mut interval = Interval::new(&metrics);
        interval.add(&metrics, &[100.0, 1.0, 3.0, 10.0, 2.0]);
        interval.add(&metrics, &[100.0, 2.0, 0.0, 0.0, 5.0]);
        interval.add(&metrics, &[50.0, 6.0, 1.0, 2.0, 4.0]);
        // 3 episodes of mean 10 and one of 2: (30 + 2) / 4
        assert_eq!(interval.values(), [250.0, 3.0, 4.0, 8.0, 5.0].map(Some));
        assert_eq!((interval.updates, interval.timesteps()), (3, 250));
        assert!(interval.is_of(&metrics) && !interval.is_of(&metrics[1..]));
    }

    #[test]
    fn without_any_episode_there_is_no_mean_over_episodes() {
        use Aggregate::{EpisodeMax, EpisodeMean, EpisodeMin, Sum};
        let metrics = metrics(&[
            (EPISODES, Sum),
            (EPISODE_LENGTH, EpisodeMean),
            ("min", EpisodeMin),
            ("max", EpisodeMax),
        ]);
        let mut interval = Interval::new(&metrics);
        interval.add(&metrics, &[0.0, 0.0, 0.0, 0.0]);
        assert_eq!(interval.values(), [Some(0.0), None, None, None]);
        interval.add(&metrics, &[4.0, 127.0, 3.0, -5.0]);
        interval.add(&metrics, &[1.0, 127.0, 2.0, -6.0]);
        interval.add(&metrics, &[0.0, 0.0, 0.0, 0.0]);
        assert_eq!(interval.values(), [Some(5.0), Some(127.0), Some(2.0), Some(-5.0)]);
    }

    #[test]
    fn a_row_is_one_flat_object_in_order() {
        let row = Row {
            update: 10,
            timesteps: 5120,
            names: ["train/mean_episode_return", "reward/kill", "eval/mean_return"]
                .map(String::from)
                .to_vec(),
            values: vec![None, Some(0.1)],
            steps_per_second: 1024.0,
            updates_per_second: 2.0,
            wall_seconds: 5.5,
            phases: Some(Phases { train: 3.0, evaluate: 1.0, ..Phases::default() }),
            episodes: 0,
            rates: Rates::default(),
            time: Timestamp::UNIX_EPOCH,
            naming: Naming::default(),
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            "{\"update\":10,\"timesteps\":5120,\"train/mean_episode_return\":null,\"reward/kill\":0.1,\
             \"time/steps_per_second\":1024.0,\"time/updates_per_second\":2.0,\"time/wall_seconds\":5.5,\
             \"time/train_percent\":75.0,\"time/evaluate_percent\":25.0,\"time/save_percent\":0.0,\
             \"time/log_percent\":0.0,\"time/other_percent\":0.0}"
        );
        assert_eq!(row.get("reward/kill"), Some(0.1));
        assert_eq!((row.get("train/mean_episode_return"), row.get("train/entropy")), (None, None));
        let charts: Vec<_> = row.scalars().map(|(name, _)| name).collect();
        let times = [STEPS_PER_SECOND, UPDATES_PER_SECOND, WALL_SECONDS];
        assert_eq!(charts, [&["reward/kill"], &times[..], &PHASES].concat());
        let row = Row { naming: Naming::Puffer, phases: None, ..row };
        let charts: Vec<_> = row.scalars().map(|(name, _)| name).collect();
        assert_eq!(
            charts,
            ["environment/reward/kill", "SPS", UPDATES_PER_SECOND, "uptime", "agent_steps", "epoch"]
        );
    }
}
