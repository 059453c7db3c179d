//! Shorthand for passes that write equations: one method per op, over a graph and a location.

use std::ops::Range;

use half::bf16;

use crate::array::{ArrayType, DType, HostArray};

use super::{Binary, Comparison, Graph, Location, Op, Reduction, ScatterKind, Unary, Var};

/// Writes equations into a graph on behalf of one line of source.
pub struct Build<'a> {
    pub graph: &'a mut Graph,
    pub location: Location,
}

impl<'a> Build<'a> {
    pub fn new(graph: &'a mut Graph, location: Location) -> Self {
        Self { graph, location }
    }

    pub fn array_type(&self, x: Var) -> ArrayType {
        self.graph.array_type(x).clone()
    }

    pub fn many(&mut self, op: Op, inputs: &[Var]) -> Vec<Var> {
        match self.graph.push(op, inputs, self.location) {
            Ok(outputs) => outputs,
            Err(message) => panic!("{message} (for the equation from {})", self.location),
        }
    }

    pub fn one(&mut self, op: Op, inputs: &[Var]) -> Var {
        self.many(op, inputs)[0]
    }

    pub fn unary(&mut self, op: Unary, x: Var) -> Var {
        self.one(Op::Unary(op), &[x])
    }

    pub fn binary(&mut self, op: Binary, a: Var, b: Var) -> Var {
        self.one(Op::Binary(op), &[a, b])
    }

    pub fn add(&mut self, a: Var, b: Var) -> Var {
        self.binary(Binary::Add, a, b)
    }

    pub fn sub(&mut self, a: Var, b: Var) -> Var {
        self.binary(Binary::Sub, a, b)
    }

    pub fn mul(&mut self, a: Var, b: Var) -> Var {
        self.binary(Binary::Mul, a, b)
    }

    pub fn div(&mut self, a: Var, b: Var) -> Var {
        self.binary(Binary::Div, a, b)
    }

    pub fn neg(&mut self, x: Var) -> Var {
        self.unary(Unary::Neg, x)
    }

    pub fn compare(&mut self, op: Comparison, a: Var, b: Var) -> Var {
        self.one(Op::Compare(op), &[a, b])
    }

    pub fn select(&mut self, cond: Var, on_true: Var, on_false: Var) -> Var {
        self.one(Op::Select, &[cond, on_true, on_false])
    }

    pub fn convert(&mut self, x: Var, dtype: DType) -> Var {
        if self.graph.array_type(x).dtype == dtype { x } else { self.one(Op::Convert(dtype), &[x]) }
    }

    /// A scalar constant. `value` must be exact in `dtype` for integers.
    pub fn scalar(&mut self, value: f64, dtype: DType) -> Var {
        self.one(Op::Constant(scalar_of(value, dtype)), &[])
    }

    /// `value` in every element of an array like `x`.
    pub fn full_like(&mut self, x: Var, value: f64) -> Var {
        let array_type = self.array_type(x);
        self.full(&array_type, value)
    }

    pub fn full(&mut self, array_type: &ArrayType, value: f64) -> Var {
        let scalar = self.scalar(value, array_type.dtype);
        self.broadcast(scalar, &array_type.shape, &[])
    }

    pub fn iota(&mut self, dtype: DType, shape: &[usize], axis: usize) -> Var {
        self.one(Op::Iota { dtype, shape: shape.to_vec(), axis }, &[])
    }

    pub fn broadcast(&mut self, x: Var, shape: &[usize], axes: &[usize]) -> Var {
        if self.graph.array_type(x).shape == shape {
            return x;
        }
        self.one(Op::Broadcast { shape: shape.to_vec(), axes: axes.to_vec() }, &[x])
    }

    pub fn reshape(&mut self, x: Var, shape: &[usize]) -> Var {
        if self.graph.array_type(x).shape == shape {
            return x;
        }
        self.one(Op::Reshape { shape: shape.to_vec() }, &[x])
    }

    pub fn transpose(&mut self, x: Var, permutation: &[usize]) -> Var {
        if permutation.iter().enumerate().all(|(i, &p)| i == p) {
            return x;
        }
        self.one(Op::Transpose { permutation: permutation.to_vec() }, &[x])
    }

    /// Axis `from` goes to position `to`; the others keep their order.
    pub fn move_axis(&mut self, x: Var, from: usize, to: usize) -> Var {
        let mut permutation: Vec<usize> = (0..self.graph.array_type(x).rank()).collect();
        let axis = permutation.remove(from);
        permutation.insert(to, axis);
        self.transpose(x, &permutation)
    }

    pub fn reduce(&mut self, kind: Reduction, x: Var, axes: &[usize]) -> Var {
        if axes.is_empty() {
            return x;
        }
        self.one(Op::Reduce { kind, axes: axes.to_vec() }, &[x])
    }

    /// A part of one axis.
    pub fn slice_axis(&mut self, x: Var, axis: usize, range: Range<usize>) -> Var {
        let mut limit = self.array_type(x).shape;
        let (mut start, stride) = (vec![0; limit.len()], vec![1; limit.len()]);
        (start[axis], limit[axis]) = (range.start, range.end);
        self.one(Op::Slice { start, limit, stride }, &[x])
    }

    /// Zeros before and after the elements of one axis.
    pub fn pad_axis(&mut self, x: Var, axis: usize, before: usize, after: usize) -> Var {
        let array_type = self.array_type(x);
        let (mut low, mut high) = (vec![0; array_type.rank()], vec![0; array_type.rank()]);
        (low[axis], high[axis]) = (before, after);
        let zero = self.scalar(0.0, array_type.dtype);
        self.one(Op::Pad { interior: vec![0; low.len()], low, high }, &[x, zero])
    }

    pub fn gather(&mut self, x: Var, indices: Var, axis: usize) -> Var {
        self.one(Op::Gather { axis }, &[x, indices])
    }

    pub fn scatter(&mut self, kind: ScatterKind, x: Var, indices: Var, updates: Var, axis: usize) -> Var {
        self.one(Op::Scatter { axis, kind }, &[x, indices, updates])
    }
}

/// `value` as a scalar of `dtype` (bool: not zero).
pub(crate) fn scalar_of(value: f64, dtype: DType) -> HostArray {
    match dtype {
        DType::Bool => HostArray::scalar(value != 0.0),
        DType::U8 => HostArray::scalar(value as u8),
        DType::I32 => HostArray::scalar(value as i32),
        DType::U32 => HostArray::scalar(value as u32),
        DType::U64 => HostArray::scalar(value as u64),
        DType::BF16 => HostArray::scalar(bf16::from_f64(value)),
        DType::F32 => HostArray::scalar(value as f32),
        DType::F64 => HostArray::scalar(value),
    }
}
