//! Loops and branches. Their bodies become regions that use outer values directly, so captures cost nothing.

use super::text::{self, tensor};
use super::writer::results;
use super::{Lowering, Names, Value};
use crate::array::ArrayType;
use crate::ir::{Graph, Location};

impl Lowering<'_> {
    pub(super) fn while_loop(
        &mut self,
        cond: &Graph,
        body: &Graph,
        conds: usize,
        bodies: usize,
        inputs: &[Value],
        at: Location,
    ) -> Vec<String> {
        let captures = &inputs[..conds + bodies];
        let initial = &inputs[conds + bodies..];
        self.loop_region(
            initial,
            at,
            |lowering, carry| {
                let result = lowering.body(cond, &[&captures[..conds], carry].concat());
                result[0].clone()
            },
            |lowering, carry| lowering.body(body, &[&captures[conds..], carry].concat()),
        )
    }

    /// Writes a while loop whose regions are written by `cond` and `step`.
    fn loop_region(
        &mut self,
        initial: &[Value],
        at: Location,
        cond: impl FnOnce(&mut Self, &[Value]) -> String,
        step: impl FnOnce(&mut Self, &[Value]) -> Vec<String>,
    ) -> Vec<String> {
        let carry: Vec<Value> = initial
            .iter()
            .map(|value| Value { name: self.fresh("iter"), array_type: value.array_type.clone() })
            .collect();
        let bindings: Vec<String> = carry
            .iter()
            .zip(initial)
            .map(|(inner, outer)| format!("{} = {}", inner.name, outer.name))
            .collect();
        let types: Vec<String> = initial.iter().map(|value| tensor(&value.array_type)).collect();
        let types = types.join(", ");
        let result = self.fresh("");
        let count = initial.len();
        let binding = if count == 1 { result.clone() } else { format!("{result}:{count}") };
        self.raw(&format!("{binding} = stablehlo.while({}) : {types}", bindings.join(", ")));
        self.raw("cond {");
        self.indent += 1;
        let go_on = cond(self, &carry);
        self.raw(&format!("stablehlo.return {go_on} : tensor<i1>"));
        self.indent -= 1;
        self.raw("} do {");
        self.indent += 1;
        let after = step(self, &carry);
        self.raw(&format!("stablehlo.return {} : {types}", after.join(", ")));
        self.indent -= 1;
        self.raw(&format!("}} {}", text::location(at)));
        results(&result, count)
    }

    /// A branch: the captures of both sides follow the condition.
    pub(super) fn cond(
        &mut self,
        on_true: &Graph,
        on_false: &Graph,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let (yes, no) = inputs[1..].split_at(on_true.inputs.len());
        self.branches(&inputs[0], outputs, at, |lowering, branch| match branch {
            true => lowering.body(on_true, yes),
            false => lowering.body(on_false, no),
        })
    }

    /// A branch that leaves its operands as they are where the condition is false.
    pub(super) fn rare(
        &mut self,
        body: &Graph,
        captures: usize,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let operands: Vec<String> = inputs[1 + captures..].iter().map(|v| v.name.clone()).collect();
        self.branches(&inputs[0], outputs, at, |lowering, branch| match branch {
            true => lowering.body(body, &inputs[1..]),
            false => operands.clone(),
        })
    }

    /// Writes an `if` whose two regions are written by `branch(true)` and `branch(false)`.
    fn branches(
        &mut self,
        pred: &Value,
        outputs: &[ArrayType],
        at: Location,
        branch: impl Fn(&mut Self, bool) -> Vec<String>,
    ) -> Vec<String> {
        let types: Vec<String> = outputs.iter().map(tensor).collect();
        let types = types.join(", ");
        let result = self.fresh("");
        let count = outputs.len();
        let binding = if count == 1 { result.clone() } else { format!("{result}:{count}") };
        self.raw(&format!("{binding} = \"stablehlo.if\"({}) ({{", pred.name));
        for (side, end) in [(true, "}, {".to_owned()), (false, "})".to_owned())] {
            self.indent += 1;
            let values = branch(self, side);
            self.raw(&format!("stablehlo.return {} : {types}", values.join(", ")));
            self.indent -= 1;
            match side {
                true => self.raw(&end),
                false => self.raw(&format!("{end} : (tensor<i1>) -> ({types}) {}", text::location(at))),
            }
        }
        results(&result, count)
    }

    /// The equations of a body, its inputs bound to values; returns the names of its outputs.
    pub(super) fn body(&mut self, graph: &Graph, inputs: &[Value]) -> Vec<String> {
        let mut names = Names::new(graph);
        for (&var, value) in graph.inputs.iter().zip(inputs) {
            names.set(var, value.name.clone());
        }
        let before = std::mem::take(&mut self.before);
        self.equations(graph, &mut names);
        self.before = before;
        graph.outputs.iter().map(|&var| names.get(var).to_owned()).collect()
    }
}
