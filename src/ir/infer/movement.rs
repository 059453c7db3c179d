//! Ops that move elements to other places.

use crate::array::{ArrayType, Shape};

use super::ensure;

type Inferred = Result<ArrayType, String>;

pub fn broadcast(shape: &Shape, axes: &[usize], x: &ArrayType) -> Inferred {
    let fits = axes.len() == x.rank()
        && axes.windows(2).all(|w| w[0] < w[1])
        && axes.iter().zip(&x.shape).all(|(&axis, &size)| shape.get(axis) == Some(&size));
    ensure(fits, || format!("broadcast: axes {axes:?} do not place {x} in shape {shape:?}"))?;
    Ok(ArrayType::new(x.dtype, shape.clone()))
}

pub fn reshape(shape: &Shape, x: &ArrayType) -> Inferred {
    ensure(shape.iter().product::<usize>() == x.size(), || {
        format!("reshape: {x} has {} elements, shape {shape:?} another number", x.size())
    })?;
    Ok(ArrayType::new(x.dtype, shape.clone()))
}

pub fn transpose(permutation: &[usize], x: &ArrayType) -> Inferred {
    let mut sorted = permutation.to_vec();
    sorted.sort_unstable();
    ensure(sorted == (0..x.rank()).collect::<Vec<_>>(), || {
        format!("transpose: {permutation:?} is no permutation of the axes of {x}")
    })?;
    Ok(ArrayType::new(x.dtype, permutation.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>()))
}

pub fn slice(start: &[usize], limit: &[usize], stride: &[usize], x: &ArrayType) -> Inferred {
    let fits = [start, limit, stride].iter().all(|v| v.len() == x.rank())
        && (0..x.rank()).all(|i| start[i] <= limit[i] && limit[i] <= x.shape[i] && stride[i] >= 1);
    ensure(fits, || format!("slice: {start:?}..{limit:?} by {stride:?} is not inside {x}"))?;
    let shape: Vec<usize> = (0..x.rank()).map(|i| (limit[i] - start[i]).div_ceil(stride[i])).collect();
    Ok(ArrayType::new(x.dtype, shape))
}

pub fn pad(low: &[usize], high: &[usize], interior: &[usize], x: &ArrayType, fill: &ArrayType) -> Inferred {
    let fits = [low, high, interior].iter().all(|v| v.len() == x.rank());
    ensure(fits && *fill == ArrayType::scalar(x.dtype), || {
        format!("pad: {low:?}, {high:?}, {interior:?} with {fill} do not fit {x}")
    })?;
    let padded = |i: usize| low[i] + high[i] + x.shape[i] + interior[i] * x.shape[i].saturating_sub(1);
    Ok(ArrayType::new(x.dtype, (0..x.rank()).map(padded).collect::<Vec<_>>()))
}

pub fn concatenate(axis: usize, inputs: &[&ArrayType]) -> Inferred {
    let first = inputs[0];
    ensure(axis < first.rank(), || format!("concatenate: no axis {axis} in {first}"))?;
    let mut shape = first.shape.clone();
    shape[axis] = 0;
    for x in inputs {
        let fits = x.dtype == first.dtype
            && x.rank() == first.rank()
            && (0..x.rank()).all(|i| i == axis || x.shape[i] == first.shape[i]);
        ensure(fits, || format!("concatenate: {x} and {first} do not meet along axis {axis}"))?;
        shape[axis] += x.shape[axis];
    }
    Ok(ArrayType::new(first.dtype, shape))
}
