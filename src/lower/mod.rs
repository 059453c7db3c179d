//! From a graph to StableHLO text, the language that every PJRT plugin compiles.
//!
//! Text rather than MLIR bindings: it is hashed for the program cache, pinned by golden files and read by
//! people, and it needs no C++ library. Every op carries the line of Rust that made it as an MLIR location,
//! so that an error of XLA names it. Threefry is written once per shape, as a function.
//!
//! First some passes prepare the graph (see [`crate::transforms`]); then it is written, one op after the other:
//!
//! - here: the passes, the module and the table of ops
//! - `elementwise`, `arrays`: ops whose text needs more than a list of attributes
//! - `regions`: loops and branches
//! - `calls`: functions of the module and native kernels; `threefry` is such a function
//! - `siblings`: calls of one native function that do not wait for each other, as one
//! - `collectives`: sums over devices
//! - `writer`, `text`: lines, and the pieces of text in them

mod arrays;
mod calls;
mod collectives;
mod elementwise;
mod regions;
mod siblings;
mod text;
mod threefry;
mod writer;

use std::collections::{BTreeMap, BTreeSet};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::array::ArrayType;
use crate::ir::{Equation, Graph, Op, Var, checked, is_collective};
use crate::runtime::Target;
use crate::transforms::cluster::{cluster, without_broken_calls, without_calls};
use crate::transforms::loops::scans_as_loops;
use crate::transforms::simplify::{with_twins, without_dead_equations};

use siblings::side_by_side;
use text::{list, ranges, tensor};

/// How to lower a graph.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pairs (input, output) of equal type: the output reuses the memory of the input, which is consumed.
    pub donated: Vec<(usize, usize)>,
    /// Devices that run the program together, those of all processes; `Op::AllReduce` sums over them.
    pub num_replicas: usize,
    /// How matrix products of f32 are computed.
    pub precision: Precision,
}

