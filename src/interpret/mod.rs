//! The oracle: runs a graph on the host, slowly and obviously.
//!
//! The tests compare everything with it: the device computes what the oracle computes, a gradient is a
//! finite difference of the oracle, a vmapped graph is a loop of the oracle. So clarity comes before
//! speed. All arithmetic is done in two wide types, f64 for floats and i128 for integers (bool is an
//! integer of one bit), and narrowed to the dtype after each op. For `+ - * /` and square roots this
//! gives exactly the bits that arithmetic in the dtype itself would give; sums and dots are accumulated
//! wide and rounded once, so the device agrees with them up to its own order of summation.
//!
//! Corners where the device's behaviour is imitated: integers wrap around; an integer divided by zero
//! gives all ones, its remainder is the dividend; a float converted to an integer truncates and
//! saturates, and NaN gives 0; `max` and `min` give NaN if either side is NaN (of all of these the device
//! differs in the last alone: XLA's fast min and max on the CPU may lose a NaN).

mod conv;
mod elementwise;
mod native;
mod reduce;
mod scalar;
mod shape;
mod threefry;

use std::rc::Rc;

use crate::array::{ArrayType, HostArray};
use crate::ir::{Graph, Op};

/// A value of a variable; shared, because loops hand their captures to every step.
type Value = Rc<HostArray>;

/// Runs `graph` on `inputs` and returns its outputs. It behaves as the only replica.
///
/// Panics if the inputs do not have the types of the graph's inputs.
#[track_caller]
pub fn interpret(graph: &Graph, inputs: &[HostArray]) -> Vec<HostArray> {
    assert_eq!(
        inputs.iter().map(HostArray::array_type).collect::<Vec<_>>(),
        graph.input_types(),
        "interpret: the inputs do not fit the graph"
    );
    let inputs = inputs.iter().cloned().map(Rc::new).collect();
    run(graph, inputs).into_iter().map(Rc::unwrap_or_clone).collect()
}

fn run(graph: &Graph, inputs: Vec<Value>) -> Vec<Value> {
    let mut values: Vec<Option<Value>> = vec![None; graph.num_vars()];
    for (var, value) in graph.inputs.iter().zip(inputs) {
        values[var.0 as usize] = Some(value);
    }
    for equation in &graph.equations {
        let inputs: Vec<Value> = equation.inputs.iter().map(|var| defined(&values, var.0)).collect();
        for (var, value) in equation.outputs.iter().zip(evaluate(&equation.op, &inputs)) {
            debug_assert_eq!(value.array_type(), *graph.array_type(*var), "{}", equation.op.name());
            values[var.0 as usize] = Some(value);
        }
    }
    graph.outputs.iter().map(|var| defined(&values, var.0)).collect()
}

fn defined(values: &[Option<Value>], var: u32) -> Value {
    values[var as usize].clone().expect("a checked graph defines its variables before their use")
}

