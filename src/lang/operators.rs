//! Operators, elementwise functions, comparisons, conversions and reductions.

use std::ops;

use crate::array::DType;
use crate::ir::{Binary, Build, Comparison, Op, Reduction, Unary};

use super::array::{Array, Bool, Float, Int, IntoOperand, Kind, Numeric, Operand, iota, kind, meet};
use super::trace::{emit, emit_with};

#[track_caller]
fn binary<K: Kind>(op: Binary, a: Operand<K>, b: Operand<K>) -> Array<K> {
    let op = Op::Binary(op);
    let [a, b] = meet(&op.name(), a, b);
    Array::from_handle(emit(op, &[a.handle, b.handle])[0])
}

macro_rules! operator {
    ($trait:ident, $method:ident, $op:ident, $bound:ident, [$($literal:ty => $kind:ident),*]) => {
        impl<K: $bound, R: IntoOperand<K>> ops::$trait<R> for Array<K> {
            type Output = Array<K>;
            #[track_caller]
            fn $method(self, right: R) -> Array<K> {
                binary(Binary::$op, self.operand(), right.operand())
            }
        }
        $(impl ops::$trait<Array<kind::$kind>> for $literal {
            type Output = Array<kind::$kind>;
            #[track_caller]
            fn $method(self, right: Array<kind::$kind>) -> Array<kind::$kind> {
                binary(Binary::$op, self.operand(), right.operand())
            }
        })*
    };
}

/// Kinds with bit operations: Int and Bool.
pub trait Bitwise: Kind {}
impl Bitwise for kind::Int {}
impl Bitwise for kind::Bool {}

/// The kind with shifts: Int.
pub trait Shift: Kind {}
impl Shift for kind::Int {}

operator!(Add, add, Add, Numeric, [f64 => Float, f32 => Float, i32 => Int, u32 => Int, u64 => Int]);
operator!(Sub, sub, Sub, Numeric, [f64 => Float, f32 => Float, i32 => Int, u32 => Int, u64 => Int]);
operator!(Mul, mul, Mul, Numeric, [f64 => Float, f32 => Float, i32 => Int, u32 => Int, u64 => Int]);
operator!(Div, div, Div, Numeric, [f64 => Float, f32 => Float, i32 => Int, u32 => Int, u64 => Int]);
operator!(Rem, rem, Rem, Numeric, [f64 => Float, f32 => Float, i32 => Int, u32 => Int, u64 => Int]);
operator!(BitAnd, bitand, And, Bitwise, [bool => Bool]);
operator!(BitOr, bitor, Or, Bitwise, [bool => Bool]);
operator!(BitXor, bitxor, Xor, Bitwise, [bool => Bool]);
operator!(Shl, shl, ShiftLeft, Shift, [i32 => Int, u32 => Int, u64 => Int]);
operator!(Shr, shr, ShiftRight, Shift, [i32 => Int, u32 => Int, u64 => Int]);

impl<K: Numeric> ops::Neg for Array<K> {
    type Output = Array<K>;
    #[track_caller]
    fn neg(self) -> Array<K> {
        self.apply(Op::Unary(Unary::Neg))
    }
}

/// Bitwise on integers, logical on bool.
impl<K: Bitwise> ops::Not for Array<K> {
    type Output = Array<K>;
    #[track_caller]
    fn not(self) -> Array<K> {
        self.apply(Op::Unary(Unary::Not))
    }
}

/// The methods take `&self`, so that a call on a reference finds them before those of `PartialOrd`, which no array has.
macro_rules! comparisons {
    ($($(#[$doc:meta])* $method:ident => $op:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $method(&self, right: impl IntoOperand<K>) -> Bool {
            let op = Op::Compare(Comparison::$op);
            let [a, b] = meet(&op.name(), self.operand(), right.operand());
            Array::from_handle(emit(op, &[a.handle, b.handle])[0])
        }
    )*};
}

