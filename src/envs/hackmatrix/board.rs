//! The board: every property of the 36 cells as a set of cells, one bit per cell.
//!
//! Cell (row, col) is bit `6 * row + col`, row 0 at the bottom. Numbers per cell (points, spawn counts, resources)
//! are kept as their binary digits, each digit a set.

use crate::lang::{Bool, Int, int_u64, select, while_loop};

use super::bits::{highest, index_of, lowest, only_if};
use super::host::digits;

/// All 36 cells.
pub const ALL: u64 = (1 << 36) - 1;
/// Column 0.
pub const LEFT_COLUMN: u64 = 1 | 1 << 6 | 1 << 12 | 1 << 18 | 1 << 24 | 1 << 30;
/// Column 5.
pub const RIGHT_COLUMN: u64 = LEFT_COLUMN << 5;
/// Row 0.
pub const BOTTOM_ROW: u64 = 0b11_1111;
/// The four corners.
pub const CORNERS: u64 = 1 | 1 << 5 | 1 << 30 | 1 << 35;

#[track_caller]
pub fn up(cells: Int) -> Int {
    (cells << 6) & ALL
}

#[track_caller]
pub fn down(cells: Int) -> Int {
    cells >> 6
}

#[track_caller]
pub fn left(cells: Int) -> Int {
    (cells & !LEFT_COLUMN) >> 1
}

#[track_caller]
pub fn right(cells: Int) -> Int {
    (cells & !RIGHT_COLUMN) << 1
}

/// The orthogonal neighbours of all cells of a set; may include cells of the set.
#[track_caller]
pub fn neighbours(cells: Int) -> Int {
    up(cells) | down(cells) | left(cells) | right(cells)
}

/// The cells and their neighbours.
#[track_caller]
pub fn cross(cells: Int) -> Int {
    cells | neighbours(cells)
}

/// The up to eight cells around one cell.
#[track_caller]
pub fn surroundings(cell: Int) -> Int {
    let sides = left(cell) | right(cell);
    let line = cell | sides;
    sides | up(line) | down(line)
}

/// One cell in every form that rules ask for.
#[derive(Clone, Copy)]
pub struct Place {
    /// The set of this cell alone.
    pub cell: Int,
    /// u64, 0..6.
    pub row: Int,
    pub col: Int,
}
crate::tree!(Place { cell, row, col });

impl Place {
    /// Of a set with exactly one cell. (Of the empty set: some place with an empty `cell`.)
    #[track_caller]
    pub fn of(cell: Int) -> Place {
        let index = index_of(cell);
        // Exact division by 6 below 64.
        let row = (index * 43) >> 8;
        Place { cell, row, col: index - row * 6 }
    }

    /// The cells of this row.
    #[track_caller]
    pub fn row_cells(&self) -> Int {
        int_u64(BOTTOM_ROW) << (self.row * 6)
    }

    /// The cells of this column.
    #[track_caller]
    pub fn col_cells(&self) -> Int {
        int_u64(LEFT_COLUMN) << self.col
    }

    /// The cells seen up, down, left and right, to the edge.
    #[track_caller]
    pub fn rays(&self) -> [Int; 4] {
        let below = self.cell - 1;
        let above = !(below | self.cell);
        let (row, col) = (self.row_cells(), self.col_cells());
        [col & above, col & below, row & below, row & above]
    }

    /// The cells in the four directions up to and including the first of `stops`: the lines of fire.
    #[track_caller]
    pub fn lines(&self, stops: Int) -> Int {
        let [up, down, left, right] = self.rays();
        // Rays to higher bits end at the lowest stop, rays to lower bits at the highest.
        let rising = |ray: Int| {
            let stop = ray & stops;
            ray & (stop ^ (stop - 1))
        };
        let falling = |ray: Int| ray & !only_if_any(highest(ray & stops));
        rising(up) | rising(right) | falling(down) | falling(left)
    }
}

/// All bits below the only element of a set; none for the empty set.
#[track_caller]
fn only_if_any(element: Int) -> Int {
    only_if(element.ne(0), element - 1)
}

/// The first of `things` from the player along one of his rays; `rising` where the ray goes to higher bits.
#[track_caller]
pub fn first_along(ray: Int, rising: Bool, things: Int) -> Int {
    let seen = ray & things;
    select(rising, lowest(seen), highest(seen))
}

/// Steps of a flood that are written out; only longer ones need a loop.
const WRITTEN_OUT: usize = 10;

/// Length of the shortest path from `start` to `goal` (i32) around `blocks`; 0 if there is none. A block on the
/// goal is no obstacle.
#[track_caller]
pub fn walking_distance(blocks: Int, start: Int, goal: Int) -> Int {
    let free = !blocks | goal;
    let grow = |(reached, steps): (Int, Int)| {
        let more = only_if((reached & goal).eq(0), neighbours(reached) & free);
        (reached | more, steps + (more & !reached).ne(0).as_i32())
    };
    let mut flood = (start, start.full_like(0).as_i32());
    for _ in 0..WRITTEN_OUT {
        flood = grow(flood);
    }
    let unfinished = |reached: Int| (reached & goal).eq(0) & (neighbours(reached) & free & !reached).ne(0);
    let (reached, steps) = while_loop(flood, |&(reached, _)| unfinished(reached), grow);
    select((reached & goal).ne(0), steps, 0)
}

/// What belongs to cells rather than to the player or the enemies.
#[derive(Clone, Copy)]
pub struct Board {
    pub blocks: Int,
    /// Blocks that hold data; the others hold programs. Also known for blocks whose kind is hidden.
    pub data: Int,
    /// Blocks whose kind is hidden until they are siphoned.
    pub question: Int,
    /// Points of data blocks, program numbers of the others.
    pub value: [Int; digits::VALUE],
    /// Transmissions that siphoning the block queues.
    pub spawn: [Int; digits::SPAWN],
    pub siphoned: Int,
    /// Where the player stood when siphoning.
    pub centers: Int,
    pub credits: [Int; digits::RESOURCE],
    pub energy: [Int; digits::RESOURCE],
    /// Data siphons to walk onto.
    pub pickups: Int,
    /// The exit to walk onto.
    pub exit: Int,
}
crate::tree!(Board {
    blocks,
    data,
    question,
    value,
    spawn,
    siphoned,
    centers,
    credits,
    energy,
    pickups,
    exit
});

impl Board {
    /// Blocks that hold a program.
    #[track_caller]
    pub fn programs(&self) -> Int {
        self.blocks & !self.data
    }

    /// Blocks that still spawn something when siphoned.
    #[track_caller]
    pub fn spawning(&self) -> Int {
        self.spawn.into_iter().reduce(|a, b| a | b).expect("four digits")
    }

    /// The board without the blocks of some cells; everything else of the cells stays.
    #[track_caller]
    pub fn without_blocks(self, cells: Int) -> Board {
        let keep = !cells;
        Board {
            blocks: self.blocks & keep,
            data: self.data & keep,
            question: self.question & keep,
            value: self.value.map(|digit| digit & keep),
            spawn: self.spawn.map(|digit| digit & keep),
            ..self
        }
    }
}
