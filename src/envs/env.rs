//! The environment interface: pure functions over arrays, written for one environment.
//!
//! `vmap_last` makes many of them; wrappers add automatic reset, time limits and episode statistics, once for
//! all games. Parameters are traced, so that curricula and sweeps change them without compiling again.
//!
//! What an environment returns is described by its [`EnvSpec`]. The two are compared once, where [`Erased`](super::Erased) hands
//! results to algorithms, so nothing behind it has to check a shape.

use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use crate::lang::{Bool, Float, Int, Key, Packing, Tree, int, rare};

/// A reinforcement-learning environment with discrete actions, for one player or for several who move in turn.
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

    /// The first state in the world of a number (u64), where people know worlds by their numbers; otherwise there are no such worlds.
    fn world(&self, params: &Self::Params, number: Int) -> Option<Self::State> {
        let _ = (params, number);
        None
    }

    /// The first state of the episode that follows the state `ended`. What an environment never reads before it has written it
    /// can be taken from `ended`, which is cheaper than writing it anew; everything else is as after [`reset`](Env::reset).
    fn restart(&self, params: &Self::Params, key: Key, ended: Self::State) -> Self::State {
        let _ = ended;
        self.reset(params, key)
    }

    /// Where `done` holds, the first state of the episode that follows `state`; elsewhere `state` itself. It costs what the environments
    /// that are done cost.
    fn restart_where(&self, done: Bool, params: &Self::Params, key: Key, state: Self::State) -> Self::State {
        rare(done, state, |ended| self.restart(params, key.fold_in(0), ended))
    }

    /// The keys of a step and of the first state that may follow it. Where one of the two draws nothing, the other may have `key` itself.
    fn step_keys(&self, key: Key) -> [Key; 2] {
        key.split()
    }

    /// One step with `action` (an i32 scalar), which is that of the player to move.
    fn step(&self, params: &Self::Params, key: Key, state: Self::State, action: Int) -> Step<Self::State>;

    /// What the player to move sees. Without privileged observations it is an array: `stack([x, y]).into()`.
    fn observe(&self, params: &Self::Params, state: &Self::State) -> Observation;

    /// The number of the player to move, from 0: an i32 scalar.
    fn to_move(&self, params: &Self::Params, state: &Self::State) -> Int {
        let _ = (params, state);
        int(0)
    }

    /// Players that follow a script: to be measured against and, in a game for several, to learn from. A policy that plays for all
    /// players of a game can be made of each. The strongest one comes last.
    fn players(&self) -> Vec<Player> {
        Vec::new()
    }

    /// The game in the mirror, if it is the same game there: the same rules, rewards and chances.
    fn mirror(&self) -> Option<Mirror> {
        None
    }

    /// Which actions the player to move may take, bool\[num_actions\]; `None` if all always are allowed.
    fn action_mask(&self, params: &Self::Params, state: &Self::State) -> Option<Bool> {
        let _ = (params, state);
        None
    }
}

/// What a situation is in the mirror, by places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// For each number of a flattened observation in the mirror, the place where it stands otherwise.
    pub obs: Vec<usize>,
    /// For each action the one that does the same in the mirror; twice mirrored it is itself.
    pub actions: Vec<usize>,
}

/// A player that follows a script.
#[derive(Clone)]
pub struct Player {
    pub name: &'static str,
    /// Its action (an i32 scalar) for what the player to move sees, flattened, and random numbers.
    pub act: Rc<dyn Fn(Float, Key) -> Int>,
}

/// What is seen of a state.
#[derive(Clone, Copy)]
pub struct Observation {
    /// What actions are chosen from: f32 of [`EnvSpec::obs_shape`].
    pub actor: Float,
    /// What only the value function sees, and only in training: f32 of [`EnvSpec::privileged_shape`].
    pub privileged: Option<Float>,
}
crate::tree!(Observation { actor, privileged });

impl From<Float> for Observation {
    fn from(actor: Float) -> Observation {
        Observation { actor, privileged: None }
    }
}

/// The outcome of one step, before any reset.
pub struct Step<S> {
    pub state: S,
    /// f32 scalar; with several players f32\[players\], what the step pays each of them.
    pub reward: Float,
    /// The episode is over: nothing follows this state.
    pub terminated: Bool,
    /// The episode was cut off: its value would have gone on. `None` if this never happens.
    pub truncated: Option<Bool>,
    /// f32 scalars, in the order of [`EnvSpec::metrics`].
    pub metrics: Vec<Float>,
}

impl<S> Step<S> {
    /// What the step pays one player, an f32 scalar.
    #[track_caller]
    pub fn reward_of(&self, player: usize) -> Float {
        if self.reward.rank() == 0 { self.reward } else { self.reward.index(0, player) }
    }
}

