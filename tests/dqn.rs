//! DQN as a learner: it goes on where it was, and learns.

use std::path::Path;
use std::rc::Rc;

use lockstep::algorithms::learner::Start;
use lockstep::algorithms::{Agent, Learner, NamedArrays, dqn, metrics, registry};
use lockstep::envs::registry as envs;
use lockstep::lang::Backend;
use toml::Table;

use crate::common::{client, plain_client};

/// A learner on that environment with these settings besides the defaults.
fn learner(env: &str, settings: &str, seed: u64, max_updates: usize) -> Box<dyn Learner> {
    learner_of("dqn", env, settings, seed, max_updates)
}

fn learner_of(algo: &str, env: &str, settings: &str, seed: u64, max_updates: usize) -> Box<dyn Learner> {
    let entry = registry::Registry::from_iter(registry::builtin()).find(algo).unwrap();
    let table = (entry.complete)(&settings.parse::<Table>().unwrap()).unwrap();
    (entry.check)(&table).unwrap();
    (entry.check_sizes)(&table).unwrap();
    let env = Rc::from(envs::find(env).unwrap().build());
    let start = Start { seed, total_updates: 1000, max_updates, num_devices: 1, record: Default::default() };
    (entry.build)(&plain_client(), &Agent::new(table, env, seed), &start).unwrap()
}

/// Everything that there is to learn with at once.
const ALL: &str = "num_envs = 4\nnum_steps = 16\nbatch_size = 8\nreplay_size = 103\nhidden_dim = 16\nprioritized = true\n\
                   n_step = 3\ntwin_q = true\ndueling = true\ndueling_dim = 8\ntarget_update_freq = 24\nsoft_update = true\n\
                   updates_per_step = 2\nlr_decay_interval = 40\nepsilon_every = \"episode\"\n";
const PLAIN: &str = "num_envs = 1\nnum_steps = 16\nbatch_size = 8\nreplay_size = 40\nhidden_dim = 16\n";

/// Against a pool whose two places change hands often.
const POOL: &str = "num_envs = 8\nnum_steps = 8\nbatch_size = 8\nreplay_size = 800\nhidden_dim = 16\nopponent = \"pool\"\n\
                    max_frozen_agents = 2\nfreeze_every = 100\npast_self_fraction = 0.6\n";

#[test]
fn a_run_that_is_taken_up_again_goes_on_bit_for_bit() {
    for (env, settings) in [("cartpole", ALL), ("cartpole", PLAIN), ("connect4", POOL)] {
        let mut whole = learner(env, settings, 5, 8);
        let rows = whole.run(8).unwrap();
        let mut first = learner(env, settings, 5, 8);
        assert_eq!(first.run(3).unwrap(), rows[..3]);
        let saved: NamedArrays = first.state().unwrap();
        let mut second = learner(env, settings, 99, 8);
        second.load_state(&saved).unwrap();
        assert_eq!(second.run(5).unwrap(), rows[3..]);
        assert_eq!(second.state().unwrap(), whole.state().unwrap());
    }
}

#[test]
fn ppo_against_a_pool_goes_on_bit_for_bit() {
    const SETTINGS: &str = "num_envs = 8\nnum_steps = 16\nhidden_dim = 16\nopponent = \"pool\"\nmax_frozen_agents = 2\n\
                            freeze_every = 200\npast_self_fraction = 0.6\n";
    let build = |seed| learner_of("ppo", "connect4", SETTINGS, seed, 12);
    let mut whole = build(5);
    let rows = whole.run(12).unwrap();
    let mut first = build(5);
    assert_eq!(first.run(5).unwrap(), rows[..5]);
    let mut second = build(99);
    second.load_state(&first.state().unwrap()).unwrap();
    assert_eq!(second.run(7).unwrap(), rows[5..]);
    let state = second.state().unwrap();
    assert_eq!(state, whole.state().unwrap());
    // The frozen agents of the first part were met in the second one.
    let value = |row: &Vec<f32>, what: &str| {
        metrics::value(second.metrics(), row, &format!("opponents/frozen/{what}")).unwrap()
    };
    let met: f64 =
        rows[5..].iter().flat_map(|row| ["wins", "draws", "losses"].map(|what| value(row, what))).sum();
    assert!(met > 0.0);
    let since = state.iter().find(|(name, _)| name == "standing.frozen.since").unwrap().1.to_f64();
    assert!(since.iter().all(|&since| since > 0.0), "{since:?}");
}