impl Default for Options {
    fn default() -> Self {
        Options { donated: Vec::new(), num_replicas: 1, precision: Precision::default() }
    }
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
    /// Operands rounded to bf16, sums in f32; on cpu those of large matrix products
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
pub fn lower(graph: &Graph, options: &Options, target: Target) -> String {
    write(&prepared(graph, target), options, target)
}

/// The graph as it is written: without dead equations, scans and kernels that are not native, and with its clusters.
fn prepared(graph: &Graph, target: Target) -> Graph {
    let graph = with_twins(graph, &|kernel, types| target.kernels && kernel.is_native_for(types));
    let graph = without_dead_equations(&graph);
    if !target.clusters {
        return checked("lowering without clusters", scans_as_loops(&without_calls(&graph)));
    }
    let graph = checked("clustering", cluster(&graph));
    let (graph, broken) = without_broken_calls(&scans_as_loops(&graph));
    for rule in broken {
        tracing::debug!("a cluster is written without its call: {rule:?}");
    }
    checked("lowering", graph)
}

fn write(graph: &Graph, options: &Options, target: Target) -> String {
    let mut lowering = Lowering {
        out: String::new(),
        indent: 2,
        next_name: 0,
        functions: BTreeMap::new(),
        gathered: BTreeMap::new(),
        transposed: BTreeMap::new(),
        rows_inside: BTreeSet::new(),
        before: Vec::new(),
        options,
        target,
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
    /// Rows chosen from a matrix: the matrix and the numbers of the rows, by the name of the result.
    gathered: BTreeMap<String, [Value; 2]>,
    /// The operands of native products with a transposed sparse matrix, by the name of the result.
    transposed: BTreeMap<String, Vec<Value>>,
    /// Names of what native environments give, whose rows lie in memory as a transposition makes them: it costs nothing there.
    rows_inside: BTreeSet<String>,
    /// What is there once the last collective of this region is done, where that matters.
    before: Vec<Value>,
    options: &'a Options,
    target: Target,
}

/// A value in the text: its SSA name and type.
#[derive(Clone)]
struct Value {
    name: String,
    array_type: ArrayType,
}

impl Lowering<'_> {
    /// Writes the equations of a graph, one after the other, and names their outputs.
    fn equations(&mut self, graph: &Graph, names: &mut Names) {
        for step in side_by_side(graph, self.target.kernels) {
            let equation = match step[..] {
                [equation] => equation,
                _ => {
                    self.kernels(graph, &step, names);
                    continue;
                }
            };
            let mut inputs = values(graph, &equation.inputs, names);
            let outputs: Vec<ArrayType> =
                equation.outputs.iter().map(|&var| graph.array_type(var).clone()).collect();
            let has_collectives =
                self.calls_for_sums() && !equation.op.bodies().is_empty() && is_collective(&equation.op);
            if has_collectives {
                self.come_after(&mut inputs, equation.location);
            }
            let results = self.equation(equation, &inputs, &outputs);
            for (&var, name) in equation.outputs.iter().zip(results) {
                names.set(var, name);
            }
            if has_collectives {
                self.went_before(equation, &values(graph, &equation.outputs, names));
            }
        }
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
            Op::Binary(binary) => vec![self.binary(*binary, inputs, outputs, at)],
            Op::Compare(comparison) => vec![self.compare(*comparison, inputs, outputs, at)],
            Op::Select => vec![self.select(inputs, &outputs[0], at)],
            Op::Convert(_) => vec![self.simple("convert", "", inputs, outputs, at)],
            Op::Bitcast(_) => vec![self.simple("bitcast_convert", "", inputs, outputs, at)],
            Op::StopGradient => vec![inputs[0].name.clone()],
            Op::Threefry => self.threefry(inputs, outputs, at),
            Op::Broadcast { axes, .. } => {
                let attributes = format!(", dims = {}", list(axes));
                vec![self.simple("broadcast_in_dim", &attributes, inputs, outputs, at)]
            }
            Op::Reshape { shape } => {
                let reshaped = self.simple("reshape", "", inputs, outputs, at);
                if shape.last() == inputs[0].array_type.shape.last() {
                    self.keep_rows_inside(&inputs[0].name, &reshaped);
                }
                vec![reshaped]
            }
            Op::Transpose { permutation } => self.transpose(permutation, inputs, outputs, at),
            Op::Slice { start, limit, stride } => {
                vec![self.simple("slice", &format!(" {}", ranges(start, limit, stride)), inputs, outputs, at)]
            }
            Op::Pad { low, high, interior } => {
                let [low, high, interior] = [list(low), list(high), list(interior)];
                let attributes = format!(", low = {low}, high = {high}, interior = {interior}");
                vec![self.simple("pad", &attributes, inputs, outputs, at)]
            }
            Op::Concatenate { axis } => self.concatenate(*axis, inputs, outputs, at),
            Op::Reverse { axes } => vec![self.reverse(axes, inputs, &outputs[0], at)],
            Op::Dot { batch, contract } => vec![self.dot(batch, contract, inputs, outputs, at)],
            Op::Conv { windows } => vec![self.conv(windows, inputs, outputs, at)],
            Op::Kernel(kernel) => self.kernel(*kernel, inputs, outputs, at),
            Op::Native(native) => self.native(native, inputs, outputs, at),
            Op::Reduce { kind, axes } => vec![self.reduce(*kind, axes, &inputs[0], &outputs[0], at)],
            Op::DynamicSlice { sizes } => {
                let attributes = format!(", sizes = {}", list(sizes));
                vec![self.simple("dynamic_slice", &attributes, inputs, outputs, at)]
            }
            Op::DynamicUpdateSlice => {
                vec![self.simple("dynamic_update_slice", "", inputs, outputs, at)]
            }
            Op::Gather { axis } => vec![self.gather(*axis, inputs, outputs, at)],
            Op::Scatter { axis, kind } => vec![self.scatter(*axis, *kind, inputs, outputs, at)],
            Op::While { cond, body, cond_captures, body_captures } => {
                self.while_loop(cond, body, *cond_captures, *body_captures, inputs, at)
            }
            Op::Cond { on_true, on_false } => self.cond(on_true, on_false, inputs, outputs, at),
            Op::Scan { .. } => unreachable!("a pass has made a loop of it"),
            Op::Rare { body, captures } => self.rare(body, *captures, inputs, outputs, at),
            Op::Call { graph } => self.call(graph, inputs, outputs, at),
            Op::Barrier => self.barrier(inputs, outputs, at),
            Op::AllReduce => vec![self.all_reduce(inputs, outputs, at)],
            Op::ReplicaId => vec![self.replica_id(outputs, at)],
        }
    }
}

fn values(graph: &Graph, vars: &[Var], names: &Names) -> Vec<Value> {
    vars.iter()
        .map(|&var| Value { name: names.get(var).into(), array_type: graph.array_type(var).clone() })
        .collect()
}
