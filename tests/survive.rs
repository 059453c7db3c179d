//! A run that is killed again and again ends as if nothing had happened.
//!
//! Each combination of environment and number of devices is trained once at a stretch, and once with SIGKILLs: spread
//! over the whole run, in the middle of writing a checkpoint, and while it starts. The suite kills a few times;
//! `LOCKSTEP_KILLS=12 cargo test --test all -- --ignored --nocapture survive` kills so often in each combination.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep::trainer::Checkpoint;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::common::lockstep;

/// What is trained, and for how long.
#[derive(Clone, Copy)]
struct Task {
    env: &'static str,
    num_envs: u64,
    num_steps: u64,
    devices: u64,
    updates: u64,
}

const CARTPOLE: Task = Task { env: "cartpole", num_envs: 4, num_steps: 128, devices: 1, updates: 600 };
const HACKMATRIX: Task = Task { env: "hackmatrix", num_envs: 4, num_steps: 8, devices: 1, updates: 60 };

impl Task {
    fn on(self, devices: u64) -> Self {
        Self { devices, ..self }
    }

    fn for_updates(self, updates: u64) -> Self {
        Self { updates, ..self }
    }

    fn batch(&self) -> u64 {
        self.num_envs * self.num_steps
    }

    /// `lockstep train` of the run `run` in `dir`, new or resumed from its newest checkpoint. It saves after every
    /// update, with all logs but the server of W&B.
    fn train(&self, dir: &Path) -> Command {
        self.train_with(dir, &["--save-interval", "1", "--log-interval", "7"])
    }

    fn train_with(&self, dir: &Path, intervals: &[&str]) -> Command {
        let run = dir.join("run");
        let mut command = lockstep();
        command.args(["train", "--device", "cpu", "--keep", "3"]).args(intervals);
        command.args(["--no-artifact", "--wandb", "offline"]);
        command.args(["--total-timesteps", &(self.updates * self.batch()).to_string()]);
        command.arg("--checkpoint-dir").arg(dir);
        match checkpoints(&run).is_empty() {
            true => {
                let _ = fs::remove_dir_all(&run); // it was killed before it saved anything
                command.args(["--env", self.env, "--run-name", "run", "--hidden-dim", "32"]);
                command.args(["--num-envs", &self.num_envs.to_string(), "--num-steps"]);
                command.args([self.num_steps.to_string(), "--devices".into(), self.devices.to_string()]);
                if self.env == HACKMATRIX.env {
                    command.args(["--curriculum", "--curriculum-returns", "-1000,-1000"]);
                }
            }
            false => drop(command.arg("--resume").arg(&run)),
        }
        command
    }
}

/// The updates of the checkpoints in a run directory.
fn checkpoints(run: &Path) -> Vec<u64> {
    let names = fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let update = |name: &str| name.strip_prefix("checkpoint_")?.strip_suffix(".ckpt")?.parse().ok();
    names.filter_map(|name| update(&name.to_string_lossy())).collect()
}

/// Whether a checkpoint is being written, or was when the process was killed.
fn is_half_written(run: &Path) -> bool {
    let mut entries = fs::read_dir(run).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_string_lossy().ends_with(".ckpt.tmp"))
}

/// When to kill.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// So long after the process began: while it loads its programs, or resumes.
    Start(Duration),
    /// So long after a checkpoint of this update or a later one was there.
    Update(u64, Duration),
    /// When a checkpoint is being written after this update.
    Writing(u64),
}

/// `kills` moments in order, from the start to nearly the last update, in between at random.
fn moments(kills: u64, updates: u64) -> Vec<Moment> {
    let mut state = 7u64;
    let mut below = |limit: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % limit.max(1)
    };
    let mut moment = |i: u64| {
        let (begin, end) = (i * updates / kills, (i + 1) * updates / kills);
        let update = if i + 1 == kills { updates - 1 - updates / 40 } else { begin + below(end - begin) };
        match i % 4 {
            1 => Moment::Writing(update),
            3 if i + 1 < kills => Moment::Start(Duration::from_millis(below(700))),
            _ => Moment::Update(update, Duration::from_micros(below(8000))),
        }
    };
    (0..kills).map(&mut moment).collect()
}

