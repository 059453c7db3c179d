//! Native environments: the example of docs/native.md against our own CartPole, a library with everything else against the oracle, whole
//! runs of the program, and what can be wrong with a library.

mod mistakes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lockstep::array::HostArray;
use lockstep::envs::registry::find;
use lockstep::envs::{AnyEnv, default_params, random_action, vector};
use lockstep::interpret::interpret;
use lockstep::ir::Graph;
use lockstep::lang::{Bool, Float, Key, Leaves, scan_range, trace, vmap, vmap_last};
use lockstep::lower::{Options, lower};
use lockstep::runtime::kernels::{NATIVE_OBSERVE, TRANSPOSE};
use lockstep::trainer::load_params;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{lockstep, run};
use crate::common::{client, run_on_device, skip};

/// Compiles a file of C into a library in a folder; nothing if this machine has no C compiler.
fn library(source: &str, folder: &Path, name: &str, defines: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-I"]);
    cc.arg(root.join("include")).args(defines).arg("-o").arg(&path).arg(root.join(source)).arg("-lm");
    let Ok(output) = cc.output() else {
        skip("native environments: there is no C compiler cc");
        return None;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(path)
}

/// The library of that source, once for all tests.
fn shared(source: &str, name: &str) -> Option<PathBuf> {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().unwrap());
    static CARTPOLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    static WALK: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = if name == "libcartpole.so" { &CARTPOLE } else { &WALK };
    made.get_or_init(|| library(source, folder.path(), name, &[])).clone()
}

fn cartpole() -> Option<PathBuf> {
    shared("docs/native/cartpole.c", "libcartpole.so")
}

fn walk() -> Option<PathBuf> {
    shared("tests/native/walk.c", "libwalk.so")
}

fn named(library: &Path) -> String {
    format!("native:{}", library.display())
}

fn environment(library: &Path) -> Box<dyn AnyEnv> {
    find(&named(library)).unwrap().build()
}

/// Steps of random play: what is seen of the games, their rewards, who is done, and the sums of the metrics.
fn play(
    env: &dyn AnyEnv,
    params: &Leaves,
    key: Key,
    games: usize,
    steps: usize,
) -> (Float, Float, Bool, Float) {
    let [reset, key] = key.split();
    let state = vector::reset(env, params, reset.split_last(games));
    let actions = env.spec().num_actions;
    let (_, told) = scan_range(steps, state, |state, i| {
        let [action, step] = key.fold_in(i).split();
        let actions = vmap_last((action.split_last(games), state.clone()), |(key, state)| {
            random_action(key, env.action_mask(params, &state), actions)
        });
        let step = vector::step(env, params, step.split_last(games), state, actions, None);
        let view = vector::view(env, params, &step.state);
        let obs = view.obs.unpacked(None);
        let metrics = step.metrics.iter().fold(step.reward * 0.0, |sum, metric| sum + *metric);
        (step.state, (obs, step.reward, step.done, metrics))
    });
    told
}

/// Both give the same bits: they call the same library with the same random numbers.
fn device_and_oracle_agree(graph: &Graph, inputs: &[HostArray]) -> Vec<HostArray> {
    let (on_device, on_host) = (run_on_device(graph, inputs), interpret(graph, inputs));
    assert!(on_device == on_host, "the device and the oracle play other games");
    on_device
}

#[test]
fn a_library_with_everything_plays_as_the_oracle_does() {
    let folder = tempfile::tempdir().unwrap();
    let slow = library("tests/native/walk.c", folder.path(), "libslow.so", &["-DSLOW"]); // which is worth several threads
    for library in [walk(), slow].into_iter().flatten() {
        check_against_the_oracle(&*environment(&library));
    }
}

fn check_against_the_oracle(env: &dyn AnyEnv) {
    let traced = trace(&(), |()| play(env, &env.default_params(), Key::new(5), 37, 60));
    let found = device_and_oracle_agree(&traced.graph, &[]);
    let [obs, rewards, done, metrics] = [0, 1, 2, 3].map(|i| found[i].to_f64());
    assert!(done.iter().sum::<f64>() > 37.0, "episodes end");
    assert!(rewards.iter().zip(&done).all(|(reward, done)| *reward == 0.0 || *done == 1.0));
    assert!(rewards.contains(&1.0) && obs.iter().all(|number| (-1.0..=1.0).contains(number)));
    assert!(metrics.iter().any(|metric| *metric != metrics[0]));
}

/// The library writes observations as networks read them, so nothing is turned on the way.
#[test]
fn observations_of_many_games_are_not_transposed() {
    let Some(library) = cartpole() else { return };
    let traced_with = |env: &dyn AnyEnv| {
        let traced = trace(&(), |()| {
            let params = env.default_params();
            let state = vector::reset(env, &params, Key::new(0).split_last(1 << 14));
            vector::view(env, &params, &state).obs.unpacked(None)
        });
        lower(&traced.graph, &Options::default(), client().target())
    };
    let own = traced_with(&*find("cartpole").unwrap().build());
    assert!(own.contains(TRANSPOSE), "so many observations are turned by a kernel");
    let native = traced_with(&*environment(&library));
    assert!(native.contains(NATIVE_OBSERVE) && !native.contains(TRANSPOSE), "{native}");
}

