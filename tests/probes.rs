//! Probe environments (after Andy Jones): each isolates one thing that an algorithm must get right, so that a
//! failure names its cause. What one agent learns hangs on the rounding of the processor, so eight with seeds of their own
//! learn in one program, and [`most`] of them must succeed.

pub mod environments;
mod q_learning;
mod self_play;

use std::collections::BTreeMap;
use std::rc::Rc;

use lockstep::algorithms::learner::{Group as Agents, One, Start};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::algorithms::{Group, Learner};
use lockstep::array::{DType, HostArray};
use lockstep::envs::vector::View;
use lockstep::envs::{AnyEnv, Env, EnvSpec, Erased, Metric, Observation, Step};
use lockstep::interpret::interpret;
use lockstep::lang::{
    Bool, Features, Float, Int, Key, Leaves, constant, float, int, select, stack, structure_of, trace,
};
use lockstep::nn::{Activation, ActorCritic, Init, Network};

use crate::common::{client, plain_client};

/// What is known to the agent, and how many steps it took.
#[derive(Clone, Copy)]
struct State {
    seen: Float,
    time: Int,
}
lockstep::tree!(State { seen, time });

/// Plus or minus one.
fn coin(key: Key) -> Float {
    select(key.bernoulli([], 0.5), 1.0, -1.0)
}

/// A probe: its observation is `seen`, the rest is said by three functions.
#[derive(Clone, Copy)]
struct Probe {
    name: &'static str,
    /// The first `seen`.
    first: fn(Key) -> Float,
    /// The reward of a state and an action.
    reward: fn(State, Int) -> Float,
    /// Steps of an episode.
    length: i32,
    /// Whether the end is a cut-off.
    cut_off: bool,
}

impl Env for Probe {
    type State = State;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        EnvSpec::new(self.name, [1], 2)
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> State {
        State { seen: (self.first)(key), time: int(0) }
    }
    fn step(&self, _: &(), _key: Key, state: State, action: Int) -> Step<State> {
        let over = (state.time + 1).ge(self.length);
        Step {
            reward: (self.reward)(state, action),
            terminated: if self.cut_off { over & false } else { over },
            truncated: self.cut_off.then_some(over),
            metrics: vec![],
            state: State { time: state.time + 1, ..state },
        }
    }
    fn observe(&self, _: &(), state: &State) -> Observation {
        // The delayed probe shows the time, the others what was drawn.
        stack([if self.length == 2 { state.time.as_f32() } else { state.seen }]).into()
    }
}

fn settings() -> Settings {
    Settings {
        num_envs: 32,
        num_steps: 16,
        lr: 5e-3,
        gamma: 0.5,
        ent_coef: 0.0,
        hidden_dim: 32,
        num_layers: 1,
        activation: Activation::Tanh,
        separate_trunks: true,
        init: Init::Orthogonal,
        ..Settings::default()
    }
}

const AGENTS: usize = 8;

/// The metrics of an update.
type Named = BTreeMap<String, f32>;

/// What an agent thinks of some observations after its training.
#[derive(Debug)]
struct Trained {
    /// One row per observation.
    logits: Vec<Vec<f64>>,
    values: Vec<f64>,
}

