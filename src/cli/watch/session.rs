//! Episodes one after the other, and all that there is to see of them.

use std::fmt;

use anyhow::Result;

use crate::algorithms::playback::{Moment, Outcome, Playback};
use crate::algorithms::policy::Choice;
use crate::envs::{Aggregate, Description, Entry, EnvSpec};

/// Plays episodes of one policy.
pub struct Session {
    playback: Playback,
    seed: u64,
    max_steps: usize,
    scene: Scene,
    results: Vec<Finished>,
    /// Whether actions are chosen in the other way than the policy does.
    chooses_otherwise: bool,
}

/// What there is to see before a step, or after the last one.
pub struct Scene {
    pub spec: EnvSpec,
    pub description: Description,
    /// Counted from 0.
    pub episode: usize,
    pub episodes: usize,
    /// Steps of this episode.
    pub steps: usize,
    pub moment: Moment,
    /// The action that led here, and what came of it.
    pub last: Option<(usize, Outcome)>,
    pub episode_return: f64,
    /// In the order of the spec's metrics: sums over the episode, or maxima.
    pub totals: Vec<f64>,
    /// How the episode ended, once it has.
    pub end: Option<End>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Terminated,
    Truncated,
    /// By the bound on its steps.
    CutOff,
}

/// An episode that is over.
#[derive(Clone, Debug)]
pub struct Finished {
    pub episode_return: f64,
    pub episode_length: usize,
    /// Metrics of which the highest or the last value counts, such as `highest_stage`.
    pub outcomes: Vec<(String, f64)>,
}

/// A part of the reward: in the last step, and summed over the episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Paid {
    pub name: String,
    pub last: f32,
    pub sum: f64,
}

impl Session {
    pub fn new(
        mut playback: Playback,
        env: &Entry,
        seed: u64,
        episodes: usize,
        max_steps: usize,
    ) -> Result<Session> {
        let spec = env.build().spec();
        let scene = Scene {
            totals: Scene::no_totals(&spec),
            spec,
            description: env.description(),
            episode: 0,
            episodes,
            steps: 0,
            moment: playback.begin(seed, 0)?,
            last: None,
            episode_return: 0.0,
            end: None,
        };
        Ok(Session { playback, seed, max_steps, scene, results: Vec::new(), chooses_otherwise: false })
    }

    pub fn scene(&self) -> &Scene {
        &self.scene
    }

    /// The episodes that are over.
    pub fn results(&self) -> &[Finished] {
        &self.results
    }

    /// Whether the last episode is over.
    pub fn is_over(&self) -> bool {
        self.scene.end.is_some() && self.scene.episode + 1 == self.scene.episodes
    }

    /// Chooses actions in the other way from now on: draws them instead of taking the most probable ones, or the other way round.
    pub fn choose_otherwise(&mut self) {
        self.chooses_otherwise = !self.chooses_otherwise;
        self.scene.moment.swap_actions();
    }

    /// How actions are chosen now.
    pub fn choice(&self) -> Choice {
        let choice = self.playback.choice();
        if self.chooses_otherwise { choice.other() } else { choice }
    }

    /// Takes one step, or begins the next episode. Does nothing when all are over.
    pub fn advance(&mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        if self.scene.end.is_some() { self.next_episode() } else { self.step() }
    }

    fn next_episode(&mut self) -> Result<()> {
        let scene = &mut self.scene;
        scene.episode += 1;
        scene.moment = self.playback.begin(self.seed, scene.episode)?;
        if self.chooses_otherwise {
            scene.moment.swap_actions();
        }
        scene.totals = Scene::no_totals(&scene.spec);
        (scene.steps, scene.episode_return, scene.last, scene.end) = (0, 0.0, None, None);
        Ok(())
    }

    fn step(&mut self) -> Result<()> {
        let (outcome, mut moment) = self.playback.take(self.scene.moment.action)?;
        if self.chooses_otherwise {
            moment.swap_actions();
        }
        let scene = &mut self.scene;
        scene.steps += 1;
        scene.episode_return += f64::from(outcome.reward);
        let values = scene.spec.metrics.iter().zip(&outcome.metrics);
        for (total, (metric, &value)) in scene.totals.iter_mut().zip(values) {
            *total = match metric.aggregate {
                Aggregate::Mean => *total + f64::from(value),
                Aggregate::Max => total.max(f64::from(value)),
                Aggregate::Episode | Aggregate::Running => f64::from(value),
            };
        }
        scene.end = match &outcome {
            Outcome { terminated: true, .. } => Some(End::Terminated),
            Outcome { truncated: true, .. } => Some(End::Truncated),
            _ if scene.steps >= self.max_steps => Some(End::CutOff),
            _ => None,
        };
        scene.last = Some((scene.moment.action, outcome));
        scene.moment = moment;
        if scene.end.is_some() {
            self.results.push(scene.finished());
        }
        Ok(())
    }
}

impl Scene {
    fn no_totals(spec: &EnvSpec) -> Vec<f64> {
        let start = |aggregate| match aggregate {
            Aggregate::Mean | Aggregate::Episode | Aggregate::Running => 0.0,
            Aggregate::Max => f64::NEG_INFINITY,
        };
        spec.metrics.iter().map(|metric| start(metric.aggregate)).collect()
    }

    fn finished(&self) -> Finished {
        let metrics = self.spec.metrics.iter().zip(&self.totals);
        let told = metrics.filter(|(metric, _)| metric.aggregate != Aggregate::Mean);
        Finished {
            episode_return: self.episode_return,
            episode_length: self.steps,
            outcomes: told
                .map(|(metric, &value)| (metric.name.trim_start_matches("stats/").to_owned(), value))
                .collect(),
        }
    }

    /// The parts of the reward, if the environment reports any.
    pub fn rewards(&self) -> Vec<Paid> {
        let last = self.last.as_ref().map(|(_, outcome)| outcome);
        let part = |(i, name): (usize, &str)| Paid {
            name: name.to_owned(),
            last: last.map_or(0.0, |outcome| outcome.metrics[i]),
            sum: self.totals[i],
        };
        let named = self.spec.metrics.iter().enumerate();
        named.filter_map(|(i, metric)| Some((i, metric.name.strip_prefix("reward/")?))).map(part).collect()
    }

    /// The whole reward.
    pub fn total(&self) -> Paid {
        let last = self.last.as_ref().map_or(0.0, |(_, outcome)| outcome.reward);
        Paid { name: "reward".into(), last, sum: self.episode_return }
    }

    /// The actions that are possible with their probabilities, the most probable first.
    pub fn choices(&self) -> Vec<(usize, f32)> {
        let probs = self.moment.probs.iter().copied().enumerate();
        let mut choices: Vec<(usize, f32)> = probs.filter(|(_, p)| *p > 0.0).collect();
        choices.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        choices
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Terminated => "terminated",
            End::Truncated => "truncated",
            End::CutOff => "cut off",
        })
    }
}
