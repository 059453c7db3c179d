//! The board as bits of a u64, and what can be seen on it by shifts alone.
//!
//! Columns lie side by side from the lowest bit, each from its bottom cell up and with one bit above its top that is always
//! zero. It keeps every shift from running into the next column, so lines, threats and playable cells are a few
//! instructions for all cells at once.

use crate::envs::bits::only_if;
use crate::lang::{Bool, Int, int_u64};

/// The size of a board, at least one row and column, whose bits fit a u64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Board {
    pub rows: usize,
    pub cols: usize,
}

/// Cells where a stone would threaten to become four in a row, by how strongly: each cell is in at most one of them. u64 scalars.
#[derive(Clone, Copy)]
pub struct Threats {
    /// Three in a row, open on both sides: score 1.1.
    pub double: Int,
    /// Three in a row, open on one side: 0.8.
    pub single: Int,
    /// Two in a row, open on both sides: 0.3.
    pub pair: Int,
}
crate::tree!(Threats { double, single, pair });

impl Board {
    /// # Errors
    /// One line for a board without cells, or one that does not fit a u64.
    pub fn new(rows: usize, cols: usize) -> Result<Board, String> {
        if rows == 0 || cols == 0 {
            return Err(format!("a board of {rows}x{cols} has no cells"));
        }
        match rows.checked_add(1).and_then(|stride| stride.checked_mul(cols)) {
            Some(..=64) => Ok(Board { rows, cols }),
            _ => {
                Err(format!("a board of {rows}x{cols} is too large: (rows + 1) x columns must be at most 64"))
            }
        }
    }

    /// Bits from a cell to the one on its right.
    pub fn stride(self) -> usize {
        self.rows + 1
    }

    /// The cells of a column.
    pub fn column(self, c: usize) -> u64 {
        ((1 << self.rows) - 1) << (c * self.stride())
    }

    /// All cells.
    pub fn cells(self) -> u64 {
        (0..self.cols).map(|c| self.column(c)).sum()
    }

    /// The bottom cells.
    fn bottom(self) -> u64 {
        (0..self.cols).map(|c| 1 << (c * self.stride())).sum()
    }

    /// The bits of the cells, row by row from the top.
    pub fn places(self) -> Vec<u64> {
        let row = |r: usize| (0..self.cols).map(move |c| (c * self.stride() + r) as u64);
        (0..self.rows).rev().flat_map(row).collect()
    }

    /// Bits from a cell to its right neighbours: one row down, level, one row up.
    fn sideways(self) -> [usize; 3] {
        [self.stride() - 1, self.stride(), self.stride() + 1]
    }

    /// The lowest empty cell of every column that is not full.
    #[track_caller]
    pub fn playable(self, occupied: Int) -> Int {
        (occupied + self.bottom()) & self.cells()
    }

    /// Whether four stones, or more, stand in a row.
    #[track_caller]
    pub fn has_four(self, stones: Int) -> Bool {
        self.has_line(stones, |pairs, shift| pairs & (pairs >> (2 * shift)))
    }

    /// Whether three stones, or more, stand in a row.
    #[track_caller]
    pub fn has_three(self, stones: Int) -> Bool {
        self.has_line(stones, |pairs, shift| pairs & (stones >> (2 * shift)))
    }

    #[track_caller]
    fn has_line(self, stones: Int, longer: impl Fn(Int, usize) -> Int) -> Bool {
        let line = |shift: usize| longer(stones & (stones >> shift), shift);
        self.sideways().into_iter().map(line).fold(line(1), |all, more| all | more).ne(0)
    }

    /// The empty cells, also those out of reach, where a stone of `own` would make four in a row.
    #[track_caller]
    pub fn winning(self, own: Int, occupied: Int) -> Int {
        let mut cells = (own << 1usize) & (own << 2usize) & (own << 3usize);
        for s in self.sideways() {
            let below = (own << s) & (own << (2 * s));
            let above = (own >> s) & (own >> (2 * s));
            cells = cells | (below & (own << (3 * s))) | (below & (own >> s));
            cells = cells | (above & (own >> (3 * s))) | (above & (own << s));
        }
        cells & self.cells() & !occupied
    }

