//! What the episodes of an evaluation come to: the numbers that `eval` prints and that a run logs under `eval/`.

use serde::Serialize;

use super::evaluation::Episode;
use super::metrics::{self, Metric};
use crate::envs::{Aggregate, EnvSpec};

/// Statistics of the episodes.
#[derive(Debug, Serialize)]
pub struct Report {
    pub episodes: usize,
    /// Episodes that ended by themselves.
    pub finished: usize,
    pub steps: u64,
    pub episode_return: Spread,
    pub episode_length: Spread,
    /// Per episode, the highest value of what is a maximum, such as `stats/highest_stage`, and the last one of what is an outcome.
    #[serde(flatten, serialize_with = "as_map")]
    pub per_episode: Vec<(String, Spread)>,
    /// Means over all steps: reward components and shares of the groups of actions.
    #[serde(serialize_with = "as_map")]
    pub per_step: Vec<(String, f64)>,
}

/// Mean, population standard deviation and range.
#[derive(Debug, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    pub std: f64,
    pub min: f64,
    pub max: f64,
}

fn as_map<T: Serialize, S: serde::Serializer>(
    entries: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let count = values.clone().count() as f64;
        let mean = values.clone().sum::<f64>() / count;
        let variance = values.clone().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        Spread {
            mean,
            std: variance.sqrt(),
            min: values.clone().fold(f64::INFINITY, f64::min),
            max: values.fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl Report {
    /// Sums up the episodes, which were played in the environment of `spec`.
    pub fn new(spec: &EnvSpec, episodes: &[Episode]) -> Self {
        let steps: u64 = episodes.iter().map(|episode| episode.episode_length).sum();
        let mut per_episode = Vec::new();
        let mut per_step = Vec::new();
        for (i, metric) in spec.metrics.iter().enumerate() {
            let values = episodes.iter().map(|episode| episode.metrics[i]);
            match metric.aggregate {
                Aggregate::Max | Aggregate::Episode | Aggregate::Running => {
                    per_episode.push((metric.name.clone(), Spread::of(values)));
                }
                Aggregate::Mean => per_step.push((metric.name.clone(), values.sum::<f64>() / steps as f64)),
            }
        }
        for (i, (name, _)) in spec.action_groups.iter().enumerate() {
            let count: f64 = episodes.iter().map(|episode| episode.actions[i]).sum();
            per_step.push((format!("actions/{name}_frac"), count / steps as f64));
        }
        Report {
            episodes: episodes.len(),
            finished: episodes.iter().filter(|episode| episode.finished).count(),
            steps,
            episode_return: Spread::of(episodes.iter().map(|episode| episode.episode_return)),
            episode_length: Spread::of(episodes.iter().map(|episode| episode.episode_length as f64)),
            per_episode,
            per_step,
        }
    }

    /// Episodes that were cut off by the bound on their steps.
    pub fn truncated(&self) -> usize {
        self.episodes - self.finished
    }

    /// The numbers that a run logs of an evaluation: `eval/mean_return` and so on. Which ones depends on the environment
    /// only.
    pub fn metrics(&self) -> Vec<(Metric, f64)> {
        let Spread { mean, std, min, max } = self.episode_return;
        let numbers = [
            ("mean_return", mean, "reward", "mean return of the episodes"),
            ("std_return", std, "reward", "standard deviation of the returns"),
            ("min_return", min, "reward", "lowest return"),
            ("max_return", max, "reward", "highest return"),
            ("mean_length", self.episode_length.mean, "steps", "mean length of the episodes"),
            ("num_episodes", self.episodes as f64, "episodes", "episodes played"),
            ("num_truncated", self.truncated() as f64, "episodes", "episodes cut off after --eval-max-steps"),
        ];
        let per_episode = self.per_episode.iter().map(|(name, spread)| {
            (
                name.as_str(),
                spread.mean,
                "",
                "mean over the episodes of the largest value, or of the last one",
            )
        });
        let per_step =
            self.per_step.iter().map(|(name, value)| (name.as_str(), *value, "", "mean over all steps"));
        let metric = |(name, value, unit, description): (&str, f64, &'static str, &'static str)| {
            let name = format!("eval/{name}").into();
            let description = description.into();
            (
                Metric {
                    name,
                    aggregate: metrics::Aggregate::Mean,
                    unit,
                    description,
                    healthy: None,
                    checks: Vec::new(),
                },
                value,
            )
        };
        numbers.into_iter().chain(per_episode).chain(per_step).map(metric).collect()
    }

    /// The same by name.
    pub fn scalars(&self) -> Vec<(String, f64)> {
        self.metrics().into_iter().map(|(metric, value)| (metric.name.into_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn spreads() {
        let spread = Spread::of([1.0, 3.0].into_iter());
        assert_eq!(spread, Spread { mean: 2.0, std: 1.0, min: 1.0, max: 3.0 });
    }

    #[test]
    fn components_are_per_step_and_maxima_per_episode() {
        let spec = EnvSpec {
            metrics: vec![
                crate::envs::Metric::reward("a", "1", "apple"),
                crate::envs::Metric::record("b", "", "the most"),
            ],
            action_groups: vec![("left", 0..1)],
            ..EnvSpec::new("x", [1], 2)
        };
        let episode = |episode_length, a, b, left| Episode {
            episode_return: 0.5,
            other_returns: Vec::new(),
            episode_length,
            finished: episode_length < 10,
            metrics: vec![a, b],
            actions: vec![left],
        };
        let report = Report::new(&spec, &[episode(2, 1.0, 3.0, 2.0), episode(10, 5.0, 1.0, 4.0)]);
        assert_eq!((report.steps, report.finished), (12, 1));
        assert_eq!(
            report.scalars().into_iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>(),
            [
                "eval/mean_return 0.5",
                "eval/std_return 0",
                "eval/min_return 0.5",
                "eval/max_return 0.5",
                "eval/mean_length 6",
                "eval/num_episodes 2",
                "eval/num_truncated 1",
                "eval/stats/b 2",
                "eval/reward/a 0.5",
                "eval/actions/left_frac 0.5",
            ]
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["per_step"], json!({"reward/a": 0.5, "actions/left_frac": 0.5}));
        assert_eq!(json["stats/b"], json!({"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}));
    }
}