/// Agents side by side, in front of or behind their games, whose parameters are their own or shared.
#[test]
fn games_of_several_agents_are_those_of_each_alone() {
    let Some(library) = cartpole() else { return };
    let env = environment(&library);
    let values = default_params(&*env);
    let gravity = values.iter().position(|(name, _)| name == "gravity").unwrap();
    const AGENTS: usize = 3;
    let with_gravity = |params: &Leaves, gravity_of: Float| {
        let mut params = params.clone();
        params.0[gravity].1 = gravity_of.handle();
        params
    };
    let alone = |agent: usize, own: bool| {
        let traced = trace(&(), |()| {
            let params = env.default_params();
            let of_agent = lockstep::lang::float(if own { 5.0 + agent as f64 } else { 9.8 });
            let key = Key::new(3).fold_in(agent as i32);
            play(&*env, &with_gravity(&params, of_agent), key, 8, 40).0
        });
        interpret(&traced.graph, &[]).remove(0).to_f64()
    };
    for own in [false, true] {
        for last in [false, true] {
            let traced = trace(&(), |()| {
                let params = env.default_params();
                let agents = lockstep::lang::arange(AGENTS);
                let one = |agent: lockstep::lang::Int| {
                    let of_agent = match own {
                        true => agent.as_f32() + 5.0,
                        false => lockstep::lang::float(9.8),
                    };
                    play(&*env, &with_gravity(&params, of_agent), Key::new(3).fold_in(agent), 8, 40).0
                };
                match last {
                    true => vmap_last(agents, one).transpose([3, 0, 1, 2]),
                    false => vmap(agents, one),
                }
            });
            let found = device_and_oracle_agree(&traced.graph, &[]).remove(0).to_f64();
            let expected: Vec<f64> = (0..AGENTS).flat_map(|agent| alone(agent, own)).collect();
            assert!(found == expected, "own parameters: {own}, agents behind: {last}");
        }
    }
}

/// From every state on the way, a step of our own CartPole leads where a step of the library leads.
#[test]
fn the_example_steps_as_our_own_cartpole() {
    let Some(library) = cartpole() else { return };
    let (native, own) = (environment(&library), find("cartpole").unwrap().build());
    const GAMES: usize = 64;
    let traced = trace(&(), |()| {
        let (params, own_params) = (native.default_params(), own.default_params());
        let [reset, key] = Key::new(1).split();
        let state = vector::reset(&*native, &params, reset.split_last(GAMES));
        let (_, told) = scan_range(50, (state, Float::full([GAMES], 0.0).as_i32()), |(state, time), i| {
            let actions = key.fold_in(i).integers([GAMES], 0..2);
            let (next, told) = vmap_last((state, time, actions), |(state, time, action)| {
                let seen = native.observe(&params, &state).actor;
                let names = ["x", "x_dot", "theta", "theta_dot"].into_iter().enumerate();
                let mut leaves: Vec<_> =
                    names.map(|(i, name)| (name.to_owned(), seen.index(0, i).handle())).collect();
                leaves.push(("time".to_owned(), time.handle()));
                let ours = own.step(&own_params, Key::new(0), Leaves(leaves), action);
                let theirs = native.step(&params, Key::new(0), state, action);
                let error = (own.observe(&own_params, &ours.state).actor
                    - native.observe(&params, &theirs.state).actor)
                    .abs()
                    .max([0]);
                let same = ours.reward.eq(theirs.reward)
                    & (ours.terminated.eq(theirs.terminated))
                    & (ours.truncated.unwrap().eq(theirs.truncated.unwrap()));
                ((theirs.state, time + 1), (error, same, theirs.terminated))
            });
            (next, told)
        });
        told
    });
    let found = run_on_device(&traced.graph, &[]);
    let [errors, same, over] = [0, 1, 2].map(|i| found[i].to_f64());
    assert!(over.contains(&1.0), "poles fall");
    let largest = errors.iter().copied().fold(0.0, f64::max);
    assert!(largest < 2e-4, "{largest}");
    let wrong = same.iter().filter(|same| **same == 0.0).count();
    assert!(wrong == 0, "{wrong} of {} flags and rewards differ", same.len());
}

/// A run of the program, in a folder of runs.
struct Runs(TempDir);

impl Runs {
    fn new() -> Runs {
        Runs(tempfile::tempdir().unwrap())
    }

