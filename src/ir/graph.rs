//! Graphs: typed variables, equations, inputs and outputs.

use std::sync::Arc;

use crate::array::ArrayType;

use super::{Build, Op, infer};

/// The line of environment, algorithm or library code that made an equation.
pub type Location = &'static std::panic::Location<'static>;

/// A variable of one graph; means nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub u32);

/// `outputs = op(inputs)`.
#[derive(Clone, Debug)]
pub struct Equation {
    pub op: Op,
    pub inputs: Vec<Var>,
    pub outputs: Vec<Var>,
    pub location: Location,
}

/// A closed function from arrays to arrays. Equations stand in an order in which they can be run.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    types: Vec<ArrayType>,
    pub inputs: Vec<Var>,
    pub equations: Vec<Equation>,
    pub outputs: Vec<Var>,
}

/// Writes an equation anew: it gets the graph to append to, the equation and its inputs there, and returns the outputs.
pub type Write<'a> = dyn FnMut(&mut Graph, &Equation, &[Var]) -> Vec<Var> + 'a;

impl Graph {
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an input.
    pub fn input(&mut self, array_type: ArrayType) -> Var {
        let var = self.fresh(array_type);
        self.inputs.push(var);
        var
    }

    /// Appends an equation and returns its outputs, or says why the inputs do not fit the op.
    pub fn push(&mut self, op: Op, inputs: &[Var], location: Location) -> Result<Vec<Var>, String> {
        let input_types: Vec<&ArrayType> = inputs.iter().map(|&var| self.array_type(var)).collect();
        let output_types = infer(&op, &input_types)?;
        let outputs: Vec<Var> = output_types.into_iter().map(|t| self.fresh(t)).collect();
        self.equations.push(Equation { op, inputs: inputs.to_vec(), outputs: outputs.clone(), location });
        Ok(outputs)
    }

    pub fn array_type(&self, var: Var) -> &ArrayType {
        &self.types[var.0 as usize]
    }

    /// Number of variables; they are `Var(0)` to `Var(n - 1)`.
    pub fn num_vars(&self) -> usize {
        self.types.len()
    }

    pub fn input_types(&self) -> Vec<ArrayType> {
        self.inputs.iter().map(|&var| self.array_type(var).clone()).collect()
    }

    pub fn output_types(&self) -> Vec<ArrayType> {
        self.outputs.iter().map(|&var| self.array_type(var).clone()).collect()
    }

    /// Appends all equations of `graph`, its inputs replaced by `inputs`; returns its outputs.
    pub fn inline(&mut self, graph: &Graph, inputs: &[Var]) -> Vec<Var> {
        self.inline_with(graph, inputs, &mut |out, equation, inputs| {
            Build::new(out, equation.location).many(equation.op.clone(), inputs)
        })
    }

    /// [`Graph::inline`], but each equation is written by `write`: it gets the graph to append to, the equation and its inputs
    /// there, and returns the outputs.
    pub fn inline_with(&mut self, graph: &Graph, inputs: &[Var], write: &mut Write) -> Vec<Var> {
        assert_eq!(graph.inputs.len(), inputs.len(), "inline: wrong number of inputs");
        let mut map = vec![None; graph.num_vars()];
        for (&inner, &outer) in graph.inputs.iter().zip(inputs) {
            map[inner.0 as usize] = Some(outer);
        }
        let look_up =
            |map: &[Option<Var>], var: Var| map[var.0 as usize].expect("inline: undefined variable");
        for equation in &graph.equations {
            let inputs: Vec<Var> = equation.inputs.iter().map(|&var| look_up(&map, var)).collect();
            let outputs = write(self, equation, &inputs);
            for (inner, outer) in equation.outputs.iter().zip(outputs) {
                map[inner.0 as usize] = Some(outer);
            }
        }
        graph.outputs.iter().map(|&var| look_up(&map, var)).collect()
    }

    /// The graph again, each equation written by `write` as in [`Graph::inline_with`].
    pub fn rewritten(&self, write: &mut Write) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<Var> = self.input_types().into_iter().map(|t| graph.input(t)).collect();
        graph.outputs = graph.inline_with(self, &inputs, write);
        graph
    }

    /// Appends `equation` with other inputs, its bodies replaced by what `change` makes of them; returns its outputs.
    pub fn copy_with(
        &mut self,
        equation: &Equation,
        inputs: &[Var],
        mut change: impl FnMut(&Graph) -> Graph,
    ) -> Vec<Var> {
        let mut op = equation.op.clone();
        for body in op.bodies_mut() {
            *body = Arc::new(change(body));
        }
        Build::new(self, equation.location).many(op, inputs)
    }

    /// Whether an equation reads the variable, or it is an output.
    pub fn reads(&self, var: Var) -> bool {
        self.outputs.contains(&var) || self.equations.iter().any(|equation| equation.inputs.contains(&var))
    }

    /// The number of equations, with those of bodies.
    pub fn total_equations(&self) -> usize {
        let of_bodies = |equation: &Equation| -> usize {
            equation.op.bodies().into_iter().map(Graph::total_equations).sum()
        };
        self.equations.iter().map(|equation| 1 + of_bodies(equation)).sum()
    }

    fn fresh(&mut self, array_type: ArrayType) -> Var {
        self.types.push(array_type);
        Var(self.types.len() as u32 - 1)
    }
}
