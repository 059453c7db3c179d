//! The product of two matrices whose numbers are rounded to bf16, summed in f32: twice as many numbers for each register, and on
//! processors that multiply bf16 (AVX-512 BF16) twice as many products for each instruction.
//!
//! Both factors are copied, rounded, in pairs of numbers that follow each other along the inner index; a pair takes the place of a number
//! of f32 in `product`. The right factor is copied once, in panels; blocks of the left one are copied when they are needed.

use std::ops::Range;

use super::lanes::{Lanes, best_lanes};
use super::matrices::{Memory, Right};
use super::product::{Left, Start, Terms, panel, product};

/// The columns of the right factor come in multiples of so many.
pub const WIDTH: usize = 16;
/// Rows of the left factor that are worked on together, a multiple of those of a tile.
const ROWS: usize = 192;
/// Pairs along the inner index that are worked on together: a block of the left factor then fits the second level of the cache.
const PAIRS: usize = 256;

/// A factor: `outer` rows of the left one, or columns of the right one, of `inner` numbers each.
#[derive(Clone, Copy)]
pub struct Factor<'a> {
    pub numbers: &'a [f32],
    pub outer: usize,
    pub inner: usize,
    /// Whether numbers that follow each other along the inner index lie side by side.
    pub is_inner_last: bool,
}

/// Pairs of bf16, the first in the lower half, for any processor.
struct Pairs;

// SAFETY: needs the instruction set of `L` alone.
unsafe impl<L: Lanes> Terms<L> for Pairs {
    #[inline(always)]
    unsafe fn add_product(factor: L, numbers: L, sum: L) -> L {
        // SAFETY: by contract.
        unsafe {
            let ([a, b], [x, y]) = (factor.halves(), numbers.halves());
            b.mul_add(y, a.mul_add(x, sum))
        }
    }
}

/// The rows of the product of two factors; `out` is f32`[rows, right.outer]`.
pub fn dot(left: Factor, rows: Range<usize>, right: Factor, out: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::has_bf16() {
        // SAFETY: the processor has it.
        return unsafe { x86::dot(left, rows, right, out) };
    }
    dot_of_halves(left, rows, right, out);
}

best_lanes! {
    fn dot_of_halves = dot_of_halves_with(left: Factor, rows: Range<usize>, right: Factor, out: &mut [f32])
}

#[inline(always)]
unsafe fn dot_of_halves_with<L: Lanes>(left: Factor, rows: Range<usize>, right: Factor, out: &mut [f32]) {
    // SAFETY: by contract.
    unsafe { dot_with::<L, Pairs>(left, rows, right, out) }
}

#[inline(always)]
unsafe fn dot_with<L: Lanes, T: Terms<L>>(left: Factor, rows: Range<usize>, right: Factor, out: &mut [f32]) {
    let (pairs, width, panel) = (right.inner.div_ceil(2), right.outer, panel::<L>());
    assert!(left.inner == right.inner && width.is_multiple_of(WIDTH) && pairs > 0);
    assert!(left.numbers.len() == left.outer * left.inner && right.numbers.len() == width * right.inner);
    assert!(rows.end <= left.outer && out.len() == rows.len() * width);
    let panels = width.div_ceil(panel) * panel;
    let mut memory = Memory::of(panels * pairs + ROWS * PAIRS);
    let mut scratch = memory.scratch();
    let (b, a) = (scratch.take(panels * pairs), scratch.take(ROWS * PAIRS));
    for (first, panel_of_b) in (0..width).step_by(panel).zip(b.chunks_exact_mut(pairs * panel)) {
        copy_across(right, first..(first + panel).min(width), 0..pairs, panel_of_b, panel);
    }
    for (begin, out) in rows.clone().step_by(ROWS).zip(out.chunks_mut(ROWS * width)) {
        let block = begin..(begin + ROWS).min(rows.end);
        for first in (0..pairs).step_by(PAIRS) {
            let along = first..(first + PAIRS).min(pairs);
            let (row_step, inner_step) = if left.is_inner_last {
                copy_along(left, block.clone(), along.clone(), a);
                (PAIRS, 1)
            } else {
                copy_across(left, block.clone(), along.clone(), a, ROWS);
                (1, ROWS)
            };
            let a = Left { numbers: a, row_step, inner_step };
            let b = Right { numbers: &b[first * panel..], width, row_step: panel, panel_step: pairs * panel };
            let start = if first == 0 { Start::Zero } else { Start::Sum };
            // SAFETY: by contract.
            unsafe { product::<L, T>(a, block.len(), along.len(), b, start, out) };
        }
    }
}

