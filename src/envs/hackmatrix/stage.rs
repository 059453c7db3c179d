//! New stages: rules, sections 3.3 and 6.

use crate::lang::{Bool, Int, Key, arange, int, int_u64, rare, select, while_loop};

use super::Params;
use super::bits::{Dice, below, choose, index_of, lowest, only_if, write};
use super::board::{ALL, Board, CORNERS, Place, neighbours};
use super::entities::Transmissions;
use super::host::layout::{PROGRAMS, STAGES, layout};
use super::spawn::{self, Orders};
use super::state::State;

/// Completes the stage where `flag` holds, and enters the next unless it was the last.
#[track_caller]
pub fn complete(params: &Params, mut state: State, flag: Bool, key: Key) -> State {
    let world = &mut state.world;
    world.hp = (world.hp + flag.as_i32()).minimum(3);
    let enters = flag & state.stage.lt(STAGES);
    state.stage = state.stage + enters.as_i32();
    state.scheduled_interval = select(enters, 13 - state.stage, state.scheduled_interval);
    enter(params, state, enters, key)
}

/// Sets up the current stage where `flag` holds: rules, section 6.2. Enemies and transmissions stay.
#[track_caller]
pub fn enter(params: &Params, mut state: State, flag: Bool, key: Key) -> State {
    state.next_scheduled_turn = select(flag, state.scheduled_interval, state.next_scheduled_turn);
    state.step_active = state.step_active & !flag;
    let world = &mut state.world;
    world.turn = select(flag, 0, world.turn);
    world.atk_plus_uses = select(flag, 0, world.atk_plus_uses);
    world.show = world.show & !flag;
    world.scheduled_disabled = world.scheduled_disabled & !flag;
    let (player, enemies) = (world.player, world.enemies.list);
    let count = params.stage_transmissions(state.stage);
    let before = (world.board, world.transmissions, state.exit);
    (world.board, world.transmissions, state.exit) = rare(flag, before, |(_, transmissions, _)| {
        let site = Site { player, enemy_cells: enemies.cells() };
        let (board, transmissions) = generate(&site, transmissions.compacted(), count, key.fold_in(0));
        (board, transmissions, board.exit)
    });
    state
}

/// What a new stage depends on.
#[derive(Clone, Copy)]
pub struct Site {
    pub player: Int,
    pub enemy_cells: Int,
}

/// Draws a board and spawns `count` (i32) transmissions on it. The transmissions must have no holes.
#[track_caller]
pub fn generate(site: &Site, transmissions: Transmissions, count: Int, key: Key) -> (Board, Transmissions) {
    let [seed, content, resource] = key.split();
    let mut dice = Dice::new(seed.bits_u64([]));
    let corners = !site.player & CORNERS;
    let exit = choose(corners, dice.roll());
    let transmission_cells = transmissions.list.cells();
    let allowed = !(site.enemy_cells | transmission_cells);
    let blocks = layout_of_blocks(allowed, exit, &mut dice);
    let board = fill_blocks(blocks, content, &mut dice);
    let (credits, energy) = resources(!(blocks | exit) & ALL, resource);
    let board = Board { credits, energy, pickups: corners & !exit, exit, ..board };
    let spawn_site = spawn::Site {
        player: Place::of(site.player),
        blocks,
        enemy_cells: site.enemy_cells,
        transmission_cells,
    };
    let orders = Orders { scheduled: crate::lang::boolean(false), others: count, from_siphon: false };
    let transmissions = spawn::run(transmissions, &spawn_site, orders, &mut dice);
    (board, transmissions)
}

/// Layouts drawn at once; the rules allow 100.
const AT_ONCE: usize = 10;
const ATTEMPTS: i32 = 100;

/// 5 to 11 blocks: layouts are drawn until one is valid; after 100 failures there are none. Rules, section 6.3.
#[track_caller]
fn layout_of_blocks(allowed: Int, exit: Int, dice: &mut Dice) -> Int {
    let allowed = inner(allowed);
    let wanted = (below(dice.roll(), int_u64(7)) + 5).minimum(allowed.count_ones());
    // One stream per place in the group.
    let streams = dice.roll() ^ (arange(AT_ONCE).as_u64() * 0xd1b5_4a32_d192_ed03u64);
    let start = (int(0), int_u64(0), Dice::new(streams));
    let (_, blocks, _) = while_loop(
        start,
        |&(attempts, blocks, _)| attempts.lt(ATTEMPTS) & blocks.eq(0),
        |(attempts, _, mut dice)| {
            let layouts = draw_cells(allowed, wanted, &mut dice);
            let valid = is_valid(layouts, exit);
            // The first valid one.
            let mut chosen = int_u64(0);
            for place in (0..AT_ONCE).rev() {
                chosen = select(valid.index(0, place), layouts.index(0, place), chosen);
            }
            (attempts + AT_ONCE as i32, chosen, dice)
        },
    );
    blocks
}

/// The 32 cells that are no corners, numbered without gaps.
#[track_caller]
fn inner(cells: Int) -> Int {
    ((cells >> 1) & 0xf) | ((cells >> 2) & 0x0fff_fff0u64) | ((cells >> 3) & 0xf000_0000u64)
}

