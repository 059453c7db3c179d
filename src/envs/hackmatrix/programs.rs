//! The 23 programs: rules, section 4.
//!
//! Most are a few word operations and are computed for everyone: those that damage a set of enemies, together
//! with the player's own attack, are one operation on different sets. The others work only where they run
//! ([`rare`]).

use crate::lang::{Bool, Int, Key, int, int_u64, rare, select, while_loop};

use super::bits::{Dice, add_power, all_if, below, decrement, lowest, nth, only_if};
use super::board::{Board, Place, cross, down, left, right, surroundings, up};
use super::entities::{DAEMON, Enemies, Roster, Transmissions, VIRUS};
use super::host::layout::{FIRST_PROGRAM, PROGRAMS, STAGES, layout};
use super::state::{Scene, State};

// Program numbers, in the order of the layout.
pub const PUSH: usize = 0;
pub const PULL: usize = 1;
pub const CRASH: usize = 2;
pub const WARP: usize = 3;
pub const POLY: usize = 4;
pub const WAIT: usize = 5;
pub const DEBUG: usize = 6;
pub const ROW: usize = 7;
pub const COL: usize = 8;
pub const UNDO: usize = 9;
pub const STEP: usize = 10;
pub const SIPH_PLUS: usize = 11;
pub const EXCH: usize = 12;
pub const SHOW: usize = 13;
pub const RESET: usize = 14;
pub const CALM: usize = 15;
pub const D_BOM: usize = 16;
pub const DELAY: usize = 17;
pub const ANTI_V: usize = 18;
pub const SCORE: usize = 19;
pub const REDUC: usize = 20;
pub const ATK_PLUS: usize = 21;
pub const HACK: usize = 22;

/// The action to do, if it is a program, and the slot of the enemy that the player attacks, if it is not.
#[derive(Clone, Copy)]
pub struct Run {
    pub action: Int,
    pub legal: Bool,
    pub target: Int,
}

impl Run {
    /// Whether this program runs.
    #[track_caller]
    pub fn is(&self, program: usize) -> Bool {
        self.legal & self.action.eq((FIRST_PROGRAM + program) as i32)
    }

    /// Whether one of these programs runs.
    #[track_caller]
    fn is_any(&self, programs: &[usize]) -> Bool {
        programs.iter().map(|&program| self.is(program)).reduce(|a, b| a | b).expect("some program")
    }

    /// Looks up a cost (0..8) of the action.
    #[track_caller]
    fn cost(&self, of: fn(usize) -> i32) -> Int {
        let digits = (0..3).map(|digit| {
            let actions: u64 = (0..PROGRAMS)
                .filter(|&program| of(program) >> digit & 1 == 1)
                .map(|program| 1 << (FIRST_PROGRAM + program))
                .sum();
            ((int_u64(actions) >> self.action.as_u64()) & 1) << digit
        });
        let cost = digits.reduce(|a, b| a | b).expect("three digits");
        select(self.legal, cost.as_i32(), 0)
    }
}

/// What a program, or an attack, did besides changing the state.
pub struct Effect {
    /// i32.
    pub kills: Int,
    pub exit_reached: Bool,
}

/// The blocks that REDUC counts.
#[track_caller]
pub fn reducible(board: &Board) -> Int {
    board.blocks & !board.siphoned
}

