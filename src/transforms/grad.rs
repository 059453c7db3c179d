//! Reverse-mode differentiation.
//!
//! It has two steps, so that what happens between them (a loss, a clip) can be any equations of the
//! outer graph: [`Tape::forward`] writes the equations of a body into the outer graph;
//! [`Tape::backward`] takes cotangents of the body's outputs and writes the equations for the
//! cotangents of its inputs. [`value_and_grad`] does both for a scalar loss.
//!
//! The rules ([`pullback`] and the tables below it) lead from one equation and the cotangents of its
//! outputs to the cotangents of its inputs. A rule stores nothing; the walk adds up what the rules
//! return. `None` is a cotangent of zero: nobody computes with it. A cotangent travels only along
//! *active* variables: floats that depend on an input that the caller differentiates by.
//!
//! A scan that is differentiated also stacks the carry at the start of each of its steps. Its backward
//! pass is a scan in the other direction that computes each step again from that carry, so the memory
//! grows with the size of the carry, not with the work of a step. A `while_loop` cannot stack, since
//! nobody knows its length; a cotangent that has to pass through one is an error.

use crate::array::ArrayType;
use crate::ir::{
    Binary, Build, Comparison, Equation, Graph, Location, Op, Reduction, ScatterKind, Unary, Var,
};

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

// ---- which variables are active ----

/// For each variable of `graph`, whether it is a float that depends on a float input with `wrt`.
fn active_vars(graph: &Graph, wrt: &[bool]) -> Vec<bool> {
    let is_float = |var: Var| graph.array_type(var).dtype.is_float();
    let mut active = vec![false; graph.num_vars()];
    for (&input, &wrt) in graph.inputs.iter().zip(wrt) {
        active[input.0 as usize] = wrt && is_float(input);
    }
    for equation in &graph.equations {
        let inputs: Vec<bool> = equation.inputs.iter().map(|x| active[x.0 as usize]).collect();
        if inputs.contains(&true) {
            for (&output, depends) in equation.outputs.iter().zip(active_outputs(&equation.op, &inputs)) {
                active[output.0 as usize] = depends && is_float(output);
            }
        }
    }
    active
}

/// Which outputs of a graph are active.
fn active_results(graph: &Graph, wrt: &[bool]) -> Vec<bool> {
    let active = active_vars(graph, wrt);
    graph.outputs.iter().map(|y| active[y.0 as usize]).collect()
}

/// Which parts of the carry of a loop are active in some step. `wrt` are the flags of the inputs of `body`,
/// of which `carry` starts at `at`.
fn active_carry(body: &Graph, wrt: &[bool], at: usize, carry: usize) -> Vec<bool> {
    let mut wrt = wrt.to_vec();
    loop {
        let next = active_results(body, &wrt);
        let before = wrt.clone();
        (0..carry).for_each(|i| wrt[at + i] |= next[i]);
        if wrt == before {
            return wrt.split_off(at)[..carry].to_vec();
        }
    }
}

/// Which outputs of an op depend on its active inputs `x` in a way that has a gradient.
fn active_outputs(op: &Op, x: &[bool]) -> Vec<bool> {
    match op {
        Op::StopGradient => vec![false],
        Op::Unary(Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round) => vec![false],
        Op::While { body, cond_captures, body_captures, .. } => {
            let x = &x[*cond_captures..];
            active_carry(body, x, *body_captures, x.len() - body_captures)
        }
        Op::Cond { on_true, on_false } => {
            let (on_true_wrt, on_false_wrt) = x[1..].split_at(on_true.inputs.len());
            either(&active_results(on_true, on_true_wrt), &active_results(on_false, on_false_wrt))
        }
        Op::Scan { body, captures, carry, .. } => {
            let active = scan_inputs(body, x, *captures, *carry);
            let outputs = active_results(body, &active);
            [&active[*captures..captures + carry], &outputs[*carry..]].concat()
        }
        Op::Rare { body, captures } => either(&active_results(body, &x[1..]), &x[1 + captures..]),
        Op::Barrier => x.to_vec(),
        Op::Constant(_)
        | Op::Iota { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert(_)
        | Op::Bitcast(_)
        | Op::Threefry
        | Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concatenate { .. }
        | Op::Reverse { .. }
        | Op::Dot { .. }
        | Op::Reduce { .. }
        | Op::DynamicSlice { .. }
        | Op::DynamicUpdateSlice
        | Op::Gather { .. }
        | Op::Scatter { .. }
        | Op::AllReduce
        | Op::ReplicaId => vec![true; 2],
    }
}

/// The flags of the inputs of a scan's body, where `x` are those of the scan.
fn scan_inputs(body: &Graph, x: &[bool], captures: usize, carry: usize) -> Vec<bool> {
    let mut active = x.to_vec();
    active[captures..captures + carry].copy_from_slice(&active_carry(body, x, captures, carry));
    active
}

fn either(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| a | b).collect()
}

