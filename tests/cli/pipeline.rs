//! The run directory of the asteroid pipeline, as the reference's server and pages read it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use serde_json::Value;
use tempfile::TempDir;

use super::{Done, run};

const SIZES: &str = "--total-env-steps 300 --window-env-steps 100 --eval-replays-per-window 2 --eval-max-steps-per-episode 20 \
                     --ppo-num-envs 4 --ppo-rollout-steps 16 --ppo-num-minibatches 1 --ppo-update-epochs 1 --seed 3 --device cpu";

fn train(root: &Path, id: &str, backend: &str, more: &str) -> Done {
    let place = ["--run-root", root.to_str().unwrap(), "--run-id", id, "--trainer-backend", backend];
    // A flag may be given once: what is said besides stands in the place of what is usual.
    let more: Vec<&str> = more.split_whitespace().collect();
    let usual: Vec<&str> = [&SIZES.split_whitespace().collect::<Vec<_>>()[..], &place].concat();
    let kept = usual.chunks(2).filter(|pair| !more.contains(&pair[0])).flatten().copied();
    let words: Vec<&str> = kept.chain(more.iter().copied()).collect();
    run(&[&["train", "--env", "asteroid"], &words[..]].concat())
}

/// A run with PPO, which others only read, logged for W&B without a server.
fn trained() -> &'static Path {
    static RUN: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let root = TempDir::new().unwrap();
        train(root.path(), "ppo", "puffer_ppo", "--wandb-mode offline").stdout();
        let run = root.path().join("ppo");
        (root, run)
    });
    run
}

/// JSON as a strict reader takes it: NaN and Infinity are errors.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn json(run: &Path, name: &str) -> Value {
    parse(&fs::read_to_string(run.join(name)).unwrap())
}

fn windows(run: &Path) -> Vec<Value> {
    fs::read_to_string(run.join("metrics/windows.jsonl")).unwrap().lines().map(parse).collect()
}

fn frames(run: &Path, entry: &Value) -> Vec<Value> {
    let file = fs::File::open(run.join(entry["replay_path"].as_str().unwrap())).unwrap();
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(parse).collect()
}

/// Requires keys whose values are not null.
#[track_caller]
fn requires(what: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(!what[key].is_null(), "no {key} in {what}");
    }
}

const METRICS: &str = "credits net_profit profit_per_tick survival overheat_ticks pirate_encounters value_lost_to_pirates \
                       fuel_used hull_damage tool_wear scan_count mining_ticks cargo_utilization_avg";

#[test]
fn every_reader_finds_what_it_needs() {
    let run = trained();
    // The list of runs, and a run.
    let metadata = json(run, "run_metadata.json");
    requires(
        &metadata,
        "run_id status trainer_backend env_steps_total windows_emitted checkpoints_written latest_checkpoint latest_replay \
         updated_at started_at finished_at metrics_windows_path replay_index_path config_path ppo_device ppo_policy_updates",
    );
    assert_eq!((&metadata["run_id"], &metadata["status"]), (&"ppo".into(), &"completed".into()));
    assert_eq!(metadata["constellation_url"], Value::Null);
    assert_eq!(metadata["wandb_run_url"], Value::Null, "there is no server");
    let keys: Vec<&str> = METRICS.split_whitespace().collect();
    assert_eq!(metadata["info_metric_keys"], serde_json::json!(keys));
    // Windows.
    let rows = windows(run);
    assert_eq!(rows.len(), 3);
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row["window_id"], number);
        assert_eq!(row["env_steps_end"], 100 * (number + 1));
        requires(
            row,
            "run_id window_complete env_steps_start env_steps_in_window env_steps_total episodes_completed",
        );
        requires(row, "terminated_episodes truncated_episodes reward_sum reward_mean return_mean");
        requires(row, "invalid_action_rate profit_mean survival_rate");
        requires(row, &keys.iter().map(|key| format!("{key}_mean ")).collect::<String>());
        assert_eq!(row["profit_mean"], row["net_profit_mean"]);
    }
    let line = fs::read_to_string(run.join("metrics/windows.jsonl")).unwrap();
    assert!(
        line.starts_with(
            "{\"run_id\":\"ppo\",\"window_id\":0,\"window_complete\":true,\"env_steps_start\":0,"
        ),
        "{line}"
    );
    // The index, and each replay.
    let index = json(run, "replay_index.json");
    assert_eq!((&index["run_id"], &index["schema_version"]), (&"ppo".into(), &1.into()));
    let entries = index["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(entries[0]["tags"][0], "every_window");
    assert_eq!(entries[0]["tags"][1], "best_so_far");
    for entry in entries {
        requires(
            entry,
            "replay_id window_id replay_path checkpoint_path tags created_at trainer_backend return_total",
        );
        requires(entry, "steps profit survival terminated truncated checkpoint_env_steps_total");
        assert!(run.join(entry["checkpoint_path"].as_str().unwrap()).is_file());
        let frames = frames(run, entry);
        assert_eq!(frames.len() as u64, entry["steps"].as_u64().unwrap());
        let (mut ticks, mut total) = (0, 0.0);
        for (number, frame) in frames.iter().enumerate() {
            assert_eq!((&frame["frame_index"], &frame["schema_version"]), (&number.into(), &1.into()));
            ticks += frame["dt"].as_u64().unwrap();
            total += frame["reward"].as_f64().unwrap();
            assert_eq!(frame["t"], ticks);
            requires(frame, "action terminated truncated events render_state info");
            requires(&frame["info"], METRICS);
            requires(
                &frame["info"],
                "action dt invalid_action terminated truncated node_context time_remaining",
            );
            let state = &frame["render_state"];
            requires(state, "time_remaining credits net_profit survival cargo_utilization_avg node_context");
            assert!(["station", "field"].contains(&state["node_context"].as_str().unwrap()));
            assert_eq!(state["observation"].as_array().unwrap().len(), 260);
            assert!(state["observation"].as_array().unwrap().iter().all(Value::is_number));
        }
        assert!((total - entry["return_total"].as_f64().unwrap()).abs() < 1e-9);
        let last = &frames.last().unwrap()["render_state"];
        assert_eq!((&last["net_profit"], &last["survival"]), (&entry["profit"], &entry["survival"]));
    }
    assert_eq!(metadata["latest_replay"], entries[2]);
    let config = json(run, "config.json");
    requires(
        &config,
        "run_root run_id total_env_steps trainer_backend eval_milestone_profit_thresholds ppo_env_impl",
    );
    assert_eq!(config.as_object().unwrap().len(), 33);
}