impl<K: Kind> Array<K> {
    comparisons! {
        /// Elementwise `self == right`.
        eq => Eq,
        /// Elementwise `self != right`.
        ne => Ne,
    }

    /// To bf16. Bool becomes 0 or 1.
    #[track_caller]
    pub fn as_bf16(self) -> Float {
        self.convert(DType::BF16)
    }

    /// To f32. Bool becomes 0 or 1.
    #[track_caller]
    pub fn as_f32(self) -> Float {
        self.convert(DType::F32)
    }

    /// To f64. Bool becomes 0 or 1.
    #[track_caller]
    pub fn as_f64(self) -> Float {
        self.convert(DType::F64)
    }

    /// To u8; floats are truncated toward zero.
    #[track_caller]
    pub fn as_u8(self) -> Int {
        self.convert(DType::U8)
    }

    /// To i32; floats are truncated toward zero.
    #[track_caller]
    pub fn as_i32(self) -> Int {
        self.convert(DType::I32)
    }

    /// To u32; floats are truncated toward zero.
    #[track_caller]
    pub fn as_u32(self) -> Int {
        self.convert(DType::U32)
    }

    /// To u64; floats are truncated toward zero.
    #[track_caller]
    pub fn as_u64(self) -> Int {
        self.convert(DType::U64)
    }

    /// To another dtype of the same kind.
    #[track_caller]
    pub fn cast(self, dtype: DType) -> Self {
        self.convert(dtype)
    }

    #[track_caller]
    fn convert<L: Kind>(self, dtype: DType) -> Array<L> {
        if self.dtype() == dtype {
            return Array::from_handle(self.handle);
        }
        self.apply_to(Op::Convert(dtype))
    }

    #[track_caller]
    fn reduce(self, kind: Reduction, axes: &[usize]) -> Self {
        if axes.is_empty() {
            return self;
        }
        self.apply(Op::Reduce { kind, axes: axes.to_vec() })
    }

    fn all_axes(self) -> Vec<usize> {
        (0..self.rank()).collect()
    }
}

impl<K: Numeric> Array<K> {
    comparisons! {
        /// Elementwise `self < right`.
        lt => Lt,
        /// Elementwise `self <= right`.
        le => Le,
        /// Elementwise `self > right`.
        gt => Gt,
        /// Elementwise `self >= right`.
        ge => Ge,
    }

    /// The larger of the two, elementwise.
    #[track_caller]
    pub fn maximum(self, right: impl IntoOperand<K>) -> Self {
        binary(Binary::Max, self.operand(), right.operand())
    }

    /// The smaller of the two, elementwise.
    #[track_caller]
    pub fn minimum(self, right: impl IntoOperand<K>) -> Self {
        binary(Binary::Min, self.operand(), right.operand())
    }

    /// `low` where smaller than `low`, `high` where larger than `high`.
    #[track_caller]
    pub fn clamp(self, low: impl IntoOperand<K>, high: impl IntoOperand<K>) -> Self {
        self.maximum(low).minimum(high)
    }

    #[track_caller]
    pub fn abs(self) -> Self {
        self.apply(Op::Unary(Unary::Abs))
    }

    /// -1, 0 or 1.
    #[track_caller]
    pub fn sign(self) -> Self {
        self.apply(Op::Unary(Unary::Sign))
    }

    #[track_caller]
    pub fn square(self) -> Self {
        self * self
    }

    /// Sum over `axes`, which vanish.
    #[track_caller]
    pub fn sum(self, axes: impl AsRef<[usize]>) -> Self {
        self.reduce(Reduction::Sum, axes.as_ref())
    }

    /// Maximum over `axes`, which vanish.
    #[track_caller]
    pub fn max(self, axes: impl AsRef<[usize]>) -> Self {
        self.reduce(Reduction::Max, axes.as_ref())
    }

    /// Minimum over `axes`, which vanish.
    #[track_caller]
    pub fn min(self, axes: impl AsRef<[usize]>) -> Self {
        self.reduce(Reduction::Min, axes.as_ref())
    }

