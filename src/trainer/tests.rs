//! The trainer as a whole, with a learner of plain arithmetic.

use std::cell::RefCell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::rc::Rc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};

use super::*;
use crate::algorithms::evaluation::{Episode, Plan};
use crate::algorithms::{Group, Learner, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;

/// A learner whose state is scrambled deterministically in each update.
struct Fake {
    names: Vec<String>,
    weights: Vec<f32>,
    count: u64,
    key: Vec<u32>,
    /// The update that fails to give a number, unless the key has been changed.
    poisoned: u64,
    /// Whether its own metrics do not show it yet.
    late: bool,
    max_updates: usize,
    /// More state, for large checkpoints.
    ballast: Vec<f32>,
    spec: EnvSpec,
    /// Called before each chunk with the number of updates done.
    before_chunk: Box<dyn FnMut(u64)>,
}

impl Fake {
    fn new() -> Self {
        Self {
            names: ["entropy", "num_episodes", "mean_episode_return", "stats/highest_stage"]
                .map(String::from)
                .to_vec(),
            weights: (0..64).map(|i| i as f32 / 7.0).collect(),
            count: 0,
            key: vec![1, 2],
            poisoned: u64::MAX,
            late: false,
            max_updates: 1000,
            ballast: Vec::new(),
            spec: EnvSpec {
                name: "fake",
                obs_shape: vec![1],
                sparse_obs: false,
                num_actions: 2,
                metrics: Vec::new(),
                action_groups: Vec::new(),
            },
            before_chunk: Box::new(|_| {}),
        }
    }

    fn with_max_updates(max_updates: usize) -> Self {
        Self { max_updates, ..Self::new() }
    }

    fn with_ballast() -> Self {
        Self { ballast: vec![0.5; 1 << 16], ..Self::new() }
    }

    fn before_chunk(mut self, hook: impl FnMut(u64) + 'static) -> Self {
        self.before_chunk = Box::new(hook);
        self
    }

    fn update(&mut self) -> Vec<f32> {
        self.count += 1;
        let count = self.count as f32;
        for (i, weight) in self.weights.iter_mut().enumerate() {
            *weight = (*weight * 1.1 + count + i as f32).sin();
        }
        let poisoned = self.count == self.poisoned && self.key == [1, 2];
        let healthy_sum: f32 = self.weights.iter().sum();
        if poisoned {
            self.weights.fill(f32::NAN);
        }
        if poisoned && self.late {
            return vec![healthy_sum / 64.0, 1.0, 0.0, 0.0];
        }
        let sum: f32 = self.weights.iter().sum();
        vec![sum / 64.0, (self.count % 3) as f32, self.weights[0], (self.count % 7) as f32]
    }
}

impl Learner for Fake {
    fn metric_names(&self) -> &[String] {
        &self.names
    }
    fn max_updates(&self) -> usize {
        self.max_updates
    }
    fn timesteps_per_update(&self) -> u64 {
        100
    }
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        (self.before_chunk)(self.count);
        assert!((1..=self.max_updates).contains(&updates));
        Ok((0..updates).map(|_| self.update()).collect())
    }
    fn state(&self) -> anyhow::Result<NamedArrays> {
        let mut state = vec![
            ("params.weight".into(), HostArray::new(&[8, 8], self.weights.clone())),
            ("count".into(), HostArray::scalar(self.count)),
            ("key".into(), HostArray::new(&[2], self.key.clone())),
        ];
        if !self.ballast.is_empty() {
            state.push(("ballast".into(), HostArray::new(&[self.ballast.len()], self.ballast.clone())));
        }
        Ok(state)
    }
    fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()> {
        self.weights = state[0].1.as_slice().to_vec();
        self.count = state[1].1.as_slice()[0];
        self.key = state[2].1.as_slice().to_vec();
        Ok(())
    }
    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.state().unwrap().into_iter().map(|(name, array)| (name, array.array_type())).collect()
    }
    fn params(&self) -> anyhow::Result<NamedArrays> {
        Ok(self.state()?.into_iter().take(1).collect())
    }
    fn params_metadata(&self) -> Vec<(String, String)> {
        vec![("env".into(), "fake".into()), ("hidden_dim".into(), "8".into())]
    }
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }
    /// Returns about the first weight; the length is the number of the episode.
    fn evaluate(&self, plan: &Plan) -> anyhow::Result<Vec<Episode>> {
        let episode = |number: usize| Episode {
            episode_return: f64::from(self.weights[0]) + (plan.seed % 1000 + number as u64) as f64 / 1e6,
            episode_length: (number as u64 + 1).min(plan.max_steps as u64),
            finished: number < plan.max_steps,
            metrics: Vec::new(),
            actions: Vec::new(),
        };
        Ok((0..plan.episodes).map(episode).collect())
    }
}

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
        assert!(object.remove("steps_per_second").unwrap().as_f64().unwrap() > 0.0);
        assert!(object.remove("wall_seconds").unwrap().as_f64().unwrap() >= 0.0);
        row
    };
    text.lines().map(parse).collect()
}

