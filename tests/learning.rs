//! What the algorithms must learn. One run hangs on the rounding of the processor, so what is required here is said of
//! many: agents with seeds of their own, trained in one program.

use lockstep::algorithms::learner::Start;
use lockstep::algorithms::{Agent, metrics};
use lockstep::config::Catalog;
use lockstep::envs::{Entry, registry};

use crate::common::plain_client;

/// The mean returns of the episodes that ended in the last tenth of the runs of agents by an algorithm's defaults for cartpole, from the
/// worst to the best.
fn final_returns(algorithm: &str, agents: usize, timesteps: u64) -> Vec<f64> {
    let cartpole = registry::find("cartpole").unwrap();
    let mut found = final_means(&cartpole, algorithm, "", metrics::EPISODE_RETURN, agents, timesteps);
    found.sort_by(f64::total_cmp);
    found
}

/// What a mean over episodes is in the last tenth of the runs of agents with the seeds 0, 1, ..., by an algorithm's defaults for an
/// environment, but for some lines of settings.
fn final_means(
    entry: &Entry,
    algorithm: &str,
    lines: &str,
    metric: &str,
    agents: usize,
    timesteps: u64,
) -> Vec<f64> {
    let catalog = Catalog::builtin();
    let algorithm = catalog.algorithm(algorithm).unwrap();
    let defaults = catalog.defaults(entry, &algorithm).unwrap();
    let said = defaults.into_iter().chain(lines.parse::<toml::Table>().unwrap()).collect();
    let settings = (algorithm.complete)(&said).unwrap();
    let env = || entry.build().into();
    let total_updates = timesteps / (algorithm.timesteps_per_update)(&settings, env()).unwrap();
    let updates = total_updates as usize;
    let num_devices = if agents.is_multiple_of(2) { 2 } else { 1 };
    let start =
        Start { seed: 0, total_updates, max_updates: updates, num_devices, record: Default::default() };
    let agent = |seed| Agent::new(settings.clone(), env(), seed);
    let agents: Vec<Agent> = (0..agents as u64).map(agent).collect();
    let mut group = (algorithm.build_group)(&plain_client(), &agents, &start).unwrap();
    let members = group.members();
    let column = |name: &str| metrics::column(members[0].metrics(), name).unwrap();
    let (wanted, episodes) = (column(metric), column(metrics::EPISODES));
    let last_tenth = |rows: &[Vec<f32>]| {
        let last = &rows[updates - updates / 10..];
        let sum: f64 = last.iter().map(|row| f64::from(row[wanted] * row[episodes])).sum();
        sum / last.iter().map(|row| f64::from(row[episodes])).sum::<f64>()
    };
    let rows = group.run(updates).unwrap();
    let found = rows.iter().map(|rows| last_tenth(rows)).collect();
    println!("{}: {found:.3?}", entry.name);
    found
}

/// All 64 agents that were measured ended at 500. If as many as one in 32 did not, four of 16 would be a chance of 1 in 780.
#[test]
fn cartpole_is_solved_by_nearly_all_agents() {
    const AGENTS: usize = 16;
    let found = final_returns("ppo", AGENTS, 500_000);
    let solved = found.iter().filter(|&&mean| mean >= 450.0).count();
    assert!(solved + 3 >= AGENTS, "only {solved} of {AGENTS} agents have 450 in the last tenth: {found:.1?}");
    assert!(found[AGENTS / 2] >= 499.0, "the median agent does not balance to the end: {found:.1?}");
}

/// A fifth of a run of DQN, which is slow, tells whether it learns: random play has 22. With errors counted by their distance, what actions
/// are worth grew to thousands, and six of eight agents had less than 130 here.
#[test]
fn dqn_balances_the_pole_with_nearly_all_agents() {
    const AGENTS: usize = 8;
    let found = final_returns("dqn", AGENTS, 100_000);
    let learned = found.iter().filter(|&&mean| mean >= 180.0).count();
    assert!(
        learned + 1 >= AGENTS,
        "only {learned} of {AGENTS} agents have 180 in the last tenth: {found:.1?}"
    );
}

/// Agents with the seeds 0 to 2 end with this `perf`, of all episodes of the last tenth of so many steps.
#[track_caller]
fn solved(name: &str, options: &[&str], timesteps: u64, perf: f64) {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let entry = registry::find(name).unwrap().with(&options).unwrap();
    let found = final_means(&entry, "ppo", "", "stats/perf", 3, timesteps);
    assert!(found.iter().all(|mean| *mean > perf), "{name} {options:?}: {found:.3?}, not {perf}");
}

/// Each of these small environments tests something that cartpole does not.
#[test]
fn the_sanity_environments_are_solved_in_fifty_thousand_steps() {
    const STEPS: u64 = 50_000;
    solved("bandit", &[], STEPS, 0.9);
    solved("password", &[], STEPS, 0.9);
    solved("memory", &[], STEPS, 0.9);
    // Whoever always takes the same action has 0.9375.
    solved("stochastic", &[], STEPS, 0.99);
    // With 11 rows it takes far more steps.
    solved("squared", &["size=5"], STEPS, 0.9);
    solved("chain_mdp", &[], STEPS, 0.9);
}

/// With everything that is off by default: Muon, cosine rates, V-trace, priorities, values that are updated, clamped rewards.
#[test]
fn pufferlib_s_preset_solves_memory() {
    let presets = Catalog::builtin().algorithm("ppo").unwrap().presets;
    let preset = presets
        .iter()
        .find(|(name, _)| *name == "puffer")
        .unwrap()
        .1
        .replace("num_steps = 64", "num_steps = 16");
    let entry = registry::find("memory").unwrap();
    let found = final_means(&entry, "ppo", &preset, "stats/perf", 3, 50_000);
    assert!(found.iter().all(|mean| *mean > 0.9), "{found:.3?}");
}
