//! What only a process of its own can show: signals, kills, a full disk. The test binary runs its own ignored tests as processes.

use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGKILL, SIGTERM};

use super::*;

/// The settings of the child: it saves at updates 11, 22, 33 and 44, and logs at 10, 20, ...
fn child_settings(dir: &Path) -> Settings {
    Settings { save_interval: Some(11), ..settings(dir, 47) }
}

/// Runs [`child`] in `dir` through a shell that first runs `prelude`: its exit status and what it said.
fn run_child(dir: &Path, mode: &str, prelude: &str) -> (ExitStatus, String) {
    let output = Command::new("sh")
        .args([
            "-c",
            &format!("{prelude} exec \"$0\" --exact trainer::tests::processes::child --ignored --nocapture"),
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
        ("interrupt", 22) => send(SIGINT),
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
        thread::sleep(Duration::from_millis(30 + delay));
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
