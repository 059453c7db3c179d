//! `Array<K>`: a copyable handle to an array being traced, of kind [`Float`], [`Int`] or [`Bool`].
//!
//! The kind is known to Rust, shape and dtype only while tracing. Literals (`1.0`, `3`, `true`) are
//! [`Operand`]s: they take the dtype of the array they meet. Two arrays meet if their dtypes are equal
//! and their shapes are equal or one is a scalar; nothing else is converted or broadcast by itself.

use std::marker::PhantomData;

use half::bf16;

use crate::array::{ArrayType, DType, Element, HostArray, Shape};
use crate::ir::Op;

use super::trace::{Handle, emit};
use super::tree::{Path, Tree, leaves, rebuild};

/// The kinds of array.
pub mod kind {
    #[derive(Clone, Copy, Debug)]
    pub struct Float;
    #[derive(Clone, Copy, Debug)]
    pub struct Int;
    #[derive(Clone, Copy, Debug)]
    pub struct Bool;
}

/// Float, Int or Bool.
pub trait Kind: Copy + std::fmt::Debug + 'static {
    const NAME: &'static str;
    /// The dtype of a literal that meets no array.
    const DEFAULT: DType;
    fn holds(dtype: DType) -> bool;
}

impl Kind for kind::Float {
    const NAME: &'static str = "Float";
    const DEFAULT: DType = DType::F32;
    fn holds(dtype: DType) -> bool {
        dtype.is_float()
    }
}

impl Kind for kind::Int {
    const NAME: &'static str = "Int";
    const DEFAULT: DType = DType::I32;
    fn holds(dtype: DType) -> bool {
        dtype.is_int()
    }
}

impl Kind for kind::Bool {
    const NAME: &'static str = "Bool";
    const DEFAULT: DType = DType::Bool;
    fn holds(dtype: DType) -> bool {
        dtype == DType::Bool
    }
}

/// Kinds that count: Float and Int.
pub trait Numeric: Kind {}
impl Numeric for kind::Float {}
impl Numeric for kind::Int {}

/// An array of one kind, as a symbol of the program being traced.
#[derive(Clone, Copy, Debug)]
pub struct Array<K> {
    pub(super) handle: Handle,
    kind: PhantomData<K>,
}

/// f32, f64 or bf16.
pub type Float = Array<kind::Float>;
/// i32, u8, u32 or u64.
pub type Int = Array<kind::Int>;
/// bool.
pub type Bool = Array<kind::Bool>;

impl<K: Kind> Tree for Array<K> {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        visit(path, &mut self.handle);
        let dtype = self.dtype();
        assert!(K::holds(dtype), "the leaf {} is {}, but got {dtype}", path.as_str(), K::NAME);
    }
    fn duplicate(&self) -> Self {
        *self
    }
}

impl<K: Kind> Array<K> {
    /// Wraps a handle; panics if its dtype is of another kind.
    #[track_caller]
    pub fn from_handle(handle: Handle) -> Self {
        let dtype = handle.array_type().dtype;
        assert!(K::holds(dtype), "an array of {dtype} is no {}", K::NAME);
        Self { handle, kind: PhantomData }
    }

    /// An array that has a type but no value, for the description of a structure.
    #[track_caller]
    pub fn placeholder(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self::from_handle(Handle::placeholder(&ArrayType::new(dtype, shape)))
    }

    pub fn handle(self) -> Handle {
        self.handle
    }

    pub fn array_type(self) -> ArrayType {
        self.handle.array_type()
    }

    pub fn dtype(self) -> DType {
        self.array_type().dtype
    }

    pub fn shape(self) -> Shape {
        self.array_type().shape
    }

    pub fn rank(self) -> usize {
        self.array_type().rank()
    }

    /// Number of elements.
    pub fn size(self) -> usize {
        self.array_type().size()
    }

    /// A constant from host values.
    #[track_caller]
    pub fn constant(value: HostArray) -> Self {
        Self::from_handle(emit(Op::Constant(value), &[])[0])
    }

    /// `value` in every element.
    #[track_caller]
    pub fn full(shape: impl AsRef<[usize]>, value: impl IntoOperand<K>) -> Self {
        value.operand().array(K::DEFAULT).fill(shape.as_ref())
    }