    /// Sum of all elements.
    #[track_caller]
    pub fn sum_all(self) -> Self {
        self.sum(self.all_axes())
    }

    /// Maximum of all elements.
    #[track_caller]
    pub fn max_all(self) -> Self {
        self.max(self.all_axes())
    }

    /// Minimum of all elements.
    #[track_caller]
    pub fn min_all(self) -> Self {
        self.min(self.all_axes())
    }

    /// The i32 index of the first largest element along `axis`, which vanishes.
    #[track_caller]
    pub fn argmax(self, axis: usize) -> Int {
        let largest = self.max([axis]).broadcast(axis, self.shape()[axis]);
        let index = iota(DType::I32, self.shape(), axis);
        let none = self.shape()[axis] - 1;
        super::select(self.eq(largest), index, none).min([axis])
    }

    /// The i32 index of the first smallest element along `axis`, which vanishes.
    #[track_caller]
    pub fn argmin(self, axis: usize) -> Int {
        let smallest = self.min([axis]).broadcast(axis, self.shape()[axis]);
        let index = iota(DType::I32, self.shape(), axis);
        let none = self.shape()[axis] - 1;
        super::select(self.eq(smallest), index, none).min([axis])
    }

    /// Sums of the elements up to and including each one along `axis`.
    #[track_caller]
    pub fn cumsum(self, axis: usize) -> Self {
        assert!(axis < self.rank(), "cumsum: no axis {axis} in {}", self.array_type());
        let sums = emit_with(&[self.handle], |graph, x, location| {
            Ok(vec![Build::new(graph, location).cumsum(x[0], axis)])
        });
        Array::from_handle(sums[0])
    }
}

