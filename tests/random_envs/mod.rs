//! Random environments ([`world`]) on the device and on the oracle.
//!
//! A program that breaks a rule of XLA's compiler for cpu aborts the process. So each group of environments runs in a process of
//! its own: this test starts the test binary again.

mod world;

use std::process::Command;
use std::sync::Mutex;

use lockstep::array::{ArrayType, DType, HostArray};
use lockstep::interpret::interpret;
use lockstep::lang::{
    Bool, Float, Handle, Int, Key, Leaves, Signature, rare, scan, select_tree, trace, vmap_last,
};

use crate::common::run_on_device;
use world::World;

/// How many environments the suite tries, how many a long run does, and how many share a program.
const WORLDS: u64 = 10;
const ALL_WORLDS: u64 = 300;
const PER_PROGRAM: u64 = 5;
const STEPS: usize = 3;
/// Which environment is the first of a group: set for the processes of groups.
const GROUP: &str = "LOCKSTEP_TEST_ENV_GROUP";

#[test]
fn random_environments_on_the_device_equal_the_oracle() {
    if let Ok(first) = std::env::var(GROUP) {
        let first: u64 = first.parse().expect("the number of an environment");
        return compare((first..first + PER_PROGRAM).collect());
    }
    compare_all(WORLDS);
}

/// Compiling takes seconds for each environment, so the suite has a few of them only. `scripts/test.sh --long` runs this.
#[test]
#[ignore = "takes many minutes"]
fn long() {
    compare_all(ALL_WORLDS);
}

/// Environments of small batches with arrays of no elements have met the panic of a rare branch on such arrays.
#[test]
fn a_rare_branch_takes_no_rows_of_nothing() {
    let input = (Float::placeholder(DType::F32, [0, 40]), Bool::placeholder(DType::Bool, [40]));
    let traced =
        trace(&input, |(x, happens)| vmap_last((x, happens), |(x, happens)| rare(happens, x, |x| x + 1.0)));
    let inputs = [HostArray::new(&[0, 40], Vec::<f32>::new()), HostArray::new(&[40], vec![true; 40])];
    assert_eq!(interpret(&traced.graph, &inputs)[0], inputs[0]);
}

fn compare_all(worlds: u64) {
    let groups = Mutex::new((0..worlds).step_by(PER_PROGRAM as usize));
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(first) = groups.lock().unwrap().next() else { break };
                    if let Err(message) = run_group(first) {
                        failed.lock().unwrap().push(message);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} groups failed:\n{}", failed.len(), failed.join("\n"));
}

/// Compares one group in a process of its own.
fn run_group(first: u64) -> Result<(), String> {
    let name = concat!(module_path!(), "::random_environments_on_the_device_equal_the_oracle");
    let name = name.split_once("::").expect("the name of the crate").1;
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", name, "--nocapture"]).env(GROUP, first.to_string()).env("RUST_BACKTRACE", "0");
    let output = command.output();
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains("1 passed") {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let end: Vec<&str> = errors.lines().rev().take(30).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    Err(format!("environments from {first} ({GROUP}={first}): {}\n{}\n{text}", output.status, end.join("\n")))
}

/// Runs environments as one program, and on the oracle.
fn compare(seeds: Vec<u64>) {
    let worlds: Vec<World> = seeds.iter().map(|&seed| World::new(seed)).collect();
    let traced = rollouts(&worlds);
    let words = |i: usize| HostArray::new(&[2], vec![i as u32, 7]);
    let inputs: Vec<HostArray> = (0..worlds.len()).map(words).collect();
    let found = run_on_device(&traced.graph, &inputs);
    let expected = interpret(&traced.graph, &inputs);
    let mut wrong = Vec::new();
    for ((name, found), expected) in traced.output_names.iter().zip(&found).zip(&expected) {
        if found.to_f64() != expected.to_f64() {
            wrong.push(format!("{name}: {found:?} instead of {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "of the environments from {}: {}", seeds[0], wrong.join("\n"));
}

/// Observations, rewards and whether an episode ended, of all steps.
type Seen = (Float, Float, Bool);

/// What is seen, given and left at the end of some steps of a batch of each environment.
fn rollouts(worlds: &[World]) -> Signature<Vec<(Leaves, Seen)>> {
    let words = Int::from_handle(Handle::placeholder(&ArrayType::new(DType::U32, [2])));
    trace(&vec![words; worlds.len()], |words: Vec<Int>| {
        worlds.iter().zip(words).map(|(world, words)| rollout(world, Key::from_words(words))).collect()
    })
}

fn rollout(world: &World, key: Key) -> (Leaves, Seen) {
    let [start, act, step] = key.split();
    let state = vmap_last(start.split_last(world.batch), |key| world.reset(key));
    let actions = act.integers([STEPS, world.batch], 0..5);
    let (state, seen) = scan((state, step.into_words()), actions, |(state, words), actions| {
        let [key, next] = Key::from_words(words).split();
        let (state, seen) =
            vmap_last((state, actions, key.split_last(world.batch)), |(state, action, key)| {
                let [fresh, key] = key.split();
                let seen = world.observe(&state);
                let outcome = world.step(&state, action, key);
                let state = select_tree(outcome.done, world.reset(fresh), outcome.state);
                (state, (seen, outcome.reward, outcome.done))
            });
        ((state, next.into_words()), seen)
    });
    (state.0, seen)
}
