//! Shapes: reshaping, moving axes, slicing, joining, indexing, products.

use std::ops::Range;

use crate::ir::{Activation, CellKind, Kernel, Op, ScatterKind};

use super::array::{Array, Bool, Float, Int, IntoOperand, Kind, Operand, kind};
use super::trace::{Handle, emit};

impl<K: Kind> Array<K> {
    /// The same elements in row-major order in another shape.
    #[track_caller]
    pub fn reshape(self, shape: impl AsRef<[usize]>) -> Self {
        if self.shape() == shape.as_ref() {
            return self;
        }
        self.apply(Op::Reshape { shape: shape.as_ref().to_vec() })
    }

    /// All elements in one axis.
    #[track_caller]
    pub fn flatten(self) -> Self {
        self.reshape([self.size()])
    }

    /// Axis `i` of the result is axis `permutation[i]` of this array.
    #[track_caller]
    pub fn transpose(self, permutation: impl AsRef<[usize]>) -> Self {
        let permutation = permutation.as_ref();
        if permutation.iter().enumerate().all(|(i, &axis)| i == axis) && permutation.len() == self.rank() {
            return self;
        }
        self.apply(Op::Transpose { permutation: permutation.to_vec() })
    }

    /// Axis `from` goes to position `to`; the others keep their order.
    #[track_caller]
    pub fn move_axis(self, from: usize, to: usize) -> Self {
        let mut permutation: Vec<usize> = (0..self.rank()).collect();
        let axis = permutation.remove(from);
        permutation.insert(to, axis);
        self.transpose(permutation)
    }

    /// A new axis of the given size before position `axis`, along which the values repeat.
    #[track_caller]
    pub fn broadcast(self, axis: usize, size: usize) -> Self {
        let mut shape = self.shape();
        assert!(axis <= shape.len(), "broadcast: no position {axis} in {}", self.array_type());
        let axes = (0..shape.len()).map(|i| i + (i >= axis) as usize).collect();
        shape.insert(axis, size);
        self.apply(Op::Broadcast { shape, axes })
    }

    /// A new axis of size 1 before position `axis`.
    #[track_caller]
    pub fn expand_dims(self, axis: usize) -> Self {
        let mut shape = self.shape();
        shape.insert(axis, 1);
        self.reshape(shape)
    }

    /// Removes `axis`, whose size must be 1.
    #[track_caller]
    pub fn squeeze(self, axis: usize) -> Self {
        let mut shape = self.shape();
        assert!(shape.remove(axis) == 1, "squeeze: axis {axis} of {} is not of size 1", self.array_type());
        self.reshape(shape)
    }

    /// The elements `range` of one axis.
    #[track_caller]
    pub fn slice(self, axis: usize, range: Range<usize>) -> Self {
        self.slice_step(axis, range, 1)
    }

    /// Every `step`-th of the elements `range` of one axis.
    #[track_caller]
    pub fn slice_step(self, axis: usize, range: Range<usize>, step: usize) -> Self {
        let shape = self.shape();
        assert!(axis < shape.len(), "slice: no axis {axis} in {}", self.array_type());
        let (mut start, mut limit, mut stride) = (vec![0; shape.len()], shape.clone(), vec![1; shape.len()]);
        (start[axis], limit[axis], stride[axis]) = (range.start, range.end, step);
        self.apply(Op::Slice { start, limit, stride })
    }

    /// Element `index` (known while tracing) of one axis, which vanishes.
    #[track_caller]
    pub fn index(self, axis: usize, index: usize) -> Self {
        self.slice(axis, index..index + 1).squeeze(axis)
    }

    /// The `N` elements of axis 0.
    #[track_caller]
    pub fn unstack<const N: usize>(self) -> [Self; N] {
        assert!(
            self.shape().first() == Some(&N),
            "unstack: axis 0 of {} is not of size {N}",
            self.array_type()
        );
        let mut out = [self; N];
        for (i, item) in out.iter_mut().enumerate() {
            *item = self.index(0, i);
        }
        out
    }

    /// `low` and `high` copies of `fill` before and after the elements of one axis.
    #[track_caller]
    pub fn pad(self, axis: usize, low: usize, high: usize, fill: impl IntoOperand<K>) -> Self {
        let fill = fill.operand().array(self.dtype());
        let zeros = vec![0; self.rank()];
        let (mut lows, mut highs) = (zeros.clone(), zeros.clone());
        (lows[axis], highs[axis]) = (low, high);
        let op = Op::Pad { low: lows, high: highs, interior: zeros };
        Array::from_handle(emit(op, &[self.handle, fill.handle])[0])
    }

