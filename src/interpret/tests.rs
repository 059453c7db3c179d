//! Corners of the semantics, each with its answer by hand. (`tests/ops.rs` covers every op.)

use std::sync::Arc;

use half::bf16;

use super::interpret;
use crate::array::{ArrayType, DType, Element, HostArray};
use strum::IntoEnumIterator;

use crate::ir::{Binary, Build, Comparison, Graph, Op, Reduction, ScatterKind, Unary, Var};

/// The first output of `op` on `inputs`.
#[track_caller]
fn apply(op: Op, inputs: &[HostArray]) -> HostArray {
    let location = std::panic::Location::caller();
    let mut graph = Graph::new();
    let vars: Vec<Var> = inputs.iter().map(|x| graph.input(x.array_type())).collect();
    graph.outputs = graph.push(op, &vars, location).unwrap();
    crate::ir::check(&graph).unwrap();
    interpret(&graph, inputs).swap_remove(0)
}

fn vector<T: Element>(values: &[T]) -> HostArray {
    HostArray::new(&[values.len()], values.to_vec())
}

#[track_caller]
fn binary<T: Element + std::fmt::Debug + PartialEq>(op: Binary, a: &[T], b: &[T], expected: &[T]) {
    assert_eq!(apply(Op::Binary(op), &[vector(a), vector(b)]), vector(expected), "{op:?}");
}

#[test]
fn integers_wrap_around() {
    binary(Binary::Add, &[250u8, 1], &[10, 2], &[4, 3]);
    binary(Binary::Sub, &[0u32], &[1], &[u32::MAX]);
    binary(Binary::Mul, &[u64::MAX, 1 << 63], &[u64::MAX, 2], &[1, 0]);
    binary(Binary::Mul, &[i32::MAX], &[2], &[-2]);
    assert_eq!(apply(Op::Unary(Unary::Neg), &[vector(&[i32::MIN, 1])]), vector(&[i32::MIN, -1]));
    assert_eq!(apply(Op::Unary(Unary::Abs), &[vector(&[i32::MIN])]), vector(&[i32::MIN]));
    assert_eq!(
        apply(Op::Reduce { kind: Reduction::Sum, axes: vec![0] }, &[vector(&[200u8, 100])]),
        HostArray::scalar(44u8)
    );
}

#[test]
fn integer_division_truncates_and_survives_zero() {
    binary(Binary::Div, &[-7i32, 7, 5, i32::MIN], &[2, -2, 0, -1], &[-3, -3, -1, i32::MIN]);
    binary(Binary::Rem, &[-7i32, 7, 5, i32::MIN], &[2, -2, 0, -1], &[-1, 1, 5, 0]);
    binary(Binary::Div, &[9u8], &[0], &[255]);
    binary(Binary::Rem, &[9u64], &[0], &[9]);
    binary(Binary::Rem, &[-7.5f32], &[2.0], &[-1.5]);
}

#[test]
fn a_shift_by_the_width_or_more_gives_zero() {
    binary(Binary::ShiftLeft, &[1u8, 129, 1], &[7, 1, 8], &[128, 2, 0]);
    binary(Binary::ShiftLeft, &[1u64, 1], &[63, 64], &[1 << 63, 0]);
    binary(Binary::ShiftRight, &[-1i32, -1, -1], &[31, 32, -1], &[1, 0, 0]);
    binary(Binary::ShiftRight, &[u64::MAX], &[60], &[15]);
}

#[test]
fn bits_are_counted_within_the_width() {
    let counts = apply(Op::Unary(Unary::PopulationCount), &[vector(&[-1i32, 5])]);
    assert_eq!(counts, vector(&[32i32, 2]));
    assert_eq!(apply(Op::Unary(Unary::CountLeadingZeros), &[vector(&[0u8, 1])]), vector(&[8u8, 7]));
    assert_eq!(apply(Op::Unary(Unary::CountLeadingZeros), &[vector(&[-1i32])]), vector(&[0i32]));
    assert_eq!(apply(Op::Unary(Unary::Not), &[vector(&[true, false])]), vector(&[false, true]));
    assert_eq!(apply(Op::Unary(Unary::Not), &[vector(&[1u32])]), vector(&[u32::MAX - 1]));
}

