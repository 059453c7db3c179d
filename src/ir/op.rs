//! The closed set of ops. Each variant says what its inputs are, in order.

use std::sync::Arc;

use strum::{EnumDiscriminants, EnumIter};

use crate::array::{DType, HostArray, Shape};

use super::{Graph, Kernel, Native, Window};

/// Elementwise, one input, output of the same type (`IsFinite`: bool).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Unary {
    Neg,
    Abs,
    /// -1, 0 or 1.
    Sign,
    Exp,
    Log,
    Log1p,
    Expm1,
    Tanh,
    Sin,
    Cos,
    Sqrt,
    Rsqrt,
    Floor,
    Ceil,
    /// To the nearest integer, ties to even.
    Round,
    Logistic,
    IsFinite,
    /// Bitwise on integers, logical on bool.
    Not,
    PopulationCount,
    CountLeadingZeros,
}

impl Unary {
    /// Whether the op is defined for `dtype`.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Unary::Neg => dtype != DType::Bool,
            Unary::Abs | Unary::Sign => dtype.is_signed(),
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
            | Unary::IsFinite => dtype.is_float(),
            Unary::Not => !dtype.is_float(),
            Unary::PopulationCount | Unary::CountLeadingZeros => dtype.is_int(),
        }
    }
}

/// Elementwise, two inputs of one type, output of the same type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    /// Integers: truncates toward zero.
    Div,
    /// Sign of the dividend.
    Rem,
    Pow,
    Max,
    Min,
    And,
    Or,
    Xor,
    /// A shift by the width or more gives 0.
    ShiftLeft,
    /// Logical: zeros come in. A shift by the width or more gives 0.
    ShiftRight,
}

impl Binary {
    /// Whether the op is defined for `dtype`.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Binary::Add | Binary::Sub | Binary::Mul | Binary::Div | Binary::Rem => dtype != DType::Bool,
            Binary::Pow => dtype.is_float(),
            Binary::Max | Binary::Min => dtype != DType::Bool,
            Binary::And | Binary::Or | Binary::Xor => !dtype.is_float(),
            Binary::ShiftLeft | Binary::ShiftRight => dtype.is_int(),
        }
    }
}

/// Elementwise, two inputs of one type, output bool. NaN compares unequal to everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum Reduction {
    Sum,
    Max,
    Min,
    /// All of a bool array.
    And,
    /// Any of a bool array.
    Or,
}

impl Reduction {
    /// Whether the reduction is defined for `dtype`.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Reduction::Sum | Reduction::Max | Reduction::Min => dtype != DType::Bool,
            Reduction::And | Reduction::Or => dtype == DType::Bool,
        }
    }
}

/// What [`Op::Scatter`] does with an element that it meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter)]
pub enum ScatterKind {
    Set,
    Add,
}

