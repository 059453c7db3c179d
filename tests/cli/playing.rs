//! Using what was trained: eval, watch, verify, serve; and the lists.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{done, lockstep, run, trained, trained_file};

#[test]
fn eval_prints_a_table_or_json() {
    let params = trained_file("final_params.safetensors");
    let json_of = |args: &[&str]| -> Value {
        let text = run(&[&["eval"], args, &["--json"]].concat()).stdout();
        assert_eq!(text.lines().count(), 1);
        serde_json::from_str(&text).unwrap()
    };
    let result = json_of(&[&params, "--episodes", "20"]);
    assert_eq!((&result["env"], &result["choice"]), (&json!("cartpole"), &json!("greedy")));
    assert_eq!((&result["episodes"], &result["finished"]), (&json!(20), &json!(20)));
    assert_eq!(result["episode_return"], result["episode_length"], "every step pays 1");
    let [min, mean, max] = ["min", "mean", "max"].map(|key| result["episode_return"][key].as_f64().unwrap());
    assert!(8.0 <= min && min <= mean && mean <= max && max <= 500.0, "{result}");
    assert_eq!(result["steps"].as_f64().unwrap(), 20.0 * mean);

    let random = json_of(&["random", "--env", "cartpole", "--episodes", "20", "--seed", "5"]);
    assert_eq!(random["choice"], "random");
    let again = json_of(&["random", "--env", "cartpole", "--episodes", "20", "--seed", "5"]);
    assert_eq!(random["episode_return"], again["episode_return"]);
    let other = json_of(&["random", "--env", "cartpole", "--episodes", "20", "--seed", "6"]);
    assert_ne!(random["episode_return"], other["episode_return"]);

    let text = run(&["eval", trained().to_str().unwrap(), "--episodes", "20"]).stdout();
    assert!(text.starts_with("cartpole, greedy policy, 20 episodes from seed 0"), "{text}");
    assert!(text.contains("episode_return"), "{text}");
}

/// The sessions that are timed say nothing.
#[test]
fn bench_times_logs_without_showing_them() {
    let sizes = ["--env", "cartpole", "--num-envs", "4", "--num-steps", "8", "--updates", "1"];
    let done = run(&[&["bench", "--device", "cpu", "--logs", "--json"], &sizes[..]].concat());
    assert!(
        !done.stderr.contains("updates of 32 timesteps") && !done.stderr.contains("W&B"),
        "{}",
        done.stderr
    );
    let report: Value = serde_json::from_str(&done.stdout()).unwrap();
    assert!(report["logged_steps_per_second"].as_f64().unwrap() > 0.0, "{report}");
}

#[test]
fn bench_counts_the_products_of_an_update() {
    let bench = |width: usize| -> Value {
        let sizes = ["--env", "cartpole", "--num-envs", "4", "--num-steps", "8", "--updates", "1"];
        let set = format!("hidden_dim={width}");
        let done = run(&[&["bench", "--device", "cpu", "--json", "--set", &set], &sizes[..]].concat());
        serde_json::from_str(&done.stdout()).unwrap()
    };
    let [small, large] = [8, 16].map(bench);
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap();
    assert!(number(&small, "matrix_gflops") > 0.0, "{small}");
    let told = number(&small, "gflops") * small["update_seconds"][0].as_f64().unwrap();
    assert!((told / number(&small, "update_gflop") - 1.0).abs() < 1e-6, "{small}");
    // Twice the units: four times as much between the hidden layers, twice as much to and from them.
    let ratio = number(&large, "update_gflop") / number(&small, "update_gflop");
    assert!((2.5..4.0).contains(&ratio), "{ratio}");
}

#[test]
fn bench_knows_settings_that_are_not_set_by_default() {
    let words = "bench --device cpu --json --env cartpole --num-envs 4 --num-steps 8 --updates 1 --set rnn=gru --set rnn_dim=4";
    run(&words.split_whitespace().collect::<Vec<_>>()).stdout();
}

