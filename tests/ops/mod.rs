//! The numeric tests of the compiler: one table of cases ([`cases`]), and what must hold for each.

mod cases;
mod device;
mod gradients;
mod precision;
mod vmap;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Binary, Comparison, Graph, Kernel, Op, Reduction, ScatterKind, Unary, Var, check};

use cases::{Case, cases};

/// All names of ops. A new op stops this from compiling until it is named here and has a case.
fn every_op() -> BTreeSet<String> {
    match Op::ReplicaId {
        Op::Constant(_)
        | Op::Iota { .. }
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert(_)
        | Op::Bitcast(_)
        | Op::StopGradient
        | Op::Threefry
        | Op::Broadcast { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Slice { .. }
        | Op::Pad { .. }
        | Op::Concatenate { .. }
        | Op::Reverse { .. }
        | Op::Dot { .. }
        | Op::Conv { .. }
        | Op::Kernel(_)
        | Op::Reduce { .. }
        | Op::DynamicSlice { .. }
        | Op::DynamicUpdateSlice
        | Op::Gather { .. }
        | Op::Scatter { .. }
        | Op::While { .. }
        | Op::Cond { .. }
        | Op::Scan { .. }
        | Op::Rare { .. }
        | Op::Barrier
        | Op::AllReduce
        | Op::ReplicaId => {}
    }
    let single = "constant iota select stop_gradient threefry2x32 broadcast reshape transpose slice pad \
        concatenate reverse dot conv2d dynamic_slice dynamic_update_slice gather while_loop cond scan rare barrier \
        all_reduce replica_id";
    let mut names: BTreeSet<String> = single.split_whitespace().map(String::from).collect();
    let scatter = [ScatterKind::Set, ScatterKind::Add].map(|kind| Op::Scatter { axis: 0, kind });
    names.extend(scatter.iter().map(Op::name));
    names.extend(Unary::ALL.map(|op| Op::Unary(op).name()));
    names.extend(Binary::ALL.map(|op| Op::Binary(op).name()));
    names.extend(Comparison::ALL.map(|op| Op::Compare(op).name()));
    names.extend(Reduction::ALL.map(|kind| Op::Reduce { kind, axes: vec![] }.name()));
    names.extend(Kernel::ALL.map(|kernel| Op::Kernel(kernel).name()));
    names.extend(DType::ALL.map(|dtype| Op::Convert(dtype).name()));
    names.extend(DType::ALL.into_iter().filter(|d| *d != DType::Bool).map(|d| Op::Bitcast(d).name()));
    names
}

fn op_names(graph: &Graph, names: &mut BTreeSet<String>) {
    for equation in &graph.equations {
        names.insert(equation.op.name());
        equation.op.bodies().into_iter().for_each(|body| op_names(body, names));
    }
}

#[test]
fn the_table_covers_every_op() {
    let mut names = BTreeSet::new();
    cases().iter().for_each(|case| op_names(&case.graph, &mut names));
    assert_eq!(names, every_op());
}

#[test]
fn every_case_runs_on_the_oracle() {
    for_each(&cases(), |case| {
        check(&case.graph).unwrap_or_else(|message| panic!("{}: {message}", case.name));
        let outputs = interpret(&case.graph, &case.sample(1));
        let types: Vec<ArrayType> = outputs.iter().map(HostArray::array_type).collect();
        assert_eq!(types, case.graph.output_types(), "{}", case.name);
    });
}

/// `jax.random.split` with its partitionable threefry: key `i` is the encrypted block (0, i).
#[test]
fn threefry_gives_the_keys_of_jax() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../data/jax_random.json")).expect("valid JSON");
    let word = |value: &serde_json::Value| value.as_u64().unwrap() as u32;
    let location = Location::caller();
    for seed in recorded["seeds"].as_array().unwrap() {
        for keys in seed["split"].as_array().unwrap().iter().map(|keys| keys.as_array().unwrap()) {
            let count = keys.len();
            let fill = |word: u32| HostArray::new(&[count], vec![word; count]);
            let numbers = HostArray::new(&[count], (0..count as u32).collect());
            let inputs = [fill(word(&seed["key"][0])), fill(word(&seed["key"][1])), fill(0), numbers];
            let mut graph = Graph::new();
            let vars: Vec<Var> = inputs.iter().map(|x| graph.input(x.array_type())).collect();
            graph.outputs = graph.push(Op::Threefry, &vars, location).unwrap();
            let expected =
                [0, 1].map(|i| HostArray::new(&[count], keys.iter().map(|key| word(&key[i])).collect()));
            assert_eq!(interpret(&graph, &inputs), expected);
        }
    }
}

/// Runs `check` for every case, also after one has failed, and lists those that did.
fn for_each(cases: &[Case], check: impl Fn(&Case)) {
    let fails = |case: &&Case| catch_unwind(AssertUnwindSafe(|| check(case))).is_err();
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| case.name.as_str()).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

/// The cases, and the gradients of those that have one: what vmap and the device are tested with.
fn cases_and_gradients() -> Vec<Case> {
    let mut all = cases();
    let gradients: Vec<Case> = all.iter().filter_map(gradients::gradient_case).collect();
    all.extend(gradients);
    all
}

/// Compares an output of `name` with the oracle's: equal, or near if floats.
fn compare(name: &str, found: &HostArray, expected: &HostArray, tolerance: f64) {
    assert_eq!(found.array_type(), expected.array_type(), "{name}");
    if !found.dtype().is_float() {
        assert_eq!(found, expected, "{name}");
        return;
    }
    for (&a, &b) in found.to_f64().iter().zip(&expected.to_f64()) {
        let near = a == b || (a - b).abs() <= tolerance * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
        assert!(near, "{name}: {a} instead of {b} in\n{found:?} instead of\n{expected:?}");
    }
}
