//! Calls: of functions of the module (clusters, the block cipher, what must stand apart) and of native kernels.
//!
//! A kernel that reads a gathered matrix, or whose result is only added to a sum, is called in a form that does both by itself;
//! so the lowering remembers what was gathered and what was multiplied.

use super::clusters::Cluster;
use super::text::{list, tensor};
use super::writer::{operands, signature};
use super::{Lowering, Precision, Value, threefry};
use crate::array::{ArrayType, DType};
use crate::ir::{Activation, Kernel, Location};
use crate::runtime::{NOT_INLINED, ONE_KERNEL, kernels};

impl Lowering<'_> {
    /// Writes a function that XLA compiles into one kernel on cpu, and the call of it; returns the names of the results.
    /// Constants from outside are written again inside, where XLA can fold them.
    pub(super) fn cluster(&mut self, cluster: &Cluster, inputs: &[Value]) -> Vec<String> {
        let at = cluster.graph.equations[0].location;
        let outer = std::mem::take(&mut self.out);
        let indent = std::mem::replace(&mut self.indent, 2);
        self.in_cluster = true;
        let (mut passed, mut inner) = (Vec::new(), Vec::new());
        for value in inputs {
            let name = match self.constants.get(&value.name).cloned() {
                Some(constant) => self.constant(&constant, at),
                None => {
                    passed.push(value.clone());
                    format!("%in{}", passed.len() - 1)
                }
            };
            inner.push(Value { name, array_type: value.array_type.clone() });
        }
        let results = self.body(&cluster.graph, &inner);
        let text = std::mem::replace(&mut self.out, outer);
        self.indent = indent;
        self.in_cluster = false;

        let name = format!("cluster_{}", self.functions.len());
        let parameters: Vec<String> = (passed.iter().enumerate())
            .map(|(i, value)| format!("%in{i}: {}", tensor(&value.array_type)))
            .collect();
        let types = cluster.graph.output_types();
        let list: Vec<String> = types.iter().map(tensor).collect();
        let list = list.join(", ");
        let function = format!(
            "  func.func private @{name}({}) -> ({list}) {{\n{text}    return {} : {list}\n  }}\n",
            parameters.join(", "),
            results.join(", "),
        );
        self.functions.insert(name.clone(), function);
        let signature = signature(&passed, &types);
        let call = format!("func.call @{name}({}) {{{ONE_KERNEL}}} : {signature}", operands(&passed));
        self.lines(&call, types.len(), at)
    }

    pub(super) fn threefry(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> Vec<String> {
        let name = threefry::function_name(&outputs[0]);
        self.functions.entry(name.clone()).or_insert_with(|| threefry::function(&outputs[0]));
        let text = format!("func.call @{name}({}) : {}", operands(inputs), signature(inputs, outputs));
        self.lines(&text, 2, at)
    }

    pub(super) fn kernel(
        &mut self,
        kernel: Kernel,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let types: Vec<ArrayType> = inputs.iter().map(|input| input.array_type.clone()).collect();
        let native = self.options.kernels && self.options.precision != Precision::Bf16;
        if !native || !kernel.is_native_for(&types) {
            return self.body(&kernel.twin(&types, at), inputs);
        }
        let (target, activation) = match kernel {
            Kernel::SparseDot | Kernel::PackedDot => (kernels::SPARSE_DOT, None),
            Kernel::SparseDotTransposed | Kernel::PackedDotTransposed => {
                (kernels::SPARSE_DOT_TRANSPOSED, None)
            }
            Kernel::Pack { .. } => (kernels::PACK, None),
            Kernel::Mlp { activation, .. } => (kernels::MLP, Some(activation)),
            Kernel::MlpGradient { activation, .. } => (kernels::MLP_GRADIENT, Some(activation)),
            Kernel::PutBack { .. } => (kernels::PUT_BACK, None),
        };
        let inputs = match kernel {
            Kernel::SparseDot | Kernel::SparseDotTransposed => self.where_they_lie(1, inputs),
            Kernel::PackedDot | Kernel::PackedDotTransposed => self.where_they_lie(2, inputs),
            _ => inputs.to_vec(),
        };
        let in_place: Vec<usize> = match kernel {
            Kernel::PutBack { arrays } => (2..2 + arrays).collect(),
            _ => vec![],
        };
        let names = self.call_kernel(target, activation, &inputs, &in_place, outputs, at);
        if target == kernels::SPARSE_DOT_TRANSPOSED {
            self.transposed.insert(names[0].clone(), inputs);
        }
        names
    }

    /// The operands of a sparse product, whose first `parts` hold the rows of the sparse matrix: if these were gathered, what they
    /// were gathered from, with the numbers of the rows before the last operand.
    fn where_they_lie(&self, parts: usize, inputs: &[Value]) -> Vec<Value> {
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
        if self.options.kernels && matrix && x.size() >= LARGE {
            return self.call_kernel(kernels::TRANSPOSE, None, inputs, &[], outputs, at);
        }
        let attributes = format!(", dims = {}", list(permutation));
        vec![self.simple("transpose", &attributes, inputs, outputs, at)]
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
        Some(self.call_kernel(target, None, &inputs, &[inputs.len() - 1], outputs, at).remove(0))
    }

    /// Calls a native function, whose results may take the places of some of its inputs: the first that of the first, ...
    fn call_kernel(
        &mut self,
        target: &str,
        activation: Option<Activation>,
        inputs: &[Value],
        in_place: &[usize],
        outputs: &[ArrayType],
        at: Location,
    ) -> Vec<String> {
        let row_major = |array_type: &ArrayType| {
            let order: Vec<usize> = (0..array_type.rank()).rev().collect();
            format!("dense<{}> : tensor<{}xindex>", list(&order), order.len())
        };
        let layouts: Vec<String> = inputs.iter().map(|input| row_major(&input.array_type)).collect();
        let result_layouts: Vec<String> = outputs.iter().map(row_major).collect();
        let activation = activation.map_or(String::new(), |activation| {
            format!("{} = {} : i32, ", kernels::ACTIVATION, activation as i32)
        });
        let aliases = in_place.iter().enumerate().map(|(result, index)| {
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
        let text = format!(
            "stablehlo.custom_call @{target}({}) {{api_version = 4 : i32, backend_config = {{{activation}{} = {} : i32}}, \
             operand_layouts = [{}], result_layouts = [{}]{in_place}}} : {}",
            operands(inputs),
            kernels::DEVICES,
            self.options.num_replicas.max(1),
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
        self.line(&format!("func.call @{name}({}) {{{NOT_INLINED}}} : {signature}", operands(inputs)), at)
    }
}
