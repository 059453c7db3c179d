//! DQN on the probes: what it learns of an action is what that is worth.

use lockstep::algorithms::dqn::{Dqn, Settings};
use lockstep::nn::QNetwork;

use super::*;

const UPDATES: usize = 60;

fn settings() -> Settings {
    Settings {
        num_envs: 8,
        num_steps: 16,
        batch_size: 32,
        replay_size: 1024,
        updates_per_step: 1,
        lr: 5e-3,
        gamma: 0.5,
        epsilon_decay: 0.999,
        epsilon_min: 0.2,
        target_update_freq: 64,
        hidden_dim: 32,
        num_layers: 1,
        ..Settings::default()
    }
}

/// For each of some agents and each of some observations, what both actions are worth after the training.
fn learned<E: Env + 'static>(env: E, obs: &[f32]) -> Vec<Vec<Vec<f64>>> {
    let spec = env.spec();
    let env: Rc<dyn AnyEnv> = Rc::new(Erased::new(env));
    let agents = (0..AGENTS).map(|_| Dqn::new(settings(), env.clone()).unwrap()).collect();
    let start = Start {
        seed: 1,
        total_updates: UPDATES as u64,
        max_updates: UPDATES,
        num_devices: 1,
        record: Default::default(),
    };
    let mut group = Agents::new(&plain_client(), agents, &start).unwrap();
    group.run(UPDATES).unwrap();
    let network = QNetwork::new(settings().network(), &spec).unwrap();
    let params = structure_of(|| network.init(Key::new(0)));
    let input = Float::placeholder(DType::F32, [obs.len(), 1]);
    let values = trace(&(params, input), |(params, obs)| network.values(&params, Features::Plain(obs), None));
    let think = |member: &dyn Learner| -> Vec<Vec<f64>> {
        let mut inputs: Vec<HostArray> =
            member.params().unwrap().into_iter().map(|(_, array)| array).collect();
        inputs.push(HostArray::new(&[obs.len(), 1], obs.to_vec()));
        interpret(&values.graph, &inputs)[0].to_f64().chunks(spec.num_actions).map(<[f64]>::to_vec).collect()
    };
    group.members().iter().map(|member| think(&**member)).collect()
}

/// Requires of at least six of the eight agents that they think so.
#[track_caller]
fn most_think(agents: &[Vec<Vec<f64>>], expected: &[[f64; 2]], tolerance: f64) {
    let thinks = |agent: &&Vec<Vec<f64>>| {
        agent.iter().zip(expected).all(|(found, expected)| near(found, expected, tolerance))
    };
    let count = agents.iter().filter(thinks).count();
    assert!(count + 2 >= AGENTS, "only {count} of {AGENTS} agents learned {expected:?}: {agents:?}");
}

#[test]
fn the_value_of_an_action_depends_on_what_is_seen() {
    let probe = Probe {
        name: "both",
        first: coin,
        reward: |state, action| select(action.eq(1), state.seen, -state.seen),
        length: 1,
        cut_off: false,
    };
    most_think(&learned(probe, &[1.0, -1.0]), &[[-1.0, 1.0], [1.0, -1.0]], 0.2);
}

#[test]
fn a_later_reward_is_discounted_and_an_end_is_no_cut_off() {
    let delayed = Probe {
        name: "delayed",
        first: |_| float(0.0),
        reward: |state, _| state.time.as_f32(),
        length: 2,
        cut_off: false,
    };
    most_think(&learned(delayed, &[0.0, 1.0]), &[[0.5, 0.5], [1.0, 1.0]], 0.15);
    // Reward 1 for ever is worth 1 / (1 - gamma) = 2, however early the episode is cut off.
    let cut_off =
        Probe { name: "cut_off", first: |_| float(0.0), reward: |_, _| float(1.0), length: 3, cut_off: true };
    most_think(&learned(cut_off, &[0.0]), &[[2.0, 2.0]], 0.2);
}
