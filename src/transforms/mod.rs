//! Transforms: graph to graph. [`batch`] is vmap.

pub mod batch;
