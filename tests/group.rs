//! Agents that are trained together are those that are trained alone.

use lockstep::algorithms::evaluation::Plan;
use lockstep::algorithms::learner::{Group as Agents, One, Start};
use lockstep::algorithms::policy::Choice;
use lockstep::algorithms::ppo::{NormAdv, Ppo, Settings};
use lockstep::algorithms::{Group, Learner, NamedArrays};
use lockstep::envs::registry;
use lockstep::nn::ValueHead;

use crate::common::client;

const SEED: u64 = (1 << 32) - 1; // the next one has other high bits

/// An environment, and how many of it.
type Task = (&'static str, usize);

fn ppo((env, num_envs): Task, lr: f64) -> Ppo {
    let env = registry::find(env).unwrap().build();
    let settings =
        Settings { num_envs, num_steps: 8, hidden_dim: 16, update_epochs: 2, lr, ..Settings::default() };
    Ppo::new(settings, env.into()).unwrap()
}

/// Everything that PPO can do beside its defaults.
fn with_everything(agent: usize) -> Ppo {
    let settings = Settings {
        num_envs: 32,
        num_steps: 8,
        hidden_dim: 16,
        update_epochs: 2,
        lr: lr(agent, true),
        lr_final: Some(1e-4),
        clip_eps_final: Some(0.1),
        clip_vloss_of_means: true,
        norm_adv: NormAdv::Batch,
        ent_coef_final: Some(0.0),
        ent_decay_fraction: 0.5,
        entropy_floor: Some(0.69), // a nearly uniform choice of two
        clip_parts: true,
        value_head: ValueHead::Popart,
        ..Settings::default()
    };
    let env = registry::find("cartpole").unwrap().build();
    Ppo::new(settings, env.into()).unwrap()
}

/// The learning rate of an agent: all have the same, or each its own.
fn lr(agent: usize, own: bool) -> f64 {
    if own { 1e-3 * (agent + 1) as f64 } else { 2.5e-4 }
}

fn start(seed: u64, num_devices: usize) -> Start {
    Start { seed, total_updates: 4, max_updates: 3, num_devices, record: Default::default() }
}

fn group(
    make: impl Fn(usize) -> Ppo,
    num_agents: usize,
    devices: usize,
) -> (Agents<Ppo>, Vec<Box<dyn Learner>>) {
    let agents = (0..num_agents).map(make).collect();
    let group = Agents::new(client(), agents, &start(SEED, devices)).unwrap();
    let members = group.members();
    (group, members)
}

fn alone(ppo: Ppo, agent: usize) -> One<Ppo> {
    One::new(client(), ppo, &start(SEED + agent as u64, 1)).unwrap()
}

/// Requires the same names and types, and values of which at most one in a hundred differs by more than `tolerance`: where a
/// gradient is nearly zero, its rounding decides into which direction Adam moves a weight by a whole step.
#[track_caller]
fn assert_close(together: &NamedArrays, alone: &NamedArrays, tolerance: f64) {
    assert_eq!(together.len(), alone.len());
    for ((name, together), (other, alone)) in together.iter().zip(alone) {
        assert_eq!((name, together.array_type()), (other, alone.array_type()));
        let pairs = together.to_f64().into_iter().zip(alone.to_f64());
        let far = pairs.filter(|(a, b)| (a - b).abs() > tolerance * b.abs().max(1.0)).count();
        assert!(100 * far <= alone.array_type().size(), "{name}: {far} are off by more than {tolerance}");
    }
}

/// Compares the first and the last agent with those that are trained alone.
fn compare(task: Task, num_agents: usize, devices: usize, own_lr: bool) {
    compare_those(|agent| ppo(task, lr(agent, own_lr)), num_agents, devices);
}

fn compare_those(make: impl Fn(usize) -> Ppo, num_agents: usize, devices: usize) {
    let (mut group, members) = group(&make, num_agents, devices);
    let mut pairs = [0, num_agents - 1].map(|i| (i, &members[i], alone(make(i), i)));
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
    compare(("cartpole", 8), 3, 1, false); // all at once
    compare(("cartpole", 32), 8, 2, false); // on each device two blocks of two
}

/// Nothing that an update does depends on who else is trained: not on the sides of the loss of the others, for one.
#[test]
fn an_agent_with_everything_is_the_one_that_is_trained_alone() {
    compare_those(with_everything, 4, 2);
}

/// A sweep in one program: each agent has a learning rate of its own.
#[test]
fn agents_of_a_group_may_differ_in_what_is_traced() {
    compare(("cartpole", 32), 8, 2, true);
}

#[test]
fn a_hackmatrix_agent_of_a_group_is_the_one_that_is_trained_alone() {
    compare(("hackmatrix", 8), 2, 1, false);
    compare(("hackmatrix", 64), 2, 1, false); // one after the other
}

#[test]
fn an_agent_that_goes_on_alone_leaves_the_others_where_they_are() {
    let (mut group, mut members) = group(|_| ppo(("cartpole", 8), lr(0, false)), 2, 2);
    let start = members[1].state().unwrap();
    let rows = group.run(3).unwrap();
    let states = [members[0].state().unwrap(), members[1].state().unwrap()];
    members[1].load_state(&start).unwrap();
    let again = [members[1].run(1).unwrap(), members[1].run(2).unwrap()].concat();
    assert_eq!(again, rows[1]);
    assert_eq!(states, [members[0].state().unwrap(), members[1].state().unwrap()]);
}

/// Members of a sweep, or modes of one game, differ in the parameters of the environment.
#[test]
fn an_agent_of_a_group_is_evaluated_in_its_own_environment() {
    let make = |agent: usize| {
        let gravity = ["gravity=5".to_owned(), "gravity=50".to_owned()];
        let env = registry::find("cartpole").unwrap().with(&gravity[agent..=agent]).unwrap();
        Ppo::new(Settings { num_envs: 8, num_steps: 8, ..Settings::default() }, env.build().into()).unwrap()
    };
    let plan = Plan { episodes: 16, max_steps: 200, seed: 3 };
    let (mut group, members) = group(make, 2, 1);
    group.prepare_evaluation(Choice::Sample, plan.episodes).unwrap();
    let lengths = |learner: &dyn Learner| -> Vec<u64> {
        let episodes = learner.evaluate(&plan, &mut || true).unwrap().expect("nothing stops it");
        episodes.iter().map(|episode| episode.episode_length).collect()
    };
    let together = [0, 1].map(|agent: usize| lengths(&*members[agent]));
    for (agent, together) in together.iter().enumerate() {
        let mut single = alone(make(agent), agent);
        single.prepare_evaluation(Choice::Sample, plan.episodes).unwrap();
        assert_eq!(*together, lengths(&single), "agent {agent}");
    }
    assert_ne!(together[0], together[1]);
}
