//! Gradients against finite differences of the oracle.

use std::panic::Location;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Build, Graph, Op, Reduction, Var, check};
use lockstep::transforms::grad::value_and_grad;

use super::cases::{Case, Random, cases, from_f64};

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

fn in_f64(types: &[ArrayType]) -> bool {
    types.iter().any(|t| t.dtype == DType::F64)
        && types.iter().all(|t| t.dtype == DType::F64 || !t.dtype.is_float())
}

fn differentiable_by(graph: &Graph) -> Vec<bool> {
    graph.input_types().iter().map(|t| t.dtype.is_float()).collect()
}

/// The gradient of a case as a case, if it has float inputs and is smooth.
pub fn gradient_case(case: &Case) -> Option<Case> {
    if !case.smooth || !differentiable_by(&case.graph).contains(&true) {
        return None;
    }
    Some(case.with_graph(format!("gradient of {}", case.name), gradient_graph(case).0))
}

/// A loss of the case, a weighted sum of its float outputs, and the gradients of the loss.
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
