//! What operators meet: files of others, terminals that go away, limits of the system.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{done, finish, lockstep, run, small_run, trained};

/// A run that is over, as far as `runs rm` is concerned.
fn past_run(parent: &Path, name: &str) -> PathBuf {
    let path = parent.join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("config.toml"), "").unwrap();
    fs::write(path.join("meta.json"), r#"{"id": "abc"}"#).unwrap();
    path
}

#[test]
fn runs_are_removed_though_nobody_reads_what_is_said() {
    let folder = TempDir::new().unwrap();
    let names = ["a", "b", "c"];
    let paths = names.map(|name| past_run(folder.path(), name));
    let mut command = lockstep(&["runs", "rm", "--yes", "--checkpoint-dir", folder.path().to_str().unwrap()]);
    let mut process = command.args(names).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop((process.stdout.take(), process.stderr.take()));
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert!(paths.iter().all(|path| !path.exists()));
}

#[test]
fn only_runs_are_removed_and_the_checkpoint_directory_comes_first() {
    let folder = TempDir::new().unwrap();
    let [checkpoints, here] = ["checkpoints", "here"].map(|name| folder.path().join(name));
    // In the current directory are a project with a config.toml, and a folder with the name of a run.
    for name in ["project", "a"] {
        fs::create_dir_all(here.join(name)).unwrap();
        fs::write(here.join(name).join("config.toml"), "title = 'thesis'\n").unwrap();
    }
    fs::write(here.join("config.toml"), "").unwrap();
    let run = past_run(&checkpoints, "a");
    let remove = |name| {
        let mut command = lockstep(&["runs", "rm", "--yes", "--checkpoint-dir"]);
        finish(command.arg(&checkpoints).arg(name).current_dir(&here))
    };
    for name in ["./project", "project", "."] {
        let refused = remove(name);
        assert!(matches!(refused.status, Some(1 | 2)), "{name}: {}", refused.stderr);
        assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    }
    remove("a").stdout();
    assert!(!run.exists() && here.join("a/config.toml").exists());
    assert!(here.join("project/config.toml").exists() && here.join("config.toml").exists());
}

