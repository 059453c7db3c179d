//! A run that is killed again and again ends as if nothing had happened.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::lockstep;

const KILLS: usize = 32;
const UPDATES: u64 = 1500;

/// `lockstep train` of a run in `dir` that saves after every update; `more` says how it begins.
fn train(dir: &Path, more: &[&str]) -> Command {
    let mut command = lockstep();
    let steps = (UPDATES * 512).to_string();
    command.args(["train", "--device", "cpu", "--total-timesteps", &steps, "--checkpoint-dir"]).arg(dir);
    command.args(["--save-interval", "1", "--log-interval", "7", "--keep", "3", "--no-artifact"]).args(more);
    command.args(["--wandb", "offline"]);
    command
}

const BEGIN: [&str; 8] = ["--env", "cartpole", "--num-envs", "4", "--num-steps", "128", "--run-name", "run"];

/// The updates of the checkpoints in a run directory.
fn checkpoints(run: &Path) -> Vec<u64> {
    let names = fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let update = |name: &str| name.strip_prefix("checkpoint_")?.strip_suffix(".ckpt")?.parse().ok();
    names.filter_map(|name| update(&name.to_string_lossy())).collect()
}

/// Waits until the child has saved something beyond `update`.
fn wait_for_progress(child: &mut Child, run: &Path, update: u64) {
    let start = Instant::now();
    while !checkpoints(run).iter().any(|saved| *saved > update) {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it was killed");
        assert!(start.elapsed() < Duration::from_secs(300), "no progress after update {update}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What a run leaves, but for what depends on the clock.
fn result(run: &Path) -> (Vec<u8>, Vec<Value>, Vec<Vec<String>>) {
    let params = Sha256::digest(fs::read(run.join("final_params.safetensors")).unwrap()).to_vec();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        for name in ["steps_per_second", "wall_seconds"] {
            row.as_object_mut().unwrap().remove(name).unwrap();
        }
        row
    };
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(row).collect();
    let cells = |line: &str| {
        let cells: Vec<_> = line.split(',').map(String::from).collect();
        cells[..cells.len() - 3].to_vec()
    };
    let table = fs::read_to_string(run.join("updates.csv")).unwrap().lines().map(cells).collect();
    (params, metrics, table)
}

#[test]
fn a_run_killed_many_times_equals_one_that_was_not() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    let output = train(&whole, &BEGIN).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let parent = dir.path().join("killed");
    let run: PathBuf = parent.join("run");
    let (mut kills, mut torn, mut delay) = (0, 0, 7);
    while kills < KILLS {
        let before = checkpoints(&run).into_iter().max().unwrap_or(0);
        let resume = run.to_str().unwrap().to_string();
        let begin = if before == 0 { BEGIN.to_vec() } else { vec!["--resume", &resume] };
        let mut child = train(&parent, &begin).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for_progress(&mut child, &run, before);
        delay = (delay * 31 + 17) % 97; // in no order
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        kills += 1;
        torn +=
            run.read_dir().unwrap().flatten().any(|e| e.file_name().to_string_lossy().ends_with(".ckpt.tmp"))
                as usize;
        if kills == 1 {
            let list = lockstep()
                .args(["runs", "list", "--all", "--json", "--checkpoint-dir"])
                .arg(&parent)
                .output();
            let list: Value = serde_json::from_slice(&list.unwrap().stdout).unwrap();
            assert_eq!((&list[0]["run"], &list[0]["life"]), (&"run".into(), &"dead".into()));
        }
    }
    let last = checkpoints(&run).into_iter().max().unwrap();
    assert!(last < UPDATES, "the run was too short to be killed {KILLS} times");

    // The newest checkpoint is damaged: it is named, and the one before is offered, and good.
    let newest = run.join(format!("checkpoint_{last}.ckpt"));
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let refused = train(&parent, &["--resume", run.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let (damage, older) = said.trim().split_once("; the one before it is ").expect(&said);
    assert!(damage.contains(&format!("checkpoint_{last}.ckpt is truncated")), "{said}");
    let output = train(&parent, &["--resume", older]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    assert!(result(&run) == result(&whole.join("run")), "the killed run ended differently");
    assert_eq!(checkpoints(&run).len(), 3, "--keep 3");
    println!(
        "killed {kills} times at up to update {last} of {UPDATES}, {torn} times while a checkpoint was being written"
    );
}
