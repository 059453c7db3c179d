//! Writing one op after the other: names for results, indentation, the common forms of a line.

use super::text::{self, constant, tensor};
use super::{Lowering, Value};
use crate::array::{ArrayType, HostArray};
use crate::ir::Location;

impl Lowering<'_> {
    pub(super) fn constant(&mut self, value: &HostArray, at: Location) -> String {
        let text = format!("stablehlo.constant {} : {}", constant(value), tensor(&value.array_type()));
        self.line(&text, at)
    }

    /// `stablehlo.name a, b : type` for ops whose operands and result have one type.
    pub(super) fn plain(&mut self, name: &str, inputs: &[Value], at: Location) -> String {
        let text = format!("stablehlo.{name} {} : {}", operands(inputs), tensor(&inputs[0].array_type));
        self.line(&text, at)
    }

    /// `stablehlo.name a, b attributes : (types) -> type`.
    pub(super) fn simple(
        &mut self,
        name: &str,
        attributes: &str,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let text =
            format!("stablehlo.{name} {}{attributes} : {}", operands(inputs), signature(inputs, outputs));
        self.line(&text, at)
    }

    /// One op with one result.
    pub(super) fn line(&mut self, text: &str, at: Location) -> String {
        self.lines(text, 1, at).remove(0)
    }

    /// One op with `count` results.
    pub(super) fn lines(&mut self, text: &str, count: usize, at: Location) -> Vec<String> {
        let result = self.fresh("");
        let binding = if count == 1 { result.clone() } else { format!("{result}:{count}") };
        self.raw(&format!("{binding} = {text} {}", text::location(at)));
        results(&result, count)
    }

    pub(super) fn raw(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    pub(super) fn fresh(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("%{prefix}{}", self.next_name - 1)
    }
}

/// The names of the `count` results of an op bound to `name`.
pub(super) fn results(name: &str, count: usize) -> Vec<String> {
    match count {
        1 => vec![name.to_owned()],
        _ => (0..count).map(|i| format!("{name}#{i}")).collect(),
    }
}

pub(super) fn operands(inputs: &[Value]) -> String {
    let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
    names.join(", ")
}

/// `(types) -> type`, with parentheses around several results.
pub(super) fn signature(inputs: &[Value], outputs: &[ArrayType]) -> String {
    let inputs: Vec<String> = inputs.iter().map(|value| tensor(&value.array_type)).collect();
    let outputs: Vec<String> = outputs.iter().map(tensor).collect();
    match outputs.as_slice() {
        [one] => format!("({}) -> {one}", inputs.join(", ")),
        many => format!("({}) -> ({})", inputs.join(", "), many.join(", ")),
    }
}
