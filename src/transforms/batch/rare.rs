//! A branch that few examples take: it runs on the rows that need it, a group of fixed width at a time.
//!
//! How many groups there are is known on the device only, so the groups are a loop: count the set rows, gather the next
//! `width` of them, run the body on these, and spread the results to where the rows came from. Its cost follows
//! the number of set rows; if none is set, nothing runs.

use std::sync::Arc;

use super::control::select_examples;
use super::dependence::rare_operand;
use super::{Batched, Batching, Placement, Rule, pair};
use crate::array::{ArrayType, DType};
use crate::ir::{Binary, Build, Comparison, Graph, Kernel, Op, Reduction, Unary, Var};

/// A batched `rare` works on groups of this fraction of the batch.
const RARE_GROUPS: usize = 32;
/// From so many examples, and arrays or numbers of each, on, the results of a group are put back by a native kernel: below, the
/// whole loop is one kernel of XLA.
const NATIVE_BATCH: usize = 512;
const NATIVE_ARRAYS: usize = 12;
const NATIVE_NUMBERS: usize = 100;
/// Numbers of all examples from which on that loop is many kernels in any case.
const NATIVE_SIZE: usize = 1 << 16;

impl Batching {
    /// How many examples the batched [`Op::Rare`] works on at once.
    pub(super) fn group_width(self) -> usize {
        (self.size / RARE_GROUPS).max(1)
    }

    /// The examples `indices` (i32, a vector) of `x`. For examples on the last axis the elements are taken one by one from
    /// the flattened array: a gather of whole columns would be followed by a transposition.
    pub(super) fn take_rows(self, build: &mut Build, x: Var, indices: Var) -> Var {
        let shape = build.array_type(x).shape;
        let axis = self.position(shape.len() - 1);
        if self.placement == Placement::First || shape.len() == 1 {
            return build.gather(x, indices, axis);
        }
        let (rows, elements): (usize, usize) = (shape[axis], shape[..axis].iter().product());
        let width = build.array_type(indices).shape[0];
        if elements == 0 {
            return build.reshape(x, &[&shape[..axis], &[width]].concat()); // of nothing, nothing is taken
        }
        let flat = build.reshape(x, &[elements * rows]);
        let element = build.iota(DType::I32, &[elements, width], 0);
        let stride = build.full_like(element, rows as f64);
        let start = build.mul(element, stride);
        let row = build.broadcast(indices, &[elements, width], &[1]);
        let limit = build.full_like(row, rows as f64 - 1.0);
        let zero = build.full_like(row, 0.0);
        let row = build.binary(Binary::Min, row, limit);
        let row = build.binary(Binary::Max, row, zero);
        let place = build.add(start, row);
        let taken = build.gather(flat, place, 0);
        build.reshape(taken, &[&shape[..axis], &[width]].concat())
    }
}

