//! A scan as a while loop over a step number, the carry and the results so far.

use crate::array::{ArrayType, DType};
use crate::ir::{Build, Comparison, Graph, Location, Op, Var};

/// What a scan is made of; the fields are those of [`Op::Scan`].
pub struct Scan<'a> {
    pub body: &'a Graph,
    pub captures: usize,
    pub carry: usize,
    pub length: usize,
    pub reverse: bool,
    pub location: Location,
}

/// The condition and the body of the loop. The body's captures are those of the scan and its `xs`; the carry is
/// the step number (i32), the scan's carry and the results `[length, ...]`.
pub fn as_while(scan: &Scan, inputs: &[ArrayType], outputs: &[ArrayType]) -> (Graph, Graph) {
    let carry = &inputs[scan.captures..scan.captures + scan.carry];
    let results = &outputs[scan.carry..];
    let state: Vec<ArrayType> = [&[ArrayType::scalar(DType::I32)], carry, results].concat();
    (condition(scan, &state), body(scan, inputs, &state))
}

fn condition(scan: &Scan, state: &[ArrayType]) -> Graph {
    let mut graph = Graph::new();
    let inputs: Vec<Var> = state.iter().map(|array_type| graph.input(array_type.clone())).collect();
    let mut build = Build::new(&mut graph, scan.location);
    let length = build.scalar(scan.length as f64, DType::I32);
    graph.outputs = vec![Build::new(&mut graph, scan.location).compare(Comparison::Lt, inputs[0], length)];
    graph
}

fn body(scan: &Scan, inputs: &[ArrayType], state: &[ArrayType]) -> Graph {
    let mut graph = Graph::new();
    let mut input = |array_type: &ArrayType| graph.input(array_type.clone());
    let captures: Vec<Var> = inputs[..scan.captures].iter().map(&mut input).collect();
    let xs: Vec<Var> = inputs[scan.captures + scan.carry..].iter().map(&mut input).collect();
    let state: Vec<Var> = state.iter().map(&mut input).collect();
    let (count, rest) = state.split_first().expect("the step number");
    let (carry, results) = rest.split_at(scan.carry);
    let mut build = Build::new(&mut graph, scan.location);
    let step = if scan.reverse {
        let last = build.scalar(scan.length as f64 - 1.0, DType::I32);
        build.sub(last, *count)
    } else {
        *count
    };
    let entries: Vec<Var> = xs.iter().map(|&xs| entry(&mut build, xs, step)).collect();
    let after = build.graph.inline(scan.body, &[&captures, carry, &entries].concat());
    let one = build.scalar(1.0, DType::I32);
    let next = build.add(*count, one);
    let (carry, rows) = after.split_at(scan.carry);
    let stored: Vec<Var> = results
        .iter()
        .zip(rows)
        .map(|(&results, &row)| store_entry(&mut build, results, row, step))
        .collect();
    graph.outputs = [&[next], carry, &stored].concat();
    graph
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
