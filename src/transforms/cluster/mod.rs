//! Clusters: runs of small equations as functions that XLA's compiler for cpu compiles into one kernel each.
//!
//! That compiler starts a kernel for each fusion. Where arrays are as small as a batch of environments, the starts cost more than
//! the work: a step of CartPole took 70 of them. It can also compile a whole function into one kernel, its loops and branches
//! included. So this pass gathers the equations on small arrays into functions ([`Op::Call`]). It goes from graph to graph:
//! the checker and the oracle see what it makes, and the lowering only writes it. Other devices need no clusters.
//!
//! - here: the pass, which writes each graph again with its clusters
//! - `carry`: what is small of what a scan carries and gives as one array
//! - `plan`: which equations become a cluster, and the order of all
//! - `known`: which values XLA computes while it compiles
//! - `rules`: what a function must be like so that XLA does not abort the process

mod carry;
mod known;
mod plan;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;

use crate::array::DType;
use crate::ir::{Binary, Build, Equation, Graph, Op, Var};

use super::loops::Scan;
use carry::with_packed_scans;
use known::{Known, Walk, known_in_bodies};
use plan::{Members, Step, steps};
pub use rules::{Rule, without_broken_calls};

/// The graph with its clusters, also in the bodies of loops and branches that stand outside of all clusters; scans there become
/// loops, so that what belongs to the loop is clustered with the rest. Dead equations must be gone.
pub fn cluster(graph: &Graph) -> Graph {
    cluster_body(&with_packed_scans(graph), &vec![Known::Nothing; graph.inputs.len()])
}

/// The graph with the equations of each function in the place of its call.
pub fn without_calls(graph: &Graph) -> Graph {
    graph.rewritten(&mut |out, equation, inputs| match &equation.op {
        Op::Call { graph } => out.inline(&without_calls(graph), inputs),
        _ => out.copy_with(equation, inputs, without_calls),
    })
}

fn cluster_body<'a>(graph: &'a Graph, inputs: &[Known<'a>]) -> Graph {
    let mut walk = Walk::new(graph, inputs);
    let folded: Vec<bool> = walk.known.iter().map(|known| matches!(known, Known::Folded)).collect();
    for step in steps(graph, &folded) {
        match step {
            Step::Alone(e) => write_alone(&mut walk, &graph.equations[e]),
            Step::Cluster(members) => write_call(&mut walk, &members),
        }
    }
    walk.finish()
}

/// Writes an equation that is in no cluster, with clusters in its bodies.
fn write_alone<'a>(walk: &mut Walk<'a>, equation: &'a Equation) {
    let (inputs, known) = (walk.vars(&equation.inputs), walk.known(&equation.inputs));
    let outputs = match &equation.op {
        &Op::Scan { ref body, captures, carry, length, reverse } => {
            let scan = Scan { body, captures, carry, length, reverse, location: equation.location };
            let captured = [&known[..captures], &known[captures + carry..]].concat();
            scan.write(&mut walk.out, &inputs, |cond, body| {
                let mut known = captured;
                known.resize(body.inputs.len(), Known::Nothing);
                let cond = cluster_body(&cond, &vec![Known::Nothing; cond.inputs.len()]);
                [cond, cluster_body(&body, &known)]
            })
        }
        op => {
            let mut op = op.clone();
            let bodies = equation.op.bodies().into_iter().zip(known_in_bodies(&equation.op, &known));
            for (new, (old, known)) in op.bodies_mut().into_iter().zip(bodies) {
                *new = Arc::new(cluster_body(old, &known));
            }
            Build::new(&mut walk.out, equation.location).many(op, &inputs)
        }
    };
    walk.bind(equation, &outputs);
}

/// Writes a cluster as a function and its call. Constants from outside are written again inside, where XLA can fold them.
fn write_call(walk: &mut Walk, members: &Members) {
    let mut function = Graph::new();
    let mut inner: HashMap<Var, Var> = HashMap::new();
    let mut passed = Vec::new();
    let at = walk.source.equations[members.equations[0]].location;
    for &input in &members.inputs {
        let var = match walk.known(&[input])[0] {
            Known::Constant(value) => Build::new(&mut function, at).one(Op::Constant(value.clone()), &[]),
            Known::Folded | Known::Nothing => {
                passed.push(walk.vars(&[input])[0]);
                function.input(walk.source.array_type(input).clone())
            }
        };
        inner.insert(input, var);
    }
    for &e in &members.equations {
        let equation = &walk.source.equations[e];
        let inputs: Vec<Var> = equation.inputs.iter().map(|input| inner[input]).collect();
        let outputs = Build::new(&mut function, equation.location).many(equation.op.clone(), &inputs);
        inner.extend(equation.outputs.iter().copied().zip(outputs));
    }
    function.outputs = members.outputs.iter().map(|output| inner[output]).collect();
    let checksum = checksum_of_inputs(&mut Build::new(&mut function, at));
    function.outputs.push(checksum);
    let outputs = Build::new(&mut walk.out, at).many(Op::Call { graph: Arc::new(function) }, &passed);
    for (&source, var) in members.outputs.iter().zip(outputs) {
        walk.set(source, var, Known::Nothing);
    }
}

/// A number that depends on all inputs of a function, as its last output: by its own simplifications XLA may find that a
/// parameter is not needed for the others ([`Rule::InputNotRead`]).
fn checksum_of_inputs(build: &mut Build) -> Var {
    let mut all = build.scalar(0.0, DType::U32);
    for input in build.graph.inputs.clone() {
        let array_type = build.array_type(input);
        let ones = vec![1; array_type.rank()];
        let op = Op::Slice { start: vec![0; ones.len()], limit: ones.clone(), stride: ones };
        let first = if array_type.rank() == 0 { input } else { build.one(op, &[input]) };
        let first = build.reshape(first, &[]);
        let bits = if array_type.dtype.is_float() {
            let float = build.convert(first, DType::F32);
            build.one(Op::Bitcast(DType::U32), &[float])
        } else {
            build.convert(first, DType::U32)
        };
        all = build.binary(Binary::Xor, all, bits);
    }
    all
}

#[cfg(test)]
mod tests;
