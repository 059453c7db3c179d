//! Players that follow a script: opponents to learn from and to be measured against.
//!
//! A script is a choice among sets of cells, so all of it is bit operations on all games at once. What is left to chance is given as
//! a set to draw from ([`Choice`]), which makes a script comparable with its description without any drawing.

use std::rc::Rc;

use crate::envs::Player;
use crate::envs::bits::{choose, index_of, lowest};
use crate::lang::{Int, constant, int, int_u64, select};

use super::Board;
use super::board::or_else;

/// A player that needs no training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripted {
    /// Any playable column.
    Random,
    /// Wins if it can, else prevents the other's win, else plays at random.
    Heuristic,
    /// As [`Scripted::Heuristic`], but makes threats, prevents them, and prefers the middle.
    SmartHeuristic,
}

impl Scripted {
    pub const ALL: [Scripted; 3] = [Scripted::Random, Scripted::Heuristic, Scripted::SmartHeuristic];

    pub fn name(self) -> &'static str {
        match self {
            Scripted::Random => "random",
            Scripted::Heuristic => "heuristic",
            Scripted::SmartHeuristic => "smart_heuristic",
        }
    }

    /// What the player to move considers in a game that is not over, by its stones and those of the other player.
    #[track_caller]
    pub fn considers(self, board: Board, [own, other]: [Int; 2]) -> Choice {
        let occupied = own | other;
        let playable = board.playable(occupied);
        let none = int_u64(0);
        let wins = lowest(playable & board.winning(own, occupied));
        let blocks = lowest(playable & board.winning(other, occupied));
        let rest = match self {
            Scripted::Random => return Choice { rule: int(3), cells: playable, instead: none },
            Scripted::Heuristic => Choice { rule: int(3), cells: playable, instead: none },
            Scripted::SmartHeuristic => quiet(board, own, other),
        };
        rest.unless(2, blocks).unless(1, wins)
    }
}

/// The scripted players on a board.
pub fn players(board: Board) -> Vec<Player> {
    let player = |scripted: Scripted| Player {
        name: scripted.name(),
        act: Rc::new(move |obs, key| {
            let places: Int = constant(board.places());
            let planes = obs.as_u64().reshape([2, places.size()]);
            let stones = [0, 1].map(|plane: usize| (planes.index(0, plane) << places).sum([0]));
            scripted.considers(board, stones).draw(board, key.bits_u64([]))
        }),
    };
    Scripted::ALL.into_iter().map(player).collect()
}

/// Rules 3 to 6 of the smart heuristic, where nobody wins with the next stone.
#[track_caller]
fn quiet(board: Board, own: Int, other: Int) -> Choice {
    let occupied = own | other;
    let playable = board.playable(occupied);
    let best = |own: Int, other: Int| {
        let threats = board.threats(own, other);
        or_else(threats.double, or_else(threats.single, threats.pair))
    };
    let middle = [(board.cols - 1) / 2, board.cols / 2].map(|c| board.column(c));
    let central = or_else(playable & (middle[0] | middle[1]), playable);
    // Column 0 counts as no choice. Then it plays where the other does not win on top of it.
    let safe = playable & !(board.winning(other, occupied) >> 1usize);
    let with_zero = (central & board.column(0)).ne(0);
    let instead = select(with_zero, or_else(safe, playable), 0);
    let rule = select(with_zero, int(6), 5);
    Choice { rule, cells: central, instead }.unless(4, best(other, own)).unless(3, best(own, other))
}

/// A uniform choice among cells.
#[derive(Clone, Copy)]
pub struct Choice {
    /// The number of the rule that made it (i32), as the README counts them.
    pub rule: Int,
    /// Not empty, u64.
    pub cells: Int,
    /// If this is not empty and the drawn cell is in column 0, another draw from here takes its place. u64
    pub instead: Int,
}
crate::tree!(Choice { rule, cells, instead });

impl Choice {
    /// What rule `number` says, if its cells are any.
    #[track_caller]
    fn unless(self, number: i32, cells: Int) -> Choice {
        let applies = cells.ne(0);
        Choice {
            rule: select(applies, int(number), self.rule),
            cells: or_else(cells, self.cells),
            instead: select(applies, int_u64(0), self.instead),
        }
    }

    /// A column (i32) by 64 uniform bits.
    #[track_caller]
    fn draw(self, board: Board, bits: Int) -> Int {
        let first = choose(self.cells, bits);
        let again = (first & board.column(0)).ne(0) & self.instead.ne(0);
        let cell = select(again, choose(self.instead, bits << 32usize), first);
        (index_of(cell) / board.stride()).as_i32()
    }
}
