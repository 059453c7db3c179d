//! Reading and writing at places that are known on the device.

use crate::array::{ArrayType, DType};
use crate::ir::Op;

use super::ensure;

type Inferred = Result<ArrayType, String>;

pub fn dynamic_slice(op: &Op, sizes: &[usize], inputs: &[&ArrayType]) -> Inferred {
    let x = inputs[0];
    starts_fit(op, x, &inputs[1..])?;
    let fits = sizes.len() == x.rank() && sizes.iter().zip(&x.shape).all(|(a, b)| a <= b);
    ensure(fits, || format!("dynamic_slice: sizes {sizes:?} do not fit into {x}"))?;
    Ok(ArrayType::new(x.dtype, sizes))
}

pub fn dynamic_update_slice(op: &Op, inputs: &[&ArrayType]) -> Inferred {
    let (x, update) = (inputs[0], inputs[1]);
    starts_fit(op, x, &inputs[2..])?;
    let fits = update.dtype == x.dtype
        && update.rank() == x.rank()
        && update.shape.iter().zip(&x.shape).all(|(a, b)| a <= b);
    ensure(fits, || format!("dynamic_update_slice: {update} does not fit into {x}"))?;
    Ok(x.clone())
}

pub fn scatter(op: &Op, axis: usize, inputs: &[&ArrayType]) -> Inferred {
    let expected = ArrayType::new(inputs[0].dtype, gathered_shape(op, axis, inputs[0], inputs[1])?);
    ensure(*inputs[2] == expected, || {
        format!("{}: the updates are {}, expected {expected}", op.name(), inputs[2])
    })?;
    Ok(inputs[0].clone())
}

/// The shape of what a gather takes and a scatter puts.
pub fn gathered_shape(
    op: &Op,
    axis: usize,
    x: &ArrayType,
    indices: &ArrayType,
) -> Result<Vec<usize>, String> {
    ensure(axis < x.rank() && indices.dtype == DType::I32, || {
        format!("{}: indices {indices} along axis {axis} do not fit {x}", op.name())
    })?;
    ensure(x.shape[axis] > 0, || format!("{}: {x} has no entries along axis {axis}", op.name()))?;
    Ok([&x.shape[..axis], &indices.shape[..], &x.shape[axis + 1..]].concat())
}

fn starts_fit(op: &Op, x: &ArrayType, starts: &[&ArrayType]) -> Result<(), String> {
    let fits = starts.len() == x.rank() && starts.iter().all(|&t| *t == ArrayType::scalar(DType::I32));
    ensure(fits, || format!("{}: {x} needs one i32 scalar start per axis", op.name()))
}
