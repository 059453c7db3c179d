//! Type inference: from an op and the types of its inputs to the types of its outputs, or a sentence
//! that says what does not fit.
//!
//! Here is the table, one line per op, and the ops of one line; `movement`, `contraction` (with `conv`), `indexing` and
//! `control` have the others by family.

mod contraction;
mod control;
mod conv;
mod indexing;
mod movement;

use crate::array::{ArrayType, DType};

use super::{Op, ScatterKind, Unary};

type Inferred = Result<Vec<ArrayType>, String>;

/// The output types of `op`, or why it does not accept the inputs.
pub fn infer(op: &Op, inputs: &[&ArrayType]) -> Inferred {
    has_arity(op, inputs)?;
    match op {
        Op::Constant(value) => one(value.array_type()),
        Op::Iota { dtype, shape, axis } => {
            let fits = *axis < shape.len() && *dtype != DType::Bool;
            ensure(fits, || format!("iota: no axis {axis} of {dtype} in shape {shape:?}"))?;
            one(ArrayType::new(*dtype, shape.clone()))
        }
        Op::Unary(unary) => {
            accepts(op, unary.accepts(inputs[0].dtype), inputs[0])?;
            let dtype = if *unary == Unary::IsFinite { DType::Bool } else { inputs[0].dtype };
            one(ArrayType::new(dtype, inputs[0].shape.clone()))
        }
        Op::Binary(binary) => {
            same_types(op, inputs)?;
            accepts(op, binary.accepts(inputs[0].dtype), inputs[0])?;
            one(inputs[0].clone())
        }
        Op::Compare(_) => {
            same_types(op, inputs)?;
            one(ArrayType::new(DType::Bool, inputs[0].shape.clone()))
        }
        Op::Select => {
            same_types(op, &inputs[1..])?;
            ensure(inputs[0].dtype == DType::Bool && inputs[0].shape == inputs[1].shape, || {
                format!("select: the condition {} does not fit the values {}", inputs[0], inputs[1])
            })?;
            one(inputs[1].clone())
        }
        Op::Convert(dtype) => one(ArrayType::new(*dtype, inputs[0].shape.clone())),
        Op::Bitcast(dtype) => {
            let fits = dtype.size() == inputs[0].dtype.size();
            accepts(op, fits && *dtype != DType::Bool && inputs[0].dtype != DType::Bool, inputs[0])?;
            one(ArrayType::new(*dtype, inputs[0].shape.clone()))
        }
        Op::StopGradient => one(inputs[0].clone()),
        Op::Threefry => {
            same_types(op, inputs)?;
            accepts(op, inputs[0].dtype == DType::U32, inputs[0])?;
            Ok(vec![inputs[0].clone(), inputs[0].clone()])
        }
        Op::Broadcast { shape, axes } => one(movement::broadcast(shape, axes, inputs[0])?),
        Op::Reshape { shape } => one(movement::reshape(shape, inputs[0])?),
        Op::Transpose { permutation } => one(movement::transpose(permutation, inputs[0])?),
        Op::Slice { start, limit, stride } => one(movement::slice(start, limit, stride, inputs[0])?),
        Op::Pad { low, high, interior } => one(movement::pad(low, high, interior, inputs[0], inputs[1])?),
        Op::Concatenate { axis } => one(movement::concatenate(*axis, inputs)?),
        Op::Reverse { axes } => {
            axes_exist(op, axes, inputs[0])?;
            one(inputs[0].clone())
        }
        Op::Dot { batch, contract } => one(contraction::dot(op, batch, contract, inputs[0], inputs[1])?),
        Op::Conv { windows } => one(conv::conv(windows, inputs[0], inputs[1])?),
        Op::Kernel(kernel) => kernel.infer(inputs),
        Op::Native(native) => native.infer(inputs),
        Op::Reduce { kind, axes } => one(contraction::reduce(op, *kind, axes, inputs[0])?),
        Op::DynamicSlice { sizes } => one(indexing::dynamic_slice(op, sizes, inputs)?),
        Op::DynamicUpdateSlice => one(indexing::dynamic_update_slice(op, inputs)?),
        Op::Gather { axis } => {
            let shape = indexing::gathered_shape(op, *axis, inputs[0], inputs[1])?;
            one(ArrayType::new(inputs[0].dtype, shape))
        }
        Op::Scatter { axis, kind } => {
            accepts(op, *kind == ScatterKind::Set || inputs[0].dtype != DType::Bool, inputs[0])?;
            one(indexing::scatter(op, *axis, inputs)?)
        }
        Op::While { cond, body, cond_captures, body_captures } => {
            control::while_loop(op, [cond, body], [*cond_captures, *body_captures], inputs)
        }
        Op::Cond { on_true, on_false } => control::cond(op, on_true, on_false, inputs),
        Op::Scan { body, captures, carry, length, reverse: _ } => {
            control::scan(op, body, *captures, *carry, *length, inputs)
        }
        Op::Rare { body, captures } => control::rare(op, body, *captures, inputs),
        Op::Call { graph } => control::call(op, graph, inputs),
        Op::Barrier => Ok(inputs.iter().map(|&t| t.clone()).collect()),
        Op::AllReduce => {
            accepts(op, inputs[0].dtype != DType::Bool, inputs[0])?;
            one(inputs[0].clone())
        }
        Op::ReplicaId => one(ArrayType::scalar(DType::U32)),
    }
}

