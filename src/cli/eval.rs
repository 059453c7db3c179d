//! `lockstep eval`: what a policy achieves, in numbers.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::algorithms::evaluation::{Episode, Evaluator};
use crate::algorithms::policy::Choice;
use crate::config::UsageError;
use crate::envs::{Aggregate, EnvSpec};

use super::player::{Device, Player};
use super::{print, print_line};

/// What to evaluate, and how.
#[derive(Debug, Args)]
struct Eval {
    /// A file of parameters, a directory (its newest file), or `random` for uniformly random valid actions
    #[arg(value_name = "PARAMS")]
    params: String,
    /// Environment [default: the one that the file names; hackmatrix for `random`]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Episodes to play
    #[arg(long, value_name = "N", default_value_t = 128)]
    episodes: usize,
    /// Draw actions with their probabilities instead of taking the most probable one
    #[arg(long)]
    stochastic: bool,
    /// Steps after which an episode is cut off
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_steps: usize,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Bounds that keep a slip of the finger from running for days.
const MAX_EPISODES: usize = 1 << 20;
const MAX_STEPS: usize = 1 << 24;

pub fn command() -> Command {
    Eval::augment_args(Command::new("eval"))
        .about("Evaluate trained parameters, or random play")
        .after_help("Each episode counts once, however long it is. The same seed plays the same episodes.")
}

/// Evaluates and prints.
///
/// # Errors
/// One line; a [`UsageError`] if the numbers make no sense.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let eval = Eval::from_arg_matches(matches)?;
    eval.check().map_err(|error| UsageError(error.to_string()))?;
    let player = eval.player()?;
    let env = (player.env.make)();
    let client = eval.device.open()?;
    let evaluator = Evaluator::new(&client, &*env, &player.policy, eval.episodes)?;
    let started = Instant::now();
    let episodes = evaluator.run(eval.episodes, eval.max_steps, eval.seed)?;
    let report = Report::new(&env.spec(), &episodes);
    if eval.json {
        print_line(eval.to_json(player.env.name, &report, started.elapsed().as_secs_f64())?)
    } else {
        print(&eval.to_text(player.env.name, &report))
    }
}

impl Eval {
    fn check(&self) -> Result<()> {
        let (episodes, steps) = (self.episodes, self.max_steps);
        ensure!(
            (1..=MAX_EPISODES).contains(&episodes),
            "episodes is {episodes}; it must be from 1 to {MAX_EPISODES}"
        );
        ensure!((1..=MAX_STEPS).contains(&steps), "max_steps is {steps}; it must be from 1 to {MAX_STEPS}");
        Ok(())
    }

    fn player(&self) -> Result<Player> {
        let choice = if self.stochastic { Choice::Sample } else { Choice::Greedy };
        Player::named(Path::new(&self.params), self.env.as_deref(), choice)
    }