impl Moment {
    /// Waits for the moment. Says whether it has come: the process may end before.
    fn wait(self, child: &mut Child, run: &Path) -> bool {
        let start = Instant::now();
        let beyond = |update| checkpoints(run).iter().any(|saved| *saved >= update);
        let has_come = || match self {
            Moment::Start(delay) => start.elapsed() >= delay,
            Moment::Update(update, _) => beyond(update),
            Moment::Writing(update) => is_half_written(run) && beyond(update),
        };
        while !has_come() {
            if child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(start.elapsed() < Duration::from_secs(300), "no progress: {self:?}");
            std::thread::sleep(Duration::from_micros(100));
        }
        if let Moment::Update(_, delay) = self {
            std::thread::sleep(delay);
        }
        child.try_wait().unwrap().is_none()
    }
}

/// All that a finished run leaves, but for what depends on the clock.
#[derive(PartialEq)]
struct Remains {
    /// sha256 of the final parameters and of the whole state.
    params: Vec<u8>,
    state: Vec<u8>,
    /// The update and the sha256 of the state at which phases of a curriculum ended.
    phases: Vec<(u64, Vec<u8>)>,
    metrics: Vec<Value>,
    table: Vec<Vec<String>>,
    /// Rows in the TensorBoard files.
    events: usize,
}

fn result(run: &Path) -> Remains {
    let params = Sha256::digest(fs::read(run.join("final_params.safetensors")).unwrap()).to_vec();
    let newest = checkpoints(run).into_iter().max().unwrap();
    let (_, state) = state_in(&run.join(format!("checkpoint_{newest}.ckpt")));
    let ends = [1, 2].map(|phase| run.join(format!("phase_{phase}_complete.ckpt")));
    let phases = ends.iter().filter(|path| path.exists()).map(|path| state_in(path)).collect();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let fields = row.as_object_mut().unwrap();
        let all = fields.len();
        fields.retain(|name, _| !name.starts_with("time/"));
        assert_eq!(all - fields.len(), 8, "{line}");
        row
    };
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().map(row).collect();
    let cells = |line: &str| {
        let cells: Vec<_> = line.split(',').map(String::from).collect();
        cells[..cells.len() - 9].to_vec()
    };
    let table = fs::read_to_string(run.join("updates.csv")).unwrap().lines().map(cells).collect();
    let events =
        fs::read_dir(run.join("tensorboard")).unwrap().map(|file| events(&file.unwrap().path())).sum();
    Remains { params, state, phases, metrics, table, events }
}

/// The update of a checkpoint and the sha256 of its state.
fn state_in(path: &Path) -> (u64, Vec<u8>) {
    let checkpoint = Checkpoint::load(path).unwrap();
    let mut state = Sha256::new();
    for (name, array) in checkpoint.state {
        state.update(name.as_bytes());
        state.update(array.to_bytes());
    }
    (checkpoint.progress.update, state.finalize().to_vec())
}

/// The events in a TensorBoard file, after the one that every file begins with.
fn events(path: &Path) -> usize {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut count) = (&bytes[..], 0);
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        rest = &rest[length + 16..];
        count += 1;
    }
    count - 1
}

#[track_caller]
fn succeeds(mut command: Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Kills a run `kills` times, and compares it with one that was not killed.
fn survives(task: Task, kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole");
    succeeds(task.train(&whole));

    let parent = dir.path().join("killed");
    let run = parent.join("run");
    let (mut killed, mut torn, mut updates) = (0, 0, Vec::new());
    for moment in moments(kills, task.updates) {
        let mut child = task.train(&parent).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let in_time = moment.wait(&mut child, &run);
        child.kill().unwrap(); // SIGKILL
        let status = child.wait().unwrap();
        assert!(in_time || status.success(), "the run failed by itself: {status}");
        killed += u64::from(in_time);
        torn += u64::from(in_time && is_half_written(&run));
        updates.push(checkpoints(&run).into_iter().max().unwrap_or(0));
    }
    assert!(
        killed * 4 >= kills * 3,
        "only {killed} of {kills} kills came before the end of the run: {updates:?}"
    );
    succeeds(task.train(&parent));
    let Task { env, devices, .. } = task;
    assert!(
        result(&run) == result(&whole.join("run")),
        "{env} on {devices} devices ended differently after kills at {updates:?}"
    );
    assert_eq!(checkpoints(&run).len(), 3, "--keep 3");
    println!(
        "{env}, {devices} devices: killed {killed} times in {} updates, {torn} times while a checkpoint was being \
         written; newest checkpoints then: {updates:?}",
        task.updates
    );
}

#[test]
fn cartpole_survives_kills() {
    survives(CARTPOLE, 10);
}

#[test]
fn cartpole_on_two_devices_survives_kills() {
    survives(CARTPOLE.on(2), 10);
}

#[test]
fn hackmatrix_survives_kills() {
    survives(HACKMATRIX, 3);
}

#[test]
fn hackmatrix_on_two_devices_survives_kills() {
    survives(HACKMATRIX.on(2), 3);
}

/// The state at the end of a phase is that of its update, and a checkpoint like any other.
#[test]
fn a_run_goes_on_from_the_end_of_a_phase() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    succeeds(HACKMATRIX.train(dir.path()));
    let before = result(&run);
    let (update, _) = *before.phases.first().expect("phase 1 has ended");
    assert!(update >= 20 && update.is_multiple_of(10), "{update}");
    let phases = before.metrics.iter().map(|row| (row["update"].as_u64(), row["curriculum/phase"].as_f64()));
    for (updates, phase) in phases {
        assert_eq!(phase > Some(1.0), updates > Some(update), "{updates:?}");
    }
    let mut resumed = lockstep();
    resumed.args(["train", "--resume"]).arg(run.join("phase_1_complete.ckpt"));
    let said = succeeds(resumed);
    assert!(said.contains(&format!("at update {update} ")), "{said}");
    assert!(result(&run) == before, "the run that went on ended differently");
}

