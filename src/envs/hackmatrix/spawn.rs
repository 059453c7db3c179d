//! New transmissions on random cells: rules, section 6.5.

use crate::lang::{Bool, Int, int, int_u64, select, while_loop};

use super::bits::{Dice, choose, only_if, write};
use super::board::{ALL, Place};
use super::entities::Transmissions;

/// What the choice of a cell depends on.
#[derive(Clone, Copy)]
pub struct Site {
    pub player: Place,
    pub blocks: Int,
    pub enemy_cells: Int,
    pub transmission_cells: Int,
}

/// How many transmissions to spawn, one after another.
#[derive(Clone, Copy)]
pub struct Orders {
    /// First a scheduled one.
    pub scheduled: Bool,
    /// Then so many others, i32.
    pub others: Int,
    /// Whether the others come from a siphon.
    pub from_siphon: bool,
}

impl Orders {
    /// Slots that are needed (u64).
    #[track_caller]
    pub fn at_most(&self) -> Int {
        (self.others + self.scheduled.as_i32()).minimum(36).as_u64()
    }
}

/// The spawning in progress.
#[derive(Clone, Copy)]
struct Progress {
    left: Int,
    scheduled: Bool,
    /// Free cells, and those of them out of the line of fire.
    free: Int,
    sheltered: Int,
    /// The next slot, as a set.
    slot: Int,
    row: [Int; 3],
    col: [Int; 3],
    alive: Int,
    from_scheduled: Int,
    dice: Dice,
}
crate::tree!(Progress { left, scheduled, free, sheltered, slot, row, col, alive, from_scheduled, dice });

/// The list with the ordered transmissions, as far as there are free cells. There must be slots for them.
#[track_caller]
pub fn run(transmissions: Transmissions, site: &Site, orders: Orders, dice: &mut Dice) -> Transmissions {
    let Transmissions { list, turns } = transmissions;
    let before = list.alive;
    let list = list.cleared();
    let stops = site.blocks | site.enemy_cells;
    let free = !(stops | site.transmission_cells | site.player.cell) & ALL;
    let start = Progress {
        left: orders.others + orders.scheduled.as_i32(),
        scheduled: orders.scheduled,
        free,
        sheltered: free & !site.player.lines(stops),
        slot: int_u64(1) << list.end(),
        row: list.row,
        col: list.col,
        alive: before,
        from_scheduled: list.from_scheduled,
        dice: *dice,
    };
    let end = while_loop(start, |p| p.left.gt(0) & p.free.ne(0), spawn_one);
    *dice = end.dice;
    let new = end.alive & !before;
    let mut list = list;
    (list.row, list.col, list.alive) = (end.row, end.col, end.alive);
    list.from_scheduled = end.from_scheduled;
    if orders.from_siphon {
        list.from_siphon = list.from_siphon | (new & !end.from_scheduled);
    }
    list.kind = list.kind.map(|digit| digit | (new & dice.roll()));
    let mut turns = turns.map(|digit| digit & before);
    turns[0] = turns[0] | new;
    Transmissions { list, turns }
}

#[track_caller]
fn spawn_one(mut p: Progress) -> Progress {
    let bits = p.dice.roll();
    let cells = select(hits(p.sheltered, bits), p.sheltered, only_if(hits(p.free, p.dice.roll()), p.free));
    let cell = choose(cells, bits);
    let slot = only_if(cell.ne(0), p.slot);
    let place = Place::of(cell);
    p.row = write(p.row, slot, place.row);
    p.col = write(p.col, slot, place.col);
    p.alive = p.alive | slot;
    p.from_scheduled = p.from_scheduled | only_if(p.scheduled, slot);
    p.slot = select(cell.ne(0), p.slot << 1, p.slot);
    p.free = p.free & !cell;
    p.sheltered = p.sheltered & !cell;
    p.scheduled = p.scheduled & false;
    p.left = p.left - int(1);
    p
}

/// Whether one of 100 uniform cells is in the set: true with probability 1 - (1 - n/36)^100 for n cells. Uses the
/// lower 32 of 64 uniform bits.
#[track_caller]
fn hits(cells: Int, bits: Int) -> Bool {
    // From 7 cells on a miss is less likely than 2^-31.
    const UNSURE: u64 = 6;
    let size = cells.count_ones();
    let mut limit = int_u64(1 << 32);
    for n in 0..=UNSURE {
        let miss = (1.0 - n as f64 / 36.0).powi(100);
        limit = select(size.eq(n), ((1.0 - miss) * (1u64 << 32) as f64).round() as u64, limit);
    }
    (bits & 0xffff_ffffu64).lt(limit)
}
