//! Enemies and transmissions: lists of up to 64 entries, kept as sets of slots.
//!
//! A slot is a bit. What is alive is a set of slots, a flag (stunned) is a set of slots, and a number (row, type, hp)
//! is a set for each binary digit. So "all enemies in the player's row" or "everyone loses 1 hp" are a few word
//! operations for the whole list, without a loop.
//!
//! The order of the slots is the order of the list, which some rules depend on. New entries come after the highest
//! living slot; removal leaves a hole. Only when the 64 slots run out are the entries moved together
//! ([`Roster::compacted`]), which is seldom.

use crate::lang::{Bool, Int, int_u64, stack};

use super::bits::{all_if, compress, count, equal_to, index_of, lowest, only_if, read, write};
use super::board::Place;
use super::host::digits;

/// Enemy types, as in the observation.
pub const VIRUS: u64 = 0;
pub const DAEMON: u64 = 1;
pub const GLITCH: u64 = 2;
pub const CRYPTOG: u64 = 3;

/// Slots of a list.
pub const SLOTS: u64 = super::host::SLOTS as u64;

/// What enemies and transmissions have in common.
#[derive(Clone, Copy)]
pub struct Roster {
    /// The slots in use; all other sets mean something only there.
    pub alive: Int,
    pub row: [Int; 3],
    pub col: [Int; 3],
    /// The enemy type.
    pub kind: [Int; 2],
    pub from_siphon: Int,
    pub from_scheduled: Int,
}
crate::tree!(Roster { alive, row, col, kind, from_siphon, from_scheduled });

/// The sets of a [`Roster`] besides `alive`.
const ROSTER_SETS: usize = 10;

impl Roster {
    fn sets(&self) -> [Int; ROSTER_SETS] {
        let ([r0, r1, r2], [c0, c1, c2], [k0, k1]) = (self.row, self.col, self.kind);
        [r0, r1, r2, c0, c1, c2, k0, k1, self.from_siphon, self.from_scheduled]
    }

    fn from_sets(alive: Int, sets: [Int; ROSTER_SETS]) -> Roster {
        let [r0, r1, r2, c0, c1, c2, k0, k1, from_siphon, from_scheduled] = sets;
        Roster { alive, row: [r0, r1, r2], col: [c0, c1, c2], kind: [k0, k1], from_siphon, from_scheduled }
    }

    #[track_caller]
    fn map(self, f: impl Fn(Int) -> Int) -> Roster {
        Roster::from_sets(f(self.alive), self.sets().map(f))
    }

    #[track_caller]
    pub fn empty() -> Roster {
        let none = int_u64(0);
        Roster::from_sets(none, [none; ROSTER_SETS])
    }

    /// How many there are, i32.
    #[track_caller]
    pub fn count(&self) -> Int {
        count(self.alive)
    }

    /// The slots in a row (u64).
    #[track_caller]
    pub fn in_row(&self, row: Int) -> Int {
        self.alive & equal_to(&self.row, row)
    }

    /// The slots in a column (u64).
    #[track_caller]
    pub fn in_col(&self, col: Int) -> Int {
        self.alive & equal_to(&self.col, col)
    }

    /// The slots on a cell.
    #[track_caller]
    pub fn at(&self, place: &Place) -> Int {
        self.in_row(place.row) & equal_to(&self.col, place.col)
    }

    /// The slots of an enemy type.
    #[track_caller]
    pub fn of_kind(&self, kind: u64) -> Int {
        self.alive & equal_to(&self.kind, int_u64(kind))
    }

    /// The cell of one slot.
    #[track_caller]
    pub fn cell_of(&self, slot: Int) -> Int {
        let index = read(&self.row, slot) * 6 + read(&self.col, slot);
        only_if(slot.ne(0), int_u64(1) << index)
    }

    /// The slots by row and by column.
    #[track_caller]
    fn rows_and_cols(&self) -> ([Int; 6], [Int; 6]) {
        (one_hot(self.row).map(|slots| slots & self.alive), one_hot(self.col))
    }

    /// The cells that someone of `slots` stands on.
    #[track_caller]
    pub fn cells_of(&self, slots: Int) -> Int {
        let (rows, cols) = self.rows_and_cols();
        let mut cells = int_u64(0);
        for (row, in_row) in rows.into_iter().enumerate() {
            let in_row = in_row & slots;
            for (col, in_col) in cols.into_iter().enumerate() {
                cells = cells | only_if((in_row & in_col).ne(0), int_u64(1 << (6 * row + col)));
            }
        }
        cells
    }

    /// The occupied cells.
    #[track_caller]
    pub fn cells(&self) -> Int {
        self.cells_of(self.alive)
    }

    /// The slots that stand on any of some cells.
    #[track_caller]
    pub fn on(&self, cells: Int) -> Int {
        let (rows, cols) = self.rows_and_cols();
        let mut slots = int_u64(0);
        for (row, in_row) in rows.into_iter().enumerate() {
            let mut in_cells = int_u64(0);
            for (col, in_col) in cols.into_iter().enumerate() {
                let bit = (cells >> (6 * row + col)) & 1;
                in_cells = in_cells | (in_col & (0 - bit));
            }
            slots = slots | (in_row & in_cells);
        }
        slots
    }

    /// For each of the 36 cells those of `slots` that stand on it, u64 [36].
    #[track_caller]
    pub fn by_cell(&self, slots: Int) -> Int {
        let (rows, cols) = self.rows_and_cols();
        let rows = stack(rows) & slots;
        (rows.broadcast(1, 6) & stack(cols).broadcast(0, 6)).flatten()
    }

    /// Without some slots.
    #[track_caller]
    pub fn without(self, slots: Int) -> Roster {
        Roster { alive: self.alive & !slots, ..self }
    }

