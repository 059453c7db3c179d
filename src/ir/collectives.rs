//! Which values come of a sum over devices.
//!
//! Where several processes run a program together, all must come to its collectives in one order. [`follows_collective`] finds the
//! values that carry that order on: those that cannot be there before the collectives of an op are done.

use super::{Graph, Op, array_op};

/// Whether one of the equations, or of those in their bodies, sums over devices.
pub fn has_collective(graph: &Graph) -> bool {
    graph.equations.iter().any(|equation| is_collective(&equation.op))
}

/// Whether an op sums over devices, or does so in a body.
pub fn is_collective(op: &Op) -> bool {
    matches!(op, Op::AllReduce) || op.bodies().into_iter().any(has_collective)
}

/// Which outputs of an op are computed from a sum over devices in it, or from those inputs that are marked.
pub fn follows_collective(op: &Op, inputs: &[bool], num_outputs: usize) -> Vec<bool> {
    let either = |a: Vec<bool>, b: Vec<bool>| a.into_iter().zip(b).map(|(a, b)| a | b).collect::<Vec<bool>>();
    match op {
        Op::AllReduce => vec![true],
        Op::While { body, cond_captures, body_captures, .. } => {
            let (captures, carry) = inputs[*cond_captures..].split_at(*body_captures);
            until_settled(carry.to_vec(), |carry| marked(body, &[captures, carry].concat()))
        }
        Op::Scan { body, captures, carry, .. } => {
            let (captures, rest) = inputs.split_at(*captures);
            let (carry, xs) = rest.split_at(*carry);
            let step = |carry: &[bool]| marked(body, &[captures, carry, xs].concat());
            let count = carry.len();
            let carry = until_settled(carry.to_vec(), |carry| step(carry)[..count].to_vec());
            let ys = step(&carry)[count..].to_vec();
            [carry, ys].concat()
        }
        Op::Cond { on_true, on_false } => {
            let (yes, no) = inputs[1..].split_at(on_true.inputs.len());
            either(marked(on_true, yes), marked(on_false, no))
        }
        Op::Rare { body, captures } => either(marked(body, &inputs[1..]), inputs[1 + captures..].to_vec()),
        Op::Call { graph } => marked(graph, inputs),
        array_op!() | Op::StopGradient | Op::Kernel(_) | Op::Native(_) | Op::Barrier | Op::ReplicaId => {
            vec![inputs.contains(&true); num_outputs]
        }
    }
}

/// Which outputs of a graph are computed from a sum over devices, or from those inputs that are marked.
fn marked(graph: &Graph, inputs: &[bool]) -> Vec<bool> {
    let mut marks = vec![false; graph.num_vars()];
    graph.inputs.iter().zip(inputs).for_each(|(var, mark)| marks[var.0 as usize] = *mark);
    for equation in &graph.equations {
        let inputs: Vec<bool> = equation.inputs.iter().map(|var| marks[var.0 as usize]).collect();
        let outputs = follows_collective(&equation.op, &inputs, equation.outputs.len());
        equation.outputs.iter().zip(outputs).for_each(|(var, mark)| marks[var.0 as usize] = mark);
    }
    graph.outputs.iter().map(|var| marks[var.0 as usize]).collect()
}

/// The marks of what a loop carries, after any number of rounds.
fn until_settled(mut carry: Vec<bool>, step: impl Fn(&[bool]) -> Vec<bool>) -> Vec<bool> {
    loop {
        let next: Vec<bool> = step(&carry).into_iter().zip(&carry).map(|(new, old)| new | old).collect();
        if next == carry {
            return carry;
        }
        carry = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;
    use crate::lang::{Float, Tree, all_reduce, cond, float, scan_range, trace};

    /// Which outputs of a function of a scalar follow a collective, and whether there is one.
    fn marks<Y: Tree>(function: impl FnOnce(Float) -> Y) -> (Vec<bool>, bool) {
        let traced = trace(&Float::placeholder(DType::F32, []), function);
        (marked(&traced.graph, &[false]), has_collective(&traced.graph))
    }

    #[test]
    fn what_is_computed_from_a_sum_follows_it() {
        assert_eq!(marks(|x| (x + 1.0, all_reduce(x) * 2.0)), (vec![false, true], true));
        assert_eq!(marks(|x| x + 1.0), (vec![false], false));
    }

    #[test]
    fn in_a_loop_it_may_take_some_rounds() {
        let (found, has) = marks(|x| {
            // c follows b, which follows a; d only counts.
            let (carry, ()) = scan_range(4, ((x, x), (x, float(0.0))), |((a, b), (_, d)), _| {
                (((all_reduce(a), a), (b, d + 1.0)), ())
            });
            carry
        });
        assert_eq!((found, has), (vec![true, true, true, false], true));
    }

    #[test]
    fn of_a_branch_either_side_counts() {
        let (found, _) = marks(|x| cond(x.gt(0.0), (x, x), |(x, y)| (all_reduce(x), y), |(x, y)| (x, y)));
        assert_eq!(found, [true, false]);
    }
}
