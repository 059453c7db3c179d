//! Stages: completing one and entering the next.

use super::dice::Dice;
use super::enemy_turn::{Origin, spawn};
use super::{Rules, Site};
use crate::envs::hackmatrix::host::layout::STAGES;
use crate::envs::hackmatrix::host::{Cell, Game};

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
