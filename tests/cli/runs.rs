//! Runs: what they leave behind, how they are stopped and resumed.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep::array::HostArray;
use lockstep::trainer::{Checkpoint, is_ignored};
use serde_json::Value;
use tempfile::TempDir;

use super::{done, lockstep, run, small_run, trained};

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// The lines of `metrics.jsonl` without what depends on time.
fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let fields = row.as_object_mut().unwrap();
        fields.retain(|name, _| {
            !["second", "time"].iter().any(|word| name.contains(word)) || name == "timesteps"
        });
        row
    };
    text.lines().map(timeless).collect()
}

#[test]
fn a_run_leaves_its_files() {
    let run = trained();
    for name in ["config.toml", "meta.json", "status.json", "metrics.jsonl", "final_params.safetensors"] {
        assert!(run.join(name).is_file(), "there is no {name}");
    }
    for update in [5, 10] {
        assert!(run.join(format!("checkpoint_{update}.ckpt")).is_file());
        assert!(run.join(format!("params_{update}.safetensors")).is_file());
    }
    assert!(!run.join("pid").exists());
    let status = json(&run.join("status.json"));
    assert_eq!((&status["state"], &status["update"]), (&"completed".into(), &10.into()));
    assert_eq!(metrics(run).len(), 5);
    let final_params = fs::read(run.join("final_params.safetensors")).unwrap();
    assert!(!final_params.is_empty());
}

/// A copy of the trained run under another name.
fn copy_as(parent: &Path, name: &OsStr) -> PathBuf {
    let copy = parent.join(name);
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(trained()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    copy
}

#[cfg(target_os = "linux")]
#[test]
fn a_run_whose_name_is_no_utf_8_is_shown_and_used() {
    let folder = TempDir::new().unwrap();
    let copy = copy_as(folder.path(), std::os::unix::ffi::OsStrExt::from_bytes(b"a\xffb"));
    let in_folder = |words: &str| {
        let mut command = lockstep(&words.split_whitespace().collect::<Vec<_>>());
        super::finish(command.args(["--checkpoint-dir", "."]).current_dir(folder.path())).stdout()
    };
    let listed: Value = serde_json::from_str(&in_folder("runs list --all --json")).unwrap();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["run"]), (1, &"a\u{fffd}b".into()));
    for words in [
        "runs list --all",
        "runs show latest --json",
        "runs plot latest --out curves.svg",
        "eval latest --episodes 2 --json",
        "train --resume latest --json",
    ] {
        assert!(in_folder(words).contains("a\u{fffd}b") || words.contains("plot"), "{words}");
    }
    let summary = json(&copy.join("summary.json"));
    assert!(summary["final_model_path"].as_str().unwrap().contains("a\u{fffd}b"));
    let mut refused = lockstep(&["train", "--env", "cartpole", "--checkpoint-dir"]);
    let refused = super::finish(refused.arg(copy.file_name().unwrap()).current_dir(folder.path()));
    refused.fails_in_one_line(2, &["checkpoint_dir is \"a\\xFFb\", which is no UTF-8"]);
}

#[test]
fn numbers_that_no_metric_has_are_drawn_as_far_as_they_can_be() {
    let folder = TempDir::new().unwrap();
    let run = copy_as(folder.path(), OsStr::new("odd"));
    fs::remove_file(run.join("curves.jsonl")).unwrap();
    let curves: [&[(&str, &str)]; 6] = [
        &[("1", "1e308"), ("2", "-1e308"), ("3", "1")],
        &[("1", "1e308"), ("2", "-1e308")],
        &[("1", "0"), ("2", "5e-324")],
        &[("1", "1e38"), ("2", "1.0000000000000002e38")],
        &[("-7", "1"), ("-3", "2")],
        &[("1", "1"), ("1e300", "2"), ("1.7e308", "3")],
    ];
    for rows in curves {
        let row = |(x, y): &(&str, &str)| {
            format!(
                "{{\"update\":{x},\"timesteps\":{x},\"train/entropy\":{y},\"timestamp\":\"12026-01-01T00:00:00Z\"}}\n"
            )
        };
        fs::write(run.join("metrics.jsonl"), rows.iter().map(row).collect::<String>()).unwrap();
        let [svg, png] = ["curves.svg", "curves.png"].map(|name| folder.path().join(name));
        for (out, axis) in [(&svg, "timesteps"), (&png, "update")] {
            let mut command = lockstep(&["runs", "plot", "odd", "--x", axis, "--out"]);
            super::finish(command.arg(out).arg("--checkpoint-dir").arg(folder.path())).stdout();
        }
        let drawn = fs::read_to_string(svg).unwrap();
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{rows:?}: {drawn}");
    }
}