fn hash(path: &Path) -> Vec<u8> {
    Sha256::digest(fs::read(path).unwrap()).to_vec()
}

/// The lines of `updates.csv` without what depends on the clock: the last three columns.
fn table(run: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(run.join("updates.csv")).unwrap();
    let cells = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
    text.lines().map(cells).map(|mut cells| cells.drain(..cells.len() - 3).collect()).collect()
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
fn a_damaged_log_does_not_keep_a_run_from_going_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&Settings { save_interval: Some(20), ..settings(dir.path(), 40) }, Fake::new()).directory;
    fs::write(first.join("metrics.jsonl"), vec![0xff; 4000]).unwrap();
    let outcome = resume(&settings(dir.path(), 47), &first, Fake::new()).unwrap();
    assert_eq!((outcome.state, outcome.update), (status::State::Completed, 47));
}

#[test]
fn rows_are_means_over_the_interval() {
    let dir = tempfile::tempdir().unwrap();
    let rows = metrics(&uninterrupted(dir.path()));
    let updates: Vec<_> = rows.iter().map(|row| row["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, [10, 20, 30, 40, 47]);
    let mut learner = Fake::new();
    let by_hand: Vec<_> = (0..10).map(|_| learner.update()).collect();
    let entropy = by_hand.iter().map(|row| f64::from(row[0])).sum::<f64>() / 10.0;
    assert_eq!(rows[0]["entropy"].as_f64().unwrap() as f32, entropy as f32);
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

/// A Python that has the given module, or a line that says what is skipped. `LOCKSTEP_TEST_PYTHON` names another one
/// than `python3`.
pub(super) fn python_with(module: &str) -> Option<Command> {
    let python = std::env::var("LOCKSTEP_TEST_PYTHON").unwrap_or("python3".into());
    let has = Command::new(&python).args(["-c", &format!("import {module}")]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(Command::new(python));
    }
    eprintln!("skipped: {python} has no module {module}; name one that has it in LOCKSTEP_TEST_PYTHON");
    None
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
    for (tag, name) in [("train/entropy", "entropy"), ("stats/highest_stage", "stats/highest_stage")] {
        let points: Vec<_> = metrics(&second.directory)
            .iter()
            .map(|row| (row["timesteps"].as_u64().unwrap(), row[name].as_f64().unwrap() as f32))
            .collect();
        let read: Vec<_> = events[tag]
            .as_array()
            .unwrap()
            .iter()
            .map(|point| (point[0].as_u64().unwrap(), point[1].as_f64().unwrap() as f32))
            .collect();
        assert_eq!(read, points, "{tag}");
    }
    assert_eq!(events["train/steps_per_second"].as_array().unwrap().len(), 5);
}

#[test]
fn the_summary_says_what_the_run_came_to() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = run(&settings(dir.path(), 47), Fake::new());
    let text = fs::read_to_string(outcome.directory.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let best = metrics(&outcome.directory)
        .iter()
        .map(|row| row["mean_episode_return"].as_f64().unwrap())
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

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    for stop_at in [1, 9, 10, 13, 40, 46] {
        let parent = dir.path().join(format!("stop-{stop_at}"));
        let stop_file = parent.join("run/stop");
        let learner = Fake::with_max_updates(1).before_chunk(move |done| {
            if done + 1 == stop_at {
                fs::write(&stop_file, "").unwrap();
            }
        });
        let first = run(&settings(&parent, 47), learner);
        assert_eq!((first.state, first.update), (status::State::Stopped, stop_at));
        assert!(!first.directory.join("final_params.safetensors").exists());
        let second = resume(&settings(&parent, 47), &first.directory, Fake::new()).unwrap();
        assert_eq!((second.state, second.run.as_str()), (status::State::Completed, "run"));
        assert_same_run(&whole, &second.directory);
    }
}

#[test]
fn a_complete_run_can_be_made_longer() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("grown");
    let short = run(&settings(&parent, 25), Fake::new());
    assert_eq!(metrics(&short.directory).last().unwrap()["update"], 25);
    let long = resume(&settings(&parent, 47), Path::new("run"), Fake::new()).unwrap();
    assert_same_run(&whole, &long.directory);
}

#[test]
fn resuming_a_complete_run_completes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("again");
    let first = run(&settings(&parent, 47), Fake::new());
    fs::remove_file(first.directory.join("final_params.safetensors")).unwrap();
    let second = resume(&settings(&parent, 47), Path::new("latest"), Fake::new()).unwrap();
    assert_same_run(&whole, &second.directory);
}

#[test]
fn resuming_from_an_older_checkpoint_cuts_the_log_and_moves_the_later_files() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("older");
    let saving = Settings { save_interval: Some(12), ..settings(&parent, 47) };
    let first = run(&saving, Fake::new());
    let older = first.directory.join("checkpoint_12.ckpt");
    let second = resume(&settings(&parent, 47), &older, Fake::new()).unwrap();
    assert_same_run(&whole, &second.directory);
    assert!(second.directory.join("superseded/checkpoint_36.ckpt").exists());
    assert!(!second.directory.join("checkpoint_36.ckpt").exists());
}

