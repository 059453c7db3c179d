//! Running sums, in a form that the compiler cannot make dear.
//!
//! The textbook form adds an array to itself shifted by 1, 2, 4, ... places. XLA fuses all of these steps into one kernel,
//! which computes every element by the whole tree of its sums again: as many loads per element as there are elements, and
//! barriers do not keep it from that. A reduction does. So an axis is cut into blocks; an element is the sum of its block up
//! to it, a reduction over at most [`BLOCK`] elements, plus the running sum of the blocks before, found in the same way.

use crate::array::DType;

use super::build::Build;
use super::{Comparison, Reduction, Var};

/// How many neighbours are summed directly.
const BLOCK: usize = 16;

impl Build<'_> {
    /// The sums of the elements up to and including each one along `axis`.
    pub fn cumsum(&mut self, x: Var, axis: usize) -> Var {
        let shape = self.array_type(x).shape;
        let size = shape[axis];
        if size <= BLOCK {
            return self.sums_up_to(x, axis);
        }
        let blocks = size.div_ceil(BLOCK);
        let whole = self.pad_axis(x, axis, 0, blocks * BLOCK - size);
        let cut = self.reshape(whole, &[&shape[..axis], &[blocks, BLOCK], &shape[axis + 1..]].concat());
        let inside = self.sums_up_to(cut, axis + 1);
        let before = self.sums_of_blocks_before(inside, axis);
        let sums = self.add(inside, before);
        let sums = self.reshape(sums, &[&shape[..axis], &[blocks * BLOCK], &shape[axis + 1..]].concat());
        self.slice_axis(sums, axis, 0..size)
    }

    /// For `inside`, the sums within each block (`[.., blocks, BLOCK, ..]` from `axis` on): the sum of all blocks before, in
    /// every element of a block.
    fn sums_of_blocks_before(&mut self, inside: Var, axis: usize) -> Var {
        let shape = self.array_type(inside).shape;
        let blocks = shape[axis];
        let last = self.slice_axis(inside, axis + 1, BLOCK - 1..BLOCK);
        let totals = self.reshape(last, &[&shape[..=axis], &shape[axis + 2..]].concat());
        let earlier = self.slice_axis(totals, axis, 0..blocks - 1);
        let sums = self.cumsum(earlier, axis);
        let before = self.pad_axis(sums, axis, 1, 0);
        let kept: Vec<usize> = (0..shape.len()).filter(|&other| other != axis + 1).collect();
        self.broadcast(before, &shape, &kept)
    }

    /// The running sums of a short axis: each is a reduction of its own.
    fn sums_up_to(&mut self, x: Var, axis: usize) -> Var {
        let mut shape = self.array_type(x).shape;
        let kept: Vec<usize> = (0..=shape.len()).filter(|&other| other != axis).collect();
        shape.insert(axis, shape[axis]);
        let terms = self.broadcast(x, &shape, &kept);
        let (own, other) = (self.iota(DType::I32, &shape, axis), self.iota(DType::I32, &shape, axis + 1));
        let up_to = self.compare(Comparison::Le, other, own);
        let none = self.full_like(terms, 0.0);
        let terms = self.select(up_to, terms, none);
        self.reduce(Reduction::Sum, terms, &[axis + 1])
    }
}
