//! Gradients of a mean over many rows, on all devices, in parts that fit a core's cache.
//!
//! On cpu a minibatch is processed in micro-batches whose activations stay in the processor's cache; their gradients are
//! summed, which is the same mathematics. Losses and gradient are one vector, so that devices add them up in one go, and a step of
//! the optimizer is a few operations however many layers there are.

use crate::array::ArrayType;
use crate::lang::{
    Float, Int, Tree, all_reduce, concatenate, leaves, map2, ravel, scan, target, value_and_grad,
};
use crate::runtime::DeviceKind;

/// The sums over the rows `chosen` of all devices, each as one vector: of the losses that `loss` reports beside the one that is
/// differentiated, and of its gradient. `none` has the shapes of those losses and is zero; a micro-batch has `micro` rows, a
/// divisor of theirs.
#[track_caller]
pub fn sums<P: Tree + Clone, L: Tree>(
    params: &P,
    none: impl Fn() -> L,
    chosen: Int,
    micro: usize,
    num_devices: usize,
    loss: impl Fn(P, Int) -> (Float, L),
) -> (Float, Float) {
    let size = chosen.shape()[0];
    let part = |rows: Int| {
        let (_, losses, gradient) = value_and_grad(params, |params| loss(params, rows));
        (losses, gradient)
    };
    let sums = if micro == size {
        let (losses, gradient) = part(chosen);
        if num_devices == 1 {
            return (ravel(&losses), ravel(&gradient));
        }
        ravel(&(losses, gradient))
    } else {
        let nothing = Packed::new(&(none(), map2(params, params, |p, _| p.full_like(0.0))));
        let groups = chosen.reshape([size / micro, micro]);
        let add = |sums: Packed, rows| (map2(&sums, &Packed::new(&part(rows)), |a, b| a + b), ());
        scan(nothing, groups, add).0.ravel(&(none(), params.clone()))
    };
    let sums = if num_devices == 1 { sums } else { all_reduce(sums) };
    let count = leaves(&none()).len();
    (sums.slice(0, 0..count), sums.slice(0, count..sums.size()))
}

/// A tree of floats for adding up: the large arrays as they are, so that a kernel can add to them in place, and the small
/// ones as one vector, since each operation costs something however small it is.
struct Packed {
    large: Vec<Float>,
    small: Float,
}
crate::tree!(Packed { large, small });

impl Packed {
    /// Least number of elements of a large array.
    const LARGE: usize = 1 << 16;

    fn new<T: Tree>(tree: &T) -> Packed {
        let (large, small): (Vec<Float>, Vec<Float>) =
            leaves(tree).into_iter().map(Float::from_handle).partition(Packed::is_large);
        Packed { large, small: concatenate(0, small.into_iter().map(Float::flatten).collect::<Vec<_>>()) }
    }

    /// All numbers in the order of the tree `like`, whose shapes are those of the tree that was packed.
    fn ravel<T: Tree>(&self, like: &T) -> Float {
        if self.large.is_empty() {
            return self.small;
        }
        let (mut large, mut start) = (self.large.iter(), 0);
        let part = |leaf| {
            let leaf = Float::from_handle(leaf);
            if Packed::is_large(&leaf) {
                return large.next().expect("as many as were packed").flatten();
            }
            start += leaf.size();
            self.small.slice(0, start - leaf.size()..start)
        };
        concatenate(0, leaves(like).into_iter().map(part).collect::<Vec<_>>())
    }

    fn is_large(array: &Float) -> bool {
        array.size() >= Packed::LARGE
    }
}

/// Rows of a micro-batch: a divisor of the minibatch whose activations stay in a core's cache, but with more of them
/// than the weights whose gradients are added up after each. Other devices have thousands of cores to keep busy and start
/// every kernel at a price, so there only memory is a limit, and a micro-batch is mostly the whole minibatch. A row of the
/// minibatch has so many floats of `activations`.
pub fn micro_batch_rows<P: Tree>(minibatch: usize, activations: usize, params: &P) -> usize {
    /// Floats of activations and their cotangents that the cache holds.
    const CACHE: usize = 1 << 20;
    /// Least floats of activations for each weight.
    const PER_WEIGHT: usize = 14;
    /// Floats of activations that a device can spare: 1 GB.
    const MEMORY: usize = 1 << 28;
    let types: Vec<ArrayType> = leaves(params).into_iter().map(|leaf| leaf.array_type()).collect();
    let weights: usize = types.iter().map(ArrayType::size).sum();
    let floats = match target() {
        DeviceKind::Cpu => CACHE.max(PER_WEIGHT * weights),
        DeviceKind::Cuda | DeviceKind::Tpu => MEMORY,
    };
    divisor_at_most(minibatch, (floats / activations).max(1))
}

/// The largest divisor of `n` that is at most `limit` (which is at least 1).
pub fn divisor_at_most(n: usize, limit: usize) -> usize {
    (1..=limit.min(n)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divisors() {
        assert_eq!(divisor_at_most(100, 12), 10);
        assert_eq!(divisor_at_most(97, 64), 1);
        assert_eq!(divisor_at_most(8, 100), 8);
    }
}