/// What is fixed about an environment. [`EnvSpec::new`] has the rest empty.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvSpec {
    pub name: &'static str,
    /// Players, of whom one moves in each step: [`Env::to_move`].
    pub players: usize,
    /// The shape of an observation, of any rank: `[4]`, `[10, 10]`, `[8, 8, 12]`.
    pub obs_shape: Vec<usize>,
    /// The shape of a privileged observation, if there are any.
    pub privileged_shape: Option<Vec<usize>>,
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
    /// Where steps take more or less time: what says how much. Without, each takes one tick.
    pub clock: Option<Clock>,
}

/// The time that steps take, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The metric that says how long a step took: a whole number, at least 1.
    pub metric: &'static str,
    /// The most ticks of a step.
    pub most: u64,
}

impl EnvSpec {
    /// An environment for one player, with nothing to report but its rewards.
    pub fn new(name: &'static str, obs_shape: impl Into<Vec<usize>>, num_actions: usize) -> EnvSpec {
        EnvSpec {
            name,
            players: 1,
            obs_shape: obs_shape.into(),
            privileged_shape: None,
            sparse_obs: false,
            flags: Vec::new(),
            num_actions,
            metrics: Vec::new(),
            action_groups: Vec::new(),
            clock: None,
        }
    }

    /// What in this spec cannot be, in one line.
    ///
    /// # Errors
    /// The first such thing.
    pub fn check(&self) -> Result<(), String> {
        let (name, size, actions) = (self.name, self.obs_size(), self.num_actions);
        let fail = |problem: String| Err(format!("{name}: spec().{problem}"));
        if self.players == 0 {
            return fail("players is 0; it must be at least 1".into());
        }
        if actions == 0 {
            return fail("num_actions is 0; it must be at least 1".into());
        }
        let shapes =
            [("obs_shape", Some(&self.obs_shape)), ("privileged_shape", self.privileged_shape.as_ref())];
        for (field, shape) in shapes {
            if let Some(shape) = shape.filter(|shape| shape.contains(&0)) {
                return fail(format!("{field} is {shape:?}, which holds no numbers"));
            }
        }
        let mut flags = HashSet::new();
        for flag in self.flags.iter().cloned().flatten() {
            if flag >= size {
                return fail(format!("flags names feature {flag}; an observation has {size}"));
            }
            if !flags.insert(flag) {
                return fail(format!("flags names feature {flag} twice"));
            }
        }
        for (group, range) in &self.action_groups {
            if range.end > actions {
                return fail(format!("action_groups: `{group}` is {range:?}; there are {actions} actions"));
            }
        }
        if let Some(Clock { metric, most }) = self.clock {
            if self.metrics.iter().all(|other| other.name != metric) {
                return fail(format!("clock names the metric `{metric}`, which is not among metrics"));
            }
            if most == 0 {
                return fail("clock.most is 0; a step takes at least one tick".into());
            }
        }
        let mut names = HashSet::new();
        match self.metrics.iter().find(|metric| !names.insert(&metric.name)) {
            Some(metric) => fail(format!("metrics names `{}` twice", metric.name)),
            None => Ok(()),
        }
    }

    /// Numbers in one privileged observation; 0 if there are none.
    pub fn privileged_size(&self) -> usize {
        self.privileged_shape.as_ref().map_or(0, |shape| shape.iter().product())
    }

    /// Numbers in one observation.
    pub fn obs_size(&self) -> usize {
        self.obs_shape.iter().product()
    }

    /// The place of the metric that says how long a step took, if there is a clock.
    pub fn clock_column(&self) -> Option<usize> {
        let Clock { metric, .. } = self.clock?;
        self.metrics.iter().position(|other| other.name == metric)
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
    /// What it is counted in; empty for a number without a unit.
    pub unit: &'static str,
    /// What it means, in one phrase.
    pub description: String,
}

impl Metric {
    /// A part of the reward of a step, `reward/NAME`, whose mean over steps is reported: it pays so much per something.
    pub fn reward(name: &str, pays: &str, per: &str) -> Metric {
        let description = format!("part of the mean reward of a step: {pays} per {per}");
        Metric { name: format!("reward/{name}"), aggregate: Aggregate::Mean, unit: "reward", description }
    }

    /// How well an episode went, `stats/NAME`: what the step reports that ends it; the mean over the episodes is reported.
    pub fn outcome(name: &str, unit: &'static str, description: &str) -> Metric {
        let (name, description) = (format!("stats/{name}"), description.to_owned());
        Metric { name, aggregate: Aggregate::Episode, unit, description }
    }

    /// A record, `stats/NAME`: the largest value of all steps is reported.
    pub fn record(name: &str, unit: &'static str, description: &str) -> Metric {
        let (name, description) = (format!("stats/{name}"), description.to_owned());
        Metric { name, aggregate: Aggregate::Max, unit, description }
    }
}

/// How a metric is combined over steps, environments and updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Mean,
    Max,
    /// What it is in the last step of an episode counts; the mean over the episodes that ended.
    Episode,
    /// A running value of the episode, such as credits: training reports the mean over steps, an evaluation what it is in the last step.
    Running,
}
