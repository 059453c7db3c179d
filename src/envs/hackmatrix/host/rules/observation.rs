//! The observation: 10 numbers of the player, 23 ownership flags, 42 features of each of 36 cells.

use crate::envs::hackmatrix::host::layout::{
    CELL_FEATURES, GRID_START, OBS, PLAYER_FEATURES, PROGRAMS, layout,
};
use crate::envs::hackmatrix::host::{Cell, Game, block};

/// The observation of a game, f32 `[1545]`.
pub fn observe(game: &Game) -> Vec<f32> {
    let mut obs = Vec::with_capacity(OBS);
    let player = layout().player.iter().zip(player_values(game));
    obs.extend(player.map(|(feature, value)| feature.scale(value)));
    obs.extend(game.owned_flags().map(|owned| owned as i32 as f32));
    debug_assert_eq!(obs.len(), GRID_START);
    for cell in Cell::all() {
        let values = layout().cell.iter().zip(cell_values(game, cell));
        obs.extend(values.map(|(feature, value)| feature.scale(value)));
    }
    obs
}

fn player_values(game: &Game) -> [i32; PLAYER_FEATURES] {
    [
        game.player.row,
        game.player.col,
        game.hp,
        game.credits,
        game.energy,
        game.stage,
        game.data_siphons,
        game.attack,
        game.show as i32,
        game.scheduled_disabled as i32,
    ]
}

fn cell_values(game: &Game, cell: Cell) -> [i32; CELL_FEATURES] {
    let board = &game.board;
    let mut values = [0; CELL_FEATURES];
    if let Some(enemy) = game.visible_enemy(cell) {
        values[enemy.kind as usize] = 1;
        values[4] = enemy.hp;
        values[5] = enemy.stunned as i32;
        values[6] = enemy.from_siphon as i32;
    }
    match board.block_type[cell] {
        block::DATA => {
            values[7] = 1;
            values[10] = board.block_points[cell];
            values[12 + PROGRAMS] = board.block_spawn[cell];
        }
        block::PROGRAM => {
            values[8] = 1;
            values[12 + board.block_program[cell] as usize] = 1;
            values[12 + PROGRAMS] = board.block_spawn[cell];
        }
        block::QUESTION => values[9] = 1,
        _ => {}
    }
    values[11] = (board.has_block(cell) && board.siphoned[cell]) as i32;
    values[36] = game.transmission_at(cell).map_or(0, |transmission| transmission.turns);
    if board.resource_visible(cell) {
        values[37] = board.res_credits[cell];
        values[38] = board.res_energy[cell];
    }
    values[39] = board.data_siphon[cell] as i32;
    values[40] = board.exit_cell[cell] as i32;
    values[41] = board.siphon_center[cell] as i32;
    values
}
