//! How exact matrix products are, by the setting `precision`.

use half::bf16;
use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::lang::{Float, Handle, Key, trace};
use lockstep::lower::{Options, Precision, lower};
use lockstep::runtime::CompileOptions;

use crate::common::client;

const ROWS: usize = 32;
const INNER: usize = 300;
const COLUMNS: usize = 16;

/// Normal numbers; none of them is a bf16.
fn normal(seed: u64, shape: [usize; 2]) -> HostArray {
    let drawn = trace(&(), |()| Key::new(seed).normal(shape));
    interpret(&drawn.graph, &[]).remove(0)
}

/// The product on the device.
fn product(precision: Precision, a: &HostArray, b: &HostArray) -> Vec<f64> {
    let placeholder = |x: &HostArray| Float::from_handle(Handle::placeholder(&x.array_type()));
    let traced = trace(&(placeholder(a), placeholder(b)), |(a, b): (Float, Float)| a.matmul(b));
    let module = lower(&traced.graph, &Options { precision, ..Options::default() }, client().target());
    let program = client().compile(&module, &CompileOptions::default()).unwrap();
    let args = [a, b].map(|x| client().to_device(x, 0).unwrap().into()).into();
    program.run(args).unwrap()[0].to_host().unwrap().to_f64()
}

/// The product in f64, and for each element the sum of the magnitudes that it is a sum of.
fn exact(a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let element = |i: usize| (0..INNER).map(move |k| (i / COLUMNS * INNER + k, k * COLUMNS + i % COLUMNS));
    let sum = |term: fn(f64) -> f64| {
        (0..ROWS * COLUMNS).map(|i| element(i).map(|(x, y)| term(a[x] * b[y])).sum()).collect()
    };
    (sum(|term| term), sum(f64::abs))
}

/// The largest error, relative to the magnitudes summed.
fn error(found: &[f64], (expected, scale): &(Vec<f64>, Vec<f64>)) -> f64 {
    let errors = found.iter().zip(expected).zip(scale).map(|((x, y), scale)| (x - y).abs() / scale);
    errors.fold(0.0, f64::max)
}

#[test]
fn each_precision_errs_as_much_as_it_says() {
    let (a, b) = (normal(1, [ROWS, INNER]), normal(2, [INNER, COLUMNS]));
    let truth = exact(&a.to_f64(), &b.to_f64());
    let in_f32 = product(Precision::F32, &a, &b);
    assert!(error(&in_f32, &truth) < 1e-6, "{}", error(&in_f32, &truth));
    assert_eq!(product(Precision::Tf32, &a, &b), in_f32, "on cpu tf32 is f32");

    // Operands have 8 bits and sums 24: the product errs, but it is the exact one of the rounded operands.
    let in_bf16 = product(Precision::Bf16, &a, &b);
    let coarse = error(&in_bf16, &truth);
    assert!((1e-5..4e-3).contains(&coarse), "{coarse}");
    let round = |x: &HostArray| x.to_f64().iter().map(|&x| bf16::from_f64(x).to_f64()).collect::<Vec<_>>();
    let of_rounded = error(&in_bf16, &exact(&round(&a), &round(&b)));
    assert!(of_rounded < 1e-6, "{of_rounded}");
}

#[test]
fn only_products_of_f32_are_rounded() {
    let square = |dtype| Float::from_handle(Handle::placeholder(&ArrayType::new(dtype, [2, 2])));
    let text = |dtype| {
        let traced = trace(&square(dtype), |x: Float| x.matmul(x));
        lower(&traced.graph, &Options { precision: Precision::Bf16, ..Options::default() }, client().target())
    };
    assert!(text(DType::F32).contains("reduce_precision"));
    assert!(!text(DType::F64).contains("bf16"));
}
