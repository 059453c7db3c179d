//! A few graphs as they are printed, and as they are lowered: kept in tests/golden/graphs/ and tests/golden/modules/, where
//! UPDATE_GOLDEN=1 writes them anew. What changes there, a change of the compiler must mean to change.

use lockstep::array::{ArrayType, DType};
use lockstep::ir::{Graph, check};
use lockstep::lang::{
    Bool, Conv2d, Float, Handle, Int, Key, Padding, conv2d, rare, scan, select, trace, value_and_grad,
    vmap_last, while_loop,
};
use lockstep::lower::{Options, lower};
use lockstep::runtime::{DeviceKind, Target};

use crate::common::golden;

const CPU: Target = Target::plain(DeviceKind::Cpu);

fn float(shape: &[usize]) -> Float {
    Float::from_handle(Handle::placeholder(&ArrayType::new(DType::F32, shape)))
}

fn int(dtype: DType, shape: &[usize]) -> Int {
    Int::from_handle(Handle::placeholder(&ArrayType::new(dtype, shape)))
}

/// Compares the graph and its module, whose lines are written without the places in this file.
fn compare(name: &str, graph: &Graph, options: &Options, target: Target) {
    check(graph).unwrap();
    golden(&format!("graphs/{name}.txt"), &graph.to_string());
    let module = lower(graph, options, target);
    let without_location = |line: &str| format!("{}\n", line.split(" loc(").next().unwrap_or(line));
    golden(&format!("modules/{name}.mlir"), &module.lines().map(without_location).collect::<String>());
}

/// A step of a small game for a batch: elementwise ops, random keys, a rare event, clusters.
#[test]
fn a_step_for_a_batch() {
    let inputs = (float(&[2, 8]), int(DType::I32, &[8]), int(DType::U32, &[2, 8]));
    let traced = trace(&inputs, |inputs: (Float, Int, Int)| {
        vmap_last(inputs, |(state, action, words)| {
            let moved = state + (action - 1).as_f32().fill(&[2]) * 0.1;
            let out = moved.abs().gt(1.0).any_all();
            let back = rare(out, moved, |moved| moved * 0.5 + Key::from_words(words).uniform([2], 0.0..0.1));
            (select(out, back, moved), back.sum_all(), out)
        })
    });
    compare("step", &traced.graph, &Options::default(), Target { kernels: true, ..CPU });
}

/// A loop, a scan over rows and a branch of the end of the batch.
#[test]
fn loops() {
    let inputs = (float(&[3]), float(&[4, 3]), int(DType::I32, &[]));
    let traced = trace(&inputs, |(start, rows, limit): (Float, Float, Int)| {
        let more = |(_, count): &(Float, Int)| -> Bool { count.lt(limit) };
        let (grown, _) = while_loop((start, limit.full_like(0)), more, |(x, count)| (x * 1.5, count + 1));
        scan(grown, rows, |carry, row| ((carry + row).tanh(), carry.max_all()))
    });
    compare("loops", &traced.graph, &Options::default(), CPU);
}

/// The gradient of a convolution and a matrix product, summed over two devices.
#[test]
fn a_gradient() {
    let inputs = ((float(&[3, 3, 2, 4]), float(&[64, 1])), float(&[5, 4, 4, 2]));
    let traced = trace(&inputs, |((kernel, weights), images): ((Float, Float), Float)| {
        let (loss, (), gradients) = value_and_grad(&(kernel, weights), |(kernel, weights)| {
            let seen = conv2d(images, kernel, Conv2d { padding: Padding::Same, ..Conv2d::default() }).relu();
            (seen.reshape([5, 64]).matmul(weights).square().mean_all(), ())
        });
        (lockstep::lang::all_reduce(loss), gradients)
    });
    compare(
        "gradient",
        &traced.graph,
        &Options { num_replicas: 2, donated: vec![(0, 1)], ..Options::default() },
        CPU,
    );
}
