//! Stochastic: two actions, of which the first one should be taken with the probability `p`, and nothing to see.
//!
//! After the sanity environments of PufferLib. The best policy is one that draws its actions; any that always takes the same one fails, and
//! so does the most probable action of the best one. A policy with a memory could count instead, so it must have none.

use std::sync::LazyLock;

use crate::lang::{Float, Int, Key, float, int, stack};

use super::layout::Layout;
use super::painter::{Color, Line, Painter, Picture, Sketch, Style};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

pub struct Stochastic;

#[derive(Clone, Copy)]
pub struct State {
    zeros: Int,
    /// Steps taken.
    time: Int,
}
crate::tree!(State { zeros, time });

#[derive(Clone, Copy)]
pub struct Params {
    p: Float,
    horizon: Int,
}
crate::tree!(Params { p, horizon });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/stochastic/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    /// Columns for a share of 1.
    const WIDTH: f64 = 40.0;
    Sketch::boxed(50.0, |frame| {
        let (zeros, time) = (frame.number("zeros"), frame.number("time"));
        let share = zeros / time.max(1.0);
        let bar = Line::styled("█".repeat((share * WIDTH).round() as usize), Style::new().fg(Color::Yellow));
        let facts =
            vec![format!("share of zeros {share:>8.3}").into(), format!("steps          {time:>8}").into()];
        Picture { board: vec![bar], legend: Vec::new(), facts }
    })
}

/// Returns depend on the horizon.
pub(super) const HEALTH: Health = Health::UNKNOWN;

impl Env for Stochastic {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let meaning = "1 - (p - share of zeros)^2 at the end of the episode; 0.99 is a share within 0.1 of p";
        let perf = Metric::outcome("perf", "share", meaning);
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("stochastic", [1], 2) }
    }

    fn default_params(&self) -> Params {
        Params { p: LAYOUT.float("p"), horizon: LAYOUT.int("horizon") }
    }

    fn reset(&self, _: &Params, _key: Key) -> State {
        State { zeros: int(0), time: int(0) }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        let is_zero = action.eq(0);
        let state = State { zeros: s.zeros + is_zero.as_i32(), time: s.time + 1 };
        let share = state.zeros.as_f32() / state.time.as_f32();
        let nearness = 1.0 - (p.p - share).square();
        let few = share.lt(p.p);
        let belongs = (is_zero & few) | (!is_zero & !few);
        Step {
            reward: belongs.as_f32() * nearness * LAYOUT.pays("nearness"),
            terminated: state.time.ge(p.horizon),
            truncated: None,
            metrics: vec![nearness],
            state,
        }
    }

    fn observe(&self, _: &Params, _state: &State) -> Observation {
        stack([float(0.0)]).into()
    }
}
