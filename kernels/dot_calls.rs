//! The calls of a matrix product: which operands and results they have, and how threads share the rows of the result.
//!
//! The mathematics is in `dot_bf16.rs`.

use super::call::{Array, Call};
use super::dot_bf16::{self, Factor, WIDTH};
use super::{CONTRACTED, in_threads, part_of, threads};

/// Rows, at least, for which a thread more pays: each copies the right factor for itself.
const MIN_ROWS: usize = 256;

pub fn dot_bf16(call: &mut Call) -> Result<(), String> {
    let [left, right] = [0, 1].map(|index| {
        let axis = call.attribute(CONTRACTED[index])?;
        factor(call.operand::<f32>(index)?, axis)
    });
    let (left, right, threads) = (left?, right?, threads(call)?);
    let (out, shape) = call.result::<f32>()?;
    let fits = left.inner == right.inner && right.outer.is_multiple_of(WIDTH) && !out.is_empty();
    if !fits || shape != [left.outer as i64, right.outer as i64] || left.inner == 0 {
        return Err(format!("a product {shape:?} of sums of {} and {} numbers", left.inner, right.inner));
    }
    let part = part_of(left.outer, threads, MIN_ROWS);
    let parts = (0..left.outer).step_by(part).zip(out.chunks_mut(part * right.outer));
    in_threads(parts, |(first, out)| {
        dot_bf16::dot(left, first..(first + part).min(left.outer), right, out);
    });
    Ok(())
}

/// A matrix as a factor whose sums run along that axis.
fn factor(matrix: Array<f32>, axis: i32) -> Result<Factor, String> {
    match (matrix.shape, axis) {
        (&[inner, outer], 0) | (&[outer, inner], 1) => Ok(Factor {
            numbers: matrix.data,
            outer: outer as usize,
            inner: inner as usize,
            is_inner_last: axis == 1,
        }),
        (shape, axis) => Err(format!("the axis {axis} of a matrix {shape:?}")),
    }
}
