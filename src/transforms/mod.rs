//! Transforms: graph to graph.
//!
//! A transform appends its equations to an outer graph, so that a trace can apply it in passing: [`batch`]
//! is vmap, [`grad`] reverse mode. Each has one exhaustive table of rules, one per op.

pub mod batch;
pub mod grad;