/// Agents after `updates` updates, and the metrics of each update of each, by name.
fn train<E: Env + 'static>(env: E, updates: usize, obs: &[f32]) -> (Vec<Trained>, Vec<Vec<Named>>) {
    let (settings, spec) = (settings(), env.spec());
    let env: Rc<dyn AnyEnv> = Rc::new(Erased::new(env));
    let start = Start {
        seed: 1,
        total_updates: updates as u64,
        max_updates: updates,
        num_devices: 1,
        record: Default::default(),
    };
    let agents = (0..AGENTS).map(|_| Ppo::new(settings.clone(), env.clone()).unwrap()).collect();
    let mut group = Agents::new(&plain_client(), agents, &start).unwrap();
    let rows = group.run(updates).unwrap();
    let network = ActorCritic::new(settings.network(), &spec).unwrap();
    let params = structure_of(|| network.init(Key::new(0)));
    let input = Float::placeholder(DType::F32, [obs.len(), 1]);
    let forward = trace(&(params, input), |(params, obs)| {
        let view = View { obs: Features::Plain(obs), mask: None, privileged: None, to_move: None };
        network.apply(&params, Leaves::default(), &view, None).1
    });
    let think = |member: &dyn Learner| {
        let mut inputs: Vec<HostArray> =
            member.params().unwrap().into_iter().map(|(_, array)| array).collect();
        inputs.push(HostArray::new(&[obs.len(), 1], obs.to_vec()));
        let outputs = interpret(&forward.graph, &inputs);
        let logits = outputs[0].to_f64().chunks(spec.num_actions).map(<[f64]>::to_vec).collect();
        Trained { logits, values: outputs[1].to_f64() }
    };
    let members = group.members();
    let named =
        |row: Vec<f32>| members[0].metrics().iter().map(|metric| metric.name.to_string()).zip(row).collect();
    let rows = rows.into_iter().map(|rows| rows.into_iter().map(named).collect()).collect();
    (members.iter().map(|member| think(&**member)).collect(), rows)
}

/// Requires something of at least six of the eight agents.
#[track_caller]
fn most(agents: &[Trained], succeeds: impl Fn(&Trained) -> bool) {
    let count = agents.iter().filter(|agent| succeeds(agent)).count();
    assert!(count + 2 >= AGENTS, "only {count} of {AGENTS} agents learned it: {agents:#?}");
}

fn near(found: &[f64], expected: &[f64], tolerance: f64) -> bool {
    found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < tolerance)
}

/// Environments whose first draw is above 0.8 pay no number in their sixth step.
#[test]
fn a_reward_that_is_no_number_is_traced_to_step_and_environment() {
    let probe = Probe {
        name: "broken",
        first: |key| key.uniform([], 0.0..1.0),
        reward: |state, _| select(state.seen.gt(0.8) & state.time.eq(5), f64::NAN, 0.0),
        length: 100,
        cut_off: false,
    };
    for num_devices in [1, 2] {
        let start =
            Start { seed: 1, total_updates: 3, max_updates: 1, num_devices, record: Default::default() };
        let env = Rc::new(Erased::new(probe));
        let mut learner = One::new(client(), Ppo::new(settings(), env).unwrap(), &start).unwrap();
        let state = learner.state().unwrap();
        let (_, seen) = state.iter().find(|(name, _)| name == "envs.state.seen").unwrap();
        let broken = seen.to_f64().iter().position(|seen| *seen > 0.8).unwrap();
        assert!(broken > 0);
        let first = learner.diagnose().unwrap().unwrap();
        assert_eq!(first.to_string(), format!("reward is NaN at step 5 of environment {broken}"));
        // What is looked at is the next update: its metrics know of it, and the state was not touched.
        assert_eq!(learner.state().unwrap(), state);
        let row = learner.run(1).unwrap().remove(0);
        assert!(row.iter().any(|value| value.is_nan()));
    }
}

#[test]
fn a_constant_reward_is_the_value() {
    let probe = Probe {
        name: "constant",
        first: |_| float(0.0),
        reward: |_, _| float(1.0),
        length: 1,
        cut_off: false,
    };
    let (agents, _) = train(probe, 60, &[0.0]);
    most(&agents, |agent| near(&agent.values, &[1.0], 0.1));
}

#[test]
fn a_reward_that_is_seen_is_the_value() {
    let probe = Probe { name: "seen", first: coin, reward: |state, _| state.seen, length: 1, cut_off: false };
    let (agents, _) = train(probe, 80, &[1.0, -1.0]);
    most(&agents, |agent| near(&agent.values, &[1.0, -1.0], 0.1));
}