    /// The elements of one axis in reverse order.
    #[track_caller]
    pub fn flip(self, axis: usize) -> Self {
        self.apply(Op::Reverse { axes: vec![axis] })
    }

    /// The entries of `axis` at `indices` (i32, clamped to the bounds); the axes of `indices` take the place of
    /// `axis`.
    #[track_caller]
    pub fn take(self, indices: impl IntoOperand<kind::Int>, axis: usize) -> Self {
        let indices = indices.operand().array(crate::array::DType::I32).as_i32();
        Array::from_handle(emit(Op::Gather { axis }, &[self.handle, indices.handle])[0])
    }

    /// The place of the entries `index` of axis 0, to read or to write.
    #[track_caller]
    pub fn at(self, index: impl IntoOperand<kind::Int>) -> At<K> {
        let index = index.operand().array(crate::array::DType::I32).as_i32();
        At { array: self, index }
    }

    /// `size` elements of axis 0 from a start known on the device (clamped so that they fit).
    #[track_caller]
    pub fn dynamic_slice(self, start: Int, size: usize) -> Self {
        let mut sizes = self.shape();
        sizes[0] = size;
        let inputs = [vec![self.handle], self.starts(start)].concat();
        Array::from_handle(emit(Op::DynamicSlice { sizes }, &inputs)[0])
    }

    /// This array with `update` in place of the elements of axis 0 from `start` on (clamped so that they fit).
    #[track_caller]
    pub fn dynamic_update(self, start: Int, update: Self) -> Self {
        let inputs = [vec![self.handle, update.handle], self.starts(start)].concat();
        Array::from_handle(emit(Op::DynamicUpdateSlice, &inputs)[0])
    }

    #[track_caller]
    fn starts(self, start: Int) -> Vec<Handle> {
        let mut starts = vec![super::int(0).handle; self.rank()];
        starts[0] = start.as_i32().handle;
        starts
    }
}

/// Entries of axis 0 of an array: see [`Array::at`].
#[derive(Clone, Copy, Debug)]
pub struct At<K> {
    array: Array<K>,
    index: Int,
}

impl<K: Kind> At<K> {
    /// The entries; an index out of bounds gives the nearest one.
    #[track_caller]
    pub fn get(self) -> Array<K> {
        self.array.take(self.index, 0)
    }

    /// The entry at a scalar index; `otherwise` where the index is out of bounds. For many examples side by side it costs as much as
    /// there are entries taken.
    #[track_caller]
    pub fn get_or(self, otherwise: Array<K>) -> Array<K> {
        assert_eq!(self.index.rank(), 0, "get_or: one entry is taken, at a scalar index");
        let examples = |array: Array<K>| array.expand_dims(array.rank());
        let (tables, rows) = (examples(self.array), examples(otherwise));
        let inputs = [tables.handle, self.index.expand_dims(0).handle, rows.handle];
        let taken = Array::<K>::from_handle(emit(Op::Kernel(Kernel::TakeRow), &inputs)[0]);
        taken.squeeze(taken.rank() - 1)
    }

    /// The array with these entries replaced; an index out of bounds does nothing.
    #[track_caller]
    pub fn set(self, value: impl IntoOperand<K>) -> Array<K> {
        self.scatter(ScatterKind::Set, value.operand())
    }

    /// The array with `value` added to these entries; an index out of bounds does nothing.
    #[track_caller]
    #[allow(clippy::should_implement_trait)] // the name that JAX users know
    pub fn add(self, value: impl IntoOperand<K>) -> Array<K> {
        self.scatter(ScatterKind::Add, value.operand())
    }

    #[track_caller]
    fn scatter(self, kind: ScatterKind, value: Operand<K>) -> Array<K> {
        let mut value = value.array(self.array.dtype());
        let shape = [self.index.shape(), self.array.shape()[1..].to_vec()].concat();
        if value.rank() == 0 {
            value = value.fill(&shape);
        }
        let inputs = [self.array.handle, self.index.handle, value.handle];
        Array::from_handle(emit(Op::Scatter { axis: 0, kind }, &inputs)[0])
    }
}

/// A linear recurrence over axis 0, of `factors` and `terms` `[T, ..]`: each step is its factors times the step before plus its terms. The
/// first one follows on `begin` `[..]`.
#[track_caller]
pub fn linear_recurrence(factors: Float, terms: Float, begin: Float) -> Float {
    recur(factors, terms, begin, false)
}

/// [`linear_recurrence`] from the last step to the first, where `begin` comes after the last one.
#[track_caller]
pub fn linear_recurrence_reverse(factors: Float, terms: Float, begin: Float) -> Float {
    recur(factors, terms, begin, true)
}