#[test]
fn time_based_saving_is_checked_after_each_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: None, save_interval_minutes: 1e-9, ..settings(dir.path(), 20) };
    let outcome = run(&settings, Fake::with_max_updates(5));
    let updates: Vec<_> = run_dir::checkpoints(&outcome.directory).unwrap().iter().map(|c| c.0).collect();
    assert_eq!(updates, [1, 6, 10, 15, 20]);
}

#[test]
fn a_value_that_is_not_finite_stops_the_run_and_the_state_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: Some(10), log_interval: 50, ..settings(dir.path(), 100) };
    let mut learner = Fake { poisoned: 28, max_updates: 7, ..Fake::new() };
    let error = train(&settings, "", &[], &mut learner, None, None).unwrap_err().to_string();
    let directory = dir.path().join("run");
    let kept = directory.join("nonfinite_27.ckpt");
    assert!(
        error.starts_with(&format!(
            "entropy is NaN at update 28; the state before it is kept in {}",
            kept.display()
        )),
        "{error}"
    );
    assert!(error.contains("checkpoint_20.ckpt is kept: continue from an earlier checkpoint"), "{error}");
    let kept = Checkpoint::load(&kept).unwrap();
    let mut healthy = Fake::new();
    (0..27).for_each(|_| drop(healthy.update()));
    assert_eq!((kept.progress.update, &kept.state), (27, &healthy.state().unwrap()));
    let updates: Vec<_> = run_dir::checkpoints(&directory).unwrap().iter().map(|c| c.0).collect();
    assert_eq!(updates, [10, 20]);
    assert_eq!(status::Status::read(&directory).unwrap().state, status::State::Failed);
    let warnings = fs::read_to_string(directory.join("warnings.jsonl")).unwrap();
    assert!(warnings.starts_with(r#"{"text":"entropy is NaN at update 28;"#), "{warnings}");
}

#[test]
fn parameters_that_go_bad_before_the_metrics_are_traced_to_their_update() {
    let dir = tempfile::tempdir().unwrap();
    // The bad parameters come at the end of a chunk, and are in a checkpoint before a metric shows them.
    let late = |max_updates| Fake { poisoned: 20, late: true, max_updates, ..Fake::new() };
    let every = |name: &str| Settings {
        save_interval: Some(10),
        run_name: Some(name.into()),
        ..settings(dir.path(), 47)
    };
    for max_updates in [7, 1000] {
        let (settings, mut learner) = (every(&format!("stop-{max_updates}")), late(max_updates));
        let error = train(&settings, "", &[], &mut learner, None, None).unwrap_err().to_string();
        let said = "entropy is NaN at update 21 and parameters are not finite since update 20; the state before it is";
        assert!(error.starts_with(said), "{error}");
        let path = dir.path().join(settings.run_name.unwrap()).join("nonfinite_19.ckpt");
        let kept = Checkpoint::load(&path).unwrap();
        let mut healthy = Fake::new();
        (0..19).for_each(|_| drop(healthy.update()));
        assert_eq!((kept.progress.update, &kept.state), (19, &healthy.state().unwrap()));
    }
    // A rollback goes past the bad checkpoint.
    let settings = Settings { on_nan: OnNan::Rollback, ..every("rollback") };
    assert_eq!(run(&settings, late(7)).state, status::State::Completed);
}

#[test]
fn a_rollback_goes_on_with_other_random_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        Settings { save_interval: Some(10), on_nan: OnNan::Rollback, ..settings(&dir.path().join("a"), 47) };
    let outcome = run(&settings, Fake { poisoned: 28, max_updates: 7, ..Fake::new() });
    assert_eq!(outcome.state, status::State::Completed);
    // The metrics of this learner do not depend on its key, so nothing else differs.
    assert_eq!(metrics(&outcome.directory), metrics(&uninterrupted(dir.path())));
    // Without a checkpoint there is nothing to go back to.
    let alone = Settings { save_interval: Some(100), run_name: Some("alone".into()), ..settings };
    let mut learner = Fake { poisoned: 5, ..Fake::new() };
    let error = train(&alone, "", &[], &mut learner, None, None).unwrap_err().to_string();
    assert_eq!(error, "there is no checkpoint to go back to");
}