/// Pays for the program and runs it; also deals the damage of an attack.
#[track_caller]
pub fn run(mut state: State, scene: &Scene, run: Run, key: Key) -> (State, Effect) {
    let world = &mut state.world;
    world.credits = world.credits - run.cost(|p| layout().programs[p].credits);
    world.energy = world.energy - run.cost(|p| layout().programs[p].energy);

    let elaborate = run.is_any(&[PUSH, PULL, CRASH, WARP, POLY, D_BOM]);
    let before = Upheaval {
        player: world.player,
        enemies: world.enemies,
        transmissions: world.transmissions,
        crashed: int_u64(0),
        blasted: int_u64(0),
        kills: int(0),
    };
    let after = rare(elaborate, before, |upheaval| upheave(upheaval, &scene.player, run, key.fold_in(0)));
    world.player = after.player;
    world.transmissions = after.transmissions;
    world.board = world.board.without_blocks(after.crashed);

    let list = &after.enemies.list;
    let cells = only_if(run.is(DEBUG), world.board.blocks)
        | only_if(run.is(HACK), world.board.siphoned)
        | only_if(run.is(ROW), scene.player.row_cells())
        | only_if(run.is(COL), scene.player.col_cells())
        | after.blasted;
    let hit = list.on(cells) | only_if(run.is(ANTI_V), list.of_kind(VIRUS)) | run.target;
    let weak = run.is(ANTI_V) | run.is(D_BOM);
    let mut enemies = after.enemies.hit(hit, select(weak, int(1), world.attack));
    let dead = enemies.dead();
    let kills = after.kills + enemies.list.kills(dead);
    enemies.list = enemies.list.without(dead);
    world.enemies = enemies;

    let delayed = only_if(run.is(DELAY), world.transmissions.list.alive);
    world.transmissions.turns = add_power(add_power(world.transmissions.turns, delayed, 0), delayed, 1);
    let reduced = only_if(run.is(REDUC), reducible(&world.board) & world.board.spawning());
    world.board.spawn = decrement(world.board.spawn, reduced);
    let one_if = |program: usize| run.is(program).as_i32();
    world.data_siphons = world.data_siphons + one_if(SIPH_PLUS);
    world.energy = world.energy + (one_if(EXCH) << 2);
    world.show = world.show | run.is(SHOW);
    world.hp = select(run.is(RESET), 3, world.hp);
    world.scheduled_disabled = world.scheduled_disabled | run.is(CALM);
    world.score = world.score + select(run.is(SCORE), STAGES - state.stage, 0);
    world.attack = world.attack + one_if(ATK_PLUS);
    world.atk_plus_uses = world.atk_plus_uses + one_if(ATK_PLUS);
    state.step_active = state.step_active | run.is(STEP);

    let undo = run.is(UNDO);
    let history = state.history;
    state.world = rare(undo, state.world, |_| history.top());
    state.history = history.popped(undo);
    let exit_reached = run.is(WARP) & (state.world.player & state.exit).ne(0);
    (state, Effect { kills, exit_reached })
}

/// What the elaborate programs change.
#[derive(Clone, Copy)]
struct Upheaval {
    player: Int,
    enemies: Enemies,
    transmissions: Transmissions,
    /// The cells that lose their block.
    crashed: Int,
    /// The cells whose enemies lose 1 hp.
    blasted: Int,
    kills: Int,
}
crate::tree!(Upheaval { player, enemies, transmissions, crashed, blasted, kills });

#[track_caller]
fn upheave(before: Upheaval, player: &Place, run: Run, key: Key) -> Upheaval {
    let mut dice = Dice::new(key.bits_u64([]));
    let Upheaval { mut enemies, mut transmissions, .. } = before;
    enemies.list =
        shove(enemies.list, player, run.is(PULL), only_if(run.is(PUSH) | run.is(PULL), enemies.list.alive));
    enemies = poly(enemies, only_if(run.is(POLY), enemies.list.alive), &mut dice);

    // CRASH and WARP empty cells; of each cell at most one enemy and one transmission is a kill.
    let (enemy_cell, transmission_cell) = warp_target(&enemies.list, &transmissions.list, dice.roll());
    let crashed = only_if(run.is(CRASH), surroundings(player.cell));
    let warp = all_if(run.is(WARP));
    let (enemy_kills, enemy_list) = emptied(enemies.list, crashed | (enemy_cell & warp));
    let (transmission_kills, transmission_list) =
        emptied(transmissions.list, crashed | (transmission_cell & warp));
    let target = enemy_cell | transmission_cell;
    enemies.list = enemy_list;
    transmissions.list = transmission_list;

    let bomb = only_if(run.is(D_BOM), nearest_daemon(&enemies.list, player));
    let blasted = surroundings(enemies.list.cell_of(bomb));
    let bomb_kills = enemies.list.kills(bomb);
    enemies.list = enemies.list.without(bomb);
    Upheaval {
        player: select(run.is(WARP), target, before.player),
        enemies,
        transmissions,
        crashed,
        blasted,
        kills: enemy_kills + transmission_kills + bomb_kills,
    }
}

