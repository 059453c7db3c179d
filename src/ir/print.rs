//! Graphs as text, for golden files and for people.

use std::fmt;

use super::{Graph, Op, Var, Window};

/// One line per equation: `%3 = add(%1, %2) : f32[4]`; bodies follow indented.
impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_graph(f, self, 0)
    }
}

fn write_graph(f: &mut fmt::Formatter<'_>, graph: &Graph, depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    let typed = |vars: &[Var]| {
        let list: Vec<String> = vars.iter().map(|&v| format!("%{}: {}", v.0, graph.array_type(v))).collect();
        list.join(", ")
    };
    let names = |vars: &[Var]| vars.iter().map(|v| format!("%{}", v.0)).collect::<Vec<_>>().join(", ");
    writeln!(f, "{indent}graph({}) {{", typed(&graph.inputs))?;
    for equation in &graph.equations {
        let attributes = attributes(&equation.op);
        let (outputs, inputs) = (typed(&equation.outputs), names(&equation.inputs));
        writeln!(f, "{indent}  {outputs} = {}{attributes}({inputs})", equation.op.name())?;
        for body in equation.op.bodies() {
            write_graph(f, body, depth + 2)?;
        }
    }
    writeln!(f, "{indent}  return {}", names(&graph.outputs))?;
    writeln!(f, "{indent}}}")
}

/// What distinguishes two ops of one name, beside the types of their outputs.
fn attributes(op: &Op) -> String {
    match op {
        Op::Constant(value) if value.array_type().size() <= 8 => format!("{:?}", value.to_f64()),
        Op::Constant(_) => "[...]".into(),
        Op::Iota { axis, .. } | Op::Concatenate { axis } | Op::Gather { axis } | Op::Scatter { axis, .. } => {
            format!("[axis={axis}]")
        }
        Op::Broadcast { axes, .. } | Op::Reverse { axes } | Op::Reduce { axes, .. } => {
            format!("[axes={axes:?}]")
        }
        Op::Transpose { permutation } => format!("{permutation:?}"),
        Op::Slice { start, limit, stride } => format!("[{start:?}..{limit:?} by {stride:?}]"),
        Op::Pad { low, high, interior } => format!("[low={low:?} high={high:?} interior={interior:?}]"),
        Op::Dot { batch, contract } => format!("[batch={batch:?} contract={contract:?}]"),
        Op::Conv { windows: [rows, columns] } => {
            format!("[rows={} columns={}]", window(rows), window(columns))
        }
        Op::While { cond_captures, body_captures, .. } => {
            format!("[captures={cond_captures}+{body_captures}]")
        }
        Op::Scan { captures, carry, length, reverse, .. } => {
            format!("[captures={captures} carry={carry} length={length} reverse={reverse}]")
        }
        Op::Rare { captures, .. } => format!("[captures={captures}]"),
        Op::Unary(_)
        | Op::Binary(_)
        | Op::Compare(_)
        | Op::Select
        | Op::Convert(_)
        | Op::Bitcast(_)
        | Op::StopGradient
        | Op::Threefry
        | Op::Reshape { .. }
        | Op::Kernel(_)
        | Op::Native(_)
        | Op::DynamicSlice { .. }
        | Op::DynamicUpdateSlice
        | Op::Cond { .. }
        | Op::Call { .. }
        | Op::Barrier
        | Op::AllReduce
        | Op::ReplicaId => String::new(),
    }
}

/// The window of a convolution along one axis; the dilations are those of the images and of the kernel.
fn window(window: &Window) -> String {
    let Window { stride, padding, input_dilation, kernel_dilation } = window;
    format!("(stride={stride} padding={padding:?} dilations={input_dilation},{kernel_dilation})")
}
