//! Which values XLA knows while it compiles: constants, and what it computes from constants.

use crate::array::HostArray;
use crate::ir::{Equation, Graph, Op, Var, array_op};

/// What is known of a value while the program is compiled.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    Nothing,
    /// It is this constant of the program.
    Constant(&'a HostArray),
    /// It depends on constants alone, so XLA computes it.
    Folded,
}

impl Known<'_> {
    pub fn is_known(self) -> bool {
        !matches!(self, Known::Nothing)
    }
}

/// Whether XLA computes the op while compiling if its inputs are known.
pub fn is_foldable(op: &Op) -> bool {
    match op {
        Op::Native(_) | Op::Barrier | Op::AllReduce | Op::ReplicaId | Op::Call { .. } => false,
        array_op!()
        | Op::StopGradient
        | Op::Kernel(_)
        | Op::While { .. }
        | Op::Cond { .. }
        | Op::Scan { .. }
        | Op::Rare { .. } => true,
    }
}

/// What is known of the outputs of an op.
fn known_outputs<'a>(op: &'a Op, inputs: &[Known<'a>]) -> Known<'a> {
    match op {
        Op::Constant(value) => Known::Constant(value),
        op if is_foldable(op) && inputs.iter().all(|input| input.is_known()) => Known::Folded,
        _ => Known::Nothing,
    }
}

/// What is known of the inputs of each body of an op: what it captures is the outer value; what a loop carries changes, and a
/// function may be called from anywhere.
pub fn known_in_bodies<'a>(op: &Op, inputs: &[Known<'a>]) -> Vec<Vec<Known<'a>>> {
    let mut bodies = match op {
        Op::While { cond_captures, body_captures, .. } => {
            let (conds, rest) = inputs.split_at(*cond_captures);
            vec![conds.to_vec(), rest[..*body_captures].to_vec()]
        }
        Op::Cond { on_true, .. } => {
            let (on_true, on_false) = inputs[1..].split_at(on_true.inputs.len());
            vec![on_true.to_vec(), on_false.to_vec()]
        }
        Op::Scan { captures, .. } => vec![inputs[..*captures].to_vec()],
        Op::Rare { .. } => vec![inputs[1..].to_vec()],
        other => vec![Vec::new(); other.bodies().len()],
    };
    for (known, body) in bodies.iter_mut().zip(op.bodies()) {
        known.resize(body.inputs.len(), Known::Nothing);
    }
    bodies
}

/// A graph being written again, with what is known of its values.
pub struct Walk<'a> {
    pub source: &'a Graph,
    pub out: Graph,
    /// For each variable of the source, the one that stands for it.
    vars: Vec<Option<Var>>,
    /// For each variable of the source.
    pub known: Vec<Known<'a>>,
}

impl<'a> Walk<'a> {
    pub fn new(source: &'a Graph, inputs: &[Known<'a>]) -> Self {
        let (vars, known) = (vec![None; source.num_vars()], vec![Known::Nothing; source.num_vars()]);
        let mut walk = Walk { source, out: Graph::new(), vars, known };
        for (&input, &known) in source.inputs.iter().zip(inputs) {
            let var = walk.out.input(source.array_type(input).clone());
            walk.set(input, var, known);
        }
        walk
    }

    pub fn vars(&self, of: &[Var]) -> Vec<Var> {
        of.iter().map(|var| self.vars[var.0 as usize].expect("written before it is read")).collect()
    }

    pub fn known(&self, of: &[Var]) -> Vec<Known<'a>> {
        of.iter().map(|var| self.known[var.0 as usize]).collect()
    }

    pub fn set(&mut self, source: Var, var: Var, known: Known<'a>) {
        self.vars[source.0 as usize] = Some(var);
        self.known[source.0 as usize] = known;
    }

    /// Says where the outputs of an equation of the source are.
    pub fn bind(&mut self, equation: &'a Equation, outputs: &[Var]) {
        let known = known_outputs(&equation.op, &self.known(&equation.inputs));
        for (&source, &var) in equation.outputs.iter().zip(outputs) {
            self.set(source, var, known);
        }
    }

    pub fn finish(mut self) -> Graph {
        self.out.outputs = self.vars(&self.source.outputs);
        self.out
    }
}
