//! The shuffle of a batch into minibatches, without sorting.
//!
//! A permutation of 0..n is usually made by sorting random numbers, which costs more than a small network's
//! gradient. Here it is a keyed bijection of the index itself: rounds of an odd multiplication, an addition and a
//! xor-shift, each invertible over the bits of the index; an image outside 0..n is mapped again until it
//! falls inside (cycle walking). Any position can be asked for on its own.

use crate::lang::{Int, Key, int_u32, select, while_loop};

const ROUNDS: usize = 4;

/// A pseudo-random permutation of `0..size`.
pub struct Permutation {
    size: usize,
    /// Odd multipliers and increments, u32 scalars.
    rounds: Vec<(Int, Int)>,
}

impl Permutation {
    #[track_caller]
    pub fn new(key: Key, size: usize) -> Self {
        let words = key.bits([2 * ROUNDS]);
        let rounds = (0..ROUNDS).map(|i| (words.index(0, 2 * i) | 1, words.index(0, 2 * i + 1)));
        Permutation { size, rounds: rounds.collect() }
    }

    /// The images (i32) of positions (i32 in `0..size`, any shape).
    #[track_caller]
    pub fn apply(&self, positions: Int) -> Int {
        let mut images = self.bijection(positions.as_u32());
        if !self.size.is_power_of_two() {
            let size = self.size as u32;
            images = while_loop(
                images,
                |images| images.ge(size).any_all(),
                |images| select(images.ge(size), self.bijection(images), images),
            );
        }
        images.as_i32()
    }

    /// A bijection of the smallest range of a power of two that holds `0..size`.
    #[track_caller]
    fn bijection(&self, x: Int) -> Int {
        let bits = self.size.next_power_of_two().trailing_zeros();
        let mask = int_u32(((1u64 << bits) - 1) as u32);
        let mut x = x;
        for &(multiplier, increment) in &self.rounds {
            x = (x * multiplier + increment) & mask;
            x = x ^ (x >> bits.div_ceil(2).max(1));
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{arange, trace};

    fn images(seed: u64, size: usize) -> Vec<usize> {
        let traced = trace(&(), |()| Permutation::new(Key::new(seed), size).apply(arange(size)));
        interpret(&traced.graph, &[])[0].to_f64().iter().map(|&x| x as usize).collect()
    }

    #[test]
    fn every_size_gives_a_permutation() {
        for size in [1, 2, 3, 7, 16, 100, 512, 1000] {
            let mut sorted = images(size as u64, size);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..size).collect::<Vec<_>>());
        }
    }

    #[test]
    fn images_look_random() {
        // Each half of the positions spreads evenly over the range, neighbours part, keys differ.
        const N: usize = 4096;
        for seed in 0..8 {
            let p = images(seed, N);
            let low: usize = p[..N / 2].iter().filter(|&&x| x < N / 2).count();
            let sigma = (N as f64).sqrt() / 4.0;
            assert!((low as f64 - N as f64 / 4.0).abs() < 5.0 * sigma, "seed {seed}: {low}");
            let mean_step: f64 =
                p.windows(2).map(|w| (w[0] as f64 - w[1] as f64).abs()).sum::<f64>() / (N - 1) as f64;
            assert!((mean_step / N as f64 - 1.0 / 3.0).abs() < 0.05, "seed {seed}: {mean_step}");
            let fixed = p.iter().enumerate().filter(|(i, x)| i == *x).count();
            assert!(fixed < 12, "seed {seed}: {fixed} fixed points");
            assert_ne!(p, images(seed + 100, N));
        }
    }
}