/// One primitive operation. Its bodies are shared, so that a copy costs little however much they hold. `OpKind` is an op without
/// what it is made of, for those who go through all ops.
#[derive(Clone, Debug, EnumDiscriminants)]
#[strum_discriminants(name(OpKind), derive(Hash, PartialOrd, Ord, EnumIter))]
pub enum Op {
    /// () -> the array.
    Constant(HostArray),
    /// () -> an array whose element is its own index along `axis`.
    Iota { dtype: DType, shape: Shape, axis: usize },
    /// (x)
    Unary(Unary),
    /// (a, b)
    Binary(Binary),
    /// (a, b) -> bool
    Compare(Comparison),
    /// (cond, on_true, on_false), all of one shape.
    Select,
    /// (x): to another dtype. Float to integer truncates; to bool means "is not zero".
    Convert(DType),
    /// (x): the same bits as another dtype of the same width.
    Bitcast(DType),
    /// (x): the same value, through which no gradient flows.
    StopGradient,
    /// (key0, key1, x0, x1), u32 of one shape -> (y0, y1): the threefry2x32 block cipher with 20 rounds
    /// (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
    Threefry,
    /// (x): axis `i` of the input becomes axis `axes[i]` of the output; the other axes are new.
    Broadcast { shape: Shape, axes: Vec<usize> },
    /// (x): the same elements in row-major order.
    Reshape { shape: Shape },
    /// (x): axis `i` of the output is axis `permutation[i]` of the input.
    Transpose { permutation: Vec<usize> },
    /// (x)
    Slice { start: Vec<usize>, limit: Vec<usize>, stride: Vec<usize> },
    /// (x, fill): `interior` counts the elements put between neighbours.
    Pad { low: Vec<usize>, high: Vec<usize>, interior: Vec<usize> },
    /// (x, y, ...)
    Concatenate { axis: usize },
    /// (x)
    Reverse { axes: Vec<usize> },
    /// (a, b): contracts pairs of axes; output axes are batch, then free axes of `a`, then of `b`.
    Dot { batch: (Vec<usize>, Vec<usize>), contract: (Vec<usize>, Vec<usize>) },
    /// (images `[N, H, W, C]`, kernel `[KH, KW, C, O]`) -> `[N, H', W', O]`: the windows are those along H and W. The kernel is not
    /// reversed.
    Conv { windows: [Window; 2] },
    /// What the kernel says.
    Kernel(Kernel),
    /// A function of a native environment.
    Native(Native),
    /// (x): the axes vanish.
    Reduce { kind: Reduction, axes: Vec<usize> },
    /// (x, start_0, start_1, ...), starts are i32 scalars, clamped so that the window fits.
    DynamicSlice { sizes: Vec<usize> },
    /// (x, update, start_0, start_1, ...), starts as in `DynamicSlice`.
    DynamicUpdateSlice,
    /// (x, indices i32): entries along `axis`; the axes of `indices` take the place of `axis`. Indices are
    /// clamped.
    Gather { axis: usize },
    /// (x, indices i32, updates): the reverse of `Gather`; an index out of bounds writes nothing. With
    /// `Set`, indices must not repeat.
    Scatter { axis: usize, kind: ScatterKind },
    /// (cond captures, body captures, carry): `cond` maps (cond captures, carry) to a bool scalar,
    /// `body` maps (body captures, carry) to the next carry.
    While { cond: Arc<Graph>, body: Arc<Graph>, cond_captures: usize, body_captures: usize },
    /// (pred, inputs of `on_true`, inputs of `on_false`).
    Cond { on_true: Arc<Graph>, on_false: Arc<Graph> },
    /// (captures, carry, xs) -> (carry, ys): `body` maps (captures, carry, x) to (carry, y); `xs` and `ys`
    /// have a leading axis of size `length`.
    Scan { body: Arc<Graph>, captures: usize, carry: usize, length: usize, reverse: bool },
    /// (pred, captures, operand) -> operand: `body` maps (captures, operand) to the new operand where pred
    /// holds; elsewhere the operand stays. Under vmap it runs on groups of the rows that need it.
    Rare { body: Arc<Graph>, captures: usize },
    /// (inputs of the graph) -> its outputs: the same as its equations in place, but a function of its own, which XLA's compiler
    /// for cpu compiles into one kernel. `transforms::cluster` makes such calls and says what a function must be like.
    Call { graph: Arc<Graph> },
    /// (x, y, ...) -> the same values, all computed before any is used: keeps the compiler from computing
    /// an expensive value again inside each of its uses.
    Barrier,
    /// (x): the sum over all replicas.
    AllReduce,
    /// () -> u32 scalar: the number of this replica.
    ReplicaId,
}

/// The pattern of the ops that compute arrays from arrays and do nothing else: without bodies, replicas, kernels, native functions or marks for
/// a transform. Whoever treats them all alike says so with it, and lists the others: a new op then belongs either here or there.
macro_rules! array_op {
    () => {
        $crate::ir::Op::Constant(_)
            | $crate::ir::Op::Iota { .. }
            | $crate::ir::Op::Unary(_)
            | $crate::ir::Op::Binary(_)
            | $crate::ir::Op::Compare(_)
            | $crate::ir::Op::Select
            | $crate::ir::Op::Convert(_)
            | $crate::ir::Op::Bitcast(_)
            | $crate::ir::Op::Threefry
            | $crate::ir::Op::Broadcast { .. }
            | $crate::ir::Op::Reshape { .. }
            | $crate::ir::Op::Transpose { .. }
            | $crate::ir::Op::Slice { .. }
            | $crate::ir::Op::Pad { .. }
            | $crate::ir::Op::Concatenate { .. }
            | $crate::ir::Op::Reverse { .. }
            | $crate::ir::Op::Dot { .. }
            | $crate::ir::Op::Conv { .. }
            | $crate::ir::Op::Reduce { .. }
            | $crate::ir::Op::DynamicSlice { .. }
            | $crate::ir::Op::DynamicUpdateSlice
            | $crate::ir::Op::Gather { .. }
            | $crate::ir::Op::Scatter { .. }
    };
}
pub(crate) use array_op;

