//! Reverse-mode differentiation.
//!
//! It has two steps, so that what happens between them (a loss, a clip) can be any equations of the
//! outer graph: [`Tape::forward`] writes the equations of a body into the outer graph;
//! [`Tape::backward`] takes cotangents of the body's outputs and writes the equations for the
//! cotangents of its inputs. [`value_and_grad`] does both for a scalar loss.
//!
//! The rules (in `rules`) lead from one equation and the cotangents of its
//! outputs to the cotangents of its inputs. A rule stores nothing; the walk adds up what the rules
//! return. `None` is a cotangent of zero: nobody computes with it. A cotangent travels only along
//! *active* variables: floats that depend on an input that the caller differentiates by.
//!
//! A scan that is differentiated also stacks the carry at the start of each of its steps. Its backward
//! pass is a scan in the other direction that computes each step again from that carry, so the memory
//! grows with the size of the carry, not with the work of a step. A `while_loop` cannot stack, since
//! nobody knows its length; a cotangent that has to pass through one is an error.

mod active;
mod control;
mod rules;

use std::sync::Arc;

use crate::array::ArrayType;
use crate::ir::{Build, Equation, Graph, Location, Op, Var};

use active::active_vars;
use rules::pullback;

/// One equation of the body during the backward pass, its variables those of the outer graph.
struct Point<'a> {
    equation: &'a Equation,
    x: &'a [Var],
    y: &'a [Var],
    /// The outputs that [`rules::keeping`] added.
    kept: &'a [Var],
    /// Of the outputs; at least one is there.
    cotangents: &'a [Option<Var>],
    /// Which inputs are active. A rule may return cotangents of the others; the walk drops them.
    wants: &'a [bool],
}

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GradError {
    #[error("no gradient flows through the {op} at {location}: {fix}")]
    NoRule { op: String, location: Location, fix: &'static str },
    #[error("the loss is {0}, a gradient needs a float scalar: take its sum or mean, or cast it")]
    Loss(ArrayType),
    #[error(
        "input {index} is {array_type}, only floats have gradients: cast it, or keep it out of the parameters"
    )]
    Input { index: usize, array_type: ArrayType },
}

/// Appends `body` to `graph` and the gradient of its first output, a float scalar; the other outputs are
/// auxiliary.
///
/// Returns the outputs of `body` and, for each input with `wrt` in order, its gradient (zeros where the
/// loss does not depend on it), all in the outer graph.
pub fn value_and_grad(
    graph: &mut Graph,
    body: &Graph,
    inputs: &[Var],
    wrt: &[bool],
    location: Location,
) -> Result<(Vec<Var>, Vec<Var>), GradError> {
    let loss = body.array_type(body.outputs[0]).clone();
    if !loss.dtype.is_float() || loss.rank() > 0 {
        return Err(GradError::Loss(loss));
    }
    let wanted: Vec<usize> = (0..inputs.len()).filter(|&index| wrt[index]).collect();
    for &index in &wanted {
        let array_type = graph.array_type(inputs[index]).clone();
        if !array_type.dtype.is_float() {
            return Err(GradError::Input { index, array_type });
        }
    }
    let tape = Tape::forward(graph, body, inputs, wrt);
    let outputs = tape.outputs();
    let mut cotangents = vec![None; outputs.len()];
    cotangents[0] = Some(Build::new(graph, location).scalar(1.0, loss.dtype));
    let by_input = tape.backward(graph, &cotangents, location)?;
    let mut build = Build::new(graph, location);
    let gradient = |&index: &usize| by_input[index].unwrap_or_else(|| build.full_like(inputs[index], 0.0));
    Ok((outputs, wanted.iter().map(gradient).collect()))
}

/// A body whose equations stand in an outer graph, ready for its backward pass.
pub struct Tape<'a> {
    body: &'a Graph,
    /// For each variable of the body, the variable of the outer graph that holds its value.
    outer: Vec<Var>,
    /// For each variable of the body, whether a cotangent can travel through it.
    active: Vec<bool>,
    /// For each equation of the body, what its forward pass kept for the backward pass.
    kept: Vec<Vec<Var>>,
}