/// The outputs of one op.
fn evaluate(op: &Op, x: &[Value]) -> Vec<Value> {
    match op {
        Op::Constant(value) => one(value.clone()),
        Op::Iota { dtype, shape, axis } => one(shape::iota(*dtype, shape, *axis)),
        Op::Unary(unary) => one(elementwise::unary(*unary, &x[0])),
        Op::Binary(binary) => one(elementwise::binary(*binary, &x[0], &x[1])),
        Op::Compare(comparison) => one(elementwise::compare(*comparison, &x[0], &x[1])),
        Op::Select => one(elementwise::select(&x[0], &x[1], &x[2])),
        Op::Convert(dtype) => one(elementwise::convert(&x[0], *dtype)),
        Op::Bitcast(dtype) => one(elementwise::bitcast(&x[0], *dtype)),
        Op::Threefry => {
            let (y0, y1) = threefry::threefry(&x[0], &x[1], &x[2], &x[3]);
            vec![Rc::new(y0), Rc::new(y1)]
        }
        Op::Broadcast { shape, axes } => one(shape::broadcast(&x[0], shape, axes)),
        Op::Reshape { shape } => one(shape::reshape(&x[0], shape)),
        Op::Transpose { permutation } => one(shape::transpose(&x[0], permutation)),
        Op::Slice { start, limit, stride } => one(shape::slice(&x[0], start, limit, stride)),
        Op::Pad { low, interior, high: _ } => {
            let output = crate::ir::infer(op, &[&x[0].array_type(), &x[1].array_type()]);
            one(shape::pad(&x[0], &x[1], low, interior, &output.expect("checked")[0].shape))
        }
        Op::Concatenate { axis } => one(shape::concatenate(x, *axis)),
        Op::Reverse { axes } => one(shape::reverse(&x[0], axes)),
        Op::Dot { batch, contract } => one(reduce::dot(&x[0], &x[1], batch, contract)),
        Op::Conv { windows } => {
            let output = crate::ir::infer(op, &[&x[0].array_type(), &x[1].array_type()]);
            one(conv::conv(windows, &x[0], &x[1], &output.expect("checked")[0].shape))
        }
        Op::Kernel(kernel) => {
            let types: Vec<ArrayType> = x.iter().map(|value| value.array_type()).collect();
            run(&kernel.twin(&types, std::panic::Location::caller()), x.to_vec())
        }
        Op::Native(call) => native::run(call, x).into_iter().map(Rc::new).collect(),
        Op::Reduce { kind, axes } => one(reduce::reduce(*kind, &x[0], axes)),
        Op::DynamicSlice { sizes } => one(shape::dynamic_slice(&x[0], &x[1..], sizes)),
        Op::DynamicUpdateSlice => one(shape::dynamic_update_slice(&x[0], &x[1], &x[2..])),
        Op::Gather { axis } => one(shape::gather(&x[0], &x[1], *axis)),
        Op::Scatter { axis, kind } => one(shape::scatter(*kind, &x[0], &x[1], &x[2], *axis)),
        Op::While { cond, body, cond_captures, body_captures } => {
            let (captures, carry) = x.split_at(cond_captures + body_captures);
            let (cond_captures, body_captures) = captures.split_at(*cond_captures);
            let mut carry = carry.to_vec();
            while holds(&run(cond, [cond_captures, &carry].concat())[0]) {
                carry = run(body, [body_captures, &carry].concat());
            }
            carry
        }
        Op::Cond { on_true, on_false } => {
            let (true_inputs, false_inputs) = x[1..].split_at(on_true.inputs.len());
            if holds(&x[0]) {
                run(on_true, true_inputs.to_vec())
            } else {
                run(on_false, false_inputs.to_vec())
            }
        }
        Op::Scan { body, captures, carry, length, reverse } => {
            let (captures, rest) = x.split_at(*captures);
            let (init, xs) = rest.split_at(*carry);
            scan(body, captures, init, xs, *length, *reverse)
        }
        Op::Rare { body, captures } => {
            if holds(&x[0]) {
                run(body, x[1..].to_vec())
            } else {
                x[1 + captures..].to_vec()
            }
        }
        Op::Call { graph } => run(graph, x.to_vec()),
        Op::StopGradient | Op::Barrier | Op::AllReduce => x.to_vec(),
        Op::ReplicaId => one(HostArray::scalar(0u32)),
    }
}

fn scan(
    body: &Graph,
    captures: &[Value],
    init: &[Value],
    xs: &[Value],
    length: usize,
    reverse: bool,
) -> Vec<Value> {
    let mut carry = init.to_vec();
    let mut ys: Vec<HostArray> = body.outputs[carry.len()..]
        .iter()
        .map(|&y| {
            let mut stacked = body.array_type(y).clone();
            stacked.shape.insert(0, length);
            HostArray::zeros(&stacked)
        })
        .collect();
    for step in 0..length {
        let row = if reverse { length - 1 - step } else { step };
        let x = xs.iter().map(|x| Rc::new(shape::row(x, row)));
        let mut outputs = run(body, captures.iter().cloned().chain(carry).chain(x).collect());
        for (stacked, y) in ys.iter_mut().zip(outputs.split_off(init.len())) {
            shape::set_row(stacked, row, &y);
        }
        carry = outputs;
    }
    carry.into_iter().chain(ys.into_iter().map(Rc::new)).collect()
}

fn one(value: HostArray) -> Vec<Value> {
    vec![Rc::new(value)]
}

fn holds(predicate: &HostArray) -> bool {
    predicate.as_slice::<bool>()[0]
}

#[cfg(test)]
mod tests;