/// The upper half of the bits of the nearest bf16; the lower half has no meaning.
#[inline(always)]
fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    if x.is_nan() { bits | 0x0040_0000 } else { nearest }
}

#[inline(always)]
fn pair(first: f32, second: f32) -> f32 {
    f32::from_bits(rounded(first) >> 16 | rounded(second) & 0xFFFF_0000)
}

/// Copies pairs of a factor into rows of pairs that follow each other, [`PAIRS`] apart. Behind an odd number stands a zero.
#[inline(always)]
fn copy_along(from: Factor, outer: Range<usize>, pairs: Range<usize>, to: &mut [f32]) {
    for (row, to) in outer.zip(to.chunks_exact_mut(PAIRS)) {
        let numbers = &from.numbers[row * from.inner..][..from.inner];
        let numbers = &numbers[2 * pairs.start..(2 * pairs.end).min(from.inner)];
        let (whole, rest) = numbers.as_chunks::<2>();
        for (to, &[first, second]) in to.iter_mut().zip(whole) {
            *to = pair(first, second);
        }
        if let &[last] = rest {
            to[whole.len()] = pair(last, 0.0);
        }
    }
}

/// Copies pairs of a factor into rows of pairs that lie across the inner index, `step` apart and filled up with zeros.
#[inline(always)]
fn copy_across(from: Factor, outer: Range<usize>, pairs: Range<usize>, to: &mut [f32], step: usize) {
    /// Rows that are read together, as many as a line of the cache has numbers.
    const LINE: usize = 16;
    if !from.is_inner_last {
        for (p, to) in pairs.zip(to.chunks_exact_mut(step)) {
            let row = |k: usize| &from.numbers[k * from.outer..][outer.clone()];
            let (filled, rest) = to.split_at_mut(outer.len());
            match 2 * p + 1 < from.inner {
                true => {
                    for ((to, &first), &second) in filled.iter_mut().zip(row(2 * p)).zip(row(2 * p + 1)) {
                        *to = pair(first, second);
                    }
                }
                false => filled.iter_mut().zip(row(2 * p)).for_each(|(to, &last)| *to = pair(last, 0.0)),
            }
            rest.fill(0.0);
        }
        return;
    }
    let filled = outer.len();
    for row in outer.clone().step_by(LINE) {
        let lines = row..(row + LINE).min(outer.end);
        for (p, to) in pairs.clone().zip(to.chunks_exact_mut(step)) {
            for (row, to) in lines.clone().zip(&mut to[row - outer.start..]) {
                let numbers = &from.numbers[row * from.inner..][..from.inner];
                *to = pair(numbers[2 * p], numbers.get(2 * p + 1).copied().unwrap_or(0.0));
            }
        }
    }
    to.chunks_exact_mut(step).take(pairs.len()).for_each(|to| to[filled..].fill(0.0));
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::super::lanes::has_avx512;
    use super::{Factor, Range, Terms, dot_with};

    /// Pairs of bf16 for processors that multiply them.
    struct Multiplied;

    // SAFETY: AVX-512 BF16.
    unsafe impl Terms<__m512> for Multiplied {
        #[inline(always)]
        unsafe fn add_product(factor: __m512, numbers: __m512, sum: __m512) -> __m512 {
            // SAFETY: the types are the same bits; the instruction set by contract.
            unsafe {
                let [factor, numbers] = [
                    std::mem::transmute::<__m512, __m512bh>(factor),
                    std::mem::transmute::<__m512, __m512bh>(numbers),
                ];
                _mm512_dpbf16_ps(sum, factor, numbers)
            }
        }
    }

    pub fn has_bf16() -> bool {
        has_avx512() && is_x86_feature_detected!("avx512bf16")
    }

    #[target_feature(enable = "avx512f,avx512bf16,popcnt")]
    pub fn dot(left: Factor, rows: Range<usize>, right: Factor, out: &mut [f32]) {
        // SAFETY: compiled for the instruction set.
        unsafe { dot_with::<__m512, Multiplied>(left, rows, right, out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kernels::lanes::every_lanes;

    #[inline(always)]
    unsafe fn run<L: Lanes>(case: &[Factor; 2]) -> Vec<f32> {
        let [left, right] = *case;
        let mut out = vec![0.0; left.outer * right.outer];
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe { dot_of_halves_with::<L>(left, 0..left.outer, right, &mut out) };
        out
    }

    every_lanes!(fn run_with_every = run(case: &[Factor; 2]) -> Vec<f32>);

    #[test]
    fn numbers_are_rounded_to_the_nearest_and_ties_to_even() {
        let odd = [
            0.0f32,
            -0.0,
            1.0,
            1.0 + 1.0 / 256.0,
            1.0 + 3.0 / 256.0,
            f32::MAX,
            f32::INFINITY,
            1e-40,
            f32::MIN_POSITIVE,
        ];
        let many = (0..100_000).map(|i| ((i as f32 * 0.7).sin() * 43.7).fract());
        for x in odd.into_iter().chain(odd.map(|x| -x)).chain(many) {
            let expected = half::bf16::from_f32(x).to_bits();
            assert_eq!(pair(x, 0.0).to_bits(), u32::from(expected), "{x}");
            assert_eq!(pair(0.0, x).to_bits(), u32::from(expected) << 16, "{x}");
        }
        assert!(f32::from_bits(pair(f32::from_bits(0xFFFF_FFFF), 0.0).to_bits() << 16).is_nan());
    }

    #[test]
    fn every_kind_of_vector_gives_the_same() {
        // Quarters of small numbers are bf16, and their sums exact.
        let numbers = |size: usize, step: usize| -> Vec<f32> {
            (0..size).map(|i| (i * step % 61) as f32 / 4.0 - 7.0).collect()
        };
        for (rows, inner, width) in [(200, 515, 80), (5, 1, 16), (193, 1030, 144)] {
            let (a, b) = (numbers(rows * inner, 7), numbers(inner * width, 11));
            for turned in 0..4 {
                let of = |numbers, outer, is_inner_last| Factor { numbers, outer, inner, is_inner_last };
                let case = [of(&a, rows, turned & 1 == 1), of(&b, width, turned & 2 == 2)];
                let at = |factor: &Factor, outer: usize, k: usize| match factor.is_inner_last {
                    true => factor.numbers[outer * inner + k],
                    false => factor.numbers[k * factor.outer + outer],
                };
                let sum = |i: usize| {
                    let terms = (0..inner).map(|k| at(&case[0], i / width, k) * at(&case[1], i % width, k));
                    terms.sum::<f32>()
                };
                let expected: Vec<f32> = (0..rows * width).map(sum).collect();
                let mut chosen = vec![0.0; rows * width];
                dot(case[0], 0..rows, case[1], &mut chosen);
                let mut results = run_with_every(&case);
                results.push(("the processor's own", chosen));
                for (kind, found) in results {
                    assert!(found == expected, "{kind}: {rows} x {inner} x {width}, turned {turned}");
                }
            }
        }
    }
}
