//! Loops and branches whose conditions may differ between the examples.

use std::sync::Arc;

use super::dependence::{batched_outputs, scan_outputs, while_carry};
use super::{Batched, Batching, Placement, Rule, pair};
use crate::array::{ArrayType, DType};
use crate::ir::{Binary, Build, Comparison, Graph, Location, Op, Reduction, Var};

/// A batched `while_loop` over at least so many examples, with a body of at least so many equations, leaves its
/// last examples to a narrower loop: their number is often far below that of the batch.
const NARROWED_BATCH: usize = 512;
const NARROWED_BODY: usize = 64;

impl Rule<'_> {
    pub(super) fn while_loop(
        &mut self,
        cond: &Graph,
        body: &Graph,
        conds: usize,
        bodies: usize,
        inputs: &[Batched],
    ) -> Vec<Batched> {
        let batching = self.batching;
        let location = self.equation.location;
        let flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let (carry, ends_apart) = while_carry(cond, body, conds, bodies, &flags);
        let (captures, initial) = inputs.split_at(conds + bodies);
        let force =
            |(&input, &batched): (&Batched, &bool)| if batched { self.force(input) } else { input.var };
        let initial: Vec<Var> = initial.iter().zip(&carry).map(force).collect();
        let capture_vars: Vec<Var> = captures.iter().map(|capture| capture.var).collect();
        let cond_flags = [&flags[..conds], &carry].concat();
        let body_flags = [&flags[conds..conds + bodies], &carry].concat();
        let cond_graph = batching.graph(cond, &cond_flags, &[ends_apart], location);
        let body_graph = batching.graph(body, &body_flags, &carry, location);
        if !ends_apart {
            let op = while_op(cond_graph, body_graph, conds, bodies);
            return pair(self.build.many(op, &[capture_vars, initial].concat()), &carry);
        }
        // Once few examples still run, they go on alone.
        let narrows =
            batching.groups && batching.size >= NARROWED_BATCH && body.total_equations() >= NARROWED_BODY;
        let least = if narrows { batching.group_width() } else { 0 };
        let outputs = self.while_apart(cond_graph, body_graph, &capture_vars, initial, least);
        let wide = pair(outputs[1..].to_vec(), &carry);
        if !narrows {
            return wide;
        }
        let running = Batched { var: outputs[0], batched: true };
        let rest = whole_loop(cond, body, conds, bodies, location);
        let changed: Vec<bool> =
            body.outputs.iter().zip(&body.inputs[bodies..]).map(|(output, input)| output != input).collect();
        self.rare_rows(&rest, conds + bodies, &changed, &[&[running], captures, &wide].concat())
    }

    /// The loop over examples that end apart, while more than `least` of them run: those that have ended stay as they
    /// are. Its carry, and what it returns, has one more array in front: which examples still run.
    fn while_apart(
        &mut self,
        cond: Graph,
        body: Graph,
        captures: &[Var],
        initial: Vec<Var>,
        least: usize,
    ) -> Vec<Var> {
        let batching = self.batching;
        let location = self.equation.location;
        let conds = cond.inputs.len() - initial.len();
        let types = |vars: &[Var], build: &Build| vars.iter().map(|&var| build.array_type(var)).collect();
        let running = self.build.graph.inline(&cond, &[&captures[..conds], &initial].concat())[0];
        let running_type = self.build.array_type(running);
        let carry_types: Vec<ArrayType> = types(&initial, &self.build);
        let capture_types: Vec<ArrayType> = types(captures, &self.build);

        let mut step = Graph::new();
        let captures_in: Vec<Var> = capture_types.into_iter().map(|t| step.input(t)).collect();
        let running_in = step.input(running_type.clone());
        let carry_in: Vec<Var> = carry_types.iter().map(|t| step.input(t.clone())).collect();
        let after = step.inline(&body, &[&captures_in[conds..], &carry_in].concat());
        let mut kept = Vec::new();
        for (&before, after) in carry_in.iter().zip(after) {
            kept.push(select_examples(&mut step, batching, running_in, after, before, location));
        }
        let goes_on = step.inline(&cond, &[&captures_in[..conds], &kept].concat())[0];
        let still = Build::new(&mut step, location).binary(Binary::And, running_in, goes_on);
        step.outputs = [vec![still], kept].concat();

        let enough_run = more_run_than(least, &running_type, &carry_types, location);
        let op = while_op(enough_run, step, 0, captures.len());
        self.build.many(op, &[captures.to_vec(), vec![running], initial].concat())
    }

    pub(super) fn call(&mut self, graph: &Graph, inputs: &[Batched]) -> Vec<Batched> {
        let flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let outputs = batched_outputs(graph, &flags);
        let graph = self.batching.graph(graph, &flags, &outputs, self.equation.location);
        let vars: Vec<Var> = inputs.iter().map(|input| input.var).collect();
        pair(self.build.many(Op::Call { graph: Arc::new(graph) }, &vars), &outputs)
    }

    pub(super) fn cond(&mut self, on_true: &Graph, on_false: &Graph, inputs: &[Batched]) -> Vec<Batched> {
        let batching = self.batching;
        let location = self.equation.location;
        let (pred, rest) = (inputs[0], &inputs[1..]);
        let (true_inputs, false_inputs) = rest.split_at(on_true.inputs.len());
        if pred.batched {
            let yes = batching.apply(self.build.graph, on_true, true_inputs);
            let no = batching.apply(self.build.graph, on_false, false_inputs);
            return yes
                .into_iter()
                .zip(no)
                .map(|(yes, no)| {
                    let (yes, no) = (self.force(yes), self.force(no));
                    let var = select_examples(self.build.graph, batching, pred.var, yes, no, location);
                    Batched { var, batched: true }
                })
                .collect();
        }
        let flags = |inputs: &[Batched]| inputs.iter().map(|input| input.batched).collect::<Vec<_>>();
        let (true_flags, false_flags) = (flags(true_inputs), flags(false_inputs));
        let outputs: Vec<bool> = batched_outputs(on_true, &true_flags)
            .iter()
            .zip(batched_outputs(on_false, &false_flags))
            .map(|(&a, b)| a || b)
            .collect();
        let op = Op::Cond {
            on_true: Arc::new(batching.graph(on_true, &true_flags, &outputs, location)),
            on_false: Arc::new(batching.graph(on_false, &false_flags, &outputs, location)),
        };
        let vars: Vec<Var> = inputs.iter().map(|input| input.var).collect();
        pair(self.build.many(op, &vars), &outputs)
    }

    pub(super) fn scan(
        &mut self,
        body: &Graph,
        captures: usize,
        carry: usize,
        length: usize,
        reverse: bool,
        inputs: &[Batched],
    ) -> Vec<Batched> {
        let batching = self.batching;
        let mut flags: Vec<bool> = inputs.iter().map(|input| input.batched).collect();
        let outputs = scan_outputs(body, captures, carry, &flags);
        flags[captures..captures + carry].copy_from_slice(&outputs[..carry]);
        let graph = batching.graph(body, &flags, &outputs, self.equation.location);
        let mut vars = Vec::new();
        for (i, &input) in inputs.iter().enumerate() {
            let is_x = i >= captures + carry;
            vars.push(match (flags[i], is_x) {
                (false, _) => input.var,
                (true, false) => self.force(input),
                // The axis of the steps has to stay in front of the batch axis.
                (true, true) if batching.placement == Placement::First => {
                    self.build.move_axis(input.var, 0, 1)
                }
                (true, true) => input.var,
            });
        }
        let op = Op::Scan { body: Arc::new(graph), captures, carry, length, reverse };
        let mut results = self.build.many(op, &vars);
        if batching.placement == Placement::First {
            for (result, _) in results.iter_mut().zip(&outputs).skip(carry).filter(|(_, batched)| **batched) {
                *result = self.build.move_axis(*result, 1, 0);
            }
        }
        pair(results, &outputs)
    }
}

