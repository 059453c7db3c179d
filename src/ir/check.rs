//! The checker: run after every pass in debug builds and tests, so that a broken pass is caught at its
//! own exit.

use super::{Equation, Graph, Var, infer};

/// Checks that every variable is defined once and before its use, and that every equation (also in the
/// bodies) has the types that inference gives it.
pub fn check(graph: &Graph) -> Result<(), String> {
    let mut defined = vec![false; graph.num_vars()];
    for &var in &graph.inputs {
        define(&mut defined, var)?;
    }
    for (position, equation) in graph.equations.iter().enumerate() {
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