/// PUSH and PULL: the enemies in `slots` step away from or, if `pull`, towards the player. Everyone wants a
/// cell that depends on where he stood before; of those who want the same cell the first in the list gets it.
#[track_caller]
fn shove(list: Roster, player: &Place, pull: Bool, slots: Int) -> Roster {
    let start = (slots, int_u64(0), list);
    let (_, _, list) = while_loop(
        start,
        |(left, _, _)| left.ne(0),
        |(waiting, taken, list)| {
            let slot = lowest(waiting);
            let place = Place::of(list.cell_of(slot));
            let target = shove_target(&place, player, pull);
            let moves = target.ne(0) & (target & taken).eq(0);
            let moved = list.moved(only_if(moves, slot), &Place::of(target));
            (waiting & !slot, taken | target, moved)
        },
    );
    list
}

/// The cell that one enemy is shoved to: the diagonal, else along the column, else along the row.
#[track_caller]
fn shove_target(at: &Place, player: &Place, pull: Bool) -> Int {
    // Away from the player in one dimension, or towards him; the cell itself if they are level.
    let step = |cell: Int, above: Bool, below: Bool, rise: fn(Int) -> Int, fall: fn(Int) -> Int| {
        let (rises, falls) = ((above & !pull) | (below & pull), (below & !pull) | (above & pull));
        select(rises, rise(cell), select(falls, fall(cell), cell))
    };
    let vertical = |cell| step(cell, at.row.gt(player.row), at.row.lt(player.row), up, down);
    let horizontal = |cell| step(cell, at.col.gt(player.col), at.col.lt(player.col), right, left);
    let allowed = !(at.cell | only_if(pull, player.cell));
    let diagonal = horizontal(vertical(at.cell)) & allowed;
    let (along_col, along_row) = (vertical(at.cell) & allowed, horizontal(at.cell) & allowed);
    select(diagonal.ne(0), diagonal, select(along_col.ne(0), along_col, along_row))
}

/// POLY: each of `slots` becomes one of the three other types and keeps its lost hp.
#[track_caller]
fn poly(enemies: Enemies, slots: Int, dice: &mut Dice) -> Enemies {
    // Two random digits per slot; where they say "the same type", draw again.
    let start = (slots, [int_u64(0); 2], *dice);
    let (_, change, after) = while_loop(
        start,
        |(undecided, ..)| undecided.ne(0),
        |(undecided, [low, high], mut dice)| {
            let (a, b) = (dice.roll() & undecided, dice.roll() & undecided);
            (undecided & !(a | b), [low | a, high | b], dice)
        },
    );
    *dice = after;
    let was_daemon = enemies.list.of_kind(DAEMON) & slots;
    let mut list = enemies.list;
    list.kind = [list.kind[0] ^ change[0], list.kind[1] ^ change[1]];
    let is_daemon = list.of_kind(DAEMON) & slots;
    let hp = add_power(decrement(enemies.hp, was_daemon), is_daemon, 0);
    Enemies { list, hp, ..enemies }
}

/// The cell that WARP jumps to, as an enemy's or as a transmission's; every entry of both lists is one ticket.
#[track_caller]
fn warp_target(enemies: &Roster, transmissions: &Roster, bits: Int) -> (Int, Int) {
    let first = enemies.alive.count_ones();
    let ticket = below(bits, first + transmissions.alive.count_ones());
    let enemy = only_if(ticket.lt(first), nth(enemies.alive, ticket));
    let transmission = only_if(ticket.ge(first), nth(transmissions.alive, ticket - first));
    (enemies.cell_of(enemy), transmissions.cell_of(transmission))
}

/// Removes everyone on some cells; a cell counts as a kill unless its first entry is a scheduled one.
#[track_caller]
fn emptied(list: Roster, cells: Int) -> (Int, Roster) {
    let gone = list.on(cells);
    let firsts = list.by_cell(gone);
    let kill = (lowest(firsts) & !list.from_scheduled).ne(0);
    (kill.as_i32().sum_all(), list.without(gone))
}

/// The slot of the daemon nearest to the player, the first in the list of equals.
#[track_caller]
fn nearest_daemon(list: &Roster, player: &Place) -> Int {
    let daemons = list.of_kind(DAEMON);
    let cells = list.cells_of(daemons);
    let mut near = player.cell;
    for _ in 0..10 {
        near = select((near & cells).eq(0), cross(near), near);
    }
    lowest(daemons & list.on(near & cells))
}
