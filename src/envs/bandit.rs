//! Bandit: one of four arms pays, the same one in every episode, and an episode is one pull.
//!
//! After the sanity environments of PufferLib: what learns from rewards at all learns this. With `reward_noise` it must average over them.

use std::sync::LazyLock;

use crate::lang::{Float, Int, Key, boolean, float, int, select, stack};

use super::layout::Layout;
use super::painter::{Color, Painter, Picture, Sketch, tiles};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

const ARMS: usize = 4;

pub struct Bandit;

/// The arm that was pulled last, -1 before the first one.
#[derive(Clone, Copy)]
pub struct State {
    pulled: Int,
}
crate::tree!(State { pulled });

#[derive(Clone, Copy)]
pub struct Params {
    solution: Int,
    reward_scale: Float,
    /// A standard deviation.
    reward_noise: Float,
}
crate::tree!(Params { solution, reward_scale, reward_noise });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/bandit/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    Sketch::boxed(5.0, |frame| {
        let pulled = frame.number("pulled");
        let arm = |arm: usize| {
            (arm.to_string(), if pulled == arm as f64 { Color::Yellow } else { Color::DarkGray })
        };
        Picture { board: vec![tiles((0..ARMS).map(arm))], legend: Vec::new(), facts: Vec::new() }
    })
}

pub(super) const HEALTH: Health = Health { solved_return: Some(0.95), ranges: &[] };

impl Env for Bandit {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let perf = Metric::outcome("perf", "share", "1 if the arm that pays was pulled");
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("bandit", [1], ARMS) }
    }

    fn default_params(&self) -> Params {
        Params {
            solution: LAYOUT.int("solution"),
            reward_scale: LAYOUT.float("reward_scale"),
            reward_noise: LAYOUT.float("reward_noise"),
        }
    }

    fn reset(&self, _: &Params, _key: Key) -> State {
        State { pulled: int(-1) }
    }

    fn step(&self, p: &Params, key: Key, _state: State, action: Int) -> Step<State> {
        let solved = action.eq(p.solution);
        let paid = select(solved, LAYOUT.pays("solution"), float(0.0));
        Step {
            reward: (paid + p.reward_noise * key.normal([])) * p.reward_scale,
            terminated: boolean(true),
            truncated: None,
            metrics: vec![solved.as_f32()],
            state: State { pulled: action },
        }
    }

    fn observe(&self, _: &Params, _state: &State) -> Observation {
        stack([float(1.0)]).into()
    }
}
