//! Sets of up to 64 things as the bits of a u64, one set per environment.
//!
//! The game is made of small sets: cells of the board, places in a list, programs. With a batch of environments in
//! the last axis each set is one word per environment, and every function here a few vector instructions.

use crate::lang::{Bool, Int, int_u64, select};

/// `set` where the flag holds, else the empty set.
#[track_caller]
pub fn only_if(flag: Bool, set: Int) -> Int {
    select(flag, set, 0)
}

/// All bits where the flag holds, else none.
#[track_caller]
pub fn all_if(flag: Bool) -> Int {
    0 - flag.as_u64()
}

/// The lowest element alone.
#[track_caller]
pub fn lowest(set: Int) -> Int {
    set & (0 - set)
}

/// The highest element alone.
#[track_caller]
pub fn highest(set: Int) -> Int {
    // For the empty set the shift is beyond the width and gives the empty set.
    int_u64(1) << (63 - set.leading_zeros())
}

/// The number of elements, i32.
#[track_caller]
pub fn count(set: Int) -> Int {
    set.count_ones().as_i32()
}

/// The number of the only element (u64).
#[track_caller]
pub fn index_of(element: Int) -> Int {
    (element - 1).count_ones()
}

/// The element that has `n` (u64) lower ones; nothing if there are not so many.
#[track_caller]
pub fn nth(set: Int, n: Int) -> Int {
    // Binary search: skip the lower half of what is left if it does not hold enough elements.
    let mut rest = set;
    let mut wanted = n;
    let mut index = int_u64(0);
    for width in [32u64, 16, 8, 4, 2, 1] {
        let lower = rest & ((1u64 << width) - 1);
        let in_lower = lower.count_ones();
        let skip = wanted.ge(in_lower);
        wanted = wanted - only_if(skip, in_lower);
        index = index + only_if(skip, int_u64(width));
        rest = select(skip, rest >> width, lower);
    }
    // The bit left at place 0 tells whether the element exists.
    (rest & 1) << index
}

/// A uniform number below `n` (u64, at most 2^32) from the upper 32 of 64 uniform bits.
#[track_caller]
pub fn below(bits: Int, n: Int) -> Int {
    ((bits >> 32) * n) >> 32
}

/// A uniformly drawn element; nothing from the empty set.
#[track_caller]
pub fn choose(set: Int, bits: Int) -> Int {
    nth(set, below(bits, set.count_ones()))
}

/// The number whose binary digits, from the lowest, are whether `element` is in each of the planes (u64).
#[track_caller]
pub fn read(planes: &[Int], element: Int) -> Int {
    let digits = planes
        .iter()
        .enumerate()
        .map(|(digit, &plane)| only_if((plane & element).ne(0), int_u64(1 << digit)));
    digits.reduce(|sum, digit| sum | digit).expect("at least one plane")
}

/// The planes with the binary digits of `value` (u64) written at `element`, where they have zeros.
#[track_caller]
pub fn write<const N: usize>(planes: [Int; N], element: Int, value: Int) -> [Int; N] {
    std::array::from_fn(|digit| planes[digit] | (element & (0 - ((value >> digit) & 1))))
}

/// The elements whose number, of which `planes` hold the binary digits, is `value` (u64).
#[track_caller]
pub fn equal_to(planes: &[Int], value: Int) -> Int {
    let different = planes.iter().enumerate().map(|(digit, &plane)| plane ^ (0 - ((value >> digit) & 1)));
    !different.reduce(|any, digit| any | digit).expect("at least one plane")
}

/// The sum of the numbers of all elements of `set`, i32.
#[track_caller]
pub fn total(planes: &[Int], set: Int) -> Int {
    let digits = planes.iter().enumerate().map(|(digit, &plane)| count(plane & set) << digit);
    digits.reduce(|sum, digit| sum + digit).expect("at least one plane")
}

/// The numbers of the elements of `set` less 1.
#[track_caller]
pub fn decrement<const N: usize>(planes: [Int; N], set: Int) -> [Int; N] {
    let mut borrow = set;
    planes.map(|plane| {
        let digit = plane ^ borrow;
        borrow = borrow & !plane;
        digit
    })
}

/// The numbers of the elements of `set` plus 2^`digit`; those that do not fit become the largest.
#[track_caller]
pub fn add_power<const N: usize>(planes: [Int; N], set: Int, digit: usize) -> [Int; N] {
    let mut carry = set;
    let mut sum = planes;
    for plane in &mut sum[digit..] {
        (*plane, carry) = (*plane ^ carry, *plane & carry);
    }
    sum.map(|plane| plane | carry)
}

/// The elements of `set` moved together at the lowest places in their order, in each of many planes [P].
/// (Warren, "Hacker's Delight", 2nd edition, section 7-4.)
#[track_caller]
pub fn compress(planes: Int, set: Int) -> Int {
    let size = planes.shape()[0];
    let spread = |word: Int| word.broadcast(0, size);
    let mut planes = planes & spread(set);
    let mut left = set;
    let mut zeros_below = !set << 1;
    for step in 0..6 {
        let mut odd = zeros_below;
        for shift in 0..6 {
            odd = odd ^ (odd << (1u64 << shift));
        }
        let moved = odd & left;
        left = (left ^ moved) | (moved >> (1u64 << step));
        let moving = planes & spread(moved);
        planes = (planes ^ moving) | (moving >> (1u64 << step));
        zeros_below = zeros_below & !odd;
    }
    planes
}

/// Draws for one environment from a 64-bit seed: SplitMix64 (Steele, Lea and Flood 2014). The seed comes from a
/// [`Key`](crate::lang::Key); loops of unknown length draw from here, at a tenth of the cost.
#[derive(Clone, Copy)]
pub struct Dice {
    state: Int,
}
crate::tree!(Dice { state });

impl Dice {
    /// `seed` is a uniform u64.
    pub fn new(seed: Int) -> Dice {
        Dice { state: seed }
    }

    /// 64 uniform bits.
    #[track_caller]
    pub fn roll(&mut self) -> Int {
        self.state = self.state + 0x9e37_79b9_7f4a_7c15u64;
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)) * 0xbf58_476d_1ce4_e5b9u64;
        bits = (bits ^ (bits >> 27)) * 0x94d0_49bb_1331_11ebu64;
        bits ^ (bits >> 31)
    }
}
