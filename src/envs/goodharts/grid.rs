//! A torus of cells in bits, one bit per cell and kind of item.
//!
//! A row is a few words of 32 bits. It goes on after its last cell with copies of its first ones, so that a window that crosses
//! the edge is read as any other: two neighbouring words of a row hold every eleven cells that follow each other. A cell that
//! changes therefore changes in all its copies, by adding or subtracting its bits.

use crate::array::DType;
use crate::lang::{Bool, Int, Key, arange, below, constant, int, int_u32, rare, select, stack, while_loop};

/// Cells from the middle of a window to its edge.
pub const RADIUS: usize = 5;
/// Rows and columns of a window.
pub const VIEW: usize = 2 * RADIUS + 1;

/// Bits in a word.
const BITS: usize = 32;

/// The sizes of a torus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    pub width: usize,
    pub height: usize,
}

impl Grid {
    /// Cells.
    pub fn size(&self) -> usize {
        self.width * self.height
    }

    /// Words of a row: a window may begin at the last cell, in which case the word after it is read as well.
    fn words(&self) -> usize {
        (self.width - 1) / BITS + 2
    }

    /// Words of all rows.
    pub fn len(&self) -> usize {
        self.height * self.words()
    }

    /// Bits of a row that are ever read.
    fn columns(&self) -> usize {
        self.width + VIEW - 1
    }

    /// No items: u32\[len\].
    pub fn empty(&self) -> Int {
        int_u32(0).fill(&[self.len()])
    }

    /// The column that lies `by` to the right of `x`, for any `by` from `-width`.
    pub fn right_of(&self, x: Int, by: Int) -> Int {
        (x + by + self.width as i32) % self.width as i32
    }

    /// The row that lies `by` below `y`, for any `by` from `-height`.
    pub fn below(&self, y: Int, by: Int) -> Int {
        (y + by + self.height as i32) % self.height as i32
    }

    /// Whether there is an item at a cell, or at each of many.
    pub fn holds(&self, items: Int, cell: Int) -> Bool {
        let (x, y) = self.place(cell);
        let word = items.at(y * self.words() as i32 + x / BITS as i32).get();
        ((word >> (x % BITS as i32).as_u32()) & 1).eq(1)
    }

    /// The same on the host.
    pub fn has(&self, items: &[u32], column: usize, row: usize) -> bool {
        (items[row * self.words() + column / BITS] >> (column % BITS)) & 1 == 1
    }

    /// The bits of items in these cells, on the host.
    pub fn bits(&self, cells: impl IntoIterator<Item = usize>) -> Vec<u32> {
        let mut items = vec![0; self.len()];
        for cell in cells {
            let (x, row) = (cell % self.width, cell / self.width * self.words());
            for column in (x..self.columns()).step_by(self.width) {
                items[row + column / BITS] |= 1 << (column % BITS);
            }
        }
        items
    }

    /// `y * width + x`.
    pub fn cell(&self, x: Int, y: Int) -> Int {
        y * self.width as i32 + x
    }

    /// Column and row of a cell.
    pub fn place(&self, cell: Int) -> (Int, Int) {
        (cell % self.width as i32, cell / self.width as i32)
    }

    /// Takes the item from the cell `from` if `taken`, and lays one on the cell `to` if `laid`: there must be one, or none.
    pub fn change(&self, items: Int, (from, taken): (Int, Bool), (to, laid): (Int, Bool)) -> Int {
        let taken = self.copies(from, taken).into_iter().map(|(word, bit)| (word, -bit));
        let (words, bits): (Vec<_>, Vec<_>) = taken.chain(self.copies(to, laid)).unzip();
        items.at(stack(words)).add(stack(bits))
    }

    /// Lays an item on each of the cells `to` that is `laid`: these hold none and differ from each other.
    pub fn lay(&self, items: Int, to: Int, laid: Bool) -> Int {
        let (words, bits): (Vec<_>, Vec<_>) = self.copies(to, laid).into_iter().unzip();
        items.at(stack(words).flatten()).add(stack(bits).flatten())
    }