// ---- the rules ----

/// One equation of the body during the backward pass, its variables those of the outer graph.
struct Point<'a> {
    equation: &'a Equation,
    x: &'a [Var],
    y: &'a [Var],
    /// The outputs that [`keeping`] added.
    kept: &'a [Var],
    /// Of the outputs; at least one is there.
    cotangents: &'a [Option<Var>],
    /// Which inputs are active. A rule may return cotangents of the others; the walk drops them.
    wants: &'a [bool],
}

/// The op that a forward pass runs in place of `op`: its outputs, then what the backward pass needs.
fn keeping(op: &Op) -> Op {
    let mut op = op.clone();
    if let Op::Scan { body, captures, carry, .. } = &mut op {
        let carry_in = body.inputs[*captures..*captures + *carry].to_vec();
        body.outputs.extend(carry_in);
    }
    op
}

/// The cotangents of the inputs of one equation.
fn pullback(b: &mut Build, point: &Point) -> Result<Vec<Option<Var>>, GradError> {
    let Point { equation, x, y, kept: _, cotangents, wants } = *point;
    // Ops with one output: its cotangent.
    let g = cotangents.iter().copied().flatten().next().expect("the walk skips equations without one");
    let one = |cotangent: Var| Ok(vec![Some(cotangent)]);
    match &equation.op {
        Op::Constant(_) | Op::Iota { .. } | Op::ReplicaId => Ok(Vec::new()),
        Op::Compare(_) | Op::Threefry | Op::StopGradient => Ok(vec![None; x.len()]),
        Op::Unary(op) => Ok(vec![unary(b, *op, g, x[0], y[0])]),
        Op::Binary(op) => Ok(binary(b, *op, g, x[0], x[1], y[0]).into()),
        Op::Select => {
            let zero = b.full_like(g, 0.0);
            Ok(vec![None, Some(b.select(x[0], g, zero)), Some(b.select(x[0], zero, g))])
        }
        Op::Convert(_) => {
            let dtype = b.array_type(x[0]).dtype;
            one(b.convert(g, dtype))
        }
        // Between floats a bitcast changes nothing, since each has a width of its own.
        Op::Bitcast(_) | Op::Reshape { .. } => {
            let shape = b.array_type(x[0]).shape;
            one(b.reshape(g, &shape))
        }
        Op::Broadcast { shape, axes } => {
            let new_axes: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
            one(b.reduce(Reduction::Sum, g, &new_axes))
        }
        Op::Transpose { permutation } => one(b.transpose(g, &inverse(permutation))),
        Op::Slice { start, stride, .. } => one(slice(b, g, x[0], start, stride)),
        Op::Pad { low, interior, .. } => Ok(pad(b, g, x[0], low, interior).into()),
        Op::Concatenate { axis } => Ok(concatenate(b, g, x, *axis)),
        Op::Reverse { axes } => one(b.one(Op::Reverse { axes: axes.clone() }, &[g])),
        Op::Dot { batch, contract } => Ok(dot(b, g, x, batch, contract, wants)),
        Op::Reduce { kind, axes } => Ok(vec![reduce(b, *kind, axes, g, x[0], y[0])]),
        Op::DynamicSlice { .. } => {
            let zeros = b.full_like(x[0], 0.0);
            let cotangent = b.one(Op::DynamicUpdateSlice, &[&[zeros, g], &x[1..]].concat());
            let starts = x.len() - 1;
            Ok([vec![Some(cotangent)], vec![None; starts]].concat())
        }
        Op::DynamicUpdateSlice => {
            let sizes = b.array_type(x[1]).shape;
            let zeros = b.full_like(x[1], 0.0);
            let kept = b.one(Op::DynamicUpdateSlice, &[&[g, zeros], &x[2..]].concat());
            let update = b.one(Op::DynamicSlice { sizes }, &[&[g], &x[2..]].concat());
            let starts = x.len() - 2;
            Ok([vec![Some(kept), Some(update)], vec![None; starts]].concat())
        }
        Op::Gather { axis } => Ok(vec![Some(gather(b, g, x[0], x[1], *axis)), None]),
        Op::Scatter { axis, kind } => {
            let old = match kind {
                ScatterKind::Add => g,
                ScatterKind::Set => {
                    let zeros = b.full_like(x[2], 0.0);
                    b.scatter(ScatterKind::Set, g, x[1], zeros, *axis)
                }
            };
            Ok(vec![Some(old), None, Some(scattered(b, g, x[1], x[2], *axis))])
        }
        Op::Cond { on_true, on_false } => cond(b, on_true, on_false, point),
        Op::Scan { .. } => scan(b, point),
        Op::While { .. } => Err(no_rule(equation, "nobody knows its length; use scan, or stop_gradient")),
        Op::Rare { .. } => Err(no_rule(equation, "it is made for seldom events; use cond, or stop_gradient")),
        Op::Barrier => Ok(cotangents.to_vec()),
        // Each replica's loss depends on every replica's x.
        Op::AllReduce => one(b.one(Op::AllReduce, &[g])),
    }
}

