//! Transforms: graph to graph.
//!
//! A trace applies [`batch`] (vmap) and [`grad`] (reverse mode) in passing: they append their equations to an outer graph. Each has
//! one exhaustive table of rules, one per op. The passes of [`simplify`], [`cluster`] and [`loops`] prepare a whole graph for
//! its lowering and return a new one.

pub mod batch;
pub mod cluster;
pub mod grad;
pub mod loops;
pub mod simplify;
