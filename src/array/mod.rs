//! The nouns that every layer shares: [`DType`], [`ArrayType`] (dtype and shape) and [`HostArray`]
//! (values on the host).
//!
//! They stand at the very bottom, below the runtime: the IR types its variables with `ArrayType`,
//! the runtime turns `HostArray`s into device buffers and back, checkpoints store them. Nothing here
//! knows what a graph or a device is.

mod dtype;
mod host_array;

pub use dtype::{ArrayType, DType, Shape};
pub use host_array::{Element, HostArray};
pub(crate) use host_array::{with_element, with_values};
