//! Password: five binary digits are guessed one by one, and only at the end it is said, by a reward, whether all of them are right.
//!
//! After the sanity environments of PufferLib. Whoever settles on a policy before the first reward never finds it; whoever does not
//! make much of the few rewards at first forgets them. The digits that were guessed are seen, so that no memory is needed.

use std::sync::LazyLock;

use crate::lang::{Int, Key, arange, float, int, select};

use super::layout::Layout;
use super::painter::{Color, Painter, Picture, Sketch, tiles};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

const DIGITS: usize = 5;

pub struct Password;

#[derive(Clone, Copy)]
pub struct State {
    /// Digits as bits, the first one lowest.
    guesses: Int,
    /// Digits that were guessed.
    time: Int,
}
crate::tree!(State { guesses, time });

#[derive(Clone, Copy)]
pub struct Params {
    /// Digits as bits, the first one lowest.
    password: Int,
}
crate::tree!(Params { password });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/password/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    Sketch::boxed(5.0, |frame| {
        let digit = |guess: &f32| match *guess {
            -1.0 => ("?".to_owned(), Color::DarkGray),
            digit => (digit.to_string(), Color::Yellow),
        };
        Picture { board: vec![tiles(frame.obs.iter().map(digit))], legend: Vec::new(), facts: Vec::new() }
    })
}

pub(super) const HEALTH: Health = Health { solved_return: Some(0.95), ranges: &[] };

impl Env for Password {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let perf = Metric::outcome("perf", "share", "1 if all digits were right");
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("password", [DIGITS], 2) }
    }

    fn default_params(&self) -> Params {
        Params { password: LAYOUT.int("password") }
    }

    fn reset(&self, _: &Params, _key: Key) -> State {
        State { guesses: int(0), time: int(0) }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        let state = State { guesses: s.guesses | (action << s.time), time: s.time + 1 };
        let over = state.time.ge(DIGITS as i32);
        let right = (over & state.guesses.eq(p.password)).as_f32();
        Step {
            reward: right * LAYOUT.pays("password"),
            terminated: over,
            truncated: None,
            metrics: vec![right],
            state,
        }
    }

    fn observe(&self, _: &Params, s: &State) -> Observation {
        let digits = arange(DIGITS);
        let guesses = ((s.guesses >> digits) & 1).as_f32();
        select(digits.lt(s.time), guesses, float(-1.0)).into()
    }
}
