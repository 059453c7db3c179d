//! Native kernels against their plain twins, through XLA.

use std::panic::Location;

use lockstep::algorithms::Learner;
use lockstep::algorithms::learner::{One, Start};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::envs::registry;
use lockstep::ir::{Activation, Build, CellKind, Graph, Kernel, Op, Var};
use lockstep::lower::{Options, lower};
use lockstep::nn::Rnn;
use lockstep::runtime::{
    Arg, CacheOutcome, Client, CompileOptions, DeviceKind, ProgramCache, Target, plugin,
};

use lockstep::transforms::batch::{Batched, Batching, Placement};

use crate::common::client;

/// All products with a matrix that is sparse or packed.
const PRODUCTS: [Kernel; 4] =
    [Kernel::SparseDot, Kernel::SparseDotTransposed, Kernel::PackedDot, Kernel::PackedDotTransposed];

/// A product of `rows` rows with `inputs` numbers each, which are packed if the kernel takes them so, and a matrix `width` wide.
fn product(kernel: Kernel, rows: usize, inputs: usize, width: usize) -> Graph {
    let mut graph = Graph::new();
    let x = graph.input(ArrayType::new(DType::F32, [rows, inputs]));
    let by_inputs = matches!(kernel, Kernel::SparseDot | Kernel::PackedDot);
    let height = if by_inputs { inputs } else { rows };
    let other = graph.input(ArrayType::new(DType::F32, [height, width]));
    let mut b = Build::new(&mut graph, Location::caller());
    let x = match kernel {
        Kernel::PackedDot | Kernel::PackedDotTransposed => {
            // Every sixth feature stays a number.
            let order = (0..6).flat_map(|first| (first..inputs).step_by(6)).map(|i| i as i32);
            let order = HostArray::new(&[inputs], order.collect());
            let order = b.one(Op::Constant(order), &[]);
            let columns = b.transpose(x, &[1, 0]);
            let pack = Op::Kernel(Kernel::Pack { numbers: inputs.div_ceil(6) });
            [b.many(pack, &[columns, order]), vec![order]].concat()
        }
        _ => vec![x],
    };
    graph.outputs = b.many(Op::Kernel(kernel), &[&x[..], &[other]].concat());
    graph
}

/// Numbers of which about one in `one_in` is not zero.
fn numbers(shape: &[usize], one_in: u32, seed: u32) -> HostArray {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let number = |_| if draw() % one_in == 0 { draw() as f32 / u32::MAX as f32 - 0.5 } else { 0.0 };
    HostArray::new(shape, (0..shape.iter().product()).map(number).collect())
}

/// All results of a graph.
fn results(client: &Client, graph: &Graph, inputs: &[HostArray], kernels: bool) -> Vec<HostArray> {
    let module = lower(graph, &Options::default(), Target { kernels, ..client.target() });
    assert_eq!(module.contains("custom_call"), kernels);
    let program = client.compile(&module, &CompileOptions::default()).unwrap();
    let args: Vec<Arg> = inputs.iter().map(|array| client.to_device(array, 0).unwrap().into()).collect();
    program.run(args).unwrap().iter().map(|result| result.to_host().unwrap()).collect()
}

fn run(client: &Client, graph: &Graph, inputs: &[HostArray], kernels: bool) -> (Vec<f64>, CacheOutcome) {
    let module = lower(graph, &Options::default(), Target { kernels, ..client.target() });
    assert_eq!(module.contains("custom_call"), kernels);
    let program = client.compile(&module, &CompileOptions::default()).unwrap();
    let args: Vec<Arg> = inputs.iter().map(|array| client.to_device(array, 0).unwrap().into()).collect();
    (program.run(args).unwrap()[0].to_host().unwrap().to_f64(), program.cache())
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let scale = expected.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
    let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(found.len() == expected.len() && worst <= tolerance * scale, "{what}: off by {worst} of {scale}");
}

