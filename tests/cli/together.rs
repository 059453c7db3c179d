//! Several processes that train together: the same bits as one, and every way in which one of them can be missing.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lockstep::runtime::{DeviceKind, plugin};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Done, done, finish, lockstep};
use crate::common::skip;

/// Small runs of 6 updates over 8 environments, saved after 3 and 6. The learning rate stays, so that a longer run begins as a shorter one.
const CARTPOLE: &str = "--env cartpole --num-envs 8 --num-steps 8 --hidden-dim 8 --total-timesteps 384 --seed 1 --anneal-lr false \
     --log-interval 2 --save-interval 3";
const LSTM: &str = "--env memory --rnn lstm --rnn-dim 8 --num-envs 8 --num-steps 8 --hidden-dim 8 --total-timesteps 384 \
                    --log-interval 2 --save-interval 3";
const HACKMATRIX: &str = "--env hackmatrix --num-envs 8 --num-steps 8 --num-minibatches 2 --hidden-dim 16 --total-timesteps 384 \
                          --seed 3 --log-interval 2 --save-interval 3";
const DQN: &str = "--env cartpole --algo dqn --num-envs 8 --num-steps 8 --batch-size 16 --hidden-dim 8 --total-timesteps 768 \
                   --replay-size 1024 --learning-starts 64 --log-interval 2 --save-interval 3";
const COMMON: &str = "--device cpu --no-wandb";
/// A run that does not end by itself.
const ENDLESS: &str = "--env cartpole --num-envs 8 --num-steps 8 --hidden-dim 8 --total-timesteps 1000000000 --log-interval 100 \
     --save-interval 200 --keep 2";

/// A port that nobody listens on.
fn port() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string()
}

fn command(directory: &Path, name: &str, words: &str) -> Command {
    let mut command =
        lockstep(&["train", "--checkpoint-dir", directory.to_str().unwrap(), "--run-name", name]);
    command.args(words.split_whitespace()).args(COMMON.split_whitespace());
    command
}

/// The process of a rank, with `devices` devices.
fn rank(of: &Path, name: &str, words: &str, rank: usize, size: usize, devices: usize, port: &str) -> Command {
    let mut command = command(of, name, words);
    let numbers = [rank, size, devices].map(|number| number.to_string());
    command.args(["--node-rank", &numbers[0], "--nnodes", &numbers[1], "--devices", &numbers[2]]);
    command.args(["--master-addr", "127.0.0.1", "--master-port", port]);
    command
}

fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Done {
    done(child.wait_with_output().unwrap())
}

/// Trains in so many processes, the ranks started in the wrong order.
fn together(directory: &Path, name: &str, words: &str, size: usize, devices: usize) {
    let port = port();
    let start = |number| start(&mut rank(directory, name, words, number, size, devices, &port));
    let children: Vec<Child> = (0..size).rev().map(start).collect();
    children.into_iter().for_each(|child| drop(ended(child).stdout()));
}

fn alone(directory: &Path, name: &str, words: &str, devices: usize) {
    let devices = devices.to_string();
    finish(command(directory, name, words).args(["--devices", &devices])).stdout();
}

/// The parameters and checkpoints of a run, and its metrics without those of time.
fn bits(run: &Path) -> (Vec<(String, Vec<u8>)>, Vec<Value>) {
    let mut files: Vec<PathBuf> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let name = |file: &Path| file.file_name().unwrap().to_string_lossy().into_owned();
    let files = files.iter().map(|file| (name(file), fs::read(file).unwrap())).collect();
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let rows = text.lines().map(|line| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        let row_object = row.as_object_mut().unwrap();
        row_object
            .retain(|key, _| !key.starts_with("time/") && !["time", "wall_seconds"].contains(&key.as_str()));
        row
    });
    (files, rows.collect())
}

#[track_caller]
fn same(root: &Path, words: &str) -> PathBuf {
    let directory = &tempfile::tempdir_in(root).unwrap().keep();
    alone(directory, "1x4", words, 4);
    together(directory, "2x2", words, 2, 2);
    together(directory, "4x1", words, 4, 1);
    let expected = bits(&directory.join("1x4"));
    for name in ["2x2", "4x1"] {
        assert!(bits(&directory.join(name)) == expected, "{words}: {name} is another run than 1x4");
    }
    directory.clone()
}

