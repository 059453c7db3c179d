//! Ops that move elements and compute nothing (a scatter may add).

use std::rc::Rc;

use ndarray::{ArrayD, ArrayViewD, Axis, CowArray, IxDyn, Slice};

use crate::array::{DType, Element, HostArray, with_element, with_values};
use crate::ir::{Binary, ScatterKind};

use super::elementwise::{binary_value, typed};
use super::scalar::Scalar;

pub fn iota(dtype: DType, shape: &[usize], axis: usize) -> HostArray {
    with_element!(dtype, T => {
        Element::wrap(ArrayD::from_shape_fn(shape, |index| <T as Scalar>::from_int(index[axis] as i128)))
    })
}

pub fn broadcast(x: &HostArray, shape: &[usize], axes: &[usize]) -> HostArray {
    // The axes of `x` in their places, and axes of size 1 between them.
    let mut spread = vec![1; shape.len()];
    for (&axis, &size) in axes.iter().zip(x.shape()) {
        spread[axis] = size;
    }
    with_values!(x, x => {
        let x = x.to_shape(spread).expect("the same elements");
        standard(x.broadcast(shape).expect("checked"))
    })
}

pub fn reshape(x: &HostArray, shape: &[usize]) -> HostArray {
    with_values!(x, x => standard(x.to_shape(shape).expect("the same elements").view()))
}

pub fn transpose(x: &HostArray, permutation: &[usize]) -> HostArray {
    with_values!(x, x => standard(x.view().permuted_axes(permutation)))
}

pub fn slice(x: &HostArray, start: &[usize], limit: &[usize], stride: &[usize]) -> HostArray {
    with_values!(x, x => standard(x.slice_each_axis(|axis| {
        let i = axis.axis.index();
        Slice::new(start[i] as isize, Some(limit[i] as isize), stride[i] as isize)
    })))
}

/// `shape` is the shape of the result.
pub fn pad(x: &HostArray, fill: &HostArray, low: &[usize], interior: &[usize], shape: &[usize]) -> HostArray {
    with_values!(x, x => {
        let mut out = ArrayD::from_elem(shape, typed(fill)[IxDyn(&[])]);
        out.slice_each_axis_mut(|axis| {
            let i = axis.axis.index();
            let stride = interior[i] + 1;
            let span = x.len_of(axis.axis).checked_sub(1).map_or(0, |gaps| gaps * stride + 1);
            Slice::new(low[i] as isize, Some((low[i] + span) as isize), stride as isize)
        })
        .assign(x);
        Element::wrap(out)
    })
}

pub fn concatenate(inputs: &[Rc<HostArray>], axis: usize) -> HostArray {
    with_values!(&*inputs[0], first => {
        let views: Vec<_> = [first].into_iter().chain(inputs[1..].iter().map(|x| typed(x))).map(|x| x.view()).collect();
        standard(ndarray::concatenate(Axis(axis), &views).expect("checked").view())
    })
}

pub fn reverse(x: &HostArray, axes: &[usize]) -> HostArray {
    with_values!(x, x => {
        let mut view = x.view();
        for &axis in axes {
            view.invert_axis(Axis(axis));
        }
        standard(view)
    })
}

pub fn dynamic_slice(x: &HostArray, starts: &[Rc<HostArray>], sizes: &[usize]) -> HostArray {
    let starts = clamped_starts(starts, x.shape(), sizes);
    with_values!(x, x => standard(x.slice_each_axis(|axis| window(&starts, sizes, axis.axis))))
}

pub fn dynamic_update_slice(x: &HostArray, update: &HostArray, starts: &[Rc<HostArray>]) -> HostArray {
    let starts = clamped_starts(starts, x.shape(), update.shape());
    with_values!(x, x => {
        let mut out = x.clone();
        out.slice_each_axis_mut(|axis| window(&starts, update.shape(), axis.axis)).assign(typed(update));
        Element::wrap(out)
    })
}

pub fn gather(x: &HostArray, indices: &HostArray, axis: usize) -> HostArray {
    let last = x.shape()[axis] as i32 - 1;
    let rows: Vec<usize> = indices.as_slice::<i32>().iter().map(|&i| i.min(last).max(0) as usize).collect();
    let shape = [&x.shape()[..axis], indices.shape(), &x.shape()[axis + 1..]].concat();
    with_values!(x, x => {
        let selected = standard_array(x.select(Axis(axis), &rows).view());
        Element::wrap(selected.into_shape_with_order(shape).expect("the same elements"))
    })
}

pub fn scatter(
    kind: ScatterKind,
    x: &HostArray,
    indices: &HostArray,
    updates: &HostArray,
    axis: usize,
) -> HostArray {
    let indices = indices.as_slice::<i32>();
    let rows = [&x.shape()[..axis], &[indices.len()], &x.shape()[axis + 1..]].concat();
    with_values!(x, x => {
        let mut out = x.clone();
        let updates = typed(updates).to_shape(rows).expect("the same elements");
        for (row, &index) in indices.iter().enumerate() {
            if (0..out.len_of(Axis(axis)) as i32).contains(&index) {
                out.index_axis_mut(Axis(axis), index as usize).zip_mut_with(
                    &updates.index_axis(Axis(axis), row),
                    |old, &update| *old = match kind {
                        ScatterKind::Set => update,
                        ScatterKind::Add => binary_value(Binary::Add, *old, update),
                    },
                );
            }
        }
        Element::wrap(out)
    })
}

/// Entry `row` along the leading axis.
pub fn row(x: &HostArray, row: usize) -> HostArray {
    with_values!(x, x => standard(x.index_axis(Axis(0), row)))
}

pub fn set_row(x: &mut HostArray, row: usize, value: &HostArray) {
    with_values!(x, x => x.index_axis_mut(Axis(0), row).assign(typed(value)))
}

/// The axes of `x` in a new order, in row-major layout.
pub fn permuted<T: Element>(x: &ArrayD<T>, permutation: &[usize]) -> ArrayD<T> {
    standard_array(x.view().permuted_axes(permutation))
}

fn standard<T: Element>(view: ArrayViewD<T>) -> HostArray {
    T::wrap(standard_array(view))
}

fn standard_array<T: Element>(view: ArrayViewD<T>) -> ArrayD<T> {
    CowArray::from(view.as_standard_layout()).into_owned()
}

/// The starts, moved so that a window of `sizes` fits into `shape`.
fn clamped_starts(starts: &[Rc<HostArray>], shape: &[usize], sizes: &[usize]) -> Vec<usize> {
    let clamp = |((start, &size), &window): ((&Rc<HostArray>, &usize), &usize)| {
        i64::from(start.as_slice::<i32>()[0]).clamp(0, (size - window) as i64) as usize
    };
    starts.iter().zip(shape).zip(sizes).map(clamp).collect()
}

fn window(starts: &[usize], sizes: &[usize], axis: Axis) -> Slice {
    let start = starts[axis.index()];
    Slice::from(start..start + sizes[axis.index()])
}
