//! A recurrent cell over a sequence: the types of its kernels and their twins.
//!
//! Backwards, only the cotangents of what is remembered go step by step; all else is computed for the whole sequence at once.

use std::sync::Arc;

use crate::array::{ArrayType, DType};

use super::super::{Build, Graph, Op, Reduction, Unary, Var};
use super::{CellKind, dot};

/// The sizes of a sequence: steps, rows, units, and the columns of all gates.
struct Sizes {
    steps: usize,
    rows: usize,
    units: usize,
    columns: usize,
}

impl Sizes {
    /// The shape `[T, N, H]`.
    fn outputs(&self) -> [usize; 3] {
        [self.steps, self.rows, self.units]
    }
}

/// The sizes of the sequence with this type of what is read.
fn sizes(read: &ArrayType, cell: CellKind) -> Option<Sizes> {
    match read.shape[..] {
        [steps, rows, columns] if steps > 0 && columns > 0 && columns.is_multiple_of(cell.gates()) => {
            Some(Sizes { steps, rows, units: columns / cell.gates(), columns })
        }
        _ => None,
    }
}

pub fn infer(name: &str, inputs: &[&ArrayType], cell: CellKind) -> Result<Vec<ArrayType>, String> {
    let Some(sizes) = sizes(inputs[0], cell) else {
        return Err(format!("{name} of {} by a cell with {} gates", inputs[0], cell.gates()));
    };
    let dtype = inputs[0].dtype;
    let begin = ArrayType::new(dtype, [sizes.rows, sizes.units]);
    let fits = *inputs[1] == ArrayType::new(DType::Bool, [sizes.steps, sizes.rows])
        && inputs[2].shape == [sizes.units, sizes.columns]
        && inputs[3].shape == [sizes.columns]
        && inputs[4..4 + cell.remembered()].iter().all(|&input| *input == begin);
    match fits {
        true => {
            let mut outputs = vec![ArrayType::new(dtype, sizes.outputs()); cell.remembered()];
            outputs.push(inputs[0].clone());
            Ok(outputs)
        }
        false => {
            let given: Vec<String> = inputs.iter().map(|input| input.to_string()).collect();
            Err(format!("{name} of {}", given.join(", ")))
        }
    }
}

pub fn infer_gradient(name: &str, inputs: &[&ArrayType], cell: CellKind) -> Result<Vec<ArrayType>, String> {
    let (given, rest) = inputs.split_at(4 + cell.remembered());
    let outputs = infer(name, given, cell)?;
    if !rest.iter().copied().eq(outputs.iter().chain(&outputs[..cell.remembered()])) {
        return Err(format!("{name}: {} where {} is expected", rest[0], outputs[0]));
    }
    Ok([0].into_iter().chain(2..given.len()).map(|i| given[i].clone()).collect())
}

/// The twin of the steps.
pub fn recurrent(b: &mut Build, cell: CellKind, inputs: &[Var]) -> Vec<Var> {
    let &[read, starts, kernel, bias, ref begin @ ..] = inputs else { unreachable!("checked") };
    let outputs = scan(b, &[kernel, bias], begin, &[read, starts], false, |b, captures, carry, xs| {
        let (after, mixed) = step(b, cell, captures, carry, xs);
        let results = [&after[..], &[mixed]].concat();
        (after, results)
    });
    outputs[begin.len()..].to_vec()
}

/// What is remembered after a step, and what it mixed.
fn step(b: &mut Build, cell: CellKind, weights: &[Var], carry: &[Var], xs: &[Var]) -> (Vec<Var>, Var) {
    let carry: Vec<Var> = carry.iter().map(|&carry| unless(b, xs[1], carry)).collect();
    let product = dot(b, carry[0], weights[0], 1, 0);
    let shape = b.array_type(product).shape;
    let bias = b.broadcast(weights[1], &shape, &[1]);
    let mixed = b.add(product, bias);
    let gates = gates(b, cell, xs[0], mixed);
    let after = match cell {
        CellKind::Gru => {
            let [_, update, proposal] = gates[..] else { unreachable!("three gates") };
            let (kept, new) = (b.mul(update, carry[0]), rest(b, update));
            let new = b.mul(new, proposal);
            vec![b.add(kept, new)]
        }
        CellKind::Lstm => {
            let [input, forget, candidate, output] = gates[..] else { unreachable!("four gates") };
            let (kept, new) = (b.mul(forget, carry[1]), b.mul(input, candidate));
            let memory = b.add(kept, new);
            let shown = b.unary(Unary::Tanh, memory);
            vec![b.mul(output, shown), memory]
        }
    };
    (after, mixed)
}

/// `x` of some rows `[.., H]`, or zeros where the flag of a row is set.
fn unless(b: &mut Build, flags: Var, x: Var) -> Var {
    let shape = b.array_type(x).shape;
    let axes: Vec<usize> = (0..shape.len() - 1).collect();
    let (flags, zero) = (b.broadcast(flags, &shape, &axes), b.full_like(x, 0.0));
    b.select(flags, zero, x)
}