#[test]
fn warnings_of_a_resumed_run_are_those_of_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let learner = |max_updates| {
        let mut learner = Fake::with_max_updates(max_updates);
        learner.names[2] = "approx_kl".into(); // which goes up and down between -1 and 1
        learner
    };
    let text = |run: &Path| fs::read_to_string(run.join("warnings.jsonl")).unwrap();
    let every = |name: &str| Settings { log_interval: 1, ..settings(&dir.path().join(name), 47) };
    let whole = run(&every("whole"), learner(7)).directory;
    assert!(text(&whole).lines().count() >= 2, "{}", text(&whole));
    let stop_file = dir.path().join("parts/run/stop");
    let first = run(
        &every("parts"),
        learner(1).before_chunk(move |done| {
            if done == 22 {
                fs::write(&stop_file, "").unwrap();
            }
        }),
    );
    let second = resume(&every("parts"), &first.directory, learner(1000)).unwrap();
    assert_eq!(text(&second.directory), text(&whole));
}

#[test]
fn only_the_newest_checkpoints_are_kept_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: Some(10), keep: Some(2), ..settings(dir.path(), 47) };
    let outcome = run(&settings, Fake::new());
    let updates: Vec<_> = run_dir::checkpoints(&outcome.directory).unwrap().iter().map(|c| c.0).collect();
    assert_eq!(updates, [40, 47]);
    assert!(!outcome.directory.join("params_30.safetensors").exists());
    assert!(outcome.directory.join("params_40.safetensors").exists());
}

#[test]
fn a_save_that_fails_is_survived_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("blocked");
    // A directory where the temporary file should go: nothing can be written there, not even by root.
    let obstacle = parent.join("run/.checkpoint_20.ckpt.tmp");
    let learner = Fake::with_max_updates(10).before_chunk(move |done| match done {
        10 => fs::create_dir(&obstacle).unwrap(),
        20 => fs::remove_dir(&obstacle).unwrap(),
        _ => {}
    });
    let outcome = run(&Settings { save_interval: Some(10), ..settings(&parent, 47) }, learner);
    let updates: Vec<_> = run_dir::checkpoints(&outcome.directory).unwrap().iter().map(|c| c.0).collect();
    assert_eq!(updates, [10, 30, 40, 47]);
    assert_same_run(&whole, &outcome.directory);
}

/// The run of [`settings`] with evaluations at updates 6, 12, ... and their episodes in a table.
fn evaluating(dir: &Path) -> Settings {
    Settings {
        eval_interval: Some(6),
        eval_episodes: 5,
        eval_max_steps: 3,
        log_episodes: true,
        save_interval: Some(9),
        ..settings(dir, 47)
    }
}

/// The lines of `episodes.csv` without their timestamps.
fn episodes(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("episodes.csv")).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect()
}

#[test]
fn evaluations_are_logged_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let outcome = run(&evaluating(&dir.path().join("evaluated")), Fake::new());
    let directory = outcome.directory;
    assert_eq!(
        hash(&directory.join("final_params.safetensors")),
        hash(&whole.join("final_params.safetensors"))
    );

    // An evaluation has a row of its own update; the other rows have none of its columns.
    let rows = metrics(&directory);
    let update = |row: &Value| row["update"].as_u64().unwrap();
    let updates: Vec<_> = rows.iter().map(update).collect();
    assert_eq!(updates, [6, 10, 12, 18, 20, 24, 30, 36, 40, 42, 47]);
    let mut best: Option<(f64, u64)> = None;
    for row in &rows {
        let mean = row.get("eval/mean_return").and_then(Value::as_f64);
        assert_eq!(mean.is_some(), update(row) % 6 == 0, "{row}");
        let Some(mean) = mean else { continue };
        // Episodes of 1, 2, 3, 3 and 3 steps: the last two were cut off.
        assert_eq!((&row["eval/mean_length"], &row["eval/num_truncated"]), (&2.4.into(), &2.0.into()));
        assert_eq!(row["eval/num_episodes"], 5.0);
        if best.is_none_or(|(before, _)| mean > before) {
            best = Some((mean, update(row)));
        }
    }
    let (mean, update) = best.unwrap();
    let (_, metadata) = load_params(&outcome.best_params.unwrap()).unwrap();
    assert_eq!((&metadata["update"], metadata["env"].as_str()), (&update.to_string(), "fake"));
    assert_eq!(metadata["eval_mean_return"].parse::<f64>().unwrap() as f32, mean as f32);
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(directory.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["best_eval_update"], &summary["log_files"]["episodes"]),
        (&update.into(), &"episodes.csv".into())
    );

    let table = table(&directory);
    assert!(table.iter().all(|cells| cells.len() == table[0].len()), "{table:?}");
    let column = table[0].iter().position(|name| name == "eval/mean_return").unwrap();
    assert_eq!((table[1][column].is_empty(), table[2][column].as_str()), (false, ""));
    let episodes = episodes(&directory);
    assert_eq!(episodes[0], "update_num,total_steps,episode,reward,length,truncated");
    assert_eq!(episodes.len(), 1 + 7 * 5);
    assert!(episodes[5].starts_with("6,600,4,") && episodes[5].ends_with(",3,true"), "{}", episodes[5]);
}