    /// The playable cells where a stone of `own` would be a threat (README, section "smart_heuristic"). Stones are counted across
    /// empty cells that nothing supports.
    #[track_caller]
    pub fn threats(self, own: Int, other: Int) -> Threats {
        let occupied = own | other;
        let playable = self.playable(occupied);
        let floating = !occupied & !playable & self.cells();
        // A stone on two others, with a cell above it.
        let mut single = (own << 1usize) & (own << 2usize) & (self.cells() & (self.cells() >> 1));
        let (mut double, mut pair) = (int_u64(0), int_u64(0));
        for s in self.sideways() {
            let mut counted = Counted { one: int_u64(0), two: int_u64(0) };
            let right = counted.walk(own, playable, floating, |cells, steps| cells >> (s * steps));
            let left = counted.walk(own, playable, floating, |cells, steps| cells << (s * steps));
            double = double | (counted.two & right & left);
            single = single | (counted.two & (right ^ left));
            pair = pair | (counted.one & !counted.two & right & left);
        }
        let double = double & playable;
        let single = single & playable & !double;
        Threats { double, single, pair: pair & playable & !double & !single }
    }
}

/// Cells by how many own stones were met on the way from them: at least one, at least two.
struct Counted {
    one: Int,
    two: Int,
}

impl Counted {
    /// Walks three steps from every cell at once, in the direction in which `look` looks, counts own stones, and gives the cells whose
    /// walk ends at a playable cell.
    #[track_caller]
    fn walk(&mut self, own: Int, playable: Int, floating: Int, look: impl Fn(Int, usize) -> Int) -> Int {
        let passed = own | floating;
        let mut open = look(playable, 1);
        self.meet(look(own, 1));
        let mut way = look(passed, 1);
        for steps in 2..=3 {
            open = open | (way & look(playable, steps));
            self.meet(way & look(own, steps));
            way = way & look(passed, steps);
        }
        open
    }

    #[track_caller]
    fn meet(&mut self, stones: Int) {
        self.two = self.two | (self.one & stones);
        self.one = self.one | stones;
    }
}

/// `set`, or `other` if it is empty.
#[track_caller]
pub fn or_else(set: Int, other: Int) -> Int {
    set | only_if(set.eq(0), other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::trace;

    #[test]
    fn the_usual_board_has_the_known_words() {
        let board = Board::new(6, 7).unwrap();
        assert_eq!((board.bottom(), board.cells()), (0x0000_0408_1020_4081, 0x0000_FDFB_F7EF_DFBF));
        let found = |own: u64, other: u64| {
            let traced = trace(&(), |()| {
                let [own, other] = [own, other].map(int_u64);
                let occupied = own | other;
                let winning = [own, other].map(|side| board.winning(side, occupied));
                (board.playable(occupied), winning)
            });
            let words = interpret(&traced.graph, &[]);
            [0, 1, 2].map(|word| words[word].as_slice::<u64>()[0])
        };
        assert_eq!(found(0x20_0000, 0x40_0000)[0], 0x408_1080_4081);
        assert_eq!(found(0x60_0000, 0x1000_4000)[0], 0x408_2080_8081);
        assert_eq!(found(0x61_0101, 0x80_c280), [0x408_1102_0402, 0x100_0000, 0x8000_0000]);
    }

    #[test]
    fn boards_that_do_not_fit_are_refused_in_one_line() {
        assert!(Board::new(7, 8).is_ok() && Board::new(63, 1).is_ok() && Board::new(1, 32).is_ok());
        let error = Board::new(8, 8).unwrap_err();
        assert_eq!(error, "a board of 8x8 is too large: (rows + 1) x columns must be at most 64");
        assert!(Board::new(usize::MAX, 2).is_err() && Board::new(64, 1).is_err());
        assert_eq!(Board::new(0, 7).unwrap_err(), "a board of 0x7 has no cells");
    }
}
