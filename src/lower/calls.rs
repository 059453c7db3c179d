//! Calls: of functions of the module (clusters, the block cipher, what must stand apart) and of native kernels.
//!
//! A kernel that reads a gathered matrix, or whose result is only added to a sum, is called in a form that does both by itself;
//! so the lowering remembers what was gathered and what was multiplied.

use super::text::{list, tensor};
use super::writer::{operands, signature};
use super::{Lowering, Value, threefry};
use crate::array::{ArrayType, DType};
use crate::ir::{Graph, Kernel, Location, Native, NativeFunction};
use crate::runtime::{DeviceKind, Processes, kernels};

/// Keeps the compiler for cpu from inlining a function.
const NOT_INLINED: &str = " {mhlo.frontend_attributes = {inlineable = \"false\"}}";

/// Makes the compiler for cpu compile a function into one kernel.
const ONE_KERNEL: &str =
    " {mhlo.frontend_attributes = {inlineable = \"false\", xla_cpu_small_call = \"true\"}}";

/// A call of a native function, beside what it takes and gives.
struct NativeCall<'a> {
    target: &'a str,
    attributes: Vec<(String, i32)>,
    /// Whether it works together with calls of other devices, so that XLA must neither leave it out nor put it elsewhere.
    apart: bool,
    /// The inputs whose places results take: the first that of the first, ...
    in_place: &'a [usize],
    /// The axes of each input and of each result, from the outermost to the innermost in memory.
    orders: [Vec<Vec<usize>>; 2],
}

