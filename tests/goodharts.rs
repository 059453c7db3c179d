//! The Goodhart grid world against the records of the reference.

use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use lockstep::algorithms::ppo;
use lockstep::envs::goodharts::golden::open;
use lockstep::lang::Backend;
use serde_json::Value;

use crate::common::{client, plain_client};

/// Widths of worlds that are compiled in every run of the tests: the usual one, and one that is smaller than a window. `lockstep verify`
/// takes all.
const WIDTHS: [u64; 2] = [8, 128];

#[test]
fn the_compiled_world_passes_the_golden_records() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec/goodharts/golden.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let is_taken = |line: &&str| {
        let record: Value = serde_json::from_str(line).unwrap();
        record["w"].as_u64().is_none_or(|width| WIDTHS.contains(&width))
    };
    let records: Vec<&str> = text.lines().filter(is_taken).collect();
    let few = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(few.path(), records.join("\n")).unwrap();
    let mut out = Vec::new();
    let replay = open(few.path(), &|| Ok(Backend::from(client()))).unwrap();
    assert_eq!(replay(2, &mut out).unwrap(), 0);
    assert_eq!(String::from_utf8(out).unwrap(), format!("{} passed, 0 failed\n", records.len()));
    assert_eq!(records.len(), 750);
}

#[test]
fn the_arithmetic_of_the_learner_is_that_of_the_golden_data() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec/goodharts/learner.json.gz");
    for client in [&plain_client(), client()] {
        let open = || Ok(Backend::from(client));
        let replay = ppo::golden::open(&file, &open).unwrap().unwrap();
        let mut told = Vec::new();
        replay(1, &mut told).unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), "76 passed, 0 failed\n");
    }
}

/// `lockstep verify` takes all; here it is the environment of the reference itself.
#[test]
fn the_players_fare_as_in_the_reference() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("jax_env_spec/goodharts/stats.json");
    let mut document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let runs = document["runs"].as_array_mut().unwrap();
    runs.retain(|run| run["source"] == "reference environment");
    assert_eq!(runs.len(), 3);
    let few = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(few.path(), document.to_string()).unwrap();
    let mut out = Vec::new();
    let replay = open(few.path(), &|| Ok(Backend::from(client()))).unwrap();
    replay(1, &mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "3 passed, 0 failed\n");
    // They would not if an agent that died went elsewhere.
    document["runs"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .for_each(|run| run["done_agent"] = "relocated".into());
    std::fs::write(few.path(), document.to_string()).unwrap();
    let replay = open(few.path(), &|| Ok(Backend::from(client()))).unwrap();
    assert!(replay(1, &mut Vec::new()).unwrap() > 0);
}