impl<'a> Tape<'a> {
    /// Appends the equations of `body` to `graph`, its inputs replaced by `inputs`. `wrt` says by which
    /// inputs to differentiate; those that are not floats have no cotangents.
    pub fn forward(graph: &mut Graph, body: &'a Graph, inputs: &[Var], wrt: &[bool]) -> Self {
        assert_eq!(body.inputs.len(), inputs.len(), "grad: wrong number of inputs");
        let unbound = vec![Var(u32::MAX); body.num_vars()];
        let mut tape = Tape { body, outer: unbound, active: active_vars(body, wrt), kept: Vec::new() };
        tape.bind(&body.inputs, inputs);
        for equation in &body.equations {
            let differentiated = equation.outputs.iter().any(|&y| tape.is_active(y));
            let op = if differentiated { keeping(&equation.op) } else { equation.op.clone() };
            let inputs = tape.outer_vars(&equation.inputs);
            let mut outputs = Build::new(graph, equation.location).many(op, &inputs);
            tape.kept.push(outputs.split_off(equation.outputs.len()));
            tape.bind(&equation.outputs, &outputs);
        }
        tape
    }

    /// The outputs of the body, in the outer graph.
    pub fn outputs(&self) -> Vec<Var> {
        self.outer_vars(&self.body.outputs)
    }

    /// Appends the backward equations to `graph`: from the cotangents of the body's outputs to those of its
    /// inputs, each of the type of its variable. `None` is zero, and stands for inputs without `wrt`.
    pub fn backward(
        &self,
        graph: &mut Graph,
        cotangents: &[Option<Var>],
        location: Location,
    ) -> Result<Vec<Option<Var>>, GradError> {
        let mut sums: Vec<Option<Var>> = vec![None; self.body.num_vars()];
        for (output, &cotangent) in self.body.outputs.iter().zip(cotangents) {
            add_to(&mut sums[output.0 as usize], cotangent, &mut Build::new(graph, location));
        }
        for (equation, kept) in self.body.equations.iter().zip(&self.kept).rev() {
            let cotangents: Vec<Option<Var>> = equation.outputs.iter().map(|y| sums[y.0 as usize]).collect();
            let wants: Vec<bool> = equation.inputs.iter().map(|&x| self.is_active(x)).collect();
            if cotangents.iter().all(Option::is_none) || !wants.contains(&true) {
                continue;
            }
            let point = Point {
                equation,
                x: &self.outer_vars(&equation.inputs),
                y: &self.outer_vars(&equation.outputs),
                kept,
                cotangents: &cotangents,
                wants: &wants,
            };
            let mut build = Build::new(graph, equation.location);
            for (i, contribution) in pullback(&mut build, &point)?.into_iter().enumerate() {
                if wants[i] {
                    add_to(&mut sums[equation.inputs[i].0 as usize], contribution, &mut build);
                }
            }
        }
        let input_cotangent = |&x: &Var| sums[x.0 as usize].filter(|_| self.is_active(x));
        Ok(self.body.inputs.iter().map(input_cotangent).collect())
    }

    fn bind(&mut self, inner: &[Var], outer: &[Var]) {
        for (inner, &outer) in inner.iter().zip(outer) {
            self.outer[inner.0 as usize] = outer;
        }
    }

    fn outer_vars(&self, vars: &[Var]) -> Vec<Var> {
        vars.iter().map(|var| self.outer[var.0 as usize]).collect()
    }

    fn is_active(&self, var: Var) -> bool {
        self.active[var.0 as usize]
    }
}

fn add_to(sum: &mut Option<Var>, contribution: Option<Var>, b: &mut Build) {
    *sum = match (*sum, contribution) {
        (Some(a), Some(c)) => Some(b.add(a, c)),
        (a, c) => a.or(c),
    };
}

/// The op that a forward pass runs in place of `op`: its outputs, then what the backward pass needs.
fn keeping(op: &Op) -> Op {
    let mut op = op.clone();
    if let Op::Scan { body, captures, carry, .. } = &mut op {
        let carry_in = body.inputs[*captures..*captures + *carry].to_vec();
        Arc::make_mut(body).outputs.extend(carry_in);
    }
    op
}

#[cfg(test)]
mod tests;