#[test]
fn weights_and_biases_is_told_of_windows_checkpoints_and_replays() {
    let folder = fs::read_dir(trained().join("wandb")).unwrap().flatten();
    let mut logs = folder.map(|entry| entry.path()).filter(|path| path.is_dir() && !path.is_symlink());
    let log = fs::read_dir(logs.next().unwrap()).unwrap().flatten().map(|entry| entry.path());
    let log = fs::read(log.into_iter().find(|path| path.extension().is_some_and(|e| e == "wandb")).unwrap())
        .unwrap();
    let replay = json(trained(), "replay_index.json")["entries"][0]["replay_id"].as_str().unwrap().to_owned();
    for part in [
        "windowed-training",
        "model-ppo",
        &format!("replay-ppo-000000-{replay}"),
        "window-2",
        "milestone-survival-1",
        "value_lost_to_pirates_mean",
        "windows_emitted",
        "eval_seed_offset",
    ] {
        assert!(log.windows(part.len()).any(|bytes| bytes == part.as_bytes()), "no {part}");
    }
    assert!(!log.windows(21).any(|bytes| bytes == b"time/steps_per_second"), "rows of intervals, too");
}

#[test]
fn a_checkpoint_of_a_window_goes_on_bit_for_bit() {
    let root = TempDir::new().unwrap();
    train(root.path(), "ppo", "ppo", "").stdout();
    let run_dir = root.path().join("ppo");
    let told = |file: &str| fs::read_to_string(run_dir.join(file)).unwrap();
    let replays = || {
        let entries = json(&run_dir, "replay_index.json")["entries"].as_array().unwrap().clone();
        entries.iter().map(|entry| (entry["tags"].clone(), frames(&run_dir, entry))).collect::<Vec<_>>()
    };
    let params = || fs::read(run_dir.join("final_params.safetensors")).unwrap();
    let before = (told("metrics/windows.jsonl"), replays(), params());
    let checkpoint = run_dir.join("checkpoints/ckpt_000000.pt");
    run(&["train", "--resume", checkpoint.to_str().unwrap()]).stdout();
    // Too much to be printed.
    assert!(told("metrics/windows.jsonl") == before.0, "windows differ");
    assert!(replays() == before.1, "replays differ");
    assert!(params() == before.2, "parameters differ");
    assert_eq!(json(&run_dir, "run_metadata.json")["checkpoints_written"], 3);
    let eval = ["eval", checkpoint.to_str().unwrap(), "--episodes", "2", "--max-steps", "5", "--json"];
    let told = parse(&run(&eval).stdout());
    assert_eq!(told["env"], "asteroid");
    // What stands somewhere is told of the episode, what a step has of the step.
    let (profit, credits) = (&told["stats/net_profit"]["mean"], &told["stats/credits"]["mean"]);
    assert!(profit.as_f64().unwrap() <= credits.as_f64().unwrap(), "{told}");
    assert!(told["per_step"].get("stats/net_profit").is_none(), "{told}");
    assert!(told["per_step"].get("stats/ticks").is_some(), "{told}");
}