/// Minutes long.
#[test]
#[ignore = "long: LOCKSTEP_KILLS times in each of four combinations"]
fn everything_survives_many_kills() {
    let kills = std::env::var("LOCKSTEP_KILLS").map_or(12, |kills| kills.parse().unwrap());
    for devices in [1, 2] {
        survives(CARTPOLE.on(devices).for_updates(40 * kills), kills);
        survives(HACKMATRIX.on(devices).for_updates(20 * kills), kills);
    }
}

#[test]
fn a_damaged_newest_checkpoint_is_named_and_the_one_before_is_good() {
    let dir = tempfile::tempdir().unwrap();
    let task = CARTPOLE.for_updates(30);
    succeeds(task.train(dir.path()));
    let run: PathBuf = dir.path().join("run");
    let before = result(&run);
    let newest = run.join("checkpoint_30.ckpt");
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let refused = task.train(dir.path()).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    let (damage, older) = said.trim().split_once("; the one before it is ").expect(&said);
    assert!(damage.contains("checkpoint_30.ckpt is truncated"), "{said}");
    let mut resumed = lockstep();
    resumed.args(["train", "--resume", older]);
    assert!(succeeds(resumed).contains("resumed "));
    assert!(result(&run) == before, "the repaired run ended differently");
}

/// With all logs, a row in each of them per update. What kept a row would keep more than a kilobyte.
#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_the_run() {
    let (early, late) = (500, 5000);
    let dir = tempfile::tempdir().unwrap();
    let task = Task { num_steps: 16, ..CARTPOLE.for_updates(late + 500) };
    let mut command = task.train_with(dir.path(), &["--save-interval", "1000", "--log-interval", "1"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let table = dir.path().join("run/updates.csv");
    let mut resident_after = |rows: u64| {
        let logged = || fs::read(&table).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        while (logged() as u64) < rows {
            assert!(child.try_wait().unwrap().is_none(), "the run ended before {rows} rows");
            std::thread::sleep(Duration::from_millis(20));
        }
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let (before, after) = (resident_after(early), resident_after(late));
    child.kill().unwrap();
    child.wait().unwrap();
    println!("{before} kB after {early} updates, {after} kB after {late}");
    assert!(after < before + 3000, "{before} kB after {early} updates, {after} kB after {late}");
}

/// A run that goes on with another number of devices than it began with.
#[test]
fn a_checkpoint_of_one_device_count_loads_on_another() {
    for (first, second) in [(1, 2), (2, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("run");
        succeeds(CARTPOLE.on(first).for_updates(10).train(dir.path()));
        let mut resumed = CARTPOLE.for_updates(20).train(dir.path());
        let said = succeeds({
            resumed.args(["--devices", &second.to_string()]);
            resumed
        });
        let notes: Vec<_> = said.lines().filter(|line| line.starts_with("devices ")).collect();
        assert_eq!(
            notes,
            [format!("devices {first} -> {second}: the run goes on, but not bit for bit as on {first}")]
        );
        let state = |update| {
            let path = run.join(format!("checkpoint_{update}.ckpt"));
            let arrays = Checkpoint::load(&path).unwrap().state;
            let types = arrays.iter().map(|(name, array)| (name.clone(), array.array_type()));
            types.collect::<Vec<_>>()
        };
        assert_eq!(state(18), state(20), "the whole state has the same form on any number of devices");
        let rows = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        let updates: Vec<u64> = rows
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["update"].as_u64().unwrap())
            .collect();
        assert_eq!(updates, [7, 14, 20]);
    }
}
