//! The traced HackMatrix against the golden transitions.

mod differential;
mod protocol;
mod speed;
mod statistics;

use std::path::Path;

use lockstep::envs::hackmatrix::CompiledPlayer;
use lockstep::envs::hackmatrix::host::golden::{Record, read_file, verify};
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
