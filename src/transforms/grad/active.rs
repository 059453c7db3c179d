//! Which variables a cotangent can travel through.

use crate::ir::{Graph, Kernel, Op, Unary, Var, array_op};

/// For each variable of `graph`, whether it is a float that depends on a float input with `wrt`.
pub fn active_vars(graph: &Graph, wrt: &[bool]) -> Vec<bool> {
    let is_float = |var: Var| graph.array_type(var).dtype.is_float();
    let mut active = vec![false; graph.num_vars()];
    for (&input, &wrt) in graph.inputs.iter().zip(wrt) {
        active[input.0 as usize] = wrt && is_float(input);
    }
    for equation in &graph.equations {
        let inputs: Vec<bool> = equation.inputs.iter().map(|x| active[x.0 as usize]).collect();
        if inputs.contains(&true) {
            for (&output, depends) in equation.outputs.iter().zip(active_outputs(&equation.op, &inputs)) {
                active[output.0 as usize] = depends && is_float(output);
            }
        }
    }
    active
}

/// Which outputs of a graph are active.
fn active_results(graph: &Graph, wrt: &[bool]) -> Vec<bool> {
    let active = active_vars(graph, wrt);
    graph.outputs.iter().map(|y| active[y.0 as usize]).collect()
}

/// Which parts of the carry of a loop are active in some step. `wrt` are the flags of the inputs of `body`,
/// of which `carry` starts at `at`.
fn active_carry(body: &Graph, wrt: &[bool], at: usize, carry: usize) -> Vec<bool> {
    let mut wrt = wrt.to_vec();
    loop {
        let next = active_results(body, &wrt);
        let before = wrt.clone();
        (0..carry).for_each(|i| wrt[at + i] |= next[i]);
        if wrt == before {
            return wrt.split_off(at)[..carry].to_vec();
        }
    }
}

/// Which outputs of an op depend on its active inputs `x` in a way that has a gradient.
fn active_outputs(op: &Op, x: &[bool]) -> Vec<bool> {
    match op {
        Op::StopGradient => vec![false],
        Op::Native(_) => vec![false; 5], // nobody knows the derivatives of a library: its results are constants
        Op::Unary(Unary::Sign | Unary::Floor | Unary::Ceil | Unary::Round) => vec![false],
        Op::While { body, cond_captures, body_captures, .. } => {
            let x = &x[*cond_captures..];
            active_carry(body, x, *body_captures, x.len() - body_captures)
        }
        Op::Cond { on_true, on_false } => {
            let (on_true_wrt, on_false_wrt) = x[1..].split_at(on_true.inputs.len());
            either(&active_results(on_true, on_true_wrt), &active_results(on_false, on_false_wrt))
        }
        Op::Scan { body, captures, carry, .. } => {
            let active = scan_inputs(body, x, *captures, *carry);
            let outputs = active_results(body, &active);
            [&active[*captures..captures + carry], &outputs[*carry..]].concat()
        }
        Op::Kernel(Kernel::Mlp { layers, .. }) => vec![true; *layers],
        Op::Kernel(Kernel::Pack { .. }) => vec![true, false],
        Op::Kernel(Kernel::MlpGradient { .. }) => vec![true; x.len()],
        Op::Kernel(Kernel::Recurrent { cell }) => vec![true; cell.remembered() + 1],
        Op::Kernel(Kernel::RecurrentGradient { cell }) => vec![true; 3 + cell.remembered()],
        Op::Kernel(Kernel::Adam) => vec![true; 4],
        Op::Kernel(_) => vec![true],
        Op::Rare { body, captures } => either(&active_results(body, &x[1..]), &x[1 + captures..]),
        Op::Call { graph } => active_results(graph, x),
        Op::Barrier => x.to_vec(),
        array_op!() | Op::AllReduce | Op::ReplicaId => vec![true; 2],
    }
}

/// The flags of the inputs of a scan's body, where `x` are those of the scan.
pub fn scan_inputs(body: &Graph, x: &[bool], captures: usize, carry: usize) -> Vec<bool> {
    let mut active = x.to_vec();
    active[captures..captures + carry].copy_from_slice(&active_carry(body, x, captures, carry));
    active
}

fn either(a: &[bool], b: &[bool]) -> Vec<bool> {
    a.iter().zip(b).map(|(a, b)| a | b).collect()
}