    fn folder(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn path(&self, run: &str) -> PathBuf {
        self.0.path().join(run)
    }

    fn train(&self, words: &str) {
        let more = ["--checkpoint-dir", self.folder(), "--no-wandb"];
        run(&[&["train"], &words.split_whitespace().collect::<Vec<_>>()[..], &more].concat()).stdout();
    }

    /// Begins a small run of so many updates of 32 steps, with checkpoints after each 5.
    fn begin(&self, env: &str, name: &str, updates: usize, more: &str) {
        self.train(&format!(
            "--env {env} --run-name {name} --num-envs 4 --num-steps 8 --num-minibatches 2 --hidden-dim 8 --anneal-lr false \
             --log-interval 2 --save-interval 5 --device cpu --total-timesteps {} {more}",
            32 * updates
        ));
    }

    /// The arrays of a checkpoint.
    fn arrays(&self, run: &str, update: usize) -> Vec<(String, HostArray)> {
        load_params(&self.path(run).join(format!("checkpoint_{update}.ckpt"))).unwrap().0
    }
}

#[test]
fn a_run_stops_and_goes_on_bit_for_bit() {
    for library in [cartpole(), walk()] {
        let Some(library) = library else { return };
        let (env, runs) = (named(&library), Runs::new());
        runs.begin(&env, "whole", 20, "");
        runs.begin(&env, "halves", 10, "");
        runs.train("--resume halves --total-timesteps 640");
        let [whole, halves] = ["whole", "halves"].map(|run| runs.arrays(run, 20));
        let states = whole.iter().find(|(name, _)| name.ends_with("bytes")).expect("the states are in it");
        assert_eq!(states.1.shape()[1], 4, "a column for each environment");
        assert!(whole == halves, "{env}: a run that was resumed has other arrays");
        assert!(runs.arrays("whole", 15) != whole);
    }
}

#[test]
fn agents_of_a_group_and_devices_share_a_library() {
    let Some(library) = cartpole() else { return };
    let (env, runs) = (named(&library), Runs::new());
    runs.begin(&env, "alone", 10, "--devices 1 --seed 1");
    runs.begin(&env, "group", 10, "--num-seeds 2 --devices 2 --env-set max_steps=30");
    runs.begin(&env, "shared", 10, "--devices 2");
    for run in ["alone", "group-s0", "group-s1", "shared"] {
        let [early, late] = [5, 10].map(|update| runs.arrays(run, update));
        assert!(early != late, "{run} learns");
        assert!(late.iter().all(|(name, array)| array.is_finite() || name.contains("bytes")), "{run}");
    }
}

#[test]
fn every_command_knows_an_environment_of_a_library() {
    let (Some(pole), Some(walk)) = (cartpole(), walk()) else { return };
    let (folder, runs) = (pole.parent().unwrap(), Runs::new());
    // A relative path becomes absolute, and names of runs are short.
    let mut train = lockstep(&["train", "native:./libcartpole.so", "--num-envs", "4", "--num-steps", "8"]);
    train.args(["--hidden-dim", "8", "--total-timesteps", "64", "--device", "cpu", "--no-wandb"]);
    train.args(["--checkpoint-dir", runs.folder()]).current_dir(folder);
    crate::cli::finish(&mut train).stdout();
    let listed: Vec<_> =
        fs::read_dir(runs.0.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(listed.len() == 1 && listed[0].to_str().unwrap().starts_with("cartpole-"), "{listed:?}");
    let trained = runs.path(listed[0].to_str().unwrap());
    let config = fs::read_to_string(trained.join("config.toml")).unwrap();
    assert!(config.contains(&format!("env = \"{}\"", named(&pole))), "{config}");

    let (params, more) =
        (trained.to_str().unwrap(), ["--episodes", "2", "--max-steps", "30", "--device", "cpu"]);
    let report: Value =
        serde_json::from_str(&run(&[&["eval", params, "--json"], &more[..]].concat()).stdout()).unwrap();
    assert_eq!((&report["env"], &report["episodes"]), (&named(&pole).into(), &2.into()));
    let watched = run(&[&["watch", params], &more[..]].concat()).stdout();
    assert!(watched.contains("angle ") && watched.contains('#'), "{watched}");
    let walk = named(&walk);
    let watched = run(&[&["watch", "random", "--env", &walk], &more[..]].concat()).stdout();
    assert!(watched.contains("obs 1"), "{watched}");
    let shown = run(&["envs", &named(&pole)]).stdout();
    for part in ["balance a pole on a cart, in C", "angular velocity", "left", "max_steps", "1 to 100000"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let bench = [
        "bench",
        "--env",
        &walk,
        "--env-only",
        "--num-envs",
        "8",
        "--updates",
        "2",
        "--json",
        "--device",
        "cpu",
    ];
    let report: Value = serde_json::from_str(&run(&bench).stdout()).unwrap();
    assert!(report["env_steps_per_second"].as_f64().unwrap() > 0.0, "{report}");
    let listed = run(&["runs", "list", "--all", "--checkpoint-dir", runs.folder()]).stdout();
    assert!(listed.contains(" cartpole "), "{listed}");
}