/// Requires that two computations of sums of products agree as far as rounding allows, on any processor. `terms` is the number
/// of products in a sum, `sizes` the sums of their absolute values. Each product and each partial sum is rounded at most once,
/// by a share of at most 2^-24, in whatever order and with or without fused multiply-adds; so a result is off by at most
/// about `terms` x 2^-24 of its size, and two results by twice that.
fn assert_rounded(found: &[f64], expected: &[f64], sizes: &[f64], terms: usize, what: &str) {
    assert_eq!((found.len(), sizes.len()), (expected.len(), expected.len()), "{what}");
    let share = 2.0 * (terms + 1) as f64 / f64::from(1 << 24);
    for ((found, expected), size) in found.iter().zip(expected).zip(sizes) {
        assert!((found - expected).abs() <= share * size, "{what}: {found} is not {expected}, of {size}");
    }
}

/// The absolute values.
fn absolute(x: &HostArray) -> HostArray {
    HostArray::new(x.shape(), x.as_slice::<f32>().iter().map(|x| x.abs()).collect::<Vec<_>>())
}

#[test]
fn kernels_are_their_twins_whatever_the_shape_and_the_density() {
    assert!(client().target().kernels && !client().clone().with_kernels(false).target().kernels);
    for (rows, inputs, width) in
        [(256, 1545, 256), (70, 33, 300), (1100, 40, 17), (1, 1, 1), (3, 7, 0), (0, 5, 4)]
    {
        for kernel in PRODUCTS {
            let graph = product(kernel, rows, inputs, width);
            for one_in in [1, 2, 20, u32::MAX] {
                let x = numbers(&[rows, inputs], one_in, 1);
                let other = numbers(&graph.input_types()[1].shape, 1, 2);
                let sizes = [absolute(&x), absolute(&other)];
                let sizes = run(client(), &graph, &sizes, false).0;
                let [native, plain] = [true, false]
                    .map(|kernels| run(client(), &graph, &[x.clone(), other.clone()], kernels).0);
                let what = format!("{} {rows} x {inputs} x {width}, one in {one_in}", kernel.name());
                assert_rounded(&native, &plain, &sizes, rows.max(inputs), &what);
            }
        }
    }
}

