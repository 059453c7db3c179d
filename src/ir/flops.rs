//! How much arithmetic the products of a graph are: what its time is compared with, since most of the work of a network is
//! products, and a machine's rate for them is known.
//!
//! A multiplication and an addition count as two operations. Everything else counts as nothing, a product of a mostly sparse matrix
//! as much as one of a full matrix.

use super::{Equation, Graph, Op, Window, array_op};

/// Floating-point operations of the matrix products and convolutions of a graph. The body of a loop counts as often as it runs if
/// that is fixed (`Scan`) and once if it is not (`While`); of two branches the larger one counts.
pub fn flops(graph: &Graph) -> u64 {
    graph.equations.iter().map(|equation| of(graph, equation)).sum()
}

fn of(graph: &Graph, equation: &Equation) -> u64 {
    match &equation.op {
        array_op!() => of_arrays(graph, equation),
        Op::Kernel(kernel) => {
            let inputs: Vec<_> = equation.inputs.iter().map(|&var| graph.array_type(var).clone()).collect();
            flops(&kernel.twin(&inputs, equation.location))
        }
        Op::Scan { body, length, .. } => *length as u64 * flops(body),
        Op::While { cond, body, .. } => flops(cond) + flops(body),
        Op::Cond { on_true, on_false } => flops(on_true).max(flops(on_false)),
        Op::Rare { body, .. } | Op::Call { graph: body } => flops(body),
        Op::StopGradient | Op::Native(_) | Op::Barrier | Op::AllReduce | Op::ReplicaId => 0,
    }
}

fn of_arrays(graph: &Graph, equation: &Equation) -> u64 {
    let shape = |input: usize| &graph.array_type(equation.inputs[input]).shape[..];
    match &equation.op {
        Op::Dot { contract, .. } => {
            let terms: usize = contract.0.iter().map(|&axis| shape(0)[axis]).product();
            let results = graph.array_type(equation.outputs[0]).size();
            2 * (results * terms) as u64
        }
        Op::Conv { windows } => {
            let (images, kernel) = (shape(0), shape(1));
            let [high, wide] = [0, 1].map(|axis| terms(windows[axis], images[1 + axis], kernel[axis]));
            2 * high * wide * (images[0] * kernel[2] * kernel[3]) as u64
        }
        _ => 0,
    }
}

/// How many elements of the images all outputs along an axis read, zeros around and between them not counted.
fn terms(window: Window, size: usize, taps: usize) -> u64 {
    let reads = |i: usize| (0..taps).filter(|&tap| window.source(i, tap, size).is_some()).count() as u64;
    (0..window.outputs(size, taps)).map(reads).sum()
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::Arc;

    use super::*;
    use crate::array::{ArrayType, DType};
    use crate::ir::{Activation, Kernel};

    /// A graph of one equation on arrays of these shapes.
    fn graph(op: Op, shapes: &[&[usize]]) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<_> =
            shapes.iter().map(|shape| graph.input(ArrayType::new(DType::F32, *shape))).collect();
        graph.outputs = graph.push(op, &inputs, Location::caller()).unwrap();
        graph
    }

    fn product() -> Graph {
        graph(Op::Dot { batch: (vec![], vec![]), contract: (vec![1], vec![0]) }, &[&[5, 7], &[7, 3]])
    }

    #[test]
    fn a_product_has_two_operations_per_term() {
        assert_eq!(flops(&product()), 2 * 5 * 7 * 3);
        let batched = Op::Dot { batch: (vec![0], vec![0]), contract: (vec![2], vec![1]) };
        assert_eq!(flops(&graph(batched, &[&[4, 5, 7], &[4, 7, 3]])), 4 * 2 * 5 * 7 * 3);
    }

    #[test]
    fn a_convolution_counts_what_it_reads_of_the_images() {
        let inside = Op::Conv { windows: [Window::default(); 2] };
        assert_eq!(flops(&graph(inside, &[&[2, 5, 6, 3], &[3, 3, 3, 8]])), 2 * 2 * (3 * 4) * 9 * 3 * 8);
        let padded = Window { padding: [1, 1], ..Window::default() };
        let padded = Op::Conv { windows: [padded; 2] };
        let reads = (3 * 5 - 2) * (3 * 6 - 2); // at each end of an axis one tap is in the padding
        assert_eq!(flops(&graph(padded, &[&[2, 5, 6, 3], &[3, 3, 3, 8]])), 2 * 2 * reads * 3 * 8);
    }

    #[test]
    fn loops_repeat_and_the_larger_branch_counts() {
        let body = Arc::new(product());
        let scan = Op::Scan { body: body.clone(), captures: 2, carry: 0, length: 9, reverse: false };
        assert_eq!(flops(&graph(scan, &[&[5, 7], &[7, 3]])), 9 * flops(&body));
        let call = Op::Call { graph: body.clone() };
        assert_eq!(flops(&graph(call, &[&[5, 7], &[7, 3]])), flops(&body));
    }

    #[test]
    fn an_mlp_counts_its_layers() {
        let mlp = Kernel::Mlp { layers: 2, activation: Activation::Tanh };
        let shapes: [&[usize]; 5] = [&[10, 4], &[4, 8], &[8], &[8, 3], &[3]];
        assert_eq!(flops(&graph(Op::Kernel(mlp), &shapes)), 2 * 10 * (4 * 8 + 8 * 3));
    }
}
