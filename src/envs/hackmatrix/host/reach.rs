//! Which boards a stage may begin with.

use super::cell::neighbours;
use super::{Board, Cell, Grid};

/// Whether the blocks of a new board are allowed: every free cell can be reached and every block can be siphoned.
pub fn is_valid_layout(board: &Board, exit: Cell) -> bool {
    let reached = flood(board, exit);
    Cell::all().all(|cell| match board.has_block(cell) {
        false => reached[cell],
        true => neighbours(cell).any(|next| !board.has_block(next)),
    })
}

/// The free cells that can be reached from (0, 0) without walking through the exit.
fn flood(board: &Board, exit: Cell) -> Grid<bool> {
    let start = Cell::new(0, 0);
    let mut reached = Grid::default();
    reached[start] = true;
    let mut open = vec![start];
    while let Some(cell) = open.pop() {
        if cell == exit && cell != start {
            continue;
        }
        for next in neighbours(cell) {
            if !board.has_block(next) && !reached[next] {
                reached[next] = true;
                open.push(next);
            }
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::block;

    #[test]
    fn blocks_may_neither_cut_off_a_cell_nor_hide_behind_others() {
        let exit = Cell::new(5, 5);
        let board = |blocks: &[(i32, i32)]| {
            let mut board = Board::default();
            blocks.iter().for_each(|&(row, col)| board.block_type[Cell::new(row, col)] = block::DATA);
            board
        };
        assert!(is_valid_layout(&board(&[(2, 2), (2, 3), (3, 2)]), exit));
        assert!(!is_valid_layout(&board(&[(0, 4), (1, 5)]), exit), "corner (0, 5) is cut off");
        assert!(
            !is_valid_layout(&board(&[(2, 2), (1, 2), (3, 2), (2, 1), (2, 3)]), exit),
            "(2, 2) is enclosed"
        );
    }

    #[test]
    fn the_exit_does_not_connect_its_neighbours() {
        // (4, 5) can only be reached through the exit on (5, 5).
        let mut board = Board::default();
        for (row, col) in [(3, 5), (4, 4)] {
            board.block_type[Cell::new(row, col)] = block::DATA;
        }
        assert!(!is_valid_layout(&board, Cell::new(5, 5)));
        assert!(is_valid_layout(&board, Cell::new(0, 5)));
    }
}
