//! 2048: tiles slide on a board of 4x4, two equal ones that meet merge into one of twice their number, and each move brings a new tile.
//!
//! Rules and rewards are those of PufferLib's environment of this name; a game that takes too long is cut off here, where it ends there.

use std::array::from_fn;
use std::sync::LazyLock;

use crate::lang::{Bool, Float, Int, Key, float, int, select, stack_at};

use super::layout::Layout;
use super::painter::{Color, Line, Modifier, Painter, Picture, Sketch, Span, Style};
use super::{Description, Env, EnvSpec, Health, Metric, Observation, Step};

/// Rows and columns.
const SIDE: usize = 4;
/// The tile with which `perf` is 1.
const BEST: f64 = 4096.0;
/// Score for each step that a game may take.
const SCORE_PER_STEP: i32 = 10;

pub struct G2048;

#[derive(Clone, Copy)]
pub struct State {
    /// i32`[4, 4]`: 0 for nothing, n for the tile 2^n.
    board: Int,
    /// The sum of the tiles that others have merged into.
    score: Int,
    /// Steps taken.
    time: Int,
}
crate::tree!(State { board, score, time });

#[derive(Clone, Copy)]
pub struct Params {
    /// The probability of a 4.
    four: Float,
    max_steps: Int,
}
crate::tree!(Params { four, max_steps });

static LAYOUT: LazyLock<Layout> =
    LazyLock::new(|| Layout::read(include_str!("../../jax_env_spec/g2048/layout.json")));

pub(super) fn description() -> Description {
    LAYOUT.description()
}

/// How far a policy gets depends on its network.
pub(super) const HEALTH: Health = Health::UNKNOWN;

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    const MOVES: [[i32; 2]; 4] = [[0, -1], [0, 1], [-1, 0], [1, 0]];
    const COLORS: [Color; 6] = [
        Color::Gray,
        Color::LightBlue,
        Color::LightCyan,
        Color::LightGreen,
        Color::LightYellow,
        Color::LightRed,
    ];
    let sketch = Sketch::new(5.0, |frame| {
        let tile = |exponent: &f32| match *exponent as usize {
            0 => Span::styled("     ·", Style::new().fg(Color::DarkGray)),
            exponent => {
                let color = COLORS[((exponent - 1) / 2).min(COLORS.len() - 1)];
                Span::styled(
                    format!("{:>6}", 1u64 << exponent),
                    Style::new().fg(color).add_modifier(Modifier::BOLD),
                )
            }
        };
        let row = |row: &[f32]| Line::from(row.iter().map(tile).collect::<Vec<_>>());
        let fact = |name: &str| format!("{name:<6}{:>8}", frame.number(name)).into();
        Picture {
            board: frame.obs.chunks(SIDE).map(row).collect(),
            legend: Vec::new(),
            facts: vec![fact("score"), fact("time")],
        }
    });
    Box::new(sketch.with_moves(&MOVES))
}

/// What sliding did.
struct Slid {
    board: Int,
    /// The sum of the exponents of the tiles that others have merged into.
    exponents: Int,
    /// The sum of these tiles.
    score: Int,
}

/// Slides the tiles of a board in a direction, by the number of the action.
#[track_caller]
fn slide(board: Int, action: Int) -> Slid {
    // Turned so that the tiles slide to the beginning of each row, which are the lines.
    let turn = |board: Int| select(action.lt(2), board.transpose([1, 0]), board);
    let mirror = |board: Int| select((action & 1).eq(1), board.flip(1), board);
    let lines = mirror(turn(board));
    let mut cells: [Int; SIDE] = from_fn(|place| lines.index(1, place));
    for last in (1..SIDE).rev() {
        for place in 0..last {
            let is_empty = cells[place].eq(0);
            let (here, next) = (cells[place], cells[place + 1]);
            cells[place] = select(is_empty, next, here);
            cells[place + 1] = select(is_empty, 0, next);
        }
    }
    let (mut exponents, mut score) = (int(0), int(0));
    for place in 0..SIDE - 1 {
        let merge = cells[place].ne(0) & cells[place].eq(cells[place + 1]);
        cells[place] = cells[place] + merge.as_i32();
        exponents = exponents + select(merge, cells[place], 0).sum_all();
        score = score + select(merge, tile(cells[place]), 0).sum_all();
        for after in place + 1..SIDE {
            let next = if after + 1 < SIDE { cells[after + 1] } else { cells[after].full_like(0) };
            cells[after] = select(merge, next, cells[after]);
        }
    }
    Slid { board: turn(mirror(stack_at(1, cells))), exponents, score }
}

/// The tile of an exponent.
fn tile(exponent: Int) -> Int {
    exponent.full_like(1) << exponent
}

/// A board with a new tile in an empty cell, each with the same chance.
#[track_caller]
fn with_tile(board: Int, four: Float, key: Key) -> Int {
    let [place, number] = key.split();
    let cells = board.flatten();
    let chances = select(cells.eq(0), place.uniform([SIDE * SIDE], 0.0..1.0), -1.0);
    let exponent = number.bernoulli([], four).as_i32() + 1;
    let is_new = chances.argmax(0).one_hot(SIDE * SIDE) & cells.eq(0);
    select(is_new, exponent.fill(&[SIDE * SIDE]), cells).reshape([SIDE, SIDE])
}

