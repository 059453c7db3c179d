//! Scans as while loops over a step number, the carry and the results so far.

use std::sync::Arc;

use crate::array::{ArrayType, DType};
use crate::ir::{Build, Comparison, Graph, Location, Op, Var};

/// What a scan is made of; the fields are those of [`Op::Scan`].
#[derive(Clone, Copy)]
pub struct Scan<'a> {
    pub body: &'a Graph,
    pub captures: usize,
    pub carry: usize,
    pub length: usize,
    pub reverse: bool,
    pub location: Location,
}

/// The graph with a while loop in the place of each scan, also in its bodies.
pub fn scans_as_loops(graph: &Graph) -> Graph {
    graph.rewritten(&mut |out, equation, inputs| match &equation.op {
        &Op::Scan { ref body, captures, carry, length, reverse } => {
            let scan = Scan { body, captures, carry, length, reverse, location: equation.location };
            scan.write(out, inputs, |cond, body| [cond, scans_as_loops(&body)])
        }
        _ => out.copy_with(equation, inputs, scans_as_loops),
    })
}

impl Scan<'_> {
    /// Writes the loop with what `finish` makes of its condition and its body; returns the outputs of the scan. The carry of
    /// the loop is the step number (i32), the scan's carry and the results `[length, ...]`; its body captures what the scan's
    /// does and its `xs`.
    pub fn write(
        &self,
        out: &mut Graph,
        inputs: &[Var],
        finish: impl FnOnce(Graph, Graph) -> [Graph; 2],
    ) -> Vec<Var> {
        let (captures, rest) = inputs.split_at(self.captures);
        let (carry, xs) = rest.split_at(self.carry);
        let mut build = Build::new(out, self.location);
        let start = build.scalar(0.0, DType::I32);
        let rows = self.body.output_types().split_off(self.carry);
        let results: Vec<Var> = rows
            .into_iter()
            .map(|row| build.full(&ArrayType::new(row.dtype, [&[self.length], &row.shape[..]].concat()), 0.0))
            .collect();
        if self.length == 0 {
            // The steps would read entries that no array has.
            return [carry, &results].concat();
        }
        let state = [&[start], carry, &results].concat();
        let types = |graph: &Graph, vars: &[Var]| -> Vec<ArrayType> {
            vars.iter().map(|&var| graph.array_type(var).clone()).collect()
        };
        let captured = [captures, xs].concat();
        let (of_captured, of_state) = (types(build.graph, &captured), types(build.graph, &state));
        let [cond, body] = finish(self.condition(&of_state), self.step(&of_captured, &of_state));
        let op = Op::While {
            cond: Arc::new(cond),
            body: Arc::new(body),
            cond_captures: 0,
            body_captures: captured.len(),
        };
        build.many(op, &[captured, state].concat()).split_off(1)
    }

    /// (state) -> whether there is another step
    fn condition(&self, state: &[ArrayType]) -> Graph {
        let mut graph = Graph::new();
        let inputs = append_inputs(&mut graph, state);
        let mut build = Build::new(&mut graph, self.location);
        let length = build.scalar(self.length as f64, DType::I32);
        let more = build.compare(Comparison::Lt, inputs[0], length);
        graph.outputs = vec![more];
        graph
    }

    /// (captures, xs, state) -> the next state
    fn step(&self, captured: &[ArrayType], state: &[ArrayType]) -> Graph {
        let mut graph = Graph::new();
        let captured = append_inputs(&mut graph, captured);
        let state = append_inputs(&mut graph, state);
        let (captures, xs) = captured.split_at(self.captures);
        let (count, rest) = state.split_first().expect("the step number");
        let (carry, results) = rest.split_at(self.carry);
        let mut build = Build::new(&mut graph, self.location);
        let step = if self.reverse {
            let last = build.scalar(self.length as f64 - 1.0, DType::I32);
            build.sub(last, *count)
        } else {
            *count
        };
        let entries: Vec<Var> = xs.iter().map(|&xs| entry(&mut build, xs, step)).collect();
        let after = build.graph.inline(self.body, &[captures, carry, &entries].concat());
        let one = build.scalar(1.0, DType::I32);
        let next = build.add(*count, one);
        let (carry, rows) = after.split_at(self.carry);
        let mut outputs = [&[next], carry].concat();
        for (&results, &row) in results.iter().zip(rows) {
            outputs.push(store_entry(&mut build, results, row, step));
        }
        graph.outputs = outputs;
        graph
    }
}

fn append_inputs(graph: &mut Graph, types: &[ArrayType]) -> Vec<Var> {
    types.iter().map(|array_type| graph.input(array_type.clone())).collect()
}

/// Entry `step` of axis 0 of `xs`.
fn entry(build: &mut Build, xs: Var, step: Var) -> Var {
    let shape = build.array_type(xs).shape;
    let sizes = [&[1], &shape[1..]].concat();
    let starts = starts(build, step, shape.len());
    let row = build.one(Op::DynamicSlice { sizes }, &[&[xs][..], &starts].concat());
    build.one(Op::Reshape { shape: shape[1..].to_vec() }, &[row])
}

/// `all` with entry `step` of axis 0 replaced by `row`.
fn store_entry(build: &mut Build, all: Var, row: Var, step: Var) -> Var {
    let shape = build.array_type(all).shape;
    let row = build.one(Op::Reshape { shape: [&[1], &shape[1..]].concat() }, &[row]);
    let starts = starts(build, step, shape.len());
    build.one(Op::DynamicUpdateSlice, &[&[all, row][..], &starts].concat())
}

/// Where an entry of axis 0 starts: at `step`, and at 0 in the other axes.
fn starts(build: &mut Build, step: Var, rank: usize) -> Vec<Var> {
    let zero = build.scalar(0.0, DType::I32);
    (0..rank).map(|axis| if axis == 0 { step } else { zero }).collect()
}