impl Rule<'_> {
    pub(super) fn rare(&mut self, body: &Graph, captures: usize, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let operand = rare_operand(body, captures, &flags);
        if inputs[0].batched && !batching.groups && !has_loops(body) {
            return self.rare_select(body, captures, inputs);
        }
        if inputs[0].batched {
            let changed: Vec<bool> = body
                .outputs
                .iter()
                .zip(&body.inputs[captures..])
                .map(|(output, input)| output != input)
                .collect();
            return self.rare_rows(body, captures, &changed, inputs);
        }
        let vars: Vec<Var> = inputs
            .iter()
            .enumerate()
            .map(|(i, &input)| {
                let forced = i > captures && operand[i - 1 - captures];
                if forced { self.force(input) } else { input.var }
            })
            .collect();
        let body_flags = [&flags[1..1 + captures], &operand].concat();
        let graph = batching.graph(body, &body_flags, &operand, self.equation.location);
        pair(self.build.many(Op::Rare { body: Arc::new(graph), captures }, &vars), &operand)
    }

    /// The operand after `body` has run where the predicate holds: it runs on all rows, and each takes its choice.
    fn rare_select(&mut self, body: &Graph, captures: usize, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let pred = inputs[0].var;
        let results = batching.apply(self.build.graph, body, &inputs[1..]);
        let choice = |(&operand, result): (&Batched, Batched)| {
            if operand.var == result.var {
                return operand;
            }
            let (after, before) = (self.force(result), self.force(operand));
            let location = self.equation.location;
            let var = select_examples(self.build.graph, batching, pred, after, before, location);
            Batched { var, batched: true }
        };
        inputs[1 + captures..].iter().zip(results).map(choice).collect()
    }

    /// The operand after `body` has run where the predicate, the first of `inputs`, holds: in a loop over groups of
    /// these rows. Only the operand's `changed` leaves are written back.
    pub(super) fn rare_rows(
        &mut self,
        body: &Graph,
        captures: usize,
        changed: &[bool],
        inputs: &[Batched],
    ) -> Vec<Batched> {
        // Leaves that stay are read like captures, if at all. The order is: captures, leaves that stay, leaves that change.
        let operands = &inputs[1 + captures..];
        let order: Vec<usize> = [false, true]
            .into_iter()
            .flat_map(|change| (0..operands.len()).filter(move |&i| changed[i] == change))
            .collect();
        let staying = changed.iter().filter(|&&changed| !changed).count();
        let mut graph = body.clone();
        graph.inputs = body.inputs[..captures].to_vec();
        graph.inputs.extend(order.iter().map(|&i| body.inputs[captures + i]));
        graph.outputs = order[staying..].iter().map(|&i| body.outputs[i]).collect();
        let reads = inputs[1..1 + captures].iter().chain(order[..staying].iter().map(|&i| &operands[i]));
        let (read, reads): (Vec<Var>, Vec<Batched>) =
            graph.inputs.iter().copied().zip(reads.copied()).filter(|(input, _)| graph.reads(*input)).unzip();
        graph.inputs = [&read, &graph.inputs[captures + staying..]].concat();
        let writes: Vec<Var> = order[staying..].iter().map(|&i| self.force(operands[i])).collect();
        let written = self.rare_groups(&graph, inputs[0].var, &reads, &writes);
        let mut outputs = operands.to_vec();
        for (&i, var) in order[staying..].iter().zip(written) {
            outputs[i] = Batched { var, batched: true };
        }
        outputs
    }

    /// `body` maps (reads, writes) to new writes. A loop while rows are pending: each time it takes the first `width` of them.
    /// If no row is set, nothing is copied or counted.
    fn rare_groups(&mut self, body: &Graph, pred: Var, reads: &[Batched], writes: &[Var]) -> Vec<Var> {
        let location = self.equation.location;
        let batching = self.batching;
        let width = batching.group_width();
        let flags: Vec<bool> = reads.iter().map(|read| read.batched).collect();
        let all = vec![true; writes.len()];
        let group = Batching { size: width, ..batching };
        let group_body = group.graph(body, &[&flags[..], &all[..]].concat(), &all, location);

        let read_vars: Vec<Var> = reads.iter().map(|read| read.var).collect();
        let inputs = [&read_vars[..], &[pred], writes].concat();
        let types: Vec<ArrayType> = inputs.iter().map(|&var| self.build.array_type(var)).collect();
        let carry = &types[reads.len()..];

        let mut go_on = Graph::new();
        let pending = carry.iter().map(|t| go_on.input(t.clone())).collect::<Vec<Var>>()[0];
        go_on.outputs = vec![Build::new(&mut go_on, location).reduce(Reduction::Or, pending, &[0])];

        let mut step = Graph::new();
        let vars: Vec<Var> = types.iter().map(|t| step.input(t.clone())).collect();
        let (reads_in, carry_in) = vars.split_at(reads.len());
        let (pending, writes_in) = (carry_in[0], &carry_in[1..]);
        let mut build = Build::new(&mut step, location);
        let ranks = inclusive_counts(&mut build, pending);
        let indices = first_rows(&mut build, ranks, width);
        let of_examples = reads_in.iter().zip(&flags).filter(|(_, batched)| **batched).map(|(&read, _)| read);
        let taken: Vec<Var> = of_examples.chain(writes_in.iter().copied()).collect();
        let mut taken = self.take_group(&mut build, &taken, indices).into_iter();
        let mut next = || taken.next().expect("each was taken");
        let mut group_inputs: Vec<Var> = reads_in
            .iter()
            .zip(&flags)
            .map(|(&read, &batched)| if batched { next() } else { read })
            .collect();
        group_inputs.extend(writes_in.iter().map(|_| next()));
        let results = build.graph.inline(&group_body, &group_inputs);
        let (position, in_group) = positions_in_group(&mut build, pending, ranks, width);
        let later = build.unary(Unary::Not, in_group);
        let mut outputs = vec![build.binary(Binary::And, pending, later)];
        outputs.extend(self.put_back(&mut build, in_group, position, writes_in, &results));
        step.outputs = outputs;
        let (cond, body) = (Arc::new(go_on), Arc::new(step));
        let op = Op::While { cond, body, cond_captures: 0, body_captures: reads.len() };
        self.build.many(op, &inputs)[1..].to_vec()
    }

    /// The examples `indices` (i32, a vector) of arrays.
    fn take_group(&self, build: &mut Build, arrays: &[Var], indices: Var) -> Vec<Var> {
        if self.is_native(build, arrays) {
            let op = Op::Kernel(Kernel::TakeColumns { arrays: arrays.len() });
            return build.many(op, &[&[indices], arrays].concat());
        }
        arrays.iter().map(|&array| self.batching.take_rows(build, array, indices)).collect()
    }

    /// Whether the columns of these arrays are moved by a native kernel.
    fn is_native(&self, build: &mut Build, arrays: &[Var]) -> bool {
        let Batching { placement, size, .. } = self.batching;
        let numbers: usize = arrays.iter().map(|&var| build.array_type(var).size() / size).sum();
        let many = arrays.len() >= NATIVE_ARRAYS || numbers >= NATIVE_NUMBERS;
        placement == Placement::Last && (size >= NATIVE_BATCH && many || numbers * size >= NATIVE_SIZE)
    }

    /// The arrays `before`, but with the rows that are in the group as the group's `results` say, each at its position there.
    fn put_back(
        &self,
        build: &mut Build,
        in_group: Var,
        position: Var,
        before: &[Var],
        results: &[Var],
    ) -> Vec<Var> {
        let (batching, location) = (self.batching, self.equation.location);
        let arrays = before.len();
        if self.is_native(build, before) {
            let inputs = [&[in_group, position], before, results].concat();
            return build.many(Op::Kernel(Kernel::PutBack { arrays }), &inputs);
        }
        let one = |(&before, &result): (&Var, &Var)| {
            let spread = batching.take_rows(build, result, position);
            select_examples(build.graph, batching, in_group, spread, before, location)
        };
        before.iter().zip(results).map(one).collect()
    }
}

