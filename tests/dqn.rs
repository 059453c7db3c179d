//! DQN as a learner: it goes on where it was, and learns.

use std::path::Path;
use std::rc::Rc;

use lockstep::algorithms::learner::Start;
use lockstep::algorithms::{Learner, NamedArrays, dqn, metrics, registry};
use lockstep::envs::registry as envs;
use lockstep::lang::Backend;
use toml::Table;

use crate::common::plain_client;

/// A learner on that environment with these settings besides the defaults.
fn learner(env: &str, settings: &str, seed: u64, max_updates: usize) -> Box<dyn Learner> {
    let entry = registry::Registry::from_iter(registry::builtin()).find("dqn").unwrap();
    let table = (entry.complete)(&settings.parse::<Table>().unwrap()).unwrap();
    (entry.check)(&table).unwrap();
    (entry.check_sizes)(&table).unwrap();
    let env = Rc::from((envs::find(env).unwrap().make)());
    let start = Start { seed, total_updates: 1000, max_updates, num_devices: 1 };
    (entry.build)(&plain_client(), &table, env, &start).unwrap()
}

/// Everything that there is to learn with at once.
const ALL: &str = "num_envs = 4\nnum_steps = 16\nbatch_size = 8\nreplay_size = 103\nhidden_dim = 16\nprioritized = true\n\
                   n_step = 3\ntwin_q = true\ndueling = true\ndueling_dim = 8\ntarget_update_freq = 24\nsoft_update = true\n\
                   updates_per_step = 2\nlr_decay_interval = 40\nepsilon_every = \"episode\"\n";
const PLAIN: &str = "num_envs = 1\nnum_steps = 16\nbatch_size = 8\nreplay_size = 40\nhidden_dim = 16\n";

#[test]
fn a_run_that_is_taken_up_again_goes_on_bit_for_bit() {
    for settings in [ALL, PLAIN] {
        let mut whole = learner("cartpole", settings, 5, 8);
        let rows = whole.run(8).unwrap();
        let mut first = learner("cartpole", settings, 5, 8);
        assert_eq!(first.run(3).unwrap(), rows[..3]);
        let saved: NamedArrays = first.state().unwrap();
        let mut second = learner("cartpole", settings, 99, 8);
        second.load_state(&saved).unwrap();
        assert_eq!(second.run(5).unwrap(), rows[3..]);
        assert_eq!(second.state().unwrap(), whole.state().unwrap());
    }
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
    let open = || Ok(Backend::from(&plain_client()));
    let replay = dqn::golden::open(Path::new(file), &open).unwrap().unwrap();
    let mut told = Vec::new();
    replay(1, &mut told).unwrap();
    let told = String::from_utf8(told).unwrap();
    assert!(told.ends_with(" passed, 0 failed\n") && told.lines().count() == 1, "{told}");
}
