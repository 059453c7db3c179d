//! Type inference: from an op and the types of its inputs to the types of its outputs, or a sentence
//! that says what does not fit.

use crate::array::{ArrayType, DType};

use super::{Graph, Op, ScatterKind, Unary, conv};

type Inferred = Result<Vec<ArrayType>, String>;

/// The output types of `op`, or why it does not accept the inputs.
pub fn infer(op: &Op, inputs: &[&ArrayType]) -> Inferred {
    match op {
        Op::Constant(value) => arity(op, inputs, 0).and(one(value.array_type())),
        Op::Iota { dtype, shape, axis } => {
            arity(op, inputs, 0)?;
            let fits = *axis < shape.len() && *dtype != DType::Bool;
            ensure(fits, || format!("iota: no axis {axis} of {dtype} in shape {shape:?}"))?;
            one(ArrayType::new(*dtype, shape.clone()))
        }
        Op::Unary(unary) => {
            arity(op, inputs, 1)?;
            accepts(op, unary.accepts(inputs[0].dtype), inputs[0])?;
            let dtype = if *unary == Unary::IsFinite { DType::Bool } else { inputs[0].dtype };
            one(ArrayType::new(dtype, inputs[0].shape.clone()))
        }
        Op::Binary(binary) => {
            arity(op, inputs, 2)?;
            same_types(op, inputs)?;
            accepts(op, binary.accepts(inputs[0].dtype), inputs[0])?;
            one(inputs[0].clone())
        }
        Op::Compare(_) => {
            arity(op, inputs, 2)?;
            same_types(op, inputs)?;
            one(ArrayType::new(DType::Bool, inputs[0].shape.clone()))
        }
        Op::Select => {
            arity(op, inputs, 3)?;
            same_types(op, &inputs[1..])?;
            ensure(inputs[0].dtype == DType::Bool && inputs[0].shape == inputs[1].shape, || {
                format!("select: the condition {} does not fit the values {}", inputs[0], inputs[1])
            })?;
            one(inputs[1].clone())
        }
        Op::Convert(dtype) => {
            arity(op, inputs, 1)?;
            one(ArrayType::new(*dtype, inputs[0].shape.clone()))
        }
        Op::Bitcast(dtype) => {
            arity(op, inputs, 1)?;
            let fits = dtype.size() == inputs[0].dtype.size();
            accepts(op, fits && *dtype != DType::Bool && inputs[0].dtype != DType::Bool, inputs[0])?;
            one(ArrayType::new(*dtype, inputs[0].shape.clone()))
        }
        Op::StopGradient => arity(op, inputs, 1).and_then(|()| one(inputs[0].clone())),
        Op::Threefry => {
            arity(op, inputs, 4)?;
            same_types(op, inputs)?;
            accepts(op, inputs[0].dtype == DType::U32, inputs[0])?;
            Ok(vec![inputs[0].clone(), inputs[0].clone()])
        }
        Op::Broadcast { shape, axes } => {
            arity(op, inputs, 1)?;
            let x = inputs[0];
            let fits = axes.len() == x.rank()
                && axes.windows(2).all(|w| w[0] < w[1])
                && axes.iter().zip(&x.shape).all(|(&axis, &size)| shape.get(axis) == Some(&size));
            ensure(fits, || format!("broadcast: axes {axes:?} do not place {x} in shape {shape:?}"))?;
            one(ArrayType::new(x.dtype, shape.clone()))
        }
        Op::Reshape { shape } => {
            arity(op, inputs, 1)?;
            let x = inputs[0];
            ensure(shape.iter().product::<usize>() == x.size(), || {
                format!("reshape: {x} has {} elements, shape {shape:?} another number", x.size())
            })?;
            one(ArrayType::new(x.dtype, shape.clone()))
        }
        Op::Transpose { permutation } => {
            arity(op, inputs, 1)?;
            let x = inputs[0];
            let mut sorted = permutation.clone();
            sorted.sort_unstable();
            ensure(sorted == (0..x.rank()).collect::<Vec<_>>(), || {
                format!("transpose: {permutation:?} is no permutation of the axes of {x}")
            })?;
            one(ArrayType::new(x.dtype, permutation.iter().map(|&axis| x.shape[axis]).collect::<Vec<_>>()))
        }
        Op::Slice { start, limit, stride } => {
            arity(op, inputs, 1)?;
            let x = inputs[0];
            let fits = start.len() == x.rank()
                && limit.len() == x.rank()
                && stride.len() == x.rank()
                && (0..x.rank()).all(|i| start[i] <= limit[i] && limit[i] <= x.shape[i] && stride[i] >= 1);
            ensure(fits, || format!("slice: {start:?}..{limit:?} by {stride:?} is not inside {x}"))?;
            let shape: Vec<usize> =
                (0..x.rank()).map(|i| (limit[i] - start[i]).div_ceil(stride[i])).collect();
            one(ArrayType::new(x.dtype, shape))
        }
        Op::Pad { low, high, interior } => {
            arity(op, inputs, 2)?;
            let x = inputs[0];
            let fits = [low, high, interior].iter().all(|v| v.len() == x.rank())
                && *inputs[1] == ArrayType::scalar(x.dtype);
            ensure(fits, || {
                format!("pad: {low:?}, {high:?}, {interior:?} with {} do not fit {x}", inputs[1])
            })?;
            let shape: Vec<usize> = (0..x.rank())
                .map(|i| low[i] + high[i] + x.shape[i] + interior[i] * x.shape[i].saturating_sub(1))
                .collect();
            one(ArrayType::new(x.dtype, shape))
        }
        Op::Concatenate { axis } => {
            ensure(!inputs.is_empty(), || "concatenate: nothing to concatenate".into())?;
            let first = inputs[0];
            ensure(*axis < first.rank(), || format!("concatenate: no axis {axis} in {first}"))?;
            let mut shape = first.shape.clone();
            shape[*axis] = 0;
            for x in inputs {
                let fits = x.dtype == first.dtype
                    && x.rank() == first.rank()
                    && (0..x.rank()).all(|i| i == *axis || x.shape[i] == first.shape[i]);
                ensure(fits, || format!("concatenate: {x} and {first} do not meet along axis {axis}"))?;
                shape[*axis] += x.shape[*axis];
            }
            one(ArrayType::new(first.dtype, shape))
        }
        Op::Reverse { axes } => {
            arity(op, inputs, 1)?;
            axes_exist(op, axes, inputs[0])?;
            one(inputs[0].clone())
        }
        Op::Dot { batch, contract } => {
            arity(op, inputs, 2)?;
            let (a, b) = (inputs[0], inputs[1]);
            accepts(op, a.dtype == b.dtype && a.dtype != DType::Bool, a)?;
            axes_exist(op, &[batch.0.clone(), contract.0.clone()].concat(), a)?;
            axes_exist(op, &[batch.1.clone(), contract.1.clone()].concat(), b)?;
            for (left, right) in [(&batch.0, &batch.1), (&contract.0, &contract.1)] {
                let fits = left.len() == right.len()
                    && left.iter().zip(right.iter()).all(|(&i, &j)| a.shape[i] == b.shape[j]);
                ensure(fits, || format!("dot: axes {left:?} of {a} do not meet axes {right:?} of {b}"))?;
            }
            let free = |x: &ArrayType, used: [&Vec<usize>; 2]| -> Vec<usize> {
                (0..x.rank()).filter(|i| used.iter().all(|u| !u.contains(i))).map(|i| x.shape[i]).collect()
            };
            let mut shape: Vec<usize> = batch.0.iter().map(|&i| a.shape[i]).collect();
            shape.extend(free(a, [&batch.0, &contract.0]));
            shape.extend(free(b, [&batch.1, &contract.1]));
            one(ArrayType::new(a.dtype, shape))
        }
        Op::Conv { windows } => {
            arity(op, inputs, 2)?;
            one(conv::infer(windows, inputs[0], inputs[1])?)
        }
        Op::Kernel(kernel) => kernel.infer(inputs),
        Op::Reduce { kind, axes } => {
            arity(op, inputs, 1)?;
            let x = inputs[0];
            accepts(op, kind.accepts(x.dtype), x)?;
            axes_exist(op, axes, x)?;
            let shape: Vec<usize> = (0..x.rank()).filter(|i| !axes.contains(i)).map(|i| x.shape[i]).collect();
            one(ArrayType::new(x.dtype, shape))
        }
        Op::DynamicSlice { sizes } => {
            ensure(!inputs.is_empty(), || "dynamic_slice: no input".into())?;
            let x = inputs[0];
            starts_fit(op, x, &inputs[1..])?;
            let fits = sizes.len() == x.rank() && sizes.iter().zip(&x.shape).all(|(a, b)| a <= b);
            ensure(fits, || format!("dynamic_slice: sizes {sizes:?} do not fit into {x}"))?;
            one(ArrayType::new(x.dtype, sizes.clone()))
        }
        Op::DynamicUpdateSlice => {
            ensure(inputs.len() >= 2, || "dynamic_update_slice: too few inputs".into())?;
            let (x, update) = (inputs[0], inputs[1]);
            starts_fit(op, x, &inputs[2..])?;
            let fits = update.dtype == x.dtype
                && update.rank() == x.rank()
                && update.shape.iter().zip(&x.shape).all(|(a, b)| a <= b);
            ensure(fits, || format!("dynamic_update_slice: {update} does not fit into {x}"))?;
            one(x.clone())
        }
        Op::Gather { axis } => {
            arity(op, inputs, 2)?;
            one(ArrayType::new(inputs[0].dtype, gathered_shape(op, *axis, inputs[0], inputs[1])?))
        }
        Op::Scatter { axis, kind } => {
            arity(op, inputs, 3)?;
            accepts(op, *kind == ScatterKind::Set || inputs[0].dtype != DType::Bool, inputs[0])?;
            let shape = gathered_shape(op, *axis, inputs[0], inputs[1])?;
            let expected = ArrayType::new(inputs[0].dtype, shape);
            ensure(*inputs[2] == expected, || {
                format!("{}: the updates are {}, expected {expected}", op.name(), inputs[2])
            })?;
            one(inputs[0].clone())
        }
        Op::While { cond, body, cond_captures, body_captures } => {
            let captures = cond_captures + body_captures;
            ensure(inputs.len() >= captures, || "while_loop: too few inputs".into())?;
            let carry = &inputs[captures..];
            accepts_inputs(op, cond, &[&inputs[..*cond_captures], carry].concat())?;
            accepts_inputs(op, body, &[&inputs[*cond_captures..captures], carry].concat())?;
            ensure(cond.output_types() == [ArrayType::scalar(DType::Bool)], || {
                "while_loop: the condition must be one bool scalar".into()
            })?;
            let carry: Vec<ArrayType> = carry.iter().map(|&t| t.clone()).collect();
            ensure(body.output_types() == carry, || "while_loop: the carry changes its type".into())?;
            Ok(carry)
        }
        Op::Cond { on_true, on_false } => {
            let split = 1 + on_true.inputs.len();
            ensure(inputs.len() >= split && *inputs[0] == ArrayType::scalar(DType::Bool), || {
                "cond: the predicate must be one bool scalar".into()
            })?;
            accepts_inputs(op, on_true, &inputs[1..split])?;
            accepts_inputs(op, on_false, &inputs[split..])?;
            let outputs = on_true.output_types();
            ensure(on_false.output_types() == outputs, || "cond: the branches differ in type".into())?;
            Ok(outputs)
        }
        Op::Scan { body, captures, carry, length, .. } => {
            ensure(inputs.len() >= captures + carry, || "scan: too few inputs".into())?;
            let mut body_inputs: Vec<ArrayType> =
                inputs[..captures + carry].iter().map(|&t| t.clone()).collect();
            for x in &inputs[captures + carry..] {
                ensure(x.shape.first() == Some(length), || {
                    format!("scan: {x} has no leading axis of size {length}")
                })?;
                body_inputs.push(ArrayType::new(x.dtype, &x.shape[1..]));
            }
            accepts_inputs(op, body, &body_inputs.iter().collect::<Vec<_>>())?;
            let mut outputs = body.output_types();
            ensure(
                outputs.len() >= *carry && outputs[..*carry] == body_inputs[*captures..captures + carry],
                || "scan: the carry changes its type".into(),
            )?;
            for y in &mut outputs[*carry..] {
                y.shape.insert(0, *length);
            }
            Ok(outputs)
        }
        Op::Rare { body, captures } => {
            ensure(inputs.len() > *captures && *inputs[0] == ArrayType::scalar(DType::Bool), || {
                "rare: the predicate must be one bool scalar".into()
            })?;
            accepts_inputs(op, body, &inputs[1..])?;
            let operand: Vec<ArrayType> = inputs[1 + captures..].iter().map(|&t| t.clone()).collect();
            ensure(body.output_types() == operand, || "rare: the operand changes its type".into())?;
            Ok(operand)
        }
        Op::Barrier => Ok(inputs.iter().map(|&t| t.clone()).collect()),
        Op::AllReduce => {
            arity(op, inputs, 1)?;
            accepts(op, inputs[0].dtype != DType::Bool, inputs[0])?;
            one(inputs[0].clone())
        }
        Op::ReplicaId => arity(op, inputs, 0).and(one(ArrayType::scalar(DType::U32))),
    }
}

