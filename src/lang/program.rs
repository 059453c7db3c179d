//! From a Rust function over trees to a graph, and the structure of what it takes and returns.

use crate::array::ArrayType;
use crate::ir::Graph;

use super::trace::{emit_with, trace_root};
use super::tree::{Tree, leaf_paths, leaf_types, leaves, rebuild, structure};

/// A traced function: its graph, and the structure of its result (leaves are placeholders).
pub struct Signature<Y> {
    pub graph: Graph,
    pub output: Y,
    /// Paths of the inputs and outputs, in the order of the graph's.
    pub input_names: Vec<String>,
    pub output_names: Vec<String>,
}

/// Traces `function`. `input` only describes the structure: its leaves may be placeholders.
#[track_caller]
pub fn trace<X: Tree, Y: Tree>(input: &X, function: impl FnOnce(X) -> Y) -> Signature<Y> {
    let types: Vec<ArrayType> = leaf_types(input);
    let shape = input.duplicate();
    let mut output = None;
    let graph = trace_root(&types, |parameters| {
        let result = function(rebuild(shape, &parameters));
        let handles = leaves(&result);
        output = Some(structure(result));
        handles
    });
    let output = output.expect("traced");
    Signature { graph, input_names: leaf_paths(input), output_names: leaf_paths(&output), output }
}

/// The result of a function that was traced: its equations become part of the trace that is active.
#[track_caller]
pub fn inline<X: Tree, Y: Tree>(function: &Signature<Y>, input: &X) -> Y {
    let outputs = emit_with(&leaves(input), |graph, vars, _| Ok(graph.inline(&function.graph, vars)));
    rebuild(function.output.duplicate(), &outputs)
}

/// The structure that `function` returns, found by tracing it into a graph that is thrown away.
#[track_caller]
pub fn structure_of<Y: Tree>(function: impl FnOnce() -> Y) -> Y {
    trace(&(), |()| function()).output
}
