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
fn is_foldable(op: &Op) -> bool {
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

/// Which outputs of an equation XLA computes if it knows these of its inputs. What both branches know of an output it takes out of them.
pub fn folded_outputs(equation: &Equation, inputs: &[bool]) -> Vec<bool> {
    match &equation.op {
        Op::Cond { on_true, on_false } => {
            let (on_true_inputs, on_false_inputs) = inputs[1..].split_at(on_true.inputs.len());
            let results = folded_results(on_true, on_true_inputs).into_iter();
            results.zip(folded_results(on_false, on_false_inputs)).map(|(one, other)| one && other).collect()
        }
        op => vec![is_foldable(op) && inputs.iter().all(|known| *known); equation.outputs.len()],
    }
}

/// Which outputs of a graph XLA computes if it knows these of its inputs.
fn folded_results(graph: &Graph, inputs: &[bool]) -> Vec<bool> {
    let mut folded = vec![false; graph.num_vars()];
    let of =
        |folded: &[bool], vars: &[Var]| vars.iter().map(|var| folded[var.0 as usize]).collect::<Vec<_>>();
    for (input, &known) in graph.inputs.iter().zip(inputs) {
        folded[input.0 as usize] = known;
    }
    for equation in &graph.equations {
        let outputs = folded_outputs(equation, &of(&folded, &equation.inputs));
        for (output, known) in equation.outputs.iter().zip(outputs) {
            folded[output.0 as usize] = known;
        }
    }
    of(&folded, &graph.outputs)
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
        let inputs: Vec<bool> = self.known(&equation.inputs).iter().map(|known| known.is_known()).collect();
        let folded = folded_outputs(equation, &inputs);
        for ((&source, &var), folded) in equation.outputs.iter().zip(outputs).zip(folded) {
            let known = match &equation.op {
                Op::Constant(value) => Known::Constant(value),
                _ if folded => Known::Folded,
                _ => Known::Nothing,
            };
            self.set(source, var, known);
        }
    }

    pub fn finish(mut self) -> Graph {
        self.out.outputs = self.vars(&self.source.outputs);
        self.out
    }
}
