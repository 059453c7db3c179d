//! What a function must be like so that XLA's compiler for cpu makes one kernel of it.
//!
//! A function that breaks one of these rules is no error to XLA: it aborts the process. So the rules are checked on the graph
//! before it is lowered, and a function that breaks one is written without its call: its equations stand in its place, which
//! means the same.

use crate::ir::{Equation, Graph, Op};

use super::known::{Known, Walk, known_in_bodies};

/// A rule that a function breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An output depends on every input; a parameter that is not read aborts the process.
    InputNotRead,
    /// No input depends on constants alone: XLA computes such a value early, and a call with it aborts the process.
    ConstantInput,
    /// Every array has elements: one without is never read.
    NoElements,
    /// There are only ops that can share a kernel with others.
    NeedsOwnKernel,
}

/// The graph without the calls that break a rule, and the rules that were broken.
pub fn without_broken_calls(graph: &Graph) -> (Graph, Vec<Rule>) {
    let mut broken = Vec::new();
    let graph = mend(graph, &vec![Known::Nothing; graph.inputs.len()], &mut broken);
    (graph, broken)
}

fn mend<'a>(graph: &'a Graph, inputs: &[Known<'a>], broken: &mut Vec<Rule>) -> Graph {
    let mut walk = Walk::new(graph, inputs);
    for equation in &graph.equations {
        let (inputs, known) = (walk.vars(&equation.inputs), walk.known(&equation.inputs));
        let outputs = match broken_rule(equation, &known) {
            Some((rule, function)) => {
                broken.push(rule);
                walk.out.inline(&super::without_calls(function), &inputs)
            }
            None => {
                let mut known = known_in_bodies(&equation.op, &known).into_iter();
                walk.out.copy_with(equation, &inputs, |body| {
                    mend(body, &known.next().expect("one per body"), broken)
                })
            }
        };
        walk.bind(equation, &outputs);
    }
    walk.finish()
}

/// The rule that a call breaks, and its function.
fn broken_rule<'a>(equation: &'a Equation, inputs: &[Known]) -> Option<(Rule, &'a Graph)> {
    let Op::Call { graph } = &equation.op else { return None };
    let rule = if inputs.iter().any(|input| input.is_known()) {
        Rule::ConstantInput
    } else if !has_elements(graph) {
        Rule::NoElements
    } else if !shares_kernel(graph) {
        Rule::NeedsOwnKernel
    } else if !reads_all_inputs(graph) {
        Rule::InputNotRead
    } else {
        return None;
    };
    Some((rule, graph))
}

fn has_elements(graph: &Graph) -> bool {
    let vars = graph.inputs.iter().chain(graph.equations.iter().flat_map(|equation| &equation.outputs));
    let mut vars = vars.map(|&var| graph.array_type(var).size() > 0);
    vars.all(|some| some)
        && graph.equations.iter().flat_map(|equation| equation.op.bodies()).all(has_elements)
}

fn shares_kernel(graph: &Graph) -> bool {
    graph.equations.iter().all(|equation| {
        role(&equation.op) != Role::NeedsOwnKernel && equation.op.bodies().into_iter().all(shares_kernel)
    })
}

/// Whether some output depends on each input.
fn reads_all_inputs(graph: &Graph) -> bool {
    let mut needed = vec![false; graph.num_vars()];
    graph.outputs.iter().for_each(|output| needed[output.0 as usize] = true);
    for equation in graph.equations.iter().rev() {
        if equation.outputs.iter().any(|output| needed[output.0 as usize]) {
            equation.inputs.iter().for_each(|input| needed[input.0 as usize] = true);
        }
    }
    graph.inputs.iter().all(|input| needed[input.0 as usize])
}

/// What an op can be in a cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A view of its input, written again wherever it is read, since it costs nothing there.
    View,
    /// A part of a cluster if all its arrays are small.
    Small,
    /// A part of a cluster if its outputs are small: it reads no more of its input than that.
    Reader,
    /// A part of a cluster if the equations of its bodies are.
    Bodies,
    /// No part of a cluster.
    NeedsOwnKernel,
}

pub fn role(op: &Op) -> Role {
    match op {
        Op::Constant(_) | Op::Iota { .. } | Op::Reshape { .. } | Op::Broadcast { .. } | Op::StopGradient => {
            Role::View
        }
        Op::Gather { .. } | Op::Slice { .. } | Op::DynamicSlice { .. } => Role::Reader,
        Op::While { .. } | Op::Scan { .. } | Op::Cond { .. } | Op::Rare { .. } => Role::Bodies,
        Op::Dot { .. }
        | Op::Conv { .. }
        | Op::Kernel(_)
        | Op::Native(_)
        | Op::Scatter { .. }
        | Op::AllReduce
        | Op::ReplicaId
        | Op::Barrier
        | Op::Call { .. } => Role::NeedsOwnKernel,
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert(_)
        | Op::Bitcast(_)
        | Op::Threefry
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Concatenate { .. }
        | Op::Reverse { .. }
        | Op::Reduce { .. }
        | Op::DynamicUpdateSlice => Role::Small,
    }
}
