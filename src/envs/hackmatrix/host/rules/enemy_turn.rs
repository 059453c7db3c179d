//! The enemy turn: transmissions arrive, enemies attack or move, new transmissions appear.

use std::collections::VecDeque;

use super::dice::Dice;
use super::{DIRECTIONS, neighbours};
use crate::envs::hackmatrix::host::{Cell, Enemy, EnemyType, Game, Grid, Transmission};

/// Runs the enemy turn. With STEP in effect it only ends that effect, and says false.
pub(super) fn run(game: &mut Game, dice: &mut dyn Dice) -> bool {
    if game.step_active {
        game.step_active = false;
        return false;
    }
    game.turn += 1;
    tick_transmissions(game);
    enemies_act(game, dice);
    spawn_scheduled(game, dice);
    for _ in 0..game.pending_siphon {
        spawn(game, Origin::Siphon, dice);
    }
    game.pending_siphon = 0;
    for enemy in &mut game.enemies {
        enemy.disabled_turns = (enemy.disabled_turns - 1).max(0);
        enemy.stunned = false;
    }
    game.history.push(game.snapshot());
    true
}

/// Transmissions whose time has come turn into enemies, which stay idle in this turn.
fn tick_transmissions(game: &mut Game) {
    for mut transmission in std::mem::take(&mut game.transmissions) {
        if transmission.turns > 1 {
            transmission.turns -= 1;
            game.transmissions.push(transmission);
            continue;
        }
        let Transmission { kind, at, from_siphon, from_scheduled, .. } = transmission;
        game.enemies.push(Enemy {
            kind,
            at,
            hp: kind.max_hp(),
            disabled_turns: 1,
            stunned: false,
            from_siphon,
            from_scheduled,
            hint: (kind == EnemyType::Cryptog).then_some(at),
        });
    }
}

/// Every enemy attacks or moves, a virus up to twice. The order is drawn anew for each half-step, and
/// each enemy sees what those before it did.
fn enemies_act(game: &mut Game, dice: &mut dyn Dice) {
    let mut attacked = vec![false; game.enemies.len()];
    let any_virus = game.enemies.iter().any(|enemy| enemy.kind == EnemyType::Virus);
    for half_step in 0..if any_virus { 2 } else { 1 } {
        for index in dice.order(game.enemies.len()) {
            let enemy = &game.enemies[index];
            let idle = enemy.disabled_turns > 0 || enemy.stunned || attacked[index];
            if idle || half_step >= enemy.kind.speed() {
                continue;
            }
            if enemy.at.distance(game.player) == 1 {
                game.hp = (game.hp - 1).max(0);
                attacked[index] = true;
            } else if let Some(next) = next_cell(game, index) {
                let player = game.player;
                let enemy = &mut game.enemies[index];
                enemy.at = next;
                if enemy.kind == EnemyType::Cryptog && next.in_line_with(player) {
                    enemy.hint = Some(next);
                }
            }
        }
    }
}

/// Where an enemy that is not next to the player moves, if anywhere.
fn next_cell(game: &Game, index: usize) -> Option<Cell> {
    let enemy = &game.enemies[index];
    let mut blocked = Grid::<bool>::default();
    let mut occupied = Grid::<bool>::default();
    if !enemy.kind.walks_on_blocks() {
        Cell::all().for_each(|cell| blocked[cell] = game.board.has_block(cell));
    }
    let others = game.enemies.iter().enumerate().filter(|&(other, _)| other != index);
    others.for_each(|(_, other)| occupied[other.at] = true);
    game.transmissions.iter().for_each(|transmission| occupied[transmission.at] = true);

    let around =
        first_step(enemy.at, game.player, |cell| !blocked[cell] && (!occupied[cell] || cell == game.player));
    if around.is_some() {
        return around;
    }
    let through = first_step(enemy.at, game.player, |cell| !blocked[cell]);
    if let Some(next) = through.filter(|&next| !occupied[next]) {
        return Some(next);
    }
    // `min_by_key` keeps the first of equals.
    let free = neighbours(enemy.at).filter(|&cell| !blocked[cell] && !occupied[cell]);
    free.min_by_key(|&cell| cell.distance(game.player))
}

/// The first cell of the shortest path, of several the one that is first in the order of directions.
fn first_step(start: Cell, goal: Cell, passable: impl Fn(Cell) -> bool) -> Option<Cell> {
    if start == goal || !passable(goal) {
        return None;
    }
    // Distances from the goal: the first step goes to the neighbour that is nearest to it.
    let mut distance = Grid::<Option<i32>>::default();
    distance[goal] = Some(0);
    let mut queue = VecDeque::from([goal]);
    while let Some(cell) = queue.pop_front() {
        for next in neighbours(cell) {
            if passable(next) && distance[next].is_none() {
                distance[next] = distance[cell].map(|steps| steps + 1);
                queue.push_back(next);
            }
        }
    }
    let reachable = neighbours(start).filter_map(|cell| Some((distance[cell]?, cell)));
    reachable.min_by_key(|&(steps, _)| steps).map(|(_, cell)| cell)
}

