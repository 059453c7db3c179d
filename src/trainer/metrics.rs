//! Metrics: one row of numbers per update becomes one row per logging interval.
//!
//! Rows are added one by one in the order of the updates, in f64, so what is logged does not depend on how the
//! updates were divided into chunks, nor on where a run was stopped and resumed.

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde::{self, Deserialize};

use crate::algorithms::curriculum;

/// The metrics of the updates since the last logged one.
#[derive(Clone, Debug, PartialEq, serde::Serialize, Deserialize)]
pub struct Interval {
    names: Vec<String>,
    totals: Vec<f64>,
    /// Updates added so far.
    pub updates: u64,
    /// Sum of the episode weights of the updates.
    episode_weight: f64,
    /// Episodes finished in these updates.
    pub episodes: f64,
    /// Seconds these updates took.
    pub seconds: f64,
}

/// How the values of one metric become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Aggregate {
    /// Most metrics: the mean over the updates.
    Mean,
    /// Records such as `stats/highest_stage`: the largest.
    Max,
    /// Means over the episodes of an update: weighted by their number, so that an update in which no episode
    /// ended does not count as one with a return of zero.
    EpisodeMean,
}

impl Aggregate {
    fn of(name: &str) -> Self {
        let last = name.rsplit('/').next().unwrap_or(name);
        if last.starts_with("highest_") || name == curriculum::METRIC {
            Aggregate::Max
        } else if last.starts_with("mean_episode_") {
            Aggregate::EpisodeMean
        } else {
            Aggregate::Mean
        }
    }

    fn start(self) -> f64 {
        match self {
            Aggregate::Mean | Aggregate::EpisodeMean => 0.0,
            Aggregate::Max => f64::NEG_INFINITY,
        }
    }
}

impl Interval {
    /// An interval without updates.
    pub fn new(names: &[String]) -> Self {
        Self {
            totals: names.iter().map(|name| Aggregate::of(name).start()).collect(),
            names: names.to_vec(),
            updates: 0,
            episode_weight: 0.0,
            episodes: 0.0,
            seconds: 0.0,
        }
    }

    /// Whether it is one that updates can lead to; what stands in a file may be any.
    pub fn is_sound(&self) -> bool {
        self.totals.len() == self.names.len() && self.updates <= i64::MAX as u64
    }

    /// The names of the columns.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Adds the row of one update, one value per name.
    pub fn add(&mut self, row: &[f32]) {
        let episodes = self.value(row, "num_episodes");
        // The rollout's means are sums divided by max(episodes, 1): multiplied back, they are sums again.
        let weight = episodes.unwrap_or(1.0).max(1.0);
        for ((name, total), &value) in self.names.iter().zip(&mut self.totals).zip(row) {
            let value = f64::from(value);
            match Aggregate::of(name) {
                Aggregate::Mean => *total += value,
                Aggregate::Max => *total = total.max(value),
                Aggregate::EpisodeMean => *total += value * weight,
            }
        }
        self.updates += 1;
        self.episodes += episodes.unwrap_or(0.0);
        self.episode_weight += episodes.unwrap_or(1.0);
    }

    /// The values of the whole interval, in the order of the names.
    pub fn values(&self) -> Vec<f32> {
        let aggregate = |(name, total): (&String, &f64)| match Aggregate::of(name) {
            Aggregate::Mean => total / self.updates as f64,
            Aggregate::Max => *total,
            Aggregate::EpisodeMean => total / self.episode_weight.max(1.0),
        };
        self.names.iter().zip(&self.totals).map(aggregate).map(|value| value as f32).collect()
    }

    /// The value of a metric in a row, if there is such a metric.
    pub fn value(&self, row: &[f32], name: &str) -> Option<f64> {
        let column = self.names.iter().position(|other| other == name)?;
        row.get(column).map(|&value| f64::from(value))
    }
}

