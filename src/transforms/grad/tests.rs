//! What finite differences cannot show: ties, corners, errors. (`tests/ops` compares every op.)

use std::sync::Arc;

use super::control::append_inputs;
use super::*;
use crate::array::{DType, HostArray};
use crate::interpret::interpret;
use crate::ir::{Binary, Comparison, Reduction, Unary};

/// The gradients of the first output of `build`, a graph of `inputs`, by all of them.
#[track_caller]
fn gradients(inputs: &[HostArray], build: impl FnOnce(&mut Build, &[Var]) -> Var) -> Vec<HostArray> {
    try_gradients(inputs, build).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn try_gradients(
    inputs: &[HostArray],
    build: impl FnOnce(&mut Build, &[Var]) -> Var,
) -> Result<Vec<HostArray>, GradError> {
    let location = std::panic::Location::caller();
    let types: Vec<ArrayType> = inputs.iter().map(HostArray::array_type).collect();
    let mut body = Graph::new();
    let vars = append_inputs(&mut body, &types);
    let loss = build(&mut Build::new(&mut body, location), &vars);
    body.outputs = vec![loss];
    let mut graph = Graph::new();
    let vars = append_inputs(&mut graph, &types);
    let wrt = vec![true; vars.len()];
    (_, graph.outputs) = value_and_grad(&mut graph, &body, &vars, &wrt, location)?;
    crate::ir::check(&graph).unwrap();
    Ok(interpret(&graph, inputs))
}

fn vector(values: &[f64]) -> HostArray {
    HostArray::new(&[values.len()], values.to_vec())
}

fn sum(b: &mut Build, x: Var) -> Var {
    b.reduce(Reduction::Sum, x, &[0])
}

#[test]
fn ties_share_the_cotangent() {
    let inputs = [vector(&[1.0, 2.0, 3.0]), vector(&[2.0, 2.0, 2.0])];
    for (op, left) in [(Binary::Max, [0.0, 0.5, 1.0]), (Binary::Min, [1.0, 0.5, 0.0])] {
        let found = gradients(&inputs, |b, x| {
            let best = b.binary(op, x[0], x[1]);
            sum(b, best)
        });
        assert_eq!(found, [vector(&left), vector(&left.map(|v| 1.0 - v))], "{op:?}");
    }
    for (kind, expected) in [(Reduction::Max, [0.5, 0.0, 0.5]), (Reduction::Min, [0.0, 1.0, 0.0])] {
        let found = gradients(&[vector(&[4.0, 1.0, 4.0])], |b, x| b.reduce(kind, x[0], &[0]));
        assert_eq!(found, [vector(&expected)], "{kind:?}");
    }
}

#[test]
fn powers_of_zero_have_finite_gradients() {
    let inputs = [vector(&[0.0, 0.0, 0.0]), vector(&[0.0, 1.0, 2.0])];
    let found = gradients(&inputs, |b, x| {
        let powers = b.binary(Binary::Pow, x[0], x[1]);
        sum(b, powers)
    });
    assert_eq!(found, [vector(&[0.0, 1.0, 0.0]), vector(&[0.0, 0.0, 0.0])]);
}

#[test]
fn nothing_flows_through_stop_gradient_and_constant_functions() {
    let x = vector(&[1.5, -2.5]);
    let found = gradients(std::slice::from_ref(&x), |b, x| {
        let stopped = b.one(Op::StopGradient, &[x[0]]);
        let product = b.mul(stopped, x[0]);
        let floor = b.unary(Unary::Floor, x[0]);
        let total = b.add(product, floor);
        sum(b, total)
    });
    assert_eq!(found, [x]);
}

#[test]
fn inputs_that_the_loss_does_not_use_get_zeros() {
    let found = gradients(&[HostArray::scalar(2f32), vector(&[1.0, 2.0])], |b, x| b.mul(x[0], x[0]));
    assert_eq!(found, [HostArray::scalar(4f32), vector(&[0.0, 0.0])]);
}

/// The same variable twice among the inputs: each place has a gradient of its own.
#[test]
fn one_variable_in_two_places() {
    let location = std::panic::Location::caller();
    let scalar = ArrayType::scalar(DType::F64);
    let mut body = Graph::new();
    let (x, y) = (body.input(scalar.clone()), body.input(scalar.clone()));
    let mut b = Build::new(&mut body, location);
    let square = b.mul(x, x);
    let loss = b.mul(square, y);
    body.outputs = vec![loss];
    let mut graph = Graph::new();
    let z = graph.input(scalar);
    let (_, gradients) = value_and_grad(&mut graph, &body, &[z, z], &[true, true], location).unwrap();
    graph.outputs = gradients;
    assert_eq!(interpret(&graph, &[HostArray::scalar(3f64)]), [18f64, 9.0].map(HostArray::scalar));
}

/// The gradient of a gradient, through a scan: the second derivative of x^4 is 12 x^2.
#[test]
fn gradients_of_gradients() {
    let location = std::panic::Location::caller();
    let scalar = ArrayType::scalar(DType::F64);
    let mut step = Graph::new();
    let vars = append_inputs(&mut step, &[scalar.clone(), scalar.clone()]);
    step.outputs = vec![Build::new(&mut step, location).mul(vars[0], vars[1])];
    let mut graph = Graph::new();
    let x = graph.input(scalar.clone());
    let mut b = Build::new(&mut graph, location);
    let one = b.scalar(1.0, DType::F64);
    let op = Op::Scan { body: Arc::new(step), captures: 1, carry: 1, length: 4, reverse: false };
    graph.outputs = b.many(op, &[x, one]);
    for _ in 0..2 {
        let mut derivative = Graph::new();
        let x = derivative.input(scalar.clone());
        (_, derivative.outputs) = value_and_grad(&mut derivative, &graph, &[x], &[true], location).unwrap();
        graph = derivative;
    }
    assert_eq!(interpret(&graph, &[HostArray::scalar(3f64)]), [HostArray::scalar(108f64)]);
}

/// x doubled in a while_loop as long as a counter is below 3: (x, count).
fn doubling_loop(b: &mut Build, x: Var) -> Var {
    let types = [ArrayType::scalar(DType::F64), ArrayType::scalar(DType::I32)];
    let (mut cond, mut body) = (Graph::new(), Graph::new());
    let vars = append_inputs(&mut cond, &types);
    let mut inner = Build::new(&mut cond, b.location);
    let limit = inner.scalar(3.0, DType::I32);
    cond.outputs = vec![inner.compare(Comparison::Lt, vars[1], limit)];
    let vars = append_inputs(&mut body, &types);
    let mut inner = Build::new(&mut body, b.location);
    let one = inner.scalar(1.0, DType::I32);
    body.outputs = vec![inner.add(vars[0], vars[0]), inner.add(vars[1], one)];
    let zero = b.scalar(0.0, DType::I32);
    let op = Op::While { cond: Arc::new(cond), body: Arc::new(body), cond_captures: 0, body_captures: 0 };
    b.one(op, &[x, zero])
}

#[test]
fn a_while_loop_is_an_error_only_if_a_cotangent_has_to_pass() {
    let x = HostArray::scalar(5f64);
    let error = try_gradients(std::slice::from_ref(&x), |b, x| doubling_loop(b, x[0])).unwrap_err();
    let message = error.to_string();
    assert!(
        message.starts_with("no gradient flows through the while_loop at src/transforms/grad/tests.rs:"),
        "{message}"
    );
    assert!(message.ends_with("use scan, or stop_gradient"), "{message}");
    let found = gradients(&[x], |b, x| {
        let stopped = b.one(Op::StopGradient, &[x[0]]);
        let doubled = doubling_loop(b, stopped);
        b.mul(doubled, x[0])
    });
    assert_eq!(found, [HostArray::scalar(40f64)]);
}

#[test]
fn losses_and_inputs_must_be_floats() {
    let error = try_gradients(&[vector(&[1.0])], |_, x| x[0]).unwrap_err();
    assert_eq!(error, GradError::Loss(ArrayType::new(DType::F64, [1])));
    let inputs = [HostArray::scalar(1f64), HostArray::scalar(1i32)];
    let error = try_gradients(&inputs, |_, x| x[0]).unwrap_err();
    assert_eq!(error, GradError::Input { index: 1, array_type: ArrayType::scalar(DType::I32) });
}