#[test]
fn several_processes_have_the_bits_of_one() {
    let root = TempDir::new().unwrap();
    let runs = same(root.path(), CARTPOLE);
    // What one process saved, others go on with, and the other way round.
    let longer = CARTPOLE.replace("384", "768");
    let (four, two) = (runs.join("1x4"), runs.join("2x2"));
    let resumed = |run: &Path| format!("--resume {} --total-timesteps 768", run.display());
    alone(&runs, "whole", &longer, 4);
    finish(lockstep(&["train", "--devices", "4"]).args(resumed(&two).split_whitespace())).stdout();
    let port = port();
    let children: Vec<Child> = (0..2)
        .map(|number| {
            let mut command =
                lockstep(&["train", "--nnodes", "2", "--master-addr", "127.0.0.1", "--devices", "2"]);
            command.args(["--master-port", &port, "--node-rank", &number.to_string()]);
            start(command.args(resumed(&four).split_whitespace()))
        })
        .collect();
    children.into_iter().for_each(|child| drop(ended(child).stdout()));
    let params = |run: &str| fs::read(runs.join(run).join("final_params.safetensors")).unwrap();
    assert!(params("2x2") == params("whole") && params("1x4") == params("whole"));
}

#[test]
fn so_have_recurrent_networks() {
    let root = TempDir::new().unwrap();
    same(root.path(), LSTM);
}

#[test]
fn so_has_dqn() {
    let root = TempDir::new().unwrap();
    same(root.path(), DQN);
    same(root.path(), &format!("{DQN} --prioritized --updates-per-step 2"));
}

#[test]
fn so_has_hackmatrix() {
    let root = TempDir::new().unwrap();
    same(root.path(), HACKMATRIX);
}

#[test]
fn the_agents_of_a_group_are_spread() {
    let root = TempDir::new().unwrap();
    alone(root.path(), "one", &format!("{CARTPOLE} --num-seeds 4"), 1);
    together(root.path(), "two", &format!("{CARTPOLE} --num-seeds 4"), 2, 1);
    for seed in 1..5 {
        let [one, two] = ["one", "two"].map(|name| bits(&root.path().join(format!("{name}-s{seed}"))));
        assert!(one == two, "seed {seed}");
    }
}