#[test]
fn frozen_agents_are_met_and_their_games_are_counted() {
    let mut learner = learner("connect4", POOL, 3, 40);
    let rows = learner.run(40).unwrap();
    let sum = |name: &str| -> f64 {
        rows.iter().map(|row| metrics::value(learner.metrics(), row, name).unwrap()).sum()
    };
    let games = |name: &str| -> f64 {
        ["wins", "draws", "losses"].iter().map(|what| sum(&format!("opponents/{name}/{what}"))).sum()
    };
    let names = ["random", "heuristic", "smart_heuristic", "self", "frozen"].map(games);
    assert!(names.iter().all(|&games| games > 0.0), "{names:?}");
    // Not the whole share of 0.6: where a place changes hands, the game goes on against the agent itself.
    assert!(names[4] > 0.25 * names.iter().sum::<f64>(), "{names:?}");
    let episodes = sum(metrics::EPISODES);
    assert_eq!(names.iter().sum::<f64>(), episodes);
    let state = learner.state().unwrap();
    let array = |name: &str| state.iter().find(|(known, _)| known == name).unwrap().1.to_f64();
    assert_eq!(array("standing.episodes"), [episodes]);
    // The last of the 2,560 steps passed a multiple of 100, so one place was taken then.
    let since = array("standing.frozen.since");
    assert!(since.contains(&2560.0) && since.iter().all(|&since| since > 0.0), "{since:?}");
}

/// After 20,000 moves, each agent wins far more often than the half of the games that random play wins.
#[test]
fn a_random_player_is_beaten() {
    const SETTINGS: &str = "num_envs = 32\nnum_steps = 16\nbatch_size = 64\nreplay_size = 16384\nlearning_starts = 1000\n\
                            hidden_dim = 64\nupdates_per_step = 2\ntarget_update_freq = 1000\nepsilon_decay = 0.9995\n\
                            epsilon_min = 0.05\nopponent = \"random\"\n";
    let mut learner = learner("connect4", SETTINGS, 1, 40);
    let rows = learner.run(40).unwrap();
    let rate = |rows: &[Vec<f32>]| {
        let value = |row: &Vec<f32>, name: &str| metrics::value(learner.metrics(), row, name).unwrap_or(0.0);
        let wins: f64 = rows.iter().map(|row| value(row, "opponents/random/wins")).sum();
        wins / rows.iter().map(|row| value(row, metrics::EPISODES)).sum::<f64>()
    };
    let (first, last) = (rate(&rows[..2]), rate(&rows[32..]));
    println!("{first:.3} {last:.3}");
    assert!((0.35..0.65).contains(&first), "{first} of the first games are won");
    assert!(last > 0.75, "only {last} of the last games are won");
}

#[test]
fn steps_are_counted_as_the_specification_says() {
    let mut learner = learner("cartpole", PLAIN, 1, 8);
    let rows = learner.run(8).unwrap();
    let column = |name: &str| -> Vec<f64> {
        rows.iter().map(|row| metrics::value(learner.metrics(), row, name).unwrap()).collect()
    };
    // 16 steps each; from the eighth one on, when there are 8 transitions, a gradient step after each.
    assert_eq!(column("train/num_timesteps"), [16.0; 8]);
    assert_eq!(column("train/gradient_steps"), [9.0, 16.0, 16.0, 16.0, 16.0, 16.0, 16.0, 16.0]);
    assert_eq!(column("replay/size"), [16.0, 32.0, 40.0, 40.0, 40.0, 40.0, 40.0, 40.0]);
    // After step 100.
    assert_eq!(column("train/target_updates"), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    let epsilon: Vec<f64> = (1..=8).map(|update| 0.995f64.powi(16 * update)).collect();
    assert!(column("train/epsilon").iter().zip(&epsilon).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn its_arithmetic_is_that_of_the_golden_data() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/connect4/dqn.json.gz");
    for client in [&plain_client(), client()] {
        let open = || Ok(Backend::from(client));
        let replay = dqn::golden::open(Path::new(file), &open).unwrap().unwrap();
        let mut told = Vec::new();
        replay(1, &mut told).unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), "107 passed, 0 failed\n");
    }
}
