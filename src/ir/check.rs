//! The checker: run after every pass in debug builds and tests, so that a broken pass is caught at its
//! own exit ([`checked`], [`check_appended`]).

use super::{Equation, Graph, Var, infer};

/// Checks that every variable is defined once and before its use, and that every equation (also in the
/// bodies) has the types that inference gives it.
pub fn check(graph: &Graph) -> Result<(), String> {
    check_from(graph, 0)
}

/// The graph that a pass has made; debug builds check it.
///
/// Panics, naming the pass, if the graph is not well formed.
#[track_caller]
pub fn checked(pass: &str, graph: Graph) -> Graph {
    check_appended(pass, &graph, 0);
    graph
}

/// Checks, in debug builds, the equations that a pass has appended to the first `before` ones of a graph.
///
/// Panics, naming the pass, if they are not well formed.
#[track_caller]
pub fn check_appended(pass: &str, graph: &Graph, before: usize) {
    if cfg!(debug_assertions)
        && let Err(message) = check_from(graph, before)
    {
        panic!("{pass} has made a graph that is not well formed: {message}");
    }
}

/// Checks all but the first `before` equations, whose outputs count as defined.
fn check_from(graph: &Graph, before: usize) -> Result<(), String> {
    let mut defined = vec![false; graph.num_vars()];
    let of_equations = graph.equations[..before].iter().flat_map(|equation| &equation.outputs);
    for &var in graph.inputs.iter().chain(of_equations) {
        define(&mut defined, var)?;
    }
    for (position, equation) in graph.equations.iter().enumerate().skip(before) {
        check_equation(graph, equation, &mut defined).map_err(|message| {
            format!("equation {position} ({}, from {}): {message}", equation.op.name(), equation.location)
        })?;
    }
    match graph.outputs.iter().find(|var| !defined[var.0 as usize]) {
        Some(var) => Err(format!("the output %{} is never defined", var.0)),
        None => Ok(()),
    }
}

fn check_equation(graph: &Graph, equation: &Equation, defined: &mut [bool]) -> Result<(), String> {
    for body in equation.op.bodies() {
        check(body)?;
    }
    if let Some(var) = equation.inputs.iter().find(|var| !defined[var.0 as usize]) {
        return Err(format!("%{} is used before it is defined", var.0));
    }
    let types: Vec<_> = equation.inputs.iter().map(|&var| graph.array_type(var)).collect();
    let outputs = infer(&equation.op, &types)?;
    if outputs.len() != equation.outputs.len() {
        return Err(format!("{} outputs instead of {}", equation.outputs.len(), outputs.len()));
    }
    for (&var, output) in equation.outputs.iter().zip(&outputs) {
        if graph.array_type(var) != output {
            return Err(format!("%{} is {}, inferred {output}", var.0, graph.array_type(var)));
        }
        define(defined, var)?;
    }
    Ok(())
}

fn define(defined: &mut [bool], var: Var) -> Result<(), String> {
    if std::mem::replace(&mut defined[var.0 as usize], true) {
        return Err(format!("%{} is defined twice", var.0));
    }
    Ok(())
}