/// The inverse of [`inner`].
#[track_caller]
fn outer(cells: Int) -> Int {
    ((cells & 0xf) << 1) | ((cells & 0x0fff_fff0u64) << 2) | ((cells & 0xf000_0000u64) << 3)
}

/// `wanted` different cells for each stream of the dice, u64 [`AT_ONCE`]: uniform cells are drawn until there are so many. `allowed` is given
/// as [`inner`] cells.
#[track_caller]
fn draw_cells(allowed: Int, wanted: Int, dice: &mut Dice) -> Int {
    let start = (int_u64(0).fill(&[AT_ONCE]), *dice);
    let (cells, after) = while_loop(
        start,
        |(cells, _)| cells.count_ones().lt(wanted).any_all(),
        |(mut cells, mut dice)| {
            let bits = dice.roll();
            // A word holds twelve draws of five bits.
            for draw in 0..12 {
                let cell = (bits.full_like(1) << ((bits >> (5 * draw)) & 31)) & allowed;
                cells = select(cells.count_ones().lt(wanted), cells | cell, cells);
            }
            (cells, dice)
        },
    );
    *dice = after;
    outer(cells)
}

/// Whether every free cell can be reached without crossing the exit, and every block can be siphoned.
#[track_caller]
fn is_valid(blocks: Int, exit: Int) -> Bool {
    let free = !blocks & ALL;
    // The exit is not expanded, unless the flood starts there.
    let dead_end = exit & !1u64;
    let grow = |reached: Int| reached | (neighbours(reached & !dead_end) & free);
    let start = free.full_like(1);
    let reached = while_loop(
        start,
        |&reached| grow(reached).ne(reached).any_all(),
        |reached| grow(grow(grow(grow(reached)))),
    );
    reached.eq(free) & (blocks & !neighbours(free)).eq(0)
}

/// What the blocks hold. Nothing else is on the board yet.
#[track_caller]
fn fill_blocks(blocks: Int, key: Key, dice: &mut Dice) -> Board {
    // Per cell: data or program, one in ten hidden, and nine numbers of points.
    let draw = below_u32(key.bits([36]), 2 * 10 * 9);
    let data = blocks & set_of((draw % 2).eq(0));
    let question = blocks & set_of(((draw / 2) % 10).eq(0));
    let points = draw / 20 + 1;
    let (programs, spawn) = distinct_programs(blocks & !data, dice);
    let digit = |number: usize| data & set_of(((points >> number) & 1).eq(1));
    let none = int_u64(0);
    Board {
        blocks,
        data,
        question,
        value: std::array::from_fn(|number| programs[number] | digit(number)),
        spawn: std::array::from_fn(|number| spawn[number] | digit(number)),
        siphoned: none,
        centers: none,
        credits: [none; 2],
        energy: [none; 2],
        pickups: none,
        exit: none,
    }
}

/// A different random program for each cell: the digits of the programs and of what they spawn.
#[track_caller]
fn distinct_programs(cells: Int, dice: &mut Dice) -> ([Int; 5], [Int; 4]) {
    let none = int_u64(0);
    let start = (cells, int_u64((1 << PROGRAMS) - 1), [none; 5], [none; 4], *dice);
    let (_, _, programs, spawn, after) = while_loop(
        start,
        |(cells, ..)| cells.ne(0),
        |(cells, pool, programs, spawn, mut dice)| {
            let cell = lowest(cells);
            let program = choose(pool, dice.roll());
            let programs = write(programs, cell, index_of(program));
            let spawn = std::array::from_fn(|digit| {
                let with_digit = (0..PROGRAMS).filter(|&p| layout().programs[p].spawn >> digit & 1 == 1);
                let with_digit: u64 = with_digit.map(|p| 1 << p).sum();
                spawn[digit] | only_if((program & with_digit).ne(0), cell)
            });
            (cells & !cell, pool & !program, programs, spawn, dice)
        },
    );
    *dice = after;
    (programs, spawn)
}

/// Credits or energy on each of the cells: 1, 2 or 3 with probabilities 0.45, 0.45 and 0.1. Rules, section 6.4.
#[track_caller]
fn resources(cells: Int, key: Key) -> ([Int; 2], [Int; 2]) {
    let draw = below_u32(key.bits([36]), 2 * 20);
    let credits = cells & set_of((draw % 2).eq(0));
    let amount = draw / 2;
    let digits = [set_of(amount.lt(9) | amount.ge(18)), set_of(amount.ge(9))];
    (digits.map(|digit| digit & credits), digits.map(|digit| digit & cells & !credits))
}

/// Numbers below `n` (u32) from uniform u32.
#[track_caller]
fn below_u32(bits: Int, n: u64) -> Int {
    ((bits.as_u64() * n) >> 32).as_u32()
}

/// The set of cells whose flag, bool [36], holds.
#[track_caller]
fn set_of(flags: Bool) -> Int {
    let cells = int_u64(1).fill(&[36]) << arange(36).as_u64();
    select(flags, cells, 0).sum_all()
}
