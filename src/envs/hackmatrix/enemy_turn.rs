//! The enemy turn: rules, section 3.2.
//!
//! Transmissions arrive, enemies attack or move one after another, new transmissions appear, and a snapshot is
//! taken. The random order is made by drawing, again and again, one of those who have not moved yet.

use crate::lang::{Bool, Int, Key, rare, select, while_loop};

use super::bits::{Dice, choose, count, decrement, only_if};
use super::board::{ALL, Place, down, left, neighbours, right, up};
use super::entities::{DAEMON, Enemies, GLITCH, Roster, SLOTS, Transmissions, VIRUS};
use super::spawn::{self, Orders};
use super::state::State;

/// Runs the enemy turn where `flag` holds. Says where it was run: with STEP in effect it only ends that effect.
#[track_caller]
pub fn run(mut state: State, flag: Bool, key: Key) -> (State, Bool) {
    let acts = flag & !state.step_active;
    state.step_active = state.step_active & !flag;
    let world = &mut state.world;
    world.turn = world.turn + acts.as_i32();
    let mut dice = Dice::new(key.bits_u64([]));

    let due_turn = state.scheduled_interval.gt(0) & world.turn.ge(state.next_scheduled_turn);
    let scheduled = acts & due_turn & !world.scheduled_disabled;
    let orders = Orders { scheduled, others: select(acts, state.pending_siphon, 0), from_siphon: true };
    let full = lacks_slots(&world.enemies, &world.transmissions, &orders, acts);
    (world.enemies, world.transmissions) =
        rare(full, (world.enemies, world.transmissions), |(enemies, transmissions)| {
            (enemies.compacted(), transmissions.compacted())
        });
    let dropped;
    (world.enemies, world.transmissions, dropped) = tick(world.enemies, world.transmissions, acts);
    state.dropped = state.dropped + dropped;

    let player = Place::of(world.player);
    let transmission_cells = world.transmissions.list.cells();
    let field = Field { player, blocks: world.board.blocks, transmission_cells };
    let (list, attacks, enemy_cells) = act(&world.enemies, &field, acts, &mut dice);
    world.enemies.list = list;
    world.hp = (world.hp - attacks).maximum(0);

    let site = spawn::Site { player, blocks: world.board.blocks, enemy_cells, transmission_cells };
    world.transmissions = spawn::run(world.transmissions, &site, orders, &mut dice);
    state.next_scheduled_turn =
        select(scheduled, world.turn + state.scheduled_interval, state.next_scheduled_turn);
    state.pending_siphon = select(acts, 0, state.pending_siphon);
    world.enemies.disabled = only_if(!acts, world.enemies.disabled);
    world.enemies.stunned = only_if(!acts, world.enemies.stunned);
    state.history = state.history.pushed(acts, &state.world);
    (state, acts)
}

/// Whether the lists could run out of slots in this turn.
#[track_caller]
fn lacks_slots(enemies: &Enemies, transmissions: &Transmissions, orders: &Orders, acts: Bool) -> Bool {
    let due = transmissions.due();
    let arriving = SLOTS - due.leading_zeros() - due.trailing_zeros().minimum(SLOTS - due.leading_zeros());
    let end = transmissions.list.end() + orders.at_most();
    acts & ((enemies.list.end() + arriving).gt(SLOTS) | end.gt(SLOTS))
}

/// Transmissions whose time has come turn into enemies. Also counts those that find no slot (i32).
#[track_caller]
fn tick(enemies: Enemies, transmissions: Transmissions, acts: Bool) -> (Enemies, Transmissions, Int) {
    let due = only_if(acts, transmissions.due());
    let living = enemies.list.alive;
    let (list, new) = enemies.list.appended(&transmissions.list, due);
    let daemons = list.of_kind(DAEMON);
    let hp = [(enemies.hp[0] & living) | (new & daemons), (enemies.hp[1] & living) | new];
    let arrived =
        Enemies { list, hp, disabled: (enemies.disabled & living) | new, stunned: enemies.stunned & living };
    let list = transmissions.list.without(due);
    let turns = decrement(transmissions.turns, only_if(acts, list.alive));
    (arrived, Transmissions { list, turns }, count(due) - count(new))
}

/// What does not change while the enemies move.
#[derive(Clone, Copy)]
struct Field {
    player: Place,
    blocks: Int,
    transmission_cells: Int,
}

/// The enemies in the middle of their turn.
#[derive(Clone, Copy)]
struct Progress {
    list: Roster,
    /// The cells of the enemies.
    occupied: Int,
    /// Who has yet to move in this half-step.
    waiting: Int,
    /// The viruses, as long as their second half-step is to come.
    again: Int,
    attacked: Int,
    dice: Dice,
}
crate::tree!(Progress { list, occupied, waiting, again, attacked, dice });