fn unary(b: &mut Build, op: Unary, g: Var, x: Var, y: Var) -> Option<Var> {
    Some(match op {
        Unary::Neg => b.neg(g),
        Unary::Abs => {
            let sign = b.unary(Unary::Sign, x);
            b.mul(g, sign)
        }
        Unary::Exp => b.mul(g, y),
        Unary::Log => b.div(g, x),
        Unary::Log1p => {
            let shifted = plus(b, x, 1.0);
            b.div(g, shifted)
        }
        Unary::Expm1 => {
            let exp = plus(b, y, 1.0);
            b.mul(g, exp)
        }
        Unary::Tanh => {
            let square = b.mul(y, y);
            let slope = one_minus(b, square);
            b.mul(g, slope)
        }
        Unary::Sin => {
            let cos = b.unary(Unary::Cos, x);
            b.mul(g, cos)
        }
        Unary::Cos => {
            let sin = b.unary(Unary::Sin, x);
            let product = b.mul(g, sin);
            b.neg(product)
        }
        Unary::Sqrt => {
            let half = times(b, g, 0.5);
            b.div(half, y)
        }
        Unary::Rsqrt => {
            let slope = b.div(y, x);
            let half = times(b, g, -0.5);
            b.mul(half, slope)
        }
        Unary::Logistic => {
            let rest = one_minus(b, y);
            let slope = b.mul(y, rest);
            b.mul(g, slope)
        }
        Unary::Sign
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::IsFinite
        | Unary::Not
        | Unary::PopulationCount
        | Unary::CountLeadingZeros => return None,
    })
}

fn binary(b: &mut Build, op: Binary, g: Var, x0: Var, x1: Var, y: Var) -> [Option<Var>; 2] {
    match op {
        Binary::Add => [Some(g), Some(g)],
        Binary::Sub => [Some(g), Some(b.neg(g))],
        Binary::Mul => [Some(b.mul(g, x1)), Some(b.mul(g, x0))],
        Binary::Div => {
            let left = b.div(g, x1);
            let product = b.mul(left, y);
            [Some(left), Some(b.neg(product))]
        }
        // x0 - n x1, with a whole number n.
        Binary::Rem => {
            let multiple = b.sub(y, x0);
            let quotient = b.div(multiple, x1);
            let minus_n = b.unary(Unary::Round, quotient);
            [Some(g), Some(b.mul(g, minus_n))]
        }
        Binary::Pow => pow(b, g, x0, x1, y).map(Some),
        Binary::Max => {
            [Some(winner(b, Comparison::Gt, g, x0, x1)), Some(winner(b, Comparison::Gt, g, x1, x0))]
        }
        Binary::Min => {
            [Some(winner(b, Comparison::Lt, g, x0, x1)), Some(winner(b, Comparison::Lt, g, x1, x0))]
        }
        Binary::And | Binary::Or | Binary::Xor | Binary::ShiftLeft | Binary::ShiftRight => [None, None],
    }
}

