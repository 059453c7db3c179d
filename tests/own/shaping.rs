//! A corridor whose only reward is far away, and a potential that leads there.

use lockstep::envs::{Entry, Env, EnvSpec, Observation, RewardShaping, Step, boxed};
use lockstep::lang::{Float, Int, Key, below, int, select, stack};

/// Cells from the start to the goal.
const LENGTH: i32 = 12;
/// Steps after which an episode is cut off.
const STEPS: i32 = 60;
/// The discount, which is that of the algorithm as well.
const GAMMA: f64 = 0.97;

/// Action 1 goes a cell ahead, action 0 one back; the goal pays 1.
pub struct Corridor;

#[derive(Clone, Copy)]
pub struct State {
    cell: Int,
    time: Int,
}
lockstep::tree!(State { cell, time });

impl Env for Corridor {
    type State = State;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        EnvSpec::new("corridor", [1], 2)
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> State {
        State { cell: below(key.bits([]), int(2)), time: int(0) }
    }
    fn step(&self, _: &(), _: Key, state: State, action: Int) -> Step<State> {
        let cell = (state.cell + action * 2 - 1).maximum(0);
        let (state, found) = (State { cell, time: state.time + 1 }, cell.ge(LENGTH));
        let truncated = Some(state.time.ge(STEPS) & !found);
        Step { state, reward: found.as_f32(), terminated: found, truncated, metrics: vec![] }
    }
    fn observe(&self, _: &(), state: &State) -> Observation {
        stack([progress(state)]).into()
    }
}

/// The share of the way that is done.
fn progress(state: &State) -> Float {
    state.cell.as_f32() / LENGTH as f64
}

/// The corridor with what a step ahead is worth.
pub fn entry() -> Entry {
    let make = || boxed(RewardShaping::by_potential(Corridor, GAMMA, |_, state: &State| progress(state)));
    Entry::new("corridor", "a long way to the goal", make)
}

/// The same by a rule of one's own, which may say anything, and may change what is best: here each step that leads nowhere costs something.
pub fn hurried() -> impl Env {
    RewardShaping::new(Corridor, |_: &(), before: &State, _: Int, step: &Step<State>| {
        select(step.state.cell.gt(before.cell), step.reward, step.reward - 0.1)
    })
}
