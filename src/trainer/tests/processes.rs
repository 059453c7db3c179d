//! What only a process of its own can show: signals, kills, a full disk. The test binary runs its own ignored tests as processes.

use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGKILL, SIGTERM, SIGUSR1};

use super::*;

/// The settings of the child: it saves at updates 11, 22, 33 and 44, and logs at 10, 20, ...
fn child_settings(dir: &Path) -> Settings {
    Settings { save_interval: Some(11), ..settings(dir, 47) }
}

/// Runs [`child`] in `dir` through a shell that first runs `prelude`: its exit status and what it said. A signal that this
/// process ignores, as under `nohup` or in the background of a script, is not ignored by the child.
fn run_child(dir: &Path, mode: &str, prelude: &str) -> (ExitStatus, String) {
    let inherits = [SIGINT, SIGHUP].into_iter().any(signals::is_ignored);
    let heard = if inherits && prelude.is_empty() { "env --default-signal=INT,HUP" } else { "" };
    let output = Command::new("sh")
        .args([
            "-c",
            &format!(
                "{prelude} exec {heard} \"$0\" --exact trainer::tests::processes::child --ignored --nocapture"
            ),
        ])
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
        ("interrupt" | "ignored", 22) => send(SIGINT),
        ("hangup", 22) => send(SIGHUP),
        ("warning", 22) => send(SIGUSR1),
        ("terminate", 22) => send(SIGTERM),
        ("together", 22) => [SIGINT, SIGINT, SIGTERM].into_iter().for_each(send),
        ("twice", 22) => {
            send(SIGINT);
            thread::sleep(Duration::from_millis(400));
            send(SIGTERM);
        }
        ("kill", 38) => send(SIGKILL),
        _ => {}
    };
    if mode == "early" {
        listen().unwrap();
        send(SIGTERM); // while programs are compiled, say
    }
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
    for mode in ["interrupt", "terminate", "hangup", "together"] {
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
fn a_signal_that_is_ignored_stays_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, said) = run_child(dir.path(), "ignored", "trap '' INT HUP;");
    assert_eq!(exit.code(), Some(0), "{said}");
    assert!(said.contains("completed at update 47"), "{said}");
}

/// The first process of a container is not ended by a signal that it has no handler for.
#[test]
fn before_a_run_has_begun_a_signal_leaves_at_once_through_a_handler() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, said) = run_child(dir.path(), "early", "");
    assert_eq!(exit.code(), Some(128 + SIGTERM), "{said}");
    assert!(!dir.path().join("run").exists());
}

#[test]
fn a_warning_of_the_cluster_saves_and_the_run_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (exit, said) = run_child(dir.path(), "warning", "");
    assert_eq!(exit.code(), Some(0), "{said}");
    assert_eq!(saved(&dir.path().join("run")), [11, 22, 27, 33, 44, 47]);
    assert!(said.contains("saved ") && said.contains("completed at update 47"), "{said}");
}

/// The runs of a group with W&B out of reach, which is asked to stop.
#[test]
#[ignore = "the child of another test"]
fn group_child() {
    let Some(dir) = std::env::var_os("TEST_DIR") else { return };
    let mode = Some(trackers::wandb::Mode::Online);
    let settings = Settings { no_wandb: false, wandb: mode, ..settings(Path::new(&dir), 47) };
    let stop = |done| {
        if done == 22 {
            signal_hook::low_level::raise(SIGTERM).unwrap();
        }
    };
    let fakes = (0..3).map(|_| Fake::with_max_updates(1).before_chunk(stop)).collect();
    super::groups::train_fakes(&settings, fakes).unwrap();
    std::process::exit(0);
}

#[test]
fn all_runs_of_a_group_are_saved_and_final_before_any_waits_for_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "trainer::tests::processes::group_child", "--ignored"])
        .env("TEST_DIR", dir.path())
        .envs([("WANDB_API_KEY", "0123456789012345678901234567890123456789")])
        .env("WANDB_BASE_URL", "http://127.0.0.1:9")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let runs = ["run-s0", "run-s1", "run-s2"].map(|run| dir.path().join(run));
    let is_final = |run: &PathBuf| {
        let status = status::Status::read(run);
        status.is_ok_and(|status| status.state == status::State::Stopped)
    };
    while !runs.iter().all(is_final) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before all runs were final");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(child.try_wait().unwrap().is_none(), "it does not wait for the server");
    runs.iter().for_each(|run| assert_eq!(saved(run), [23], "{}", run.display()));
    // A second signal ends the waiting and changes nothing.
    thread::sleep(Duration::from_millis(400));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(INTERRUPTED));
    assert!(runs.iter().all(is_final));
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
    assert!(directory.join("pid").exists() && !run_dir::presence(&directory).may_be_alive());
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
    let pause = |_| thread::sleep(Duration::from_millis(1));
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
            .args(["--exact", "trainer::tests::processes::slow_child", "--ignored"])
            .env("TEST_DIR", &killed)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        delay = (delay * 31 + 17) % 97; // milliseconds, in no order
        // However slow the machine is, a process lives long enough at some time.
        thread::sleep(Duration::from_millis(30 + delay + kills));
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
    // No file may grow beyond 64 blocks. A process that does not listen would be killed for trying, without a word.
    let (exit, said) = run_child(dir.path(), "full disk", "ulimit -f 64;");
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
