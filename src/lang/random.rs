//! Random numbers: keys of the counter-based generator threefry2x32.
//!
//! A [`Key`] is consumed by use and can be neither copied nor cloned, so that drawing twice from one key
//! does not compile. Keys, `split`, `fold_in`, bits and uniform floats equal `jax.random` bit for bit (with its
//! default `jax_threefry_partitionable`): the i-th number of a draw is a function of the key and i alone,
//! whatever the shape.

use std::ops::Range;

use crate::array::{DType, HostArray};
use crate::ir::Op;

use super::array::{Array, Bool, Float, Int, IntoOperand, iota, kind};
use super::trace::{Handle, emit};
use super::tree::{Path, Tree};
use super::{select, stack_at};

/// A random key: `u32[2]`, or an array of keys `u32[n, 2]` (`[2, n]` on the last axis) to map over.
#[derive(Debug)]
pub struct Key {
    words: Int,
}

impl Tree for Key {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        self.words.walk(path, visit);
    }
    fn duplicate(&self) -> Self {
        Key { words: self.words }
    }
}

impl Key {
    /// The key that `jax.random.key(seed)` makes.
    #[track_caller]
    pub fn new(seed: u64) -> Key {
        let words = vec![(seed >> 32) as u32, seed as u32];
        Key { words: Array::constant(HostArray::new(&[2], words)) }
    }

    /// A key from its two u32 words, shape `[2]` (or `[n, 2]` for many).
    #[track_caller]
    pub fn from_words(words: Int) -> Key {
        assert!(words.dtype() == DType::U32, "a key is made of u32 words, not {}", words.array_type());
        Key { words }
    }

    /// The words, shape `[2]` (or `[n, 2]` for many).
    pub fn into_words(self) -> Int {
        self.words
    }

    /// `N` new keys.
    #[track_caller]
    pub fn split<const N: usize>(self) -> [Key; N] {
        let [high, low] = self.hash_counts(&[N]);
        std::array::from_fn(|i| Key { words: stack_at(0, [high.index(0, i), low.index(0, i)]) })
    }

    /// `n` new keys as one array of keys, u32[n, 2], to map over with `vmap`.
    #[track_caller]
    pub fn split_many(self, n: usize) -> Key {
        let [high, low] = self.hash_counts(&[n]);
        Key { words: stack_at(1, [high, low]) }
    }

    /// `n` new keys on the last axis, u32[2, n], to map over with `vmap_last`.
    #[track_caller]
    pub fn split_last(self, n: usize) -> Key {
        let [high, low] = self.hash_counts(&[n]);
        Key { words: stack_at(0, [high, low]) }
    }

    /// The keys number `start`, `start + 1`, ... of the `n` that a longer [`Key::split_last`] would give: what a
    /// device that holds a part of the environments needs.
    #[track_caller]
    pub fn split_last_from(self, start: Int, n: usize) -> Key {
        let low = iota(DType::U32, [n], 0) + start.as_u32();
        let [high, low] = self.threefry(low.full_like(0), low);
        Key { words: stack_at(0, [high, low]) }
    }

    /// A new key from this one and a number. This key stays usable for further, different numbers.
    #[track_caller]
    pub fn fold_in(&self, data: impl IntoOperand<kind::Int>) -> Key {
        let data = data.operand().array(DType::U32).as_u32();
        let zero = data.full_like(0);
        let [high, low] = self.threefry(zero, data);
        Key { words: stack_at(0, [high, low]) }
    }

    /// Uniform u32.
    #[track_caller]
    pub fn bits(self, shape: impl AsRef<[usize]>) -> Int {
        let [high, low] = self.hash_counts(shape.as_ref());
        high ^ low
    }

    /// Uniform u8.
    #[track_caller]
    pub fn bits_u8(self, shape: impl AsRef<[usize]>) -> Int {
        self.bits(shape).as_u8()
    }

    /// Uniform u64.
    #[track_caller]
    pub fn bits_u64(self, shape: impl AsRef<[usize]>) -> Int {
        let [high, low] = self.hash_counts(shape.as_ref());
        (high.as_u64() << 32) | low.as_u64()
    }

    /// Uniform f32 in `range`.
    #[track_caller]
    pub fn uniform(self, shape: impl AsRef<[usize]>, range: Range<f64>) -> Float {
        unit_interval(self.bits(shape)) * (range.end as f32 - range.start as f32) + range.start as f32
    }

    /// Uniform i32 in `range`, each value with equal probability up to one part in 2^32.
    #[track_caller]
    pub fn integers(self, shape: impl AsRef<[usize]>, range: Range<i32>) -> Int {
        assert!(range.start < range.end, "integers: the range {range:?} is empty");
        let span = (range.end as i64 - range.start as i64) as u64;
        ((self.bits(shape).as_u64() * span) >> 32).as_i32() + range.start
    }

    /// True with probability `p`.
    #[track_caller]
    pub fn bernoulli(self, shape: impl AsRef<[usize]>, p: impl IntoOperand<kind::Float>) -> Bool {
        self.uniform(shape, 0.0..1.0).lt(p)
    }

