//! What the algorithms must learn, with fixed seeds.

use lockstep::algorithms::Learner;
use lockstep::algorithms::ppo::{PpoLearner, Start};
use lockstep::config::ppo_defaults;
use lockstep::envs::registry;

use crate::common::client;

const TIMESTEPS: usize = 500_000;

/// The mean return of the episodes that ended in the last tenth of the run.
fn final_return(seed: u64) -> f64 {
    let entry = registry::find("cartpole").unwrap();
    let settings = ppo_defaults(entry.defaults).unwrap();
    let updates = TIMESTEPS / settings.batch_size();
    let start = Start {
        settings: &settings,
        env: &*(entry.make)(),
        seed,
        total_updates: updates as u64,
        max_updates: 1000,
        num_devices: 1,
    };
    let mut learner = PpoLearner::new(client(), &start).unwrap();
    let rows = learner.run(updates).unwrap();
    let column = |name: &str| learner.metric_names().iter().position(|other| other == name).unwrap();
    let (returns, episodes) = (column("mean_episode_return"), column("num_episodes"));
    let last = &rows[updates - updates / 10..];
    let sum: f64 = last.iter().map(|row| f64::from(row[returns] * row[episodes])).sum();
    sum / last.iter().map(|row| f64::from(row[episodes])).sum::<f64>()
}

#[test]
fn cartpole_is_solved_on_every_seed() {
    for seed in 0..5 {
        let found = final_return(seed);
        println!("seed {seed}: {found:.1}");
        assert!(found >= 450.0, "seed {seed}: a mean return of {found:.1} in the last tenth");
    }
}
