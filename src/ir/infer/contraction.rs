//! Products and reductions.

use crate::array::{ArrayType, DType};
use crate::ir::{Op, Reduction};

use super::{accepts, axes_exist, ensure};

/// One list of axes for each side of a dot.
type AxisPairs = (Vec<usize>, Vec<usize>);

pub fn dot(
    op: &Op,
    batch: &AxisPairs,
    contract: &AxisPairs,
    a: &ArrayType,
    b: &ArrayType,
) -> Result<ArrayType, String> {
    accepts(op, a.dtype == b.dtype && a.dtype != DType::Bool, a)?;
    axes_exist(op, &[batch.0.clone(), contract.0.clone()].concat(), a)?;
    axes_exist(op, &[batch.1.clone(), contract.1.clone()].concat(), b)?;
    for (left, right) in [(&batch.0, &batch.1), (&contract.0, &contract.1)] {
        let fits = left.len() == right.len()
            && left.iter().zip(right.iter()).all(|(&i, &j)| a.shape[i] == b.shape[j]);
        ensure(fits, || format!("dot: axes {left:?} of {a} do not meet axes {right:?} of {b}"))?;
    }
    let mut shape: Vec<usize> = batch.0.iter().map(|&i| a.shape[i]).collect();
    shape.extend(free_sizes(a, &[&batch.0[..], &contract.0].concat()));
    shape.extend(free_sizes(b, &[&batch.1[..], &contract.1].concat()));
    Ok(ArrayType::new(a.dtype, shape))
}

pub fn reduce(op: &Op, kind: Reduction, axes: &[usize], x: &ArrayType) -> Result<ArrayType, String> {
    accepts(op, kind.accepts(x.dtype), x)?;
    axes_exist(op, axes, x)?;
    Ok(ArrayType::new(x.dtype, free_sizes(x, axes)))
}

/// The sizes of the axes of `x` that are not in `used`.
fn free_sizes(x: &ArrayType, used: &[usize]) -> Vec<usize> {
    (0..x.rank()).filter(|axis| !used.contains(axis)).map(|axis| x.shape[axis]).collect()
}
