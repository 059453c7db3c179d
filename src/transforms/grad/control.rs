//! The pullbacks of ops with bodies.

use std::sync::Arc;

use crate::array::ArrayType;
use crate::ir::{Build, Graph, Location, Op, Var};

use super::active::scan_inputs;
use super::{GradError, Point, Tape, add_to};

/// A cond whose branches are the pullbacks of the branches. Both return the cotangents of the wanted
/// inputs of both; those of the other branch are zeros.
pub fn cond(
    b: &mut Build,
    on_true: &Graph,
    on_false: &Graph,
    point: &Point,
) -> Result<Vec<Option<Var>>, GradError> {
    let split = 1 + on_true.inputs.len();
    let (true_wants, false_wants) = point.wants[1..].split_at(split - 1);
    let true_types = chosen(&on_true.input_types(), true_wants);
    let false_types = chosen(&on_false.input_types(), false_wants);
    let on_true = branch(on_true, true_wants, point.cotangents, [&[], &false_types], b.location)?;
    let on_false = branch(on_false, false_wants, point.cotangents, [&true_types, &[]], b.location)?;
    let cotangents: Vec<Var> = point.cotangents.iter().copied().flatten().collect();
    let inputs = [&point.x[..split], &cotangents, &point.x[split..], &cotangents].concat();
    let outputs = b.many(Op::Cond { on_true: Arc::new(on_true), on_false: Arc::new(on_false) }, &inputs);
    Ok(spread(&outputs, point.wants))
}

/// The pullback of one branch: (its inputs, the cotangents of its outputs that are there) -> (zeros of
/// `others[0]`, the cotangents of its wanted inputs, zeros of `others[1]`). It computes the branch again.
fn branch(
    body: &Graph,
    wants: &[bool],
    cotangents: &[Option<Var>],
    others: [&[ArrayType]; 2],
    location: Location,
) -> Result<Graph, GradError> {
    let mut graph = Graph::new();
    let inputs = append_inputs(&mut graph, &body.input_types());
    let cotangents: Vec<Option<Var>> = body
        .output_types()
        .into_iter()
        .zip(cotangents)
        .map(|(array_type, cotangent)| cotangent.map(|_| graph.input(array_type)))
        .collect();
    let tape = Tape::forward(&mut graph, body, &inputs, wants);
    let by_input = chosen(&tape.backward(&mut graph, &cotangents, location)?, wants);
    let mut b = Build::new(&mut graph, location);
    let before: Vec<Var> = others[0].iter().map(|array_type| b.full(array_type, 0.0)).collect();
    let own = or_zeros(&mut b, &by_input, &chosen(&body.input_types(), wants));
    let after: Vec<Var> = others[1].iter().map(|array_type| b.full(array_type, 0.0)).collect();
    graph.outputs = [before, own, after].concat();
    Ok(graph)
}

/// A scan in the other direction. Its carry: the cotangents of the carry, and the sums of those of the
/// captures. Its `xs`: the carries that the forward pass kept, the original `xs`, the cotangents of `ys`.
/// Its `ys`: the cotangents of `xs`. Each step computes its forward pass again.
pub fn scan(b: &mut Build, point: &Point) -> Result<Vec<Option<Var>>, GradError> {
    let Op::Scan { body, captures, carry, length, reverse } = &point.equation.op else {
        unreachable!("the rule of scan");
    };
    let (captures, carry) = (*captures, *carry);
    let active = scan_inputs(body, point.wants, captures, carry);
    let types = body.input_types();
    let of_captures = chosen(&types[..captures], &active[..captures]);
    let of_carry = chosen(&types[captures..captures + carry], &active[captures..captures + carry]);
    let of_xs = chosen(&types[captures + carry..], &active[captures + carry..]);

    let mut step = Graph::new();
    let capture_vars = append_inputs(&mut step, &types[..captures]);
    let carry_cotangents = append_inputs(&mut step, &of_carry);
    let sums = append_inputs(&mut step, &of_captures);
    let rest = append_inputs(&mut step, &types[captures..]);
    let mut cotangents = spread(&carry_cotangents, &active[captures..captures + carry]);
    for (array_type, cotangent) in body.output_types()[carry..].iter().zip(&point.cotangents[carry..]) {
        cotangents.push(cotangent.map(|_| step.input(array_type.clone())));
    }
    let tape = Tape::forward(&mut step, body, &[capture_vars, rest].concat(), &active);
    let mut by_input = chosen(&tape.backward(&mut step, &cotangents, b.location)?, &active);
    let mut inner = Build::new(&mut step, b.location);
    for (contribution, &sum) in by_input.iter_mut().zip(&sums) {
        add_to(contribution, Some(sum), &mut inner);
    }
    let mut outputs = or_zeros(&mut inner, &by_input, &[&of_captures[..], &of_carry, &of_xs].concat());
    outputs[..of_captures.len() + of_carry.len()].rotate_left(of_captures.len());
    step.outputs = outputs;

    let (capture_inputs, xs) = (&point.x[..captures], &point.x[captures + carry..]);
    let final_cotangents = chosen(&point.cotangents[..carry], &active[captures..captures + carry]);
    let mut init = or_zeros(b, &final_cotangents, &of_carry);
    init.extend(of_captures.iter().map(|array_type| b.full(array_type, 0.0)));
    let y_cotangents: Vec<Var> = point.cotangents[carry..].iter().copied().flatten().collect();
    let op =
        Op::Scan { body: Arc::new(step), captures, carry: init.len(), length: *length, reverse: !reverse };
    let mut outputs = b.many(op, &[capture_inputs, &init, point.kept, xs, &y_cotangents].concat());
    outputs[..init.len()].rotate_left(of_carry.len());
    Ok(spread(&outputs, &active))
}

/// The equations of the function again, and their pullbacks.
pub fn call(b: &mut Build, graph: &Graph, point: &Point) -> Result<Vec<Option<Var>>, GradError> {
    let tape = Tape::forward(b.graph, graph, point.x, point.wants);
    tape.backward(b.graph, point.cotangents, b.location)
}

pub fn append_inputs(graph: &mut Graph, types: &[ArrayType]) -> Vec<Var> {
    types.iter().map(|array_type| graph.input(array_type.clone())).collect()
}

/// The items whose flag is set.
fn chosen<T: Clone>(items: &[T], flags: &[bool]) -> Vec<T> {
    items.iter().zip(flags).filter(|(_, flag)| **flag).map(|(item, _)| item.clone()).collect()
}

/// The inverse of [`chosen`]: the items at the flags that are set, `None` elsewhere.
fn spread(items: &[Var], flags: &[bool]) -> Vec<Option<Var>> {
    let mut items = items.iter().copied();
    flags.iter().map(|&flag| if flag { items.next() } else { None }).collect()
}

/// Cotangents of the given types, zeros where there is none.
fn or_zeros(b: &mut Build, cotangents: &[Option<Var>], types: &[ArrayType]) -> Vec<Var> {
    cotangents.iter().zip(types).map(|(c, array_type)| c.unwrap_or_else(|| b.full(array_type, 0.0))).collect()
}