    /// One slot stands on another cell now.
    #[track_caller]
    pub fn moved(self, slot: Int, place: &Place) -> Roster {
        let cleared = |digit: Int| digit & !slot;
        Roster {
            row: write(self.row.map(cleared), slot, place.row),
            col: write(self.col.map(cleared), slot, place.col),
            ..self
        }
    }

    /// The number of the slot after the highest living one (u64).
    #[track_caller]
    pub fn end(&self) -> Int {
        SLOTS - self.alive.leading_zeros()
    }

    /// Nothing but zeros outside the living slots: what appending needs.
    #[track_caller]
    pub fn cleared(self) -> Roster {
        self.map(|set| set & self.alive)
    }

    /// These entries and after them, in their order, some of another list; that is, `slots` of `other` moved up to
    /// this list's end. Says which slots are the new ones. Those beyond the last slot are lost.
    #[track_caller]
    pub fn appended(self, other: &Roster, slots: Int) -> (Roster, Int) {
        let first = index_of(lowest(slots));
        let end = self.end();
        let shift = |set: Int| ((set & slots) >> first) << end;
        let sets = self.cleared().sets();
        let others = other.sets();
        let joined = std::array::from_fn(|i| sets[i] | shift(others[i]));
        let new = shift(slots);
        (Roster::from_sets(self.alive | new, joined), new)
    }

    /// The list without holes, and the same done to other sets of slots.
    #[track_caller]
    pub fn compacted<const N: usize>(self, others: [Int; N]) -> (Roster, [Int; N]) {
        let mut sets = vec![self.alive];
        sets.extend(self.sets());
        sets.extend(others);
        let packed = compress(stack(&sets), self.alive);
        let set = |i: usize| packed.index(0, i);
        let roster = Roster::from_sets(set(0), std::array::from_fn(|i| set(1 + i)));
        (roster, std::array::from_fn(|i| set(1 + ROSTER_SETS + i)))
    }

    /// The kills among removed slots: scheduled ones do not count. i32.
    #[track_caller]
    pub fn kills(&self, removed: Int) -> Int {
        count(removed & !self.from_scheduled)
    }

    /// The origin forgotten, as UNDO does.
    #[track_caller]
    pub fn without_origin(self) -> Roster {
        let none = int_u64(0);
        Roster { from_siphon: none, from_scheduled: none, ..self }
    }
}

/// For each number 0..6 the slots whose number, given as binary digits, it is.
#[track_caller]
fn one_hot(digits: [Int; 3]) -> [Int; 6] {
    let [d0, d1, d2] = digits;
    let (n0, n1, n2) = (!d0, !d1, !d2);
    let low = n2 & n1;
    let middle = n2 & d1;
    let high = d2 & n1;
    [low & n0, low & d0, middle & n0, middle & d0, high & n0, high & d0]
}

#[derive(Clone, Copy)]
pub struct Enemies {
    pub list: Roster,
    pub hp: [Int; digits::HP],
    /// Idle in its first turn.
    pub disabled: Int,
    pub stunned: Int,
}
crate::tree!(Enemies { list, hp, disabled, stunned });

impl Enemies {
    #[track_caller]
    pub fn empty() -> Enemies {
        let none = int_u64(0);
        Enemies { list: Roster::empty(), hp: [none; 2], disabled: none, stunned: none }
    }

    /// The slots `hit` lose `damage` (i32) hp; those that survive are stunned.
    #[track_caller]
    pub fn hit(self, hit: Int, damage: Int) -> Enemies {
        let [low, high] = self.hp;
        let (one, two) = (all_if(damage.eq(1)), all_if(damage.eq(2)));
        let full = high & low;
        // 3, 2, 1, 0 become 2, 1, 0, 0 by 1 damage and 1, 0, 0, 0 by 2.
        let new_high = full & one;
        let new_low = (high & !low & one) | (full & two);
        let hp = [(low & !hit) | (new_low & hit), (high & !hit) | (new_high & hit)];
        Enemies { hp, stunned: self.stunned | (hit & (hp[0] | hp[1])), ..self }
    }

    /// The slots without hp.
    #[track_caller]
    pub fn dead(&self) -> Int {
        self.list.alive & !(self.hp[0] | self.hp[1])
    }

    /// Those that cannot be seen: cryptogs out of the player's row and column, unless SHOW is in effect.
    #[track_caller]
    pub fn hidden(&self, player: &Place, show: Bool) -> Int {
        let in_line = self.list.in_row(player.row) | self.list.in_col(player.col);
        only_if(!show, self.list.of_kind(CRYPTOG) & !in_line)
    }

    /// The list without holes.
    #[track_caller]
    pub fn compacted(self) -> Enemies {
        let [hp0, hp1] = self.hp;
        let (list, [hp0, hp1, disabled, stunned]) =
            self.list.compacted([hp0, hp1, self.disabled, self.stunned]);
        Enemies { list, hp: [hp0, hp1], disabled, stunned }
    }
}

/// Enemies on their way.
#[derive(Clone, Copy)]
pub struct Transmissions {
    pub list: Roster,
    pub turns: [Int; digits::TURNS],
}
crate::tree!(Transmissions { list, turns });

impl Transmissions {
    #[track_caller]
    pub fn empty() -> Transmissions {
        Transmissions { list: Roster::empty(), turns: [int_u64(0); digits::TURNS] }
    }

    /// The slots whose time has come.
    #[track_caller]
    pub fn due(&self) -> Int {
        let more = self.turns[1..].iter().copied().reduce(|a, b| a | b).expect("more than one digit");
        self.list.alive & !more
    }

    /// The list without holes.
    #[track_caller]
    pub fn compacted(self) -> Transmissions {
        let (list, turns) = self.list.compacted(self.turns);
        Transmissions { list, turns }
    }
}
