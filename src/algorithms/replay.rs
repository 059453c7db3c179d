//! Experience replay on the device: a ring of the newest transitions, and draws from it.
//!
//! A [`Ring`] holds rows of any tree of arrays. Draws are uniform, or by priority ([`Priorities`]; Schaul et al. 2016,
//! "Prioritized experience replay"): a row is drawn in proportion to a power of its priority. In place of a tree of sums, the powers
//! are summed block by block: a draw finds its block among the sums and then its row in the block, two searches over a few
//! hundred numbers that all draws of a batch do at once. The sum of a block is never adjusted but computed anew from its rows, so
//! that rounding does not add up.

use crate::lang::{
    Bool, Float, Int, Key, Tree, arange, below, int, put_tree, select, take_tree, update_tree,
};

/// The newest rows of a tree whose leaves are `[capacity, ...]`.
#[derive(Clone)]
pub struct Ring<T> {
    pub rows: T,
    /// Where the next row goes, i32.
    pub next: Int,
    /// How many rows there are, i32.
    pub size: Int,
}
crate::tree!(Ring<T> { rows, next, size });

impl<T: Tree> Ring<T> {
    /// A ring without rows; `rows` holds its memory, `[capacity, ...]`.
    pub fn new(rows: T) -> Ring<T> {
        Ring { rows, next: int(0), size: int(0) }
    }

    /// The ring with `added` rows `[N, ...]` more; the capacity is a multiple of `N`. Gives also the places i32`[N]` of the rows.
    #[track_caller]
    pub fn push(self, added: &T, capacity: usize, count: usize) -> (Ring<T>, Int) {
        assert!(
            capacity.is_multiple_of(count),
            "{count} rows at once do not fill a ring of {capacity} evenly"
        );
        let places = self.next + arange(count);
        let rows = update_tree(self.rows, self.next, added);
        (
            Ring { rows, next: (self.next + count) % capacity, size: (self.size + count).minimum(capacity) },
            places,
        )
    }

    /// [`Ring::push`] of those rows whose flag in `chosen`, bool`[N]`, is set, in their order. The place of a row that is left out
    /// is out of bounds. The capacity is at least `N`.
    #[track_caller]
    pub fn push_chosen(self, added: &T, chosen: Bool, capacity: usize) -> (Ring<T>, Int) {
        let ranks = chosen.as_i32().cumsum(0);
        let count = ranks.max([0]);
        let places = select(chosen, (self.next + ranks - 1) % capacity, i32::MAX);
        let rows = put_tree(self.rows, places, added);
        (
            Ring { rows, next: (self.next + count) % capacity, size: (self.size + count).minimum(capacity) },
            places,
        )
    }

    /// The places i32`[count]` of rows that are drawn uniformly, with replacement. There must be a row.
    #[track_caller]
    pub fn draw(&self, key: Key, count: usize) -> Int {
        let bits = key.bits([count]);
        below(bits, self.size.fill(&[count]))
    }

    /// The rows at those places.
    #[track_caller]
    pub fn take(&self, places: Int) -> T {
        take_tree(&self.rows, places)
    }
}

/// The priorities of the rows of a ring.
#[derive(Clone, Copy)]
pub struct Priorities {
    /// f32`[blocks, rows of a block]`, 0 where there is no row.
    priorities: Float,
    /// Of each block the sum of the powers of its priorities, and the largest priority, f32`[blocks]`.
    sums: Float,
    largest: Float,
}
crate::tree!(Priorities { priorities, sums, largest });

impl Priorities {
    /// For a ring of that capacity, without rows.
    pub fn new(capacity: usize) -> Priorities {
        let block = ((capacity as f64).sqrt() as usize).next_power_of_two();
        let blocks = capacity.div_ceil(block);
        let sums = Float::full([blocks], 0.0);
        Priorities { priorities: Float::full([blocks, block], 0.0), sums, largest: sums }
    }

    fn block(&self) -> usize {
        self.priorities.shape()[1]
    }

    /// The priority of new rows: the largest of all, or 1 if there is none.
    #[track_caller]
    pub fn of_new(&self) -> Float {
        let largest = self.largest.max_all();
        select(largest.gt(0.0), largest, 1.0)
    }

    /// With other priorities f32`[N]` (above 0) at those places i32`[N]`; a place out of bounds has none. `alpha` is the power.
    #[track_caller]
    pub fn with(self, places: Int, priorities: Float, alpha: Float) -> Priorities {
        let (shape, block) = (self.priorities.shape(), self.block());
        let all = self.flat().at(places).set(priorities).reshape(&shape);
        let touched = places / block; // of a place out of bounds, out of bounds or the last one
        let rows = all.take(touched, 0);
        Priorities {
            priorities: all,
            sums: self.sums.at(touched).set(power(rows, alpha).sum([1])),
            largest: self.largest.at(touched).set(rows.max([1])),
        }
    }

