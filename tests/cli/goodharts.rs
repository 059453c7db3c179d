//! The command line of the goodharts pipeline, and the files that its readers expect.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use lockstep::trainer::load_params;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Done, finish, lockstep};

const MODES: [&str; 4] = ["ground_truth", "ground_truth_blinded", "proxy_mortal", "proxy"];

/// Trains a small network in a directory.
fn train(directory: &Path, flags: &str) -> Done {
    let sizes = "train --env goodharts -e 2 --conv 2 --hidden-dim 8 --device cpu --no-wandb";
    let words: Vec<&str> = sizes.split_whitespace().chain(flags.split_whitespace()).collect();
    finish(lockstep(&words).current_dir(directory))
}

/// All modes, trained together.
fn trained() -> &'static Path {
    static RUN: OnceLock<TempDir> = OnceLock::new();
    let directory = RUN.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        train(directory.path(), "-m all -u 2").stdout();
        directory
    });
    directory.path()
}

/// The one file in `logs/` that is named after a mode and a time and ends so.
fn log(directory: &Path, mode: &str, end: &str) -> String {
    let names = fs::read_dir(directory.join("logs")).unwrap().map(|file| file.unwrap().file_name());
    let is_meant = |name: &String| {
        let time = name.strip_prefix(mode).and_then(|rest| rest.strip_suffix(end));
        time.is_some_and(|time| time.len() == "_20260105_101500".len())
    };
    let found: Vec<String> = names.map(|name| name.into_string().unwrap()).filter(is_meant).collect();
    assert_eq!(found.len(), 1, "{mode}{end}: {found:?}");
    fs::read_to_string(directory.join("logs").join(&found[0])).unwrap()
}

/// The lines of a table by column; a cell in quotes is one.
fn table(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let cells = |line: &str| -> Vec<String> {
        let quoted: Vec<&str> = line.split('"').collect();
        match quoted[..] {
            [before, list, after] => {
                let before = before.trim_end_matches(',').split(',').map(String::from);
                let after = after.trim_start_matches(',').split(',').map(String::from);
                before.chain([list.to_owned()]).chain(after).collect()
            }
            _ => panic!("no list of action_probs in {line}"),
        }
    };
    let row = |line: &str| {
        let cells = cells(line);
        assert_eq!(cells.len(), names.len(), "{line}");
        names.iter().map(|name| (*name).to_owned()).zip(cells).collect()
    };
    lines.map(row).collect()
}

fn number(row: &BTreeMap<String, String>, name: &str) -> f64 {
    row[name].parse().unwrap_or_else(|_| panic!("{name} is {}", row[name]))
}

#[test]
fn all_modes_are_trained_together_with_their_logs_and_models() {
    let directory = trained();
    for mode in MODES {
        let rows = table(&log(directory, mode, "_updates.csv"));
        assert_eq!(rows.len(), 2, "{mode}");
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(number(row, "update_num"), (i + 1) as f64);
            assert_eq!(number(row, "total_steps"), (256 * (i + 1)) as f64);
            let actions: Vec<f64> = serde_json::from_str(&row["action_probs"]).unwrap();
            assert!(actions.len() == 8 && (actions.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{actions:?}");
            assert!((0.0..=8f64.ln() + 1e-5).contains(&number(row, "entropy")));
            assert!((0.0..=1.0).contains(&number(row, "food_ratio")));
        }
        // The immortal ones live 512 steps, so no life ends in 256; the others starve after 101 at the latest if they find nothing.
        let lives: f64 = rows.iter().map(|row| number(row, "episodes_count")).sum();
        assert_eq!(lives == 0.0, mode == "proxy", "{mode}: {lives}");
        let summary: Value = serde_json::from_str(&log(directory, mode, "_summary.json")).unwrap();
        assert_eq!((&summary["mode"], &summary["total_updates"]), (&json!(mode), &json!(2)));
        assert_eq!(summary["hyperparameters"]["n_envs"], 2);
        assert_eq!(summary["final_model_path"], format!("models/ppo_{mode}.safetensors"));

        let model = directory.join(format!("models/ppo_{mode}.safetensors"));
        let (_, metadata) = load_params(&model).unwrap();
        let says = |key: &str| metadata.get(key).map(String::as_str);
        assert_eq!((says("mode"), says("seed")), (Some(mode), Some("42")));
        assert_eq!((says("training_steps"), says("brain_type")), (Some("512"), Some("base_cnn")));
        let option = format!("{mode}=true");
        assert_eq!(says("env_set"), (mode != "ground_truth").then_some(option.as_str()));
        let architecture: Value = serde_json::from_str(says("architecture").unwrap()).unwrap();
        assert_eq!(architecture["input_channels"], 2);
    }
}

#[test]
fn modes_one_after_the_other_learn_the_same_and_older_logs_are_moved() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("logs")).unwrap();
    fs::write(directory.path().join("logs/proxy_20200101_000000_updates.csv"), "old").unwrap();
    train(directory.path(), "-m proxy_mortal,proxy --sequential -u 2").stdout();
    assert!(directory.path().join("logs/previous/proxy_20200101_000000_updates.csv").exists());
    for mode in ["proxy_mortal", "proxy"] {
        let [alone, together] =
            [directory.path(), trained()].map(|directory| table(&log(directory, mode, "_updates.csv")));
        for (alone, together) in alone.iter().zip(&together) {
            for column in ["episodes_count", "reward_mean", "entropy", "value_loss", "food_ratio"] {
                let (a, b) = (number(alone, column), number(together, column));
                assert!((a - b).abs() <= 1e-3 * b.abs().max(1.0), "{mode}, {column}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_benchmark_saves_nothing() {
    let directory = TempDir::new().unwrap();
    let told = train(directory.path(), "-m proxy -u 2 -b --json").stdout();
    let result: Value = serde_json::from_str(told.trim()).unwrap();
    assert_eq!((&result["mode"], &result["total_steps"]), (&json!("proxy"), &json!(512)));
    assert!(result["model_path"].is_null());
    assert!(result["throughput"].as_f64().unwrap() > 0.0);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn what_makes_no_sense_is_named() {
    let directory = TempDir::new().unwrap();
    let fails = |flags: &str, parts: &[&str]| train(directory.path(), flags).fails_in_one_line(2, parts);
    fails("-m honest", &["there is no mode \"honest\"; there are ground_truth, ground_truth_handhold,"]);
    fails("-m proxy,proxy", &["--mode has proxy twice"]);
    fails("-u 0", &["--updates is 0; it must be at least 1"]);
    fails("--entropy=-1", &["--entropy is -1"]);
    fails("--random-seed --seed 3", &["--random-seed draws a seed, and --seed says one"]);
    fails("--num-envs 4", &["--num-envs contradicts num_envs = 2"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}
