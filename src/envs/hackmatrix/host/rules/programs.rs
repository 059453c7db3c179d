//! The 23 programs: when each can run, and what it does.

use super::dice::Dice;
use super::{Deed, surroundings};
use crate::envs::hackmatrix::host::layout::{STAGES, layout};
use crate::envs::hackmatrix::host::{Cell, EnemyType, Game};

// Program indices, in the order of the layout.
const PUSH: usize = 0;
const PULL: usize = 1;
const CRASH: usize = 2;
const WARP: usize = 3;
const POLY: usize = 4;
const WAIT: usize = 5;
const DEBUG: usize = 6;
const ROW: usize = 7;
const COL: usize = 8;
const UNDO: usize = 9;
const STEP: usize = 10;
const SIPH_PLUS: usize = 11;
const EXCH: usize = 12;
const SHOW: usize = 13;
pub(super) const RESET: usize = 14;
const CALM: usize = 15;
const D_BOM: usize = 16;
const DELAY: usize = 17;
const ANTI_V: usize = 18;
const SCORE: usize = 19;
const REDUC: usize = 20;
const ATK_PLUS: usize = 21;
const HACK: usize = 22;

/// Whether a program can run: owned, affordable, and of use.
pub(super) fn is_available(game: &Game, program: usize) -> bool {
    let cost = &layout().programs[program];
    game.owned.contains(&program)
        && game.credits >= cost.credits
        && game.energy >= cost.energy
        && is_applicable(game, program)
}

fn is_applicable(game: &Game, program: usize) -> bool {
    let board = &game.board;
    let mut enemies = game.enemies.iter();
    match program {
        PUSH | PULL | POLY => !game.enemies.is_empty(),
        CRASH => surroundings(game.player).any(|cell| {
            board.has_block(cell) || game.enemy_at(cell).is_some() || game.transmission_at(cell).is_some()
        }),
        WARP => !game.enemies.is_empty() || !game.transmissions.is_empty(),
        WAIT | STEP | SIPH_PLUS | EXCH => true,
        DEBUG => enemies.any(|enemy| board.has_block(enemy.at)),
        ROW => enemies.any(|enemy| enemy.at.row == game.player.row),
        COL => enemies.any(|enemy| enemy.at.col == game.player.col),
        UNDO => !game.history.is_empty(),
        SHOW => !game.show,
        RESET => game.hp < 3,
        CALM => !game.scheduled_disabled,
        D_BOM => enemies.any(|enemy| enemy.kind == EnemyType::Daemon),
        DELAY => !game.transmissions.is_empty(),
        ANTI_V => enemies.any(|enemy| enemy.kind == EnemyType::Virus),
        SCORE => game.stage < STAGES,
        REDUC => Cell::all().any(|cell| reducible(game, cell) && board.block_spawn[cell] > 0),
        ATK_PLUS => game.atk_plus_uses < 2,
        HACK => board.siphoned.0.contains(&true),
        _ => unreachable!("there are 23 programs"),
    }
}

/// Pays for a program and runs it, or does nothing if it is not available.
pub(super) fn run(game: &mut Game, program: usize, dice: &mut dyn Dice) -> Option<Deed> {
    if !is_available(game, program) {
        return None;
    }
    let cost = &layout().programs[program];
    game.credits -= cost.credits;
    game.energy -= cost.energy;
    let player = game.player;
    let mut deed = Deed::default();
    match program {
        PUSH => shove(game, 1),
        PULL => shove(game, -1),
        CRASH => deed.kills = surroundings(player).map(|cell| crash(game, cell)).sum(),
        WARP => {
            deed.kills = warp(game, dice);
            deed.exit_reached = game.player == game.exit;
        }
        POLY => deed.kills = poly(game, dice),
        WAIT => deed.ends_turn = true,
        DEBUG => deed.kills = attack_all(game, |game, at| game.board.has_block(at)),
        ROW => deed.kills = attack_all(game, |game, at| at.row == game.player.row),
        COL => deed.kills = attack_all(game, |game, at| at.col == game.player.col),
        UNDO => undo(game),
        STEP => game.step_active = true,
        SIPH_PLUS => game.data_siphons += 1,
        EXCH => game.energy += 4,
        SHOW => game.show = true,
        RESET => game.hp = 3,
        CALM => game.scheduled_disabled = true,
        D_BOM => deed.kills = bomb(game),
        DELAY => game.transmissions.iter_mut().for_each(|transmission| transmission.turns += 3),
        ANTI_V => {
            let virus = game.enemies.iter().map(|enemy| enemy.kind == EnemyType::Virus).collect();
            deed.kills = damage(game, virus, 1);
        }
        SCORE => game.score += STAGES - game.stage,
        REDUC => reduce_spawns(game),
        ATK_PLUS => {
            game.attack += 1;
            game.atk_plus_uses += 1;
        }
        HACK => deed.kills = attack_all(game, |game, at| game.board.siphoned[at]),
        _ => unreachable!("there are 23 programs"),
    }
    Some(deed)
}

/// A block that REDUC counts.
fn reducible(game: &Game, cell: Cell) -> bool {
    game.board.has_block(cell) && !game.board.siphoned[cell]
}

fn reduce_spawns(game: &mut Game) {
    for cell in Cell::all() {
        if reducible(game, cell) {
            game.board.block_spawn[cell] = (game.board.block_spawn[cell] - 1).max(0);
        }
    }
}

/// Attacks every enemy whose cell is in the set.
fn attack_all(game: &mut Game, in_set: impl Fn(&Game, Cell) -> bool) -> i32 {
    let hit = game.enemies.iter().map(|enemy| in_set(game, enemy.at)).collect();
    damage(game, hit, game.attack)
}

