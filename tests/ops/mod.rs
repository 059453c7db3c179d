//! The numeric tests of the compiler: one table of cases ([`cases`]), and what must hold for each.

mod cases;

use std::collections::BTreeSet;
use std::panic::Location;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Binary, Build, Comparison, Graph, Op, Reduction, ScatterKind, Unary, Var, check};
use lockstep::transforms::grad::value_and_grad;

use cases::{Case, Random, cases, from_f64};

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
        concatenate reverse dot dynamic_slice dynamic_update_slice gather while_loop cond scan rare barrier \
        all_reduce replica_id";
    let mut names: BTreeSet<String> = single.split_whitespace().map(String::from).collect();
    let scatter = [ScatterKind::Set, ScatterKind::Add].map(|kind| Op::Scatter { axis: 0, kind });
    names.extend(scatter.iter().map(Op::name));
    names.extend(Unary::ALL.map(|op| Op::Unary(op).name()));
    names.extend(Binary::ALL.map(|op| Op::Binary(op).name()));
    names.extend(Comparison::ALL.map(|op| Op::Compare(op).name()));
    names.extend(Reduction::ALL.map(|kind| Op::Reduce { kind, axes: vec![] }.name()));
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
    for case in cases() {
        check(&case.graph).unwrap_or_else(|message| panic!("{}: {message}", case.name));
        let outputs = interpret(&case.graph, &case.sample(1));
        let types: Vec<ArrayType> = outputs.iter().map(HostArray::array_type).collect();
        assert_eq!(types, case.graph.output_types(), "{}", case.name);
    }
}

#[test]
fn gradients_are_finite_differences() {
    let mut checked = 0;
    for case in cases().iter().filter(|case| case.smooth && in_f64(&case.input_types())) {
        for seed in 0..4 {
            compare_with_finite_difference(case, seed);
        }
        checked += 1;
    }
    assert!(checked > 60, "only {checked} cases were compared");
}

/// Gradients in the other float dtypes are near those in f64 only roughly; their graphs must be well formed.
#[test]
fn gradients_have_the_types_of_their_inputs() {
    for case in cases().iter().filter(|case| case.smooth && differentiable_by(&case.graph).contains(&true)) {
        let (graph, wrt) = gradient_graph(case);
        check(&graph).unwrap_or_else(|message| panic!("gradient of {}: {message}\n{graph}", case.name));
        let types: Vec<ArrayType> =
            case.input_types().into_iter().zip(&wrt).filter(|(_, wrt)| **wrt).map(|(t, _)| t).collect();
        assert_eq!(graph.output_types()[1..], types, "{}", case.name);
    }
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

fn in_f64(types: &[ArrayType]) -> bool {
    types.iter().any(|t| t.dtype == DType::F64)
        && types.iter().all(|t| t.dtype == DType::F64 || !t.dtype.is_float())
}

fn differentiable_by(graph: &Graph) -> Vec<bool> {
    graph.input_types().iter().map(|t| t.dtype.is_float()).collect()
}

/// The case with a loss as its only output: a weighted sum of its float outputs, and with the loss's gradients.
fn gradient_graph(case: &Case) -> (Graph, Vec<bool>) {
    let wrt = differentiable_by(&case.graph);
    let body = loss_graph(&case.graph);
    let mut graph = Graph::new();
    let inputs: Vec<Var> = case.input_types().into_iter().map(|t| graph.input(t)).collect();
    let (outputs, gradients) = value_and_grad(&mut graph, &body, &inputs, &wrt, Location::caller())
        .unwrap_or_else(|error| panic!("gradient of {}: {error}", case.name));
    graph.outputs = [outputs, gradients].concat();
    (graph, wrt)
}

/// `graph` with one output: the sum of all elements of its float outputs, each with a weight of its own.
fn loss_graph(graph: &Graph) -> Graph {
    let mut loss_graph = Graph::new();
    let inputs: Vec<Var> = graph.input_types().into_iter().map(|t| loss_graph.input(t)).collect();
    let outputs = loss_graph.inline(graph, &inputs);
    let mut random = Random(17);
    let mut b = Build::new(&mut loss_graph, Location::caller());
    let dtype = graph.input_types().iter().map(|t| t.dtype).find(|d| d.is_float()).unwrap_or(DType::F64);
    let mut loss = b.scalar(0.0, dtype);
    for y in outputs {
        let array_type = b.array_type(y);
        if !array_type.dtype.is_float() {
            continue;
        }
        let weights: Vec<f64> = (0..array_type.size()).map(|_| random.uniform(&(-1.0..1.0))).collect();
        let weights = b.one(Op::Constant(from_f64(&array_type, &weights)), &[]);
        let weighted = b.mul(y, weights);
        let sum = b.reduce(Reduction::Sum, weighted, &(0..array_type.rank()).collect::<Vec<_>>());
        let sum = b.convert(sum, dtype);
        loss = b.add(loss, sum);
    }
    loss_graph.outputs = vec![loss];
    loss_graph
}

/// Compares the slope of the loss in one random direction with what its gradients say.
fn compare_with_finite_difference(case: &Case, seed: u64) {
    let (graph, wrt) = gradient_graph(case);
    let x = case.sample(seed);
    let mut random = Random(1000 + seed);
    let direction: Vec<Vec<f64>> = x
        .iter()
        .map(|x| (0..x.array_type().size()).map(|_| random.uniform(&(-1.0..1.0))).collect())
        .collect();
    let outputs = interpret(&graph, &x);
    let gradients = outputs[1..].iter().flat_map(HostArray::to_f64);
    let wrt_direction = direction.iter().zip(&wrt).filter(|(_, wrt)| **wrt).flat_map(|(d, _)| d);
    let slope: f64 = gradients.zip(wrt_direction).map(|(g, d)| g * d).sum();

    let loss_at = |step: f64| -> f64 {
        let moved: Vec<HostArray> = (0..x.len())
            .map(|i| {
                if !wrt[i] {
                    return x[i].clone();
                }
                let numbers: Vec<f64> =
                    x[i].to_f64().iter().zip(&direction[i]).map(|(x, d)| x + step * d).collect();
                from_f64(&x[i].array_type(), &numbers)
            })
            .collect();
        interpret(&graph, &moved)[0].to_f64()[0]
    };
    let step = 1e-6;
    let difference = (loss_at(step) - loss_at(-step)) / (2.0 * step);
    assert!(
        (slope - difference).abs() <= 1e-7 * (1.0 + difference.abs()),
        "{} (seed {seed}): the gradient says {slope}, the finite difference {difference}\n{graph}",
        case.name
    );
}
