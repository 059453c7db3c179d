//! Connect four: two players drop stones into columns in turn; who has four in a row wins.
//!
//! The rules are told in `jax_env_spec/connect4/README.md`. A state is two sets of cells as bits ([`board`]), one for each player;
//! everything else follows from them. [`scripted`] has players that need no training, [`referee`] plays games that come from the
//! host, and [`golden`] compares them with what is known of the game.

mod board;
pub mod golden;
mod painter;
mod referee;
pub mod scripted;

use std::iter;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::lang::{Bool, Float, Int, Key, constant, float, int, int_u64, select, stack};

use super::bits::{all_if, count, only_if};
use super::description::{Action, Description, Feature, Group};
use super::health::Range;
use super::layout::{Paid, pays};
use super::painter::Painter;
use super::{
    Aggregate, Env, EnvSpec, Golden, Health, Metric, Mirror, Observation, OtherSize, Player, Sizes, Step,
    boxed,
};

pub use board::Board;
pub use referee::{Position, Referee};

/// The game on a board of some size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect4 {
    pub board: Board,
}

impl Default for Connect4 {
    /// On the usual board.
    fn default() -> Connect4 {
        let Layout { rows, cols, .. } = layout();
        Connect4 { board: Board::new(*rows, *cols).expect("layout.json has a board that fits") }
    }
}

/// The cells of the first and of the second player's stones, u64 scalars.
#[derive(Clone, Copy)]
pub struct State {
    pub first: Int,
    pub second: Int,
}
crate::tree!(State { first, second });

/// What moves pay, f32 scalars; see `layout.json`.
#[derive(Clone, Copy)]
pub struct Params {
    pub win: Float,
    pub loss: Float,
    pub draw: Float,
    pub three_in_row: Float,
    /// Subtracted.
    pub opponent_three_in_row: Float,
    pub invalid_action: Float,
}
crate::tree!(Params { win, loss, draw, three_in_row, opponent_three_in_row, invalid_action });

/// Names and numbers: `jax_env_spec/connect4/layout.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Layout {
    rows: usize,
    cols: usize,
    observation: [Plane; 2],
    rewards: Vec<Paid>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Plane {
    name: String,
    is: String,
}

/// The layout, read once from the file compiled in.
fn layout() -> &'static Layout {
    const TEXT: &str = include_str!("../../../jax_env_spec/connect4/layout.json");
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| serde_json::from_str(TEXT).expect("layout.json is part of the program"))
}

/// The default of the reward of that name.
fn paid(name: &str) -> f64 {
    pays(&layout().rewards, name)
}

/// Draws its states.
pub(super) fn painter() -> Box<dyn Painter> {
    painter_of(Connect4::default().board)
}

fn painter_of(board: Board) -> Box<dyn Painter> {
    Box::new(painter::Connect4Painter { board })
}

/// The observation, the actions and the rewards in names.
pub(super) fn description() -> Description {
    description_of(Connect4::default().board)
}

fn description_of(board: Board) -> Description {
    let Layout { observation, rewards, .. } = layout();
    let plane = |Plane { name, is }: &Plane| Group {
        name: format!("{name}, row by row from the top"),
        count: board.rows * board.cols,
        features: vec![Feature { name: "stone".into(), is: is.clone() }],
    };
    let column = |c: usize| Action { name: format!("column {c}"), does: "drops a stone there".into() };
    Description {
        observation: observation.iter().map(plane).collect(),
        actions: (0..board.cols).map(column).collect(),
        rewards: rewards.iter().map(Paid::described).collect(),
        params: Vec::new(),
    }
}

/// Boards of other sizes.
pub(super) const SIZES: Sizes = Sizes {
    known: || vec![("rows", layout().rows), ("cols", layout().cols)],
    make: |sizes| {
        let board = Board::new(sizes[0], sizes[1])?;
        Ok(OtherSize {
            env: boxed(Connect4 { board }),
            description: description_of(board),
            painter: painter_of(board),
        })
    },
};

/// What is known of the game.
pub(super) const GOLDEN: Golden =
    Golden { help: "jax_env_spec/connect4/README.md describes those of connect4.", open: golden::open };

/// Nothing says when it is solved: the return depends on the opponent.
pub(super) const HEALTH: Health = Health {
    solved_return: None,
    ranges: &[(
        ILLEGAL,
        Range::new(
            0.0,
            0.0,
            "actions are illegal",
            "the mask forbids them: whoever chooses the actions has to heed it",
        ),
    )],
};

/// The metric that counts actions that are no playable column.
const ILLEGAL: &str = "stats/illegal_actions";

impl State {
    /// The empty board.
    #[track_caller]
    pub fn empty() -> State {
        State { first: int_u64(0), second: int_u64(0) }
    }

    /// The cells that hold a stone.
    #[track_caller]
    pub fn occupied(&self) -> Int {
        self.first | self.second
    }

    /// Whether the first player is to move: players alternate.
    #[track_caller]
    pub fn first_to_move(&self) -> Bool {
        (count(self.occupied()) & 1).eq(0)
    }

