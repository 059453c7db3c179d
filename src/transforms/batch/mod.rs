//! vmap: from a graph for one example to equations for many.
//!
//! Every batched variable carries the batch axis at the same end: first (as in JAX), or last, where the
//! examples lie side by side in memory, so that scalar code over many environments becomes vector code
//! ([`Placement`]). What does not depend on a batched input stays unbatched. Predicates need care: a
//! batched `while_loop` runs until the last example is done and keeps the finished ones as they are, a
//! batched `cond` becomes a select, and a batched `rare` runs on groups of the rows that need it (for a GPU
//! it is a select, too, if it has no loops).
//!
//! - here: [`Batching`], the walk over the equations and where the batch axis stands
//! - `rules`: the table of rules, one per op, and those of the simple ops
//! - `indexing`: slices, gathers and scatters at places that differ between the examples
//! - `control`: `while_loop`, `cond` and `scan`
//! - `rare`: the rows that need it, a group at a time
//! - `dependence`: which outputs of a body depend on the batch, before it is batched

mod control;
mod dependence;
mod indexing;
mod rare;
mod rules;

use crate::array::ArrayType;
use crate::ir::{Build, Equation, Graph, Location, Var};

/// Where the batch axis stands in every batched array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    First,
    Last,
}

/// One vmap: the size of the batch and where its axis stands.
#[derive(Clone, Copy, Debug)]
pub struct Batching {
    pub size: usize,
    pub placement: Placement,
    /// Whether the rows that something rare happens to, and the last ones of a loop, are gathered into groups. That saves
    /// work, and costs a number that decides what runs next: a GPU has to send it to the host, while which it could do the
    /// same for all rows.
    pub groups: bool,
}

/// A variable of the outer graph, with or without the batch axis.
#[derive(Clone, Copy, Debug)]
pub struct Batched {
    pub var: Var,
    pub batched: bool,
}

impl Batching {
    /// Appends the equations of `body` to `outer` for the whole batch; returns its outputs.
    pub fn apply(self, outer: &mut Graph, body: &Graph, inputs: &[Batched]) -> Vec<Batched> {
        let mut map: Vec<Option<Batched>> = vec![None; body.num_vars()];
        for (&inner, &input) in body.inputs.iter().zip(inputs) {
            map[inner.0 as usize] = Some(input);
        }
        let look_up = |map: &[Option<Batched>], var: Var| map[var.0 as usize].expect("undefined variable");
        for equation in &body.equations {
            let inputs: Vec<Batched> = equation.inputs.iter().map(|&var| look_up(&map, var)).collect();
            let outputs = if inputs.iter().any(|input| input.batched) {
                Rule { batching: self, body, equation, build: Build::new(outer, equation.location) }
                    .apply(&inputs)
            } else {
                let inputs: Vec<Var> = inputs.iter().map(|input| input.var).collect();
                let outputs = Build::new(outer, equation.location).many(equation.op.clone(), &inputs);
                outputs.into_iter().map(|var| Batched { var, batched: false }).collect()
            };
            for (inner, output) in equation.outputs.iter().zip(outputs) {
                map[inner.0 as usize] = Some(output);
            }
        }
        body.outputs.iter().map(|&var| look_up(&map, var)).collect()
    }

    /// `x` with a batch axis, along which it repeats if it had none.
    pub fn force(self, outer: &mut Graph, x: Batched, location: Location) -> Var {
        if x.batched {
            return x.var;
        }
        let array_type = outer.array_type(x.var).clone();
        let axes: Vec<usize> = (0..array_type.rank()).map(|axis| self.shift(axis)).collect();
        Build::new(outer, location).broadcast(x.var, &self.shape(&array_type.shape), &axes)
    }

    /// The batched version of `body` as a graph of its own; outputs are forced where asked.
    fn graph(self, body: &Graph, inputs: &[bool], force: &[bool], location: Location) -> Graph {
        let mut graph = Graph::new();
        let inputs: Vec<Batched> = body
            .inputs
            .iter()
            .zip(inputs)
            .map(|(&var, &batched)| {
                let array_type = body.array_type(var);
                let array_type = if batched { self.array_type(array_type) } else { array_type.clone() };
                Batched { var: graph.input(array_type), batched }
            })
            .collect();
        let outputs = self.apply(&mut graph, body, &inputs);
        graph.outputs = outputs
            .into_iter()
            .zip(force)
            .map(|(output, &force)| {
                assert!(force || !output.batched, "a batched output was expected to be unbatched");
                if force { self.force(&mut graph, output, location) } else { output.var }
            })
            .collect();
        graph
    }

    /// Where axis `axis` of one example stands in the batched array.
    fn shift(self, axis: usize) -> usize {
        match self.placement {
            Placement::First => axis + 1,
            Placement::Last => axis,
        }
    }

    fn shift_all(self, axes: &[usize]) -> Vec<usize> {
        axes.iter().map(|&axis| self.shift(axis)).collect()
    }

    /// `extra` at the place of the batch axis among one value per axis.
    fn with<T: Clone>(self, per_axis: &[T], extra: T) -> Vec<T> {
        let mut out = per_axis.to_vec();
        out.insert(self.position(per_axis.len()), extra);
        out
    }

    /// Where the batch axis stands in a batched array whose examples have `rank` axes.
    fn position(self, rank: usize) -> usize {
        match self.placement {
            Placement::First => 0,
            Placement::Last => rank,
        }
    }

    fn shape(self, shape: &[usize]) -> Vec<usize> {
        self.with(shape, self.size)
    }

    fn array_type(self, array_type: &ArrayType) -> ArrayType {
        ArrayType::new(array_type.dtype, self.shape(&array_type.shape))
    }
}

/// The batching of one equation of `body` that has at least one batched input.
struct Rule<'a> {
    batching: Batching,
    body: &'a Graph,
    equation: &'a Equation,
    build: Build<'a>,
}

fn pair(vars: Vec<Var>, batched: &[bool]) -> Vec<Batched> {
    vars.into_iter().zip(batched).map(|(var, &batched)| Batched { var, batched }).collect()
}