/// The task that adds a transmission every `scheduled_interval` turns.
fn spawn_scheduled(game: &mut Game, dice: &mut dyn Dice) {
    let due = game.scheduled_interval > 0 && game.turn >= game.next_scheduled_turn;
    if due && !game.scheduled_disabled {
        spawn(game, Origin::Schedule, dice);
        game.next_scheduled_turn = game.turn + game.scheduled_interval;
    }
}

/// Why a transmission appears.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    Stage,
    Siphon,
    Schedule,
}

/// Adds one transmission on a random free cell, out of the player's line of fire if possible.
pub(super) fn spawn(game: &mut Game, origin: Origin, dice: &mut dyn Dice) {
    let free: Vec<Cell> = Cell::all().filter(|&cell| is_free(game, cell)).collect();
    if free.is_empty() {
        return;
    }
    let exposed = line_of_fire(game);
    let sheltered: Vec<Cell> = free.iter().copied().filter(|&cell| !exposed[cell]).collect();
    if let Some(at) = dice.spawn_cell(&sheltered, &free) {
        game.transmissions.push(Transmission {
            kind: dice.spawn_type(),
            at,
            turns: 1,
            from_siphon: origin == Origin::Siphon,
            from_scheduled: origin == Origin::Schedule,
        });
    }
}

fn is_free(game: &Game, cell: Cell) -> bool {
    cell != game.player
        && !game.board.has_block(cell)
        && game.enemy_at(cell).is_none()
        && game.transmission_at(cell).is_none()
}

/// In each direction from the player, the cells up to the first enemy or block, which is included.
fn line_of_fire(game: &Game) -> Grid<bool> {
    let mut exposed = Grid::default();
    for (rows, cols) in DIRECTIONS {
        let mut at = game.player;
        while let Some(cell) = at.offset(rows, cols) {
            exposed[cell] = true;
            if game.board.has_block(cell) || game.enemy_at(cell).is_some() {
                break;
            }
            at = cell;
        }
    }
    exposed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A board with the player, enemies and transmissions, and where the first enemy goes.
    fn moves(player: (i32, i32), enemies: &[(EnemyType, i32, i32)], blocks: &[(i32, i32)]) -> Option<Cell> {
        let mut game = Game::empty(Cell::new(player.0, player.1), Cell::new(5, 5));
        game.enemies = enemies.iter().map(|&(kind, row, col)| enemy(kind, Cell::new(row, col))).collect();
        for &(row, col) in blocks {
            game.board.block_type[Cell::new(row, col)] = 1;
        }
        next_cell(&game, 0)
    }

    fn enemy(kind: EnemyType, at: Cell) -> Enemy {
        Enemy {
            kind,
            at,
            hp: 2,
            disabled_turns: 0,
            stunned: false,
            from_siphon: false,
            from_scheduled: false,
            hint: None,
        }
    }

    const DAEMON: EnemyType = EnemyType::Daemon;

    #[test]
    fn ties_go_up_down_left_right() {
        assert_eq!(moves((0, 0), &[(DAEMON, 2, 2)], &[]), Some(Cell::new(1, 2)));
        assert_eq!(moves((4, 4), &[(DAEMON, 2, 2)], &[]), Some(Cell::new(3, 2)));
        assert_eq!(moves((2, 0), &[(DAEMON, 2, 3)], &[]), Some(Cell::new(2, 2)));
    }

    #[test]
    fn enemies_go_around_transmissions() {
        let mut game = Game::empty(Cell::new(0, 0), Cell::new(5, 5));
        game.enemies.push(enemy(DAEMON, Cell::new(2, 0)));
        game.transmissions.push(Transmission {
            kind: DAEMON,
            at: Cell::new(1, 0),
            turns: 1,
            from_siphon: false,
            from_scheduled: false,
        });
        assert_eq!(next_cell(&game, 0), Some(Cell::new(2, 1)));
    }

    #[test]
    fn a_walled_in_enemy_stays() {
        let enemies = [(DAEMON, 2, 0), (DAEMON, 1, 0)];
        assert_eq!(moves((0, 0), &enemies, &[(2, 1), (3, 0)]), None);
        assert_eq!(moves((0, 0), &enemies, &[(2, 1)]), Some(Cell::new(3, 0)), "a detour may lead away");
    }

    #[test]
    fn only_a_glitch_walks_over_blocks() {
        assert_eq!(moves((0, 0), &[(DAEMON, 2, 0)], &[(1, 0)]), Some(Cell::new(2, 1)));
        assert_eq!(moves((0, 0), &[(EnemyType::Glitch, 2, 0)], &[(1, 0)]), Some(Cell::new(1, 0)));
    }

    #[test]
    fn a_virus_moves_and_attacks_in_one_turn() {
        let mut game = Game::empty(Cell::new(0, 0), Cell::new(5, 5));
        game.enemies.push(enemy(EnemyType::Virus, Cell::new(1, 1)));
        let mut dice = super::super::Seeded::new(1);
        run(&mut game, &mut dice);
        assert_eq!((game.enemies[0].at, game.hp), (Cell::new(0, 1), 2));
        run(&mut game, &mut dice);
        assert_eq!((game.enemies[0].at, game.hp), (Cell::new(0, 1), 1));
    }
}