/// Takes hp from the enemies that are `hit`, stuns those that survive, and gives the kills.
fn damage(game: &mut Game, hit: Vec<bool>, hp: i32) -> i32 {
    for (enemy, _) in game.enemies.iter_mut().zip(hit).filter(|(_, hit)| *hit) {
        enemy.hp = (enemy.hp - hp).max(0);
        enemy.stunned |= enemy.hp > 0;
    }
    remove_dead(game)
}

/// Removes all enemies without hp and counts those that are kills: scheduled ones are not.
fn remove_dead(game: &mut Game) -> i32 {
    let kills = game.enemies.iter().filter(|enemy| enemy.hp <= 0 && !enemy.from_scheduled).count();
    game.enemies.retain(|enemy| enemy.hp > 0);
    kills as i32
}

/// PUSH (`sign` 1) and PULL (-1): every enemy steps away from or towards the player. Targets are chosen
/// from the positions before; of several enemies with one target the first in the list gets it.
fn shove(game: &mut Game, sign: i32) {
    let targets: Vec<_> =
        game.enemies.iter().map(|enemy| shove_target(enemy.at, game.player, sign)).collect();
    let mut taken = Vec::new();
    for (enemy, target) in game.enemies.iter_mut().zip(targets) {
        if let Some(target) = target.filter(|target| !taken.contains(target)) {
            enemy.at = target;
            taken.push(target);
        }
    }
}

fn shove_target(at: Cell, player: Cell, sign: i32) -> Option<Cell> {
    let rows = sign * (at.row - player.row).signum();
    let cols = sign * (at.col - player.col).signum();
    let diagonal = Some((rows, cols)).filter(|&offset| offset != (0, 0));
    let along_row = Some((rows, 0)).filter(|_| rows != 0);
    let along_col = Some((0, cols)).filter(|_| cols != 0);
    let candidates = [diagonal, along_row, along_col]
        .into_iter()
        .flatten()
        .filter_map(|(rows, cols)| at.offset(rows, cols))
        .filter(|&cell| sign > 0 || cell != player);
    // `min_by_key` keeps the first of equals: the farthest for PUSH, the nearest for PULL.
    candidates.min_by_key(|cell| -sign * cell.distance(player))
}

/// CRASH on one cell: at most one kill for its enemies and one for its transmissions.
fn crash(game: &mut Game, cell: Cell) -> i32 {
    game.board.clear_block(cell);
    remove_enemies(game, cell) + remove_transmissions(game, cell)
}

/// Removes all enemies of a cell: one kill, unless the first is a scheduled one.
fn remove_enemies(game: &mut Game, cell: Cell) -> i32 {
    let kill = game.enemy_at(cell).is_some_and(|first| !first.from_scheduled);
    game.enemies.retain(|enemy| enemy.at != cell);
    kill as i32
}

/// Removes all transmissions of a cell: one kill, unless the first is a scheduled one.
fn remove_transmissions(game: &mut Game, cell: Cell) -> i32 {
    let kill = game.transmission_at(cell).is_some_and(|first| !first.from_scheduled);
    game.transmissions.retain(|transmission| transmission.at != cell);
    kill as i32
}

/// Jumps onto a random enemy or transmission and removes its kind from that cell.
fn warp(game: &mut Game, dice: &mut dyn Dice) -> i32 {
    let ticket = dice.warp_target(game.enemies.len() + game.transmissions.len());
    match ticket.checked_sub(game.enemies.len()) {
        None => {
            game.player = game.enemies[ticket].at;
            remove_enemies(game, game.player)
        }
        Some(index) => {
            game.player = game.transmissions[index].at;
            remove_transmissions(game, game.player)
        }
    }
}

/// Every enemy becomes another type and keeps its lost hp, which may kill it.
fn poly(game: &mut Game, dice: &mut dyn Dice) -> i32 {
    for enemy in &mut game.enemies {
        let lost = enemy.kind.max_hp() - enemy.hp;
        enemy.kind = dice.poly_type(enemy.kind);
        enemy.hp = enemy.kind.max_hp() - lost;
        if enemy.kind == EnemyType::Cryptog {
            enemy.hint = Some(enemy.at);
        }
    }
    remove_dead(game)
}

/// D_BOM: the nearest daemon is removed and every enemy around it loses 1 hp.
fn bomb(game: &mut Game) -> i32 {
    let daemons = game.enemies.iter().enumerate().filter(|(_, enemy)| enemy.kind == EnemyType::Daemon);
    let nearest = daemons.min_by_key(|(_, enemy)| enemy.at.distance(game.player));
    let (index, _) = nearest.expect("D_BOM needs a daemon");
    let daemon = game.enemies.remove(index);
    let hit = game.enemies.iter().map(|enemy| surroundings(daemon.at).any(|cell| cell == enemy.at)).collect();
    !daemon.from_scheduled as i32 + damage(game, hit, 1)
}

/// Restores the newest snapshot. Stage, logical exit, schedule, pending transmissions and STEP stay.
fn undo(game: &mut Game) {
    let snapshot = game.history.pop().expect("UNDO needs a snapshot");
    game.player = snapshot.player;
    game.hp = snapshot.hp;
    game.credits = snapshot.credits;
    game.energy = snapshot.energy;
    game.data_siphons = snapshot.data_siphons;
    game.attack = snapshot.attack;
    game.score = snapshot.score;
    game.turn = snapshot.turn;
    game.show = snapshot.show;
    game.scheduled_disabled = snapshot.scheduled_disabled;
    game.atk_plus_uses = snapshot.atk_plus_uses;
    game.owned = snapshot.owned;
    game.enemies = snapshot.enemies;
    game.transmissions = snapshot.transmissions;
    game.board = snapshot.board;
}
