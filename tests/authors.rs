//! What an author of an environment is told about a mistake: by rustc, and while tracing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lockstep::envs::{Aggregate, AnyEnv, Env, EnvSpec, Erased, Metric, Observation, Step, conformance};
use lockstep::interpret::interpret;
use lockstep::lang::{Bool, Float, Int, Key, boolean, constant, float, int, stack, trace};

/// The library that this test is linked with.
fn library() -> PathBuf {
    let deps = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    let is_library = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        name.starts_with("liblockstep-") && name.ends_with(".rlib")
    };
    let all = fs::read_dir(deps).unwrap().map(|entry| entry.unwrap().path()).filter(is_library);
    all.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap()).unwrap()
}

/// What rustc says of a program.
fn rustc_says(program: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let (source, output) = (folder.path().join("author.rs"), folder.path().join("author.rmeta"));
    fs::write(&source, program).unwrap();
    let library = library();
    let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
    let done = Command::new(rustc)
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "-o"])
        .args([&output, &source])
        .arg("--extern")
        .arg(format!("lockstep={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&done.stderr).into_owned()
}

#[test]
fn rustc_says_what_to_write_instead() {
    let program = "
        use lockstep::lang::{Bool, Float, Int, Tree};
        pub struct State { x: Float }
        pub fn kinds(x: Float, i: Int) -> Int { i + x }
        pub fn literal(x: Float) -> Float { x * 2 }
        pub fn operator(x: Float) -> Bool { x > 0.0 }
        pub fn equality(x: Int) -> Bool { x == 0 }
        pub fn tree(state: State) -> impl Tree { state }
        pub fn branch(x: Float) -> Float { if x.gt(0.0) { x } else { -x } }
    ";
    let said = rustc_says(program);
    for part in [
        "does not meet an array of kind `lockstep::lang::kind::Int`",
        "does not meet an array of kind `lockstep::lang::kind::Float`",
        "write literals of Float as `1.0`, of Int as `1`",
        "arrays are compared by methods, not by operators: `x.gt(y)` for `x > y`",
        "choose by their result with `select` or `cond`",
        "`State` is no tree of arrays",
        "write `lockstep::tree!(State { field, other_field });` below it",
        // rustc lets nobody add to this one.
        "expected `bool`, found `Array<Bool>`",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    assert_eq!(said.matches("are compared by methods").count(), 2, "{said}");
    let right = "pub fn right(x: lockstep::lang::Float) -> lockstep::lang::Float { x * 2.0 }";
    assert_eq!(rustc_says(right), "", "the library can be linked with at all");
}

#[test]
fn numbers_without_a_suffix_are_f32() {
    let traced = trace(&(), |()| {
        let x: Float = constant([1.0, 2.5]);
        (x, x + float(1.0))
    });
    let found = interpret(&traced.graph, &[]);
    assert_eq!(found[1].as_slice::<f32>(), [2.0, 3.5]);
    assert_eq!(found[0].as_slice::<f32>(), [1.0, 2.5]);
}

/// A game of three steps, with room for one mistake.
struct Faulty {
    spec: fn(EnvSpec) -> EnvSpec,
    change: fn(&mut Step<State>),
    see: fn(&State) -> Observation,
    mask: fn() -> Option<Bool>,
    to_move: fn() -> Int,
}

#[derive(Clone, Copy)]
struct State {
    time: Int,
    drawn: Float,
}
lockstep::tree!(State { time, drawn });

/// Without a mistake.
const RIGHT: Faulty = Faulty {
    spec: |spec| spec,
    change: |_| {},
    see: |state| stack([state.time.as_f32(), state.drawn, state.drawn]).into(),
    mask: || None,
    to_move: || int(0),
};

impl Env for Faulty {
    type State = State;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        let metrics = ["a", "b"].map(metric).into();
        (self.spec)(EnvSpec { metrics, ..EnvSpec::new("gridworld", [3], 2) })
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> State {
        State { time: int(0), drawn: key.uniform([], 0.0..1.0) }
    }
    fn step(&self, _: &(), _key: Key, state: State, _action: Int) -> Step<State> {
        let mut step = Step {
            state: State { time: state.time + 1, ..state },
            reward: float(1.0),
            terminated: state.time.ge(2),
            truncated: Some(boolean(false)),
            metrics: vec![float(0.0), float(0.0)],
        };
        (self.change)(&mut step);
        step
    }
    fn observe(&self, _: &(), state: &State) -> Observation {
        (self.see)(state)
    }
    fn to_move(&self, _: &(), _state: &State) -> Int {
        (self.to_move)()
    }
    fn action_mask(&self, _: &(), _state: &State) -> Option<Bool> {
        (self.mask)()
    }
}

fn metric(name: &str) -> Metric {
    Metric { name: name.into(), aggregate: Aggregate::Mean, unit: "", description: String::new() }
}

/// Calls each of the functions.
fn told(env: &dyn AnyEnv) -> Result<(), String> {
    let calls = || {
        trace(&(), |()| {
            let params = env.default_params();
            let state = env.reset(&params, Key::new(0));
            let _ = env.observe(&params, &state);
            let _ = env.action_mask(&params, &state);
            let _ = env.to_move(&params, &state);
            let _ = env.step(&params, Key::new(1), state, int(0));
        });
    };
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(calls));
    panic.map_err(|payload| payload.downcast_ref::<String>().cloned().unwrap_or_default())
}

#[test]
fn what_contradicts_the_spec_is_named() {
    assert_eq!(told(&Erased::new(RIGHT)), Ok(()));
    let privileged =
        |state: &State| Observation { privileged: Some(stack([state.drawn])), ..(RIGHT.see)(state) };
    let cases: Vec<(Faulty, &str)> = vec![
        (
            Faulty { see: |state| stack([state.drawn, state.drawn]).into(), ..RIGHT },
            "observe() gives f32[2], spec().obs_shape says [3]",
        ),
        (
            Faulty { see: |state| (RIGHT.see)(state).actor.as_f64().into(), ..RIGHT },
            "observe() gives f64[3]; it must be f32[3]",
        ),
        (
            Faulty { spec: |spec| EnvSpec { obs_shape: vec![1, 3], ..spec }, ..RIGHT },
            "observe() gives f32[3], spec().obs_shape says [1, 3]",
        ),
        (
            Faulty { see: privileged, ..RIGHT },
            "observe() gives privileged f32[1], spec().privileged_shape is None",
        ),
        (
            Faulty { spec: |spec| EnvSpec { privileged_shape: Some(vec![4]), ..spec }, ..RIGHT },
            "observe() gives no privileged observation, spec().privileged_shape says [4]",
        ),
        (
            Faulty {
                see: privileged,
                spec: |spec| EnvSpec { privileged_shape: Some(vec![4]), ..spec },
                ..RIGHT
            },
            "observe() gives privileged f32[1], spec().privileged_shape says [4]",
        ),
        (
            Faulty { change: |step| step.reward = step.reward.as_f64(), ..RIGHT },
            "step() gives a reward f64[]; it must be f32[]",
        ),
        (
            Faulty { change: |step| step.reward = stack([step.reward]), ..RIGHT },
            "step() gives a reward f32[1]; it must be f32[]",
        ),
        (
            Faulty { spec: |spec| EnvSpec { players: 2, ..spec }, ..RIGHT },
            "step() gives rewards f32[], spec().players says 2",
        ),
        (
            Faulty { change: |step| step.terminated = stack([step.terminated]), ..RIGHT },
            "step() gives terminated bool[1]; it must be bool[]",
        ),
        (
            Faulty { change: |step| step.truncated = Some(stack([step.terminated])), ..RIGHT },
            "step() gives truncated bool[1]; it must be bool[]",
        ),
        (
            Faulty { change: |step| step.metrics.truncate(1), ..RIGHT },
            r#"step() gives 1 metrics, spec().metrics names 2: ["a", "b"]"#,
        ),
        (
            Faulty { change: |step| step.metrics.push(float(0.0)), ..RIGHT },
            r#"step() gives 3 metrics, spec().metrics names 2: ["a", "b"]"#,
        ),
        (
            Faulty { change: |step| step.metrics[1] = stack([float(0.0)]), ..RIGHT },
            "step() gives the metric `b` f32[1]; it must be f32[]",
        ),
        (
            Faulty { change: |step| step.state.drawn = step.state.drawn.as_f64(), ..RIGHT },
            "step() gives a state whose `drawn` is f64[]; reset() gives f32[]",
        ),
        (
            Faulty { mask: || Some(constant([true; 3])), ..RIGHT },
            "action_mask() gives bool[3], spec().num_actions says 2",
        ),
        (Faulty { to_move: || int(0).as_u32(), ..RIGHT }, "to_move() gives u32[]; it must be i32[]"),
        (
            Faulty { spec: |spec| EnvSpec { flags: vec![0..1, 2..4], ..spec }, ..RIGHT },
            "spec().flags names feature 3; an observation has 3",
        ),
        (
            Faulty { spec: |spec| EnvSpec { flags: vec![0..2, 1..3], ..spec }, ..RIGHT },
            "spec().flags names feature 1 twice",
        ),
        (
            Faulty { spec: |spec| EnvSpec { action_groups: vec![("move", 0..3)], ..spec }, ..RIGHT },
            "spec().action_groups: `move` is 0..3; there are 2 actions",
        ),
        (
            Faulty { spec: |spec| EnvSpec { metrics: vec![metric("a"), metric("a")], ..spec }, ..RIGHT },
            "spec().metrics names `a` twice",
        ),
        (
            Faulty { spec: |spec| EnvSpec { obs_shape: vec![3, 0], ..spec }, ..RIGHT },
            "spec().obs_shape is [3, 0], which holds no numbers",
        ),
        (
            Faulty { spec: |spec| EnvSpec { num_actions: 0, ..spec }, ..RIGHT },
            "spec().num_actions is 0; it must be at least 1",
        ),
        (
            Faulty { spec: |spec| EnvSpec { players: 0, ..spec }, ..RIGHT },
            "spec().players is 0; it must be at least 1",
        ),
    ];
    for (faulty, expected) in cases {
        assert_eq!(told(&Erased::new(faulty)), Err(format!("gridworld: {expected}")));
    }
}

#[test]
fn what_breaks_the_contract_is_named() {
    conformance(&Erased::new(RIGHT)).unwrap();
    let cases: Vec<(Faulty, &str)> = vec![
        (
            Faulty { see: |state| stack([state.drawn / 0.0, state.drawn, state.drawn]).into(), ..RIGHT },
            "an observation or a reward is not finite",
        ),
        (
            Faulty { spec: |spec| EnvSpec { flags: std::iter::once(1..2).collect(), ..spec }, ..RIGHT },
            "a feature of spec().flags is neither 0 nor 1",
        ),
        (Faulty { mask: || Some(constant([false; 2])), ..RIGHT }, "action_mask() allows nothing"),
        (Faulty { to_move: || int(1), ..RIGHT }, "to_move() gives player 1 of 1"),
        (
            Faulty { change: |step| step.terminated = boolean(false), ..RIGHT },
            "no episode ended in 2000 steps of random play; give it a limit of time",
        ),
        (
            Faulty {
                spec: |spec| EnvSpec { metrics: vec![metric("a"), metric("reward/b")], ..spec },
                ..RIGHT
            },
            "the metrics named reward/ sum to 0, the reward is 1",
        ),
        (Faulty { see: |_| stack([float(0.0); 3]).into(), ..RIGHT }, "another key gives the same episode"),
    ];
    for (faulty, expected) in cases {
        let found = conformance(&Erased::new(faulty)).unwrap_err().to_string();
        assert_eq!(found, format!("gridworld: {expected}"));
    }
}