#[test]
fn bf16_rounds_after_each_op() {
    let (one, small) = (bf16::from_f32(1.0), bf16::from_f32(1.0 / 256.0));
    binary(Binary::Add, &[one], &[small], &[one]);
    binary(
        Binary::Mul,
        &[bf16::from_f32(1.0078125)],
        &[bf16::from_f32(1.0078125)],
        &[bf16::from_f32(1.015625)],
    );
}

#[test]
fn max_and_min_spread_nan() {
    for op in [Binary::Max, Binary::Min] {
        let result = apply(Op::Binary(op), &[vector(&[f32::NAN, 1.0]), vector(&[1.0, f32::NAN])]);
        assert!(result.as_slice::<f32>().iter().all(|v| v.is_nan()));
    }
    for kind in [Reduction::Max, Reduction::Min] {
        let op = Op::Reduce { kind, axes: vec![0] };
        assert!(apply(op, &[vector(&[1.0f32, f32::NAN, 2.0])]).as_slice::<f32>()[0].is_nan());
    }
}

#[test]
fn reductions_of_nothing_are_neutral() {
    let reduce = |kind, x: &HostArray| apply(Op::Reduce { kind, axes: vec![0] }, std::slice::from_ref(x));
    assert_eq!(reduce(Reduction::Sum, &vector::<f32>(&[])), HostArray::scalar(0f32));
    assert_eq!(reduce(Reduction::Max, &vector::<f32>(&[])), HostArray::scalar(f32::NEG_INFINITY));
    assert_eq!(reduce(Reduction::Max, &vector::<i32>(&[])), HostArray::scalar(i32::MIN));
    assert_eq!(reduce(Reduction::Min, &vector::<u64>(&[])), HostArray::scalar(u64::MAX));
    assert_eq!(reduce(Reduction::And, &vector::<bool>(&[])), HostArray::scalar(true));
    assert_eq!(reduce(Reduction::Or, &vector::<bool>(&[])), HostArray::scalar(false));
}

#[test]
fn conversions_truncate_saturate_and_wrap() {
    let floats = vector(&[1.9f32, -1.9, 300.0, -300.0, f32::NAN, 1e20]);
    let convert = |x: &HostArray, dtype| apply(Op::Convert(dtype), std::slice::from_ref(x));
    assert_eq!(convert(&floats, DType::I32), vector(&[1i32, -1, 300, -300, 0, i32::MAX]));
    assert_eq!(convert(&floats, DType::U8), vector(&[1u8, 0, 255, 0, 0, 255]));
    assert_eq!(convert(&vector(&[-1i32, 258]), DType::U8), vector(&[255u8, 2]));
    assert_eq!(convert(&vector(&[-1i32]), DType::U64), vector(&[u64::MAX]));
    assert_eq!(convert(&vector(&[0i32, 2, -1]), DType::Bool), vector(&[false, true, true]));
    assert_eq!(convert(&vector(&[0.5f32, 0.0]), DType::Bool), vector(&[true, false]));
    assert_eq!(convert(&vector(&[true, false]), DType::F32), vector(&[1f32, 0.0]));
    assert_eq!(convert(&vector(&[16_777_217i32]), DType::F32), vector(&[16_777_216f32]));
}

#[test]
fn comparisons_with_nan_are_false_except_not_equal() {
    for op in Comparison::iter() {
        let result = apply(Op::Compare(op), &[vector(&[f64::NAN]), vector(&[f64::NAN])]);
        assert_eq!(result, vector(&[op == Comparison::Ne]), "{op:?}");
    }
}

