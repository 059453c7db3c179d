//! How fast the traced game is: `cargo test --release --test all speed -- --ignored --nocapture`.

use std::time::Instant;

use lockstep::array::HostArray;
use lockstep::envs::hackmatrix::HackMatrix;
use lockstep::envs::{Erased, vector};
use lockstep::lang::{Int, Key, Leaves, float, int, iota, scan_range, select, trace, vmap_last};
use lockstep::runtime::{Arg, Client, CompileOptions, plugin};

/// Steps of one execution.
const STEPS: usize = 100;

#[test]
#[ignore = "a measurement"]
fn speed() {
    let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
    let observes = std::env::var("OBSERVE").is_ok();
    let sizes = std::env::var("ENVS").unwrap_or("256,2048".into());
    for envs in sizes.split(',').map(|n| n.parse().unwrap()) {
        measure(&client, envs, observes);
    }
}

fn random_valid(mask: lockstep::lang::Bool, key: Key) -> Int {
    let shape = mask.shape();
    let noise = key.bits(&shape) | 1;
    let masked = select(mask, noise, 0);
    let best = masked.max([1]).broadcast(1, shape[1]);
    select(masked.eq(best), iota(lockstep::array::DType::I32, &shape, 1), 27).min([1])
}

fn measure(client: &Client, envs: usize, observes: bool) {
    let env = Erased::new(HackMatrix::default());
    let env: &dyn lockstep::envs::AnyEnv = &env;
    let started = Instant::now();
    let init = trace(&(), |()| vector::reset(env, &env.default_params(), Key::new(1).split_last(envs)));
    let run = trace(
        &(
            init.output,
            Int::from_handle(lockstep::lang::Handle::placeholder(&lockstep::array::ArrayType::new(
                lockstep::array::DType::U32,
                [2],
            ))),
        ),
        |(state, words)| {
            let params = env.default_params();
            let key = Key::from_words(words);
            let totals = (state, float(0.0), int(0), float(0.0));
            scan_range(STEPS, totals, |(state, total, episodes, seen), t| {
                let [act, play] = key.fold_in(t.as_u32()).split();
                let mask = vmap_last(
                    state.0.iter().map(|leaf| lockstep::lang::Leaves(vec![leaf.clone()])).collect::<Vec<_>>(),
                    |leaves: Vec<Leaves>| {
                        let leaves = Leaves(leaves.into_iter().flat_map(|leaf| leaf.0).collect());
                        env.action_mask(&params, &leaves).unwrap()
                    },
                );
                let mut seen = seen;
                if observes {
                    seen = seen
                        + vmap_last(
                            state
                                .0
                                .iter()
                                .map(|leaf| lockstep::lang::Leaves(vec![leaf.clone()]))
                                .collect::<Vec<_>>(),
                            |leaves: Vec<Leaves>| {
                                let leaves = Leaves(leaves.into_iter().flat_map(|leaf| leaf.0).collect());
                                env.observe(&params, &leaves).actor
                            },
                        )
                        .slice(0, 40..41)
                        .sum_all();
                }
                let actions = random_valid(mask.transpose([1, 0]), act);
                let step = vector::step(env, &params, play.split_last(envs), state, actions, None);
                let total = total + step.reward.sum_all();
                let episodes = episodes + step.done.as_i32().sum_all();
                ((step.state, total, episodes, seen), ())
            })
            .0
        },
    );
    let traced = started.elapsed();
    let module = lockstep::lower::lower(&run.graph, &Default::default(), client.target());
    let lowered = started.elapsed() - traced;
    if let Ok(path) = std::env::var("DUMP") {
        std::fs::write(path, &module).unwrap();
    }
    let compile = |module: &str| client.compile(module, &CompileOptions::default()).unwrap();
    let first = compile(&lockstep::lower::lower(&init.graph, &Default::default(), client.target()));
    let program = compile(&module);
    println!(
        "{envs} envs: trace {traced:.2?}, lower {lowered:.2?}, compile {:.1} s ({:?}), {} equations",
        program.compile_seconds(),
        program.cache(),
        equations(&run.graph)
    );
    let mut state = first.run(vec![]).unwrap();
    for round in 0..5 {
        let words = client.to_device(&HostArray::new(&[2], vec![7u32, round]), 0).unwrap();
        let (started, busy) = (Instant::now(), cpu_seconds());
        let mut args: Vec<Arg> = state.into_iter().map(Arg::from).collect();
        args.push(words.into());
        let mut outputs = program.run(args).unwrap();
        let seen = outputs.pop().unwrap().to_host().unwrap().to_f64()[0];
        let episodes = outputs.pop().unwrap().to_host().unwrap().to_f64()[0];
        let total = outputs.pop().unwrap().to_host().unwrap().to_f64()[0];
        let seconds = started.elapsed().as_secs_f64();
        let busy = cpu_seconds() - busy;
        let steps = (envs * STEPS) as f64;
        println!(
            "  {:.3} M steps/s, {:.0} us per step ({:.0} of cpu), {:.1} steps per episode, {:.3} reward per step {seen}",
            steps / seconds / 1e6,
            seconds / STEPS as f64 * 1e6,
            busy / STEPS as f64 * 1e6,
            steps / episodes,
            total / steps
        );
        state = outputs;
    }
    // Time for a profiler to read the compiled code.
    let pause = std::env::var("PAUSE").map_or(0, |seconds| seconds.parse().unwrap());
    std::thread::sleep(std::time::Duration::from_secs(pause));
}

/// What all threads of the process have used so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let ticks = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn equations(graph: &lockstep::ir::Graph) -> usize {
    graph.equations.iter().map(|e| 1 + e.op.bodies().into_iter().map(equations).sum::<usize>()).sum()
}