/// Whether no move changes a board.
#[track_caller]
fn is_stuck(board: Int) -> Bool {
    let pair = |axis: usize| board.slice(axis, 0..SIDE - 1).eq(board.slice(axis, 1..SIDE)).any_all();
    !(board.eq(0).any_all() | pair(0) | pair(1))
}

impl Env for G2048 {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let metrics = vec![
            Metric::outcome("perf", "share", "the largest tile of the game over 4096"),
            Metric::outcome(
                "score",
                "",
                "the sum of the tiles that others have merged into, at the end of a game",
            ),
            Metric::record("highest_tile", "", "the largest tile of any game"),
        ];
        EnvSpec { metrics, ..EnvSpec::new("g2048", [SIDE * SIDE], 4) }
    }

    fn default_params(&self) -> Params {
        Params { four: LAYOUT.float("four"), max_steps: LAYOUT.int("max_steps") }
    }

    fn reset(&self, p: &Params, key: Key) -> State {
        let [first, second] = key.split();
        let empty = int(0).fill(&[SIDE, SIDE]);
        let board = with_tile(with_tile(empty, p.four, first), p.four, second);
        State { board, score: int(0), time: int(0) }
    }

    fn step(&self, p: &Params, key: Key, s: State, action: Int) -> Step<State> {
        let slid = slide(s.board, action);
        let moved = slid.board.ne(s.board).any_all();
        let board = select(moved.fill(&[SIDE, SIDE]), with_tile(slid.board, p.four, key), s.board);
        let state = State { board, score: s.score + slid.score, time: s.time + 1 };
        let over = is_stuck(board);
        let merged = slid.exponents.as_f32() * LAYOUT.pays("merge");
        let reward = select(moved, merged, LAYOUT.pays("idle"));
        let highest = tile(board.max_all()).as_f32();
        Step {
            reward: select(over, float(LAYOUT.pays("over")), reward),
            terminated: over,
            truncated: Some(state.time.ge(p.max_steps.maximum(state.score / SCORE_PER_STEP))),
            metrics: vec![highest / BEST, state.score.as_f32(), highest],
            state,
        }
    }

    fn observe(&self, _: &Params, s: &State) -> Observation {
        s.board.flatten().as_f32().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::HostArray;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    /// The board, the exponents and the score after sliding.
    fn slid(board: [[i32; SIDE]; SIDE], action: i32) -> (Vec<f64>, f64, f64) {
        let traced = trace(&(), |()| {
            let board: Int = constant(board.as_flattened());
            let Slid { board, exponents, score } = slide(board.reshape([SIDE, SIDE]), int(action));
            (board, exponents, score)
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(HostArray::to_f64).collect();
        (found[0].clone(), found[1][0], found[2][0])
    }

    fn flat(board: [[i32; SIDE]; SIDE]) -> Vec<f64> {
        board.as_flattened().iter().map(|&cell| f64::from(cell)).collect()
    }

    /// A tile that has merged does not merge again in the same move, and the pair nearest to the wall merges first.
    #[test]
    fn tiles_slide_and_merge_once_in_all_directions() {
        let board = [[1, 1, 1, 1], [0, 2, 2, 3], [1, 0, 1, 2], [1, 2, 0, 0]];
        let left = [[2, 2, 0, 0], [3, 3, 0, 0], [2, 2, 0, 0], [1, 2, 0, 0]];
        let right = [[0, 0, 2, 2], [0, 0, 3, 3], [0, 0, 2, 2], [0, 0, 1, 2]];
        assert_eq!(slid(board, 2), (flat(left), 9.0, 4.0 + 4.0 + 8.0 + 4.0));
        assert_eq!(slid(board, 3), (flat(right), 9.0, 20.0));
        let up = [[1, 1, 1, 1], [2, 3, 2, 3], [0, 2, 1, 2], [0, 0, 0, 0]];
        let tall = [[1, 1, 1, 1], [1, 2, 2, 3], [1, 2, 1, 2], [0, 2, 0, 0]];
        assert_eq!(slid(tall, 0), (flat([[2, 1, 1, 1], [1, 3, 2, 3], [0, 2, 1, 2], [0; 4]]), 5.0, 12.0));
        assert_eq!(slid(tall, 1), (flat([[0; 4], [0, 1, 1, 1], [1, 2, 2, 3], [2, 3, 1, 2]]), 5.0, 12.0));
        assert_eq!(slid(up, 0), (flat(up), 0.0, 0.0));
    }

    #[test]
    fn a_full_board_is_stuck_if_no_neighbours_are_equal() {
        let stuck = |board: [[i32; SIDE]; SIDE]| {
            let traced = trace(&(), |()| {
                is_stuck(constant::<crate::lang::kind::Int, i32>(board.as_flattened()).reshape([SIDE, SIDE]))
            });
            interpret(&traced.graph, &[])[0].to_f64()[0] == 1.0
        };
        let full = [[1, 2, 1, 2], [2, 1, 2, 1], [1, 2, 1, 2], [2, 1, 2, 1]];
        assert!(stuck(full));
        let with = |row: usize, column: usize, cell: i32| {
            let mut board = full;
            board[row][column] = cell;
            board
        };
        assert!(!stuck(with(3, 3, 0)) && !stuck(with(3, 3, 2)) && !stuck(with(0, 0, 2)));
        assert!(stuck(with(0, 0, 5)));
    }
}