#[test]
fn a_resumed_run_evaluates_as_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = run(&evaluating(&dir.path().join("whole")), Fake::new()).directory;
    let assert_same = |resumed: &Path| {
        assert_same_run(&whole, resumed);
        assert_eq!(episodes(&whole), episodes(resumed));
        let best = |run: &Path| hash(&run.join("best_params.safetensors"));
        assert_eq!(best(&whole), best(resumed));
    };
    let parts = dir.path().join("parts");
    for stop_at in [5, 6, 13, 29] {
        let stop_file = parts.join("run/stop");
        let learner = Fake::with_max_updates(1).before_chunk(move |done| {
            if done + 1 == stop_at {
                fs::write(&stop_file, "").unwrap();
            }
        });
        let first = match stop_at {
            5 => run(&evaluating(&parts), learner),
            _ => resume(&evaluating(&parts), Path::new("run"), learner).unwrap(),
        };
        assert_eq!(first.update, stop_at);
    }
    assert_same(&resume(&evaluating(&parts), Path::new("run"), Fake::new()).unwrap().directory);

    // Back to each checkpoint: the best parameters are those of its time, until others are better.
    let best_at = |run: &Path| load_params(&run.join("best_params.safetensors")).unwrap().1["update"].clone();
    for update in [36, 9] {
        let path = whole.join(format!("checkpoint_{update}.ckpt"));
        let best = Checkpoint::load(&path).unwrap().best.unwrap();
        assert!(best.update <= update);
        let (run, expected) = (parts.join("run"), best.update.to_string());
        let learner = Fake::with_max_updates(1).before_chunk(move |done| {
            if done == update {
                assert_eq!(best_at(&run), expected);
            }
        });
        let checkpoint = parts.join(format!("run/checkpoint_{update}.ckpt"));
        assert_same(&resume(&evaluating(&parts), &checkpoint, learner).unwrap().directory);
    }

    // Without evaluations the best stays, and the table of episodes ends with the checkpoint.
    let plain = Settings { eval_interval: None, log_episodes: false, ..evaluating(&parts) };
    let checkpoint = parts.join("run/checkpoint_9.ckpt");
    let outcome = resume(&plain, &checkpoint, Fake::new()).unwrap();
    assert_eq!(episodes(&outcome.directory).len(), 1 + 5);
    assert_eq!(best_at(&outcome.directory), "6");
}

#[test]
fn a_screen_is_told_what_is_said_and_asks_to_save_and_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), 47);
    let (live, remote) = live::connect();
    let remote = std::rc::Rc::new(remote);
    let asking = remote.clone();
    let save_file = dir.path().join("run").join(SAVE_FILE);
    let mut learner = Fake::with_max_updates(1).before_chunk(move |done| match done {
        4 => asking.save(),
        12 => fs::write(&save_file, "").unwrap(), // so asks another process
        20 => asking.stop(),
        _ => {}
    });
    let outcome = train(&settings, "", &[], &mut learner, None, Some(live)).unwrap();
    let directory = outcome.directory;
    assert_eq!((outcome.state, outcome.update), (status::State::Stopped, 21));
    let updates: Vec<_> = run_dir::checkpoints(&directory).unwrap().iter().map(|c| c.0).collect();
    assert_eq!(updates, [5, 13, 21]);
    assert!(!directory.join(SAVE_FILE).exists());

    assert_eq!(remote.next(), Some(live::Event::Begun(directory.clone())));
    let mut lines = Vec::new();
    while let Some(live::Event::Line(line)) = remote.next() {
        lines.push(line);
    }
    assert_eq!(remote.next(), Some(live::Event::Ended));
    assert!(lines.contains(&format!("saved {}", directory.join("checkpoint_5.ckpt").display())), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("stopped at update 21"), "{lines:?}");
}