#[track_caller]
fn recur(factors: Float, terms: Float, begin: Float, reverse: bool) -> Float {
    let inputs = [factors.handle, terms.handle, begin.handle];
    Array::from_handle(emit(Op::Kernel(Kernel::LinearRecurrence { reverse }), &inputs)[0])
}

/// A step of Adam along a gradient that is clipped to a norm: parameters, mean and square `[N]` after it, and the norm before. `vectors` are
/// parameters, mean, square and gradient; `numbers` the largest norm, the learning rate, what makes up for the beginnings of the mean and
/// of that of squares, and epsilon.
#[track_caller]
pub fn adam(vectors: [Float; 4], numbers: [Float; 5]) -> [Float; 4] {
    let inputs: Vec<Handle> = vectors.iter().chain(&numbers).map(|array| array.handle).collect();
    let outputs = emit(Op::Kernel(Kernel::Adam), &inputs);
    [0, 1, 2, 3].map(|i| Array::from_handle(outputs[i]))
}

/// Arrays of one shape along a new axis 0.
#[track_caller]
pub fn stack<K: Kind>(arrays: impl AsRef<[Array<K>]>) -> Array<K> {
    stack_at(0, arrays)
}

/// Arrays of one shape along a new axis at position `axis`.
#[track_caller]
pub fn stack_at<K: Kind>(axis: usize, arrays: impl AsRef<[Array<K>]>) -> Array<K> {
    let mut expanded = Vec::new();
    for array in arrays.as_ref() {
        expanded.push(array.expand_dims(axis));
    }
    concatenate(axis, expanded)
}

/// Arrays joined along an axis that they have.
#[track_caller]
pub fn concatenate<K: Kind>(axis: usize, arrays: impl AsRef<[Array<K>]>) -> Array<K> {
    let handles: Vec<Handle> = arrays.as_ref().iter().map(|array| array.handle).collect();
    if let [only] = arrays.as_ref() {
        return *only;
    }
    Array::from_handle(emit(Op::Concatenate { axis }, &handles)[0])
}

impl Float {
    /// The matrix product: the last axis of this array with the first axis of `right`.
    #[track_caller]
    pub fn matmul(self, right: Float) -> Float {
        assert!(self.rank() > 0, "matmul: {} is a scalar", self.array_type());
        self.dot(right, &[self.rank() - 1], &[0])
    }

    /// The matrix product of this array `[N, I]`, which is expected to be mostly zeros, and `right` `[I, W]`.
    #[track_caller]
    pub fn sparse_matmul(self, right: Float) -> Float {
        Array::from_handle(emit(Op::Kernel(Kernel::SparseDot), &[self.handle, right.handle])[0])
    }

    /// This array `[N, I]` through layers, given as a kernel `[I, W]` and a bias `[W]` for each, with the activation after each
    /// but the last.
    #[track_caller]
    pub fn mlp(self, weights: &[Float], activation: Activation) -> Float {
        let op = Op::Kernel(Kernel::Mlp { layers: weights.len() / 2, activation });
        let inputs: Vec<Handle> = [self].iter().chain(weights).map(|array| array.handle).collect();
        Array::from_handle(*emit(op, &inputs).last().expect("there is a layer"))
    }

    /// What a recurrent cell remembers after each step, `[T, N, H]`, first what it puts out; this array `[T, N, G x H]` is what its gates
    /// get of the input. Where a step is one of `starts` `[T, N]`, nothing was remembered before it. `kernel` is `[H, G x H]`, `bias`
    /// `[G x H]`, and `begin` what is remembered at the beginning, each `[N, H]`.
    #[track_caller]
    pub fn recurrent(
        self,
        cell: CellKind,
        starts: Bool,
        kernel: Float,
        bias: Float,
        begin: &[Float],
    ) -> Vec<Float> {
        let inputs = [self.handle, starts.handle, kernel.handle, bias.handle];
        let begin = begin.iter().map(|begin| begin.handle);
        let inputs: Vec<Handle> = inputs.into_iter().chain(begin).collect();
        let outputs = emit(Op::Kernel(Kernel::Recurrent { cell }), &inputs);
        outputs.into_iter().take(cell.remembered()).map(Array::from_handle).collect()
    }

    /// Sums the products over pairs of axes; the free axes of this array come first, then those of `right`.
    #[track_caller]
    pub fn dot(self, right: Float, left_axes: &[usize], right_axes: &[usize]) -> Float {
        let op = Op::Dot { batch: (vec![], vec![]), contract: (left_axes.to_vec(), right_axes.to_vec()) };
        Array::from_handle(emit(op, &[self.handle, right.handle])[0])
    }
}