/// Waits until a run has saved something.
fn wait_for_checkpoint(run: &Path) {
    let begin = Instant::now();
    let is_checkpoint = |path: PathBuf| path.extension().is_some_and(|extension| extension == "ckpt");
    while !fs::read_dir(run).is_ok_and(|mut all| all.any(|entry| is_checkpoint(entry.unwrap().path()))) {
        assert!(begin.elapsed() < Duration::from_secs(120), "nothing is saved");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Two ranks that train without end.
fn endless(root: &Path) -> [Child; 2] {
    let port = port();
    let children = [0, 1].map(|number| start(&mut rank(root, "run", ENDLESS, number, 2, 1, &port)));
    wait_for_checkpoint(&root.join("run"));
    children
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn a_rank_that_is_killed_ends_the_others_which_name_it() {
    let root = TempDir::new().unwrap();
    let [first, mut second] = endless(root.path());
    second.kill().unwrap();
    second.wait().unwrap();
    let begin = Instant::now();
    ended(first).fails(1, &["rank 1 on ", " has ended; start all processes again with --resume "]);
    assert!(begin.elapsed() < Duration::from_secs(30));
    // And the other way round, where the run goes on after what was saved.
    let port = port();
    let resume = root.path().join("run");
    let [mut first, second] = [0, 1].map(|number: usize| {
        let mut command =
            lockstep(&["train", "--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", &port]);
        start(command.args(["--node-rank", &number.to_string(), "--resume"]).arg(&resume))
    });
    let length = |run: &Path| fs::metadata(run.join("metrics.jsonl")).unwrap().len();
    let (before, begin) = (length(&resume), Instant::now());
    while length(&resume) <= before {
        assert!(begin.elapsed() < Duration::from_secs(120), "nothing is logged");
        std::thread::sleep(Duration::from_millis(50));
    }
    first.kill().unwrap();
    first.wait().unwrap();
    ended(second).fails(1, &["rank 0 has ended; start all processes again with --resume "]);
}

#[test]
fn a_rank_that_is_frozen_ends_the_others_which_name_it() {
    let root = TempDir::new().unwrap();
    let [first, mut second] = endless(root.path());
    signal(&second, Signal::STOP);
    let begin = Instant::now();
    ended(first).fails(1, &["rank 1 on ", " has given no sign of life for 15 s"]);
    assert!(begin.elapsed() < Duration::from_secs(30));
    second.kill().unwrap();
    second.wait().unwrap();
}

#[test]
fn a_signal_at_any_rank_stops_all_and_the_run_goes_on() {
    let root = TempDir::new().unwrap();
    let [first, second] = endless(root.path());
    signal(&second, Signal::TERM);
    let first = ended(first);
    assert_eq!(first.status, Some(0), "{}", first.stderr);
    assert!(first.stderr.contains("stopped at update "), "{}", first.stderr);
    assert_eq!(ended(second).status, Some(0));
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let root = TempDir::new().unwrap();
    let words = CARTPOLE.replace("--num-envs 8", "--num-envs 12 --num-minibatches 1 --join-timeout 1");
    let port = port();
    let alone = |number| finish(&mut rank(root.path(), "run", &words, number, 3, 1, &port));
    alone(0).fails_in_one_line(1, &["ranks 1, 2 of 3 did not come to 127.0.0.1:", "within 1 s"]);
    alone(2).fails_in_one_line(1, &["rank 0 does not answer at 127.0.0.1:", "within 1 s"]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "no run was begun");
}

/// What both ranks say if one has other words or variables.
fn quarrel(first: &str, second: &str, variables: &[(&str, &str)]) -> [Done; 2] {
    let root = TempDir::new().unwrap();
    let port = port();
    let one = start(&mut rank(root.path(), "run", first, 0, 2, 1, &port));
    let other = finish(rank(root.path(), "run", second, 1, 2, 1, &port).envs(variables.iter().copied()));
    let one = match other.stderr.contains("MASTER_TOKEN") {
        false => ended(one),
        true => {
            signal(&one, Signal::INT); // it waits for one that has the token
            ended(one)
        }
    };
    assert!(!root.path().join("run").exists(), "no run was begun");
    [one, other]
}

#[test]
fn ranks_that_differ_are_named() {
    let [one, other] = quarrel(CARTPOLE, &CARTPOLE.replace("--seed 1", "--seed 2"), &[]);
    let told = "seed = 2, not 1 as at rank 0; give all ranks the same command line";
    one.fails(1, &["rank 1 on ", told]);
    other.fails(1, &[told]);
    let [one, other] = quarrel(CARTPOLE, &format!("{CARTPOLE} --lr 0.5"), &[]);
    one.fails(1, &["lr = 0.5, not "]);
    other.fails(1, &["lr = 0.5, not "]);
    let [one, other] = quarrel(CARTPOLE, CARTPOLE, &[("LOCKSTEP_MASTER_TOKEN", "secret")]);
    other.fails(1, &["rank 0 has another LOCKSTEP_MASTER_TOKEN"]);
    assert!(one.stderr.contains("calls with another LOCKSTEP_MASTER_TOKEN and is refused"), "{}", one.stderr);
}

/// They are asked for before libtpu is opened, so that another plugin stands for it here.
#[test]
fn ranks_that_share_tpus_are_told_which_variable_is_missing() {
    let root = TempDir::new().unwrap();
    let other = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
    let port = port();
    let children = [0, 1].map(|number: usize| {
        let mut command = lockstep(&["train", "--device", "tpu", "--no-wandb", "--run-name", "run"]);
        command.arg("--plugin").arg(&other.path).arg("--checkpoint-dir").arg(root.path());
        command.args(CARTPOLE.split_whitespace()).args(["--nnodes", "2", "--node-rank", &number.to_string()]);
        start(command.args(["--devices", "1", "--master-addr", "127.0.0.1", "--master-port", &port]))
    });
    for child in children {
        ended(child)
            .fails(1, &["2 processes share the TPUs of this machine and TPU_PROCESS_BOUNDS is not set"]);
    }
}

#[test]
fn whoever_else_calls_is_left_standing() {
    let root = TempDir::new().unwrap();
    let port = port();
    let one = start(&mut rank(root.path(), "run", CARTPOLE, 0, 2, 1, &port));
    let begin = Instant::now();
    let mut strangers = Vec::new();
    while strangers.len() < 3 {
        assert!(begin.elapsed() < Duration::from_secs(60), "rank 0 does not listen");
        match TcpStream::connect(format!("127.0.0.1:{port}")) {
            Ok(mut stream) => {
                std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
                strangers.push(stream);
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
    finish(&mut rank(root.path(), "run", CARTPOLE, 1, 2, 1, &port)).stdout();
    ended(one).stdout();
}

/// Two ranks that know their places by variables of an engine.
fn by_engine(root: &Path, name: &str, variables: impl Fn(usize) -> Vec<(&'static str, String)>) {
    let start = |number| {
        let mut command = command(root, name, CARTPOLE);
        start(command.args(["--devices", "1"]).envs(variables(number)))
    };
    let children = [start(0), start(1)];
    children.into_iter().for_each(|child| drop(ended(child).stdout()));
}

#[test]
fn engines_that_start_processes_are_understood() {
    let root = TempDir::new().unwrap();
    alone(root.path(), "alone", CARTPOLE, 2);
    let port = port();
    by_engine(root.path(), "torchrun", |rank| {
        let rank = rank.to_string();
        vec![
            ("RANK", rank.clone()),
            ("LOCAL_RANK", rank),
            ("WORLD_SIZE", "2".into()),
            ("MASTER_ADDR", "127.0.0.1".into()),
            ("MASTER_PORT", port.clone()),
        ]
    });
    by_engine(root.path(), "slurm", |rank| {
        vec![
            ("SLURM_PROCID", rank.to_string()),
            ("SLURM_STEP_NUM_TASKS", "2".into()),
            ("SLURM_STEP_NUM_NODES", "1".into()),
            ("SLURM_STEP_NODELIST", "node[1-2]".into()),
            ("SLURM_JOB_ID", (std::process::id() % 4096).to_string()),
        ]
    });
    let mut itself = command(root.path(), "itself", CARTPOLE);
    finish(itself.args(["--devices", "1", "--nproc-per-node", "2"])).stdout();
    for name in ["torchrun", "slurm", "itself"] {
        assert!(bits(&root.path().join(name)) == bits(&root.path().join("alone")), "{name}");
    }
}

/// The families of MPI, by what each calls its `mpirun`, with what it needs to start as many processes as it is told.
const MPIS: [(&str, &[&str]); 2] =
    [("mpirun.openmpi", &["--allow-run-as-root", "--oversubscribe"]), ("mpirun.mpich", &[])];

#[test]
fn sums_go_over_mpi_where_it_started_the_processes() {
    let root = TempDir::new().unwrap();
    alone(root.path(), "alone", CARTPOLE, 2);
    for (mpirun, flags) in MPIS {
        let train = command(root.path(), mpirun, CARTPOLE);
        let mut command = Command::new(mpirun);
        command
            .args(flags)
            .args(["-n", "2"])
            .arg(train.get_program())
            .args(train.get_args())
            .args(["--devices", "1"]);
        for (name, value) in train.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        match command.stdin(Stdio::null()).output() {
            Ok(output) => {
                let done = done(output);
                assert_eq!(done.status, Some(0), "{mpirun}: {}", done.stderr);
                assert!(bits(&root.path().join(mpirun)) == bits(&root.path().join("alone")), "{mpirun}");
            }
            Err(_) => skip(&format!("there is no {mpirun} to train over MPI with")),
        }
    }
}

/// `--resume auto` begins a run, and after any end goes on with it.
#[test]
fn an_engine_may_start_a_run_again_and_again() {
    let root = TempDir::new().unwrap();
    let auto = |words: &str| {
        let mut command = command(root.path(), "run", words);
        command.args(["--nproc-per-node", "2", "--devices", "1", "--resume", "auto"]);
        command
    };
    finish(&mut auto(CARTPOLE)).stdout();
    let again = finish(&mut auto(&CARTPOLE.replace("384", "768")));
    assert!(again.stderr.contains("resumed ") && again.stderr.contains("at update 6"), "{}", again.stderr);
    again.stdout();
    alone(root.path(), "whole", &CARTPOLE.replace("384", "768"), 2);
    let params = |run: &str| fs::read(root.path().join(run).join("final_params.safetensors")).unwrap();
    assert!(params("run") == params("whole"));
}

#[test]
fn wrong_numbers_of_processes_are_said_once() {
    for (words, told) in [
        ("--nproc-per-node 3 --devices 1", "num_envs = 8 cannot be split evenly over devices = 3"),
        ("--nnodes 2", "which of the 2 machines is this? Say --node-rank 0 to 1"),
        ("--nnodes 2 --node-rank 1", "where is rank 0? Say --master-addr HOST"),
        ("--node-rank 1", "--node-rank is for several processes"),
        ("--nproc-per-node 2 --num-seeds 3", "num_seeds = 3 cannot be split evenly over devices = 2"),
    ] {
        let root = TempDir::new().unwrap();
        let mut command = command(root.path(), "run", CARTPOLE);
        finish(command.args(words.split_whitespace())).fails_in_one_line(2, &[told]);
    }
    let root = TempDir::new().unwrap();
    let mut public = command(root.path(), "run", CARTPOLE);
    let public =
        finish(public.args("--nnodes 2 --node-rank 0 --master-addr 8.8.8.8 --devices 1".split_whitespace()));
    public.fails_in_one_line(
        1,
        &["8.8.8.8 is no address of a private network", "set LOCKSTEP_MASTER_TOKEN to a secret"],
    );
}