#[test]
fn products_are_their_twins_under_vmap_too() {
    const SIZE: usize = 3;
    for kernel in PRODUCTS {
        let body = product(kernel, 6, 40, 5);
        for batched in [[true, false], [false, true], [true, true]] {
            for placement in [Placement::First, Placement::Last] {
                let batching = Batching { size: SIZE, placement, groups: true };
                let mut graph = Graph::new();
                let input = |(array_type, &batched): (ArrayType, &bool)| {
                    let mut shape = array_type.shape;
                    if batched {
                        shape.insert(if placement == Placement::First { 0 } else { 2 }, SIZE);
                    }
                    Batched { var: graph.input(ArrayType::new(DType::F32, shape)), batched }
                };
                let inputs: Vec<Batched> = body.input_types().into_iter().zip(&batched).map(input).collect();
                graph.outputs = vec![batching.apply(&mut graph, &body, &inputs)[0].var];
                let types = graph.input_types();
                let values = [numbers(&types[0].shape, 8, 1), numbers(&types[1].shape, 1, 2)];
                let sizes = run(client(), &graph, &values.each_ref().map(absolute), false).0;
                let [native, plain] = [true, false].map(|kernels| run(client(), &graph, &values, kernels).0);
                let what = format!("{} {batched:?} {placement:?}", kernel.name());
                assert_rounded(&native, &plain, &sizes, 40, &what);
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_not_lost() {
    let graph = product(Kernel::SparseDot, 2, 40, 20);
    for odd in [f32::NAN, f32::INFINITY] {
        let mut x = vec![0f32; 80];
        x[37] = odd;
        let inputs = [HostArray::new(&[2, 40], x), HostArray::new(&[40, 20], vec![1f32; 800])];
        let y = run(client(), &graph, &inputs, true).0;
        assert!(y[..20].iter().all(|y| !y.is_finite()) && y[20..].iter().all(|&y| y == 0.0), "{y:?}");
    }
}

/// An MLP with layers of these widths on `rows` rows, and its gradient for a cotangent, which is the last input.
fn mlp(activation: Activation, rows: usize, widths: &[usize], input: bool) -> Graph {
    let layers = widths.len() - 1;
    let mut graph = Graph::new();
    let mut inputs = vec![graph.input(ArrayType::new(DType::F32, [rows, widths[0]]))];
    for pair in widths.windows(2) {
        inputs.push(graph.input(ArrayType::new(DType::F32, [pair[0], pair[1]])));
        inputs.push(graph.input(ArrayType::new(DType::F32, [pair[1]])));
    }
    let cotangent = graph.input(ArrayType::new(DType::F32, [rows, widths[layers]]));
    let mut b = Build::new(&mut graph, Location::caller());
    let outputs = b.many(Op::Kernel(Kernel::Mlp { layers, activation }), &inputs);
    let op = Op::Kernel(Kernel::MlpGradient { layers, activation, input });
    let gradients = b.many(op, &[&inputs, &outputs[..layers - 1], &[cotangent]].concat());
    graph.outputs = [outputs, gradients].concat();
    graph
}

/// The nearest multiples of one half.
fn in_halves(x: &HostArray) -> HostArray {
    HostArray::new(x.shape(), x.as_slice::<f32>().iter().map(|x| (2.0 * x).round() / 2.0).collect::<Vec<_>>())
}

#[test]
fn mlps_are_their_twins_whatever_the_widths() {
    let sizes: [(usize, &[usize]); 9] = [
        (32, &[4, 64, 64, 2]),
        (1000, &[256, 256, 29]),
        (49, &[5, 7, 130, 48, 3]),
        (1, &[1, 1]),
        (100, &[33, 80, 16]),
        (60, &[33, 300, 40, 3]), // large weights in panels of which the last are not full
        (70, &[6, 40, 2]),
        (0, &[3, 4, 2]),
        (0, &[3, 16, 2]),
    ];
    for (rows, widths) in sizes {
        for (activation, input) in [(Activation::Tanh, true), (Activation::Relu, false)] {
            let graph = mlp(activation, rows, widths, input);
            // With relu a rounding error may change the sign of a sum near zero and with it a whole derivative; of halves all
            // these sums are exact, and must be equal. With tanh an error stays small: in these networks a result is the end of
            // at most four sums of at most 1000 numbers, each of which is off by a share of about sqrt(1000) x 2^-24 = 2e-6,
            // and at worst of 6e-5.
            let (exact, tolerance) = match activation {
                Activation::Relu => (true, 0.0),
                Activation::Tanh => (false, 1e-4),
            };
            let value = |(t, seed): (&ArrayType, u32)| {
                let drawn = numbers(&t.shape, 1, seed);
                if exact { in_halves(&drawn) } else { drawn }
            };
            let values: Vec<HostArray> = graph.input_types().iter().zip(1..).map(value).collect();
            let [native, plain] = [true, false].map(|kernels| {
                let module = lower(&graph, &Options::default(), Target { kernels, ..client().target() });
                assert_eq!(module.contains("custom_call"), kernels);
                let program = client().compile(&module, &CompileOptions::default()).unwrap();
                let args = values.iter().map(|array| client().to_device(array, 0).unwrap().into()).collect();
                let outputs = program.run(args).unwrap();
                outputs.iter().map(|output| output.to_host().unwrap().to_f64()).collect::<Vec<_>>()
            });
            for (i, (native, plain)) in native.iter().zip(&plain).enumerate() {
                let what = format!("result {i} of an mlp {activation} {rows} x {widths:?}");
                assert_near(native, plain, tolerance, &what);
            }
        }
    }
}

#[test]
fn networks_of_many_agents_are_those_of_each() {
    const SIZE: usize = 3;
    // The weights of the first are few enough for a call.
    for (widths, native) in [([5, 8, 2], true), ([40, 6600, 3], false)] {
        let mut body = mlp(Activation::Relu, 4, &widths, false);
        body.outputs.truncate(2);
        body.equations.truncate(1);
        let (mut graph, types) = (Graph::new(), body.input_types());
        let input = |array_type: &ArrayType| {
            let shape = [&[SIZE], &array_type.shape[..]].concat();
            Batched { var: graph.input(ArrayType::new(DType::F32, shape)), batched: true }
        };
        let inputs: Vec<Batched> = types.iter().map(input).collect();
        let batching = Batching { size: SIZE, placement: Placement::First, groups: true };
        let outputs = batching.apply(&mut graph, &body, &inputs);
        graph.outputs = outputs.iter().map(|output| output.var).collect();
        // A loop would copy the weights of each agent before it multiplies with them.
        let module = lower(&graph, &Options::default(), client().target());
        assert_eq!(module.contains("stablehlo.while"), native, "{widths:?}");
        let agents: Vec<Vec<HostArray>> = (0..SIZE as u32)
            .map(|agent| {
                types
                    .iter()
                    .zip(1 + 10 * agent..)
                    .map(|(t, seed)| in_halves(&numbers(&t.shape, 1, seed)))
                    .collect()
            })
            .collect();
        let together = |i: usize| -> HostArray {
            let all = agents.iter().flat_map(|agent| agent[i].as_slice::<f32>().to_vec());
            HostArray::new(&[&[SIZE], &types[i].shape[..]].concat(), all.collect())
        };
        let all: Vec<HostArray> = (0..types.len()).map(together).collect();
        let found = results(client(), &graph, &all, native);
        for (agent, values) in agents.iter().enumerate() {
            for (found, expected) in found.iter().zip(results(client(), &body, values, native)) {
                let (found, expected) = (found.to_f64(), expected.to_f64());
                let own = &found[agent * expected.len()..][..expected.len()];
                assert_eq!(own, expected, "agent {agent} of {widths:?}"); // halves are exact
            }
        }
    }
}

#[test]
fn networks_that_do_not_wait_for_each_other_are_one_call_with_the_same_results() {
    // Few rows are computed one network after the other; many in threads, where two cores take a network each of two, and rows of
    // one after the other of three. The networks have other depths and widths.
    let networks = [&[6, 64, 64, 2][..], &[6, 33, 65, 1], &[9, 16, 16, 16, 5]];
    for (rows, count) in [(3, 3), (300, 3), (300, 2)] {
        let each: Vec<Graph> =
            networks[..count].iter().map(|widths| mlp(Activation::Tanh, rows, widths, true)).collect();
        let (mut graph, mut outputs) = (Graph::new(), Vec::new());
        let inputs: Vec<Vec<Var>> =
            each.iter().map(|one| one.input_types().into_iter().map(|t| graph.input(t)).collect()).collect();
        for (one, inputs) in each.iter().zip(&inputs) {
            outputs.extend(graph.inline(one, inputs));
        }
        graph.outputs = outputs;
        let module = lower(&graph, &Options::default(), client().target());
        for (target, times) in [("lockstep_mlps(", 1), ("lockstep_mlp_gradients(", 1), ("custom_call", 2)] {
            assert_eq!(module.matches(target).count(), times, "{target}");
        }
        let values = |graph: &Graph, first: u32| -> Vec<HostArray> {
            graph.input_types().iter().zip(first..).map(|(t, seed)| numbers(&t.shape, 1, seed)).collect()
        };
        let mut apart = Vec::new();
        let mut all = Vec::new();
        for one in &each {
            let values = values(one, all.len() as u32 + 1);
            apart.extend(results(client(), one, &values, true));
            all.extend(values);
        }
        let together = results(client(), &graph, &all, true);
        assert_eq!(together.len(), apart.len());
        for (i, (together, apart)) in together.iter().zip(&apart).enumerate() {
            // Alone, many rows may be shared by threads, whose sums are added.
            assert_near(&together.to_f64(), &apart.to_f64(), 1e-5, &format!("result {i} of {rows} rows"));
        }
    }
}

#[test]
fn a_step_of_adam_is_its_twin() {
    for size in [1, 63, 64, 9155] {
        let mut graph = Graph::new();
        let vectors = [(); 4].map(|()| graph.input(ArrayType::new(DType::F32, [size])));
        let scalars = [(); 5].map(|()| graph.input(ArrayType::new(DType::F32, [])));
        let inputs = [&vectors[..], &scalars].concat();
        graph.outputs = Build::new(&mut graph, Location::caller()).many(Op::Kernel(Kernel::Adam), &inputs);
        for max_norm in [0.5, f32::INFINITY] {
            let mut values: Vec<HostArray> = (1..5).map(|seed| numbers(&[size], 1, seed)).collect();
            values[2] = HostArray::new(
                &[size],
                values[2].as_slice::<f32>().iter().map(|x| x * x).collect::<Vec<_>>(),
            );
            values.extend([max_norm, 0.01, 1.3, 1.1, 1e-5].map(HostArray::scalar));
            let [native, plain] = [true, false].map(|kernels| results(client(), &graph, &values, kernels));
            for (i, (native, plain)) in native.iter().zip(&plain).enumerate() {
                assert_near(&native.to_f64(), &plain.to_f64(), 1e-5, &format!("result {i} of {size}"));
            }
            // A gradient that is none spoils all, as it does in the twin.
            values[3] = HostArray::new(&[size], vec![f32::NAN; size]);
            let spoilt = results(client(), &graph, &values, true);
            assert!(spoilt[0].to_f64().iter().all(|x| x.is_nan()));
        }
    }
}

/// A cell over `steps` steps of `rows` rows, and its gradient for cotangents, which are the last inputs.
fn recurrent(cell: CellKind, steps: usize, rows: usize, units: usize) -> Graph {
    let mut graph = Graph::new();
    let columns = cell.gates() * units;
    let mut input = |dtype, shape: &[usize]| graph.input(ArrayType::new(dtype, shape));
    let mut inputs = vec![
        input(DType::F32, &[steps, rows, columns]),
        input(DType::Bool, &[steps, rows]),
        input(DType::F32, &[units, columns]),
        input(DType::F32, &[columns]),
    ];
    inputs.extend((0..cell.remembered()).map(|_| input(DType::F32, &[rows, units])));
    let cotangents: Vec<_> =
        (0..cell.remembered()).map(|_| input(DType::F32, &[steps, rows, units])).collect();
    let mut b = Build::new(&mut graph, Location::caller());
    let outputs = b.many(Op::Kernel(Kernel::Recurrent { cell }), &inputs);
    let op = Op::Kernel(Kernel::RecurrentGradient { cell });
    let gradients = b.many(op, &[&inputs, &outputs[..], &cotangents].concat());
    graph.outputs = [outputs, gradients].concat();
    graph
}

#[test]
fn recurrent_cells_are_their_twins_whatever_the_sizes() {
    // Steps one by one and several at a time, few and many rows, units that fill vectors and that do not, large weights.
    for (steps, rows, units) in
        [(1, 1, 16), (1, 5, 7), (7, 1, 128), (60, 2, 33), (5, 50, 64), (3, 17, 1), (4, 100, 100), (2, 0, 8)]
    {
        for cell in [CellKind::Gru, CellKind::Lstm] {
            let graph = recurrent(cell, steps, rows, units);
            // Weights of a size with which the sums of the gates stay where these bend.
            let scale = 2.0 / (units as f32).sqrt();
            let value = |(i, t): (usize, &ArrayType)| match t.dtype {
                DType::Bool => {
                    HostArray::new(&t.shape, (0..t.size()).map(|i| i % 5 == 2).collect::<Vec<_>>())
                }
                _ => {
                    let scale = if i == 2 { scale } else { 1.0 };
                    let drawn = numbers(&t.shape, 1, i as u32 + 1);
                    HostArray::new(
                        &t.shape,
                        drawn.as_slice::<f32>().iter().map(|x| x * scale).collect::<Vec<_>>(),
                    )
                }
            };
            let values: Vec<HostArray> = graph.input_types().iter().enumerate().map(value).collect();
            let [native, plain] = [true, false].map(|kernels| results(client(), &graph, &values, kernels));
            for (i, (native, plain)) in native.iter().zip(&plain).enumerate() {
                // A gradient is the end of sums over all rows and steps, each of which is off by a share of about 2e-6.
                let what = format!("result {i} of {cell:?}, {steps} steps of {rows} rows, {units} units");
                assert_near(&native.to_f64(), &plain.to_f64(), 3e-5, &what);
            }
        }
    }
}

#[test]
fn a_number_that_is_none_goes_through_an_mlp() {
    for activation in [Activation::Tanh, Activation::Relu] {
        let mut graph = mlp(activation, 3, &[2, 5, 4], false);
        graph.outputs = vec![graph.outputs[1]];
        let mut values: Vec<HostArray> =
            graph.input_types().iter().map(|t| numbers(&t.shape, 1, 7)).collect();
        values[0] = HostArray::new(&[3, 2], vec![1.0f32, 1.0, f32::NAN, 1.0, 1.0, 1.0]);
        let found = run(client(), &graph, &values, true).0;
        let bad: Vec<bool> = found.chunks(4).map(|row| row.iter().all(|x| x.is_nan())).collect();
        assert_eq!(bad, [false, true, false], "{activation}: {found:?}");
    }
}

#[test]
fn programs_with_kernels_come_back_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let file = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
    let graph = product(Kernel::PackedDot, 4, 50, 30);
    let inputs = [numbers(&[4, 50], 5, 1), numbers(&[50, 30], 1, 2)];
    let results = [(); 2].map(|()| {
        let client = Client::open_with(&file, 1, ProgramCache::at(folder.path())).unwrap();
        run(&client, &graph, &inputs, true)
    });
    assert_eq!((results[0].1, results[1].1), (CacheOutcome::Miss, CacheOutcome::Hit));
    assert_eq!(results[0].0, results[1].0);
}

/// The parameters after some updates of a small agent.
fn trained(
    env: &str,
    rnn: Option<Rnn>,
    kernels: bool,
    devices: usize,
    updates: usize,
) -> Vec<(String, Vec<f64>)> {
    let env = registry::find(env).unwrap().build();
    let settings =
        Settings { num_envs: 16, num_steps: 8, hidden_dim: 32, update_epochs: 2, rnn, ..Settings::default() };
    let client = client().clone().with_kernels(kernels);
    let start =
        Start { seed: 3, total_updates: 4, max_updates: 2, num_devices: devices, record: Default::default() };
    let mut learner = One::new(&client, Ppo::new(settings, env.into()).unwrap(), &start).unwrap();
    learner.run(updates).unwrap();
    learner.params().unwrap().into_iter().map(|(name, array)| (name, array.to_f64())).collect()
}

#[test]
fn learning_is_the_same_with_and_without_kernels() {
    let (gru, lstm) = (Some(Rnn::Gru), Some(Rnn::Lstm));
    for (env, rnn, devices) in [
        ("cartpole", None, 1),
        ("cartpole", gru, 1),
        ("cartpole", lstm, 2),
        ("hackmatrix", None, 1),
        ("hackmatrix", None, 2),
    ] {
        let [native, plain] = [true, false].map(|kernels| trained(env, rnn, kernels, devices, 1));
        for ((name, native), (_, plain)) in native.iter().zip(&plain) {
            // Adam divides by the size of the gradient, so that a gradient near zero moves a weight by
            // up to lr = 2.5e-4 either way; few weights have one.
            let differ = native.iter().zip(plain).filter(|(a, b)| (*a - *b).abs() > 2e-5).count();
            assert!(differ * 100 <= native.len(), "{name}: {differ} of {} differ", native.len());
        }
        assert_eq!(native, trained(env, rnn, true, devices, 1), "kernels give the same bits again");
    }
}

#[test]
fn columns_are_put_back_whatever_their_type() {
    let (columns, width) = (70, 9);
    let group: Vec<(usize, i32)> = (0..width).map(|place| (7 * place + 3, place as i32)).collect();
    let mut chosen = vec![false; columns];
    let mut places = vec![-1; columns]; // as where nothing was counted yet
    for &(column, place) in &group {
        (chosen[column], places[column]) = (true, place);
    }
    let arrays =
        [(DType::Bool, vec![]), (DType::U64, vec![3]), (DType::F32, vec![]), (DType::I32, vec![2, 2])];
    let mut inputs = vec![HostArray::new(&[columns], chosen), HostArray::new(&[columns], places)];
    for (size, first) in [(columns, 0), (width, 1)] {
        for (dtype, shape) in &arrays {
            let array_type = ArrayType::new(*dtype, [&shape[..], &[size]].concat());
            let bytes = (0..array_type.byte_size()).map(|i| match dtype {
                DType::Bool => (i + first) as u8 % 2,
                _ => (13 * i) as u8 % 120 + first as u8,
            });
            inputs.push(HostArray::from_bytes(&array_type, &bytes.collect::<Vec<u8>>()).unwrap());
        }
    }
    let mut graph = Graph::new();
    let vars: Vec<_> = inputs.iter().map(|input| graph.input(input.array_type())).collect();
    let op = Op::Kernel(Kernel::PutBack { arrays: arrays.len() });
    graph.outputs = Build::new(&mut graph, Location::caller()).many(op, &vars);
    let [native, plain] = [true, false].map(|kernels| results(client(), &graph, &inputs, kernels));
    assert_eq!(native, plain);
    assert_ne!(native, inputs[2..2 + arrays.len()]);
}

#[test]
fn convolutions_are_their_twins_however_many_images_there_are() {
    // Of 70 images each thread gets some, of 3 the first has all.
    for (count, [height, width, channels, filters]) in
        [(70, [6, 7, 16, 32]), (3, [11, 11, 32, 64]), (200, [5, 9, 48, 80])]
    {
        let mut graph = Graph::new();
        let shapes = [
            vec![count, height, width, channels],
            vec![3, 3, channels, filters],
            vec![count, height, width, filters],
        ];
        let [images, kernel, cotangent] =
            shapes.map(|shape| graph.input(ArrayType::new(DType::F32, &*shape)));
        let mut b = Build::new(&mut graph, Location::caller());
        let output = b.one(Op::Kernel(Kernel::Conv), &[images, kernel]);
        let gradient = b.one(Op::Kernel(Kernel::ConvGradient), &[images, cotangent]);
        graph.outputs = vec![output, gradient];
        let values: Vec<HostArray> =
            graph.input_types().iter().zip(1..).map(|(t, seed)| numbers(&t.shape, 1, seed)).collect();
        let [native, plain] = [true, false].map(|kernels| results(client(), &graph, &values, kernels));
        for (i, (native, plain)) in native.iter().zip(&plain).enumerate() {
            // Off by a share of the largest number: what is lost in the transformation is a share of the patch's largest.
            let what = format!("result {i} of {count} images {height} x {width}");
            assert_near(&native.to_f64(), &plain.to_f64(), 1e-5, &what);
        }
    }
}

#[test]
fn a_long_vector_is_put_together_by_a_call() {
    let mut graph = Graph::new();
    let parts: Vec<_> =
        [30_000, 0, 7, 10_001].map(|size| graph.input(ArrayType::new(DType::F32, [size]))).to_vec();
    graph.outputs = Build::new(&mut graph, Location::caller()).many(Op::Concatenate { axis: 0 }, &parts);
    let values: Vec<HostArray> =
        graph.input_types().iter().zip(1..).map(|(t, seed)| numbers(&t.shape, 1, seed)).collect();
    assert!(lower(&graph, &Options::default(), client().target()).contains("lockstep_join"));
    let expected: Vec<f64> = values.iter().flat_map(HostArray::to_f64).collect();
    assert_eq!(results(client(), &graph, &values, true)[0].to_f64(), expected);
}
