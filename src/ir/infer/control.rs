//! Loops, branches and calls: their bodies accept what they are given, and what is carried keeps its types.

use crate::array::{ArrayType, DType};
use crate::ir::{Graph, Op};

use super::{Inferred, ensure};

pub fn while_loop(
    op: &Op,
    [cond, body]: [&Graph; 2],
    [conds, bodies]: [usize; 2],
    inputs: &[&ArrayType],
) -> Inferred {
    let captures = conds + bodies;
    let carry = &inputs[captures..];
    accepts_inputs(op, cond, &[&inputs[..conds], carry].concat())?;
    accepts_inputs(op, body, &[&inputs[conds..captures], carry].concat())?;
    ensure(cond.output_types() == [ArrayType::scalar(DType::Bool)], || {
        "while_loop: the condition must be one bool scalar".into()
    })?;
    let carry = owned(carry);
    ensure(body.output_types() == carry, || "while_loop: the carry changes its type".into())?;
    Ok(carry)
}

pub fn cond(op: &Op, on_true: &Graph, on_false: &Graph, inputs: &[&ArrayType]) -> Inferred {
    is_predicate(op, inputs[0])?;
    let split = 1 + on_true.inputs.len();
    accepts_inputs(op, on_true, &inputs[1..split])?;
    accepts_inputs(op, on_false, &inputs[split..])?;
    let outputs = on_true.output_types();
    ensure(on_false.output_types() == outputs, || "cond: the branches differ in type".into())?;
    Ok(outputs)
}

pub fn scan(
    op: &Op,
    body: &Graph,
    captures: usize,
    carry: usize,
    length: usize,
    inputs: &[&ArrayType],
) -> Inferred {
    let mut body_inputs = owned(&inputs[..captures + carry]);
    for x in &inputs[captures + carry..] {
        ensure(x.shape.first() == Some(&length), || {
            format!("scan: {x} has no leading axis of size {length}")
        })?;
        body_inputs.push(ArrayType::new(x.dtype, &x.shape[1..]));
    }
    accepts_inputs(op, body, &body_inputs.iter().collect::<Vec<_>>())?;
    let mut outputs = body.output_types();
    let keeps = outputs.len() >= carry && outputs[..carry] == body_inputs[captures..captures + carry];
    ensure(keeps, || "scan: the carry changes its type".into())?;
    for y in &mut outputs[carry..] {
        y.shape.insert(0, length);
    }
    Ok(outputs)
}

pub fn rare(op: &Op, body: &Graph, captures: usize, inputs: &[&ArrayType]) -> Inferred {
    is_predicate(op, inputs[0])?;
    accepts_inputs(op, body, &inputs[1..])?;
    let operand = owned(&inputs[1 + captures..]);
    ensure(body.output_types() == operand, || "rare: the operand changes its type".into())?;
    Ok(operand)
}

pub fn call(op: &Op, graph: &Graph, inputs: &[&ArrayType]) -> Inferred {
    accepts_inputs(op, graph, inputs)?;
    Ok(graph.output_types())
}

fn is_predicate(op: &Op, x: &ArrayType) -> Result<(), String> {
    ensure(*x == ArrayType::scalar(DType::Bool), || {
        format!("{}: the predicate must be one bool scalar", op.name())
    })
}

fn accepts_inputs(op: &Op, body: &Graph, inputs: &[&ArrayType]) -> Result<(), String> {
    let expected = body.input_types();
    ensure(expected.iter().collect::<Vec<_>>() == inputs, || {
        let show = |types: &[ArrayType]| types.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ");
        format!("{}: a body takes ({}), not ({})", op.name(), show(&expected), show(&owned(inputs)))
    })
}

fn owned(types: &[&ArrayType]) -> Vec<ArrayType> {
    types.iter().map(|&t| t.clone()).collect()
}
