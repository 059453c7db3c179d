//! Reductions and dots: accumulated in the wide types, rounded once at the end.

use ndarray::ArrayD;

use crate::array::{Element, HostArray, with_values};
use crate::ir::{Binary, Reduction};

use super::elementwise::{typed, wide_binary};
use super::scalar::{Scalar, Wide};
use super::shape::permuted;

/// One list of axes for each side of a dot.
type AxisPairs = (Vec<usize>, Vec<usize>);

pub fn reduce(kind: Reduction, x: &HostArray, axes: &[usize]) -> HostArray {
    let (kept, shape) = other_axes(x.shape(), axes);
    let count = axes.iter().map(|&axis| x.shape()[axis]).product();
    with_values!(x, x => {
        let x = permuted(x, &[&kept, axes].concat());
        let rows = rows(&x, shape.iter().product(), count);
        HostArray::new(&shape, rows.map(|row| reduce_row(kind, row)).collect())
    })
}

/// A fold of a binary op from its neutral element.
fn reduce_row<T: Scalar>(kind: Reduction, row: &[T]) -> T {
    let (op, neutral) = match kind {
        Reduction::Sum => (Binary::Add, T::default().widen()),
        Reduction::Max => (Binary::Max, limit::<T>(f64::NEG_INFINITY)),
        Reduction::Min => (Binary::Min, limit::<T>(f64::INFINITY)),
        Reduction::And => (Binary::And, Wide::Int(1)),
        Reduction::Or => (Binary::Or, Wide::Int(0)),
    };
    T::narrow(row.iter().fold(neutral, |result, v| wide_binary::<T>(op, result, v.widen())))
}

pub fn dot(a: &HostArray, b: &HostArray, batch: &AxisPairs, contract: &AxisPairs) -> HostArray {
    let (free_a, shape_a) = other_axes(a.shape(), &[&batch.0[..], &contract.0].concat());
    let (free_b, shape_b) = other_axes(b.shape(), &[&batch.1[..], &contract.1].concat());
    let batch_shape: Vec<usize> = batch.0.iter().map(|&axis| a.shape()[axis]).collect();
    let depth: usize = contract.0.iter().map(|&axis| a.shape()[axis]).product();
    let (batches, m, n) = (
        batch_shape.iter().product::<usize>(),
        shape_a.iter().product::<usize>(),
        shape_b.iter().product::<usize>(),
    );
    with_values!(a, a => {
        let a = permuted(a, &[&batch.0[..], &free_a, &contract.0].concat());
        let b = permuted(typed(b), &[&batch.1[..], &free_b, &contract.1].concat());
        let a: Vec<_> = rows(&a, batches * m, depth).collect();
        let b: Vec<_> = rows(&b, batches * n, depth).collect();
        let products = (0..batches * m).flat_map(|i| (0..n).map(move |j| (i, i / m * n + j)));
        HostArray::new(
            &[batch_shape, shape_a, shape_b].concat(),
            products.map(|(i, j)| dot_rows(a[i], b[j])).collect(),
        )
    })
}

fn dot_rows<T: Scalar>(a: &[T], b: &[T]) -> T {
    let products = a.iter().zip(b).map(|(x, y)| wide_binary::<T>(Binary::Mul, x.widen(), y.widen()));
    T::narrow(products.fold(T::default().widen(), |sum, product| wide_binary::<T>(Binary::Add, sum, product)))
}

/// The axes not in `used`, and their sizes.
fn other_axes(shape: &[usize], used: &[usize]) -> (Vec<usize>, Vec<usize>) {
    (0..shape.len()).filter(|axis| !used.contains(axis)).map(|axis| (axis, shape[axis])).unzip()
}

/// `count` consecutive rows of `length` elements.
fn rows<T: Element>(x: &ArrayD<T>, count: usize, length: usize) -> impl Iterator<Item = &[T]> {
    let values = x.as_slice().expect("row-major");
    (0..count).map(move |i| &values[i * length..(i + 1) * length])
}

/// The least or greatest value of `T`, infinities included.
fn limit<T: Scalar>(infinity: f64) -> Wide {
    T::from_float(infinity).widen()
}
