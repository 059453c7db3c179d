//! Rows of features, as networks read them.
//!
//! Much of what an agent sees is only ever 0 or 1: which piece stands on a square, whether something is visible. A [`Packing`] keeps
//! such a feature as one bit and the others as they are, exactly, so that a rollout of HackMatrix takes a sixth of its memory.
//! Products read packed rows themselves; nothing has to expand them first.

use std::ops::Range;

use crate::ir::{Kernel, Op};

use super::array::{Array, Float, Int, arange, constant};
use super::trace::{Handle, emit};
use super::tree::{Path, Tree};

/// `N` rows of features.
#[derive(Clone, Copy, Debug)]
pub enum Features {
    /// f32`[N, I]`
    Plain(Float),
    /// What [`Packing::pack`] made of them: numbers f32`[N, F]` and flags u32`[N, B]`, 32 in each word.
    Packed { numbers: Float, flags: Int },
}

impl Tree for Features {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        match self {
            Features::Plain(x) => x.walk(path, visit),
            Features::Packed { numbers, flags } => {
                numbers.walk(path, visit);
                flags.walk(&path.join("flags"), visit);
            }
        }
    }
    fn duplicate(&self) -> Self {
        *self
    }
}

/// Which features are packed as flags.
#[derive(Clone, Debug, PartialEq)]
pub struct Packing {
    /// The features, those that stay numbers first.
    order: Vec<i32>,
    numbers: usize,
}

impl Packing {
    /// For rows of `size` features, of which those in `flags` are 0 or 1. Panics if one does not exist or is named twice.
    pub fn new(size: usize, flags: &[Range<usize>]) -> Packing {
        let mut is_flag = vec![false; size];
        for feature in flags.iter().cloned().flatten() {
            assert!(feature < size, "flag {feature} of {size} features");
            assert!(!std::mem::replace(&mut is_flag[feature], true), "flag {feature} is named twice");
        }
        let mut order: Vec<i32> = (0..size as i32).collect();
        order.sort_by_key(|&feature| is_flag[feature as usize]);
        Packing { order, numbers: is_flag.iter().filter(|is_flag| !**is_flag).count() }
    }

    /// Packs the columns of x f32`[I, N]`, each the features of one example. Of a flag counts whether it is not 0.
    #[track_caller]
    pub fn pack(&self, x: Float) -> Features {
        let op = Op::Kernel(Kernel::Pack { numbers: self.numbers });
        let parts = emit(op, &[x.handle, self.order().handle]);
        Features::Packed { numbers: Array::from_handle(parts[0]), flags: Array::from_handle(parts[1]) }
    }

    /// The product of what was packed and `w` f32`[I, W]`: f32`[N, W]`.
    #[track_caller]
    pub fn matmul(&self, numbers: Float, flags: Int, w: Float) -> Float {
        let inputs = [numbers.handle, flags.handle, self.order().handle, w.handle];
        Array::from_handle(emit(Op::Kernel(Kernel::PackedDot), &inputs)[0])
    }

    /// All features in their order, f32`[N, I]`: exactly what was packed.
    #[track_caller]
    pub fn unpack(&self, numbers: Float, flags: Int) -> Float {
        let size = self.order.len();
        let rows = arange(size).broadcast(1, size);
        let identity = rows.eq(rows.transpose([1, 0])).as_f32();
        self.matmul(numbers, flags, identity)
    }

    #[track_caller]
    fn order(&self) -> Int {
        constant(&self.order)
    }
}

impl Features {
    /// How many rows there are.
    pub fn num_rows(&self) -> usize {
        self.numbers().shape()[0]
    }

    /// All features in their order, f32`[N, I]`; `packing` is how they are packed, if they are.
    #[track_caller]
    pub fn unpacked(&self, packing: Option<&Packing>) -> Float {
        match *self {
            Features::Plain(numbers) => numbers,
            Features::Packed { numbers, flags } => {
                packing.expect("packed features have a packing").unpack(numbers, flags)
            }
        }
    }

    /// The features, or those that were not packed as flags: f32`[N, I]` or `[N, F]`.
    pub fn numbers(&self) -> Float {
        match self {
            Features::Plain(numbers) | Features::Packed { numbers, .. } => *numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{concatenate, trace};

    #[test]
    fn what_was_packed_is_unpacked_exactly() {
        let traced = trace(&(), |()| {
            let flags = arange(40 * 3).reshape([40, 3]) % 2;
            let numbers = (arange(2 * 3).as_f32() * 0.7).sin().reshape([2, 3]);
            let x = concatenate(0, [flags.slice(0, 0..7).as_f32(), numbers, flags.slice(0, 7..40).as_f32()]);
            let packing = Packing::new(42, &[0..7, 9..42]);
            let Features::Packed { numbers, flags } = packing.pack(x) else { panic!("there are flags") };
            (packing.unpack(numbers, flags), x.transpose([1, 0]))
        });
        let outputs = interpret(&traced.graph, &[]);
        assert_eq!(outputs[0], outputs[1]);
    }
}