fn while_op(cond: Graph, body: Graph, cond_captures: usize, body_captures: usize) -> Op {
    Op::While { cond: Arc::new(cond), body: Arc::new(body), cond_captures, body_captures }
}

/// A graph that is one `while_loop`, for one example: of captures and carry to the carry at the end.
fn whole_loop(cond: &Graph, body: &Graph, conds: usize, bodies: usize, location: Location) -> Graph {
    let mut graph = Graph::new();
    let captured = cond.inputs[..conds].iter().map(|&var| cond.array_type(var));
    let others = body.inputs.iter().map(|&var| body.array_type(var));
    let inputs: Vec<Var> = captured.chain(others).map(|t| graph.input(t.clone())).collect();
    let op = while_op(cond.clone(), body.clone(), conds, bodies);
    graph.outputs = Build::new(&mut graph, location).many(op, &inputs);
    graph
}

/// The condition "more than `least` examples still run" over a carry that starts with the running flags.
fn more_run_than(least: usize, running: &ArrayType, rest: &[ArrayType], location: Location) -> Graph {
    let mut graph = Graph::new();
    let flags = graph.input(running.clone());
    for array_type in rest {
        graph.input(array_type.clone());
    }
    let mut build = Build::new(&mut graph, location);
    let more = if least == 0 {
        build.reduce(Reduction::Or, flags, &[0])
    } else {
        let ones = build.convert(flags, DType::I32);
        let count = build.reduce(Reduction::Sum, ones, &[0]);
        let least = build.scalar(least as f64, DType::I32);
        build.compare(Comparison::Gt, count, least)
    };
    graph.outputs = vec![more];
    graph
}

/// `on_true` for the examples whose flag in `cond` [batch] is set, else `on_false`.
pub(super) fn select_examples(
    graph: &mut Graph,
    batching: Batching,
    cond: Var,
    on_true: Var,
    on_false: Var,
    location: Location,
) -> Var {
    if on_true == on_false {
        return on_true;
    }
    let mut build = Build::new(graph, location);
    let shape = build.array_type(on_true).shape;
    let cond = build.broadcast(cond, &shape, &[batching.position(shape.len() - 1)]);
    build.select(cond, on_true, on_false)
}
