//! Clusters of small graphs, by hand.

use std::sync::Arc;

use super::plan::MAX_EQUATIONS;
use super::*;
use crate::array::ArrayType;
use crate::ir::{Unary, check};
use crate::transforms::simplify::without_dead_equations;

/// What is written, clusters in brackets.
fn written(graph: &Graph) -> String {
    let clustered = cluster(&without_dead_equations(graph));
    check(&clustered).unwrap();
    let ops = clustered.equations.iter().map(|equation| match &equation.op {
        Op::Call { graph } => {
            let (inputs, outputs) = (graph.inputs.len(), graph.outputs.len() - 1);
            let names: Vec<String> = own_equations(graph).iter().map(|equation| equation.op.name()).collect();
            format!("[{}: {inputs} -> {outputs}]", names.join(" "))
        }
        op => op.name(),
    });
    ops.collect::<Vec<String>>().join(" ")
}

/// The equations of a function but for its checksum: a zero and, for each input (they are matrices), four.
fn own_equations(function: &Graph) -> &[Equation] {
    &function.equations[..function.equations.len() - 1 - 4 * function.inputs.len()]
}

/// The lengths of the clusters of a graph that has nothing else.
fn lengths(graph: &Graph) -> Vec<usize> {
    let clustered = cluster(graph);
    let length = |equation: &Equation| match &equation.op {
        Op::Call { graph } => own_equations(graph).len(),
        other => panic!("{} is in no cluster", other.name()),
    };
    clustered.equations.iter().map(length).collect()
}

fn graph(size: usize) -> (Graph, Var) {
    let mut graph = Graph::new();
    let x = graph.input(ArrayType::new(DType::F32, [size, size]));
    (graph, x)
}

fn location() -> crate::ir::Location {
    std::panic::Location::caller()
}

#[test]
fn small_equations_gather_around_a_matrix_product() {
    let (mut graph, x) = graph(8);
    let mut build = Build::new(&mut graph, location());
    let mut chain = |mut x: Var| {
        for _ in 0..4 {
            x = build.unary(Unary::Sin, x);
        }
        x
    };
    let before = chain(x);
    let contract = (vec![1], vec![0]);
    let aside = chain(x);
    let mut build = Build::new(&mut graph, location());
    let product = build.one(Op::Dot { batch: (vec![], vec![]), contract }, &[before, before]);
    let flat = build.reshape(product, &[64]);
    let wide = build.reshape(aside, &[64]);
    let mut sum = build.add(flat, wide);
    for _ in 0..3 {
        sum = build.unary(Unary::Cos, sum);
    }
    build.unary(Unary::Exp, sum); // nothing needs it
    graph.outputs = vec![sum, flat];
    let expected = "[sin sin sin sin sin sin sin sin: 1 -> 2] dot \
                    [reshape reshape add cos cos cos: 2 -> 1] reshape";
    assert_eq!(written(&graph), expected);
}

#[test]
fn what_is_heavy_waits_until_it_is_read_if_that_hands_over_no_more() {
    let (mut graph, z) = graph(32);
    let [x, y] = [(); 2].map(|()| graph.input(ArrayType::new(DType::I32, [32, 32])));
    let mut build = Build::new(&mut graph, location());
    // A sum of two arrays is less than both; what is made of it waits.
    let mut sum = build.add(x, y);
    for _ in 0..3 {
        sum = build.add(sum, sum);
    }
    let contract = (vec![1], vec![0]);
    let product = build.one(Op::Dot { batch: (vec![], vec![]), contract }, &[z, z]);
    let product = build.convert(product, DType::I32);
    let all = build.add(product, sum);
    graph.outputs = vec![build.add(all, all)];
    assert_eq!(written(&graph), "add dot [add add add convert_i32 add add: 2 -> 1]");
}

#[test]
fn what_is_large_or_too_little_stays_by_itself() {
    for (size, times, expected) in [(8, 3, "sin sin sin"), (80, 5, "sin sin sin sin sin")] {
        let (mut graph, mut x) = graph(size);
        for _ in 0..times {
            x = Build::new(&mut graph, location()).unary(Unary::Sin, x);
        }
        graph.outputs = vec![x];
        assert_eq!(written(&graph), expected);
    }
}

#[test]
fn what_reads_a_little_of_a_large_array_is_one_kernel() {
    for (rows, expected) in [(8, "gather"), (50_000, "[gather: 2 -> 1]")] {
        let mut graph = Graph::new();
        let table = graph.input(ArrayType::new(DType::F32, [rows, 4]));
        let places = graph.input(ArrayType::new(DType::I32, [16, 1]));
        let build = &mut Build::new(&mut graph, location());
        let chosen = build.reshape(places, &[16]);
        graph.outputs = vec![build.one(Op::Gather { axis: 0 }, &[table, chosen])];
        let written = written(&graph).replace("reshape ", "");
        assert_eq!(written, expected);
    }
}

#[test]
fn a_long_cluster_is_cut() {
    let (mut graph, mut x) = graph(2);
    for _ in 0..MAX_EQUATIONS + 10 {
        x = Build::new(&mut graph, location()).unary(Unary::Sin, x);
    }
    graph.outputs = vec![x];
    assert_eq!(lengths(&graph), [MAX_EQUATIONS, 10]);
}

#[test]
fn a_long_cluster_is_cut_where_little_is_handed_over() {
    let (mut graph, mut x) = graph(2);
    let mut build = Build::new(&mut graph, location());
    let narrow = MAX_EQUATIONS - 30;
    for _ in 0..narrow {
        x = build.unary(Unary::Sin, x);
    }
    let many: Vec<Var> = (0..50).map(|_| build.unary(Unary::Cos, x)).collect();
    graph.outputs = vec![many.into_iter().reduce(|sum, y| build.add(sum, y)).unwrap()];
    assert_eq!(lengths(&graph)[0], narrow);
}

#[test]
fn what_both_branches_know_is_read_by_no_cluster() {
    let (mut graph, x) = graph(8);
    let branch = |value: f64| {
        let (mut branch, x) = self::graph(8);
        let build = &mut Build::new(&mut branch, location());
        let contract = (vec![1], vec![0]);
        let product = build.one(Op::Dot { batch: (vec![], vec![]), contract }, &[x, x]);
        let known = build.full(&ArrayType::new(DType::F32, [8, 8]), value);
        let last = if value == 0.0 { build.unary(Unary::Sin, product) } else { known };
        branch.outputs = vec![known, last];
        Arc::new(branch)
    };
    let pred = graph.input(ArrayType::new(DType::Bool, []));
    let build = &mut Build::new(&mut graph, location());
    let outputs = build.many(Op::Cond { on_true: branch(0.0), on_false: branch(1.0) }, &[pred, x, x]);
    let read = |build: &mut Build, mut x: Var| {
        for _ in 0..4 {
            x = build.unary(Unary::Cos, x);
        }
        x
    };
    let results = [read(build, outputs[0]), read(build, outputs[1])];
    graph.outputs = results.to_vec();
    assert_eq!(written(&graph), "cond cos cos cos cos [cos cos cos cos: 1 -> 1]");
}
