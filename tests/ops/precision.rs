//! How exact matrix products are, by the setting `precision`.

use half::bf16;
use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::lang::{Float, Handle, Key, trace};
use lockstep::lower::{Options, Precision, lower};
use lockstep::runtime::{CompileOptions, Target};

use crate::common::client;

const ROWS: usize = 203;
const INNER: usize = 301;
const COLUMNS: usize = 80;

/// Normal numbers; none of them is a bf16.
fn normal(seed: u64, shape: [usize; 2]) -> HostArray {
    let drawn = trace(&(), |()| Key::new(seed).normal(shape));
    interpret(&drawn.graph, &[]).remove(0)
}

/// The product on the device; factors that are `turned` are given with their axes exchanged.
fn product(precision: Precision, kernels: bool, turned: [bool; 2], a: &HostArray, b: &HostArray) -> Vec<f64> {
    let factors = [a, b].map(HostArray::clone).into_iter().zip(turned);
    let factors: Vec<HostArray> =
        factors.map(|(x, turned)| if turned { transposed(&x) } else { x }).collect();
    let placeholder = |x: &HostArray| Float::from_handle(Handle::placeholder(&x.array_type()));
    let axes = [usize::from(!turned[0]), usize::from(turned[1])];
    let traced = trace(&(placeholder(&factors[0]), placeholder(&factors[1])), |(a, b): (Float, Float)| {
        a.dot(b, &axes[..1], &axes[1..])
    });
    let target = Target { kernels, ..client().target() };
    let module = lower(&traced.graph, &Options { precision, ..Options::default() }, target);
    let is_native = precision == Precision::Bf16 && kernels;
    assert_eq!(module.contains("lockstep_dot_bf16"), is_native, "{module}");
    let program = client().compile(&module, &CompileOptions::default()).unwrap();
    let args = factors.iter().map(|x| client().to_device(x, 0).unwrap().into()).collect();
    program.run(args).unwrap()[0].to_host().unwrap().to_f64()
}

fn transposed(x: &HostArray) -> HostArray {
    let (&[rows, columns], numbers) = (x.shape(), x.as_slice::<f32>()) else { panic!("x is a matrix") };
    let turned: Vec<f32> = (0..rows * columns).map(|i| numbers[i % rows * columns + i / rows]).collect();
    HostArray::new(&[columns, rows], turned)
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
    let as_they_are = [false; 2];
    let in_f32 = product(Precision::F32, true, as_they_are, &a, &b);
    assert!(error(&in_f32, &truth) < 1e-6, "{}", error(&in_f32, &truth));
    assert_eq!(product(Precision::Tf32, true, as_they_are, &a, &b), in_f32, "on cpu tf32 is f32");

    // Operands have 8 bits and sums 24: the product errs, but it is the exact one of the rounded operands.
    let round =
        |x: &HostArray| x.as_slice::<f32>().iter().map(|&x| bf16::from_f32(x).to_f64()).collect::<Vec<_>>();
    let rounded = exact(&round(&a), &round(&b));
    for kernels in [true, false] {
        for turned in [[false, false], [false, true], [true, false], [true, true]] {
            let in_bf16 = product(Precision::Bf16, kernels, turned, &a, &b);
            let coarse = error(&in_bf16, &truth);
            assert!((1e-5..4e-3).contains(&coarse), "{coarse}");
            let of_rounded = error(&in_bf16, &rounded);
            assert!(of_rounded < 1e-6, "kernels {kernels}, turned {turned:?}: {of_rounded}");
        }
    }
}

#[test]
fn what_is_not_finite_is_not_rounded_away() {
    let (mut a, b) =
        (vec![1.0f32; ROWS * INNER], HostArray::new(&[INNER, COLUMNS], vec![1.0f32; INNER * COLUMNS]));
    // The bits of this one become those of a zero when they are rounded like a number's.
    [a[0], a[INNER], a[2 * INNER]] = [f32::from_bits(0xFFFF_FFFF), f32::INFINITY, f32::MAX];
    let found = product(Precision::Bf16, true, [false; 2], &HostArray::new(&[ROWS, INNER], a), &b);
    assert!(found[0].is_nan() && found[COLUMNS] == f64::INFINITY && found[2 * COLUMNS] == f64::INFINITY);
    assert_eq!(found[3 * COLUMNS], INNER as f64);
}

#[test]
fn only_products_of_f32_are_rounded() {
    let square = |dtype| Float::from_handle(Handle::placeholder(&ArrayType::new(dtype, [2, 2])));
    let text = |dtype| {
        let traced = trace(&square(dtype), |x: Float| x.matmul(x));
        let target = Target { kernels: false, ..client().target() };
        lower(&traced.graph, &Options { precision: Precision::Bf16, ..Options::default() }, target)
    };
    assert!(text(DType::F32).contains("reduce_precision"));
    assert!(!text(DType::F64).contains("bf16"));
}
