//! The traced HackMatrix against the golden transitions.

mod differential;
mod protocol;
mod speed;
mod statistics;

use std::path::Path;

use lockstep::envs::hackmatrix::host::golden::{Player, Record, read_file, verify};
use lockstep::envs::hackmatrix::{CompiledPlayer, HackMatrix};
use lockstep::lang::Backend;
use lockstep::runtime::{Client, plugin};

fn golden() -> Vec<Record> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");
    read_file(Path::new(file)).unwrap()
}

#[test]
fn the_compiled_game_passes_all_golden_records() {
    let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
    let mut player = CompiledPlayer::new(1024, &Backend::from(&client)).unwrap();
    let mut out = Vec::new();
    let report = verify(&golden(), &mut player, 20, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(report.failed, 0, "{text}");
    println!("{text}");
}

#[test]
fn the_interpreted_game_passes_a_sample_of_the_golden_records() {
    let records: Vec<Record> = golden().into_iter().step_by(60).collect();
    let mut player = CompiledPlayer::new(records.len(), &Backend::Oracle).unwrap();
    let mut out = Vec::new();
    let report = verify(&records, &mut player, 1, &mut out).unwrap();
    assert_eq!(report.failed, 0, "{}", String::from_utf8(out).unwrap());
}

/// An observation has 33 numbers of the player, of which the first two are row and column in fifths, and 42 of each cell.
fn turned(obs: &[f32]) -> Vec<f32> {
    let [row, col] = [0, 1].map(|i| (5.0 * obs[i]).round() as usize);
    let cell = |place: usize| {
        let begin = 33 + 42 * (6 * ((row + place / 6) % 6) + (col + place % 6) % 6);
        &obs[begin..begin + 42]
    };
    [&obs[..33], &(0..36).map(cell).collect::<Vec<_>>().concat()].concat()
}

#[test]
fn an_egocentric_observation_has_the_same_numbers_from_the_player_on() {
    let records: Vec<Record> = golden().into_iter().step_by(15).collect();
    let games: Vec<_> = records.iter().map(|record| record.before.clone()).collect();
    let env = HackMatrix { egocentric: true };
    let mut player = CompiledPlayer::of(env, games.len(), &Backend::Oracle).unwrap();
    let mut places = std::collections::HashSet::new();
    for (record, (obs, _)) in records.iter().zip(player.observe(&games).unwrap()) {
        assert_eq!(obs, turned(&record.obs), "record {}", record.id);
        places.insert(record.before.player);
    }
    assert!(places.len() > 30, "{}", places.len());
}
