//! Squared: on a grid the agent goes from the middle to a target, before its time is over and without leaving the grid.
//!
//! The rules are those of PufferLib's environment of this name.

use std::sync::LazyLock;

use crate::lang::{Int, Key, arange, below, constant, float, int, select};

use super::layout::Layout;
use super::painter::{Color, Line, Painter, Picture, Sketch, tiles};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

/// Rows and columns of what is seen.
const SIDE: usize = 11;
/// Steps of an episode for each row.
const STEPS_PER_ROW: i32 = 3;
/// Columns to the right and rows down of each action.
const MOVES: [[i32; 2]; 5] = [[0, 0], [0, 1], [0, -1], [-1, 0], [1, 0]];

pub struct Squared;

/// Places are rows and columns, the targets too.
#[derive(Clone, Copy)]
pub struct State {
    row: Int,
    column: Int,
    target_row: Int,
    target_column: Int,
    /// Steps taken.
    time: Int,
}
crate::tree!(State { row, column, target_row, target_column, time });

#[derive(Clone, Copy)]
pub struct Params {
    /// Rows and columns of the grid.
    size: Int,
}
crate::tree!(Params { size });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/squared/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    let sketch = Sketch::new(5.0, |frame| {
        let cell = |cell: &f32| match *cell {
            1.0 => ("@".to_owned(), Color::LightBlue),
            2.0 => ("X".to_owned(), Color::LightRed),
            _ => ("·".to_owned(), Color::DarkGray),
        };
        let board: Vec<Line> = frame.obs.chunks(SIDE).map(|row| tiles(row.iter().map(cell))).collect();
        let facts = vec![format!("steps {:>6}", frame.number("time")).into()];
        Picture { board, legend: Vec::new(), facts }
    });
    Box::new(sketch.with_moves(&MOVES))
}

/// Nine episodes in ten that end on the target.
pub(super) const HEALTH: Health = Health { solved_return: Some(0.8), ranges: &[] };

impl Env for Squared {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let perf = Metric::outcome("perf", "share", "1 if the episode ended on the target");
        EnvSpec { metrics: vec![perf], ..EnvSpec::new("squared", [SIDE * SIDE], MOVES.len()) }
    }

    fn default_params(&self) -> Params {
        Params { size: LAYOUT.int("size") }
    }

    fn reset(&self, p: &Params, key: Key) -> State {
        let middle = p.size / 2;
        let cells = p.size * p.size;
        // All cells but that of the agent are as probable.
        let cell = below(key.bits([]), cells - 1);
        let cell = cell + cell.ge(middle * p.size + middle).as_i32();
        State {
            row: middle,
            column: middle,
            target_row: cell / p.size,
            target_column: cell % p.size,
            time: int(0),
        }
    }

    fn step(&self, p: &Params, _key: Key, s: State, action: Int) -> Step<State> {
        let change = |axis: usize| -> Int { constant(MOVES.map(|change| change[axis])).at(action).get() };
        let state = State { row: s.row + change(1), column: s.column + change(0), time: s.time + 1, ..s };
        let inside = state.row.ge(0) & state.column.ge(0) & state.row.lt(p.size) & state.column.lt(p.size);
        let lost = !inside | state.time.gt(p.size * STEPS_PER_ROW);
        let found = state.row.eq(state.target_row) & state.column.eq(state.target_column) & !lost;
        let paid = select(found, LAYOUT.pays("target"), float(0.0));
        Step {
            reward: select(lost, LAYOUT.pays("lost"), paid),
            terminated: lost | found,
            truncated: None,
            metrics: vec![found.as_f32()],
            state,
        }
    }

    fn observe(&self, _: &Params, s: &State) -> Observation {
        let place = arange(SIDE * SIDE);
        let [row, column] = [place / SIDE as i32, place % SIDE as i32];
        let agent = row.eq(s.row) & column.eq(s.column);
        let target = row.eq(s.target_row) & column.eq(s.target_column);
        select(agent, 1.0, select(target, 2.0, float(0.0))).into()
    }
}
