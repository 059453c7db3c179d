//! The lines of golden files.

use std::collections::HashMap;

use anyhow::{Result, anyhow};
use serde::Deserialize;

use crate::envs::connect4::referee::{Expander, Seen, Thoughts};
use crate::envs::connect4::{Board, Position};

/// What a line says: games to play, and what is known of them.
pub trait Known {
    /// Rows and columns of the board.
    fn size(&self) -> (usize, usize);
    /// For messages.
    fn name(&self) -> String;
    /// The rewards, in the order of the parameters, and the moves of every game.
    fn games(&self) -> Vec<([f32; 6], Vec<i32>)>;
    /// What the played games, and the thoughts on the end of the first of them, have otherwise.
    fn differences(&self, board: Board, games: &[Vec<Seen>], thoughts: &Thoughts) -> Vec<String>;
}

/// A line of `golden.jsonl.gz`.
#[derive(Debug, Deserialize)]
pub struct Record {
    pub id: u64,
    pub rows: usize,
    pub cols: usize,
    #[serde(default)]
    pub moves: Moves,
    #[serde(default)]
    pub rewards: Rewards,
    #[serde(flatten)]
    pub kind: Kind,
}

/// What is known; `moves` lead there from the empty board.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Kind {
    Position(Standing),
    Heuristic(Distribution),
    SmartHeuristic(Smart),
    Fold(Fold),
    Shaping {
        /// The reward of each mover, and whether it and the other one have three in a row, where that counts.
        steps: Vec<(f32, u8, u8)>,
    },
    Session {
        /// Whether the agent begins, and the moves.
        games: Vec<(bool, Moves)>,
        total_steps: usize,
        events: String,
    },
    Illegal {
        action: i32,
        reward: f32,
        unchanged: bool,
        invalid_action: bool,
        obs: [String; 2],
    },
    Finished {
        error: bool,
    },
}

#[derive(Debug, Deserialize)]
pub struct Standing {
    /// Rows from the top, joined by `/`: `x`, `o` or `.`.
    pub board: String,
    pub to_move: i32,
    pub legal: String,
    pub done: bool,
    pub winner: Option<i32>,
    /// Row and column of the last stone.
    pub last: Option<[usize; 2]>,
    pub reward: Option<f32>,
    pub reason: Option<String>,
    pub obs: [String; 2],
}

/// Column c is played with the probability `num[c] / den`.
#[derive(Debug, Deserialize)]
pub struct Distribution {
    pub rule: i32,
    pub den: u64,
    pub num: Vec<u64>,
}

#[derive(Debug, Deserialize)]
pub struct Smart {
    #[serde(flatten)]
    pub choice: Distribution,
    pub score_me: Vec<Option<f32>>,
    pub score_opponent: Vec<Option<f32>>,
}

/// A whole game as one player, the agent, sees it.
#[derive(Debug, Deserialize)]
pub struct Fold {
    pub agent_first: bool,
    pub obs: Vec<[String; 2]>,
    /// Action, reward, done, legal columns, legal columns after.
    pub transitions: Vec<(i32, f32, u8, String, String)>,
    pub info: Info,
}

#[derive(Debug, Deserialize)]
pub struct Info {
    pub reward: f32,
    pub length: usize,
    pub agent_token: i32,
    pub agent_result: i32,
}

/// Columns as digits.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub struct Moves(pub Vec<i32>);

impl TryFrom<String> for Moves {
    type Error = String;
    fn try_from(text: String) -> Result<Moves, String> {
        let digit = |c: char| c.to_digit(10).ok_or_else(|| format!("`{c}` in moves is no digit"));
        text.chars().map(|c| digit(c).map(|digit| digit as i32)).collect::<Result<_, _>>().map(Moves)
    }
}

/// What moves pay, in the order of the parameters.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "HashMap<String, f32>")]
pub struct Rewards(pub [f32; 6]);

const REWARDS: [&str; 6] = ["win", "loss", "draw", "three_in_row", "opponent_three_in_row", "invalid_action"];

impl TryFrom<HashMap<String, f32>> for Rewards {
    type Error = String;
    fn try_from(named: HashMap<String, f32>) -> Result<Rewards, String> {
        let mut rewards = Rewards::default();
        for (name, value) in named {
            let place = REWARDS.iter().position(|known| *known == name);
            rewards.0[place.ok_or_else(|| format!("there is no reward {name}"))?] = value;
        }
        Ok(rewards)
    }
}

impl Default for Rewards {
    fn default() -> Rewards {
        Rewards(REWARDS.map(|name| super::super::paid(name) as f32))
    }
}

/// A line of `solved.jsonl.gz`: the score for the player to move, as many stones as the winner has left, plus 1.
#[derive(Debug, Deserialize)]
pub struct Solved {
    pub id: u64,
    pub set: String,
    pub moves: Moves,
    pub score: i32,
    /// The score of each move; null for a full column.
    pub columns: Option<Vec<Option<i32>>>,
    /// The columns of the best score.
    pub best: Option<Vec<usize>>,
}

/// A position of `perft.json`, and the numbers of move sequences from there by length: all, won by the last move, drawn by it.
#[derive(Debug, Deserialize)]
pub struct Root {
    pub rows: usize,
    pub cols: usize,
    pub moves: String,
    pub depths: Vec<[u64; 3]>,
}

impl Root {
    /// The position, reached through the compiled game.
    pub fn position(&self, expander: &Expander) -> Result<Position> {
        let moves = Moves::try_from(self.moves.clone()).map_err(|error| anyhow!("{error}"))?;
        let mut position = Position::default();
        for action in moves.0 {
            position = expander
                .after(position, action)?
                .ok_or_else(|| anyhow!("`{}` is no sequence of moves that goes on", self.moves))?;
        }
        Ok(position)
    }
}