/// One logged line: the metrics of an interval, and where and how fast it ended.
#[derive(Clone, Debug)]
pub struct Row {
    pub update: u64,
    pub timesteps: u64,
    /// All columns of the run, those of evaluations last.
    pub names: Vec<String>,
    /// The values of the first of them: the others are missing in a row without an evaluation.
    pub values: Vec<f32>,
    /// Environment steps per second within the interval.
    pub steps_per_second: f64,
    /// Seconds of training since the run began.
    pub wall_seconds: f64,
    /// When it was logged.
    pub time: Timestamp,
}

impl Row {
    /// The value of a metric, if there is such a metric.
    pub fn get(&self, name: &str) -> Option<f32> {
        let column = self.names.iter().position(|other| other == name)?;
        self.values.get(column).copied()
    }

    /// The values as charts know them: `reward/kill` by its name, what belongs to no group under `train/`.
    pub fn scalars(&self) -> impl Iterator<Item = (String, f64)> {
        let chart = |name: &String| if name.contains('/') { name.clone() } else { format!("train/{name}") };
        let metrics =
            self.names.iter().zip(&self.values).map(move |(name, &value)| (chart(name), value.into()));
        metrics.chain([("train/steps_per_second".into(), self.steps_per_second)])
    }

    /// Updates per second within the interval.
    pub fn updates_per_second(&self) -> f64 {
        self.steps_per_second * self.update as f64 / (self.timesteps as f64).max(1.0)
    }
}

/// One flat object: `update`, `timesteps`, the metrics in their order, then the times. What is not a number is null.
impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 4))?;
        map.serialize_entry("update", &self.update)?;
        map.serialize_entry("timesteps", &self.timesteps)?;
        for (name, value) in self.names.iter().zip(&self.values) {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("steps_per_second", &self.steps_per_second)?;
        map.serialize_entry("wall_seconds", &self.wall_seconds)?;
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn means_records_and_episode_means() {
        let mut interval = Interval::new(&names(&[
            "entropy",
            "num_episodes",
            "mean_episode_return",
            "stats/highest_stage",
            "mean_reward",
        ]));
        interval.add(&[1.0, 3.0, 10.0, 2.0, 0.5]);
        interval.add(&[2.0, 0.0, 0.0, 5.0, 0.5]);
        interval.add(&[6.0, 1.0, 2.0, 4.0, 0.5]);
        // 3 episodes of mean 10 and one of 2: (30 + 2) / 4
        assert_eq!(interval.values(), [3.0, 4.0 / 3.0, 8.0, 5.0, 0.5]);
        assert_eq!((interval.updates, interval.episodes), (3, 4.0));
    }

    #[test]
    fn without_any_episode_the_rollouts_own_formula_holds() {
        // mean_episode_length is (steps that end no episode) / max(episodes, 1)
        let mut interval = Interval::new(&names(&["num_episodes", "mean_episode_length"]));
        interval.add(&[0.0, 512.0]);
        interval.add(&[0.0, 512.0]);
        assert_eq!(interval.values(), [0.0, 1024.0]);
        interval.add(&[4.0, 127.0]);
        assert_eq!(interval.values(), [4.0 / 3.0, (1024.0 + 508.0) / 4.0]);
    }

    #[test]
    fn a_row_is_one_flat_object_in_order() {
        let row = Row {
            update: 10,
            timesteps: 5120,
            names: names(&["pg_loss", "reward/kill"]),
            values: vec![f32::NAN, 0.1],
            steps_per_second: 1000.0,
            wall_seconds: 5.12,
            time: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"update":10,"timesteps":5120,"pg_loss":null,"reward/kill":0.1,"steps_per_second":1000.0,"wall_seconds":5.12}"#
        );
        assert_eq!(row.get("reward/kill"), Some(0.1));
        assert_eq!(row.get("entropy"), None);
        let charts: Vec<_> = row.scalars().map(|(name, _)| name).collect();
        assert_eq!(charts, ["train/pg_loss", "reward/kill", "train/steps_per_second"]);
        assert!((row.updates_per_second() - 1000.0 / 512.0).abs() < 1e-9);
    }
}