fn one(array_type: ArrayType) -> Inferred {
    Ok(vec![array_type])
}

fn ensure(holds: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(message()) }
}

fn arity(op: &Op, inputs: &[&ArrayType], expected: usize) -> Result<(), String> {
    ensure(inputs.len() == expected, || {
        format!("{}: takes {expected} inputs, not {}", op.name(), inputs.len())
    })
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

fn starts_fit(op: &Op, x: &ArrayType, starts: &[&ArrayType]) -> Result<(), String> {
    let fits = starts.len() == x.rank() && starts.iter().all(|&t| *t == ArrayType::scalar(DType::I32));
    ensure(fits, || format!("{}: {x} needs one i32 scalar start per axis", op.name()))
}

fn gathered_shape(op: &Op, axis: usize, x: &ArrayType, indices: &ArrayType) -> Result<Vec<usize>, String> {
    ensure(axis < x.rank() && indices.dtype == DType::I32, || {
        format!("{}: indices {indices} along axis {axis} do not fit {x}", op.name())
    })?;
    ensure(x.shape[axis] > 0, || format!("{}: {x} has no entries along axis {axis}", op.name()))?;
    Ok([&x.shape[..axis], &indices.shape[..], &x.shape[axis + 1..]].concat())
}

fn accepts_inputs(op: &Op, body: &Graph, inputs: &[&ArrayType]) -> Result<(), String> {
    let expected = body.input_types();
    ensure(expected.iter().collect::<Vec<_>>() == inputs, || {
        let show = |types: &[&ArrayType]| types.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ");
        format!(
            "{}: a body takes ({}), not ({})",
            op.name(),
            show(&expected.iter().collect::<Vec<_>>()),
            show(inputs)
        )
    })
}
