//! Agents that are trained together are those that are trained alone.

use lockstep::algorithms::ppo::{Member, PpoGroup, PpoLearner, Settings, Start};
use lockstep::algorithms::{Group, Learner, NamedArrays};
use lockstep::envs::registry;

use crate::common::client;

const SEED: u64 = (1 << 32) - 1; // the next one has other high bits

/// An environment, and how many of it.
type Task = (&'static str, usize);

fn with_start<T>(task: Task, seed: u64, num_devices: usize, then: impl FnOnce(&Start) -> T) -> T {
    let (env, num_envs) = task;
    let env = (registry::find(env).unwrap().make)();
    let settings =
        Settings { num_envs, num_steps: 8, hidden_dim: 16, update_epochs: 2, ..Settings::default() };
    then(&Start { settings: &settings, env: &*env, seed, total_updates: 4, max_updates: 3, num_devices })
}

fn group(task: Task, num_agents: usize, devices: usize) -> (PpoGroup, Vec<Member>) {
    let group = with_start(task, SEED, devices, |start| PpoGroup::new(client(), start, num_agents).unwrap());
    let members = group.members();
    (group, members)
}

fn alone(task: Task, seed: u64) -> PpoLearner {
    with_start(task, seed, 1, |start| PpoLearner::new(client(), start).unwrap())
}

/// Requires the same names and types, and values that differ by at most `tolerance`.
#[track_caller]
fn assert_close(together: &NamedArrays, alone: &NamedArrays, tolerance: f64) {
    assert_eq!(together.len(), alone.len());
    for ((name, together), (other, alone)) in together.iter().zip(alone) {
        assert_eq!((name, together.array_type()), (other, alone.array_type()));
        let pairs = together.to_f64().into_iter().zip(alone.to_f64());
        let worst = pairs.map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, f64::max);
        assert!(worst <= tolerance, "{name}: {worst}");
    }
}

/// Compares the first and the last agent with those that are trained alone.
fn compare(task: Task, num_agents: usize, devices: usize) {
    let (mut group, members) = group(task, num_agents, devices);
    let mut pairs = [0, num_agents - 1].map(|i| (i, &members[i], alone(task, SEED + i as u64)));
    for (_, member, single) in &pairs {
        assert_eq!(member.state_types(), single.state_types());
        assert_close(&member.state().unwrap(), &single.state().unwrap(), 1e-6);
    }
    let rows = group.run(2).unwrap();
    for (i, member, single) in &mut pairs {
        let expected = single.run(2).unwrap();
        assert_eq!(rows[*i].len(), 2);
        for (row, expected) in rows[*i].iter().flatten().zip(expected.iter().flatten()) {
            assert!((row - expected).abs() <= 1e-4 * expected.abs().max(1.0), "agent {i}: {row}, {expected}");
        }
        assert_close(&member.state().unwrap(), &single.state().unwrap(), 1e-4);
    }
    assert_ne!(rows[0], rows[num_agents - 1]);
}

#[test]
fn a_cartpole_agent_of_a_group_is_the_one_that_is_trained_alone() {
    compare(("cartpole", 8), 3, 1); // all at once
    compare(("cartpole", 32), 8, 2); // on each device two blocks of two
}

#[test]
fn a_hackmatrix_agent_of_a_group_is_the_one_that_is_trained_alone() {
    compare(("hackmatrix", 8), 2, 1);
    compare(("hackmatrix", 64), 2, 1); // one after the other
}

#[test]
fn an_agent_that_goes_on_alone_leaves_the_others_where_they_are() {
    let (mut group, mut members) = group(("cartpole", 8), 2, 2);
    let start = members[1].state().unwrap();
    let rows = group.run(3).unwrap();
    let states = [members[0].state().unwrap(), members[1].state().unwrap()];
    members[1].load_state(&start).unwrap();
    let again = [members[1].run(1).unwrap(), members[1].run(2).unwrap()].concat();
    assert_eq!(again, rows[1]);
    assert_eq!(states, [members[0].state().unwrap(), members[1].state().unwrap()]);
}