#[test]
fn a_delayed_reward_is_discounted() {
    let probe = Probe {
        name: "delayed",
        first: |_| float(0.0),
        reward: |state, _| state.time.as_f32(),
        length: 2,
        cut_off: false,
    };
    let (agents, _) = train(probe, 120, &[0.0, 1.0]);
    most(&agents, |agent| near(&agent.values, &[0.5, 1.0], 0.1));
}

#[test]
fn the_better_action_is_found() {
    let probe = Probe {
        name: "action",
        first: |_| float(0.0),
        reward: |_, action| select(action.eq(1), 1.0, -1.0),
        length: 1,
        cut_off: false,
    };
    let (agents, _) = train(probe, 80, &[0.0]);
    most(&agents, |Trained { logits, values }| logits[0][1] - logits[0][0] > 2.0 && values[0] > 0.7);
}

#[test]
fn the_better_action_depends_on_what_is_seen() {
    let probe = Probe {
        name: "both",
        first: coin,
        reward: |state, action| select(action.eq(1), state.seen, -state.seen),
        length: 1,
        cut_off: false,
    };
    let (agents, _) = train(probe, 120, &[1.0, -1.0]);
    most(&agents, |Trained { logits, values }| {
        let chosen = logits[0][1] - logits[0][0] > 2.0 && logits[1][0] - logits[1][1] > 2.0;
        chosen && values[0] > 0.7 && values[1] > 0.7
    });
}

#[test]
fn a_cut_off_does_not_lower_the_value() {
    // Reward 1 for ever is worth 1 / (1 - gamma) = 2, however early the episode is cut off.
    let probe = |cut_off| Probe {
        name: "cut_off",
        first: |_| float(0.0),
        reward: |_, _| float(1.0),
        length: 3,
        cut_off,
    };
    let (agents, _) = train(probe(true), 150, &[0.0]);
    most(&agents, |agent| near(&agent.values, &[2.0], 0.1));
    // The same with real ends is worth less: the mean of 1, 1.5 and 1.75.
    let (agents, _) = train(probe(false), 150, &[0.0]);
    most(&agents, |agent| near(&agent.values, &[1.4167], 0.15));
}

/// Half of the actions are forbidden, others in each state; choosing one is reported.
struct Masked;

impl Env for Masked {
    type State = State;
    type Params = ();

    fn spec(&self) -> EnvSpec {
        let metric = Metric::record("highest_violation", "", "1 if a forbidden action was chosen");
        EnvSpec { metrics: vec![metric], ..EnvSpec::new("masked", [1], 4) }
    }
    fn default_params(&self) {}
    fn reset(&self, _: &(), key: Key) -> State {
        State { seen: coin(key), time: int(0) }
    }
    fn step(&self, _: &(), _key: Key, state: State, action: Int) -> Step<State> {
        let allowed = (self.action_mask(&(), &state).unwrap() & action.one_hot(4)).any_all();
        Step {
            reward: action.as_f32(),
            terminated: state.time.ge(4),
            truncated: None,
            metrics: vec![select(allowed, 0.0, 1.0)],
            state: State { time: state.time + 1, seen: -state.seen },
        }
    }
    fn observe(&self, _: &(), state: &State) -> Observation {
        stack([state.seen]).into()
    }
    fn action_mask(&self, _: &(), state: &State) -> Option<Bool> {
        let low: Bool = constant([true, true, false, false]);
        Some(select(state.seen.gt(0.0), low, !low))
    }
}

#[test]
fn a_mask_is_never_violated_and_the_best_allowed_action_is_found() {
    let (agents, rows) = train(Masked, 100, &[1.0, -1.0]);
    for row in rows.iter().flatten() {
        assert_eq!(row["stats/highest_violation"], 0.0);
    }
    most(&agents, |Trained { logits, .. }| {
        logits[0][1] - logits[0][0] > 1.0 && logits[1][3] - logits[1][2] > 1.0
    });
}