impl Op {
    /// The name that messages and printed graphs use.
    pub fn name(&self) -> String {
        match self {
            Op::Constant(_) => "constant".into(),
            Op::Iota { .. } => "iota".into(),
            Op::Unary(unary) => snake(&format!("{unary:?}")),
            Op::Binary(binary) => snake(&format!("{binary:?}")),
            Op::Compare(comparison) => snake(&format!("{comparison:?}")),
            Op::Select => "select".into(),
            Op::Convert(dtype) => format!("convert_{dtype}"),
            Op::Bitcast(dtype) => format!("bitcast_{dtype}"),
            Op::StopGradient => "stop_gradient".into(),
            Op::Threefry => "threefry2x32".into(),
            Op::Broadcast { .. } => "broadcast".into(),
            Op::Reshape { .. } => "reshape".into(),
            Op::Transpose { .. } => "transpose".into(),
            Op::Slice { .. } => "slice".into(),
            Op::Pad { .. } => "pad".into(),
            Op::Concatenate { .. } => "concatenate".into(),
            Op::Reverse { .. } => "reverse".into(),
            Op::Dot { .. } => "dot".into(),
            Op::Conv { .. } => "conv2d".into(),
            Op::Kernel(kernel) => kernel.name().into(),
            Op::Native(native) => native.function.name().into(),
            Op::Reduce { kind, .. } => format!("reduce_{}", snake(&format!("{kind:?}"))),
            Op::DynamicSlice { .. } => "dynamic_slice".into(),
            Op::DynamicUpdateSlice => "dynamic_update_slice".into(),
            Op::Gather { .. } => "gather".into(),
            Op::Scatter { kind, .. } => format!("scatter_{}", snake(&format!("{kind:?}"))),
            Op::While { .. } => "while_loop".into(),
            Op::Cond { .. } => "cond".into(),
            Op::Scan { .. } => "scan".into(),
            Op::Rare { .. } => "rare".into(),
            Op::Call { .. } => "call".into(),
            Op::Barrier => "barrier".into(),
            Op::AllReduce => "all_reduce".into(),
            Op::ReplicaId => "replica_id".into(),
        }
    }

    /// The graphs inside an op.
    pub fn bodies(&self) -> Vec<&Graph> {
        match self {
            Op::While { cond, body, .. } => vec![cond, body],
            Op::Cond { on_true, on_false } => vec![on_true, on_false],
            Op::Scan { body, .. } | Op::Rare { body, .. } | Op::Call { graph: body } => vec![body],
            array_op!()
            | Op::StopGradient
            | Op::Kernel(_)
            | Op::Native(_)
            | Op::Barrier
            | Op::AllReduce
            | Op::ReplicaId => Vec::new(),
        }
    }

    /// The same graphs, to put others in their places.
    pub fn bodies_mut(&mut self) -> Vec<&mut Arc<Graph>> {
        match self {
            Op::While { cond, body, .. } => vec![cond, body],
            Op::Cond { on_true, on_false } => vec![on_true, on_false],
            Op::Scan { body, .. } | Op::Rare { body, .. } | Op::Call { graph: body } => vec![body],
            array_op!()
            | Op::StopGradient
            | Op::Kernel(_)
            | Op::Native(_)
            | Op::Barrier
            | Op::AllReduce
            | Op::ReplicaId => Vec::new(),
        }
    }
}

/// `CountLeadingZeros` -> `count_leading_zeros`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_ascii_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
