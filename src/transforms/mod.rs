//! Transforms: from graph to graph.
//!
//! Each transform is a walk over the equations of a graph and one table with a rule per op. A rule
//! looks at one equation alone and returns what it wrote; the walk knows what to do with it. The
//! tables have no wildcard, so an op without a rule does not compile.
//!
//! [`grad`] is reverse-mode differentiation.

pub mod grad;