#[test]
fn watch_prints_every_step_where_there_is_no_terminal() {
    let directory = trained().parent().unwrap().to_str().unwrap();
    let watch = ["watch", "--latest", "--checkpoint-dir", directory, "--episodes", "2", "--max-steps", "3"];
    let text = run(&watch).stdout();
    assert_eq!(
        text.matches("[=====]").count(),
        8,
        "two episodes of three steps, and their first states\n{text}"
    );
    for part in [
        "episode 1/2  step 0",
        "episode 2/2  step 3",
        "theta_dot",
        "next: ",
        "cut off after 3 steps, return 3.000",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    assert!(text.ends_with(
        "episode 1: 3 steps, return 3.000\nepisode 2: 3 steps, return 3.000\nmean return 3.000\n"
    ));
    assert!(!text.contains('\x1b'));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let mut process = lockstep(&["watch", "random", "--env", "cartpole", "--episodes", "1000"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("episode 1/1000"), "{line}");
    let done = done(process.wait_with_output().unwrap());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
}

/// The same policy by every name: of a stopped run, that has no final parameters, too.
#[test]
fn a_run_is_evaluated_by_any_of_its_names() {
    let parent = trained().parent().unwrap().to_str().unwrap();
    let eval = |request: &str| -> Value {
        let options = ["--episodes", "5", "--max-steps", "30", "--json", "--checkpoint-dir", parent];
        serde_json::from_str(&run(&[&["eval", request], &options[..]].concat()).stdout()).unwrap()
    };
    let checkpoint = trained_file("checkpoint_10.ckpt");
    let [by_name, by_checkpoint] = ["small", &checkpoint].map(eval);
    assert!(by_name["params"].as_str().unwrap().ends_with("small/final_params.safetensors"), "{by_name}");
    assert!(by_checkpoint["params"].as_str().unwrap().ends_with("checkpoint_10.ckpt"));
    assert_eq!(by_name["episode_return"], by_checkpoint["episode_return"]);
    assert_eq!(by_checkpoint["env"], "cartpole");
}

#[test]
fn verify_counts_and_shows_differences() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");
    let mut text = String::new();
    GzDecoder::new(fs::File::open(golden).unwrap()).read_to_string(&mut text).unwrap();
    let records: Vec<&str> = text.lines().take(8).collect();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("few.jsonl");
    let verify = |lines: &[&str]| {
        fs::write(&path, lines.join("\n")).unwrap();
        run(&["verify", "hackmatrix", path.to_str().unwrap(), "--seeds", "30"])
    };
    let good = verify(&records).stdout();
    assert!(good.ends_with("\n8 passed, 0 failed\n"), "{good}");

    let mut spoiled: Value = serde_json::from_str(records[3]).unwrap();
    for outcome in spoiled["outcomes"].as_array_mut().unwrap() {
        outcome["info"]["score"] = json!(77);
    }
    let spoiled = spoiled.to_string();
    let bad = verify(&[&records[..3], &[&spoiled], &records[4..]].concat());
    assert!(bad.status == Some(1) && !bad.stderr.contains("error"), "{}", bad.stderr);
    assert!(bad.stdout.contains("info score: expected 77"), "{}", bad.stdout);
    assert!(bad.stdout.ends_with("\n7 passed, 1 failed\n"), "{}", bad.stdout);
}

/// Sends lines and reads one reply each.
pub fn converse(command: &mut Command, lines: &[&str]) -> Vec<Value> {
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut replies = Vec::new();
    for line in lines {
        writeln!(input, "{line}").unwrap();
        let mut reply = String::new();
        output.read_line(&mut reply).unwrap();
        replies
            .push(serde_json::from_str(&reply).unwrap_or_else(|error| panic!("{line}: {error}: {reply:?}")));
    }
    drop(input);
    let done = done(process.wait_with_output().unwrap());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    replies
}

#[cfg(unix)]
#[test]
fn a_client_of_the_original_game_finds_its_protocol() {
    // A checkout of its own, with this binary in it.
    let folder = TempDir::new().unwrap();
    let (scripts, target) = (folder.path().join("scripts"), folder.path().join("target/debug"));
    fs::create_dir_all(&scripts).unwrap();
    fs::create_dir_all(&target).unwrap();
    let script = scripts.join("hackmatrix-headless");
    fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/hackmatrix-headless"), &script).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_lockstep"), target.join("lockstep")).unwrap();

    let mut command = Command::new(&script);
    let template = lockstep(&[]);
    for (name, value) in template.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let state = json!({"action": "setState", "state": {
        "player": {"row": 2, "col": 3, "hp": 2, "energy": 4},
        "enemies": [{"type": "daemon", "row": 2, "col": 5, "hp": 3}],
        "ownedPrograms": [5],
    }});
    let replies = converse(
        command.args(["--headless-cli", "--debug"]),
        &[
            r#"{"action": "getActionSpace"}"#,
            "this is no command",
            r#"{"action": "step"}"#,
            r#"{"action": "step", "actionIndex": 3}"#,
            r#"{"action": "reset"}"#,
            &state.to_string(),
            r#"{"action": "getValidActions"}"#,
            r#"{"action": "step", "actionIndex": 3}"#,
            r#"{"action": "step", "actionIndex": 99}"#,
            r#"{"action": "setState", "state": {"player": "x"}}"#,
            r#"{"action": "dance"}"#,
            r#"{"action": "getInternalState"}"#,
        ],
    );
    assert_eq!(replies[0], json!({"actionSpaceSize": 28}));
    assert_eq!(replies[1], json!({"error": "Invalid command"}));
    assert_eq!(replies[2], json!({"error": "Missing actionIndex"}));
    assert!(replies[3]["error"].is_string());
    assert_eq!(replies[4]["observation"]["cells"].as_array().unwrap().len(), 6);
    assert_eq!(replies[5]["observation"]["playerHP"], 2);
    assert_eq!(replies[6], json!({"validActions": [0, 1, 2, 3, 5]}));
    assert_eq!(replies[7]["observation"]["playerCol"], 3, "the daemon was attacked, not approached");
    assert!(replies[7]["info"]["reward_breakdown"]["kills"].is_number());
    assert!(replies[8]["error"].is_string() && replies[9]["error"].is_string());
    assert_eq!(replies[10], json!({"error": "Unknown command: dance"}));
    assert_eq!(replies[11]["enemies"][0]["hp"], 2);
}

