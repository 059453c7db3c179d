//! A learner of plain arithmetic, which can go wrong in all the ways that a run must survive.

use std::fs;
use std::path::Path;

use crate::algorithms::evaluation::{Episode, Plan};
use crate::algorithms::metrics::{Aggregate, EPISODE_RETURN, EPISODES, TIMESTEPS};
use crate::algorithms::{Learner, Metric, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;

/// A learner whose state is scrambled deterministically in each update.
pub struct Fake {
    pub metrics: Vec<Metric>,
    pub weights: Vec<f32>,
    pub count: u64,
    pub key: Vec<u32>,
    /// The update that fails to give a number, unless the key has been changed.
    pub poisoned: u64,
    /// Whether its own metrics do not show it yet.
    pub late: bool,
    /// The device fails after so many updates.
    pub breaks_after: u64,
    pub max_updates: usize,
    /// More state, for large checkpoints.
    pub ballast: Vec<f32>,
    pub spec: EnvSpec,
    /// Called before each chunk with the number of updates done.
    pub before_chunk: Box<dyn FnMut(u64)>,
    /// Called in the middle of each evaluation with the number of updates done.
    pub while_evaluating: Box<dyn Fn(u64)>,
}

/// Timesteps, entropy, episodes, return and highest stage.
pub fn metrics() -> Vec<Metric> {
    let columns = [
        (TIMESTEPS, Aggregate::Sum),
        ("train/entropy", Aggregate::Mean),
        (EPISODES, Aggregate::Sum),
        (EPISODE_RETURN, Aggregate::EpisodeMean),
        ("stats/highest_stage", Aggregate::Max),
    ];
    let metric = |(name, aggregate): (&'static str, Aggregate)| Metric {
        name: name.into(),
        aggregate,
        unit: "",
        description: "".into(),
        healthy: None,
        checks: Vec::new(),
    };
    columns.map(metric).to_vec()
}

impl Fake {
    pub fn new() -> Self {
        Self {
            metrics: metrics(),
            weights: (0..64).map(|i| i as f32 / 7.0).collect(),
            count: 0,
            key: vec![1, 2],
            poisoned: u64::MAX,
            late: false,
            breaks_after: u64::MAX,
            max_updates: 1000,
            ballast: Vec::new(),
            spec: EnvSpec::new("fake", [1], 2),
            before_chunk: Box::new(|_| {}),
            while_evaluating: Box::new(|_| {}),
        }
    }

    pub fn with_max_updates(max_updates: usize) -> Self {
        Self { max_updates, ..Self::new() }
    }

    pub fn with_ballast() -> Self {
        Self { ballast: vec![0.5; 1 << 16], ..Self::new() }
    }

    /// With the run of [`settings`] in `dir`: asks it to end after `update` updates.
    pub fn stopping_at(self, update: u64, dir: &Path) -> Self {
        let stop_file = dir.join("run/stop");
        let stop = move |done| {
            if done + 1 == update {
                fs::write(&stop_file, "").unwrap();
            }
        };
        Self { max_updates: 1, ..self }.before_chunk(stop)
    }

    pub fn before_chunk(mut self, hook: impl FnMut(u64) + 'static) -> Self {
        self.before_chunk = Box::new(hook);
        self
    }

    pub fn update(&mut self) -> Vec<f32> {
        self.count += 1;
        let count = self.count as f32;
        for (i, weight) in self.weights.iter_mut().enumerate() {
            *weight = (*weight * 1.1 + count + i as f32).sin();
        }
        let poisoned = self.count == self.poisoned && self.key == [1, 2];
        let healthy_sum: f32 = self.weights.iter().sum();
        if poisoned {
            self.weights.fill(f32::NAN);
        }
        if poisoned && self.late {
            return vec![100.0, healthy_sum / 64.0, 1.0, 0.0, 0.0];
        }
        let sum: f32 = self.weights.iter().sum();
        vec![100.0, sum / 64.0, (self.count % 3) as f32, self.weights[0], (self.count % 7) as f32]
    }
}

impl Learner for Fake {
    fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
    fn max_updates(&self) -> usize {
        self.max_updates
    }
    fn timesteps_per_update(&self) -> u64 {
        100
    }
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        (self.before_chunk)(self.count);
        assert!((1..=self.max_updates).contains(&updates));
        anyhow::ensure!(self.count + updates as u64 <= self.breaks_after, "the device is gone");
        Ok((0..updates).map(|_| self.update()).collect())
    }
    fn state(&self) -> anyhow::Result<NamedArrays> {
        let mut state = vec![
            ("params.weight".into(), HostArray::new(&[8, 8], self.weights.clone())),
            ("count".into(), HostArray::scalar(self.count)),
            ("key".into(), HostArray::new(&[2], self.key.clone())),
        ];
        if !self.ballast.is_empty() {
            state.push(("ballast".into(), HostArray::new(&[self.ballast.len()], self.ballast.clone())));
        }
        Ok(state)
    }
    fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()> {
        self.weights = state[0].1.as_slice().to_vec();
        self.count = state[1].1.as_slice()[0];
        self.key = state[2].1.as_slice().to_vec();
        Ok(())
    }
    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.state().unwrap().into_iter().map(|(name, array)| (name, array.array_type())).collect()
    }
    fn reseed(&mut self, attempt: u32) -> anyhow::Result<()> {
        self.key[1] ^= attempt;
        Ok(())
    }
    fn params(&self) -> anyhow::Result<NamedArrays> {
        Ok(self.state()?.into_iter().take(1).collect())
    }
    fn params_metadata(&self) -> Vec<(String, String)> {
        vec![("env".into(), "fake".into()), ("hidden_dim".into(), "8".into())]
    }
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }
    /// Returns about the first weight; the length is the number of the episode.
    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> anyhow::Result<Option<Vec<Episode>>> {
        (self.while_evaluating)(self.count);
        if !go_on() {
            return Ok(None);
        }
        let episode = |number: usize| Episode {
            episode_return: f64::from(self.weights[0]) + (plan.seed % 1000 + number as u64) as f64 / 1e6,
            other_returns: Vec::new(),
            episode_length: (number as u64 + 1).min(plan.max_steps as u64),
            finished: number < plan.max_steps,
            metrics: Vec::new(),
            actions: Vec::new(),
        };
        Ok(Some((0..plan.episodes).map(episode).collect()))
    }
}
