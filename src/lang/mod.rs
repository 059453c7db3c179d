//! The array language: all that environments and algorithms see.
//!
//! Code in it is ordinary Rust over copyable handles ([`Float`], [`Int`], [`Bool`]) that are traced into a
//! graph. The rules:
//!
//! 1. A Rust number is known while tracing and becomes a constant; an array is known only on the device.
//! 2. Arrays never change: `a.at(i).set(v)` returns a new one.
//! 3. Two arrays meet if their shapes are equal or one is a scalar. Ranks never broadcast by themselves.
//! 4. No implicit change of kind or precision; a literal takes the dtype of the array it meets; otherwise
//!    convert (`as_f32`, `as_u64`, ...).
//! 5. Reading out of bounds gives the nearest element, writing out of bounds does nothing.
//! 6. Rust's `if` and `while` cannot look into a [`Bool`]. [`select`] computes both sides; [`cond`](fn@cond) one; under [`vmap`], `cond` becomes `select`; [`rare`]
//!    pays only for the examples that need it.
//! 7. A [`Key`] is consumed by use; `let [a, b] = key.split();` makes new ones.
//! 8. What runs many times takes an `Fn`, what runs once an `FnOnce`.
//! 9. Mistakes panic while tracing, at the line of the code that made them, and say the fix.

mod array;
mod control;
mod conv;
mod features;
mod jit;
mod native;
mod operators;
mod outputs;
mod program;
mod random;
mod shape;
mod trace;
mod tree;

pub use array::{
    Array, Bool, ComparedByOperators, Float, Int, IntoOperand, Kind, Literal, Numeric, Operand, arange,
    boolean, constant, float, int, int_u32, int_u64, iota, kind, map2,
};
pub use control::{
    all_gather, all_reduce, barrier, cond, merge_first_axes, put_tree, rare, ravel, repeat_tree, replica_id,
    scan, scan_range, scan_reverse, select, select_tree, split_first_axis, swap_first_axes, take_tree,
    unravel, update_tree, value_and_grad, vmap, vmap_last, while_loop,
};
pub use conv::{Conv2d, Padding, conv2d};
pub use features::{Features, Packing};
pub use jit::{
    Backend, HostFunction, Input, Jit, Lowered, OnDevice, Routine, compile_both, numbered, positions,
};
pub use native::{NativeEnv, NativeStep};
pub use outputs::Outputs;
pub use program::{Signature, inline, structure_of, trace};
pub use random::{Key, below, unit_interval};
pub use shape::{At, adam, concatenate, linear_recurrence, linear_recurrence_reverse, stack, stack_at};
pub use trace::{Handle, is_tracing, target, traced_for};
pub use tree::{Leaves, Path, Tree, leaf_paths, leaf_types, leaves, rebuild, structure};
