//! Slices, gathers and scatters at places that differ between the examples.
//!
//! Each becomes one gather or scatter over an axis in which examples and places are joined: example `b` reads its
//! entry `i` at row `b * size + i` (batch first) or `i * batch + b` (batch last).

use super::{Batched, Placement, Rule};
use crate::array::{ArrayType, DType};
use crate::ir::{Binary, Build, Comparison, Kernel, Op, ScatterKind, Var};

/// Longest axis along which a write at a batched index becomes a one-hot select instead of a scatter.
const ONE_HOT_LIMIT: usize = 1024;
/// Numbers of all examples from which on such a write is a native kernel that touches nothing else.
const NATIVE_WRITE: usize = 1 << 16;

impl Rule<'_> {
    pub(super) fn dynamic_slice(&mut self, sizes: &[usize], inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        if inputs[1..].iter().all(|start| !start.batched) {
            let starts = self.starts_with_zero(&inputs[1..]);
            let op = Op::DynamicSlice { sizes: batching.with(sizes, batching.size) };
            return self.batched(op, &[vec![inputs[0].var], starts].concat());
        }
        let (flat, indices) = self.flat_window(inputs[0], sizes, &inputs[1..]);
        let taken = self.build.gather(flat, indices, 0);
        vec![Batched { var: taken, batched: true }]
    }

    pub(super) fn dynamic_update_slice(&mut self, inputs: &[Batched]) -> Vec<Batched> {
        if inputs[2..].iter().all(|start| !start.batched) {
            let starts = self.starts_with_zero(&inputs[2..]);
            let (x, update) = (self.force(inputs[0]), self.force(inputs[1]));
            return self.batched(Op::DynamicUpdateSlice, &[vec![x, update], starts].concat());
        }
        let shape = self.batching.shape(&self.example(0).shape);
        let window = self.example(1).shape;
        let (flat, indices) = self.flat_window(inputs[0], &window, &inputs[2..]);
        let update = self.force(inputs[1]);
        let written = self.build.scatter(ScatterKind::Set, flat, indices, update, 0);
        vec![Batched { var: self.build.reshape(written, &shape), batched: true }]
    }

    /// Unbatched starts, with a zero for the batch axis.
    fn starts_with_zero(&mut self, starts: &[Batched]) -> Vec<Var> {
        let zero = self.build.scalar(0.0, DType::I32);
        let starts: Vec<Var> = starts.iter().map(|start| start.var).collect();
        self.batching.with(&starts, zero)
    }

    /// `x` as one axis, and the indices in it of a window at batched starts.
    fn flat_window(&mut self, x: Batched, window: &[usize], starts: &[Batched]) -> (Var, Var) {
        let batching = self.batching;
        let example = self.example(0);
        let batched_shape = batching.shape(&example.shape);
        let indices_shape = batching.shape(window);
        let x = self.force(x);
        let flat = self.build.reshape(x, &[batched_shape.iter().product()]);
        let stride_of = |axis: usize| batched_shape[axis + 1..].iter().product::<usize>();
        let batch_axis = batching.position(window.len());
        let lane = self.build.iota(DType::I32, &indices_shape, batch_axis);
        let mut indices = self.times(lane, stride_of(batch_axis));
        for (axis, &start) in starts.iter().enumerate() {
            let start = self.clamp(start, example.shape[axis] - window[axis]);
            let start = self.force(start);
            let start = self.build.broadcast(start, &indices_shape, &[batch_axis]);
            let offset = self.build.iota(DType::I32, &indices_shape, batching.shift(axis));
            let place = self.build.add(start, offset);
            let place = self.times(place, stride_of(batching.shift(axis)));
            indices = self.build.add(indices, place);
        }
        (flat, indices)
    }

    fn times(&mut self, x: Var, factor: usize) -> Var {
        let factor = self.build.full_like(x, factor as f64);
        self.build.mul(x, factor)
    }

    /// Into `0..=high`.
    fn clamp(&mut self, x: Batched, high: usize) -> Batched {
        let low = self.build.full_like(x.var, 0.0);
        let high = self.build.full_like(x.var, high as f64);
        let var = self.build.binary(Binary::Max, x.var, low);
        Batched { var: self.build.binary(Binary::Min, var, high), ..x }
    }

    pub(super) fn gather(&mut self, axis: usize, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let [x, indices] = [inputs[0], inputs[1]];
        let (x_rank, indices_rank) = (self.example(0).rank(), self.example(1).rank());
        let out_rank = x_rank - 1 + indices_rank;
        if !indices.batched {
            return self.batched(Op::Gather { axis: batching.shift(axis) }, &[x.var, indices.var]);
        }
        if !x.batched {
            let taken = self.build.gather(x.var, indices.var, axis);
            let from = axis + batching.position(indices_rank);
            let taken = self.build.move_axis(taken, from, batching.position(out_rank));
            return vec![Batched { var: taken, batched: true }];
        }
        let indices = self.clamp(indices, self.example(0).shape[axis] - 1);
        if batching.placement == Placement::Last && x_rank > 1 {
            return self.take_numbers(axis, x.var, indices.var);
        }
        let (flat, indices) = self.flat_rows(axis, x.var, indices.var);
        let taken = self.build.gather(flat, indices, 0);
        vec![Batched { var: self.rows_in_place(axis, indices_rank, x_rank, taken), batched: true }]
    }

    /// The gather of entries that are no scalars, with the batch last: number by number, since XLA would turn all of `x` around to
    /// have the numbers of an entry side by side.
    fn take_numbers(&mut self, axis: usize, x: Var, indices: Var) -> Vec<Batched> {
        let size = self.batching.size;
        let example = self.example(0).shape;
        let [before, after] = [&example[..axis], &example[axis + 1..]];
        let chosen = self.example(1).shape;
        let [a, i, c]: [usize; 3] = [before, &chosen, after].map(|shape| shape.iter().product());
        let shape = [a, i, c, size];
        let along = |b: &mut Build, axis: usize| b.iota(DType::I32, &shape, axis);
        let indices = self.build.reshape(indices, &[i, size]);
        let entry = self.build.broadcast(indices, &shape, &[1, 3]);
        let outer = along(&mut self.build, 0);
        let outer = self.times(outer, example[axis]);
        let entry = self.build.add(outer, entry);
        let entry = self.times(entry, c);
        let inner = along(&mut self.build, 2);
        let number = self.build.add(entry, inner);
        let number = self.times(number, size);
        let lane = along(&mut self.build, 3);
        let place = self.build.add(number, lane);
        let flat = self.build.reshape(x, &[a * example[axis] * c * size]);
        let taken = self.build.gather(flat, place, 0);
        let shape = [before, &chosen, after, &[size]].concat();
        vec![Batched { var: self.build.reshape(taken, &shape), batched: true }]
    }

    /// For indices and `x` that are both batched: `x` with `axis` and the batch axis joined as axis 0, and the
    /// indices into it.
    fn flat_rows(&mut self, axis: usize, x: Var, indices: Var) -> (Var, Var) {
        let batching = self.batching;
        let example = self.example(0);
        let size = example.shape[axis];
        let batch_axis = batching.position(example.rank());
        let mut rows = self.build.move_axis(x, batching.shift(axis), 0);
        let batch_axis = if batch_axis == 0 { 1 } else { batch_axis };
        rows = self.build.move_axis(rows, batch_axis, 1);
        let indices_shape = self.build.array_type(indices).shape;
        let lane_axis = batching.position(indices_shape.len() - 1);
        let lane = self.build.iota(DType::I32, &indices_shape, lane_axis);
        // Rows are [size, batch, ...] when the batch is last, [batch, size, ...] when it is first: no copy
        // is needed where `axis` is the only one.
        let indices = match batching.placement {
            Placement::Last => {
                let scaled = self.times(indices, batching.size);
                self.build.add(scaled, lane)
            }
            Placement::First => {
                rows = self.build.move_axis(rows, 0, 1);
                let scaled = self.times(lane, size);
                self.build.add(indices, scaled)
            }
        };
        let mut shape = vec![size * batching.size];
        shape.extend((0..example.rank()).filter(|&i| i != axis).map(|i| example.shape[i]));
        (self.build.reshape(rows, &shape), indices)
    }

    /// From [indices (batched), axes before `axis`, axes after] to the order of a batched gather.
    fn rows_in_place(&mut self, axis: usize, indices_rank: usize, x_rank: usize, taken: Var) -> Var {
        let batching = self.batching;
        let batch_axis = batching.position(indices_rank);
        let indices = (0..=indices_rank).filter(|&i| i != batch_axis);
        let before = (0..axis).map(|i| indices_rank + 1 + i);
        let after = (axis..x_rank - 1).map(|i| indices_rank + 1 + i);
        let order: Vec<usize> = before.chain(indices).chain(after).collect();
        let permutation = batching.with(&order, batch_axis);
        self.build.transpose(taken, &permutation)
    }

    /// The inverse of [`Rule::rows_in_place`].
    fn rows_in_front(&mut self, axis: usize, indices_rank: usize, x_rank: usize, updates: Var) -> Var {
        let batching = self.batching;
        let rank = indices_rank + x_rank - 1;
        let batch_axis = batching.position(rank);
        let place = |i: usize| if batch_axis == 0 { i + 1 } else { i };
        let indices: Vec<usize> = (axis..axis + indices_rank).map(place).collect();
        let mut permutation = batching.with(&indices, batch_axis);
        permutation.extend((0..axis).chain(axis + indices_rank..rank).map(place));
        self.build.transpose(updates, &permutation)
    }

    pub(super) fn scatter(&mut self, axis: usize, kind: ScatterKind, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let (x_type, indices_rank) = (self.example(0), self.example(1).rank());
        let x = self.force(inputs[0]);
        let updates = self.force(inputs[2]);
        if !inputs[1].batched {
            let op = Op::Scatter { axis: batching.shift(axis), kind };
            return self.batched(op, &[x, inputs[1].var, updates]);
        }
        let size = x_type.shape[axis];
        if indices_rank == 0 && size <= ONE_HOT_LIMIT {
            return self.one_hot_write(axis, kind, x, inputs[1].var, updates);
        }
        let outside = self.outside(inputs[1].var, size);
        let clamped = self.clamp(inputs[1], size - 1);
        let (flat, indices) = self.flat_rows(axis, x, clamped.var);
        let nowhere = self.build.full_like(indices, (size * batching.size) as f64);
        let indices = self.build.select(outside, nowhere, indices);
        let updates = self.rows_in_front(axis, indices_rank, x_type.rank(), updates);
        let written = self.build.scatter(kind, flat, indices, updates, 0);
        vec![Batched { var: self.unflatten_rows(axis, &x_type, written), batched: true }]
    }

    /// The inverse of [`Rule::flat_rows`].
    fn unflatten_rows(&mut self, axis: usize, x_type: &ArrayType, flat: Var) -> Var {
        let batching = self.batching;
        let size = x_type.shape[axis];
        let rest = (0..x_type.rank()).filter(|&i| i != axis).map(|i| x_type.shape[i]);
        let front = match batching.placement {
            Placement::First => [batching.size, size],
            Placement::Last => [size, batching.size],
        };
        let shape: Vec<usize> = front.into_iter().chain(rest).collect();
        let rows = self.build.reshape(flat, &shape);
        match batching.placement {
            Placement::First => self.build.move_axis(rows, 1, axis + 1),
            Placement::Last => {
                let rows = self.build.move_axis(rows, 1, x_type.rank());
                self.build.move_axis(rows, 0, axis)
            }
        }
    }

    /// Whether an index is outside `0..size`.
    fn outside(&mut self, indices: Var, size: usize) -> Var {
        let zero = self.build.full_like(indices, 0.0);
        let size = self.build.full_like(indices, size as f64);
        let below = self.build.compare(Comparison::Lt, indices, zero);
        let above = self.build.compare(Comparison::Ge, indices, size);
        self.build.binary(Binary::Or, below, above)
    }

    /// A write of one entry per example along a short axis: a select by position instead of a scatter.
    fn one_hot_write(
        &mut self,
        axis: usize,
        kind: ScatterKind,
        x: Var,
        index: Var,
        update: Var,
    ) -> Vec<Batched> {
        let batching = self.batching;
        let shape = self.build.array_type(x).shape;
        let rank = shape.len() - 1;
        let table = axis == 0 && batching.placement == Placement::Last && kind == ScatterKind::Set;
        if table && self.build.array_type(x).size() >= NATIVE_WRITE {
            let written = self.build.one(Op::Kernel(Kernel::PutRow), &[x, index, update]);
            return vec![Batched { var: written, batched: true }];
        }
        let positions = self.build.iota(DType::I32, &shape, batching.shift(axis));
        let index = self.build.broadcast(index, &shape, &[batching.position(rank)]);
        let here = self.build.compare(Comparison::Eq, positions, index);
        let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != batching.shift(axis)).collect();
        let update = self.build.broadcast(update, &shape, &axes);
        let value = match kind {
            ScatterKind::Set => update,
            ScatterKind::Add => self.build.add(x, update),
        };
        vec![Batched { var: self.build.select(here, value, x), batched: true }]
    }
}