/// Gate `i` of `x` `[.., G x H]`.
fn gate(b: &mut Build, cell: CellKind, x: Var, i: usize) -> Var {
    let shape = b.array_type(x).shape;
    let units = shape[shape.len() - 1] / cell.gates();
    b.slice_axis(x, shape.len() - 1, i * units..(i + 1) * units)
}

/// The open gates: reset, update and proposal of a GRU; input, forget, candidate and output of an LSTM. A new LSTM remembers: its
/// forget gate is open.
fn gates(b: &mut Build, cell: CellKind, read: Var, mixed: Var) -> Vec<Var> {
    let parts: Vec<[Var; 2]> =
        (0..cell.gates()).map(|i| [gate(b, cell, read, i), gate(b, cell, mixed, i)]).collect();
    let sums: Vec<Var> = parts.iter().map(|&[read, mixed]| b.add(read, mixed)).collect();
    match cell {
        CellKind::Gru => {
            let [reset, update] = [0, 1].map(|i| b.unary(Unary::Logistic, sums[i]));
            let heard = b.mul(reset, parts[2][1]);
            let proposal = b.add(parts[2][0], heard);
            vec![reset, update, b.unary(Unary::Tanh, proposal)]
        }
        CellKind::Lstm => {
            let one = b.full_like(sums[1], 1.0);
            let forget = b.add(sums[1], one);
            let [input, forget, output] = [sums[0], forget, sums[3]].map(|sum| b.unary(Unary::Logistic, sum));
            vec![input, forget, b.unary(Unary::Tanh, sums[2]), output]
        }
    }
}

/// `1 - x`
fn rest(b: &mut Build, x: Var) -> Var {
    let one = b.full_like(x, 1.0);
    b.sub(one, x)
}

/// The derivative of the sigmoid that had the result `y`.
fn slope(b: &mut Build, y: Var) -> Var {
    let rest = rest(b, y);
    b.mul(y, rest)
}

/// The derivative of the hyperbolic tangent that had the result `y`.
fn slope_of_tanh(b: &mut Build, y: Var) -> Var {
    let square = b.mul(y, y);
    rest(b, square)
}

/// The twin of the gradient.
pub fn gradient(b: &mut Build, cell: CellKind, inputs: &[Var]) -> Vec<Var> {
    let remembered = cell.remembered();
    let (given, arrays) = inputs.split_at(4 + remembered);
    let &[read, starts, kernel, _, ref begin @ ..] = given else { unreachable!("checked") };
    let (outputs, rest) = arrays.split_at(remembered);
    let (mixed, cotangents) = (rest[0], &rest[1..]);
    let sizes = sizes(&b.array_type(read), cell).expect("checked");
    let before: Vec<Var> = begin
        .iter()
        .zip(outputs)
        .map(|(&begin, &outputs)| {
            let first = b.reshape(begin, &[1, sizes.rows, sizes.units]);
            let others = b.slice_axis(outputs, 0, 0..sizes.steps - 1);
            let before = b.one(Op::Concatenate { axis: 0 }, &[first, others]);
            unless(b, starts, before)
        })
        .collect();
    let gates = gates(b, cell, read, mixed);
    let factors = match cell {
        CellKind::Gru => {
            let heard = gate(b, cell, mixed, 2);
            gru_factors(b, &gates, before[0], heard)
        }
        CellKind::Lstm => lstm_factors(b, &gates, before[1], outputs[1]),
    };
    let zero = b.full_like(begin[0], 0.0);
    let xs = [&[starts], cotangents, &factors].concat();
    let results = scan(b, &[kernel], &vec![zero; remembered], &xs, true, |b, captures, carry, xs| {
        let (cotangents, factors) = xs[1..].split_at(remembered);
        let g: Vec<Var> = carry.iter().zip(cotangents).map(|(&carry, &g)| b.add(carry, g)).collect();
        let (mut before, of_mixed, of_read) = match cell {
            CellKind::Gru => gru_back(b, g[0], factors),
            CellKind::Lstm => lstm_back(b, [g[0], g[1]], factors),
        };
        let through = dot(b, of_mixed, captures[0], 1, 1);
        before[0] = Some(before[0].map_or(through, |direct| b.add(direct, through)));
        let before = before.into_iter().flatten().map(|before| unless(b, xs[0], before)).collect();
        (before, vec![of_mixed, of_read])
    });
    let (of_begin, of_steps) = results.split_at(remembered);
    let rows = sizes.steps * sizes.rows;
    let flat = |b: &mut Build, x: Var, width: usize| b.reshape(x, &[rows, width]);
    let (before, of_mixed) = (flat(b, before[0], sizes.units), flat(b, of_steps[0], sizes.columns));
    let of_kernel = dot(b, before, of_mixed, 0, 0);
    let of_bias = b.reduce(Reduction::Sum, of_mixed, &[0]);
    [&[of_steps[1], of_kernel, of_bias], of_begin].concat()
}

