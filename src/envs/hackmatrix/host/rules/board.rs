//! Drawing the board of a new stage.

use crate::envs::hackmatrix::host::layout::layout;
use crate::envs::hackmatrix::host::{Board, Cell, block, is_valid_layout};

/// What the board of a new stage depends on.
#[derive(Clone, Debug)]
pub struct Site {
    pub player: Cell,
    /// The cells of the enemies and transmissions that stay from the stage before.
    pub occupied: Vec<Cell>,
    /// The programs that blocks may hold.
    pub pool: Vec<usize>,
}

/// Draws a uniform number below another one.
type Below<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Draws a board: exit and pickups on the free corners, blocks, resources.
pub(super) fn generate(site: &Site, below: Below) -> Board {
    let mut board = Board::default();
    let mut corners = Cell::CORNERS.to_vec();
    corners.retain(|&corner| corner != site.player);
    let exit = corners.remove(below(corners.len()));
    board.exit_cell[exit] = true;
    corners.into_iter().for_each(|corner| board.data_siphon[corner] = true);
    place_blocks(&mut board, site, exit, below);
    place_resources(&mut board, below);
    board
}

/// Draws layouts of 5 to 11 blocks until one is valid; after 100 failures the stage has no blocks.
fn place_blocks(board: &mut Board, site: &Site, exit: Cell, below: Below) {
    let count = 5 + below(7);
    let empty = board.clone();
    for _ in 0..100 {
        *board = empty.clone();
        draw_blocks(board, site, count, below);
        if is_valid_layout(board, exit) {
            return;
        }
    }
    *board = empty;
}

fn draw_blocks(board: &mut Board, site: &Site, count: usize, below: Below) {
    let allowed = |cell: &Cell| !Cell::CORNERS.contains(cell) && !site.occupied.contains(cell);
    let mut cells: Vec<Cell> = Cell::all().filter(allowed).collect();
    let mut programs = site.pool.clone();
    for _ in 0..count.min(cells.len()) {
        let cell = cells.swap_remove(below(cells.len()));
        let data = below(2) == 0 || programs.is_empty();
        let question = below(10) == 0;
        if data {
            board.block_type[cell] = block::DATA;
            board.block_points[cell] = 1 + below(9) as i32;
            board.block_spawn[cell] = board.block_points[cell];
        } else {
            let program = programs.swap_remove(below(programs.len()));
            board.block_type[cell] = block::PROGRAM;
            board.block_program[cell] = program as i32;
            board.block_spawn[cell] = layout().programs[program].spawn;
        }
        if question {
            board.block_type[cell] = block::QUESTION;
            board.question_is_data[cell] = data;
        }
    }
}

/// Puts credits or energy on every cell that is neither a block nor the exit.
fn place_resources(board: &mut Board, below: Below) {
    for cell in Cell::all() {
        if board.has_block(cell) || board.exit_cell[cell] {
            continue;
        }
        let amount = match below(20) {
            0..9 => 1,
            9..18 => 2,
            _ => 3,
        };
        let kind = if below(2) == 0 { &mut board.res_credits } else { &mut board.res_energy };
        kind[cell] = amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::rules::{Dice, Seeded};

    #[test]
    fn a_generated_board_follows_the_rules() {
        let mut dice = Seeded::new(3);
        for _ in 0..200 {
            let occupied = vec![Cell::new(2, 2), Cell::new(3, 4)];
            let site = Site { player: Cell::new(0, 5), occupied, pool: (0..23).collect() };
            let board = generate(&site, &mut |n| dice.below(n));
            let blocks: Vec<Cell> = Cell::all().filter(|&cell| board.has_block(cell)).collect();
            assert!((5..=11).contains(&blocks.len()) || blocks.is_empty());
            let mut programs = Vec::new();
            for &cell in &blocks {
                assert!(!Cell::CORNERS.contains(&cell) && !site.occupied.contains(&cell));
                if board.holds_data(cell) {
                    assert_eq!(board.block_points[cell], board.block_spawn[cell]);
                } else {
                    programs.push(board.block_program[cell]);
                }
            }
            programs.sort();
            assert!(programs.windows(2).all(|pair| pair[0] != pair[1]));
            for cell in Cell::all() {
                let amount = board.res_credits[cell] + board.res_energy[cell];
                assert_eq!((1..=3).contains(&amount), !board.has_block(cell) && !board.exit_cell[cell]);
                let corner = Cell::CORNERS.contains(&cell) && cell != site.player;
                assert_eq!(board.exit_cell[cell] || board.data_siphon[cell], corner);
            }
        }
    }

    #[test]
    fn an_exhausted_pool_leaves_only_data() {
        let site = Site { player: Cell::new(0, 0), occupied: vec![], pool: vec![9] };
        let mut dice = Seeded::new(5);
        for _ in 0..50 {
            let board = generate(&site, &mut |n| dice.below(n));
            let programs =
                Cell::all().filter(|&cell| board.has_block(cell) && !board.holds_data(cell)).count();
            assert!(programs <= 1);
        }
    }
}
