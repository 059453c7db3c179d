//! From a graph to StableHLO text, the language that every PJRT plugin compiles.
//!
//! Text rather than MLIR bindings: it is hashed for the program cache, pinned by golden files and read by
//! people, and it needs no C++ library. Every op carries the line of Rust that made it as an MLIR location,
//! so that an error of XLA names it. Bodies of loops become regions that use outer values directly,
//! so captures cost nothing. Threefry is written once per shape, as a function.

mod clusters;
mod scan;
mod text;
mod threefry;

use std::collections::{BTreeMap, HashMap};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::array::{ArrayType, DType, HostArray};
use crate::ir::{
    Activation, Binary, Comparison, Equation, Graph, Kernel, Location, Op, Reduction, ScatterKind, Unary, Var,
};

use crate::runtime::{NOT_INLINED, ONE_KERNEL, kernels};

use clusters::{Cluster, Step, steps};
use scan::{Scan, as_while};
use text::{constant, list, tensor};

/// How to lower a graph.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Pairs (input, output) of equal type: the output reuses the memory of the input, which is consumed.
    pub donated: Vec<(usize, usize)>,
    /// Devices that run the program together; `Op::AllReduce` sums over them.
    pub num_replicas: usize,
    /// How matrix products of f32 are computed.
    pub precision: Precision,
    /// Call native kernels; otherwise their plain twins are written.
    pub kernels: bool,
}

/// How matrix products of f32 are computed: an exact product of every pair, or a faster one.
///
/// XLA's own default differs between devices (f32 on cpu, TF32 on cuda, bf16 on tpu), so the text always says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// In f32
    #[default]
    F32,
    /// TF32 on cuda, three products of bf16 on tpu, f32 on cpu
    Tf32,
    /// Operands rounded to bf16, sums in f32
    Bf16,
}

impl Precision {
    /// The attribute of `dot_general`.
    fn in_stablehlo(self) -> &'static str {
        match self {
            Precision::F32 => "HIGHEST",
            Precision::Tf32 => "HIGH",
            Precision::Bf16 => "DEFAULT",
        }
    }
}

/// The StableHLO module of `graph`, with its entry function `@main`.
pub fn lower(graph: &Graph, options: &Options) -> String {
    let mut lowering = Lowering {
        out: String::new(),
        indent: 2,
        next_name: 0,
        functions: BTreeMap::new(),
        constants: HashMap::new(),
        in_cluster: false,
        gathered: BTreeMap::new(),
        transposed: BTreeMap::new(),
        options,
    };
    let mut parameters = Vec::new();
    let mut names = Names::new(graph);
    for (i, &var) in graph.inputs.iter().enumerate() {
        let attribute = match options.donated.iter().find(|(input, _)| *input == i) {
            Some((_, output)) => format!(" {{tf.aliasing_output = {output} : i32}}"),
            None => String::new(),
        };
        parameters.push(format!("%arg{i}: {}{attribute}", tensor(graph.array_type(var))));
        names.set(var, format!("%arg{i}"));
    }
    lowering.equations(graph, &mut names);
    let results: Vec<String> = graph.outputs.iter().map(|&var| names.get(var).to_owned()).collect();
    let types: Vec<String> = graph.output_types().iter().map(tensor).collect();
    let functions: String = lowering.functions.values().cloned().collect();
    format!(
        "module @lockstep {{\n  func.func public @main({}) -> ({}) {{\n{}    return {} : {}\n  }}\n{functions}}}\n",
        parameters.join(", "),
        types.join(", "),
        lowering.out,
        results.join(", "),
        types.join(", "),
    )
}

/// The SSA names of the variables of one graph.
struct Names {
    names: Vec<Option<String>>,
}

impl Names {
    fn new(graph: &Graph) -> Self {
        Names { names: vec![None; graph.num_vars()] }
    }

    fn set(&mut self, var: Var, name: String) {
        self.names[var.0 as usize] = Some(name);
    }

