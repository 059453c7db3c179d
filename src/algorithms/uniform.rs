//! No learning at all: uniformly random valid actions, as a run like any other. What a learner must beat, with the same logs, windows and
//! replays.

use std::rc::Rc;

use anyhow::{Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::envs::vector::View;
use crate::envs::{AnyEnv, EnvSpec};
use crate::lang::{Bool, Float, Key, Leaves, float};
use crate::nn::Categorical;

use super::learner::{Algorithm, Inputs, Shared, UpdateTrace, Updated};
use super::metrics::Recorder;
use super::policy::{Actor, Choice, Metadata, Policy, RandomActor};
use super::rollout::{Behavior, Envs, World};
use super::{NamedArrays, Recipe as AnyRecipe};

/// How many environments play, and for how long between two rows of metrics.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Uniform")]
#[group(skip)]
pub struct Settings {
    /// Environments that step in lockstep
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_envs: usize,
    /// Steps of each environment per update
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub num_steps: usize,
}

/// The random play of an environment.
pub struct Uniform {
    settings: Settings,
    env: Rc<dyn AnyEnv>,
}

/// Everything that an update changes.
pub struct State {
    envs: Envs,
    key: Key,
    /// There is nothing to learn.
    params: (),
}
crate::tree!(State { envs, key, params });

/// All actions are equally probable, and nothing is expected of them.
struct AnyAction {
    num_actions: usize,
}

impl Behavior for AnyAction {
    #[track_caller]
    fn decide(&self, carry: Leaves, view: &View, _starts: Option<Bool>) -> (Leaves, Categorical, Float) {
        let logits = Float::full([view.obs.num_rows(), self.num_actions], 0.0);
        (carry, Categorical::new(logits, view.mask), self.value(Leaves::default(), view, None))
    }

    #[track_caller]
    fn value(&self, _carry: Leaves, view: &View, _starts: Option<Bool>) -> Float {
        Float::full([view.obs.num_rows()], 0.0)
    }
}

impl Uniform {
    #[track_caller]
    fn world<'a>(&'a self, inputs: &'a Inputs<()>) -> World<'a> {
        World::of(inputs, &*self.env, self.settings.num_envs, float(1.0))
    }
}

impl Algorithm for Uniform {
    type State = State;
    type Hyper = ();
    type Params = ();

    fn name(&self) -> &'static str {
        <Recipe as AnyRecipe>::NAME
    }

    fn env(&self) -> &dyn AnyEnv {
        &*self.env
    }

    fn timesteps_per_update(&self) -> u64 {
        (self.settings.num_envs * self.settings.num_steps) as u64
    }

    fn hyper(&self) {}

    fn init(&self, inputs: &Inputs<()>, key: Key) -> State {
        let [envs, key] = key.split();
        State { envs: self.world(inputs).reset(envs, Leaves::default()), key, params: () }
    }

    fn update(&self, inputs: &Inputs<()>, State { envs, key, .. }: State) -> Updated<State> {
        let [rollout, key] = key.split();
        let spec = self.env.spec();
        let policy = AnyAction { num_actions: spec.num_actions };
        let (envs, transitions, totals) =
            self.world(inputs).rollout(&policy, envs, rollout, self.settings.num_steps);
        let count = self.settings.num_envs * self.settings.num_steps;
        let mut m = Recorder::new(float(count as f64));
        totals.record(&mut m, &spec, count);
        let trace = UpdateTrace::new().rollout(&[("reward", transitions.reward)]);
        Updated { state: State { envs, key, params: () }, metrics: m, trace }
    }

    fn params<'a>(&self, state: &'a State) -> &'a () {
        &state.params
    }

    fn key<'a>(&self, state: &'a State) -> &'a Key {
        &state.key
    }

    fn share(&self, state: &State, shared: &mut Shared) {
        state.envs.share(shared);
    }

    fn actor(&self) -> Rc<dyn Actor> {
        Rc::new(RandomActor { num_actions: self.env.spec().num_actions })
    }
}

/// How it is made from its settings.
pub enum Recipe {}

impl AnyRecipe for Recipe {
    type Settings = Settings;
    type Algorithm = Uniform;

    const NAME: &'static str = "uniform";
    const SUMMARY: &'static str = "uniformly random valid actions; nothing is learned";
    const FIXED: &'static [&'static str] = &["num_envs", "num_steps"];
    const TRACED: &'static [&'static str] = &[];

    fn num_envs(settings: &Settings) -> usize {
        settings.num_envs
    }

    fn check(settings: &Settings) -> Result<()> {
        for (name, value, most) in
            [("num_envs", settings.num_envs, 1 << 22), ("num_steps", settings.num_steps, 1 << 20)]
        {
            ensure!((1..=most).contains(&value), "{name} is {value}; it must be from 1 to {most}");
        }
        let steps = settings.num_envs * settings.num_steps;
        ensure!(
            steps <= 1 << 30 && steps as f32 as usize == steps,
            "num_envs x num_steps is {steps}; it must be at most {} and, if it is large, a multiple of 64",
            1 << 30
        );
        Ok(())
    }

    fn make(settings: Settings, env: Rc<dyn AnyEnv>) -> Result<Uniform> {
        let EnvSpec { name, players, .. } = env.spec();
        ensure!(players == 1, "{name} is a game for {players}; uniform plays those for one");
        Ok(Uniform { settings, env })
    }

    fn policy(_: NamedArrays, _: &Metadata, _: Choice, spec: &EnvSpec) -> Result<Policy> {
        Ok(Policy::random(spec))
    }
}