#[test]
fn a_resumed_run_is_the_run_that_was_never_interrupted() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("small");
    fs::create_dir(&copy).unwrap();
    for name in ["checkpoint_5.ckpt", "config.toml", "meta.json", "metrics.jsonl"] {
        fs::copy(trained().join(name), copy.join(name)).unwrap();
    }
    run(&["train", "--resume", copy.join("checkpoint_5.ckpt").to_str().unwrap()]).stdout();
    for name in ["final_params.safetensors", "params_10.safetensors"] {
        assert_eq!(fs::read(copy.join(name)).unwrap(), fs::read(trained().join(name)).unwrap(), "{name}");
    }
    assert_eq!(metrics(&copy), metrics(trained()));
}

#[test]
fn lengths_are_those_of_the_episodes_that_ended_and_none_is_absent() {
    let table = fs::read_to_string(trained().join("updates.csv")).unwrap();
    let cells: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').collect()).collect();
    let column = |name: &str| cells[0].iter().position(|other| *other == name).unwrap();
    let [returns, lengths, episodes] =
        ["mean_episode_return", "mean_episode_length", "num_episodes"].map(|name| format!("train/{name}"));
    let mut ended = 0.0;
    for (row, cells) in metrics(trained()).iter().zip(&cells[1..]) {
        let [mean_return, length] = [&returns, &lengths].map(|name| row.get(name).unwrap().as_f64());
        let count = row[&episodes].as_f64().unwrap();
        assert_eq!(length, mean_return, "CartPole pays 1 for each step: {row}");
        assert_eq!(length.is_some(), count > 0.0, "{row}");
        assert_eq!(cells[column(&lengths)].is_empty(), count == 0.0, "{cells:?}");
        ended += count;
    }
    assert_eq!(json(&trained().join("status.json"))["episodes"], ended);
}

#[test]
fn a_total_is_kept_and_what_is_done_is_said() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    let arguments = small_run(parent, "odd")
        .into_iter()
        .map(|argument| if argument == "320" { "0.1k" } else { argument });
    let done = run(&arguments.collect::<Vec<_>>());
    let plan = "run odd: 3 updates of 32 timesteps, 96 in all: total_timesteps is 100, and what is left is less than an update";
    assert!(done.stderr.contains(plan), "{}", done.stderr);
    let status = json(&folder.path().join("odd/status.json"));
    assert_eq!((&status["timesteps"], &status["total_timesteps"]), (&96.into(), &96.into()));
    let listed = run(&["runs", "list", "--all", "--checkpoint-dir", parent]).stdout();
    assert!(listed.contains(" 100% "), "{listed}");
}

#[test]
fn programs_have_neither_kernels_nor_clusters_if_they_are_not_wanted() {
    let folder = TempDir::new().unwrap();
    let off = ["--no-kernels", "--no-clusters"];
    run(&[&small_run(folder.path().to_str().unwrap(), "plain")[..], &off].concat()).stdout();
    let config = fs::read_to_string(folder.path().join("plain/config.toml")).unwrap();
    assert!(config.contains("no_kernels = true") && config.contains("no_clusters = true"), "{config}");
    let params = folder.path().join("plain/final_params.safetensors");
    run(&[&["eval", params.to_str().unwrap(), "--episodes", "4"], &off[..]].concat()).stdout();
    let told = json(&folder.path().join("plain/meta.json"));
    assert_eq!((&told["kernels"], &told["clusters"]), (&Value::Bool(false), &Value::Bool(false)), "{told}");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_does_not() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    run(&small_run(parent, "same")).stdout();
    let summary = run(&[&small_run(parent, "other")[..], &["--seed", "1", "--json"]].concat()).stdout();
    let params = |run: &Path| fs::read(run.join("final_params.safetensors")).unwrap();
    assert_eq!(params(&folder.path().join("same")), params(trained()));
    assert_ne!(params(&folder.path().join("other")), params(trained()));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["state"], &summary["update"]), (&"completed".into(), &10.into()));
}

