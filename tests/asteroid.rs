//! The asteroid prospector against the traces of the reference.

use std::path::Path;

use lockstep::array::{DType, HostArray};
use lockstep::envs::Env;
use lockstep::envs::asteroid::golden::open;
use lockstep::envs::asteroid::{Asteroid, State};
use lockstep::lang::{
    Backend, Bool, Float, HostFunction, Int, Key, boolean, float, select_tree, stack, vmap_last, while_loop,
};

use crate::common::client;

#[test]
fn the_compiled_game_replays_the_traces() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec/asteroid/golden.json.gz");
    let mut out = Vec::new();
    let replay = open(&file, &|| Ok(Backend::from(client()))).unwrap();
    let failed = replay(1, &mut out).unwrap();
    let report = String::from_utf8(out).unwrap();
    assert_eq!(failed, 0, "{report}");
    // The generator; five first states, five last worlds and three new ones in between; 441 steps.
    assert_eq!(report, "455 passed, 0 failed\n");
}

/// A scripted player's means over 100 episodes, in the reference: return, survival, steps, ticks, net profit, meetings with pirates.
const PLAYERS: [(&str, [f64; 6]); 3] = [
    ("greedy_miner", [-108.4, 0.0, 59.0, 98.0, 183.0, 15.1]),
    ("cautious_scanner", [-88.2, 0.0, 65.0, 131.0, -76.0, 19.9]),
    ("market_timer", [-112.6, 0.0, 55.0, 60.0, 15.0, 11.6]),
];
const NUMBERS: [&str; 6] = ["return", "survival", "steps", "ticks", "net profit", "pirates"];
/// Half of the last digit of each.
const ROUNDING: [f64; 6] = [0.05, 0.005, 0.5, 0.5, 0.5, 0.05];
const EPISODES: usize = 100;
const FIRST_SEED: u64 = 7;

/// An episode in progress.
#[derive(Clone)]
struct Episode {
    state: State,
    player: Int,
    playing: Bool,
    /// As in [`NUMBERS`].
    numbers: [Float; 6],
}
lockstep::tree!(Episode { state, player, playing, numbers });

#[test]
fn the_scripted_players_fare_as_in_the_reference() {
    let game = Asteroid::default();
    let names: Vec<&str> = game.players().iter().map(|player| player.name).collect();
    assert_eq!(names, PLAYERS.map(|(name, _)| name));
    let seeds: Vec<u64> = (0..PLAYERS.len() * EPISODES).map(|i| FIRST_SEED + (i % EPISODES) as u64).collect();
    let players: Vec<i32> = (0..seeds.len()).map(|i| (i / EPISODES) as i32).collect();
    let backend = Backend::from(client());
    let asked = (Int::placeholder(DType::U64, [seeds.len()]), Int::placeholder(DType::I32, [players.len()]));
    let play = HostFunction::new(&backend, "players", &asked, |asked| {
        let params = game.default_params();
        let first = vmap_last(asked, |(seed, player)| Episode {
            state: game.begin(&params, seed),
            player,
            playing: boolean(true),
            numbers: [0.0; 6].map(float),
        });
        let step = |episode: Episode| {
            let Episode { state, player, playing, numbers } = episode;
            let seen = game.observe(&params, &state).actor;
            let actions: Vec<Int> =
                game.players().iter().map(|player| (player.act)(seen, Key::new(0))).collect();
            let step = game.step(&params, Key::new(0), state, stack(actions).at(player).get());
            let told = |name: &str| {
                let metrics = game.spec().metrics;
                step.metrics[metrics.iter().position(|metric| metric.name == name).unwrap()]
            };
            let [sum, _, steps, ticks, ..] = numbers;
            let after = [
                sum + step.reward,
                told("stats/survival"),
                steps + 1.0,
                ticks + told("stats/ticks"),
                told("stats/net_profit"),
                told("stats/pirate_encounters"),
            ];
            Episode {
                state: select_tree(playing, step.state, state),
                player,
                playing: playing & !step.terminated & !step.truncated.unwrap(),
                numbers: select_tree(playing, after, numbers),
            }
        };
        while_loop(first, |episodes| episodes.playing.any_all(), |episodes| vmap_last(episodes, step)).numbers
    })
    .unwrap();
    let size = seeds.len();
    let told = play.call(&[HostArray::new(&[size], seeds), HostArray::new(&[size], players)]).unwrap();
    let told: Vec<Vec<f64>> = told.into_named().into_iter().map(|(_, value)| value.to_f64()).collect();
    for (player, (name, known)) in PLAYERS.iter().enumerate() {
        for (number, known) in known.iter().enumerate() {
            let values = &told[number][player * EPISODES..][..EPISODES];
            let mean = values.iter().sum::<f64>() / EPISODES as f64;
            let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (EPISODES - 1) as f64;
            let limit = 4.0 * (variance / EPISODES as f64).sqrt() + ROUNDING[number];
            let what = NUMBERS[number];
            assert!(
                (mean - known).abs() <= limit,
                "{name}: {what} {mean:.3}, known {known}, limit {limit:.3}"
            );
        }
    }
}
