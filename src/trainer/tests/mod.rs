//! The trainer as a whole, with a learner of plain arithmetic ([`Fake`]).
//!
//! Most tests compare runs with one of 47 updates at a stretch ([`uninterrupted`]): whatever happens to a run on the way, it must
//! leave the same parameters and the same logs.

mod evaluations;
mod failures;
mod fake;
mod files;
mod groups;
mod processes;
mod resuming;
mod saving;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;
use crate::algorithms::Learner;
use fake::Fake;

/// Settings of a run of `updates` updates in `dir`, without saves on the way.
fn settings(dir: &Path, updates: u64) -> Settings {
    Settings {
        env: "fake".into(),
        total_timesteps: updates * 100,
        log_interval: 10,
        save_interval: Some(1_000_000),
        checkpoint_dir: dir.to_path_buf(),
        run_name: Some("run".into()),
        no_wandb: true,
        ..Settings::default()
    }
}

fn run(settings: &Settings, learner: Fake) -> Outcome {
    let mut learner = learner;
    train(settings, "env = \"fake\"\n", &[], &mut learner, None, None).unwrap()
}

fn resume(settings: &Settings, from: &Path, learner: Fake) -> anyhow::Result<Outcome> {
    let mut learner = learner;
    let resumed = Resumed::open(from, &settings.checkpoint_dir)?;
    train(settings, "env = \"fake\"\n", &[], &mut learner, Some(resumed), None)
}

/// The lines of `metrics.jsonl` without what depends on the clock.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let parse = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let object = row.as_object_mut().unwrap();
        assert!(object.remove("time/steps_per_second").unwrap().as_f64().unwrap() > 0.0);
        assert!(object.remove("time/updates_per_second").unwrap().as_f64().unwrap() > 0.0);
        assert!(object.remove("time/wall_seconds").unwrap().as_f64().unwrap() >= 0.0);
        let shares = ["train", "evaluate", "save", "log", "other"]
            .map(|phase| object.remove(&format!("time/{phase}_percent")).unwrap().as_f64().unwrap());
        assert!((shares.iter().sum::<f64>() - 100.0).abs() < 0.5, "{shares:?}");
        row
    };
    text.lines().map(parse).collect()
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap()).to_vec()
}

/// The lines of `updates.csv` without what depends on the clock: the last nine columns.
fn table(run: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(run.join("updates.csv")).unwrap();
    let cells = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
    text.lines().map(cells).map(|mut cells| cells.drain(..cells.len() - 9).collect()).collect()
}

/// The updates of the checkpoints of a run.
fn saved(run: &Path) -> Vec<u64> {
    run_dir::checkpoints(run).unwrap().into_iter().map(|(update, _)| update).collect()
}

/// Asserts that two finished runs left the same parameters and metrics.
fn assert_same_run(a: &Path, b: &Path) {
    assert_eq!(metrics(a), metrics(b));
    assert_eq!(table(a), table(b));
    let updates = |row: &Vec<String>| row[0].parse().unwrap();
    let tabled: Vec<u64> = table(a).iter().skip(1).map(updates).collect();
    let logged: Vec<u64> = metrics(a).iter().map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(tabled, logged);
    assert_eq!(hash(&a.join("final_params.safetensors")), hash(&b.join("final_params.safetensors")));
}

/// The run that others are compared with: 47 updates at a stretch.
fn uninterrupted(dir: &Path) -> PathBuf {
    run(&settings(&dir.join("whole"), 47), Fake::new()).directory
}

/// A Python that has the given module, or a line that says what is skipped. `LOCKSTEP_TEST_PYTHON` names another one
/// than `python3`.
pub fn python_with(module: &str) -> Option<Command> {
    let python = std::env::var("LOCKSTEP_TEST_PYTHON").unwrap_or("python3".into());
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(python));
    }
    let why = format!("{python} has no module {module}; name one that has it in LOCKSTEP_TEST_PYTHON");
    eprintln!("skipped: {why}");
    // `scripts/test.sh` counts the lines of this file.
    if let Some(path) = std::env::var_os("LOCKSTEP_SKIPPED") {
        let mut file = fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{why}\n").as_bytes()).unwrap();
    }
    None
}