/// For a bool vector: how many are set up to and including each place, as i32.
///
/// The flags are packed into words of 64, whose bits are counted: inside the loops of an environment, twice as fast as
/// [`Build::cumsum`].
fn inclusive_counts(build: &mut Build, flags: Var) -> Var {
    let size = build.array_type(flags).shape[0];
    let words = size.div_ceil(64);
    let shape = [words, 64];
    let padded = build.pad_axis(flags, 0, 0, words * 64 - size);
    let bits = build.reshape(padded, &shape);
    let bits = build.convert(bits, DType::U64);
    let place = build.iota(DType::U64, &shape, 1);
    let bits = build.binary(Binary::ShiftLeft, bits, place);
    let word = build.reduce(Reduction::Sum, bits, &[1]);

    // Within a word: the bits up to and including the place.
    let two = build.full_like(place, 2.0);
    let one = build.full_like(place, 1.0);
    let above = build.binary(Binary::ShiftLeft, two, place);
    let up_to = build.sub(above, one);
    let words_of = build.broadcast(word, &shape, &[0]);
    let masked = build.binary(Binary::And, words_of, up_to);
    let inside = build.unary(Unary::PopulationCount, masked);
    let inside = build.convert(inside, DType::I32);

    // Before the word: all bits of the words before it.
    let pairs = [words, words];
    let (own, other) = (build.iota(DType::I32, &pairs, 0), build.iota(DType::I32, &pairs, 1));
    let earlier = build.compare(Comparison::Lt, other, own);
    let counts = build.unary(Unary::PopulationCount, word);
    let counts = build.convert(counts, DType::I32);
    let counts = build.broadcast(counts, &pairs, &[1]);
    let none = build.full_like(counts, 0.0);
    let counts = build.select(earlier, counts, none);
    let before = build.reduce(Reduction::Sum, counts, &[1]);
    let before = build.broadcast(before, &shape, &[0]);

    let all = build.add(before, inside);
    let all = build.reshape(all, &[words * 64]);
    build.slice_axis(all, 0, 0..size)
}

/// The indices of the first `width` set rows (past the last: some valid index), by binary search in the counts.
fn first_rows(build: &mut Build, ranks: Var, width: usize) -> Var {
    let rows = build.array_type(ranks).shape[0];
    let ordinal = build.iota(DType::I32, &[width], 0);
    // The row with rank k + 1 is preceded by exactly the rows with rank at most k.
    let mut before = build.full_like(ordinal, 0.0);
    let mut step = rows.next_power_of_two();
    while step > 0 {
        let offset = build.full_like(before, step as f64 - 1.0);
        let last = build.add(before, offset);
        let rank = build.gather(ranks, last, 0);
        let skip = build.compare(Comparison::Le, rank, ordinal);
        let amount = build.full_like(before, step as f64);
        let further = build.add(before, amount);
        before = build.select(skip, further, before);
        step /= 2;
    }
    before
}

/// For every row: its place in the group of the first `width` set rows, and whether it is in it.
fn positions_in_group(build: &mut Build, pending: Var, ranks: Var, width: usize) -> (Var, Var) {
    let one = build.full_like(ranks, 1.0);
    let position = build.sub(ranks, one);
    let width = build.full_like(position, width as f64);
    let before_end = build.compare(Comparison::Lt, position, width);
    (position, build.binary(Binary::And, before_end, pending))
}

/// Whether a loop is in the graph or in a body of its equations.
fn has_loops(graph: &Graph) -> bool {
    let is_loop = |op: &Op| matches!(op, Op::While { .. } | Op::Scan { .. });
    graph
        .equations
        .iter()
        .any(|equation| is_loop(&equation.op) || equation.op.bodies().into_iter().any(has_loops))
}