#[test]
fn environments_and_plugins_are_listed() {
    let names: Value = serde_json::from_str(&run(&["envs", "--json"]).stdout()).unwrap();
    let names: Vec<&str> =
        names.as_array().unwrap().iter().map(|env| env["name"].as_str().unwrap()).collect();
    assert_eq!(names, lockstep::envs::builtin().map(|entry| entry.name));
    for name in names {
        assert!(run(&["envs"]).stdout().contains(name));
        let facts: Value = serde_json::from_str(&run(&["envs", name, "--json"]).stdout()).unwrap();
        assert_eq!(facts["actions"].as_array().unwrap().len() as u64, facts["num_actions"].as_u64().unwrap());
        let text = run(&["envs", name]).stdout();
        for part in ["Observation: ", "Actions: ", "Reward", "Parameters", "Settings of training", "num_envs"]
        {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
    }
    let hackmatrix = run(&["envs", "hackmatrix"]).stdout();
    assert!(hackmatrix.contains("siphon_quality") && hackmatrix.contains("cell, 36 times 42 numbers"));
    let plugins: Value = serde_json::from_str(&run(&["plugin", "list", "--json"]).stdout()).unwrap();
    assert_eq!(plugins[0]["source"], "variable");
    assert!(run(&["plugin", "list"]).stdout().contains("LOCKSTEP_PJRT_PLUGIN"));
}
