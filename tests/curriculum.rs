//! A curriculum: each update is played with the parameters of its phase, whatever happens to the run on the way.

use lockstep::algorithms::ppo::{PpoGroup, PpoLearner, Settings, Start};
use lockstep::algorithms::{Group, Learner};
use lockstep::envs::{Env, EnvSpec, Erased, Step};
use lockstep::lang::{Float, Int, Key, float, int, stack};

use crate::common::client;

/// Pays each step what the parameters say.
struct Paying;

#[derive(Clone, Copy)]
struct Params {
    reward: Float,
}
lockstep::tree!(Params { reward });

#[derive(Clone, Copy)]
struct State {
    time: Int,
}
lockstep::tree!(State { time });

impl Env for Paying {
    type State = State;
    type Params = Params;

    fn spec(&self) -> EnvSpec {
        EnvSpec {
            name: "paying",
            obs_shape: vec![1],
            sparse_obs: false,
            flags: vec![],
            num_actions: 2,
            metrics: vec![],
            action_groups: vec![],
        }
    }
    fn default_params(&self) -> Params {
        Params { reward: float(3.0) }
    }
    fn phases(&self) -> Vec<Params> {
        [1.0, 2.0, 3.0].map(|reward| Params { reward: float(reward) }).into()
    }
    fn reset(&self, _: &Params, _key: Key) -> State {
        State { time: int(0) }
    }
    fn step(&self, params: &Params, _key: Key, state: State, _action: Int) -> Step<State> {
        let time = state.time + 1;
        Step {
            state: State { time },
            reward: params.reward,
            terminated: time.ge(5),
            truncated: None,
            metrics: vec![],
        }
    }
    fn observe(&self, _: &Params, state: &State) -> Float {
        stack([state.time.as_f32()])
    }
}

/// Updates have 32 timesteps, so the second phase begins with update 2 and the third with update 4.
fn with_start<T>(num_devices: usize, then: impl FnOnce(&Start) -> T) -> T {
    let settings = Settings {
        num_envs: 4,
        num_steps: 8,
        hidden_dim: 8,
        num_layers: 1,
        update_epochs: 1,
        curriculum: vec![64, 100],
        ..Settings::default()
    };
    let env = Erased::new(Paying);
    then(&Start { settings: &settings, env: &env, seed: 1, total_updates: 6, max_updates: 6, num_devices })
}

/// The mean reward and the number of the phase in each update.
fn paid(learner: &dyn Learner, rows: &[Vec<f32>]) -> Vec<[f32; 2]> {
    let column = |name| learner.metric_names().iter().position(|other| other == name).unwrap();
    let columns = [column("mean_reward"), column("curriculum/phase")];
    rows.iter().map(|row| columns.map(|column| row[column])).collect()
}

const ALL: [[f32; 2]; 6] = [[1.0; 2], [1.0; 2], [2.0; 2], [2.0; 2], [3.0; 2], [3.0; 2]];

#[test]
fn a_run_that_goes_on_from_a_checkpoint_goes_on_in_its_phase() {
    for devices in [1, 2] {
        with_start(devices, |start| {
            let mut learner = PpoLearner::new(client(), start).unwrap();
            let first = learner.run(3).unwrap();
            let state = learner.state().unwrap();
            let then = learner.run(3).unwrap();
            assert_eq!(paid(&learner, &[first, then.clone()].concat()), ALL);
            let mut resumed = PpoLearner::new(client(), start).unwrap();
            resumed.load_state(&state).unwrap();
            let course = resumed.course(start).unwrap();
            let (_, rewards) = course.iter().find(|(name, _)| name == "rollout.reward").unwrap();
            assert!(rewards.as_slice::<f32>().iter().all(|&reward| reward == 2.0), "{rewards:?}");
            assert_eq!(resumed.run(3).unwrap(), then);
            assert_eq!(resumed.state().unwrap(), learner.state().unwrap());
        });
    }
}

#[test]
fn each_agent_of_a_group_is_in_the_phase_of_its_own_update() {
    let mut group = with_start(1, |start| PpoGroup::new(client(), start, 2).unwrap());
    let mut members = group.members();
    let start = members[1].state().unwrap();
    let rows = group.run(4).unwrap();
    rows.iter().for_each(|rows| assert_eq!(paid(&members[0], rows), ALL[..4]));
    members[1].load_state(&start).unwrap(); // as after a rollback
    let rows = group.run(2).unwrap();
    assert_eq!(
        [paid(&members[0], &rows[0]), paid(&members[1], &rows[1])],
        [ALL[4..].to_vec(), ALL[..2].to_vec()]
    );
}