// What only a process of its own can show: the test binary runs its own ignored test `child` as a process.

/// The settings of the child: it saves at updates 11, 22, 33 and 44, and logs at 10, 20, ...
fn child_settings(dir: &Path) -> Settings {
    Settings { save_interval: Some(11), ..settings(dir, 47) }
}

/// Runs [`child`] in `dir` through a shell that first runs `prelude`: its exit status and what it said.
fn run_child(dir: &Path, mode: &str, prelude: &str) -> (ExitStatus, String) {
    let output = Command::new("sh")
        .args(["-c", &format!("{prelude} exec \"$0\" --exact trainer::tests::child --ignored --nocapture")])
        .arg(std::env::current_exe().unwrap())
        .envs([("TEST_DIR", dir.as_os_str()), ("TEST_MODE", mode.as_ref())])
        .output()
        .unwrap();
    (output.status, String::from_utf8(output.stderr).unwrap())
}

#[test]
#[ignore = "the child of other tests"]
fn child() {
    let Some(dir) = std::env::var_os("TEST_DIR") else { return };
    let settings = child_settings(Path::new(&dir));
    let mode = std::env::var("TEST_MODE").unwrap();
    let send = |signal| signal_hook::low_level::raise(signal).unwrap();
    let signals = move |mode: &str, done| match (mode, done) {
        ("interrupt", 22) => send(SIGINT),
        ("terminate", 22) => send(SIGTERM),
        ("together", 22) => [SIGINT, SIGINT, SIGTERM].into_iter().for_each(send),
        ("twice", 22) => {
            send(SIGINT);
            std::thread::sleep(std::time::Duration::from_millis(400));
            send(SIGTERM);
        }
        ("kill", 38) => send(SIGKILL),
        _ => {}
    };
    let mut learner = match mode.as_str() {
        "full disk" => Fake::with_ballast(),
        _ => Fake::with_max_updates(5),
    };
    let resumed =
        (mode == "full disk").then(|| Resumed::open(Path::new("run"), &settings.checkpoint_dir).unwrap());
    learner = learner.before_chunk(move |done| signals(&mode, done));
    let trained = train(&settings, "", &[], &mut learner, resumed, None);
    if let Err(error) = &trained {
        eprintln!("error: {error:#}");
    }
    std::process::exit(trained.is_err() as i32); // past the test harness, which has exit codes of its own
}

#[test]
fn the_first_signal_finishes_the_chunk_and_saves() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    for mode in ["interrupt", "terminate", "together"] {
        let parent = dir.path().join(mode);
        let (exit, said) = run_child(&parent, mode, "");
        assert_eq!(exit.code(), Some(0), "{said}");
        let directory = parent.join("run");
        assert!(
            said.contains("stopped at update 27 (2,700 timesteps); continue with: lockstep train"),
            "{said}"
        );
        assert!(directory.join("checkpoint_27.ckpt").exists() && !directory.join("pid").exists());
        assert_eq!(status::Status::read(&directory).unwrap().state, status::State::Stopped);
        assert_same_run(&whole, &resume(&settings(&parent, 47), &directory, Fake::new()).unwrap().directory);
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, said) = run_child(dir.path(), "twice", "");
    assert_eq!(exit.code(), Some(INTERRUPTED), "{said}");
    assert!(!dir.path().join("run/checkpoint_27.ckpt").exists());
    assert!(dir.path().join("run/checkpoint_22.ckpt").exists());
}

#[test]
fn a_killed_run_is_dead_and_continues_from_its_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let (exit, _) = run_child(dir.path(), "kill", "");
    assert_eq!(exit.code(), None);
    let directory = dir.path().join("run");
    assert_eq!(status::Status::read(&directory).unwrap().state, status::State::Running);
    assert!(directory.join("pid").exists() && !run_dir::is_running(&directory));
    fs::write(directory.join(".checkpoint_38.ckpt.tmp"), "half of a checkp").unwrap();
    resume(&settings(dir.path(), 47), Path::new("latest"), Fake::new()).unwrap();
    assert_same_run(&whole, &directory);
    assert!(!directory.join(".checkpoint_38.ckpt.tmp").exists());
}

/// Continues the run in `TEST_DIR`, slowly and saving often, until somebody kills the process.
#[test]
#[ignore = "the child of another test"]
fn slow_child() {
    let Some(dir) = std::env::var_os("TEST_DIR") else { return };
    let settings = Settings { save_interval: Some(2), ..settings(Path::new(&dir), 300) };
    let pause = |_| std::thread::sleep(std::time::Duration::from_millis(1));
    let mut learner = Fake { max_updates: 3, ..Fake::with_ballast() }.before_chunk(pause);
    let resumed = Resumed::open(Path::new("run"), &settings.checkpoint_dir).ok();
    if resumed.is_none() {
        let _ = fs::remove_dir_all(Path::new(&dir).join("run")); // killed before the first checkpoint
    }
    train(&settings, "", &[], &mut learner, resumed, None).unwrap();
}

