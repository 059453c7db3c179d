//! What the algorithms must learn. One run hangs on the rounding of the processor, so what is required here is said of
//! many: agents with seeds of their own, trained in one program.

use lockstep::algorithms::learner::{Group as Agents, Start};
use lockstep::algorithms::ppo::{Ppo, Settings};
use lockstep::algorithms::{Group, metrics};
use lockstep::config::Catalog;
use lockstep::envs::registry;

use crate::common::plain_client;

const TIMESTEPS: usize = 500_000;
const AGENTS: usize = 16;

/// The mean returns of the episodes that ended in the last tenth of each agent's run, from the worst to the best.
fn final_returns(first_seed: u64) -> Vec<f64> {
    let entry = registry::find("cartpole").unwrap();
    let catalog = Catalog::builtin();
    let settings = catalog.defaults(&entry, &catalog.algorithm("ppo").unwrap()).unwrap();
    let settings: Settings = settings.try_into().unwrap();
    let updates = TIMESTEPS / settings.batch_size();
    let start =
        Start { seed: first_seed, total_updates: updates as u64, max_updates: updates, num_devices: 2 };
    let agent = || Ppo::new(settings.clone(), (entry.make)().into()).unwrap();
    let agents = (0..AGENTS).map(|_| agent()).collect();
    let mut group = Agents::new(&plain_client(), agents, &start).unwrap();
    let members = group.members();
    let column = |name: &str| metrics::column(members[0].metrics(), name).unwrap();
    let (returns, episodes) = (column(metrics::EPISODE_RETURN), column(metrics::EPISODES));
    let last_tenth = |rows: &[Vec<f32>]| {
        let last = &rows[updates - updates / 10..];
        let sum: f64 = last.iter().map(|row| f64::from(row[returns] * row[episodes])).sum();
        sum / last.iter().map(|row| f64::from(row[episodes])).sum::<f64>()
    };
    let rows = group.run(updates).unwrap();
    let mut found: Vec<f64> = rows.iter().map(|rows| last_tenth(rows)).collect();
    found.sort_by(f64::total_cmp);
    found
}

/// All 64 agents that were measured ended at 500. If as many as one in 32 did not, four of 16 would be a chance of 1 in 780.
#[test]
fn cartpole_is_solved_by_nearly_all_agents() {
    let found = final_returns(0);
    println!("{found:.1?}");
    let solved = found.iter().filter(|&&mean| mean >= 450.0).count();
    assert!(solved + 3 >= AGENTS, "only {solved} of {AGENTS} agents have 450 in the last tenth: {found:.1?}");
    assert!(found[AGENTS / 2] >= 499.0, "the median agent does not balance to the end: {found:.1?}");
}
