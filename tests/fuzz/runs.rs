//! Run directories: what others may have put into them, as `runs` shows it and as `--resume` takes it.

use std::fs;
use std::path::{Path, PathBuf};

use lockstep::trainer::history::{Axis, Curves};
use lockstep::trainer::overview::Overview;
use lockstep::trainer::status::Status;
use lockstep::trainer::{History, Resumed, run_dir};

use super::files::forged_checkpoint;
use super::{Random, check_message, damaged};
use crate::common::lockstep;

const STATUS: &str = r#"{"state":"running","update":3,"num_updates":10,"timesteps":300,"total_timesteps":1000,"episodes":4,"steps_per_second":12.5,"start_time":"2026-01-01T00:00:00+00:00","last_heartbeat":"2026-01-01T00:01:00+00:00","memory_bytes":1000,"error":"no error"}"#;
const META: &str = r#"{"id":"k3v9x0q2m1zz","command":"lockstep train","git_commit":"c0ffee","git_dirty":false,"seed":7,"start_time_iso":"2026-01-01T00:00:00+00:00","host":"h","resumes":[{"update":2}]}"#;
const METRICS: &str = "{\"update\":1,\"timesteps\":100,\"train/entropy\":1.5,\"mean_episode_return\":2.0}\n\
                       {\"update\":2,\"timesteps\":200,\"train/entropy\":1.25,\"mean_episode_return\":null}\n\
                       {\"update\":3,\"timesteps\":300,\"train/entropy\":-1e308,\"mean_episode_return\":1e308}\n";
const WARNINGS: &str = "{\"text\":\"entropy is low\",\"title\":\"entropy\",\"update\":2}\n";
const CONFIG: &str = "env = \"cartpole\"\nseed = 1\nnum_envs = 4\n";
const SUMMARY: &str = r#"{"run_id":"r","total_updates":3,"best_mean_episode_return":2.0}"#;

/// A run directory in `parent`, of whose files some are damaged or missing.
fn make(random: &mut Random, parent: &Path) -> PathBuf {
    let name = random.choose(&["r", "a b", "x\u{1b}[31mred", "\u{202e}run", "run-18446744073709551615"]);
    let run = parent.join(name);
    fs::create_dir(&run).unwrap();
    for (file, good) in [
        ("status.json", STATUS),
        ("meta.json", META),
        ("metrics.jsonl", METRICS),
        ("warnings.jsonl", WARNINGS),
        ("config.toml", CONFIG),
        ("summary.json", SUMMARY),
        ("pid", "4294967295"),
    ] {
        match random.below(8) {
            0 => continue,
            1 => fs::create_dir(run.join(file)).unwrap(),
            2 => fs::write(run.join(file), "").unwrap(),
            3 | 4 => fs::write(run.join(file), good).unwrap(),
            _ => fs::write(run.join(file), damaged(random, good.as_bytes(), true)).unwrap(),
        }
    }
    run
}

pub fn directory(random: &mut Random) {
    let dir = tempfile::tempdir().unwrap();
    let run = make(random, dir.path());
    let _ = Status::read(&run).map_err(|error| check_message(&error));
    let _ = Overview::of(&run).map_err(|error| check_message(&error));
    Overview::all(dir.path()).unwrap();
    if let Ok(history) = History::read(&run).map_err(|error| check_message(&error)) {
        for name in history.names() {
            let _ = (history.column(name), history.best(name));
        }
    }
    if let Ok(curves) = Curves::read(&run).map_err(|error| check_message(&error)) {
        for name in curves.names() {
            let _ = (curves.curve(name, Axis::Timesteps), curves.curve(name, Axis::Time));
        }
    }
    let _ = run_dir::config(&run).map_err(|error| check_message(&error));
    let _ = (run_dir::is_run(&run), run_dir::id_of(&run), run_dir::name_of(&run));
    // The program itself takes longer, and so is asked less often.
    if random.one_in(8) {
        commands(random, dir.path(), &run);
    }
}

fn commands(random: &mut Random, root: &Path, run: &Path) {
    let picture = root.join("curves.svg");
    let (run, picture) = (run.to_str().unwrap(), picture.to_str().unwrap());
    let all: [&[&str]; 7] = [
        &["list", "--all"],
        &["list", "--all", "--json"],
        &["show", run],
        &["show", run, "--json"],
        &["plot", run, "--out", picture],
        &["plot", run, "--metric", "mean_episode_return", "--out", picture],
        &["compare", run, run],
    ];
    let args = random.choose(&all);
    let mut command = lockstep();
    command.arg("runs").args(args).args(["--checkpoint-dir", root.to_str().unwrap()]);
    let output = command.output().unwrap();
    let code = output.status.code();
    let said = format!(
        "{args:?} {code:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(matches!(code, Some(0..=2)), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let acts = |byte: &u8| byte.is_ascii_control() && !b"\n\t".contains(byte);
    assert!(!output.stdout.iter().chain(&output.stderr).any(acts), "{said:?}");
    if let Ok(svg) = fs::read_to_string(picture) {
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

pub fn resumed(random: &mut Random) {
    let dir = tempfile::tempdir().unwrap();
    let run = make(random, dir.path());
    for update in 0..random.below(3) {
        let bytes = if random.one_in(8) { Vec::new() } else { forged_checkpoint(random) };
        fs::write(run.join(format!("checkpoint_{update}.ckpt")), bytes).unwrap();
    }
    for request in [run.as_path(), Path::new("latest"), &run.join("checkpoint_1.ckpt")] {
        let _ = Resumed::open(request, dir.path()).map_err(|error| check_message(&error));
    }
}