#[test]
fn random_play_has_the_same_files_and_runs_are_listed() {
    let root = TempDir::new().unwrap();
    train(
        root.path(),
        "r",
        "random",
        "--flush-partial-window --total-env-steps 250 --no-eval-include-info --mask-invalid",
    )
    .stdout();
    let run_dir = root.path().join("r");
    let rows = windows(&run_dir);
    assert_eq!(
        (rows.len(), &rows[2]["window_complete"], &rows[2]["env_steps_start"]),
        (3, &false.into(), &200.into())
    );
    assert!(rows.iter().all(|row| row["invalid_action_rate"] == 0.0), "{rows:?}");
    let checkpoint = json(&run_dir, "checkpoints/ckpt_000001.pt");
    requires(&checkpoint, "run_id window_id env_steps_total trainer_backend created_at");
    assert_eq!(checkpoint["checkpoint_format"], "json_v1");
    let entry = &json(&run_dir, "replay_index.json")["entries"][0];
    assert!(frames(&run_dir, entry).iter().all(|frame| frame["info"].is_null()));
    let root = root.path().to_str().unwrap();
    let listed = run(&["runs", "list", "--all", "--checkpoint-dir", root]).stdout();
    assert!(listed.contains("completed") && listed.contains("100%"), "{listed}");
    let shown = run(&["runs", "show", "r", "--checkpoint-dir", root]).stdout();
    for part in ["windows", "3 of 100 environment steps", "replays", "every_window"] {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    // Nothing was learned that could go on or play.
    let checkpoint = run_dir.join("checkpoints/ckpt_000001.pt");
    let checkpoint = checkpoint.to_str().unwrap();
    for args in [["train", "--resume", checkpoint], ["eval", checkpoint, "--json"]] {
        run(&args).fails(1, &["ckpt_000001.pt is the checkpoint of a run that learns nothing (json_v1)"]);
    }
}

#[test]
fn what_makes_no_sense_is_one_line() {
    let root = TempDir::new().unwrap();
    let wrong = |more: &str, parts: &[&str]| train(root.path(), "x", "ppo", more).fails_in_one_line(2, parts);
    wrong("--window-env-steps 301", &["--window-env-steps is 301, more than the 300 of --total-env-steps"]);
    wrong("--eval-milestone-profit-thresholds -1", &["--eval-milestone-profit-thresholds has -1"]);
    wrong("--eval-milestone-return-thresholds 1,inf", &["--eval-milestone-return-thresholds has inf"]);
    wrong("--eval-milestone-return-thresholds 1,nan", &["--eval-milestone-return-thresholds has nan"]);
    wrong("--run-id a/b", &["\"a/b\"; use letters, digits and - _ . only"]);
    wrong("--ppo-num-envs 6", &["--ppo-num-envs = 6 cannot be split evenly over --ppo-num-workers = 4"]);
    wrong("--lr 0.5", &["--lr contradicts lr = 0.0003, which the flags of asteroid say; leave it out"]);
    wrong("--trainer-backend dqn", &["invalid value 'dqn'", "random, ppo, puffer_ppo"]);
    wrong("--env-set fuel=3", &["asteroid has no option fuel"]);
    wrong("--env-set time_max=3", &["--env-set contradicts env_set = ", "which the flags of asteroid say"]);
    run(&["train", "--env", "cartpole", "--run-id", "x"])
        .fails_in_one_line(2, &["--run-id is a flag of asteroid, not of cartpole; add --env asteroid"]);
    run(&["train", "--env", "cartpole", "--env-set", "fuel=3"])
        .fails_in_one_line(2, &["cartpole has no option fuel"]);
    run(&["train", "--env", "cartpole", "--replays-per-window", "1"])
        .fails_in_one_line(2, &["replays_per_window needs windows; add --window-steps N"]);
    run(&["train", "--env", "cartpole", "--window-steps", "20X"]).fails(2, &["invalid value '20X'"]);
    run(&["train", "--env", "cartpole", "--window-steps", "99M"])
        .fails_in_one_line(2, &["window_steps is 99000000, more than the"]);

    let taken = trained();
    let again = train(taken.parent().unwrap(), "ppo", "ppo", "");
    again.fails(1, &["there is a run ppo already; choose another"]);
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    train(&file, "x", "ppo", "").fails(1, &["cannot make the run directory"]);

    let entry = &json(taken, "replay_index.json")["entries"][0];
    let replay = taken.join(entry["replay_path"].as_str().unwrap());
    let damaged = root.path().join("damaged.jsonl.gz");
    let bytes = fs::read(replay).unwrap();
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    run(&["watch", damaged.to_str().unwrap()]).fails_in_one_line(1, &["cannot read", "damaged.jsonl.gz"]);
    run(&["watch", root.path().join("none.jsonl.gz").to_str().unwrap()])
        .fails_in_one_line(1, &["none.jsonl.gz"]);
}