#[cfg(unix)]
#[test]
fn too_many_seeds_for_the_system_are_refused_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    let command = lockstep(&small_run(folder.path().to_str().unwrap(), "g"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -n 300; exec \"$0\" \"$@\" --num-seeds 204"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    finish(&mut shell).fails(1, &["204 runs in one process need 2648 open files", "the system allows 300"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Another command may be given the terminal's hangup to ignore, as `nohup` does.
#[cfg(target_os = "linux")]
#[test]
fn full_screens_end_when_their_terminal_is_gone() {
    let folder = TempDir::new().unwrap();
    let path = trained().to_str().unwrap();
    let watched = format!("{path}/final_params.safetensors");
    for arguments in [&["runs", "watch", path][..], &["watch", &watched, "--speed", "0.1"]] {
        let number = folder.path().join("number");
        let command = lockstep(arguments);
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
        let line = format!("trap '' HUP; echo $$ > {}; exec {}", number.display(), words.join(" "));
        let mut script = Command::new("script");
        for (name, value) in command.get_envs() {
            value.map(|value| script.env(name, value));
        }
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm").env("SHELL", "/bin/sh");
        let started = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut terminal) = started else {
            crate::common::skip("full screens whose terminal is gone: there is no `script` of util-linux");
            return;
        };
        // The first thing on a full screen is that the terminal is made one.
        let mut screen = terminal.stdout.take().unwrap();
        std::io::Read::read_exact(&mut screen, &mut [0; 8]).unwrap();
        let number: u32 = fs::read_to_string(&number).unwrap().trim().parse().unwrap();
        terminal.kill().unwrap();
        terminal.wait().unwrap();
        drop(screen);
        let is_gone = || {
            let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
            stat.is_empty()
                || stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
        };
        let start = Instant::now();
        while !is_gone() {
            assert!(start.elapsed() < Duration::from_secs(60), "{arguments:?} goes on without a terminal");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[cfg(unix)]
#[test]
fn a_background_job_of_a_script_does_not_hear_the_interrupt_of_its_terminal() {
    let folder = TempDir::new().unwrap();
    let command = lockstep(&small_run(folder.path().to_str().unwrap(), "job"));
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' INT; \"$0\" \"$@\" & kill -INT $!; wait $!"]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    let job = done(shell.output().unwrap());
    assert_eq!(job.status, Some(0), "{}", job.stderr);
    assert!(folder.path().join("job/final_params.safetensors").exists());
}

/// Sends SIGTERM.
#[cfg(unix)]
fn terminate(process: &std::process::Child) {
    use rustix::process::{Pid, Signal, kill_process};
    kill_process(Pid::from_child(process), Signal::TERM).unwrap();
}

/// Without a handler the first process of a container would not hear it at all, and this one would die of the signal.
#[cfg(unix)]
#[test]
fn a_program_that_compiles_is_ended_by_its_handler() {
    let folder = TempDir::new().unwrap();
    let mut command = lockstep(&["train", "--no-wandb", "--device", "cpu", "--checkpoint-dir"]);
    command.arg(folder.path()).env("LOCKSTEP_NO_CACHE", "1").stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let said = BufReader::new(process.stderr.take().unwrap()).lines();
    let compiling = said.map(Result::unwrap).find(|line| line.starts_with("compiling with XLA"));
    assert!(compiling.is_some(), "it did not say that it compiles");
    terminate(&process);
    assert_eq!(process.wait().unwrap().code(), Some(128 + 15));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A million episodes take long. The run stops all the same, its newest parameters are found, and it goes on.
#[cfg(unix)]
#[test]
fn a_run_stops_within_a_long_evaluation() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().to_str().unwrap();
    let evaluating = ["--eval-interval", "1", "--eval-episodes", "1048576", "--eval-stochastic"];
    let mut command = lockstep(&[&small_run(directory, "job")[..], &evaluating].concat());
    let mut process = command.stderr(Stdio::null()).spawn().unwrap();
    let run = folder.path().join("job");
    let status = || -> serde_json::Value {
        let text = fs::read_to_string(run.join("status.json")).unwrap_or("{}".into());
        serde_json::from_str(&text).unwrap()
    };
    let start = Instant::now();
    let mut beats = std::collections::BTreeSet::new();
    while beats.len() < 2 {
        assert!(
            start.elapsed() < Duration::from_secs(300),
            "no sign of life within an evaluation: {}",
            status()
        );
        assert!(process.try_wait().unwrap().is_none(), "it has ended: {}", status());
        if status()["update"] == 1 {
            beats.insert(status()["last_heartbeat"].to_string());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    terminate(&process);
    assert_eq!(process.wait().unwrap().code(), Some(0));
    assert_eq!((&status()["state"], &status()["update"]), (&"stopped".into(), &1.into()));
    assert_eq!(
        fs::read_to_string(run.join("metrics.jsonl")).unwrap(),
        "",
        "the evaluation was played to its end"
    );
    let evaluated =
        super::run(&["eval", "job", "--checkpoint-dir", directory, "--episodes", "4", "--json"]).stdout();
    assert!(evaluated.contains("params_1.safetensors"), "{evaluated}");
    let resumed = ["train", "--resume", "job", "--checkpoint-dir", directory, "--eval-episodes", "4"];
    super::run(&resumed).stdout();
    let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let evaluated = rows.lines().filter(|row| row.contains("\"eval/mean_return\":")).count();
    assert_eq!((rows.lines().count(), evaluated), (10, 10));
}

/// A checkpoint in a folder of the user's own: nothing else there is touched.
#[test]
fn a_checkpoint_in_a_folder_of_ones_own_goes_on_elsewhere() {
    let folder = TempDir::new().unwrap();
    let [own, checkpoints] = ["own", "checkpoints"].map(|name| folder.path().join(name));
    fs::create_dir(&own).unwrap();
    fs::copy(trained().join("checkpoint_5.ckpt"), own.join("x.ckpt")).unwrap();
    let files = ["metrics.jsonl", "final_params.safetensors", ".notes.tmp"];
    files.iter().for_each(|name| fs::write(own.join(name), "mine\n").unwrap());
    let [from, to] = [own.join("x.ckpt"), checkpoints.clone()].map(|path| path.to_str().unwrap().to_owned());
    let resumed = run(&["train", "--resume", &from, "--checkpoint-dir", &to, "--run-name", "next"]);
    assert!(
        resumed.stderr.contains("it lies in no run's directory, so the run goes on in "),
        "{}",
        resumed.stderr
    );
    resumed.stdout();
    let params = |run: &Path| fs::read(run.join("final_params.safetensors")).unwrap();
    assert_eq!(params(&checkpoints.join("next")), params(trained()));
    files.iter().for_each(|name| assert_eq!(fs::read_to_string(own.join(name)).unwrap(), "mine\n"));
    assert_eq!(fs::read_dir(&own).unwrap().count(), 1 + files.len());
}
