//! The player's action: walk, attack, siphon, or run a program.

use super::dice::Dice;
use super::{DIRECTIONS, Deed, neighbours, programs};
use crate::envs::hackmatrix::host::layout::{ACTIONS, FIRST_PROGRAM, SIPHON};
use crate::envs::hackmatrix::host::{Cell, Game, block};

/// Which of the 28 actions are valid.
pub fn action_mask(game: &Game) -> [bool; ACTIONS] {
    std::array::from_fn(|action| match action {
        0..4 => {
            let (rows, cols) = DIRECTIONS[action];
            let next = game.player.offset(rows, cols);
            next.is_some_and(|next| !game.board.has_block(next) || game.enemy_at(next).is_some())
        }
        SIPHON => game.data_siphons > 0,
        _ => programs::is_available(game, action - FIRST_PROGRAM),
    })
}

/// Does the action, or nothing if it cannot be done.
pub(super) fn perform(game: &mut Game, action: i32, dice: &mut dyn Dice) -> Option<Deed> {
    match usize::try_from(action).ok()? {
        direction @ 0..4 => attack_or_walk(game, DIRECTIONS[direction]),
        SIPHON => siphon(game),
        action @ FIRST_PROGRAM..ACTIONS => programs::run(game, action - FIRST_PROGRAM, dice),
        _ => None,
    }
}

/// Attacks the first target in the direction, or else walks one cell.
fn attack_or_walk(game: &mut Game, (rows, cols): (i32, i32)) -> Option<Deed> {
    let line = (1..).map_while(|steps| game.player.offset(rows * steps, cols * steps));
    for cell in line {
        if let Some(index) = game.transmissions.iter().position(|t| t.at == cell) {
            let kills = !game.transmissions.remove(index).from_scheduled as i32;
            return Some(Deed { ends_turn: true, kills, ..Deed::default() });
        }
        if let Some(index) = game.enemies.iter().position(|enemy| enemy.at == cell) {
            let kills = attack(game, index);
            return Some(Deed { ends_turn: true, kills, ..Deed::default() });
        }
        if game.board.has_block(cell) {
            break;
        }
    }
    let next = game.player.offset(rows, cols)?;
    if game.board.has_block(next) { None } else { Some(walk(game, next)) }
}

/// Hits one enemy and gives the kills.
fn attack(game: &mut Game, index: usize) -> i32 {
    let enemy = &mut game.enemies[index];
    enemy.hp = (enemy.hp - game.attack).max(0);
    if enemy.hp > 0 {
        enemy.stunned = true;
        return 0;
    }
    !game.enemies.remove(index).from_scheduled as i32
}

/// Walks onto a free cell. Credits and energy stay where they are; only a data siphon is picked up.
fn walk(game: &mut Game, next: Cell) -> Deed {
    game.player = next;
    let pickup = game.board.data_siphon[next];
    if pickup {
        game.board.data_siphon[next] = false;
        game.data_siphons += 1;
    }
    let exit_reached = game.board.exit_cell[next];
    Deed { ends_turn: !exit_reached, exit_reached, kills: 0, pickup }
}

/// Siphons the player's cell and its neighbours.
fn siphon(game: &mut Game) -> Option<Deed> {
    if game.data_siphons <= 0 {
        return None;
    }
    siphon_cell(game, game.player);
    for cell in neighbours(game.player) {
        siphon_cell(game, cell);
    }
    game.board.siphon_center[game.player] = true;
    game.data_siphons -= 1;
    game.scheduled_interval = (game.scheduled_interval - 1).max(4);
    game.next_scheduled_turn += 5;
    Some(Deed { ends_turn: true, ..Deed::default() })
}

fn siphon_cell(game: &mut Game, cell: Cell) {
    if game.board.siphoned[cell] {
        return;
    }
    game.board.siphoned[cell] = true;
    if !game.board.has_block(cell) {
        game.credits += game.board.res_credits[cell];
        game.energy += game.board.res_energy[cell];
        game.board.res_credits[cell] = 0;
        game.board.res_energy[cell] = 0;
        return;
    }
    game.board.reveal(cell);
    if game.board.block_type[cell] == block::DATA {
        game.score += game.board.block_points[cell];
    } else {
        let program = game.board.block_program[cell] as usize;
        if !game.owned.contains(&program) {
            game.owned.push(program);
        }
    }
    game.pending_siphon += game.board.block_spawn[cell];
    game.board.block_spawn[cell] = 0;
}
