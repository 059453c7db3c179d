//! __ENV__: walk through a walled grid to the goal before the time is up.
//!
//! The environment is written for one agent in one grid; lockstep makes thousands of it. All that runs on the device is
//! traced, so `if` and `match` may look at Rust values only, and `select` chooses between arrays.

use lockstep::envs::{Env, EnvSpec, Metric, Observation, Step};
use lockstep::lang::{Bool, Float, Int, Key, constant, float, int, iota, select, stack};

pub const NAME: &str = "__ENV__";
/// `#` is a wall, `G` the goal. Walls all around save checks of the edge.
pub const MAP: [&str; 7] = ["#######", "#...#G#", "#.#.#.#", "#.#...#", "#.###.#", "#.....#", "#######"];
pub const WIDTH: usize = MAP[0].len();
/// What each action adds to the cell: up, down, left, right.
const MOVES: [i32; 4] = [-(WIDTH as i32), WIDTH as i32, -1, 1];

pub struct GridWorld;

/// The cell of the agent, row by row, and the steps that it took. Both are i32 scalars.
#[derive(Clone, Copy)]
pub struct State {
    cell: Int,
    time: Int,
}
lockstep::tree!(State { cell, time });

/// Numbers that a curriculum or a sweep may change; nothing compiles again.
#[derive(Clone, Copy)]
pub struct Params {
    goal_reward: Float,
    step_reward: Float,
    max_steps: Int,
}
lockstep::tree!(Params { goal_reward, step_reward, max_steps });

/// The cells of the map that hold `sign`.
fn cells(sign: char) -> Vec<bool> {
    MAP.iter().flat_map(|row| row.chars().map(move |c| c == sign)).collect()
}

impl Env for GridWorld {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let goal = Metric::reward("goal", "1", "goal reached");
        let step = Metric::reward("step", "-0.01", "step");
        EnvSpec { metrics: vec![goal, step], ..EnvSpec::new(NAME, [MAP.len(), WIDTH], MOVES.len()) }
    }

    fn default_params(&self) -> Params {
        Params { goal_reward: float(1.0), step_reward: float(-0.01), max_steps: int(50) }
    }

    /// Anywhere on the floor.
    fn reset(&self, _params: &Params, key: Key) -> State {
        let floor: Vec<i32> = (0..).zip(cells('.')).filter_map(|(cell, free)| free.then_some(cell)).collect();
        let chosen = key.integers([], 0..floor.len() as i32);
        State { cell: constant(floor).take(chosen, 0), time: int(0) }
    }

    fn step(&self, params: &Params, _key: Key, state: State, action: Int) -> Step<State> {
        let target = state.cell + constant(MOVES).take(action, 0);
        let wall: Bool = constant(cells('#'));
        let cell = select(wall.take(target, 0), state.cell, target);
        let goal: Bool = constant(cells('G'));
        let won = goal.take(cell, 0);
        let time = state.time + 1;
        let goal_reward = select(won, params.goal_reward, 0.0);
        Step {
            state: State { cell, time },
            reward: params.step_reward + goal_reward,
            terminated: won,
            truncated: Some(time.ge(params.max_steps)),
            metrics: vec![goal_reward, params.step_reward],
        }
    }

    /// f32`[rows, columns]`: 1 the agent, 0.5 the goal, -1 a wall, 0 the floor.
    fn observe(&self, _params: &Params, state: &State) -> Observation {
        let value = |sign: char| match sign {
            '#' => -1.0f32,
            'G' => 0.5,
            _ => 0.0,
        };
        let map: Vec<f32> = MAP.iter().flat_map(|row| row.chars().map(value)).collect();
        let cell = iota(lockstep::array::DType::I32, [map.len()], 0);
        select(cell.eq(state.cell), 1.0, constant(map)).reshape([MAP.len(), WIDTH]).into()
    }

    /// A move into a wall is not allowed.
    fn action_mask(&self, _params: &Params, state: &State) -> Option<Bool> {
        let wall: Bool = constant(cells('#'));
        Some(stack(MOVES.map(|step| !wall.take(state.cell + step, 0))))
    }
}

#[cfg(test)]
mod tests {
    /// What every environment must keep: types, masks, ends, resets, equal episodes for equal keys.
    #[test]
    fn it_is_an_environment() {
        lockstep::envs::conformance(&lockstep::envs::Erased::new(super::GridWorld)).unwrap();
    }
}