    /// `value` in every element of an array with this one's dtype and shape.
    #[track_caller]
    pub fn full_like(self, value: impl IntoOperand<K>) -> Self {
        value.operand().array(self.dtype()).fill(&self.shape())
    }

    /// This scalar in every element of an array of the given shape.
    #[track_caller]
    pub fn fill(self, shape: &[usize]) -> Self {
        assert!(self.rank() == 0, "fill: {} is no scalar", self.array_type());
        if shape.is_empty() {
            return self;
        }
        self.apply(Op::Broadcast { shape: shape.to_vec(), axes: vec![] })
    }

    /// One op on this array alone, with an output of the same kind.
    #[track_caller]
    pub(super) fn apply(self, op: Op) -> Self {
        Self::from_handle(emit(op, &[self.handle])[0])
    }

    /// One op on this array alone, with an output of another kind.
    #[track_caller]
    pub(super) fn apply_to<L: Kind>(self, op: Op) -> Array<L> {
        Array::from_handle(emit(op, &[self.handle])[0])
    }
}

/// A constant vector: `constant([1.0, 2.0])` is f32, `constant([1, 2])` i32, `constant([1u64, 2])` u64. A Rust f64 is how a number
/// is written, not a wish for that precision, as in [`float`]; a vector that is to be f64 is [`Array::constant`] of a [`HostArray`].
#[track_caller]
pub fn constant<K: Kind, T: Element>(values: impl AsRef<[T]>) -> Array<K> {
    let values = values.as_ref();
    let array = HostArray::new(&[values.len()], values.to_vec());
    Array::constant(match array.dtype() {
        DType::F64 => HostArray::new(array.shape(), array.to_f64().into_iter().map(|x| x as f32).collect()),
        _ => array,
    })
}

/// An f32 scalar.
#[track_caller]
pub fn float(value: f64) -> Float {
    value.operand().array(DType::F32)
}

/// An i32 scalar.
#[track_caller]
pub fn int(value: i32) -> Int {
    value.operand().array(DType::I32)
}

/// A u32 scalar.
#[track_caller]
pub fn int_u32(value: u32) -> Int {
    value.operand().array(DType::U32)
}

/// A u64 scalar.
#[track_caller]
pub fn int_u64(value: u64) -> Int {
    value.operand().array(DType::U64)
}

/// A bool scalar.
#[track_caller]
pub fn boolean(value: bool) -> Bool {
    value.operand().array(DType::Bool)
}

/// An i32 vector 0, 1, ..., `size` - 1.
#[track_caller]
pub fn arange(size: usize) -> Int {
    iota(DType::I32, [size], 0)
}

/// An array whose element is its own index along `axis`.
#[track_caller]
pub fn iota(dtype: DType, shape: impl AsRef<[usize]>, axis: usize) -> Int {
    Array::from_handle(emit(Op::Iota { dtype, shape: shape.as_ref().to_vec(), axis }, &[])[0])
}

/// An array, or a literal that becomes one where it is used.
#[derive(Clone, Copy, Debug)]
pub enum Operand<K> {
    Array(Array<K>),
    Literal(Literal),
}

/// A Rust number on its way to become a constant.
#[derive(Clone, Copy, Debug)]
pub enum Literal {
    Float(f64),
    Int(i128),
    Bool(bool),
}

impl<K: Kind> Operand<K> {
    /// The array, or the literal as a scalar of `dtype`.
    #[track_caller]
    pub(super) fn array(self, dtype: DType) -> Array<K> {
        match self {
            Operand::Array(array) => array,
            Operand::Literal(literal) => match literal.value(dtype) {
                Some(value) => Array::constant(value),
                None => panic!("the literal {literal:?} does not fit {dtype}"),
            },
        }
    }

    /// The dtype, if it is an array.
    pub(super) fn dtype(self) -> Option<DType> {
        match self {
            Operand::Array(array) => Some(array.dtype()),
            Operand::Literal(_) => None,
        }
    }
}

