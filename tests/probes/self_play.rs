//! Matching pennies by self-play. A policy that could be guessed is exploited by itself, until both players choose as in equilibrium.

use std::rc::Rc;

use lockstep::algorithms::learner::{Group as Agents, One, Start};
use lockstep::algorithms::policy::{Choice, Policy};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::algorithms::{Group, Learner, NamedArrays, opponents};
use lockstep::array::{DType, HostArray};
use lockstep::envs::vector::View;
use lockstep::envs::{AnyEnv, Erased};
use lockstep::interpret::interpret;
use lockstep::lang::{Features, Float, Key, Outputs, trace};
use lockstep::nn::{Activation, Init, Rnn};

use super::environments::MatchingPennies;
use crate::common::{client, plain_client};

const AGENTS: usize = 8;

fn settings() -> Settings {
    Settings {
        opponents: opponents::Settings::of(opponents::SELF),
        num_envs: 64,
        num_steps: 16,
        num_minibatches: 2,
        lr: 1e-3,
        gamma: 0.0,
        ent_coef: 0.5, // without it, the players would chase each other round the equilibrium for ever
        hidden_dim: 16,
        num_layers: 1,
        activation: Activation::Tanh,
        separate_trunks: true,
        init: Init::Orthogonal,
        ..Settings::default()
    }
}

/// The probabilities of heads of each player.
fn heads(learner: &dyn Learner) -> [f64; 2] {
    let spec = Erased::new(MatchingPennies { heads: 1.0 }).spec();
    let metadata = learner.params_metadata().into_iter().collect();
    let policy = Policy::of_network(learner.params().unwrap(), &metadata, Choice::Sample, &spec).unwrap();
    let input = (policy.structure(), Float::placeholder(DType::F32, [2, 2]));
    let traced = trace(&input, |(params, obs)| {
        let view = View { obs: Features::Plain(obs), mask: None, privileged: None, to_move: None };
        policy.act(&params, policy.begin(2), &view, Key::new(0).split_last(2)).1
    });
    let mut inputs = policy.params().to_vec();
    inputs.push(HostArray::new(&[2, 2], vec![1.0f32, 0.0, 0.0, 1.0]));
    let values = interpret(&traced.graph, &inputs).into_iter().map(|array| array.to_f64());
    let probs = Outputs::new(&traced.output_names, values).take("probs");
    [probs[0], probs[2]]
}

/// A state whose policy lays heads with a probability of 0.95, whoever it is.
fn guessable(mut state: NamedArrays) -> NamedArrays {
    let (_, bias) = state.iter_mut().find(|(name, _)| name == "params.actor.1.bias").unwrap();
    *bias = HostArray::new(&[2], vec![1.5f32, -1.5]);
    state
}

/// Heads of both players, the mean over the last updates, for each agent. They begin with [`guessable`] policies.
fn trained(prize: f64) -> Vec<[f64; 2]> {
    const UPDATES: [usize; 4] = [60, 10, 10, 10];
    let env: Rc<dyn AnyEnv> = Rc::new(Erased::new(MatchingPennies { heads: prize }));
    let start =
        Start { seed: 1, total_updates: 90, max_updates: 60, num_devices: 1, record: Default::default() };
    let agents = (0..AGENTS).map(|_| Ppo::new(settings(), env.clone()).unwrap()).collect();
    let mut group = Agents::new(&plain_client(), agents, &start).unwrap();
    let mut members = group.members();
    for agent in &mut members {
        agent.load_state(&guessable(agent.state().unwrap())).unwrap();
        let before = heads(&**agent);
        assert!(before.iter().all(|p| *p > 0.9), "{before:?}");
    }
    let mut means = vec![[0.0; 2]; AGENTS];
    for updates in UPDATES {
        group.run(updates).unwrap();
        for (mean, agent) in means.iter_mut().zip(&members) {
            let now = heads(&**agent);
            *mean = [0, 1].map(|player| mean[player] + now[player] / UPDATES.len() as f64);
        }
    }
    means
}

/// Requires something of at least six of the eight agents.
#[track_caller]
fn most(agents: &[[f64; 2]], succeeds: impl Fn(&[f64; 2]) -> bool) {
    let count = agents.iter().filter(|agent| succeeds(agent)).count();
    assert!(count + 2 >= AGENTS, "only {count} of {AGENTS} agents: {agents:.3?}");
}

#[test]
fn self_play_finds_the_equilibrium_of_matching_pennies() {
    most(&trained(1.0), |players| players.iter().all(|heads| (heads - 0.5).abs() < 0.15));
}

/// Two heads pay 3, so that heads have a probability of 1/3 in equilibrium. The bonus on entropy draws one player a little above
/// it, to which the other answers below it.
#[test]
fn self_play_finds_an_equilibrium_that_is_no_fair_coin() {
    most(&trained(3.0), |[first, second]| ((first + second) / 2.0 - 1.0 / 3.0).abs() < 0.1 && *second < 0.42);
}

/// What the rollouts of several devices make of the games is what one device makes of all of them; opponents that remember
/// included.
#[test]
fn devices_share_the_games() {
    let env: Rc<dyn AnyEnv> = Rc::new(Erased::new(MatchingPennies { heads: 1.0 }));
    let settings = Settings { rnn: Some(Rnn::Gru), rnn_dim: 8, num_envs: 8, num_steps: 6, ..settings() };
    let games = |num_devices| {
        let start =
            Start { seed: 1, total_updates: 1, max_updates: 1, num_devices, record: Default::default() };
        let ppo = Ppo::new(settings.clone(), env.clone()).unwrap();
        let mut learner = One::new(client(), ppo, &start).unwrap();
        learner.run(1).unwrap();
        let state = learner.state().unwrap();
        state.into_iter().filter(|(name, _)| name.starts_with("envs.")).collect::<NamedArrays>()
    };
    let (one, two) = (games(1), games(2));
    assert!(one.iter().any(|(name, _)| name == "envs.seats.carry.hidden"), "the opponent remembers");
    let agents = one.iter().find(|(name, _)| name == "envs.seats.agent").unwrap().1.to_f64();
    assert!(agents.contains(&0.0) && agents.contains(&1.0), "{agents:?}");
    for ((name, a), (_, b)) in one.iter().zip(&two) {
        assert_eq!(a.shape(), b.shape(), "{name}");
        assert!(a.to_f64().iter().zip(b.to_f64()).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
    }
}