#[test]
fn a_run_killed_anywhere_ends_as_if_it_had_not_been() {
    let dir = tempfile::tempdir().unwrap();
    let killed = dir.path().join("killed");
    let whole = run(&settings(&dir.path().join("whole"), 300), Fake::with_ballast());
    let (mut kills, mut delay) = (0, 0);
    loop {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "trainer::tests::slow_child", "--ignored"])
            .env("TEST_DIR", &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        delay = (delay * 31 + 17) % 97; // milliseconds, in no order
        std::thread::sleep(std::time::Duration::from_millis(30 + delay));
        if let Some(exit) = child.try_wait().unwrap() {
            assert!(exit.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        assert!(kills < 1000, "the run makes no progress");
    }
    assert!(kills >= 3, "only {kills} kills");
    assert_same_run(&whole.directory, &killed.join("run"));
}

#[test]
fn a_full_disk_costs_no_checkpoint_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&settings(dir.path(), 15), Fake::with_ballast());
    let checkpoint = first.checkpoint.unwrap();
    let good = hash(&checkpoint);
    // No file may grow beyond 64 blocks; without the trap the process would be killed for trying.
    let (exit, said) = run_child(dir.path(), "full disk", "trap '' XFSZ; ulimit -f 64;");
    assert_eq!(exit.code(), Some(1), "{said}");
    let warning = said.lines().find(|line| line.starts_with("warning:")).unwrap();
    assert!(
        warning.starts_with("warning: cannot write ") && warning.contains("checkpoint_22.ckpt"),
        "{said}"
    );
    assert!(warning.ends_with("checkpoint_15.ckpt is kept, training continues"), "{said}");
    let error = said.lines().last().unwrap();
    assert!(
        error.starts_with("error: the last save failed (checkpoint_15.ckpt is kept): cannot write "),
        "{said}"
    );
    assert_eq!(hash(&checkpoint), good);
    let status = status::Status::read(&first.directory).unwrap();
    assert_eq!(status.state, status::State::Failed);
    assert!(status.error.unwrap().starts_with("the last save failed"));

    let whole = run(&settings(&dir.path().join("whole"), 47), Fake::with_ballast());
    resume(&settings(dir.path(), 47), Path::new("run"), Fake::with_ballast()).unwrap();
    assert_same_run(&whole.directory, &first.directory);
}

#[test]
fn a_checkpoint_of_something_else_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&settings(dir.path(), 15), Fake::new());
    let before = metrics(&first.directory);
    let other_network = resume(&settings(dir.path(), 47), Path::new("run"), Fake::with_ballast());
    assert_eq!(
        other_network.unwrap_err().to_string(),
        format!(
            "{} does not fit this program: ballast (f32[65536]) is missing",
            first.checkpoint.as_ref().unwrap().display()
        )
    );
    let other_env = Settings { env: "cartpole".into(), ..settings(dir.path(), 47) };
    let error = resume(&other_env, Path::new("run"), Fake::new()).unwrap_err().to_string();
    assert!(error.ends_with("checkpoint_15.ckpt was trained in fake, not in cartpole"), "{error}");
    assert_eq!(metrics(&first.directory), before);
}