/// Checks the number of inputs: as many as the op takes, or at least so many.
fn has_arity(op: &Op, inputs: &[&ArrayType]) -> Result<(), String> {
    let (least, more) = match op {
        Op::Constant(_) | Op::Iota { .. } | Op::ReplicaId => (0, false),
        Op::Unary(_)
        | Op::Convert(_)
        | Op::Bitcast(_)
        | Op::StopGradient
        | Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Reverse { .. }
        | Op::Reduce { .. }
        | Op::AllReduce => (1, false),
        Op::Binary(_)
        | Op::Compare(_)
        | Op::Pad { .. }
        | Op::Dot { .. }
        | Op::Conv { .. }
        | Op::Gather { .. } => (2, false),
        Op::Select | Op::Scatter { .. } => (3, false),
        Op::Threefry => (4, false),
        Op::Concatenate { .. } | Op::DynamicSlice { .. } => (1, true),
        Op::DynamicUpdateSlice => (2, true),
        Op::While { cond_captures, body_captures, .. } => (cond_captures + body_captures, true),
        Op::Cond { on_true, .. } => (1 + on_true.inputs.len(), true),
        Op::Scan { captures, carry, .. } => (captures + carry, true),
        Op::Rare { captures, .. } => (1 + captures, true),
        Op::Call { graph } => (graph.inputs.len(), false),
        // A kernel and a native function say it themselves.
        Op::Kernel(_) | Op::Native(_) | Op::Barrier => (0, true),
    };
    let fits = if more { inputs.len() >= least } else { inputs.len() == least };
    ensure(fits, || {
        let at_least = if more { "at least " } else { "" };
        format!("{}: takes {at_least}{least} inputs, not {}", op.name(), inputs.len())
    })
}

fn one(array_type: ArrayType) -> Inferred {
    Ok(vec![array_type])
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn accepts(op: &Op, holds: bool, x: &ArrayType) -> Result<(), String> {
    ensure(holds, || format!("{}: not defined for {x}", op.name()))
}

fn same_types(op: &Op, inputs: &[&ArrayType]) -> Result<(), String> {
    ensure(inputs.windows(2).all(|w| w[0] == w[1]), || {
        let types: Vec<String> = inputs.iter().map(|t| t.to_string()).collect();
        format!("{}: {} do not meet; shapes and dtypes must be equal", op.name(), types.join(" and "))
    })
}

fn axes_exist(op: &Op, axes: &[usize], x: &ArrayType) -> Result<(), String> {
    let distinct = (0..axes.len()).all(|i| !axes[..i].contains(&axes[i]));
    ensure(distinct && axes.iter().all(|&axis| axis < x.rank()), || {
        format!("{}: axes {axes:?} are not distinct axes of {x}", op.name())
    })
}
