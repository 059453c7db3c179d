//! What a run leaves: its files, and what its logs say.

use super::*;

#[test]
fn a_run_leaves_all_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = run(&Settings { save_interval: Some(20), ..settings(dir.path(), 47) }, Fake::new());
    assert_eq!((outcome.state, outcome.update, outcome.timesteps), (status::State::Completed, 47, 4700));
    let mut names: Vec<_> = fs::read_dir(&outcome.directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "checkpoint_20.ckpt",
            "checkpoint_40.ckpt",
            "checkpoint_47.ckpt",
            "config.toml",
            "curves.jsonl",
            "final_params.safetensors",
            "meta.json",
            "metrics.jsonl",
            "params_20.safetensors",
            "params_40.safetensors",
            "params_47.safetensors",
            "status.json",
            "summary.json",
            "tensorboard",
            "updates.csv",
            "warnings.jsonl",
        ]
    );
    let status = status::Status::read(&outcome.directory).unwrap();
    assert_eq!((status.state, status.update, status.total_timesteps), (status::State::Completed, 47, 4700));
    assert_eq!(status.episodes, outcome.episodes);
    assert_eq!(outcome.episodes, (1..=47).map(|i| i % 3).sum::<u64>());
    let (params, metadata) = load_params(&outcome.final_params.unwrap()).unwrap();
    assert_eq!(params[0].0, "params.weight");
    assert_eq!((metadata["env"].as_str(), metadata["update"].as_str()), ("fake", "47"));
}

#[test]
fn rows_are_means_over_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let rows = metrics(&uninterrupted(dir.path()));
    let updates: Vec<_> = rows.iter().map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, [10, 20, 30, 40, 47]);
    let mut learner = Fake::new();
    let by_hand: Vec<_> = (0..10).map(|_| learner.update()).collect();
    let entropy = by_hand.iter().map(|row| f64::from(row[1])).sum::<f64>() / 10.0;
    assert_eq!(rows[0]["train/entropy"].as_f64().unwrap() as f32, entropy as f32);
    assert_eq!(rows[0]["stats/highest_stage"], 6.0);
    assert_eq!(rows[0]["timesteps"], 1000);
}

#[test]
fn chunks_leave_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    for max_updates in [1, 3, 7] {
        let settings = Settings { save_interval: Some(6), ..settings(&dir.path().join("chunks"), 47) };
        let settings = Settings { run_name: Some(format!("max-{max_updates}")), ..settings };
        assert_same_run(&whole, &run(&settings, Fake::with_max_updates(max_updates)).directory);
    }
}

/// What TensorBoard itself reads from the event files of a run: tag -> [(step, value)].
const READ_EVENTS: &str = "
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1])
events.Reload()
print(json.dumps({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()['scalars']}))
";

#[test]
fn tensorboard_reads_the_event_files_of_a_resumed_run() {
    let dir = tempfile::tempdir().unwrap();
    let saving = Settings { save_interval: Some(12), ..settings(dir.path(), 47) };
    let first = run(&saving, Fake::new());
    let older = first.directory.join("checkpoint_24.ckpt");
    let second = resume(&settings(dir.path(), 47), &older, Fake::new()).unwrap();
    let Some(mut python) = python_with("tensorboard") else { return };
    let directory = second.directory.join("tensorboard");
    let output = python.args(["-c", READ_EVENTS]).arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let events: Value = serde_json::from_slice(&output.stdout).unwrap();
    for tag in ["train/entropy", "stats/highest_stage"] {
        let points: Vec<_> = metrics(&second.directory)
            .iter()
            .map(|row| (row["timesteps"].as_u64().unwrap(), row[tag].as_f64().unwrap() as f32))
            .collect();
        let read: Vec<_> = events[tag]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap() as f32))
            .collect();
        assert_eq!(read, points, "{tag}");
    }
    assert_eq!(events["time/steps_per_second"].as_array().unwrap().len(), 5);
}

#[test]
fn the_summary_says_what_the_run_came_to() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = run(&settings(dir.path(), 47), Fake::new());
    let text = fs::read_to_string(outcome.directory.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let best = metrics(&outcome.directory)
        .iter()
        .map(|row| row["train/mean_episode_return"].as_f64().unwrap())
        .fold(f64::NEG_INFINITY, f64::max);
    assert_eq!(summary["best_efficiency"], best);
    assert_eq!((&summary["run_id"], &summary["mode"]), (&"run".into(), &"fake".into()));
    assert_eq!(
        (&summary["total_updates"], &summary["total_episodes"]),
        (&47.into(), &outcome.episodes.into())
    );
    assert_eq!(summary["hyperparameters"]["env"], "fake");
    assert_eq!(summary["log_files"]["updates"], "updates.csv");
}