/// `x1 x0^(x1 - 1)`, which is 0 at exponent 0 whatever the base; `log(x0) x0^x1`, which is 0 at base 0.
fn pow(b: &mut Build, g: Var, x0: Var, x1: Var, y: Var) -> [Var; 2] {
    let (zero, one) = (b.full_like(x0, 0.0), b.full_like(x0, 1.0));
    let constant = b.compare(Comparison::Eq, x1, zero);
    let lower = b.sub(x1, one);
    let exponent = b.select(constant, one, lower);
    let power = b.binary(Binary::Pow, x0, exponent);
    let slope = b.mul(x1, power);
    let at_zero = b.compare(Comparison::Eq, x0, zero);
    let base = b.select(at_zero, one, x0);
    let log = b.unary(Unary::Log, base);
    let growth = b.mul(log, y);
    [b.mul(g, slope), b.mul(g, growth)]
}

/// `g` where `x` wins over `other`, half of it where they tie, else 0.
fn winner(b: &mut Build, wins: Comparison, g: Var, x: Var, other: Var) -> Var {
    let (won, tied) = (b.compare(wins, x, other), b.compare(Comparison::Eq, x, other));
    let (half, zero) = (times(b, g, 0.5), b.full_like(g, 0.0));
    let otherwise = b.select(tied, half, zero);
    b.select(won, g, otherwise)
}

fn reduce(b: &mut Build, kind: Reduction, axes: &[usize], g: Var, x: Var, y: Var) -> Option<Var> {
    let shape = b.array_type(x).shape;
    let kept: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    match kind {
        Reduction::Sum => Some(b.broadcast(g, &shape, &kept)),
        // Ties share the cotangent.
        Reduction::Max | Reduction::Min => {
            let best = b.broadcast(y, &shape, &kept);
            let wins = b.compare(Comparison::Eq, x, best);
            let dtype = b.array_type(x).dtype;
            let weight = b.convert(wins, dtype);
            let count = b.reduce(Reduction::Sum, weight, axes);
            let share = b.div(g, count);
            let shares = b.broadcast(share, &shape, &kept);
            Some(b.mul(shares, weight))
        }
        Reduction::And | Reduction::Or => None,
    }
}

/// Puts the cotangent of a slice back to where the slice was taken from.
fn slice(b: &mut Build, g: Var, x: Var, start: &[usize], stride: &[usize]) -> Var {
    let (x, taken) = (b.array_type(x), b.array_type(g).shape);
    if taken.contains(&0) {
        return b.full(&x, 0.0);
    }
    let high = (0..x.rank()).map(|i| x.shape[i] - start[i] - (taken[i] - 1) * stride[i] - 1).collect();
    let interior = stride.iter().map(|stride| stride - 1).collect();
    let zero = b.scalar(0.0, x.dtype);
    b.one(Op::Pad { low: start.to_vec(), high, interior }, &[g, zero])
}

/// The elements that came from `x`; the sum of the others.
fn pad(b: &mut Build, g: Var, x: Var, low: &[usize], interior: &[usize]) -> [Option<Var>; 2] {
    let (shape, padded) = (b.array_type(x).shape, b.array_type(g));
    let all_axes: Vec<usize> = (0..shape.len()).collect();
    if shape.contains(&0) {
        return [None, Some(b.reduce(Reduction::Sum, g, &all_axes))];
    }
    let stride: Vec<usize> = interior.iter().map(|gap| gap + 1).collect();
    let limit: Vec<usize> = (0..shape.len()).map(|i| low[i] + (shape[i] - 1) * stride[i] + 1).collect();
    let from_x = b.one(Op::Slice { start: low.to_vec(), limit, stride: stride.clone() }, &[g]);
    let zeros = b.full_like(x, 0.0);
    let one = b.scalar(1.0, padded.dtype);
    let high = (0..shape.len()).map(|i| padded.shape[i] - low[i] - (shape[i] - 1) * stride[i] - 1).collect();
    let is_fill = b.one(Op::Pad { low: low.to_vec(), high, interior: interior.to_vec() }, &[zeros, one]);
    let from_fill = b.mul(g, is_fill);
    [Some(from_x), Some(b.reduce(Reduction::Sum, from_fill, &all_axes))]
}

