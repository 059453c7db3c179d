//! The device against the oracle.

use std::collections::BTreeMap;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::ir::{Graph, Var, check};
use lockstep::lang::{
    Float, Handle, Int, all_gather, arange, constant, replica_id, scan_range, stack, trace,
};
use lockstep::lower::{Options, lower};
use lockstep::runtime::{Client, CompileOptions, DeviceKind, ProgramCache, plugin};

use super::cases::Case;
use super::{cases_and_gradients, compare, for_each};
use crate::common::client;

/// Cases per program: many, because each program costs time to compile.
const CASES_PER_PROGRAM: usize = 100;

#[test]
fn the_device_agrees_with_the_oracle() {
    let file = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
    let client = Client::open_with(&file, 1, ProgramCache::disabled()).unwrap();
    let cases = cases_and_gradients();
    let mut found = BTreeMap::new();
    for cases in cases.chunks(CASES_PER_PROGRAM) {
        found.extend(run_together(&client, cases));
    }
    assert_eq!(found.len(), cases.len(), "two cases have one name");
    for_each(&cases, |case| {
        for (found, expected) in found[&*case.name].iter().zip(interpret(&case.graph, &case.sample(0))) {
            compare(&case.name, found, &expected, case.tolerance);
        }
    });
}

/// Runs the cases as one program; returns the outputs of each by its name.
fn run_together<'a>(client: &Client, cases: &'a [Case]) -> BTreeMap<&'a str, Vec<HostArray>> {
    let mut graph = Graph::new();
    let mut arrays = Vec::new();
    for case in cases {
        let inputs: Vec<Var> = case.graph.input_types().into_iter().map(|t| graph.input(t)).collect();
        let outputs = graph.inline(&case.graph, &inputs);
        graph.outputs.extend(outputs);
        arrays.extend(case.sample(0));
    }
    check(&graph).unwrap();
    let module = lower(&graph, &Options::default(), client.target());
    let program = client.compile(&module, &CompileOptions::default()).unwrap();
    let args = arrays.iter().map(|array| client.to_device(array, 0).unwrap().into()).collect();
    let results = program.run(args).unwrap();
    let mut found = results.iter().map(|buffer| buffer.to_host().unwrap());
    cases.iter().map(|case| (&*case.name, found.by_ref().take(case.graph.outputs.len()).collect())).collect()
}

/// XLA computes what depends on constants alone while it compiles, and carries it into loops.
#[test]
fn small_equations_can_read_what_xla_computes_early() {
    let start = Int::from_handle(Handle::placeholder(&ArrayType::scalar(DType::I32)));
    let traced = trace(&start, |start| {
        let numbers = |count: i32| -> Float { constant((0..count).map(|i| i as f32).collect::<Vec<_>>()) };
        let (table, big, small) = ((numbers(5000) * 0.5).sqrt(), numbers(3000), arange(40) * 3);
        let look = |i: Int| {
            let from_table = table.take(i * 2, 0) + big.take(i + 7, 0);
            (from_table * 2.0 + 1.0).abs() - small.take(i, 0).as_f32()
        };
        let (_, seen) = scan_range(8, start, |i, _| (i + 1, look(i)));
        (look(start + 3), seen)
    });
    let inputs = [HostArray::scalar(2i32)];
    let program = client()
        .compile(&lower(&traced.graph, &Options::default(), client().target()), &CompileOptions::default());
    let args = inputs.iter().map(|array| client().to_device(array, 0).unwrap().into()).collect();
    let found = program.unwrap().run(args).unwrap();
    for (found, expected) in found.iter().zip(interpret(&traced.graph, &inputs)) {
        compare("constants", &found.to_host().unwrap(), &expected, 1e-5);
    }
}

#[test]
fn every_device_gathers_what_all_have() {
    const DEVICES: usize = 2;
    let traced = trace(&(), |()| {
        let own = replica_id().as_f32() + 1.0;
        all_gather(stack([own, own * own * 10.0]), DEVICES)
    });
    let options = Options { num_replicas: DEVICES, ..Options::default() };
    let compile = CompileOptions { num_replicas: DEVICES, ..CompileOptions::default() };
    let program = client().compile(&lower(&traced.graph, &options, client().target()), &compile).unwrap();
    for results in program.run_replicas((0..DEVICES).map(|_| Vec::new()).collect()).unwrap() {
        assert_eq!(results[0].to_host().unwrap(), HostArray::new(&[2, 2], vec![1f32, 10.0, 2.0, 40.0]));
    }
}