    /// The word and the bit of each copy of a cell, or of each of many, in its row; the bit is 0 if there is no such copy, or none is
    /// `wanted`.
    fn copies(&self, cell: Int, wanted: Bool) -> Vec<(Int, Int)> {
        let (x, y) = self.place(cell);
        let most = self.columns().div_ceil(self.width);
        let copy = |i: usize| {
            let column = x + (i * self.width) as i32;
            let bit = column.as_u32().full_like(1) << (column % BITS as i32).as_u32();
            let there = wanted & column.lt(self.columns() as i32);
            (y * self.words() as i32 + column / BITS as i32, select(there, bit, bit.full_like(0)))
        };
        (0..most).map(copy).collect()
    }

    /// The items around a cell, a word for each row from top to bottom: u32\[VIEW\], whose bit `i` is the column `i` of the
    /// window. The middle is left out.
    pub fn window(&self, items: Int, x: Int, y: Int) -> Int {
        let left = self.right_of(x, int(-(RADIUS as i32)));
        let rows = self.below(y.fill(&[VIEW]), arange(VIEW) - RADIUS as i32);
        let words = rows * self.words() as i32 + (left / BITS as i32).fill(&[VIEW]);
        let shift = (left % BITS as i32).as_u32().fill(&[VIEW]);
        let low = items.at(words).get() >> shift;
        let high = items.at(words + 1).get() << (-shift + BITS as u32);
        let mut seen = [(1u32 << VIEW) - 1; VIEW];
        seen[RADIUS] &= !(1 << RADIUS);
        (low | high) & constant(seen)
    }

    /// The cells that are counted, each once: u32\[len\].
    fn cells(&self) -> Int {
        let row = |word: usize| match self.width.saturating_sub(word * BITS) {
            cells if cells >= BITS => u32::MAX,
            cells => (1u32 << cells) - 1,
        };
        let row: Vec<u32> = (0..self.words()).map(row).collect();
        constant(row.repeat(self.height))
    }

    /// A cell that holds no item, each with equal probability, and whether there is one. Only what is `wanted` has a meaning.
    ///
    /// Of a few cells that are drawn the first free one is taken; where most cells are taken, none may be free, and then all are
    /// counted.
    pub fn free_cell(&self, items: Items, key: Key, wanted: Bool) -> (Int, Bool) {
        /// With the usual 3 cells of 100 taken, one time in a million no draw is free.
        const DRAWS: usize = 4;
        let cells = self.draw(key.fold_in(0), DRAWS);
        let free = !(self.holds(items.food, cells) | self.holds(items.poison, cells));
        let (cell, found) = (cells.at(free.as_i32().argmax(0)).get(), free.any_all());
        rare(wanted & !found, (cell, found), |_| {
            self.free_cell_of_all(items.food | items.poison, key.fold_in(1).bits([]))
        })
    }

    /// So many cells, each any one with equal probability.
    fn draw(&self, key: Key, count: usize) -> Int {
        below(key.bits([count]), int(self.size() as i32).fill(&[count]))
    }

    /// A cell among those that hold none of `items`, each with equal probability, and whether there is one.
    fn free_cell_of_all(&self, items: Int, draw: Int) -> (Int, Bool) {
        let free = (items ^ u32::MAX) & self.cells();
        let counts = free.count_ones().as_i32();
        let up_to = counts.cumsum(0);
        let number = up_to.index(0, self.len() - 1);
        let nth = below(draw, number);
        let word = up_to.le(nth).as_i32().sum_all();
        let nth = nth - (up_to.at(word).get() - counts.at(word).get());
        let bits = (free.at(word).get().fill(&[BITS]) >> arange(BITS).as_u32()) & 1;
        let bit = bits.as_i32().cumsum(0).le(nth).as_i32().sum_all();
        let (row, column) = (word / self.words() as i32, word % self.words() as i32 * BITS as i32 + bit);
        (self.cell(column, row), number.gt(0))
    }

