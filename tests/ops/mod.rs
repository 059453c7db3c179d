//! The numeric tests of the compiler: one table of cases ([`cases`]), and what must hold for each.

pub mod cases;
mod device;
mod gradients;
mod precision;
mod vmap;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{
    Binary, Comparison, Graph, KernelKind, Op, OpKind, Reduction, ScatterKind, Unary, Var, check,
};
use strum::IntoEnumIterator;

use cases::{Case, cases};

/// What the table must have a case of: each kind of op, and of those that stand for many (`Unary`, `Kernel`, ...) each one.
/// The enums list themselves, so a new op without a case fails the test below.
fn every_op() -> BTreeSet<String> {
    let several = |kind: OpKind| -> Vec<String> {
        match kind {
            OpKind::Unary => Unary::iter().map(|op| label(&Op::Unary(op))).collect(),
            OpKind::Binary => Binary::iter().map(|op| label(&Op::Binary(op))).collect(),
            OpKind::Compare => Comparison::iter().map(|op| label(&Op::Compare(op))).collect(),
            OpKind::Reduce => {
                Reduction::iter().map(|kind| label(&Op::Reduce { kind, axes: vec![] })).collect()
            }
            OpKind::Scatter => {
                ScatterKind::iter().map(|kind| label(&Op::Scatter { axis: 0, kind })).collect()
            }
            OpKind::Native => vec![], // it needs a library: `tests/native`
            OpKind::Kernel => KernelKind::iter().map(|kind| format!("{kind:?}")).collect(),
            OpKind::Convert => DType::ALL.map(|dtype| label(&Op::Convert(dtype))).into(),
            OpKind::Bitcast => {
                let numbers = DType::ALL.into_iter().filter(|dtype| *dtype != DType::Bool);
                numbers.map(|dtype| label(&Op::Bitcast(dtype))).collect()
            }
            other => vec![format!("{other:?}")],
        }
    };
    OpKind::iter().flat_map(several).collect()
}

/// The entry of [`every_op`] that an op is a case of.
fn label(op: &Op) -> String {
    match op {
        Op::Unary(_) | Op::Binary(_) | Op::Compare(_) | Op::Convert(_) | Op::Bitcast(_) => format!("{op:?}"),
        Op::Reduce { kind, .. } => format!("Reduce({kind:?})"),
        Op::Scatter { kind, .. } => format!("Scatter({kind:?})"),
        Op::Kernel(kernel) => format!("{:?}", KernelKind::from(kernel)),
        other => format!("{:?}", OpKind::from(other)),
    }
}

fn labels(graph: &Graph, found: &mut BTreeSet<String>) {
    for equation in &graph.equations {
        found.insert(label(&equation.op));
        equation.op.bodies().into_iter().for_each(|body| labels(body, found));
    }
}

#[test]
fn the_table_covers_every_op() {
    let mut found = BTreeSet::new();
    cases().iter().for_each(|case| labels(&case.graph, &mut found));
    assert_eq!(found, every_op());
}

#[test]
fn every_case_runs_on_the_oracle() {
    for_each(&cases(), |case| {
        check(&case.graph).unwrap_or_else(|message| panic!("{}: {message}", case.name));
        let outputs = interpret(&case.graph, &case.sample(1));
        let types: Vec<ArrayType> = outputs.iter().map(HostArray::array_type).collect();
        assert_eq!(types, case.graph.output_types(), "{}", case.name);
    });
}

/// `jax.random.split` with its partitionable threefry: key `i` is the encrypted block (0, i).
#[test]
fn threefry_gives_the_keys_of_jax() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../data/jax_random.json")).expect("valid JSON");
    let word = |value: &serde_json::Value| value.as_u64().unwrap() as u32;
    let location = Location::caller();
    for seed in recorded["seeds"].as_array().unwrap() {
        for keys in seed["split"].as_array().unwrap().iter().map(|keys| keys.as_array().unwrap()) {
            let count = keys.len();
            let fill = |word: u32| HostArray::new(&[count], vec![word; count]);
            let numbers = HostArray::new(&[count], (0..count as u32).collect());
            let inputs = [fill(word(&seed["key"][0])), fill(word(&seed["key"][1])), fill(0), numbers];
            let mut graph = Graph::new();
            let vars: Vec<Var> = inputs.iter().map(|x| graph.input(x.array_type())).collect();
            graph.outputs = graph.push(Op::Threefry, &vars, location).unwrap();
            let expected =
                [0, 1].map(|i| HostArray::new(&[count], keys.iter().map(|key| word(&key[i])).collect()));
            assert_eq!(interpret(&graph, &inputs), expected);
        }
    }
}

/// Runs `check` for every case, also after one has failed, and lists those that did.
pub fn for_each(cases: &[Case], check: impl Fn(&Case)) {
    let fails = |case: &&Case| catch_unwind(AssertUnwindSafe(|| check(case))).is_err();
    let failed: Vec<&str> = cases.iter().filter(fails).map(|case| case.name.as_str()).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

/// The cases, and the gradients of those that have one: what vmap and the device are tested with.
pub fn cases_and_gradients() -> Vec<Case> {
    let mut all = cases();
    let gradients: Vec<Case> = all.iter().filter_map(gradients::gradient_case).collect();
    all.extend(gradients);
    all
}

/// Compares an output of `name` with the oracle's: equal, or near if floats.
pub fn compare(name: &str, found: &HostArray, expected: &HostArray, tolerance: f64) {
    assert_eq!(found.array_type(), expected.array_type(), "{name}");
    if !found.dtype().is_float() {
        assert_eq!(found, expected, "{name}");
        return;
    }
    for (&a, &b) in found.to_f64().iter().zip(&expected.to_f64()) {
        let near = a == b || (a - b).abs() <= tolerance * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
        assert!(near, "{name}: {a} instead of {b} in\n{found:?} instead of\n{expected:?}");
    }
}
