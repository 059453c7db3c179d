//! Memory: digits are shown one by one, and after a delay they must be said in the same order.
//!
//! After the sanity environments of PufferLib, without the reward that those pay for saying 0 while digits are shown. What is seen in its
//! turn is the same whatever the digits are, so that without memory chance is all there is.

use std::sync::LazyLock;

use crate::lang::{Float, Int, Key, float, int, select, stack};

use super::layout::Layout;
use super::painter::{Color, Painter, Picture, Sketch, tiles};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

/// The most digits.
const MOST: i32 = 16;

pub struct Memory;

#[derive(Clone, Copy)]
pub struct State {
    /// As bits, the first one lowest.
    digits: Int,
    /// Steps taken.
    time: Int,
    /// Digits that were said right.
    right: Float,
}
crate::tree!(State { digits, time, right });

#[derive(Clone, Copy)]
pub struct Params {
    pub length: Int,
    pub delay: Int,
}
crate::tree!(Params { length, delay });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/memory/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    Sketch::boxed(5.0, |frame| {
        let shown = match frame.obs[0] {
            -1.0 => ("?".to_owned(), Color::DarkGray),
            digit => (digit.to_string(), Color::Yellow),
        };
        let facts = vec![format!("said right {:>6}", frame.number("right")).into()];
        Picture { board: vec![tiles([shown])], legend: Vec::new(), facts }
    })
}

/// One digit.
pub(super) const HEALTH: Health = Health { solved_return: Some(0.95), ranges: &[] };

impl Env for Memory {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let perf = Metric::outcome("perf", "share", "1 if all digits were said right");
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("memory", [1], 2) }
    }

    fn default_params(&self) -> Params {
        Params { length: LAYOUT.int("length"), delay: LAYOUT.int("delay") }
    }

    fn reset(&self, _: &Params, key: Key) -> State {
        State { digits: key.integers([], 0..1 << MOST), time: int(0), right: float(0.0) }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        // The action that follows on the last digit is the first one after a delay of 0.
        let turn = s.time - (p.length + p.delay - 1);
        let said = turn.ge(0) & action.eq((s.digits >> turn.maximum(0)) & 1);
        let state = State { time: s.time + 1, right: s.right + said.as_f32(), ..s };
        Step {
            reward: said.as_f32() * LAYOUT.pays("digit"),
            terminated: turn.ge(p.length - 1),
            truncated: None,
            metrics: vec![state.right.eq(p.length.as_f32()).as_f32()],
            state,
        }
    }

    fn observe(&self, p: &Params, s: &State) -> Observation {
        // No shift by more than the digits that there are.
        let digit = (s.digits >> s.time.minimum(MOST)) & 1;
        stack([select(s.time.lt(p.length), digit.as_f32(), -1.0)]).into()
    }
}
