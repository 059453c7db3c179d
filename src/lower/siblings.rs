//! Small networks that do not wait for each other, as one call: an actor and a critic, or the networks of DQN.
//!
//! A call costs something however little it computes, and where it computes much, the native function takes a core for each
//! of the networks.

use std::collections::HashSet;

use crate::array::ArrayType;
use crate::ir::{Equation, Graph, Kernel, Op, Var};
use crate::runtime::kernels;

use super::{Lowering, Names, Value, values};

/// The equations in an order in which they can be run, those together that are one call.
pub(super) fn side_by_side(graph: &Graph, native: bool) -> Vec<Vec<&Equation>> {
    let mut steps = Vec::new();
    let mut written = vec![false; graph.equations.len()];
    for (first, equation) in graph.equations.iter().enumerate() {
        if written[first] {
            continue;
        }
        let mut together = vec![equation];
        if native && is_network(&equation.op) {
            // What the networks make, and what is made later.
            let mut later: HashSet<Var> = equation.outputs.iter().copied().collect();
            for (next, written) in graph.equations.iter().zip(&mut written).skip(first + 1) {
                let waits = next.inputs.iter().any(|input| later.contains(input));
                match (*written, waits) {
                    (false, false) if same_network(&equation.op, &next.op) => together.push(next),
                    (false, false) if is_free(&next.op) => steps.push(vec![next]),
                    (false, _) => {
                        later.extend(&next.outputs);
                        continue;
                    }
                    (true, _) => continue,
                }
                if same_network(&equation.op, &next.op) {
                    later.extend(&next.outputs);
                }
                *written = true;
            }
        }
        steps.push(together);
    }
    steps
}

/// What costs nothing, so that it may come earlier.
fn is_free(op: &Op) -> bool {
    matches!(
        op,
        Op::Constant(_) | Op::Reshape { .. } | Op::Broadcast { .. } | Op::Iota { .. } | Op::Slice { .. }
    )
}

fn is_network(op: &Op) -> bool {
    matches!(op, Op::Kernel(Kernel::Mlp { .. } | Kernel::MlpGradient { .. }))
}

/// Whether both are the same call, for networks of any sizes.
fn same_network(a: &Op, b: &Op) -> bool {
    match (a, b) {
        (Op::Kernel(Kernel::Mlp { activation: a, .. }), Op::Kernel(Kernel::Mlp { activation: b, .. }))
        | (
            Op::Kernel(Kernel::MlpGradient { activation: a, .. }),
            Op::Kernel(Kernel::MlpGradient { activation: b, .. }),
        ) => a == b,
        _ => false,
    }
}

impl Lowering<'_> {
    /// Writes networks as one call.
    pub(super) fn kernels(&mut self, graph: &Graph, equations: &[&Equation], names: &mut Names) {
        let (target, activation) = match equations[0].op {
            Op::Kernel(Kernel::Mlp { activation, .. }) => (kernels::MLPS, activation),
            Op::Kernel(Kernel::MlpGradient { activation, .. }) => (kernels::MLP_GRADIENTS, activation),
            ref other => unreachable!("{} is no network", other.name()),
        };
        let mut attributes = vec![(kernels::ACTIVATION.to_owned(), activation as i32)];
        for (i, equation) in equations.iter().enumerate() {
            let sizes = [equation.inputs.len() as i32, equation.outputs.len() as i32];
            attributes.extend(kernels::sizes_of(i).into_iter().zip(sizes));
        }
        let of = |vars: fn(&Equation) -> &[Var]| -> Vec<Var> {
            equations.iter().flat_map(|equation| vars(equation)).copied().collect()
        };
        let inputs: Vec<Value> = values(graph, &of(|equation| &equation.inputs), names);
        let outputs = of(|equation| &equation.outputs);
        let types: Vec<ArrayType> = outputs.iter().map(|&var| graph.array_type(var).clone()).collect();
        let results = self.call_kernel(target, attributes, &inputs, &[], &types, equations[0].location);
        for (var, name) in outputs.into_iter().zip(results) {
            names.set(var, name);
        }
    }
}
