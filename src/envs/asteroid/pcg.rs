//! PCG32, the generator of the reference: its stream of u32 bit for bit, and the distributions that are drawn from it.
//!
//! (O'Neill 2014, "PCG: A family of simple fast space-efficient statistically good algorithms for random number generation",
//! variant XSH-RR 64/32.) A linear congruential generator can skip ahead in one multiplication, so that draws at known places of the stream
//! are computed at once, and a draw that is not made costs no branch.

use std::f64::consts::TAU;

use crate::array::DType;
use crate::lang::{Bool, Float, Int, constant, select};

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
/// Of stream 54.
const INCREMENT: u64 = 109;
/// The most draws that [`Pcg::skip_by`] passes over: those of 16 new asteroids.
const FARTHEST: usize = 321;

/// A place in the stream. The state is u64, of any shape.
#[derive(Clone, Copy)]
pub struct Pcg {
    pub state: Int,
}
crate::tree!(Pcg { state });

/// What `steps` steps do to a state: they multiply it by the first number and add the second.
fn leap(steps: usize) -> (u64, u64) {
    let step = |(factor, summand): (u64, u64), _| {
        (factor.wrapping_mul(MULTIPLIER), summand.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT))
    };
    (0..steps).fold((1, 0), step)
}

/// [`leap`] of 0, 1, ..., `count` - 1 steps, as constants u64\[count\].
fn leaps(count: usize) -> (Int, Int) {
    let (factors, summands): (Vec<u64>, Vec<u64>) = (0..count).map(leap).unzip();
    (constant(factors), constant(summands))
}

impl Pcg {
    /// The stream of a seed, u64.
    #[track_caller]
    pub fn seeded(seed: Int) -> Pcg {
        Pcg { state: (seed + INCREMENT) * MULTIPLIER + INCREMENT }
    }

    /// Behind the next `steps` draws.
    #[track_caller]
    pub fn skip(self, steps: usize) -> Pcg {
        let (factor, summand) = leap(steps);
        Pcg { state: self.state * factor + summand }
    }

    /// Behind the next `steps` draws if the flag holds.
    #[track_caller]
    pub fn skip_if(self, flag: Bool, steps: usize) -> Pcg {
        Pcg { state: select(flag, self.skip(steps).state, self.state) }
    }

    /// Behind as many draws as are known on the device only: i32, up to 321, of the shape of the state.
    #[track_caller]
    pub fn skip_by(self, steps: Int) -> Pcg {
        let (factors, summands) = leaps(FARTHEST + 1);
        Pcg { state: self.state * factors.at(steps).get() + summands.at(steps).get() }
    }

    /// The next draw, u32 of the shape of the state.
    #[track_caller]
    pub fn next(self) -> Int {
        let state = self.state;
        let word = (((state >> 18) ^ state) >> 27) & 0xffff_ffffu64;
        // A word rotated to the right is the lower half of two copies of it, shifted.
        ((word | (word << 32)) >> (state >> 59)).as_u32()
    }

    /// The next `count` draws, u32 with a new axis at the end. The place in the stream stays as it is.
    #[track_caller]
    pub fn draws(self, count: usize) -> Int {
        let shape = self.state.shape();
        let (factors, summands) = leaps(count);
        let spread = |x: Int| shape.iter().rev().fold(x, |x, &size| x.broadcast(0, size));
        let states = self.state.broadcast(shape.len(), count);
        Pcg { state: states * spread(factors) + spread(summands) }.next()
    }

    /// [`Pcg::draws`] as numbers from 0 to 1, f32.
    #[track_caller]
    pub fn units(self, count: usize) -> Float {
        unit(self.draws(count))
    }
}

/// A number from 0 to 1 (which f32 can round to) of a draw.
#[track_caller]
pub fn unit(draw: Int) -> Float {
    draw.as_f32() * (0.5f64).powi(32)
}

/// A number below `n` (u32, or a literal), i32.
#[track_caller]
pub fn below(draw: Int, n: impl crate::lang::IntoOperand<crate::lang::kind::Int>) -> Int {
    debug_assert_eq!(draw.dtype(), DType::U32);
    (draw % n).as_i32()
}

/// A number from `low` to `high` of one from 0 to 1.
#[track_caller]
pub fn between(unit: Float, low: f64, high: f64) -> Float {
    unit * (high - low) + low
}

/// An exponential variable of mean 1 of a number from 0 to 1.
#[track_caller]
pub fn exponential(unit: Float) -> Float {
    -unit.maximum(1e-8).ln()
}

/// A standard normal variable of two numbers from 0 to 1, which stand side by side on the last axis. (Box and Muller 1958; the
/// reference drops the second variable.)
#[track_caller]
pub fn normal(units: Float) -> Float {
    let axis = units.rank() - 1;
    let part = |i: usize| {
        let shape: Vec<usize> = units.shape()[..axis].to_vec();
        units.slice(axis, i..i + 1).reshape(shape)
    };
    (exponential(part(0)) * 2.0).sqrt() * (part(1) * TAU).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{int, int_u64, trace};

    #[test]
    fn the_stream_is_that_of_the_reference() {
        let traced = trace(&(), |()| {
            let first = Pcg::seeded(int_u64(21));
            (first.state, first.draws(16), first.skip(16).state, first.skip_by(int(16)).state)
        });
        let found = interpret(&traced.graph, &[]);
        assert_eq!(found[0].as_slice::<u64>(), [0xd99d_ff00_e3ea_9547]);
        assert_eq!(found[1].as_slice::<u32>()[..3], [1_998_954_086, 2_101_996_993, 1_421_686_701]);
        assert_eq!(found[1].as_slice::<u32>()[15], 2_466_343_085);
        assert_eq!(found[2].as_slice::<u64>(), [0x9a73_ef6b_f0cb_2ff7]);
        assert_eq!(found[2], found[3]);
    }
}
