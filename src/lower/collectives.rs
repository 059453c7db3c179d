//! Sums over devices: XLA's own, and where its plugin knows one process only, a call of ours that knows the others.
//!
//! XLA starts what is ready, and two calls that do not need each other are ready in any order. Each process could then wait in another one,
//! for ever. So each call of ours takes what cannot be there before the one before it is done, and so does each loop or branch that has
//! such calls in it.

use super::text::{list, tensor};
use super::writer::signature;
use super::{Lowering, Value};
use crate::array::{ArrayType, DType};
use crate::ir::{Equation, Location, follows_collective};
use crate::runtime::kernels::all_reduce::LOCAL;
use crate::runtime::{DeviceKind, kernels};

impl Lowering<'_> {
    /// Whether sums over devices are calls of ours.
    pub(super) fn calls_for_sums(&self) -> bool {
        self.target.kind == DeviceKind::Cpu && self.target.processes.total > 1
    }

    /// Devices of this process.
    fn local(&self) -> i32 {
        (self.options.num_replicas.max(1) / self.target.processes.total) as i32
    }

    pub(super) fn all_reduce(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> String {
        let replicas = self.options.num_replicas.max(1);
        if replicas == 1 {
            return inputs[0].name.clone();
        }
        if self.calls_for_sums() {
            assert!(outputs[0].dtype == DType::F32, "all_reduce over several processes takes f32");
            let id = self.own_id(at);
            let operands = [&inputs[..1], &[id], &self.before].concat();
            let sum = self.call_apart(
                kernels::ALL_REDUCE,
                Some((LOCAL, self.local())),
                &operands,
                &[],
                &outputs[0],
                at,
            );
            self.before = vec![Value { name: sum.clone(), array_type: outputs[0].clone() }];
            return sum;
        }
        let group: Vec<usize> = (0..replicas).collect();
        let scalar = tensor(&ArrayType::scalar(outputs[0].dtype));
        let text = format!(
            "\"stablehlo.all_reduce\"({}) <{{replica_groups = dense<[{}]> : tensor<1x{replicas}xi64>}}> ({{\n    \
             ^bb0(%left: {scalar}, %right: {scalar}):\n      %sum = stablehlo.add %left, %right : {scalar}\n      \
             stablehlo.return %sum : {scalar}\n    }}) : {}",
            inputs[0].name,
            list(&group),
            signature(inputs, outputs)
        );
        self.line(&text, at)
    }

    pub(super) fn replica_id(&mut self, outputs: &[ArrayType], at: Location) -> String {
        let own = self.own_id(at);
        if !self.calls_for_sums() {
            return own.name;
        }
        self.call_apart(kernels::REPLICA_ID, Some((LOCAL, self.local())), &[own], &[], &outputs[0], at)
    }

    /// The number of the device in its process; where XLA knows all processes, among all devices.
    fn own_id(&mut self, at: Location) -> Value {
        let name = self.line("stablehlo.replica_id : tensor<ui32>", at);
        Value { name, array_type: ArrayType::scalar(DType::U32) }
    }

    /// Makes a loop or branch with collectives in it start after the collective before it.
    pub(super) fn come_after(&mut self, inputs: &mut [Value], at: Location) {
        let smallest = inputs.iter_mut().min_by_key(|input| input.array_type.size());
        let (Some(input), false) = (smallest, self.before.is_empty()) else { return };
        let operands = [std::slice::from_ref(input), &self.before].concat();
        let array_type = input.array_type.clone();
        input.name = self.call_apart(kernels::AFTER, None, &operands, &[0], &array_type, at);
    }

    /// Notes of a loop or branch with collectives in it what the next one is to come after.
    pub(super) fn went_before(&mut self, equation: &Equation, outputs: &[Value]) {
        let inputs = vec![false; equation.inputs.len()];
        let marks = follows_collective(&equation.op, &inputs, outputs.len());
        let following = outputs.iter().zip(marks).filter_map(|(output, follows)| follows.then_some(output));
        self.before = following.min_by_key(|output| output.array_type.size()).cloned().into_iter().collect();
    }
}
