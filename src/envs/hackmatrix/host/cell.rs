//! The cells of the board.

use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// Cells on one side of the board.
pub const SIDE: i32 = 6;
/// Cells of the board.
pub const CELLS: usize = 36;

/// A position on the board: row 0 is at the bottom of the screen, both coordinates are 0..=5.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[i32; 2]", into = "[i32; 2]")]
pub struct Cell {
    pub row: i32,
    pub col: i32,
}

impl Cell {
    /// The corners, in the order in which the rules list them.
    pub const CORNERS: [Cell; 4] = [Cell::new(0, 0), Cell::new(0, 5), Cell::new(5, 0), Cell::new(5, 5)];

    pub const fn new(row: i32, col: i32) -> Cell {
        Cell { row, col }
    }

    /// The cell at these coordinates, if they are on the board.
    pub fn checked(row: i32, col: i32) -> Option<Cell> {
        let on_board = (0..SIDE).contains(&row) && (0..SIDE).contains(&col);
        on_board.then_some(Cell { row, col })
    }

    /// All cells by index: row 0 first.
    pub fn all() -> impl Iterator<Item = Cell> {
        (0..CELLS).map(Cell::from_index)
    }

    /// `6 * row + col`.
    pub fn index(self) -> usize {
        (SIDE * self.row + self.col) as usize
    }

    pub fn from_index(index: usize) -> Cell {
        Cell { row: index as i32 / SIDE, col: index as i32 % SIDE }
    }

    /// The cell `rows` up and `cols` to the right, if it is on the board.
    pub fn offset(self, rows: i32, cols: i32) -> Option<Cell> {
        Cell::checked(self.row + rows, self.col + cols)
    }

    /// The Manhattan distance.
    pub fn distance(self, other: Cell) -> i32 {
        (self.row - other.row).abs() + (self.col - other.col).abs()
    }

    /// Whether the two cells share a row or a column.
    pub fn in_line_with(self, other: Cell) -> bool {
        self.row == other.row || self.col == other.col
    }
}

/// One value for each of the 36 cells; read and written by [`Cell`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid<T>(pub [T; CELLS]);

impl<T: Copy + Default> Default for Grid<T> {
    fn default() -> Grid<T> {
        Grid([T::default(); CELLS])
    }
}

impl<T> Index<Cell> for Grid<T> {
    type Output = T;
    fn index(&self, cell: Cell) -> &T {
        &self.0[cell.index()]
    }
}

impl<T> IndexMut<Cell> for Grid<T> {
    fn index_mut(&mut self, cell: Cell) -> &mut T {
        &mut self.0[cell.index()]
    }
}

/// The four directions in the order that breaks every tie: up, down, left, right.
pub const DIRECTIONS: [(i32, i32); 4] = [(1, 0), (-1, 0), (0, -1), (0, 1)];

/// The orthogonal neighbours of a cell that are on the board, in the order of [`DIRECTIONS`].
pub fn neighbours(cell: Cell) -> impl Iterator<Item = Cell> {
    DIRECTIONS.into_iter().filter_map(move |(rows, cols)| cell.offset(rows, cols))
}