    fn get(&self, var: Var) -> &str {
        self.names[var.0 as usize].as_deref().expect("variables are defined before they are used")
    }
}

struct Lowering<'a> {
    out: String,
    indent: usize,
    next_name: usize,
    functions: BTreeMap<String, String>,
    /// The constants that were written, by name.
    constants: HashMap<String, HostArray>,
    /// Whether a cluster is being written, inside which there are no others.
    in_cluster: bool,
    /// Rows chosen from a matrix: the matrix and the numbers of the rows, by the name of the result.
    gathered: BTreeMap<String, [Value; 2]>,
    /// The operands of native products with a transposed sparse matrix, by the name of the result.
    transposed: BTreeMap<String, Vec<Value>>,
    options: &'a Options,
}

/// A value in the text: its SSA name and type.
#[derive(Clone)]
struct Value {
    name: String,
    array_type: ArrayType,
}

impl Lowering<'_> {
    fn equations(&mut self, graph: &Graph, names: &mut Names) {
        if self.in_cluster {
            graph.equations.iter().for_each(|equation| self.bind(graph, equation, names));
            return;
        }
        for step in steps(graph) {
            match step {
                Step::One(e) => self.bind(graph, &graph.equations[e], names),
                Step::Cluster(cluster) => {
                    let inputs = values(graph, &cluster.inputs, names);
                    let results = self.cluster(&cluster, &inputs);
                    for (&var, name) in cluster.outputs.iter().zip(results) {
                        names.set(var, name);
                    }
                }
            }
        }
    }

    /// Writes one equation and names its outputs.
    fn bind(&mut self, graph: &Graph, equation: &Equation, names: &mut Names) {
        let inputs = values(graph, &equation.inputs, names);
        let outputs: Vec<ArrayType> =
            equation.outputs.iter().map(|&var| graph.array_type(var).clone()).collect();
        let results = self.equation(equation, &inputs, &outputs);
        for (&var, name) in equation.outputs.iter().zip(results) {
            names.set(var, name);
        }
    }

    /// Writes a function that XLA compiles into one kernel on cpu, and the call of it; returns the names of the results.
    /// Constants from outside are written again inside, where XLA can fold them.
    fn cluster(&mut self, cluster: &Cluster, inputs: &[Value]) -> Vec<String> {
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

    /// Writes one equation; returns the names of its outputs.
    fn equation(&mut self, equation: &Equation, inputs: &[Value], outputs: &[ArrayType]) -> Vec<String> {
        let at = equation.location;
        match &equation.op {
            Op::Constant(value) => vec![self.constant(value, at)],
            Op::Iota { axis, .. } => {
                vec![self.line(&format!("stablehlo.iota dim = {axis} : {}", tensor(&outputs[0])), at)]
            }
            Op::Unary(unary) => vec![self.unary(*unary, inputs, &outputs[0], at)],
            Op::Binary(binary) => {
                let in_place =
                    if *binary == Binary::Add { self.add_in_place(inputs, outputs, at) } else { None };
                vec![in_place.unwrap_or_else(|| self.plain(binary_name(*binary), inputs, at))]
            }
            Op::Compare(comparison) => {
                let text = format!(
                    "stablehlo.compare {}, {}, {}, {} : {}",
                    comparison_name(*comparison),
                    inputs[0].name,
                    inputs[1].name,
                    comparison_type(inputs[0].array_type.dtype),
                    signature(inputs, outputs)
                );
                vec![self.line(&text, at)]
            }
            Op::Select => {
                let text = format!(
                    "stablehlo.select {} : {}, {}",
                    operands(inputs),
                    tensor(&inputs[0].array_type),
                    tensor(&outputs[0])
                );
                vec![self.line(&text, at)]
            }
            Op::Convert(_) => vec![self.simple("convert", "", inputs, outputs, at)],
            Op::Bitcast(_) => vec![self.simple("bitcast_convert", "", inputs, outputs, at)],
            Op::StopGradient => vec![inputs[0].name.clone()],
            Op::Threefry => self.threefry(inputs, outputs, at),
            Op::Broadcast { axes, .. } => {
                let attributes = format!(", dims = {}", list(axes));
                vec![self.simple("broadcast_in_dim", &attributes, inputs, outputs, at)]
            }
            Op::Reshape { .. } => vec![self.simple("reshape", "", inputs, outputs, at)],
            Op::Transpose { permutation } => {
                let attributes = format!(", dims = {}", list(permutation));
                vec![self.simple("transpose", &attributes, inputs, outputs, at)]
            }
            Op::Slice { start, limit, stride } => {
                let ranges: Vec<String> =
                    (0..start.len()).map(|i| format!("{}:{}:{}", start[i], limit[i], stride[i])).collect();
                let attributes = format!(" [{}]", ranges.join(", "));
                vec![self.simple("slice", &attributes, inputs, outputs, at)]
            }
            Op::Pad { low, high, interior } => {
                let attributes =
                    format!(", low = {}, high = {}, interior = {}", list(low), list(high), list(interior));
                vec![self.simple("pad", &attributes, inputs, outputs, at)]
            }
            Op::Concatenate { axis } => {
                vec![self.simple("concatenate", &format!(", dim = {axis}"), inputs, outputs, at)]
            }
            Op::Reverse { axes } => {
                let text = format!(
                    "stablehlo.reverse {}, dims = {} : {}",
                    inputs[0].name,
                    list(axes),
                    tensor(&outputs[0])
                );
                vec![self.line(&text, at)]
            }
            Op::Dot { batch, contract } => vec![self.dot(batch, contract, inputs, outputs, at)],
            Op::Kernel(kernel) => self.kernel(*kernel, inputs, outputs, at),
            Op::Reduce { kind, axes } => vec![self.reduce(*kind, axes, &inputs[0], &outputs[0], at)],
            Op::DynamicSlice { sizes } => {
                let attributes = format!(", sizes = {}", list(sizes));
                vec![self.simple("dynamic_slice", &attributes, inputs, outputs, at)]
            }
            Op::DynamicUpdateSlice => {
                vec![self.simple("dynamic_update_slice", "", inputs, outputs, at)]
            }
            Op::Gather { axis } => {
                let name = self.gather(*axis, inputs, outputs, at);
                if *axis == 0 && inputs[0].array_type.rank() == 2 && inputs[1].array_type.rank() == 1 {
                    self.gathered.insert(name.clone(), [inputs[0].clone(), inputs[1].clone()]);
                }
                vec![name]
            }
            Op::Scatter { axis, kind } => vec![self.scatter(*axis, *kind, inputs, outputs, at)],
            Op::While { cond, body, cond_captures, body_captures } => {
                self.while_loop(cond, body, *cond_captures, *body_captures, inputs, at)
            }
            Op::Cond { on_true, on_false } => {
                let (yes, no) = inputs[1..].split_at(on_true.inputs.len());
                self.branches(&inputs[0], outputs, at, |lowering, branch| match branch {
                    true => lowering.body(on_true, yes),
                    false => lowering.body(on_false, no),
                })
            }
            &Op::Scan { ref body, captures, carry, length, reverse } => {
                self.scan(&Scan { body, captures, carry, length, reverse, location: at }, inputs, outputs)
            }
            Op::Rare { body, captures } => {
                let operand: Vec<String> = inputs[1 + captures..].iter().map(|v| v.name.clone()).collect();
                self.branches(&inputs[0], outputs, at, |lowering, branch| match branch {
                    true => lowering.body(body, &inputs[1..]),
                    false => operand.clone(),
                })
            }
            Op::Barrier => {
                let types: Vec<String> = outputs.iter().map(tensor).collect();
                let text =
                    format!("stablehlo.optimization_barrier {} : {}", operands(inputs), types.join(", "));
                self.lines(&text, outputs.len(), at)
            }
            Op::AllReduce => vec![self.all_reduce(inputs, outputs, at)],
            Op::ReplicaId => vec![self.line("stablehlo.replica_id : tensor<ui32>", at)],
        }
    }

    fn unary(&mut self, unary: Unary, inputs: &[Value], output: &ArrayType, at: Location) -> String {
        let name = match unary {
            Unary::Neg => "negate",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Exp => "exponential",
            Unary::Log => "log",
            Unary::Log1p => "log_plus_one",
            Unary::Expm1 => "exponential_minus_one",
            Unary::Tanh => "tanh",
            Unary::Sin => "sine",
            Unary::Cos => "cosine",
            Unary::Sqrt => "sqrt",
            Unary::Rsqrt => "rsqrt",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Round => "round_nearest_even",
            Unary::Logistic => "logistic",
            Unary::IsFinite => {
                return self.simple("is_finite", "", inputs, std::slice::from_ref(output), at);
            }
            Unary::Not => "not",
            Unary::PopulationCount => "popcnt",
            Unary::CountLeadingZeros => "count_leading_zeros",
        };
        self.plain(name, inputs, at)
    }

    fn threefry(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> Vec<String> {
        let name = threefry::function_name(&outputs[0]);
        self.functions.entry(name.clone()).or_insert_with(|| threefry::function(&outputs[0]));
        let text = format!("func.call @{name}({}) : {}", operands(inputs), signature(inputs, outputs));
        self.lines(&text, 2, at)
    }

    /// A matrix product, in f32 as precise as the options say.
    fn dot(
        &mut self,
        batch: &(Vec<usize>, Vec<usize>),
        contract: &(Vec<usize>, Vec<usize>),
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let batching = match batch.0.is_empty() {
            true => String::new(),
            false => format!(", batching_dims = {} x {}", list(&batch.0), list(&batch.1)),
        };
        let precision = match outputs[0].dtype {
            DType::F32 => self.options.precision,
            _ => Precision::F32,
        };
        let attributes = format!(
            "{batching}, contracting_dims = {} x {}, precision = [{name}, {name}]",
            list(&contract.0),
            list(&contract.1),
            name = precision.in_stablehlo()
        );
        match precision {
            Precision::F32 | Precision::Tf32 => self.simple("dot_general", &attributes, inputs, outputs, at),
            Precision::Bf16 => {
                let rounded: Vec<Value> = inputs.iter().map(|x| self.rounded(x, at)).collect();
                self.simple("dot_general", &attributes, &rounded, outputs, at)
            }
        }
    }

    /// An f32 array as bf16. XLA may drop a pair of conversions (f32 to bf16 and back, as on cpu, where products of
    /// bf16 are products of f32), but never a reduction of precision.
    fn rounded(&mut self, x: &Value, at: Location) -> Value {
        let f32s = tensor(&x.array_type);
        let text = format!("stablehlo.reduce_precision {}, format = e8m7 : {f32s}", x.name);
        let name = self.line(&text, at);
        let array_type = ArrayType::new(DType::BF16, &*x.array_type.shape);
        let text = format!("stablehlo.convert {name} : ({f32s}) -> {}", tensor(&array_type));
        Value { name: self.line(&text, at), array_type }
    }

    fn reduce(
        &mut self,
        kind: Reduction,
        axes: &[usize],
        x: &Value,
        output: &ArrayType,
        at: Location,
    ) -> String {
        let dtype = x.array_type.dtype;
        let identity =
            Value { name: self.constant(&identity(kind, dtype), at), array_type: ArrayType::scalar(dtype) };
        let op = match kind {
            Reduction::Sum => "add",
            Reduction::Max => "maximum",
            Reduction::Min => "minimum",
            Reduction::And => "and",
            Reduction::Or => "or",
        };
        let text = format!(
            "stablehlo.reduce({} init: {}) applies stablehlo.{op} across dimensions = {} : {}",
            x.name,
            identity.name,
            list(axes),
            signature(&[x.clone(), identity.clone()], std::slice::from_ref(output))
        );
        self.line(&text, at)
    }

    fn kernel(
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
        let target = match kernel {
            Kernel::SparseDot => kernels::SPARSE_DOT,
            Kernel::SparseDotTransposed => kernels::SPARSE_DOT_TRANSPOSED,
            Kernel::Squeeze => kernels::SQUEEZE,
            Kernel::Mlp { activation, .. } => {
                return self.call_kernel(kernels::MLP, Some(activation), inputs, None, outputs, at);
            }
            Kernel::MlpGradient { activation, .. } => {
                return self.call_kernel(kernels::MLP_GRADIENT, Some(activation), inputs, None, outputs, at);
            }
        };
        // A sparse operand that was gathered is read where it lies.
        let inputs = match (kernel, self.gathered.get(&inputs[0].name)) {
            (Kernel::SparseDot | Kernel::SparseDotTransposed, Some([source, rows])) => {
                vec![source.clone(), rows.clone(), inputs[1].clone()]
            }
            _ => inputs.to_vec(),
        };
        let in_place = (kernel == Kernel::Squeeze).then_some(0);
        let name = self.call_kernel(target, None, &inputs, in_place, outputs, at).remove(0);
        if kernel == Kernel::SparseDotTransposed {
            self.transposed.insert(name.clone(), inputs);
        }
        vec![name]
    }

    /// `sum + product`, if one is a product that a kernel can add to the other in place. (The product on its own is used no
    /// more then, and the compiler drops it.)
    fn add_in_place(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> Option<String> {
        let (sum, product) =
            match (self.transposed.get(&inputs[0].name), self.transposed.get(&inputs[1].name)) {
                (_, Some(product)) => (&inputs[0], product),
                (Some(product), None) => (&inputs[1], product),
                (None, None) => return None,
            };
        let inputs = [&product[..], std::slice::from_ref(sum)].concat();
        let target = kernels::SPARSE_DOT_TRANSPOSED_ADD;
        Some(self.call_kernel(target, None, &inputs, Some(inputs.len() - 1), outputs, at).remove(0))
    }

    /// Calls a native function, whose result may take the place of one of its inputs.
    fn call_kernel(
        &mut self,
        target: &str,
        activation: Option<Activation>,
        inputs: &[Value],
        in_place: Option<usize>,
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
        let in_place = in_place.map_or(String::new(), |index| {
            format!(
                ", output_operand_aliases = [#stablehlo.output_operand_alias<output_tuple_indices = [], \
                 operand_index = {index}, operand_tuple_indices = []>]"
            )
        });
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

    fn gather(&mut self, axis: usize, inputs: &[Value], outputs: &[ArrayType], at: Location) -> String {
        let [x, indices] = [&inputs[0].array_type, &inputs[1].array_type];
        let mut sizes = x.shape.clone();
        sizes[axis] = 1;
        let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
        let text = format!(
            "\"stablehlo.gather\"({}) <{{dimension_numbers = #stablehlo.gather<offset_dims = {}, \
             collapsed_slice_dims = [{axis}], start_index_map = [{axis}], index_vector_dim = {}>, \
             indices_are_sorted = false, slice_sizes = array<i64: {}>}}> : {}",
            operands(inputs),
            list(&window_axes(axis, x, indices)),
            indices.rank(),
            sizes.join(", "),
            signature(inputs, outputs)
        );
        self.line(&text, at)
    }

    fn scatter(
        &mut self,
        axis: usize,
        kind: ScatterKind,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let [x, indices] = [&inputs[0].array_type, &inputs[1].array_type];
        let scalar = tensor(&ArrayType::scalar(x.dtype));
        let region = match kind {
            ScatterKind::Set => format!("stablehlo.return %new : {scalar}"),
            ScatterKind::Add => {
                format!("%sum = stablehlo.add %old, %new : {scalar}\n      stablehlo.return %sum : {scalar}")
            }
        };
        let text = format!(
            "\"stablehlo.scatter\"({}) <{{indices_are_sorted = false, scatter_dimension_numbers = \
             #stablehlo.scatter<update_window_dims = {}, inserted_window_dims = [{axis}], \
             scatter_dims_to_operand_dims = [{axis}], index_vector_dim = {}>, unique_indices = {}}}> ({{\n    \
             ^bb0(%old: {scalar}, %new: {scalar}):\n      {region}\n    }}) : {}",
            operands(inputs),
            list(&window_axes(axis, x, indices)),
            indices.rank(),
            kind == ScatterKind::Set,
            signature(inputs, outputs)
        );
        self.apart(&text, inputs, &outputs[0], at)
    }

    /// An op with one result in a function of its own. On cpu the function is not inlined: XLA's fusion of several
    /// results into one kernel (see the flags in `runtime`) aborts the process if a scatter is among them.
    fn apart(&mut self, text: &str, inputs: &[Value], output: &ArrayType, at: Location) -> String {
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

    fn while_loop(
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

    fn scan(&mut self, scan: &Scan, inputs: &[Value], outputs: &[ArrayType]) -> Vec<String> {
        let at = scan.location;
        let (captures, rest) = inputs.split_at(scan.captures);
        let (carry, xs) = rest.split_at(scan.carry);
        let mut initial = vec![Value { name: self.int(0, at), array_type: ArrayType::scalar(DType::I32) }];
        initial.extend_from_slice(carry);
        for array_type in &outputs[scan.carry..] {
            let scalar = ArrayType::scalar(array_type.dtype);
            let zero = self.constant(&HostArray::zeros(&scalar), at);
            let zero = Value { name: zero, array_type: scalar };
            let name =
                self.simple("broadcast_in_dim", ", dims = []", &[zero], std::slice::from_ref(array_type), at);
            initial.push(Value { name, array_type: array_type.clone() });
        }
        if scan.length == 0 {
            // Its steps would read entries that no array has.
            return initial[1..].iter().map(|value| value.name.clone()).collect();
        }
        let types: Vec<ArrayType> = inputs.iter().map(|input| input.array_type.clone()).collect();
        let (cond, body) = as_while(scan, &types, outputs);
        let all = [captures, xs, &initial].concat();
        self.while_loop(&cond, &body, 0, captures.len() + xs.len(), &all, at).split_off(1)
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
    fn body(&mut self, graph: &Graph, inputs: &[Value]) -> Vec<String> {
        let mut names = Names::new(graph);
        for (&var, value) in graph.inputs.iter().zip(inputs) {
            names.set(var, value.name.clone());
        }
        self.equations(graph, &mut names);
        graph.outputs.iter().map(|&var| names.get(var).to_owned()).collect()
    }

    fn all_reduce(&mut self, inputs: &[Value], outputs: &[ArrayType], at: Location) -> String {
        let replicas = self.options.num_replicas.max(1);
        if replicas == 1 {
            return inputs[0].name.clone();
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

    fn constant(&mut self, value: &HostArray, at: Location) -> String {
        let text = format!("stablehlo.constant {} : {}", constant(value), tensor(&value.array_type()));
        let name = self.line(&text, at);
        self.constants.insert(name.clone(), value.clone());
        name
    }

    fn int(&mut self, value: i32, at: Location) -> String {
        self.constant(&HostArray::scalar(value), at)
    }

    /// `stablehlo.name a, b : type` for ops whose operands and result have one type.
    fn plain(&mut self, name: &str, inputs: &[Value], at: Location) -> String {
        let text = format!("stablehlo.{name} {} : {}", operands(inputs), tensor(&inputs[0].array_type));
        self.line(&text, at)
    }

    /// `stablehlo.name a, b attributes : (types) -> type`.
    fn simple(
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
    fn line(&mut self, text: &str, at: Location) -> String {
        self.lines(text, 1, at).remove(0)
    }

    /// One op with `count` results.
    fn lines(&mut self, text: &str, count: usize, at: Location) -> Vec<String> {
        let result = self.fresh("");
        let binding = if count == 1 { result.clone() } else { format!("{result}:{count}") };
        self.raw(&format!("{binding} = {text} {}", text::location(at)));
        results(&result, count)
    }

    fn raw(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
        self.out.push_str(text);
        self.out.push('\n');
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.next_name += 1;
        format!("%{prefix}{}", self.next_name - 1)
    }
}

fn values(graph: &Graph, vars: &[Var], names: &Names) -> Vec<Value> {
    vars.iter()
        .map(|&var| Value { name: names.get(var).into(), array_type: graph.array_type(var).clone() })
        .collect()
}

/// The names of the `count` results of an op bound to `name`.
fn results(name: &str, count: usize) -> Vec<String> {
    match count {
        1 => vec![name.to_owned()],
        _ => (0..count).map(|i| format!("{name}#{i}")).collect(),
    }
}

fn operands(inputs: &[Value]) -> String {
    let names: Vec<&str> = inputs.iter().map(|value| value.name.as_str()).collect();
    names.join(", ")
}

/// `(types) -> type`, with parentheses around several results.
fn signature(inputs: &[Value], outputs: &[ArrayType]) -> String {
    let inputs: Vec<String> = inputs.iter().map(|value| tensor(&value.array_type)).collect();
    let outputs: Vec<String> = outputs.iter().map(tensor).collect();
    match outputs.as_slice() {
        [one] => format!("({}) -> {one}", inputs.join(", ")),
        many => format!("({}) -> ({})", inputs.join(", "), many.join(", ")),
    }
}

/// Where the axes of `x` other than `axis` stand in a gathered array.
fn window_axes(axis: usize, x: &ArrayType, indices: &ArrayType) -> Vec<usize> {
    (0..axis).chain(axis + indices.rank()..x.rank() - 1 + indices.rank()).collect()
}

fn binary_name(binary: Binary) -> &'static str {
    match binary {
        Binary::Add => "add",
        Binary::Sub => "subtract",
        Binary::Mul => "multiply",
        Binary::Div => "divide",
        Binary::Rem => "remainder",
        Binary::Pow => "power",
        Binary::Max => "maximum",
        Binary::Min => "minimum",
        Binary::And => "and",
        Binary::Or => "or",
        Binary::Xor => "xor",
        Binary::ShiftLeft => "shift_left",
        Binary::ShiftRight => "shift_right_logical",
    }
}

fn comparison_name(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "EQ",
        Comparison::Ne => "NE",
        Comparison::Lt => "LT",
        Comparison::Le => "LE",
        Comparison::Gt => "GT",
        Comparison::Ge => "GE",
    }
}

fn comparison_type(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 | DType::F32 | DType::F64 => "FLOAT",
        DType::I32 => "SIGNED",
        DType::Bool | DType::U8 | DType::U32 | DType::U64 => "UNSIGNED",
    }
}

/// The value that a reduction starts from.
fn identity(kind: Reduction, dtype: DType) -> HostArray {
    let bits: u64 = match (kind, dtype) {
        (Reduction::Sum | Reduction::Or, _) => 0,
        (Reduction::And, _) => 1,
        (Reduction::Max, DType::BF16) => 0xff80,
        (Reduction::Max, DType::F32) => f32::NEG_INFINITY.to_bits().into(),
        (Reduction::Max, DType::F64) => f64::NEG_INFINITY.to_bits(),
        (Reduction::Max, DType::I32) => i32::MIN as u32 as u64,
        (Reduction::Max, _) => 0,
        (Reduction::Min, DType::BF16) => 0x7f80,
        (Reduction::Min, DType::F32) => f32::INFINITY.to_bits().into(),
        (Reduction::Min, DType::F64) => f64::INFINITY.to_bits(),
        (Reduction::Min, DType::I32) => i32::MAX as u64,
        (Reduction::Min, _) => u64::MAX,
    };
    let bytes = &bits.to_le_bytes()[..dtype.size()];
    HostArray::from_bytes(&ArrayType::scalar(dtype), bytes).expect("one element")
}
