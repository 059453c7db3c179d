//! Ops on single elements: two tables of functions, one over f64 and one over i128.

use ndarray::{ArrayD, Zip};

use crate::array::{ArrayType, DType, Element, HostArray, with_element, with_values};
use crate::ir::{Binary, Comparison, Unary};

use super::scalar::{Scalar, Wide};

pub fn unary(op: Unary, x: &HostArray) -> HostArray {
    with_values!(x, x => {
        if op == Unary::IsFinite {
            return Element::wrap(x.mapv(|v| matches!(v.widen(), Wide::Float(v) if v.is_finite())));
        }
        Element::wrap(x.mapv(|v| unary_value(op, v)))
    })
}

pub fn binary(op: Binary, a: &HostArray, b: &HostArray) -> HostArray {
    with_values!(a, a => zip(a, b, |a, b| binary_value(op, a, b)))
}

pub fn compare(op: Comparison, a: &HostArray, b: &HostArray) -> HostArray {
    with_values!(a, a => zip(a, b, |a, b| holds(op, a, b)))
}

fn holds<T: PartialOrd>(op: Comparison, a: T, b: T) -> bool {
    match op {
        Comparison::Eq => a == b,
        Comparison::Ne => a != b,
        Comparison::Lt => a < b,
        Comparison::Le => a <= b,
        Comparison::Gt => a > b,
        Comparison::Ge => a >= b,
    }
}

pub fn select(cond: &HostArray, on_true: &HostArray, on_false: &HostArray) -> HostArray {
    let cond = typed::<bool>(cond);
    with_values!(on_true, on_true => {
        let on_false = typed(on_false);
        Element::wrap(Zip::from(cond).and(on_true).and(on_false).map_collect(|&c, &t, &f| if c { t } else { f }))
    })
}

pub fn convert(x: &HostArray, dtype: DType) -> HostArray {
    with_values!(x, x => match dtype {
        DType::Bool => Element::wrap(x.mapv(|v| match v.widen() {
            Wide::Int(v) => v != 0,
            Wide::Float(v) => v != 0.0,
        })),
        _ => with_element!(dtype, T => Element::wrap(x.mapv(|v| <T as Scalar>::narrow(v.widen())))),
    })
}

pub fn bitcast(x: &HostArray, dtype: DType) -> HostArray {
    HostArray::from_bytes(&ArrayType::new(dtype, x.shape()), &x.to_bytes()).expect("equal widths")
}

/// One element of a binary op.
pub fn binary_value<T: Scalar>(op: Binary, a: T, b: T) -> T {
    T::narrow(wide_binary::<T>(op, a.widen(), b.widen()))
}

/// One element of a binary op on widened elements of dtype `T`, not yet narrowed.
pub fn wide_binary<T: Scalar>(op: Binary, a: Wide, b: Wide) -> Wide {
    match (a, b) {
        (Wide::Int(a), Wide::Int(b)) => Wide::Int(int_binary(op, a, b, T::BITS)),
        (Wide::Float(a), Wide::Float(b)) => Wide::Float(float_binary(op, a, b)),
        _ => unreachable!("both elements have one dtype"),
    }
}

fn unary_value<T: Scalar>(op: Unary, x: T) -> T {
    T::narrow(match x.widen() {
        Wide::Int(x) => Wide::Int(int_unary(op, x, T::BITS)),
        Wide::Float(x) => Wide::Float(float_unary(op, x)),
    })
}

fn float_unary(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => {
            if x == 0.0 || x.is_nan() {
                x
            } else {
                x.signum()
            }
        }
        Unary::Exp => x.exp(),
        Unary::Log => x.ln(),
        Unary::Log1p => x.ln_1p(),
        Unary::Expm1 => x.exp_m1(),
        Unary::Tanh => x.tanh(),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Sqrt => x.sqrt(),
        Unary::Rsqrt => 1.0 / x.sqrt(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Round => x.round_ties_even(),
        Unary::Logistic => 1.0 / (1.0 + (-x).exp()),
        Unary::IsFinite | Unary::Not | Unary::PopulationCount | Unary::CountLeadingZeros => {
            unreachable!("{op:?} gives no float")
        }
    }
}

fn int_unary(op: Unary, x: i128, bits: u32) -> i128 {
    match op {
        Unary::Neg => -x,
        Unary::Abs => x.abs(),
        Unary::Sign => x.signum(),
        Unary::Not => !x,
        Unary::PopulationCount => unsigned(x, bits).count_ones().into(),
        Unary::CountLeadingZeros => (unsigned(x, bits).leading_zeros() - (u128::BITS - bits)).into(),
        Unary::Exp
        | Unary::Log
        | Unary::Log1p
        | Unary::Expm1
        | Unary::Tanh
        | Unary::Sin
        | Unary::Cos
        | Unary::Sqrt
        | Unary::Rsqrt
        | Unary::Floor
        | Unary::Ceil
        | Unary::Round
        | Unary::Logistic
        | Unary::IsFinite => unreachable!("{op:?} is for floats"),
    }
}

fn float_binary(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Rem => a % b,
        Binary::Pow => a.powf(b),
        Binary::Max | Binary::Min if a.is_nan() || b.is_nan() => f64::NAN,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::And | Binary::Or | Binary::Xor | Binary::ShiftLeft | Binary::ShiftRight => {
            unreachable!("{op:?} is for integers")
        }
    }
}

fn int_binary(op: Binary, a: i128, b: i128, bits: u32) -> i128 {
    match op {
        Binary::Add => a.wrapping_add(b),
        Binary::Sub => a.wrapping_sub(b),
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div if b == 0 => -1,
        Binary::Div => a / b,
        Binary::Rem if b == 0 => a,
        Binary::Rem => a % b,
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::ShiftLeft | Binary::ShiftRight if unsigned(b, bits) >= bits.into() => 0,
        Binary::ShiftLeft => a << b,
        Binary::ShiftRight => (unsigned(a, bits) >> b) as i128,
        Binary::Pow => unreachable!("{op:?} is for floats"),
    }
}

/// The low `bits` bits, read as an unsigned number.
fn unsigned(x: i128, bits: u32) -> u128 {
    x as u128 & ((1 << bits) - 1)
}

fn zip<T: Element, U: Element>(a: &ArrayD<T>, b: &HostArray, f: impl Fn(T, T) -> U) -> HostArray {
    Element::wrap(Zip::from(a).and(typed::<T>(b)).map_collect(|&a, &b| f(a, b)))
}

/// The values of an array whose dtype the checker has matched with `T`.
pub fn typed<T: Element>(x: &HostArray) -> &ArrayD<T> {
    x.get().expect("a checked graph")
}