impl Lowering<'_> {
    /// Writes a function that XLA's compiler for cpu compiles into one kernel, and its call.
    pub(super) fn call(
        &mut self,
        graph: &Graph,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let outer = std::mem::take(&mut self.out);
        let indent = std::mem::replace(&mut self.indent, 2);
        let parameter = |(i, input): (usize, &Value)| Value { name: format!("%in{i}"), ..input.clone() };
        let parameters: Vec<Value> = inputs.iter().enumerate().map(parameter).collect();
        let results = self.body(graph, &parameters);
        let text = std::mem::replace(&mut self.out, outer);
        self.indent = indent;

        let name = format!("cluster_{}", self.functions.len());
        let typed = |value: &Value| format!("{}: {}", value.name, tensor(&value.array_type));
        let parameters: Vec<String> = parameters.iter().map(typed).collect();
        let types: Vec<String> = outputs.iter().map(tensor).collect();
        let types = types.join(", ");
        let function = format!(
            "  func.func private @{name}({}) -> ({types}) {{\n{text}    return {} : {types}\n  }}\n",
            parameters.join(", "),
            results.join(", "),
        );
        self.functions.insert(name.clone(), function);
        let signature = signature(inputs, outputs);
        let attribute = self.only_on_cpu(ONE_KERNEL);
        let call = format!("func.call @{name}({}){attribute} : {signature}", operands(inputs));
        self.lines(&call, outputs.len(), at)
    }

    /// Nothing moves across a barrier.
    pub(super) fn barrier(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> Vec<String> {
        let types: Vec<String> = outputs.iter().map(tensor).collect();
        let text = format!("stablehlo.optimization_barrier {} : {}", operands(inputs), types.join(", "));
        self.lines(&text, outputs.len(), at)
    }

    pub(super) fn threefry(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> Vec<String> {
        let name = threefry::function_name(&outputs[0]);
        self.functions.entry(name.clone()).or_insert_with(|| threefry::function(&outputs[0]));
        let text = format!("func.call @{name}({}) : {}", operands(inputs), signature(inputs, outputs));
        self.lines(&text, 2, at)
    }

    /// Calls the native function of a kernel.
    pub(super) fn kernel(
        &mut self,
        kernel: Kernel,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let of = |name: &str, value| vec![(name.to_owned(), value)];
        let of_activation = |activation| of(kernels::ACTIVATION, activation as i32);
        let of_cell = |cell| of(kernels::CELL, cell as i32);
        let (target, attributes) = match kernel {
            Kernel::SparseDot | Kernel::PackedDot => (kernels::SPARSE_DOT, vec![]),
            Kernel::SparseDotTransposed | Kernel::PackedDotTransposed => {
                (kernels::SPARSE_DOT_TRANSPOSED, vec![])
            }
            Kernel::Pack { .. } => (kernels::PACK, vec![]),
            Kernel::Mlp { activation, .. } => (kernels::MLP, of_activation(activation)),
            Kernel::MlpGradient { activation, .. } => (kernels::MLP_GRADIENT, of_activation(activation)),
            Kernel::Recurrent { cell } => (kernels::RECURRENT, of_cell(cell)),
            Kernel::RecurrentGradient { cell } => (kernels::RECURRENT_GRADIENT, of_cell(cell)),
            Kernel::LinearRecurrence { reverse } => {
                (kernels::LINEAR_RECURRENCE, of(kernels::REVERSE, i32::from(reverse)))
            }
            Kernel::Conv => (kernels::CONV, vec![]),
            Kernel::ConvGradient => (kernels::CONV_GRADIENT, vec![]),
            Kernel::Adam => (kernels::ADAM, vec![]),
            Kernel::PutBack { .. } => (kernels::PUT_BACK, vec![]),
            Kernel::PutRow => (kernels::PUT_ROW, vec![]),
            Kernel::TakeRow => (kernels::TAKE_ROW, vec![]),
            Kernel::TakeColumns { .. } => (kernels::TAKE_COLUMNS, vec![]),
        };
        let inputs = match kernel {
            Kernel::SparseDot | Kernel::SparseDotTransposed => self.fuse_gather(1, inputs),
            Kernel::PackedDot | Kernel::PackedDotTransposed => self.fuse_gather(2, inputs),
            _ => inputs.to_vec(),
        };
        let in_place: Vec<usize> = match kernel {
            Kernel::PutBack { arrays } => (2..2 + arrays).collect(),
            Kernel::Adam => vec![0, 1, 2],
            Kernel::PutRow => vec![0],
            Kernel::TakeRow => vec![2],
            _ => vec![],
        };
        let names = self.call_kernel(target, attributes, &inputs, &in_place, outputs, at);
        if target == kernels::SPARSE_DOT_TRANSPOSED {
            self.transposed.insert(names[0].clone(), inputs);
        }
        names
    }

    /// The operands of a sparse product, whose first `parts` hold the rows of the sparse matrix: if these were gathered, what they
    /// were gathered from, with the numbers of the rows before the last operand.
    fn fuse_gather(&self, parts: usize, inputs: &[Value]) -> Vec<Value> {
        let gathered: Option<Vec<&[Value; 2]>> =
            inputs[..parts].iter().map(|input| self.gathered.get(&input.name)).collect();
        let (rest, last) = inputs[parts..].split_at(inputs.len() - parts - 1);
        match gathered {
            Some(gathered) if gathered.iter().all(|[_, rows]| rows.name == gathered[0][1].name) => {
                let sources: Vec<Value> = gathered.iter().map(|[source, _]| source.clone()).collect();
                [&sources[..], rest, &[gathered[0][1].clone()], last].concat()
            }
            _ => inputs.to_vec(),
        }
    }

    /// A large matrix is turned by a native function.
    pub(super) fn transpose(
        &mut self,
        permutation: &[usize],
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        /// Numbers of a matrix for which the call pays.
        const LARGE: usize = 1 << 15;
        let x = &inputs[0].array_type;
        let matrix = permutation == [1, 0] && x.dtype == DType::F32;
        let is_turned = self.rows_inside.contains(&inputs[0].name);
        if self.target.kernels && matrix && x.size() >= LARGE && !is_turned {
            return self.call_kernel(kernels::TRANSPOSE, vec![], inputs, &[], outputs, at);
        }
        let attributes = format!(", dims = {}", list(permutation));
        vec![self.simple("transpose", &attributes, inputs, outputs, at)]
    }

    /// The parts of a long vector are put together by a native function.
    pub(super) fn concatenate(
        &mut self,
        axis: usize,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        /// Numbers of a vector for which the call pays.
        const LONG: usize = 1 << 15;
        let output = &outputs[0];
        let is_long = output.rank() == 1 && output.size() >= LONG && output.dtype == DType::F32;
        if self.target.kernels && is_long {
            return self.call_kernel(kernels::JOIN, vec![], inputs, &[], outputs, at);
        }
        vec![self.simple("concatenate", &format!(", dim = {axis}"), inputs, outputs, at)]
    }

    /// `sum + product`, if one is a product that a kernel can add to the other in place. (The product on its own is used no
    /// more then, and the compiler drops it.)
    pub(super) fn add_in_place(
        &mut self,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Option<String> {
        let (sum, product) =
            match (self.transposed.get(&inputs[0].name), self.transposed.get(&inputs[1].name)) {
                (_, Some(product)) => (&inputs[0], product),
                (Some(product), None) => (&inputs[1], product),
                (None, None) => return None,
            };
        let inputs = [&product[..], std::slice::from_ref(sum)].concat();
        let target = kernels::SPARSE_DOT_TRANSPOSED_ADD;
        Some(self.call_kernel(target, vec![], &inputs, &[inputs.len() - 1], outputs, at).remove(0))
    }

    /// Calls a kernel, whose results may take the places of some of its inputs: the first that of the first, ... All arrays are row-major.
    pub(super) fn call_kernel(
        &mut self,
        target: &str,
        attributes: Vec<(String, i32)>,
        inputs: &[Value],
        in_place: &[usize],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let orders = row_major(inputs, outputs);
        let call = NativeCall { target, attributes, apart: false, in_place, orders };
        self.call_native(&call, inputs, outputs, at)
    }

    /// Calls a function that works together with those of other devices.
    pub(super) fn call_apart(
        &mut self,
        target: &str,
        attribute: Option<(&str, i32)>,
        inputs: &[Value],
        in_place: &[usize],
        output: &ArrayType,
        at: Location,
    ) -> String {
        let outputs = std::slice::from_ref(output);
        let attributes = attribute.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        let call =
            NativeCall { target, attributes, apart: true, in_place, orders: row_major(inputs, outputs) };
        self.call_native(&call, inputs, outputs, at).remove(0)
    }

    /// Calls a function of a native environment.
    pub(super) fn native(
        &mut self,
        native: &Native,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let target = match native.function {
            NativeFunction::Reset => kernels::NATIVE_RESET,
            NativeFunction::Step => kernels::NATIVE_STEP,
            NativeFunction::Observe => kernels::NATIVE_OBSERVE,
            NativeFunction::Mask => kernels::NATIVE_MASK,
        };
        let types: Vec<ArrayType> = inputs.iter().map(|input| input.array_type.clone()).collect();
        let call = NativeCall {
            target,
            attributes: vec![(kernels::LIBRARY.to_owned(), native.library.id)],
            apart: false,
            in_place: if native.function.is_in_place() { &[0] } else { &[] },
            orders: [native.input_orders(&types), native.output_orders(&types, outputs)],
        };
        let names = self.call_native(&call, inputs, outputs, at);
        self.rows_inside.extend(names.iter().cloned());
        names
    }

    /// What was made of a value without moving its last axis lies in memory as that does.
    pub(super) fn keep_rows_inside(&mut self, of: &str, made: &str) {
        if self.rows_inside.contains(of) {
            self.rows_inside.insert(made.to_owned());
        }
    }

    fn call_native(
        &mut self,
        call: &NativeCall,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        // XLA names the innermost axis first.
        let layout = |order: &Vec<usize>| {
            let axes: Vec<usize> = order.iter().rev().copied().collect();
            let text = if axes.is_empty() { String::new() } else { list(&axes) };
            format!("dense<{text}> : tensor<{}xindex>", axes.len())
        };
        let [layouts, result_layouts] =
            [&call.orders[0], &call.orders[1]].map(|orders| orders.iter().map(layout).collect::<Vec<_>>());
        let attributes: String =
            call.attributes.iter().map(|(name, value)| format!("{name} = {value} : i32, ")).collect();
        let aliases = call.in_place.iter().enumerate().map(|(result, index)| {
            let result = if outputs.len() == 1 { String::new() } else { result.to_string() };
            format!(
                "#stablehlo.output_operand_alias<output_tuple_indices = [{result}], operand_index = {index}, \
                 operand_tuple_indices = []>"
            )
        });
        let aliases: Vec<String> = aliases.collect();
        let in_place = match aliases.is_empty() {
            true => String::new(),
            false => format!(", output_operand_aliases = [{}]", aliases.join(", ")),
        };
        let apart = if call.apart { "has_side_effect = true, " } else { "" };
        let Processes { total, here } = self.target.processes;
        let text = format!(
            "stablehlo.custom_call @{}({}) {{{apart}api_version = 4 : i32, backend_config = {{{attributes}{} = {} : i32}}, \
             operand_layouts = [{}], result_layouts = [{}]{in_place}}} : {}",
            call.target,
            operands(inputs),
            kernels::DEVICES,
            self.options.num_replicas.max(1) / total * here,
            layouts.join(", "),
            result_layouts.join(", "),
            signature(inputs, outputs)
        );
        self.lines(&text, outputs.len(), at)
    }

    /// An op with one result in a function of its own. On cpu the function is not inlined: XLA's fusion of several
    /// results into one kernel (see the flags in `runtime`) aborts the process if a scatter is among them.
    pub(super) fn apart(&mut self, text: &str, inputs: &[Value], output: &ArrayType, at: Location) -> String {
        let name = format!("apart_{}", self.functions.len());
        let parameter = |i: usize| format!("%x{i}");
        let parameters: Vec<String> = inputs
            .iter()
            .enumerate()
            .map(|(i, input)| format!("{}: {}", parameter(i), tensor(&input.array_type)))
            .collect();
        let inner: Vec<String> = (0..inputs.len()).map(parameter).collect();
        let text = text.replacen(&operands(inputs), &inner.join(", "), 1);
        let result = tensor(output);
        let function = format!(
            "  func.func private @{name}({}) -> {result} {{\n    %y = {text}\n    return %y : {result}\n  }}\n",
            parameters.join(", "),
        );
        self.functions.insert(name.clone(), function);
        let signature = signature(inputs, std::slice::from_ref(output));
        let attribute = self.only_on_cpu(NOT_INLINED);
        self.line(&format!("func.call @{name}({}){attribute} : {signature}", operands(inputs)), at)
    }

    /// The attribute of a call where the compiler knows it.
    fn only_on_cpu(&self, attribute: &'static str) -> &'static str {
        if self.target.kind == DeviceKind::Cpu { attribute } else { "" }
    }
}

/// The axes of arrays that lie row by row.
fn row_major(inputs: &[Value], outputs: &[ArrayType]) -> [Vec<Vec<usize>>; 2] {
    let of = |array_type: &ArrayType| (0..array_type.rank()).collect();
    [inputs.iter().map(|input| of(&input.array_type)).collect(), outputs.iter().map(of).collect()]
}