#[test]
fn agents_that_are_trained_together_are_runs_of_their_own() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    let flags = ["--num-seeds", "3", "--seed", "4", "--eval-interval", "5", "--eval-episodes", "3", "--json"];
    let summary = run(&[&small_run(parent, "g")[..], &flags].concat()).stdout();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert_eq!((&summary["num_seeds"], &summary["timesteps"]), (&3.into(), &960.into()));
    assert!(summary["steps_per_second"].as_f64().unwrap() > 0.0);
    let directories = ["g-s4", "g-s5", "g-s6"].map(|name| folder.path().join(name));
    let exports = directories.clone().map(|run| fs::read(run.join("final_params.safetensors")).unwrap());
    assert!(exports[0] != exports[1] && exports[1] != exports[2]);
    for (run, seed) in directories.iter().zip(4..) {
        assert_eq!(json(&run.join("status.json"))["state"], "completed");
        assert_eq!(json(&run.join("meta.json"))["seed"], seed);
        assert_eq!(metrics(run).len(), 6); // updates 2, 4, 5, 6, 8, 10
        assert!(run.join("best_params.safetensors").is_file());
    }
    let listed = run(&["runs", "list", "--all", "--checkpoint-dir", parent]).stdout();
    assert_eq!(listed.lines().filter(|line| line.contains("completed")).count(), 3, "{listed}");
    let params = directories[1].join("final_params.safetensors");
    run(&["eval", params.to_str().unwrap(), "--episodes", "3", "--max-steps", "20"]).stdout();

    // One of them goes on alone, from the middle and beyond its end.
    let checkpoint = directories[1].join("checkpoint_5.ckpt");
    let resumed = ["train", "--resume", checkpoint.to_str().unwrap(), "--total-timesteps", "384"];
    run(&resumed).stdout();
    assert_eq!(json(&directories[1].join("status.json"))["update"], 12);
    let again = run(&[&resumed[..], &["--num-seeds", "3"]].concat());
    again.fails_in_one_line(2, &["num_seeds is 1 in the run g-s5 and cannot become 3"]);
    let taken = run(&[&small_run(parent, "g")[..], &flags].concat());
    taken.fails_in_one_line(1, &["there is a run g-s4 already"]);
}

#[test]
fn evaluations_change_nothing_and_are_those_of_the_eval_command() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    let flags = "--eval-interval 5 --eval-episodes 7 --eval-max-steps 30 --eval-stochastic --log-episodes";
    let flags: Vec<&str> = flags.split(' ').collect();
    let summary = run(&[&small_run(parent, "small")[..], &flags, &["--json"]].concat()).stdout();
    let directory = folder.path().join("small");
    let params = |run: &Path| fs::read(run.join("final_params.safetensors")).unwrap();
    assert_eq!(params(&directory), params(trained()));

    let rows = metrics(&directory);
    let evaluated: Vec<_> = rows.iter().filter(|row| row.get("eval/mean_return").is_some()).collect();
    assert_eq!(evaluated.iter().map(|row| row["update"].clone()).collect::<Vec<_>>(), [5, 10]);
    let by_return = |row: &&&Value| (row["eval/mean_return"].as_f64().unwrap() * 1e6) as u64;
    let best = evaluated.iter().rev().max_by_key(by_return).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let best_params = summary["best_params"].as_str().unwrap();
    let seed = best["update"].to_string(); // that of the run is 0
    let options = ["--episodes", "7", "--max-steps", "30", "--stochastic", "--seed", &seed, "--json"];
    let report = run(&[&["eval", best_params], &options[..]].concat()).stdout();
    let report: Value = serde_json::from_str(&report).unwrap();
    let [mean, length] = [&report["episode_return"]["mean"], &report["episode_length"]["mean"]];
    let logged = ["eval/mean_return", "eval/mean_length"].map(|name| best[name].as_f64().unwrap() as f32);
    assert_eq!([mean, length].map(|value| value.as_f64().unwrap() as f32), logged);
    assert_eq!(fs::read_to_string(directory.join("episodes.csv")).unwrap().lines().count(), 1 + 2 * 7);

    // Resumed after the first evaluation, it comes to the same.
    let checkpoint = directory.join("checkpoint_5.ckpt");
    let best_before = fs::read(best_params).unwrap();
    run(&["train", "--resume", checkpoint.to_str().unwrap()]).stdout();
    assert_eq!(metrics(&directory), rows);
    assert_eq!(fs::read(best_params).unwrap(), best_before);
    assert_eq!(params(&directory), params(trained()));
}