    /// How actions are chosen, in a word.
    fn choice(&self) -> &'static str {
        match (self.params.as_str(), self.stochastic) {
            ("random", _) => "random",
            (_, true) => "stochastic",
            (_, false) => "greedy",
        }
    }

    fn to_json(&self, env: &str, report: &Report, seconds: f64) -> Result<String> {
        let mut object = Map::new();
        for (key, value) in [
            ("env", json!(env)),
            ("params", json!(self.params)),
            ("choice", json!(self.choice())),
            ("seed", json!(self.seed)),
            ("max_steps", json!(self.max_steps)),
        ] {
            object.insert(key.to_owned(), value);
        }
        if let Value::Object(rest) = serde_json::to_value(report)? {
            object.extend(rest);
        }
        object.insert("seconds".to_owned(), json!(seconds));
        Ok(serde_json::to_string(&object)?)
    }

    fn to_text(&self, env: &str, report: &Report) -> String {
        let Report { episodes, finished, steps, .. } = report;
        let (choice, seed) = (self.choice(), self.seed);
        let mut text =
            format!("{env}, {choice} policy, {episodes} episodes from seed {seed}, {steps} steps\n");
        if finished < episodes {
            text +=
                &format!("{} episodes were cut off after {} steps\n", episodes - finished, self.max_steps);
        }
        text += &format!("\n{:<28}{:>12}{:>12}{:>12}{:>12}\n", "", "mean", "std", "min", "max");
        let returns_and_lengths =
            [("episode_return", &report.episode_return), ("episode_length", &report.episode_length)];
        let highest = report.highest.iter().map(|(name, highest)| (name.as_str(), highest));
        for (name, Spread { mean, std, min, max }) in returns_and_lengths.into_iter().chain(highest) {
            text += &format!("{name:<28}{mean:>12.3}{std:>12.3}{min:>12.3}{max:>12.3}\n");
        }
        if !report.per_step.is_empty() {
            text += &format!("\n{:<28}{:>12}{:>12}\n", "", "per step", "per episode");
        }
        for (name, value) in &report.per_step {
            let per_episode = value * *steps as f64 / *episodes as f64;
            text += &format!("{name:<28}{value:>12.5}{per_episode:>12.3}\n");
        }
        text
    }
}

/// Statistics of the episodes.
#[derive(Debug, Serialize)]
struct Report {
    episodes: usize,
    /// Episodes that ended by themselves.
    finished: usize,
    steps: u64,
    episode_return: Spread,
    episode_length: Spread,
    /// Per episode, the highest value of what is a maximum, such as `stats/highest_stage`.
    #[serde(flatten, serialize_with = "as_map")]
    highest: Vec<(String, Spread)>,
    /// Means over all steps: reward components and shares of the groups of actions.
    #[serde(serialize_with = "as_map")]
    per_step: Vec<(String, f64)>,
}

/// Mean, population standard deviation and range.
#[derive(Debug, PartialEq, Serialize)]
struct Spread {
    mean: f64,
    std: f64,
    min: f64,
    max: f64,
}

fn as_map<T: Serialize, S: serde::Serializer>(
    entries: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
}

impl Spread {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Spread {
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
    fn new(spec: &EnvSpec, episodes: &[Episode]) -> Report {
        let steps: u64 = episodes.iter().map(|episode| episode.episode_length).sum();
        let mut highest = Vec::new();
        let mut per_step = Vec::new();
        for (i, metric) in spec.metrics.iter().enumerate() {
            let values = episodes.iter().map(|episode| episode.metrics[i]);
            match metric.aggregate {
                Aggregate::Max => highest.push((metric.name.clone(), Spread::of(values))),
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
            highest,
            per_step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = Spread::of([1.0, 3.0].into_iter());
        assert_eq!(spread, Spread { mean: 2.0, std: 1.0, min: 1.0, max: 3.0 });
    }

    #[test]
    fn components_are_per_step_and_maxima_per_episode() {
        let spec = EnvSpec {
            name: "x",
            obs_shape: vec![1],
            sparse_obs: false,
            num_actions: 2,
            metrics: vec![
                crate::envs::Metric { name: "reward/a".into(), aggregate: Aggregate::Mean },
                crate::envs::Metric { name: "stats/b".into(), aggregate: Aggregate::Max },
            ],
            action_groups: vec![("left", 0..1)],
        };
        let episode = |episode_length, a, b, left| Episode {
            episode_return: 0.5,
            episode_length,
            finished: episode_length < 10,
            metrics: vec![a, b],
            actions: vec![left],
        };
        let report = Report::new(&spec, &[episode(2, 1.0, 3.0, 2.0), episode(10, 5.0, 1.0, 4.0)]);
        assert_eq!((report.steps, report.finished), (12, 1));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["per_step"], json!({"reward/a": 0.5, "actions/left_frac": 0.5}));
        assert_eq!(json["stats/b"], json!({"mean": 2.0, "std": 1.0, "min": 1.0, "max": 3.0}));
    }
}