    /// Cells that are drawn at a time for a new world: so few that most of them differ. In a world of fewer than 1024 cells these are
    /// fewer than 16.
    fn draws(&self) -> usize {
        self.size().div_ceil(64).min(256)
    }

    /// Which of these cells are none of the others: bool\[N\] of i32\[N\].
    fn alone(&self, cells: Int) -> Bool {
        /// How often a cell occurs is counted in so many bits: of so few draws that a cell is drawn 16 times is as good as impossible,
        /// or impossible (see [`Grid::draws`]).
        const COUNTER: usize = 4;
        const COUNTERS: i32 = (BITS / COUNTER) as i32;
        let (words, shift) = (cells / COUNTERS, (cells % COUNTERS * COUNTER as i32).as_u32());
        let none = int_u32(0).fill(&[self.size().div_ceil(COUNTERS as usize)]);
        let counts = none.at(words).add(shift.full_like(1) << shift);
        ((counts.at(words).get() >> shift) & ((1 << COUNTER) - 1)).eq(1)
    }

    /// `food` and `poison` items on different cells, every such layout with equal probability. At most `size` items are laid.
    ///
    /// Cells are drawn, many at a time, until all items lie somewhere. Those that are drawn more than once among these are left out:
    /// what remains is any sequence of different cells with equal probability, as long as it is. The number of draws is the same
    /// for all environments and enough if few cells are taken; in a crowded grid the last items choose among the free cells, which
    /// costs more.
    pub fn scatter(&self, key: Key, food: Int, poison: Int, most: Int) -> Items {
        let count = self.draws();
        let [draws, rest] = key.split();
        let total = (food + poison).minimum(self.size() as i32);
        let trials = most + most / 4 + 32;
        let none = Layout { food: self.empty(), poison: self.empty(), count: int(0), draw: int(0) };
        let laid = while_loop(
            none,
            |laid| laid.draw.lt(trials),
            |laid| {
                let cells = self.draw(draws.fold_in(laid.draw), count);
                let taken = self.holds(laid.food, cells) | self.holds(laid.poison, cells);
                let free = self.alone(cells) & !taken;
                let number = laid.count + free.as_i32().cumsum(0);
                let is_food = number.le(food);
                Layout {
                    food: self.lay(laid.food, cells, free & is_food),
                    poison: self.lay(laid.poison, cells, free & !is_food & number.le(total)),
                    count: number.index(0, count - 1).minimum(total),
                    draw: laid.draw + count as i32,
                }
            },
        );
        let laid = rare(laid.count.lt(total), laid, |laid| {
            while_loop(
                laid,
                |laid| laid.count.lt(total),
                |laid| {
                    let draw = rest.fold_in(laid.draw).bits([]);
                    let (cell, there) = self.free_cell_of_all(laid.food | laid.poison, draw);
                    let is_food = laid.count.lt(food);
                    Layout {
                        food: self.lay(laid.food, cell, there & is_food),
                        poison: self.lay(laid.poison, cell, there & !is_food),
                        count: laid.count + there.as_i32(),
                        draw: laid.draw + 1,
                    }
                },
            )
        });
        Items { food: laid.food, poison: laid.poison }
    }
}

/// The bits of both kinds of items.
#[derive(Clone, Copy)]
pub struct Items {
    pub food: Int,
    pub poison: Int,
}
crate::tree!(Items { food, poison });

/// Items that are being laid.
#[derive(Clone, Copy)]
struct Layout {
    food: Int,
    poison: Int,
    /// Items laid so far.
    count: Int,
    /// Draws so far.
    draw: Int,
}
crate::tree!(Layout { food, poison, count, draw });

/// The bits of a window as numbers 0 or 1: i32\[VIEW, VIEW\] of row and column.
pub fn spread(window: Int) -> Int {
    let columns = crate::lang::iota(DType::U32, [VIEW, VIEW], 1);
    ((window.broadcast(1, VIEW) >> columns) & 1).as_i32()
}