    /// The stones of the player to move, and of the other one.
    #[track_caller]
    pub fn sides(&self) -> [Int; 2] {
        let first = self.first_to_move();
        [select(first, self.first, self.second), select(first, self.second, self.first)]
    }
}

impl Connect4 {
    /// The cell that the action (i32) of the player to move fills; nothing if that is no playable column.
    #[track_caller]
    fn landing(&self, state: &State, action: Int) -> Int {
        let Board { cols, .. } = self.board;
        let exists = action.ge(0) & action.lt(cols);
        let shift = action.clamp(0, cols - 1).as_u64() * self.board.stride();
        let column = int_u64(self.board.column(0)) << shift;
        self.board.playable(state.occupied()) & column & all_if(exists)
    }

    /// What a legal move that ends no game pays the mover besides.
    #[track_caller]
    fn shaping(&self, params: &Params, own: Int, other: Int) -> Float {
        let paid = |stones: Int, pays: Float| select(self.board.has_three(stones), pays, 0.0);
        paid(own, params.three_in_row) - paid(other, params.opponent_three_in_row)
    }
}

impl Env for Connect4 {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        let Board { rows, cols } = self.board;
        let metrics = vec![Metric {
            name: ILLEGAL.into(),
            aggregate: Aggregate::Mean,
            unit: "actions",
            description: "the share of actions that are no playable column".into(),
        }];
        EnvSpec {
            players: 2,
            flags: iter::once(0..2 * rows * cols).collect(),
            metrics,
            ..EnvSpec::new("connect4", [2, rows, cols], cols)
        }
    }

    fn default_params(&self) -> Params {
        let of = |name| float(paid(name));
        let [win, loss, draw] = ["win", "loss", "draw"].map(of);
        let [three_in_row, opponent_three_in_row, invalid_action] =
            ["three_in_row", "opponent_three_in_row", "invalid_action"].map(of);
        Params { win, loss, draw, three_in_row, opponent_three_in_row, invalid_action }
    }

    fn reset(&self, _params: &Params, _key: Key) -> State {
        State::empty()
    }

    /// An illegal action changes nothing. A game that is over has no steps.
    fn step(&self, params: &Params, _key: Key, state: State, action: Int) -> Step<State> {
        let first = state.first_to_move();
        let [before, other] = state.sides();
        let stone = self.landing(&state, action);
        let own = before | stone;
        let legal = stone.ne(0);
        let won = legal & self.board.has_four(own);
        let drawn = legal & !won & (own | other).eq(self.board.cells());
        let mover = select(legal, self.shaping(params, own, other), params.invalid_action);
        let mover = select(won, params.win, select(drawn, params.draw, mover));
        let waiting = select(won, params.loss, select(drawn, params.draw, 0.0));
        Step {
            state: State { first: select(first, own, other), second: select(first, other, own) },
            reward: stack([select(first, mover, waiting), select(first, waiting, mover)]),
            terminated: won | drawn,
            truncated: None,
            metrics: vec![(!legal).as_f32()],
        }
    }

    /// The stones of the player to move, and of the other one: `[2, rows, cols]`, the top row first.
    fn observe(&self, _params: &Params, state: &State) -> Observation {
        let Board { rows, cols } = self.board;
        let places: Int = constant(self.board.places());
        let planes = state.sides().map(|stones| (stones.fill(&[rows * cols]) >> places) & 1);
        stack(planes).reshape([2, rows, cols]).as_f32().into()
    }

    fn to_move(&self, _params: &Params, state: &State) -> Int {
        select(state.first_to_move(), int(0), 1)
    }

    fn players(&self) -> Vec<Player> {
        scripted::players(self.board)
    }

    /// Left and right change places.
    fn mirror(&self) -> Option<Mirror> {
        let Board { rows, cols } = self.board;
        let actions: Vec<usize> = (0..cols).rev().collect();
        let line = |start: usize| actions.iter().map(move |column| start * cols + column);
        Some(Mirror { obs: (0..2 * rows).flat_map(line).collect(), actions: actions.clone() })
    }

    /// The columns that are not full, also when the game is over.
    fn action_mask(&self, _params: &Params, state: &State) -> Option<Bool> {
        let columns = (0..self.board.cols).map(|c| self.board.column(c)).collect::<Vec<u64>>();
        let columns: Int = constant(columns);
        let playable = self.board.playable(state.occupied());
        Some((playable.fill(&[self.board.cols]) & columns).ne(0))
    }
}

impl Connect4 {
    /// How a game stands (i32): 0 goes on, 1 the first player has won, 2 the second one, 3 drawn.
    #[track_caller]
    fn outcome(&self, state: &State) -> Int {
        let of = |flag: Bool, number: i32| only_if(flag, int(number));
        let won = [state.first, state.second].map(|stones| self.board.has_four(stones));
        let full = state.occupied().eq(self.board.cells());
        of(won[0], 1) + of(won[1], 2) + of(full & !won[0] & !won[1], 3)
    }
}