impl Literal {
    fn value(self, dtype: DType) -> Option<HostArray> {
        Some(match (self, dtype) {
            (Literal::Bool(v), DType::Bool) => HostArray::scalar(v),
            (Literal::Int(v), DType::U8) => HostArray::scalar(u8::try_from(v).ok()?),
            (Literal::Int(v), DType::I32) => HostArray::scalar(i32::try_from(v).ok()?),
            (Literal::Int(v), DType::U32) => HostArray::scalar(u32::try_from(v).ok()?),
            (Literal::Int(v), DType::U64) => HostArray::scalar(u64::try_from(v).ok()?),
            (Literal::Float(v), DType::BF16) => HostArray::scalar(bf16::from_f64(v)),
            (Literal::Float(v), DType::F32) => HostArray::scalar(v as f32),
            (Literal::Float(v), DType::F64) => HostArray::scalar(v),
            _ => return None,
        })
    }
}

/// What meets an array of kind `K`: another one, or a literal of that kind.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not meet an array of kind `{K}`",
    label = "neither an array of kind `{K}` nor a literal of it",
    note = "kinds are not converted by themselves: convert with `.as_f32()`, `.as_i32()`, ...; write literals of Float as `1.0`, of Int as `1`"
)]
pub trait IntoOperand<K> {
    fn operand(self) -> Operand<K>;
}

impl<K> IntoOperand<K> for Operand<K> {
    fn operand(self) -> Operand<K> {
        self
    }
}

impl<K> IntoOperand<K> for Array<K> {
    fn operand(self) -> Operand<K> {
        Operand::Array(self)
    }
}

macro_rules! literal {
    ($($type:ty => $kind:ident),* $(,)?) => {$(
        impl IntoOperand<kind::$kind> for $type {
            fn operand(self) -> Operand<kind::$kind> {
                Operand::Literal(Literal::$kind(self.into()))
            }
        }
    )*};
}
literal!(f64 => Float, f32 => Float, i32 => Int, u8 => Int, u32 => Int, u64 => Int, bool => Bool);

impl IntoOperand<kind::Int> for usize {
    fn operand(self) -> Operand<kind::Int> {
        Operand::Literal(Literal::Int(self as i128))
    }
}

/// No type has this: it exists for the message that rustc gives for `x > 0.0`.
#[diagnostic::on_unimplemented(
    message = "arrays are compared by methods, not by operators: `x.gt(y)` for `x > y`, `x.eq(y)` for `x == y`",
    label = "Rust's comparisons give one `bool` while tracing; a comparison of arrays gives a `Bool` array",
    note = "the methods are `gt`, `ge`, `lt`, `le`, `eq`, `ne`; choose by their result with `select` or `cond`"
)]
pub trait ComparedByOperators {}

impl<K, R: ComparedByOperators> PartialEq<R> for Array<K> {
    fn eq(&self, _: &R) -> bool {
        unreachable!("no type is compared by operators")
    }
}

impl<K, R: ComparedByOperators> PartialOrd<R> for Array<K> {
    fn partial_cmp(&self, _: &R) -> Option<std::cmp::Ordering> {
        unreachable!("no type is compared by operators")
    }
}

/// The operands as arrays of one dtype and one shape.
#[track_caller]
pub(super) fn meet<K: Kind>(name: &str, a: Operand<K>, b: Operand<K>) -> [Array<K>; 2] {
    let dtype = a.dtype().or(b.dtype()).unwrap_or(K::DEFAULT);
    let (a, b) = (a.array(dtype), b.array(dtype));
    let (a_type, b_type) = (a.array_type(), b.array_type());
    if a_type.dtype != b_type.dtype {
        panic!("{name}: {a_type} and {b_type} have different dtypes; convert one of them");
    }
    match (a_type.rank(), b_type.rank()) {
        _ if a_type.shape == b_type.shape => [a, b],
        (0, _) => [a.fill(&b_type.shape), b],
        (_, 0) => [a, b.fill(&a_type.shape)],
        _ => panic!(
            "{name}: {a_type} and {b_type} do not meet; shapes must be equal or one a scalar (see broadcast)"
        ),
    }
}

/// A tree of `f` of the corresponding float leaves of two trees of one structure.
#[track_caller]
pub fn map2<T: Tree>(a: &T, b: &T, f: impl Fn(Float, Float) -> Float) -> T {
    let mut results = Vec::new();
    for (a, b) in leaves(a).into_iter().zip(leaves(b)) {
        results.push(f(Float::from_handle(a), Float::from_handle(b)).handle());
    }
    rebuild(a.duplicate(), &results)
}