    /// Standard normal f32, by the inverse error function of a uniform draw in (-1, 1).
    #[track_caller]
    pub fn normal(self, shape: impl AsRef<[usize]>) -> Float {
        // The open interval: from the float after -1.
        let low = -1.0 + f32::EPSILON / 2.0;
        let uniform = (unit_interval(self.bits(shape)) * (1.0 - low) + low).maximum(low);
        erf_inv(uniform) * std::f64::consts::SQRT_2
    }

    /// Standard normal f32, restricted to [-2, 2].
    #[track_caller]
    pub fn truncated_normal(self, shape: impl AsRef<[usize]>) -> Float {
        // erf(2 / sqrt(2))
        const EDGE: f64 = 0.954_499_736_103_641_6;
        let uniform = self.uniform(shape, -EDGE..EDGE);
        (erf_inv(uniform) * std::f64::consts::SQRT_2).clamp(-2.0, 2.0)
    }

    /// Standard Gumbel f32: adding it to logits and taking the argmax samples from their softmax.
    #[track_caller]
    pub fn gumbel(self, shape: impl AsRef<[usize]>) -> Float {
        let uniform = self.uniform(shape, 0.0..1.0).maximum(f32::MIN_POSITIVE);
        -(-uniform.ln()).ln()
    }

    /// The two output words of the cipher for the counters 0, 1, ... in row-major order.
    #[track_caller]
    fn hash_counts(self, shape: &[usize]) -> [Int; 2] {
        let size: usize = shape.iter().product();
        let [high, low] = match shape {
            [] => [super::int_u32(0); 2],
            _ => counters(size, size as u64 > 1 << 32).map(|words| words.reshape(shape)),
        };
        self.threefry(high, low)
    }

    #[track_caller]
    fn threefry(&self, high: Int, low: Int) -> [Int; 2] {
        let words = self.words;
        assert!(
            words.shape() == [2],
            "this key is {}, an array of keys; map over it with vmap",
            words.array_type()
        );
        let shape = low.shape();
        let key0 = words.index(0, 0).fill(&shape);
        let key1 = words.index(0, 1).fill(&shape);
        let outputs = emit(Op::Threefry, &[key0.handle(), key1.handle(), high.handle(), low.handle()]);
        [Array::from_handle(outputs[0]), Array::from_handle(outputs[1])]
    }
}

/// The high and low words of the numbers 0, 1, ..., `size` - 1. Those that are not `wide` have no high words.
#[track_caller]
fn counters(size: usize, wide: bool) -> [Int; 2] {
    if wide {
        let count = iota(DType::U64, [size], 0);
        return [(count >> 32).as_u32(), count.as_u32()];
    }
    let low = iota(DType::U32, [size], 0);
    [low.full_like(0), low]
}

/// A number in `0..span` (i32) from 32 uniform bits.
#[track_caller]
pub fn below(bits: Int, span: Int) -> Int {
    ((bits.as_u64() * span.as_u64()) >> 32).as_i32()
}

/// f32 in [0, 1) from the high 23 bits of u32.
#[track_caller]
pub fn unit_interval(bits: Int) -> Float {
    let one_to_two = (bits >> 9) | 0x3f80_0000u32;
    one_to_two.from_bits() - 1.0
}

/// The inverse error function of f32 in (-1, 1), by the two polynomials of Giles (2012), "Approximating the erfinv
/// function".
#[track_caller]
fn erf_inv(x: Float) -> Float {
    const CENTRE: [f64; 9] = [
        2.81022636e-08,
        3.43273939e-07,
        -3.5233877e-06,
        -4.39150654e-06,
        0.00021858087,
        -0.00125372503,
        -0.00417768164,
        0.246640727,
        1.50140941,
    ];
    const TAIL: [f64; 9] = [
        -0.000200214257,
        0.000100950558,
        0.00134934322,
        -0.00367342844,
        0.00573950773,
        -0.0076224613,
        0.00943887047,
        1.00167406,
        2.83297682,
    ];
    let w = -(-x * x).log1p();
    let in_centre = w.lt(5.0);
    let w = select(in_centre, w - 2.5, w.maximum(5.0).sqrt() - 3.0);
    let mut polynomial = select(in_centre, w.full_like(CENTRE[0]), w.full_like(TAIL[0]));
    for (&centre, &tail) in CENTRE.iter().zip(&TAIL).skip(1) {
        polynomial = polynomial * w + select(in_centre, w.full_like(centre), w.full_like(tail));
    }
    polynomial * x
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::trace;

    #[test]
    fn draws_may_have_more_numbers_than_a_u32_counts() {
        let counted = trace(&(), |()| (counters(10, true), counters(10, false)));
        let [high, low, none, short] = interpret(&counted.graph, &[]).try_into().unwrap();
        assert_eq!((&high, &low), (&none, &short));
        assert_eq!(low.to_f64(), (0..10).map(f64::from).collect::<Vec<_>>());
        // As for two trunks of 46,341 x 46,341 weights, traced only.
        let large = trace(&(), |()| Key::new(1).bits([2, 46_341, 46_341]));
        assert!(large.graph.to_string().contains("u64["), "{}", large.graph);
    }
}
