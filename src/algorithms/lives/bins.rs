//! The bins of the histograms of lives, on the host and on the device.
//!
//! Steps below 256 have bins of their own; beyond, each doubling is divided into 128 equal parts, so that a bin is narrower than a
//! hundredth of its steps. Shares from 0 to 1 have bins of equal widths, and one more of 1 alone.

use std::ops::Range;

use crate::array::DType;
use crate::lang::{Int, select};

/// Parts of a doubling, as a power of two.
const PART_BITS: u32 = 7;
/// Bins of shares below 1.
const SHARES: usize = 200;

/// Bins of steps below 2^32.
pub const NUM_STEPS: usize = ((32 - PART_BITS as usize) << PART_BITS) + (1 << PART_BITS);

/// Bins of shares.
pub const fn num_shares() -> usize {
    SHARES + 1
}

/// The bin of a number of steps.
pub fn steps_bin(steps: u64) -> usize {
    let doublings = (u64::BITS - 1 - PART_BITS).saturating_sub(steps.leading_zeros());
    (u64::from(doublings << PART_BITS) + (steps >> doublings)) as usize
}

/// The numbers of steps in a bin.
pub fn steps_in(bin: usize) -> Range<u64> {
    let doublings = ((bin >> PART_BITS) as u32).saturating_sub(1);
    let part = bin as u64 - u64::from(doublings << PART_BITS);
    part << doublings..(part + 1) << doublings
}

/// The bin of the share that `part` has in `all`, which is above 0.
pub fn share_bin(part: u64, all: u64) -> usize {
    (part * SHARES as u64 / all) as usize
}

/// The lower bound of the shares in a bin, and the upper one, which belongs to the next bin.
pub fn shares_in(bin: usize) -> [f64; 2] {
    [bin, (bin + 1).min(SHARES)].map(|edge| edge as f64 / SHARES as f64)
}

/// [`steps_bin`] of i32 numbers.
#[track_caller]
pub fn steps_bins(steps: Int) -> Int {
    debug_assert_eq!(steps.dtype(), DType::I32);
    let width = (-steps.leading_zeros()) + 32; // of its bits
    let doublings = (width - (PART_BITS as i32 + 1)).maximum(0);
    (doublings << PART_BITS as i32) + (steps >> doublings)
}

/// [`share_bin`] of u64 numbers, i32; the last bin where `all` is 0.
#[track_caller]
pub fn share_bins(part: Int, all: Int) -> Int {
    let bin = part * SHARES as u64 / all.maximum(1u64);
    select(all.gt(0u64), bin, SHARES as u64).as_i32()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    #[test]
    fn every_number_of_steps_is_in_its_bin() {
        let mut numbers: Vec<u64> =
            (0..3000).chain((12..32).flat_map(|bits| [(1 << bits) - 1, 1 << bits])).collect();
        numbers.push(u64::from(u32::MAX));
        let mut last = 0;
        for steps in numbers {
            let bin = steps_bin(steps);
            let within = steps_in(bin);
            assert!(within.contains(&steps), "{steps} in {bin}: {within:?}");
            assert!(bin < NUM_STEPS && bin >= last, "{steps} in {bin}");
            assert!(within.end - within.start <= 1 + steps / 128);
            last = bin;
        }
        assert_eq!(steps_in(255).end, steps_in(256).start);
    }

    #[test]
    fn the_device_has_the_same_bins() {
        let steps: Vec<i32> = (0..700).chain([16_384, 999_999, i32::MAX]).collect();
        let parts: Vec<u64> = (0..=400).collect();
        let traced = trace(&(), |()| {
            let part: Int = constant(parts.clone());
            (
                steps_bins(constant(steps.clone())),
                share_bins(part, part.full_like(400u64)),
                share_bins(part, part.full_like(0u64)),
            )
        });
        let found = interpret(&traced.graph, &[]);
        let expected: Vec<i32> = steps.iter().map(|&steps| steps_bin(steps as u64) as i32).collect();
        assert_eq!(found[0].as_slice::<i32>(), expected);
        let expected: Vec<i32> = parts.iter().map(|&part| share_bin(part, 400) as i32).collect();
        assert_eq!(found[1].as_slice::<i32>(), expected);
        assert_eq!((expected[0], expected[399], expected[400]), (0, 199, 200));
        assert!(found[2].as_slice::<i32>().iter().all(|&bin| bin == 200), "nothing happened");
        assert_eq!((shares_in(0), shares_in(200)), ([0.0, 0.005], [1.0, 1.0]));
    }
}
