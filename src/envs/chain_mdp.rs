//! Chain: a row of states; the first one, which is near, pays a little, the last one, which is far, much.
//!
//! The rules are those of PufferLib's environment of this name, after the chain of Osband et al. (2016), "Deep exploration via bootstrapped
//! DQN". With more states it becomes hard quickly: random play must go a long way before it sees the large reward.

use std::sync::LazyLock;

use crate::lang::{Int, Key, float, int, select, stack};

use super::layout::Layout;
use super::painter::{Color, Painter, Picture, Sketch, tiles};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

/// Steps of an episode beyond those for each state.
const MORE_STEPS: i32 = 9;

pub struct ChainMdp;

#[derive(Clone, Copy)]
pub struct State {
    /// From 0.
    place: Int,
    /// Steps taken.
    time: Int,
}
crate::tree!(State { place, time });

#[derive(Clone, Copy)]
pub struct Params {
    /// States of the chain.
    size: Int,
}
crate::tree!(Params { size });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/chain_mdp/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    let sketch = Sketch::new(5.0, |frame| {
        let place = frame.number("place");
        let facts =
            vec![format!("state {place:>6}").into(), format!("steps {:>6}", frame.number("time")).into()];
        let before = (0..place as usize).map(|_| ("·".to_owned(), Color::DarkGray));
        let board = vec![tiles(before.chain([("@".to_owned(), Color::LightBlue)]))];
        Picture { board, legend: Vec::new(), facts }
    });
    Box::new(sketch.with_moves(&[[-1, 0], [1, 0]]))
}

/// With 10 states, who goes to the last one without a detour has 12.
pub(super) const HEALTH: Health = Health { solved_return: Some(11.0), ranges: &[] };

impl Env for ChainMdp {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let perf = Metric::outcome("perf", "share", "1 if the episode ended in the last state");
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("chain_mdp", [1], 2) }
    }

    fn default_params(&self) -> Params {
        Params { size: LAYOUT.int("size") }
    }

    fn reset(&self, _: &Params, _key: Key) -> State {
        State { place: int(1), time: int(0) }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        let place = (s.place + action * 2 - 1).clamp(0, p.size - 1);
        let state = State { place, time: s.time + 1 };
        let is_last = place.eq(p.size - 1);
        let first = select(place.eq(0), LAYOUT.pays("first"), float(0.0));
        Step {
            reward: select(is_last, LAYOUT.pays("last"), first),
            terminated: state.time.ge(p.size + MORE_STEPS),
            truncated: None,
            metrics: vec![is_last.as_f32()],
            state,
        }
    }

    fn observe(&self, _: &Params, s: &State) -> Observation {
        stack([s.place.as_f32()]).into()
    }
}