#[test]
fn a_learner_that_fails_fails_the_run_and_leaves_the_checkpoint() {
    struct Failing(Fake);
    impl Learner for Failing {
        fn metric_names(&self) -> &[String] {
            self.0.metric_names()
        }
        fn max_updates(&self) -> usize {
            5
        }
        fn timesteps_per_update(&self) -> u64 {
            100
        }
        fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>> {
            anyhow::ensure!(self.0.count < 22, "the device is gone");
            self.0.run(updates)
        }
        fn state(&self) -> anyhow::Result<NamedArrays> {
            self.0.state()
        }
        fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()> {
            self.0.load_state(state)
        }
        fn state_types(&self) -> Vec<(String, ArrayType)> {
            self.0.state_types()
        }
        fn params(&self) -> anyhow::Result<NamedArrays> {
            self.0.params()
        }
        fn params_metadata(&self) -> Vec<(String, String)> {
            self.0.params_metadata()
        }
        fn spec(&self) -> &EnvSpec {
            self.0.spec()
        }
        fn evaluate(&self, plan: &Plan) -> anyhow::Result<Vec<Episode>> {
            self.0.evaluate(plan)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error =
        train(&child_settings(dir.path()), "", &[], &mut Failing(Fake::new()), None, None).unwrap_err();
    assert_eq!(error.to_string(), "the device is gone");
    let status = status::Status::read(&dir.path().join("run")).unwrap();
    assert_eq!((status.state, status.error.as_deref()), (status::State::Failed, Some("the device is gone")));
    let outcome = resume(&settings(dir.path(), 47), Path::new("run"), Fake::new()).unwrap();
    assert_same_run(&uninterrupted(dir.path()), &outcome.directory);
}

/// A learner whose updates a group does.
struct Seat {
    names: Vec<String>,
    spec: EnvSpec,
    fake: Rc<RefCell<Fake>>,
}

impl Learner for Seat {
    fn metric_names(&self) -> &[String] {
        &self.names
    }
    fn max_updates(&self) -> usize {
        self.fake.borrow().max_updates()
    }
    fn timesteps_per_update(&self) -> u64 {
        100
    }
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        self.fake.borrow_mut().run(updates)
    }
    fn state(&self) -> anyhow::Result<NamedArrays> {
        self.fake.borrow().state()
    }
    fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()> {
        self.fake.borrow_mut().load_state(state)
    }
    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.fake.borrow().state_types()
    }
    fn params(&self) -> anyhow::Result<NamedArrays> {
        self.fake.borrow().params()
    }
    fn params_metadata(&self) -> Vec<(String, String)> {
        self.fake.borrow().params_metadata()
    }
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }
    fn evaluate(&self, plan: &Plan) -> anyhow::Result<Vec<Episode>> {
        self.fake.borrow().evaluate(plan)
    }
}

/// Fakes that are trained together, on a device that breaks after so many updates.
struct FakeGroup {
    fakes: Vec<Rc<RefCell<Fake>>>,
    breaks_after: u64,
}

impl Group for FakeGroup {
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        let done = self.fakes[0].borrow().count;
        anyhow::ensure!(done + updates as u64 <= self.breaks_after, "the device is gone");
        self.fakes.iter().map(|fake| fake.borrow_mut().run(updates)).collect()
    }
}

fn train_fakes(dir: &Path, fakes: Vec<Fake>, breaks_after: u64) -> anyhow::Result<GroupOutcome> {
    let member = |index| {
        let settings = Settings { run_name: Some(format!("run-s{index}")), ..settings(dir, 47) };
        Member { settings, config: "env = \"fake\"\n".into() }
    };
    let members: Vec<_> = (0..fakes.len()).map(member).collect();
    let fakes: Vec<_> = fakes.into_iter().map(|fake| Rc::new(RefCell::new(fake))).collect();
    let seat = |fake: &Rc<RefCell<Fake>>| {
        let Fake { names, spec, .. } = Fake::new();
        Seat { names, spec, fake: fake.clone() }
    };
    let mut seats: Vec<_> = fakes.iter().map(seat).collect();
    train_group("run", &members, &[], &mut FakeGroup { fakes, breaks_after }, &mut seats)
}

#[test]
fn a_run_of_a_group_is_the_run_alone_and_one_that_fails_leaves_the_others() {
    let (dir, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let poisoned = Fake { poisoned: 25, ..Fake::new() };
    let outcome = train_fakes(dir.path(), vec![Fake::new(), poisoned, Fake::new()], 1000).unwrap();
    let completed: Vec<_> = outcome.runs.iter().map(|outcome| outcome.run.as_str()).collect();
    assert_eq!(completed, ["run-s0", "run-s2"]);
    assert_same_run(&uninterrupted(alone.path()), &dir.path().join("run-s2"));
    let [Failure { run, error }] = &outcome.failures[..] else { panic!("{:?}", outcome.failures) };
    assert!(run == "run-s1" && error.starts_with("entropy is NaN at update 25"), "{run}: {error}");
    let failed = dir.path().join("run-s1");
    assert_eq!(status::Status::read(&failed).unwrap().state, status::State::Failed);
    assert!(failed.join("nonfinite_24.ckpt").exists());
    let again = train_fakes(dir.path(), vec![Fake::new()], 1000).unwrap_err().to_string();
    assert!(again.starts_with("there is a run run-s0 already; choose another --run-name"), "{again}");
}

#[test]
fn a_device_that_fails_fails_all_runs_of_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let error = train_fakes(dir.path(), vec![Fake::new(), Fake::new()], 22).unwrap_err();
    assert_eq!(error.to_string(), "the device is gone");
    for run in ["run-s0", "run-s1"] {
        let status = status::Status::read(&dir.path().join(run)).unwrap();
        assert_eq!(status.state, status::State::Failed);
        assert_eq!(status.error.as_deref(), Some("the device is gone"));
    }
}