/// Every enemy attacks or moves, a virus up to twice. Gives the list, the number of attacks (i32) and the enemies'
/// cells.
#[track_caller]
fn act(enemies: &Enemies, field: &Field, acts: Bool, dice: &mut Dice) -> (Roster, Int, Int) {
    let list = enemies.list;
    let able = only_if(acts, list.alive & !enemies.disabled & !enemies.stunned);
    // Who stands next to the player at the start attacks, whatever the order; nobody else is affected.
    let attacked = able & adjacent(&list, &field.player);
    let start = Progress {
        occupied: list.cells(),
        waiting: able & !attacked,
        again: able & list.of_kind(VIRUS) & !attacked,
        attacked,
        dice: *dice,
        list,
    };
    let end = while_loop(start, |p| (p.waiting | p.again).ne(0), |p| act_one(p, field));
    *dice = end.dice;
    (end.list, count(end.attacked), end.occupied)
}

/// The slots orthogonally next to the player.
#[track_caller]
fn adjacent(list: &Roster, player: &Place) -> Int {
    let Place { row, col, .. } = *player;
    let beside = list.in_col(col + 1) | list.in_col(col - 1);
    let above = list.in_row(row + 1) | list.in_row(row - 1);
    (list.in_row(row) & beside) | (list.in_col(col) & above)
}

/// A random one of those who wait attacks or moves.
#[track_caller]
fn act_one(mut p: Progress, field: &Field) -> Progress {
    let second = p.waiting.eq(0);
    p.waiting = select(second, p.again, p.waiting);
    p.again = only_if(!second, p.again);
    let slot = choose(p.waiting, p.dice.roll());
    p.waiting = p.waiting & !slot;
    let cell = p.list.cell_of(slot);
    let attacks = (neighbours(cell) & field.player.cell).ne(0);
    p.attacked = p.attacked | only_if(attacks, slot);
    p.again = p.again & !only_if(attacks, slot);

    let walks_on_blocks = (slot & p.list.of_kind(GLITCH)).ne(0);
    let walls = only_if(!walks_on_blocks, field.blocks);
    let next = next_cell(&Place::of(cell), walls, p.occupied | field.transmission_cells, &field.player);
    let next = only_if(!attacks, next);
    let slot = only_if(next.ne(0), slot);
    let stays = (p.list.at(&Place::of(cell)) & !slot).ne(0);
    let left = only_if(!stays & slot.ne(0), cell);
    p.occupied = (p.occupied & !left) | next;
    p.list = p.list.moved(slot, &Place::of(next));
    p
}

/// The cell that an enemy moves to, empty if it stays: rules, section 3.2.1.
#[track_caller]
fn next_cell(at: &Place, walls: Int, occupied: Int, player: &Place) -> Int {
    let around = neighbours(at.cell);
    let elsewhere = at.cell.ne(player.cell);
    let open = !walls & ALL;
    // Attempt 1: the shortest path around everyone. Attempt 2: through them, if the first step is free.
    let free = open & (!occupied | player.cell);
    let start = only_if(elsewhere & at.cell.ne(0), player.cell & open);
    let first = flood(start, free, around & free);
    let start = only_if(first.eq(0), start);
    let second = flood_rest(start, open, around & open);
    let direct = first_direction(at.cell, first);
    let through = first_direction(at.cell, second) & !occupied;
    // Otherwise any free neighbour, nearer to the player if possible.
    let spare = around & open & !occupied;
    let nearer = spare & towards(at, player);
    let any = first_direction(at.cell, select(nearer.ne(0), nearer, spare));
    select(direct.ne(0), direct, select(through.ne(0), through, any))
}

/// The neighbours of a cell that are nearer to the player.
#[track_caller]
fn towards(at: &Place, player: &Place) -> Int {
    only_if(at.row.lt(player.row), up(at.cell))
        | only_if(at.row.gt(player.row), down(at.cell))
        | only_if(at.col.gt(player.col), left(at.cell))
        | only_if(at.col.lt(player.col), right(at.cell))
}

/// The first of `options`, which are neighbours of a cell, in the order up, down, left, right.
#[track_caller]
fn first_direction(cell: Int, options: Int) -> Int {
    let [up, down, left, right] = [up(cell), down(cell), left(cell), right(cell)].map(|next| next & options);
    select(up.ne(0), up, select(down.ne(0), down, select(left.ne(0), left, right)))
}

/// Sweeps of a flood that are written out; only longer ones need a loop.
const WRITTEN_OUT: usize = 8;

/// Floods `free` from `start` until some of `goals` are reached, and gives those: the nearest ones.
#[track_caller]
fn flood(start: Int, free: Int, goals: Int) -> Int {
    let mut reached = start;
    for _ in 0..WRITTEN_OUT {
        reached = sweep(reached, free, goals);
    }
    flood_rest(reached, free, goals)
}

#[track_caller]
fn flood_rest(start: Int, free: Int, goals: Int) -> Int {
    let unfinished = |reached: Int| (reached & goals).eq(0) & (neighbours(reached) & free & !reached).ne(0);
    let reached = while_loop(
        start,
        |&reached| unfinished(reached),
        |reached| sweep(sweep(sweep(reached, free, goals), free, goals), free, goals),
    );
    reached & goals
}

#[track_caller]
fn sweep(reached: Int, free: Int, goals: Int) -> Int {
    reached | only_if((reached & goals).eq(0), neighbours(reached) & free)
}