#[test]
fn gather_clamps_and_scatter_drops() {
    let x = HostArray::new(&[2, 3], vec![0i32, 1, 2, 10, 11, 12]);
    let indices = vector(&[-5i32, 1, 7]);
    assert_eq!(
        apply(Op::Gather { axis: 1 }, &[x.clone(), indices.clone()]),
        HostArray::new(&[2, 3], vec![0i32, 1, 2, 10, 11, 12])
    );
    let updates = HostArray::new(&[2, 3], vec![7i32; 6]);
    assert_eq!(
        apply(
            Op::Scatter { axis: 1, kind: ScatterKind::Set },
            &[x.clone(), indices.clone(), updates.clone()]
        ),
        HostArray::new(&[2, 3], vec![0i32, 7, 2, 10, 7, 12])
    );
    let twice = HostArray::new(&[2, 2], vec![1i32; 4]);
    let twice = HostArray::new(&[2, 2, 3], [twice.as_slice::<i32>(); 3].concat());
    assert_eq!(
        apply(
            Op::Scatter { axis: 0, kind: ScatterKind::Add },
            &[x, HostArray::new(&[2, 2], vec![1i32, 1, 2, -1]), twice]
        ),
        HostArray::new(&[2, 3], vec![0i32, 1, 2, 12, 13, 14])
    );
}

#[test]
fn dynamic_windows_are_clamped() {
    let x = vector(&[0i32, 1, 2, 3]);
    for (start, expected) in [(-3, [0i32, 1]), (1, [1, 2]), (9, [2, 3])] {
        let start = HostArray::scalar(start);
        let op = Op::DynamicSlice { sizes: vec![2] };
        assert_eq!(apply(op, &[x.clone(), start]), vector(&expected));
    }
    let updated = apply(Op::DynamicUpdateSlice, &[x, vector(&[8i32, 9]), HostArray::scalar(9i32)]);
    assert_eq!(updated, vector(&[0i32, 1, 8, 9]));
}

#[test]
fn pad_puts_fill_between_neighbours() {
    let op = Op::Pad { low: vec![1], high: vec![2], interior: vec![2] };
    let fill = HostArray::scalar(0u8);
    assert_eq!(
        apply(op.clone(), &[vector(&[1u8, 2, 3]), fill.clone()]),
        vector(&[0u8, 1, 0, 0, 2, 0, 0, 3, 0, 0])
    );
    assert_eq!(apply(op, &[vector::<u8>(&[]), fill]), vector(&[0u8, 0, 0]));
}

#[test]
fn dot_orders_its_axes() {
    // out[batch, free a, free b] = sum over k of a[k, free, batch] b[batch, k, free]
    let a = HostArray::new(&[2, 1, 2], vec![1f64, 2.0, 3.0, 4.0]);
    let b = HostArray::new(&[2, 2, 2], vec![1f64, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    let op = Op::Dot { batch: (vec![2], vec![0]), contract: (vec![0], vec![1]) };
    let expected =
        vec![1.0 * 1.0 + 3.0 * 3.0, 1.0 * 2.0 + 3.0 * 4.0, 2.0 * 5.0 + 4.0 * 7.0, 2.0 * 6.0 + 4.0 * 8.0];
    assert_eq!(apply(op, &[a, b]), HostArray::new(&[2, 1, 2], expected));
}

/// One step of a running sum: (scale, total, x) -> (total + scale x, old total).
fn running_sum() -> Graph {
    let mut graph = Graph::new();
    let [scale, total, x] = [(); 3].map(|()| graph.input(ArrayType::scalar(DType::I32)));
    let mut build = Build::new(&mut graph, std::panic::Location::caller());
    let scaled = build.mul(scale, x);
    let next = build.add(total, scaled);
    graph.outputs = vec![next, total];
    graph
}

#[test]
fn scan_carries_and_stacks_in_both_directions() {
    for (reverse, expected) in [(false, [1, 3, 7]), (true, [11, 7, 1])] {
        let op = Op::Scan { body: Arc::new(running_sum()), captures: 1, carry: 1, length: 3, reverse };
        let inputs = [HostArray::scalar(2i32), HostArray::scalar(1i32), vector(&[1i32, 2, 3])];
        let mut graph = Graph::new();
        let vars: Vec<Var> = inputs.iter().map(|x| graph.input(x.array_type())).collect();
        graph.outputs = graph.push(op, &vars, std::panic::Location::caller()).unwrap();
        assert_eq!(interpret(&graph, &inputs), [HostArray::scalar(13i32), vector(&expected)]);
    }
}

#[test]
#[should_panic(expected = "the inputs do not fit the graph")]
fn wrong_inputs_are_refused() {
    let mut graph = Graph::new();
    graph.input(ArrayType::scalar(DType::F32));
    interpret(&graph, &[HostArray::scalar(1f64)]);
}