    /// The places i32`[count]` of rows that are drawn in proportion to the powers of their priorities, one from each of `count`
    /// equal parts of their sum, and the probabilities f32`[count]` of these rows. `size` (i32) is the number of rows, at least 1.
    #[track_caller]
    pub fn draw(&self, key: Key, count: usize, size: Int, alpha: Float) -> (Int, Float) {
        let block = self.block();
        let ends = self.sums.cumsum(0);
        let total = self.sums.sum_all();
        let target = (arange(count).as_f32() + key.uniform([count], 0.0..1.0)) / count as f64 * total;
        // Rounding must not lead to places without rows.
        let last = size - 1;
        let chosen = number_at_most(ends.broadcast(0, count), target).minimum(last / block);
        let start = ends.take(chosen, 0) - self.sums.take(chosen, 0);
        let powers = power(self.priorities.take(chosen, 0), alpha);
        let row = number_at_most(powers.cumsum(1), target - start).minimum(block - 1);
        let places = (chosen * block + row).minimum(last);
        (places, self.probabilities(places, alpha))
    }

    /// The priorities of all places, f32`[at least the capacity]`, 0 where there is no row.
    #[track_caller]
    pub fn flat(&self) -> Float {
        self.priorities.flatten()
    }

    /// The probabilities f32`[N]` of the rows at those places i32`[N]`.
    #[track_caller]
    pub fn probabilities(&self, places: Int, alpha: Float) -> Float {
        power(self.flat().take(places, 0), alpha) / self.sums.sum_all()
    }
}

/// Weights f32`[N]` that make up for drawing rows with these probabilities, to the degree `beta`, the largest of them 1.
#[track_caller]
pub fn importance_weights(probabilities: Float, size: Int, beta: Float) -> Float {
    let weights = (probabilities * size.as_f32()).pow(-beta.fill(&probabilities.shape()));
    weights / weights.max_all()
}

/// 0 stays 0.
#[track_caller]
fn power(priorities: Float, alpha: Float) -> Float {
    let power = priorities.maximum(f64::from(f32::MIN_POSITIVE)).pow(alpha.fill(&priorities.shape()));
    select(priorities.gt(0.0), power, 0.0)
}

/// How many numbers of each row `[N, M]` are at most the limit `[N]`, i32`[N]`.
#[track_caller]
fn number_at_most(rows: Float, limits: Float) -> Int {
    let size = rows.shape()[1];
    rows.le(limits.broadcast(1, size)).as_i32().sum([1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, float, scan_range, trace};

    #[test]
    fn a_ring_keeps_the_newest_rows() {
        let traced = trace(&(), |()| {
            let empty = || Ring::new(Int::full([6], -1));
            let (all, _) = scan_range(4, empty(), |ring, i| (ring.push(&(i * 2 + arange(2)), 6, 2).0, ()));
            // Of each four rows those that are multiples of 3.
            let (some, places) = scan_range(4, empty(), |ring, i| {
                let rows = i * 4 + arange(4);
                ring.push_chosen(&rows, (rows % 3).eq(0), 6)
            });
            (all, some, places)
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        assert_eq!(found[..3], [vec![6.0, 7.0, 2.0, 3.0, 4.0, 5.0], vec![2.0], vec![6.0]]);
        assert_eq!(found[3..6], [vec![0.0, 3.0, 6.0, 9.0, 12.0, 15.0], vec![0.0], vec![6.0]]);
        let out = f64::from(i32::MAX);
        assert_eq!(found[6][..8], [0.0, out, out, 1.0, out, out, 2.0, out]);
    }

    #[test]
    fn rows_are_drawn_in_proportion_to_their_priorities() {
        const DRAWS: usize = 20_000;
        let given = [4.0, 1.0, 0.0, 9.0, 16.0, 1.0, 25.0];
        let traced = trace(&(), |()| {
            // Places 2 and from 7 on hold nothing; one priority is written twice.
            let places = constant([0, 1, 3, 4, 5, 6, 0, 99]);
            let priorities = constant([1.0f32, 1.0, 9.0, 16.0, 1.0, 25.0, 7.0, 5.0]);
            let alpha = float(0.5);
            let all = Priorities::new(40).with(places, priorities, alpha);
            let all = all.with(constant([0]), constant([4.0f32]), alpha);
            let (drawn, probabilities) = all.draw(Key::new(3), DRAWS, int(7), alpha);
            (drawn, probabilities, all.of_new(), Priorities::new(40).of_new())
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        let total: f64 = given.iter().map(|p: &f64| p.sqrt()).sum();
        for (place, priority) in given.iter().enumerate() {
            let drawn = found[0].iter().filter(|drawn| **drawn == place as f64).count() as f64;
            let expected = priority.sqrt() / total;
            // One draw from each part of the sum: not even 2 parts can be off at either end.
            assert!((drawn / DRAWS as f64 - expected).abs() <= 4.0 / DRAWS as f64, "{place}: {drawn}");
            let told = found[0].iter().zip(&found[1]).filter(|(drawn, _)| **drawn == place as f64);
            assert!(told.into_iter().all(|(_, told)| (told - expected).abs() < 1e-5));
        }
        assert_eq!((found[2][0], found[3][0]), (25.0, 1.0));
    }

    #[test]
    fn uniform_draws_are_among_the_rows() {
        let traced = trace(&(), |()| {
            let ring = Ring { rows: arange(10), next: int(3), size: int(3) };
            ring.take(ring.draw(Key::new(1), 3000))
        });
        let drawn = interpret(&traced.graph, &[])[0].to_f64();
        for row in 0..3 {
            let share = drawn.iter().filter(|x| **x == f64::from(row)).count() as f64 / 3000.0;
            assert!((share - 1.0 / 3.0).abs() < 0.05, "{row}: {share}");
        }
    }
}