macro_rules! float_functions {
    ($($(#[$doc:meta])* $method:ident => $op:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[track_caller]
        pub fn $method(self) -> Float {
            self.apply(Op::Unary(Unary::$op))
        }
    )*};
}

impl Float {
    float_functions! {
        exp => Exp,
        /// The natural logarithm.
        ln => Log,
        /// ln(1 + x), exact near 0.
        log1p => Log1p,
        /// exp(x) - 1, exact near 0.
        expm1 => Expm1,
        tanh => Tanh,
        sin => Sin,
        cos => Cos,
        sqrt => Sqrt,
        /// 1 / sqrt(x).
        rsqrt => Rsqrt,
        floor => Floor,
        ceil => Ceil,
        /// To the nearest integer, ties to even.
        round => Round,
        /// 1 / (1 + exp(-x)).
        sigmoid => Logistic,
    }

    #[track_caller]
    pub fn relu(self) -> Float {
        self.maximum(0.0)
    }

    #[track_caller]
    pub fn pow(self, exponent: impl IntoOperand<kind::Float>) -> Float {
        binary(Binary::Pow, self.operand(), exponent.operand())
    }

    /// False for infinities and NaN.
    #[track_caller]
    pub fn is_finite(self) -> Bool {
        self.apply_to(Op::Unary(Unary::IsFinite))
    }

    /// Mean over `axes`, which vanish.
    #[track_caller]
    pub fn mean(self, axes: impl AsRef<[usize]>) -> Float {
        let count: usize = axes.as_ref().iter().map(|&axis| self.shape()[axis]).product();
        self.sum(axes) / count as f64
    }

    /// Mean of all elements.
    #[track_caller]
    pub fn mean_all(self) -> Float {
        self.mean(self.all_axes())
    }

    /// The same value; no gradient flows through it.
    #[track_caller]
    pub fn stop_gradient(self) -> Float {
        self.apply(Op::StopGradient)
    }

    /// ln(sum(exp(x))) along `axis`, which vanishes; does not overflow.
    #[track_caller]
    pub fn logsumexp(self, axis: usize) -> Float {
        let largest = self.max([axis]).stop_gradient();
        let shifted = self - largest.broadcast(axis, self.shape()[axis]);
        shifted.exp().sum([axis]).ln() + largest
    }

    /// x - logsumexp(x) along `axis`.
    #[track_caller]
    pub fn log_softmax(self, axis: usize) -> Float {
        self - self.logsumexp(axis).broadcast(axis, self.shape()[axis])
    }

    /// The bits of an f32 as u32, of an f64 as u64.
    #[track_caller]
    pub fn to_bits(self) -> Int {
        let dtype = if self.dtype() == DType::F64 { DType::U64 } else { DType::U32 };
        self.apply_to(Op::Bitcast(dtype))
    }
}

impl Int {
    /// Number of one bits.
    #[track_caller]
    pub fn count_ones(self) -> Int {
        self.apply(Op::Unary(Unary::PopulationCount))
    }

    #[track_caller]
    pub fn leading_zeros(self) -> Int {
        self.apply(Op::Unary(Unary::CountLeadingZeros))
    }

    /// Zeros below the lowest one bit; the width for 0.
    #[track_caller]
    pub fn trailing_zeros(self) -> Int {
        // Below the lowest one bit, x - 1 is all ones and !x too.
        (!self & (self - 1)).count_ones()
    }

    /// True where not zero.
    #[track_caller]
    pub fn as_bool(self) -> Bool {
        self.ne(0)
    }

    /// A vector of `size` in the last axis with a one at this index, as bool.
    #[track_caller]
    pub fn one_hot(self, size: usize) -> Bool {
        let mut shape = self.shape();
        shape.push(size);
        iota(self.dtype(), &shape, shape.len() - 1).eq(self.broadcast(shape.len() - 1, size))
    }

    /// The f32 with these u32 bits, the f64 with these u64 bits.
    #[track_caller]
    pub fn from_bits(self) -> Float {
        let dtype = if self.dtype() == DType::U64 { DType::F64 } else { DType::F32 };
        self.apply_to(Op::Bitcast(dtype))
    }
}

impl Bool {
    /// True if any element along `axes` is.
    #[track_caller]
    pub fn any(self, axes: impl AsRef<[usize]>) -> Bool {
        self.reduce(Reduction::Or, axes.as_ref())
    }

    /// True if all elements along `axes` are.
    #[track_caller]
    pub fn all(self, axes: impl AsRef<[usize]>) -> Bool {
        self.reduce(Reduction::And, axes.as_ref())
    }

    /// True if any element is.
    #[track_caller]
    pub fn any_all(self) -> Bool {
        self.any(self.all_axes())
    }

    /// True if all elements are.
    #[track_caller]
    pub fn all_all(self) -> Bool {
        self.all(self.all_axes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{arange, constant, trace};

    #[test]
    fn a_cumsum_is_a_loop_of_sums() {
        for size in [0, 1, 16, 17, 300] {
            for (shape, axis, stride) in [([size, 2], 0, 2), ([2, size], 1, 1)] {
                let traced = trace(&(), |()| arange(2 * size).reshape(shape).cumsum(axis));
                let mut expected: Vec<i32> = (0..2 * size as i32).collect();
                for i in 0..expected.len() {
                    let place = i / stride % size;
                    if place > 0 {
                        expected[i] += expected[i - stride];
                    }
                }
                let found = interpret(&traced.graph, &[]).swap_remove(0);
                assert_eq!(found.as_slice::<i32>(), expected, "{shape:?} along axis {axis}");
            }
        }
    }

    #[test]
    fn what_is_not_finite_reaches_only_the_sums_after_it() {
        let traced = trace(&(), |()| {
            let x: Float = constant([f32::INFINITY, f32::NAN]);
            x.pad(0, 18, 20, 1.0).cumsum(0)
        });
        let found = interpret(&traced.graph, &[]).swap_remove(0).to_f64();
        assert_eq!(found[..18], (1..=18).map(f64::from).collect::<Vec<f64>>());
        assert_eq!(found[18], f64::INFINITY);
        assert!(found[19..].iter().all(|sum| sum.is_nan()));
    }
}