fn concatenate(b: &mut Build, g: Var, x: &[Var], axis: usize) -> Vec<Option<Var>> {
    let shape = b.array_type(g).shape;
    let mut at = 0;
    let mut part = |&x: &Var| {
        let (mut start, mut limit) = (vec![0; shape.len()], shape.clone());
        start[axis] = at;
        at += b.array_type(x).shape[axis];
        limit[axis] = at;
        Some(b.one(Op::Slice { start, limit, stride: vec![1; shape.len()] }, &[g]))
    };
    x.iter().map(&mut part).collect()
}

/// Products are expensive, so only the wanted ones are written.
fn dot(
    b: &mut Build,
    g: Var,
    x: &[Var],
    batch: &(Vec<usize>, Vec<usize>),
    contract: &(Vec<usize>, Vec<usize>),
    wants: &[bool],
) -> Vec<Option<Var>> {
    let left = DotSide { batch: &batch.0, contract: &contract.0, rank: b.array_type(x[0]).rank() };
    let right = DotSide { batch: &batch.1, contract: &contract.1, rank: b.array_type(x[1]).rank() };
    // The axes of g: batch, free axes of the left side, free axes of the right side.
    let left_end = left.batch.len() + left.free().len();
    let left_axes: Vec<usize> = (left.batch.len()..left_end).collect();
    let right_axes: Vec<usize> = (left_end..left_end + right.free().len()).collect();
    vec![
        wants[0].then(|| dot_side(b, g, &right_axes, x[1], &left, &right)),
        wants[1].then(|| dot_side(b, g, &left_axes, x[0], &right, &left)),
    ]
}

/// How one side of a dot uses its axes.
struct DotSide<'a> {
    batch: &'a [usize],
    contract: &'a [usize],
    rank: usize,
}

impl DotSide<'_> {
    fn free(&self) -> Vec<usize> {
        (0..self.rank).filter(|axis| !self.batch.contains(axis) && !self.contract.contains(axis)).collect()
    }
}

/// The cotangent of the side `mine`: `g`, in which the free axes of the side `theirs` are `their_axes`,
/// times the array `other` of that side.
fn dot_side(
    b: &mut Build,
    g: Var,
    their_axes: &[usize],
    other: Var,
    mine: &DotSide,
    theirs: &DotSide,
) -> Var {
    let batch = ((0..mine.batch.len()).collect(), theirs.batch.to_vec());
    let contract = (their_axes.to_vec(), theirs.free());
    let product = b.one(Op::Dot { batch, contract }, &[g, other]);
    // The axes of the product: batch, my free axes, the contracted axes in their order on the other side.
    let mut order: Vec<usize> = (0..mine.contract.len()).collect();
    order.sort_by_key(|&i| theirs.contract[i]);
    let mut axes = mine.batch.to_vec();
    axes.extend(mine.free());
    axes.extend(order.iter().map(|&i| mine.contract[i]));
    b.transpose(product, &inverse(&axes))
}

/// Adds the cotangent of each gathered entry to the entry that it was read from.
fn gather(b: &mut Build, g: Var, x: Var, indices: Var, axis: usize) -> Var {
    let last = b.array_type(x).shape[axis].saturating_sub(1);
    let (zero, last) = (b.full_like(indices, 0.0), b.full_like(indices, last as f64));
    let not_negative = b.binary(Binary::Max, indices, zero);
    let clamped = b.binary(Binary::Min, not_negative, last);
    let zeros = b.full_like(x, 0.0);
    b.scatter(ScatterKind::Add, zeros, clamped, g, axis)
}

