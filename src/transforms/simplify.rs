//! Leaves out what no result depends on, and writes kernels without a native function as plain ops.
//!
//! XLA does the rest (it folds constants and merges equal equations), and better.

use crate::array::ArrayType;
use crate::ir::Op;
use crate::ir::{Graph, Kernel};

/// The graph without the equations that none of its outputs depends on, also in its bodies.
pub fn without_dead_equations(graph: &Graph) -> Graph {
    let mut needed = vec![false; graph.num_vars()];
    graph.outputs.iter().for_each(|output| needed[output.0 as usize] = true);
    for equation in graph.equations.iter().rev() {
        if equation.outputs.iter().any(|output| needed[output.0 as usize]) {
            equation.inputs.iter().for_each(|input| needed[input.0 as usize] = true);
        }
    }
    let mut kept = graph.clone();
    kept.equations.retain(|equation| equation.outputs.iter().any(|output| needed[output.0 as usize]));
    kept.rewritten(&mut |out, equation, inputs| out.copy_with(equation, inputs, without_dead_equations))
}

/// The graph with the twin of each kernel that is not native for inputs of its types.
pub fn with_twins(graph: &Graph, is_native: &dyn Fn(Kernel, &[ArrayType]) -> bool) -> Graph {
    graph.rewritten(&mut |out, equation, inputs| {
        let types: Vec<ArrayType> = inputs.iter().map(|&input| out.array_type(input).clone()).collect();
        match &equation.op {
            Op::Kernel(kernel) if !is_native(*kernel, &types) => {
                let twin = kernel.twin(&types, equation.location);
                out.inline(&with_twins(&twin, is_native), inputs)
            }
            _ => out.copy_with(equation, inputs, |body| with_twins(body, is_native)),
        }
    })
}