/// What a cotangent is multiplied with on its way back through a step: that of a GRU's output to get those of the proposal and
/// of the update, that of the proposal to get those of the reset and of what was mixed into it; and the update gate.
fn gru_factors(b: &mut Build, gates: &[Var], hidden: Var, mixed: Var) -> Vec<Var> {
    let [reset, update, proposal] = gates[..] else { unreachable!("three gates") };
    let (new, bend) = (rest(b, update), slope_of_tanh(b, proposal));
    let of_proposal = b.mul(new, bend);
    let (change, bend) = (b.sub(hidden, proposal), slope(b, update));
    let of_update = b.mul(change, bend);
    let bend = slope(b, reset);
    let of_reset = b.mul(mixed, bend);
    vec![of_proposal, of_update, of_reset, reset, update]
}

/// The cotangents of what was remembered (but for the way through what was mixed), of what was mixed and of what was read.
fn gru_back(b: &mut Build, g: Var, factors: &[Var]) -> (Vec<Option<Var>>, Var, Var) {
    let [of_proposal, of_update, of_reset, reset, update] = factors[..] else { unreachable!("five factors") };
    let (proposal, of_update) = (b.mul(g, of_proposal), b.mul(g, of_update));
    let (of_reset, of_mixed) = (b.mul(proposal, of_reset), b.mul(proposal, reset));
    let beside = Op::Concatenate { axis: 1 };
    let mixed = b.one(beside.clone(), &[of_reset, of_update, of_mixed]);
    let read = b.one(beside, &[of_reset, of_update, proposal]);
    (vec![Some(b.mul(g, update))], mixed, read)
}

/// The factors of an LSTM: from its output to the memory and to the output gate, from the memory to the other gates and to the
/// memory before.
fn lstm_factors(b: &mut Build, gates: &[Var], old: Var, new: Var) -> Vec<Var> {
    let [input, forget, candidate, output] = gates[..] else { unreachable!("four gates") };
    let shown = b.unary(Unary::Tanh, new);
    let bend = slope_of_tanh(b, shown);
    let of_memory = b.mul(output, bend);
    let bends = [slope(b, output), slope(b, input), slope(b, forget), slope_of_tanh(b, candidate)];
    let of_output = b.mul(shown, bends[0]);
    let of_input = b.mul(candidate, bends[1]);
    let of_forget = b.mul(old, bends[2]);
    let of_candidate = b.mul(input, bends[3]);
    vec![of_memory, of_output, of_input, of_forget, of_candidate, forget]
}

/// As [`gru_back`]; the output has no other way back.
fn lstm_back(b: &mut Build, [hidden, memory]: [Var; 2], factors: &[Var]) -> (Vec<Option<Var>>, Var, Var) {
    let [of_memory, of_output, of_input, of_forget, of_candidate, forget] = factors[..] else {
        unreachable!("six factors")
    };
    let through = b.mul(hidden, of_memory);
    let memory = b.add(memory, through);
    let [input, forgotten, candidate, before] =
        [of_input, of_forget, of_candidate, forget].map(|factor| b.mul(memory, factor));
    let output = b.mul(hidden, of_output);
    let gates = b.one(Op::Concatenate { axis: 1 }, &[input, forgotten, candidate, output]);
    (vec![None, Some(before)], gates, gates)
}

/// `body` maps (captures, carry, an entry of each of the `xs`) to (carry, results). Returns the last carry and all results.
fn scan(
    b: &mut Build,
    captures: &[Var],
    carry: &[Var],
    xs: &[Var],
    reverse: bool,
    body: impl FnOnce(&mut Build, &[Var], &[Var], &[Var]) -> (Vec<Var>, Vec<Var>),
) -> Vec<Var> {
    let length = b.array_type(xs[0]).shape[0];
    let shape_of_entry = |b: &Build, x: Var| b.array_type(x).shape[1..].to_vec();
    if length == 1 {
        // A loop of one step is no loop.
        let entry = |&x: &Var| {
            let shape = shape_of_entry(b, x);
            b.reshape(x, &shape)
        };
        let entries: Vec<Var> = xs.iter().map(entry).collect();
        let (after, results) = body(b, captures, carry, &entries);
        let as_steps = |result: Var| {
            let shape = [&[1], &b.array_type(result).shape[..]].concat();
            b.reshape(result, &shape)
        };
        return after.into_iter().chain(results.into_iter().map(as_steps).collect::<Vec<_>>()).collect();
    }
    let mut graph = Graph::new();
    let whole = [captures, carry].concat().into_iter().map(|x| b.array_type(x));
    let entry = |&x: &Var| ArrayType::new(b.array_type(x).dtype, shape_of_entry(b, x));
    let types: Vec<ArrayType> = whole.chain(xs.iter().map(entry)).collect();
    let inputs: Vec<Var> = types.into_iter().map(|array_type| graph.input(array_type)).collect();
    let (of_captures, rest) = inputs.split_at(captures.len());
    let (of_carry, of_xs) = rest.split_at(carry.len());
    let (after, results) = body(&mut Build::new(&mut graph, b.location), of_captures, of_carry, of_xs);
    graph.outputs = [after, results].concat();
    let op =
        Op::Scan { body: Arc::new(graph), captures: captures.len(), carry: carry.len(), length, reverse };
    b.many(op, &[captures, carry, xs].concat())
}
