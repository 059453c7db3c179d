//! Clusters: functions that XLA's compiler for cpu compiles into one kernel. A function that breaks a rule of the compiler aborts the
//! process, this one, if it gets that far.

use std::panic::Location;
use std::slice::from_ref;
use std::sync::Arc;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Build, Graph, Op, Unary, Var, check};
use lockstep::lower::{Options, lower};
use lockstep::runtime::{DeviceKind, Target};

const CPU: Target = Target::plain(DeviceKind::Cpu);
use lockstep::transforms::cluster::{Rule, cluster, without_broken_calls, without_calls};
use lockstep::transforms::simplify::without_dead_equations;

use crate::common::run_on_device;
use crate::ops::{cases_and_gradients, for_each};

fn vector(size: usize) -> ArrayType {
    ArrayType::new(DType::F32, [size])
}

fn function(inputs: &[ArrayType], write: impl FnOnce(&mut Build, &[Var]) -> Vec<Var>) -> Graph {
    let mut graph = Graph::new();
    let vars: Vec<Var> = inputs.iter().map(|input| graph.input(input.clone())).collect();
    graph.outputs = write(&mut Build::new(&mut graph, Location::caller()), &vars);
    graph
}

/// A call of `function` with `x` f32\[4\] and what `more` adds.
fn calling(function: Graph, more: impl FnOnce(&mut Build) -> Vec<Var>) -> Graph {
    self::function(&[vector(4)], |b, x| {
        let inputs = [vec![x[0]], more(b)].concat();
        b.many(Op::Call { graph: Arc::new(function) }, &inputs)
    })
}

fn sines(b: &mut Build, x: Var) -> Var {
    (0..5).fold(x, |x, _| b.unary(Unary::Sin, x))
}

/// Graphs with a call that breaks a rule.
fn broken() -> Vec<(Rule, Graph)> {
    let not_read = function(&[vector(4), vector(4)], |b, x| vec![sines(b, x[0])]);
    let reads_both = function(&[vector(4), vector(4)], |b, x| {
        let sum = b.add(x[0], x[1]);
        vec![sines(b, sum)]
    });
    let empty = function(&[vector(4), vector(0)], |b, x| vec![sines(b, x[0]), sines(b, x[1])]);
    let product = function(&[vector(4)], |b, x| {
        let op = Op::Dot { batch: (vec![], vec![]), contract: (vec![0], vec![0]) };
        vec![b.one(op, &[x[0], x[0]])]
    });
    let nested = function(&[vector(4)], |b, x| {
        let inner = function(&[vector(4)], |b, x| vec![sines(b, x[0])]);
        b.many(Op::Call { graph: Arc::new(inner) }, x)
    });
    let table = |b: &mut Build| {
        let numbers = b.iota(DType::F32, &[4], 0);
        vec![b.unary(Unary::Sqrt, numbers)]
    };
    vec![
        (Rule::InputNotRead, calling(not_read, |b| vec![b.graph.inputs[0]])),
        (Rule::ConstantInput, calling(reads_both.clone(), table)),
        (
            Rule::ConstantInput,
            calling(reads_both, |b| vec![b.one(Op::Constant(HostArray::new(&[4], vec![1f32; 4])), &[])]),
        ),
        (Rule::NoElements, calling(empty, |b| vec![b.slice_axis(b.graph.inputs[0], 0, 2..2)])),
        (Rule::NeedsOwnKernel, calling(product, |_| vec![])),
        (Rule::NeedsOwnKernel, calling(nested, |_| vec![])),
    ]
}

#[test]
fn a_function_that_breaks_a_rule_is_written_without_its_call() {
    let x = HostArray::new(&[4], vec![0.5f32, -1.0, 2.0, 0.25]);
    for (rule, graph) in broken() {
        check(&graph).unwrap();
        let (mended, rules) = without_broken_calls(&graph);
        assert_eq!(rules, [rule]);
        assert!(!mended.to_string().contains("call("), "{rule:?}:\n{mended}");
        assert!(!lower(&graph, &Options::default(), CPU).contains("xla_cpu_small_call"), "{rule:?}");
        let (found, expected) = (run_on_device(&graph, from_ref(&x)), interpret(&graph, from_ref(&x)));
        for (found, expected) in found.iter().zip(&expected) {
            crate::ops::compare(&format!("{rule:?}"), found, expected, 1e-6);
        }
    }
}

/// A constant that a loop's body captures is one there, too.
#[test]
fn a_constant_is_known_in_the_bodies_that_capture_it() {
    let step = function(&[vector(4), ArrayType::scalar(DType::I32), vector(4)], |b, x| {
        let inner = function(&[vector(4), vector(4)], |b, x| {
            let sum = b.add(x[0], x[1]);
            vec![sines(b, sum)]
        });
        let one = b.scalar(1.0, DType::I32);
        let next = b.many(Op::Call { graph: Arc::new(inner) }, &[x[2], x[0]])[0];
        vec![b.add(x[1], one), next]
    });
    let more = function(&[ArrayType::scalar(DType::I32), vector(4)], |b, x| {
        let limit = b.scalar(3.0, DType::I32);
        vec![b.compare(lockstep::ir::Comparison::Lt, x[0], limit)]
    });
    let graph = function(&[vector(4)], |b, x| {
        let numbers = b.iota(DType::F32, &[4], 0);
        let table = b.unary(Unary::Sqrt, numbers);
        let zero = b.scalar(0.0, DType::I32);
        let op = Op::While { cond: Arc::new(more), body: Arc::new(step), cond_captures: 0, body_captures: 1 };
        b.many(op, &[table, zero, x[0]])
    });
    assert_eq!(without_broken_calls(&graph).1, [Rule::ConstantInput]);
}

#[test]
fn a_graph_means_the_same_with_and_without_clusters() {
    let mut calls = 0;
    for_each(&cases_and_gradients(), |case| {
        let inputs = case.sample(3);
        let expected = interpret(&case.graph, &inputs);
        let clustered = cluster(&without_dead_equations(&case.graph));
        let plain = without_calls(&clustered);
        for graph in [&clustered, &plain] {
            check(graph).unwrap_or_else(|message| panic!("{}: {message}\n{graph}", case.name));
            for (found, expected) in interpret(graph, &inputs).iter().zip(&expected) {
                crate::ops::compare(&case.name, found, expected, 0.0);
            }
        }
    });
    for case in cases_and_gradients() {
        calls += cluster(&without_dead_equations(&case.graph)).to_string().matches("call(").count();
    }
    assert!(calls > 50, "only {calls} clusters were compared");
}

#[test]
fn clusters_can_be_switched_off() {
    let graph = function(&[vector(4)], |b, x| vec![sines(b, x[0])]);
    assert!(lower(&graph, &Options::default(), CPU).contains("xla_cpu_small_call"));
    let off = lower(&graph, &Options::default(), Target { clusters: false, ..CPU });
    assert!(!off.contains("func.call"), "{off}");
}
