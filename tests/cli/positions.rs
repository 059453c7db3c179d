//! Moves in positions whose results are known: `eval --positions`.

use std::fs;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{run, trained_file};

fn solved() -> String {
    format!("{}/jax_env_spec/connect4/solved.jsonl.gz", env!("CARGO_MANIFEST_DIR"))
}

/// The lines of the file.
fn lines() -> Vec<Value> {
    let mut text = String::new();
    GzDecoder::new(fs::File::open(solved()).unwrap()).read_to_string(&mut text).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn marks(player: &str, file: &str) -> Value {
    let args = ["eval", player, "--env", "connect4", "--positions", file, "--json"];
    serde_json::from_str(&run(&args).stdout()).unwrap()
}

/// What uniformly random columns come to in a set, counted here.
fn of_chance(set: &str) -> [f64; 2] {
    let (mut keeps, mut best, mut positions) = (0.0, 0.0, 0.0);
    for line in lines().iter().filter(|line| line["set"] == set) {
        let values: Vec<i64> = line["columns"].as_array().unwrap().iter().filter_map(Value::as_i64).collect();
        let highest = line["score"].as_i64().unwrap();
        let share = |good: usize| good as f64 / values.len() as f64;
        keeps += share(values.iter().filter(|value| value.signum() == highest.signum()).count());
        best += share(values.iter().filter(|value| **value == highest).count());
        positions += 1.0;
    }
    [keeps / positions, best / positions]
}

#[test]
fn chance_and_a_script_are_measured_in_solved_positions() {
    let random = marks("random", &solved());
    assert_eq!((&random["positions"], &random["unknown"]), (&json!(300), &json!(300)));
    for set in ["L3_R1", "L2_R1", "L2_R2"] {
        let found = &random["sets"][set];
        assert_eq!(found["positions"], 100, "{random}");
        for (key, expected) in ["keeps_class", "best"].into_iter().zip(of_chance(set)) {
            // 64 draws in each of 100 positions.
            let error = (expected * (1.0 - expected) / 6400.0f64).sqrt();
            let share = found[key].as_f64().unwrap();
            assert!((share - expected).abs() < 4.5 * error, "{set} {key}: {share}, not {expected}");
        }
    }
    // Shares of all 1000 positions of each set, by an independent program; here are 100 of them.
    let smart = marks("smart_heuristic", &solved());
    for (set, keeps, best) in [("L3_R1", 0.925, 0.850), ("L2_R1", 0.953, 0.793)] {
        for (key, expected) in [("keeps_class", keeps), ("best", best)] {
            let error = (expected * (1.0f64 - expected) / 100.0).sqrt();
            let share = smart["sets"][set][key].as_f64().unwrap();
            assert!((share - expected).abs() < 4.5 * error, "{set} {key}: {share}, not {expected}");
        }
    }
    let text = run(&["eval", "heuristic", "--env", "connect4", "--positions", &solved()]).stdout();
    let beginning =
        "connect4, scripted policy, 300 positions\n300 more do not tell the values of their moves\n";
    assert!(text.starts_with(beginning), "{text}");
    assert!(text.lines().count() == 8 && text.lines().last().unwrap().starts_with("all "), "{text}");
}

#[test]
fn files_that_are_no_positions_are_refused_in_one_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("some.jsonl");
    let path = path.to_str().unwrap();
    let with = |text: &str| {
        fs::write(path, text).unwrap();
        run(&["eval", "random", "--env", "connect4", "--positions", path])
    };
    let columns = "\"columns\":[0,0,0,0,0,0,0]";
    with("{\"set\"").fails(1, &["some.jsonl:1: "]);
    with("").fails(1, &["there is nothing in it"]);
    with(r#"{"id":7,"set":"a","moves":"33","score":0,"columns":[1]}"#)
        .fails(1, &["position 7 tells of 1 columns, not 7"]);
    with(r#"{"id":0,"set":"a","moves":"33","score":0}"#)
        .fails(1, &["does not tell of the moves of any position"]);
    for moves in ["01010102", "0000000", "9"] {
        with(&format!(r#"{{"id":0,"set":"a","moves":"{moves}","score":0,{columns}}}"#))
            .fails(1, &["the moves of position 1 are not those of a game that goes on"]);
    }
    with(&format!(r#"{{"id":0,"set":"a","moves":"010101","score":0,{columns}}}"#)).stdout();
    with(&format!(r#"{{"id":0,"set":"a","moves":"","score":0,{columns}}}"#)).stdout();
    let other = [trained_file("final_params.safetensors"), solved()];
    run(&["eval", &other[0], "--positions", &other[1]])
        .fails_in_one_line(2, &["cartpole has no positions whose results are known; leave out --positions"]);
    let both = ["eval", "random", "--env", "connect4", "--positions", path, "--episodes", "3"];
    run(&both).fails_in_one_line(2, &["'--positions <FILE>' cannot be used with '--episodes <N>'"]);
}
