//! Stages: completing one, entering the next, and drawing its board.

use super::dice::Dice;
use super::enemy_turn::{Origin, spawn};
use super::{Rules, neighbours};
use crate::envs::hackmatrix::host::layout::{STAGES, layout};
use crate::envs::hackmatrix::host::{Board, Cell, Game, Grid, block};

/// What the board of a new stage depends on.
#[derive(Clone, Debug)]
pub struct Site {
    pub player: Cell,
    /// The cells of the enemies and transmissions that stay from the stage before.
    pub occupied: Vec<Cell>,
    /// The programs that blocks may hold.
    pub pool: Vec<usize>,
}

/// Completes the stage and enters the next; says whether it was the last.
pub(super) fn complete(rules: &Rules, game: &mut Game, dice: &mut dyn Dice) -> bool {
    if game.hp < 3 {
        game.hp += 1;
    }
    if game.stage == STAGES {
        return true;
    }
    game.stage += 1;
    game.scheduled_interval = 13 - game.stage;
    enter(rules, game, dice);
    false
}

/// Sets up the game's current stage. Enemies, transmissions, pending transmissions and the history stay.
pub(super) fn enter(rules: &Rules, game: &mut Game, dice: &mut dyn Dice) {
    game.turn = 0;
    game.next_scheduled_turn = game.scheduled_interval;
    game.show = false;
    game.scheduled_disabled = false;
    game.step_active = false;
    game.atk_plus_uses = 0;
    let enemies = game.enemies.iter().map(|enemy| enemy.at);
    let transmissions = game.transmissions.iter().map(|transmission| transmission.at);
    let site = Site {
        player: game.player,
        occupied: enemies.chain(transmissions).collect(),
        pool: rules.pool.clone(),
    };
    game.board = dice.board(&site);
    game.exit = Cell::all().find(|&cell| game.board.exit_cell[cell]).expect("a board has an exit");
    for _ in 0..rules.params.stage_transmissions(game.stage) {
        spawn(game, Origin::Stage, dice);
    }
}

/// Draws a board: exit and pickups on the free corners, blocks, resources.
pub(super) fn generate<D: Dice + ?Sized>(site: &Site, dice: &mut D) -> Board {
    let mut board = Board::default();
    let mut corners = Cell::CORNERS.to_vec();
    corners.retain(|&corner| corner != site.player);
    let exit = corners.remove(dice.below(corners.len()));
    board.exit_cell[exit] = true;
    corners.into_iter().for_each(|corner| board.data_siphon[corner] = true);
    place_blocks(&mut board, site, exit, dice);
    place_resources(&mut board, dice);
    board
}

/// Draws layouts of 5 to 11 blocks until one is valid; after 100 failures the stage has no blocks.
fn place_blocks<D: Dice + ?Sized>(board: &mut Board, site: &Site, exit: Cell, dice: &mut D) {
    let count = 5 + dice.below(7);
    let empty = board.clone();
    for _ in 0..100 {
        *board = empty.clone();
        draw_blocks(board, site, count, dice);
        if is_valid_layout(board, exit) {
            return;
        }
    }
    *board = empty;
}

fn draw_blocks<D: Dice + ?Sized>(board: &mut Board, site: &Site, count: usize, dice: &mut D) {
    let allowed = |cell: &Cell| !Cell::CORNERS.contains(cell) && !site.occupied.contains(cell);
    let mut cells: Vec<Cell> = Cell::all().filter(allowed).collect();
    let mut programs = site.pool.clone();
    for _ in 0..count.min(cells.len()) {
        let cell = cells.swap_remove(dice.below(cells.len()));
        let data = dice.below(2) == 0 || programs.is_empty();
        let question = dice.below(10) == 0;
        if data {
            board.block_type[cell] = block::DATA;
            board.block_points[cell] = 1 + dice.below(9) as i32;
            board.block_spawn[cell] = board.block_points[cell];
        } else {
            let program = programs.swap_remove(dice.below(programs.len()));
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

/// Puts credits or energy on every cell that is neither a block nor the exit.
fn place_resources<D: Dice + ?Sized>(board: &mut Board, dice: &mut D) {
    for cell in Cell::all() {
        if board.has_block(cell) || board.exit_cell[cell] {
            continue;
        }
        let amount = match dice.below(20) {
            0..9 => 1,
            9..18 => 2,
            _ => 3,
        };
        let kind = if dice.below(2) == 0 { &mut board.res_credits } else { &mut board.res_energy };
        kind[cell] = amount;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::rules::Seeded;

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

    #[test]
    fn a_generated_board_follows_the_rules() {
        let mut dice = Seeded::new(3);
        for _ in 0..200 {
            let occupied = vec![Cell::new(2, 2), Cell::new(3, 4)];
            let site = Site { player: Cell::new(0, 5), occupied, pool: (0..23).collect() };
            let board = generate(&site, &mut dice);
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
            let board = generate(&site, &mut dice);
            let programs =
                Cell::all().filter(|&cell| board.has_block(cell) && !board.holds_data(cell)).count();
            assert!(programs <= 1);
        }
    }
}
