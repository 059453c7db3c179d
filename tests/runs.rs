//! `lockstep runs` as a user types it.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::lockstep;

fn runs(dir: &Path, arguments: &[&str]) -> Output {
    lockstep()
        .arg("runs")
        .args(arguments)
        .arg("--checkpoint-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// What a successful command printed.
fn printed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The exit status and the one line that a mistake gets.
fn mistake(output: Output) -> (i32, String) {
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    (output.status.code().unwrap(), said.trim_end().to_string())
}

fn train(dir: &Path, name: &str, more: &[&str]) -> std::process::Command {
    let mut command = lockstep();
    command.args(["train", "--env", "cartpole", "--device", "cpu", "--no-wandb", "--log-interval", "5"]);
    command.args(["--num-envs", "4", "--num-steps", "128", "--run-name", name]);
    command.args(more).arg("--checkpoint-dir").arg(dir).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn list(dir: &Path) -> Vec<(String, String)> {
    let runs: Value = serde_json::from_str(&printed(runs(dir, &["list", "--all", "--json"]))).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    runs.as_array().unwrap().iter().map(|run| (text(&run["run"]), text(&run["life"]))).collect()
}

#[test]
fn runs_are_listed_compared_plotted_stopped_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, lr) in [("first", "0.001"), ("second", "0.002")] {
        let done = train(dir, name, &["--total-timesteps", "20480", "--lr", lr]).status().unwrap();
        assert!(done.success());
    }
    let mut third = train(dir, "third", &["--total-timesteps", "1000000000"]).spawn().unwrap();
    let start = Instant::now();
    while !list(dir).contains(&("third".into(), "running".into())) {
        assert!(start.elapsed() < Duration::from_secs(120), "{:?}", list(dir));
        std::thread::sleep(Duration::from_millis(50));
    }
    let shown = printed(runs(dir, &["list"]));
    assert!(shown.contains("third") && !shown.contains("first"), "{shown}");
    assert!(shown.contains(&format!("(pid={})", third.id())), "{shown}");
    let all = printed(runs(dir, &["list", "--all"]));
    let cells: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(cells[0][..8], ["run", "env", "seed", "state", "timesteps", "done", "return", "steps/s"]);
    assert_eq!(cells[1][..6], ["first", "cartpole", "0", "completed", "20.5k/20.5k", "100%"]);
    assert!(cells[1][6].parse::<f64>().is_ok_and(|mean| mean > 8.0), "{all}");

    let (code, said) = mistake(runs(dir, &["rm", "third", "--yes"]));
    assert_eq!(code, 1);
    assert!(said.contains("the run third is being trained by process"), "{said}");

    let stopped = runs(dir, &["stop", "third"]);
    assert!(String::from_utf8_lossy(&stopped.stderr).contains("sent SIGTERM to process"));
    assert!(third.wait().unwrap().success());
    assert_eq!(list(dir)[2], ("third".into(), "stopped".into()));

    let show: Value = serde_json::from_str(&printed(runs(dir, &["show", "first", "--json"]))).unwrap();
    assert_eq!((&show["status"]["update"], &show["metrics"]["update"]), (&40.into(), &40.0.into()));
    assert!(printed(runs(dir, &["show", "latest"])).contains("third"));
    let shown = printed(runs(dir, &["show", "first"]));
    for part in
        ["20,480 of 20,480 (100.0%)", "\nSettings\n", "  num_envs ", "\nMetrics, newest value\n", "\nFiles\n"]
    {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }

    let compared = printed(runs(dir, &["compare", "first", "second"]));
    let lr = compared.lines().find(|line| line.trim_start().starts_with("lr ")).expect(&compared);
    assert!(lr.contains("0.001") && lr.contains("0.002"), "{lr}");
    assert!(!compared.contains("num_envs") && compared.contains("train/entropy = "), "{compared}");

    let picture = dir.join("curves.svg");
    printed(runs(dir, &["plot", "first", "second", "--out", picture.to_str().unwrap()]));
    let svg = fs::read_to_string(&picture).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("train/mean_episode_return") && svg.contains("second"));
    // A point for each of the 40 updates, though only each fifth was logged.
    let picture = dir.join("curves.png");
    let out = ["--x", "update", "--out", picture.to_str().unwrap(), "--metric", "entropy,vf_loss"];
    printed(runs(dir, &[&["plot", "first"], &out[..]].concat()));
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));
    let curves = fs::read_to_string(dir.join("first/curves.jsonl")).unwrap();
    assert_eq!(
        (
            curves.lines().count(),
            fs::read_to_string(dir.join("first/metrics.jsonl")).unwrap().lines().count()
        ),
        (40, 8)
    );

    assert_eq!(mistake(runs(dir, &["rm", "first"])).0, 2, "nobody to ask");
    printed(runs(dir, &["rm", "first", "third", "--yes"]));
    assert_eq!(list(dir), [("second".to_string(), "completed".to_string())]);
}

