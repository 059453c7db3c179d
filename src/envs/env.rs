//! The environment interface: pure functions over arrays, written for one environment.
//!
//! `vmap_last` makes many of them; wrappers add automatic reset, time limits and episode statistics, once for
//! all games. Parameters are traced, so that curricula and sweeps change them without compiling again.

use std::ops::Range;

use crate::lang::{Bool, Float, Int, Key, Packing, Tree};

/// A reinforcement-learning environment with discrete actions.
pub trait Env {
    type State: Tree;
    /// Numbers that may change between runs of a program without compiling it again.
    type Params: Tree;

    fn spec(&self) -> EnvSpec;

    fn default_params(&self) -> Self::Params;

    /// The parameters of each phase of a curriculum, from an easy game to the one of [`default_params`](Env::default_params);
    /// none if there is no curriculum.
    fn phases(&self) -> Vec<Self::Params> {
        Vec::new()
    }

    /// The first state of an episode.
    fn reset(&self, params: &Self::Params, key: Key) -> Self::State;

    /// The first state of the episode that follows the state `ended`. What an environment never reads before it has written it
    /// can be taken from `ended`, which is cheaper than writing it anew; everything else is as after [`reset`](Env::reset).
    fn restart(&self, params: &Self::Params, key: Key, ended: Self::State) -> Self::State {
        let _ = ended;
        self.reset(params, key)
    }

    /// One step with `action` (an i32 scalar).
    fn step(&self, params: &Self::Params, key: Key, state: Self::State, action: Int) -> Step<Self::State>;

    /// What the agent sees: f32 of the spec's observation shape.
    fn observe(&self, params: &Self::Params, state: &Self::State) -> Float;

    /// Which actions are allowed, bool\[num_actions\]; `None` if all always are.
    fn action_mask(&self, params: &Self::Params, state: &Self::State) -> Option<Bool> {
        let _ = (params, state);
        None
    }
}

/// The outcome of one step, before any reset.
pub struct Step<S> {
    pub state: S,
    /// f32 scalar.
    pub reward: Float,
    /// The episode is over: nothing follows this state.
    pub terminated: Bool,
    /// The episode was cut off: its value would have gone on. `None` if this never happens.
    pub truncated: Option<Bool>,
    /// f32 scalars, in the order of [`EnvSpec::metrics`].
    pub metrics: Vec<Float>,
}

/// What is fixed about an environment.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvSpec {
    pub name: &'static str,
    pub obs_shape: Vec<usize>,
    /// Whether most numbers of an observation are zero, nine of ten or more: then networks skip the zeros.
    pub sparse_obs: bool,
    /// Features of a flattened observation that are only ever 0 or 1: a rollout keeps a bit of each. Worth it for dozens of them;
    /// none is always right.
    pub flags: Vec<Range<usize>>,
    pub num_actions: usize,
    /// What every step reports.
    pub metrics: Vec<Metric>,
    /// Names and ranges of actions whose shares are reported, such as `move` for 0..4; empty for none.
    pub action_groups: Vec<(&'static str, Range<usize>)>,
}

impl EnvSpec {
    /// Numbers in one observation.
    pub fn obs_size(&self) -> usize {
        self.obs_shape.iter().product()
    }

    /// How observations are packed, if they are.
    pub fn packing(&self) -> Option<Packing> {
        (!self.flags.is_empty()).then(|| Packing::new(self.obs_size(), &self.flags))
    }
}

/// A number that every step reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// As in logs: `reward/kills`, `stats/highest_stage`.
    pub name: String,
    pub aggregate: Aggregate,
}

/// How a metric is combined over steps, environments and updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Mean,
    Max,
}