#[test]
fn a_run_goes_on_when_nobody_reads_what_it_says() {
    let folder = TempDir::new().unwrap();
    let arguments = small_run(folder.path().to_str().unwrap(), "alone");
    let mut process = lockstep(&arguments).stderr(Stdio::piped()).spawn().unwrap();
    drop(process.stderr.take());
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(folder.path().join("alone/final_params.safetensors").is_file());
}

/// A value that was made bad in one environment's observation is found there.
#[test]
fn a_diagnosis_names_update_tensor_and_environment() {
    let folder = TempDir::new().unwrap();
    let copy = folder.path().join("bad");
    fs::create_dir(&copy).unwrap();
    fs::copy(trained().join("config.toml"), copy.join("config.toml")).unwrap();
    let mut checkpoint = Checkpoint::load(&trained().join("checkpoint_5.ckpt")).unwrap();
    let (_, obs) = checkpoint.state.iter_mut().find(|(name, _)| name == "envs.view.obs").unwrap();
    assert_eq!(obs.shape(), [4, 4]);
    let mut values = obs.as_slice::<f32>().to_vec();
    values[2 * 4 + 1] = f32::NAN;
    *obs = HostArray::new(&[4, 4], values);
    checkpoint.save(&copy.join("nonfinite_5.ckpt")).unwrap();
    let diagnosis = run(&["runs", "diagnose", copy.to_str().unwrap()]).stdout();
    let lines: Vec<&str> = diagnosis.lines().collect();
    assert!(lines[0].starts_with("update 6 repeated from "), "{diagnosis}");
    let before =
        "before it: envs.view.obs has 1 of 16 values that are not finite, the first at [2, 1]: environment 2";
    assert_eq!(lines[1..3], [before, "first: obs is NaN at step 0 of environment 2"]);
    assert!(diagnosis.contains("\nin it: ") && diagnosis.contains("\nafter it: params."), "{diagnosis}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_and_exits_with_0() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    let directory = folder.path().join("endless");
    let endless =
        small_run(parent, "endless").into_iter().map(|arg| if arg == "320" { "1000000000" } else { arg });
    let resumed = ["train", "--resume", directory.to_str().unwrap()];
    let first = if interrupts_are_ignored() { "-TERM" } else { "-INT" };
    for (signal, args) in [(first, endless.collect::<Vec<_>>()), ("-TERM", resumed.to_vec())] {
        let is_checkpoint =
            |entry: &fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "ckpt");
        let checkpoints =
            || fs::read_dir(&directory).into_iter().flatten().flatten().filter(is_checkpoint).count();
        let before = checkpoints();
        let mut process = lockstep(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Checkpoints appear: it trains.
        wait_for(&mut process, || directory.join("pid").exists() && checkpoints() > before + 2);
        assert!(Command::new("kill").arg(signal).arg(process.id().to_string()).status().unwrap().success());
        let done = done(process.wait_with_output().unwrap());
        assert_eq!(done.status, Some(0), "{}", done.stderr);
        let status = json(&directory.join("status.json"));
        assert_eq!(status["state"], "stopped");
        let update = status["update"].as_u64().unwrap();
        assert!(directory.join(format!("checkpoint_{update}.ckpt")).is_file());
        assert!(directory.join(format!("params_{update}.safetensors")).is_file());
        assert!(!directory.join("pid").exists());
    }
}

/// In the background of a script, a process and its children ignore SIGINT from the start.
fn interrupts_are_ignored() -> bool {
    let are_ignored = is_ignored(signal_hook::consts::SIGINT);
    if are_ignored {
        crate::common::skip("SIGINT ends a run cleanly: here it is ignored");
    }
    are_ignored
}

fn wait_for(process: &mut Child, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert_eq!(process.try_wait().unwrap(), None, "it has ended");
        assert!(start.elapsed() < Duration::from_secs(300), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}