#[test]
fn bf16_trains_and_deterministic_changes_nothing_on_cpu() {
    let dir = tempfile::tempdir().unwrap();
    let first_line = |name: &str, more: &[&str]| -> Value {
        // Native kernels of a network as small as this one stay in f32.
        let short = [&["--total-timesteps", "5120", "--no-kernels"], more].concat();
        let output = train(dir.path(), name, &short).stderr(Stdio::piped()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = fs::read_to_string(dir.path().join(name).join("metrics.jsonl")).unwrap();
        let mut line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        line.as_object_mut().unwrap().retain(|key, _| key.contains("loss") || key == "train/entropy");
        line
    };
    let exact = first_line("exact", &[]);
    assert_eq!(first_line("again", &["--deterministic"]), exact);
    let coarse = first_line("coarse", &["--precision", "bf16"]);
    assert_ne!(coarse, exact);
    assert!(
        (coarse["train/entropy"].as_f64().unwrap() - exact["train/entropy"].as_f64().unwrap()).abs() < 0.02
    );
    let config = fs::read_to_string(dir.path().join("coarse/config.toml")).unwrap();
    assert!(config.contains("precision = \"bf16\"") && config.contains("deterministic = false"), "{config}");
}

#[test]
fn a_run_that_diverges_says_so_and_is_diagnosed() {
    let dir = tempfile::tempdir().unwrap();
    let wild = ["--lr", "1e30", "--max-grad-norm", "inf", "--total-timesteps", "102400"];
    let output = train(dir.path(), "wild", &wild).stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let error = said.lines().last().unwrap();
    assert!(
        error.starts_with("error: ") && error.contains("at update ") && error.contains("nonfinite_"),
        "{error}"
    );
    assert_eq!(list(dir.path()), [("wild".to_string(), "failed".to_string())]);
    let diagnosis = printed(runs(dir.path(), &["diagnose", "wild"]));
    assert!(diagnosis.starts_with("update ") && diagnosis.contains("\nin it: "), "{diagnosis}");
    assert!(diagnosis.contains("params.actor"), "{diagnosis}");
}

#[test]
fn mistakes_are_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    for command in ["show", "stop", "plot"] {
        let (code, said) = mistake(runs(&none, &[command, "x"]));
        assert_eq!(code, 2, "{said}");
        assert!(said.starts_with("error: there is no run x in "), "{said}");
    }
    assert_eq!(mistake(runs(&none, &["show", "latest"])).0, 1);
    assert_eq!(mistake(runs(&none, &["lisst"])).0, 2);
    assert_eq!(
        mistake(runs(&none, &["plot", "x", "--out", "x.gif"])),
        (2, "error: x.gif ends with neither .svg nor .png, the formats that are written".into())
    );
    let listed = runs(&none, &["list"]);
    assert!(
        listed.status.success()
            && String::from_utf8_lossy(&listed.stderr).starts_with("there is no directory")
    );
    assert_eq!(printed(runs(&none, &["list", "--all", "--json"])), "[]\n");
}
