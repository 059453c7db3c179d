//! Which outputs of a body depend on batched inputs, found before it is batched.
//!
//! A carry that is unbatched at first may become batched in a later round, so the loops are followed until nothing
//! changes any more.

use crate::ir::{Equation, Graph, Op, array_op};

/// Which outputs of `graph` depend on batched inputs.
pub(super) fn batched_outputs(graph: &Graph, inputs: &[bool]) -> Vec<bool> {
    let mut batched = vec![false; graph.num_vars()];
    for (var, &input) in graph.inputs.iter().zip(inputs) {
        batched[var.0 as usize] = input;
    }
    for equation in &graph.equations {
        let inputs: Vec<bool> = equation.inputs.iter().map(|var| batched[var.0 as usize]).collect();
        let outputs = equation_outputs(equation, &inputs);
        for (var, output) in equation.outputs.iter().zip(outputs) {
            batched[var.0 as usize] = output;
        }
    }
    graph.outputs.iter().map(|var| batched[var.0 as usize]).collect()
}

fn equation_outputs(equation: &Equation, inputs: &[bool]) -> Vec<bool> {
    match &equation.op {
        Op::While { cond, body, cond_captures, body_captures } => {
            while_carry(cond, body, *cond_captures, *body_captures, inputs).0
        }
        Op::Cond { on_true, on_false } => {
            let split = 1 + on_true.inputs.len();
            let on_true = batched_outputs(on_true, &inputs[1..split]);
            let on_false = batched_outputs(on_false, &inputs[split..]);
            on_true.iter().zip(&on_false).map(|(a, b)| inputs[0] || *a || *b).collect()
        }
        Op::Scan { body, captures, carry, .. } => scan_outputs(body, *captures, *carry, inputs),
        Op::Rare { body, captures } => rare_operand(body, *captures, inputs),
        Op::Call { graph } => batched_outputs(graph, inputs),
        Op::Barrier => inputs.to_vec(),
        array_op!() | Op::StopGradient | Op::Kernel(_) | Op::Native(_) | Op::AllReduce | Op::ReplicaId => {
            vec![inputs.iter().any(|&input| input); equation.outputs.len()]
        }
    }
}

/// Which carries of a while_loop are batched, and whether its condition is.
pub(super) fn while_carry(
    cond: &Graph,
    body: &Graph,
    conds: usize,
    bodies: usize,
    inputs: &[bool],
) -> (Vec<bool>, bool) {
    let (cond_inputs, rest) = inputs.split_at(conds);
    let (body_inputs, carry) = rest.split_at(bodies);
    let mut carry = carry.to_vec();
    loop {
        let ends_apart = batched_outputs(cond, &[cond_inputs, &carry].concat())[0];
        let after = batched_outputs(body, &[body_inputs, &carry].concat());
        let next: Vec<bool> = carry.iter().zip(&after).map(|(a, b)| *a || *b || ends_apart).collect();
        if next == carry {
            return (carry, ends_apart);
        }
        carry = next;
    }
}

/// Which outputs of a scan are batched: the carry, which is batched if it is so at first or after any step, and the `ys`.
pub(super) fn scan_outputs(body: &Graph, captures: usize, carry: usize, inputs: &[bool]) -> Vec<bool> {
    let mut inputs = inputs.to_vec();
    loop {
        let mut outputs = batched_outputs(body, &inputs);
        let batched = &mut inputs[captures..captures + carry];
        for (after, before) in outputs.iter_mut().zip(&*batched) {
            *after |= *before;
        }
        if outputs[..carry] == *batched {
            return outputs;
        }
        batched.copy_from_slice(&outputs[..carry]);
    }
}

pub(super) fn rare_operand(body: &Graph, captures: usize, inputs: &[bool]) -> Vec<bool> {
    let mut operand = inputs[1 + captures..].to_vec();
    loop {
        let after = batched_outputs(body, &[&inputs[1..1 + captures], &operand].concat());
        let next: Vec<bool> = operand.iter().zip(&after).map(|(a, b)| *a || *b || inputs[0]).collect();
        if next == operand {
            return operand;
        }
        operand = next;
    }
}