/// The cotangents of the updates of a scatter: where they went to, and 0 for those that were dropped.
fn scattered(b: &mut Build, g: Var, indices: Var, updates: Var, axis: usize) -> Var {
    let size = b.array_type(g).shape[axis];
    let (zero, size) = (b.full_like(indices, 0.0), b.full_like(indices, size as f64));
    let (low, high) = (b.compare(Comparison::Ge, indices, zero), b.compare(Comparison::Lt, indices, size));
    let inside = b.binary(Binary::And, low, high);
    let read = b.gather(g, indices, axis);
    let (updates, rank) = (b.array_type(updates), b.array_type(indices).rank());
    let inside = b.broadcast(inside, &updates.shape, &(axis..axis + rank).collect::<Vec<_>>());
    let zeros = b.full(&updates, 0.0);
    b.select(inside, read, zeros)
}

/// A cond whose branches are the pullbacks of the branches. Both return the cotangents of the wanted
/// inputs of both; those of the other branch are zeros.
fn cond(
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
    let outputs = b.many(Op::Cond { on_true: Box::new(on_true), on_false: Box::new(on_false) }, &inputs);
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
fn scan(b: &mut Build, point: &Point) -> Result<Vec<Option<Var>>, GradError> {
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
        Op::Scan { body: Box::new(step), captures, carry: init.len(), length: *length, reverse: !reverse };
    let mut outputs = b.many(op, &[capture_inputs, &init, point.kept, xs, &y_cotangents].concat());
    outputs[..init.len()].rotate_left(of_carry.len());
    Ok(spread(&outputs, &active))
}

// ---- helpers ----

fn no_rule(equation: &Equation, fix: &'static str) -> GradError {
    GradError::NoRule { op: equation.op.name(), location: equation.location, fix }
}

fn plus(b: &mut Build, x: Var, value: f64) -> Var {
    let value = b.full_like(x, value);
    b.add(x, value)
}

fn times(b: &mut Build, x: Var, value: f64) -> Var {
    let value = b.full_like(x, value);
    b.mul(x, value)
}

fn one_minus(b: &mut Build, x: Var) -> Var {
    let one = b.full_like(x, 1.0);
    b.sub(one, x)
}

/// The permutation that undoes `permutation`.
fn inverse(permutation: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; permutation.len()];
    for (i, &axis) in permutation.iter().enumerate() {
        inverse[axis] = i;
    }
    inverse
}

fn append_inputs(graph: &mut Graph, types: &[ArrayType]) -> Vec<Var> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{DType, HostArray};
    use crate::interpret::interpret;

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
        let (x, power) = (step.input(scalar.clone()), step.input(scalar.clone()));
        let next = Build::new(&mut step, location).mul(x, power);
        step.outputs = vec![next];
        let mut derivative = Graph::new();
        let mut level = Graph::new();
        let x = level.input(scalar.clone());
        let mut b = Build::new(&mut level, location);
        let one = b.scalar(1.0, DType::F64);
        let op = Op::Scan { body: Box::new(step), captures: 1, carry: 1, length: 4, reverse: false };
        level.outputs = b.many(op, &[x, one]);
        for _ in 0..2 {
            derivative = Graph::new();
            let x = derivative.input(scalar.clone());
            (_, derivative.outputs) =
                value_and_grad(&mut derivative, &level, &[x], &[true], location).unwrap();
            level = derivative.clone();
        }
        assert_eq!(interpret(&derivative, &[HostArray::scalar(3f64)]), [HostArray::scalar(108f64)]);
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
        let op = Op::While { cond: Box::new(cond), body: Box::new(body), cond_captures: 0, body_captures: 0 };
        b.one(op, &[x, zero])
    }

    #[test]
    fn a_while_loop_is_an_error_only_if_a_cotangent_has_to_pass() {
        let x = HostArray::scalar(5f64);
        let error = try_gradients(std::slice::from_ref(&x), |b, x| doubling_loop(b, x[0])).unwrap_err();
        let message = error.to_string();
        assert!(
            message.starts_with("no gradient flows through the while_loop at src/transforms/grad.rs:"),
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
}
