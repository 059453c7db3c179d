//! A curriculum: each update is played with the parameters of its phase, whatever happens to the run on the way.

use std::rc::Rc;

use lockstep::algorithms::curriculum::Curriculum;
use lockstep::algorithms::learner::{Group as PpoGroup, One, Start};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::algorithms::{Group, Learner, metrics};
use lockstep::envs::{Env, EnvSpec, Erased, Observation, Step};
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
        EnvSpec::new("paying", [1], 2)
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
    fn observe(&self, _: &Params, state: &State) -> Observation {
        stack([state.time.as_f32()]).into()
    }
}

/// Updates have 32 timesteps, so the second phase begins with update 2 and the third with update 4.
fn with_start<T>(num_devices: usize, then: impl FnOnce(&dyn Fn() -> Ppo, &Start) -> T) -> T {
    with_settings(&Settings { curriculum: Curriculum::At(vec![64, 100]), ..small() }, num_devices, then)
}

fn small() -> Settings {
    Settings {
        num_envs: 4,
        num_steps: 8,
        hidden_dim: 8,
        num_layers: 1,
        update_epochs: 1,
        ..Settings::default()
    }
}

fn with_settings<T>(
    settings: &Settings,
    num_devices: usize,
    then: impl FnOnce(&dyn Fn() -> Ppo, &Start) -> T,
) -> T {
    let ppo = || Ppo::new(settings.clone(), Rc::new(Erased::new(Paying))).unwrap();
    then(
        &ppo,
        &Start { seed: 1, total_updates: 60, max_updates: 30, num_devices, record: Default::default() },
    )
}

/// The mean reward and the number of the phase in each update.
fn paid(learner: &dyn Learner, rows: &[Vec<f32>]) -> Vec<[f32; 2]> {
    let column = |name| metrics::column(learner.metrics(), name).unwrap();
    let columns = [column("train/mean_reward"), column("curriculum/phase")];
    rows.iter().map(|row| columns.map(|column| row[column])).collect()
}

const ALL: [[f32; 2]; 6] = [[1.0; 2], [1.0; 2], [2.0; 2], [2.0; 2], [3.0; 2], [3.0; 2]];

#[test]
fn a_run_that_goes_on_from_a_checkpoint_goes_on_in_its_phase() {
    for devices in [1, 2] {
        with_start(devices, |ppo, start| {
            let mut learner = One::new(client(), ppo(), start).unwrap();
            let first = learner.run(3).unwrap();
            let state = learner.state().unwrap();
            let then = learner.run(3).unwrap();
            assert_eq!(paid(&learner, &[first, then.clone()].concat()), ALL);
            let mut resumed = One::new(client(), ppo(), start).unwrap();
            resumed.load_state(&state).unwrap();
            assert_eq!(resumed.run(3).unwrap(), then);
            assert_eq!(resumed.state().unwrap(), learner.state().unwrap());
        });
    }
}

#[test]
fn each_agent_of_a_group_is_in_the_phase_of_its_own_update() {
    let mut group = with_start(1, |ppo, start| PpoGroup::new(client(), vec![ppo(), ppo()], start).unwrap());
    let mut members = group.members();
    let start = members[1].state().unwrap();
    let rows = group.run(4).unwrap();
    rows.iter().for_each(|rows| assert_eq!(paid(&*members[0], rows), ALL[..4]));
    members[1].load_state(&start).unwrap(); // as after a rollback
    let rows = group.run(2).unwrap();
    assert_eq!(
        [paid(&*members[0], &rows[0]), paid(&*members[1], &rows[1])],
        [ALL[4..].to_vec(), ALL[..2].to_vec()]
    );
}

/// Episodes of 5 steps pay 5, then 10, then 15, so that each phase but the last takes 20 updates.
#[test]
fn a_phase_ends_when_its_return_was_good_for_some_time() {
    let settings = Settings { curriculum: Curriculum::Return, curriculum_returns: vec![4.0, 9.0], ..small() };
    let all: Vec<[f32; 2]> = [1.0, 2.0, 3.0].into_iter().flat_map(|phase| [[phase; 2]; 20]).collect();
    for devices in [1, 2] {
        with_settings(&settings, devices, |ppo, start| {
            let mut learner = One::new(client(), ppo(), start).unwrap();
            let first = learner.run(27).unwrap();
            let state = learner.state().unwrap();
            assert_eq!(learner.phase(27).unwrap(), Some(2));
            let then = learner.run(30).unwrap();
            assert_eq!(paid(&learner, &[first, then.clone()].concat()), all[..57]);
            let mut resumed = One::new(client(), ppo(), start).unwrap();
            resumed.load_state(&state).unwrap();
            let parts = [13, 4, 13].map(|updates| resumed.run(updates).unwrap());
            assert_eq!((parts.concat(), resumed.state().unwrap()), (then, learner.state().unwrap()));
        });
    }
    with_settings(&settings, 1, |ppo, start| {
        let mut group = PpoGroup::new(client(), vec![ppo(), ppo()], start).unwrap();
        let mut members = group.members();
        let begin = members[1].state().unwrap();
        group.run(25).unwrap();
        members[1].load_state(&begin).unwrap(); // as after a rollback
        let rows = group.run(16).unwrap();
        assert_eq!(
            [paid(&*members[0], &rows[0]), paid(&*members[1], &rows[1])],
            [all[25..41].to_vec(), all[..16].to_vec()]
        );
        let phases = members.iter().map(|member| member.phase(0).unwrap().unwrap());
        assert_eq!(phases.collect::<Vec<_>>(), [3, 1]);
    });
}

#[test]
fn a_run_may_begin_in_a_later_phase() {
    for curriculum in [Curriculum::At(vec![0, 64]), Curriculum::Off] {
        let settings = Settings { curriculum, curriculum_start_phase: Some(2), ..small() };
        with_settings(&settings, 1, |ppo, start| {
            let mut learner = One::new(client(), ppo(), start).unwrap();
            let rows = learner.run(2).unwrap();
            assert_eq!(paid(&learner, &rows), [[2.0; 2]; 2]);
        });
    }
}
