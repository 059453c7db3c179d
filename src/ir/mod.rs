//! The intermediate representation: one closed set of ops, graphs of equations, type inference, a
//! checker and a printer.
//!
//! A [`Graph`] is a list of [`Equation`]s over numbered variables ([`Var`]), each typed with an
//! [`ArrayType`](crate::array::ArrayType). A graph is closed: the bodies of loops and branches are
//! graphs of their own whose captures are explicit inputs, so each pass sees everything it needs in
//! one place. The set of ops ([`Op`]) is closed too, and every pass (inference here; the oracle, the
//! gradient, batching, lowering elsewhere) matches it without a wildcard: a forgotten rule does not
//! compile.
//!
//! Elementwise ops are strict (equal shapes, equal dtypes): conversions and broadcasts are equations
//! of their own, inserted by the language above.

mod build;
mod check;
mod collectives;
mod conv;
mod cumsum;
mod flops;
mod graph;
mod infer;
mod kernel;
mod native;
mod op;
mod print;

pub use build::Build;
pub use check::{check, check_appended, checked};
pub use collectives::{follows_collective, is_collective};
pub use conv::Window;
pub use flops::flops;
pub use graph::{Equation, Graph, Location, Var};
pub use infer::infer;
pub use kernel::{
    Activation, CellKind, Kernel, KernelKind, as_tables, have_rows, is_usual_conv, kernel_gradient, of_rows,
    reversed_kernel, shifted,
};
pub use native::{Native, NativeFunction};
pub(crate) use op::array_op;
pub use op::{Binary, Comparison, Op, OpKind, Reduction, ScatterKind, Unary};
