//! The full screens of a run, on the terminal that `script` of util-linux makes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Done, lockstep, run, small_run, trained};

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The command on a terminal of 80 x 24 characters; nothing where there is no such `script`.
fn on_terminal(args: &[&str]) -> Option<Command> {
    let version = Command::new("script").arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        eprintln!("skipped: there is no `script` of util-linux");
        return None;
    }
    let command = lockstep(args);
    let quoted = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> = quoted.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.args(["-qec", &format!("stty rows 24 cols 80; exec {}", quoted.join(" ")), "/dev/null"]);
    script.env("TERM", "xterm").env("SHELL", "/bin/sh");
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(script)
}

fn press(process: &mut Child, key: &[u8]) {
    process.stdin.as_mut().unwrap().write_all(key).unwrap();
}

fn wait_for(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(120), "it never came");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the end. `script` would take the end of its input for a reason to leave.
fn finish(mut process: Child) -> Done {
    let _keyboard = process.stdin.take();
    super::done(process.wait_with_output().unwrap())
}

fn checkpoints(run: &Path) -> usize {
    let names = fs::read_dir(run).into_iter().flatten().flatten();
    names.filter(|entry| entry.file_name().to_string_lossy().starts_with("checkpoint_")).count()
}

#[test]
fn the_dashboard_saves_and_stops_at_a_key_and_restores_the_terminal() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("endless");
    let endless = small_run(folder.path().to_str().unwrap(), "endless");
    let endless = endless.into_iter().map(|arg| if ["320", "5"].contains(&arg) { "1000000000" } else { arg });
    let endless: Vec<&str> = endless.chain(["--dashboard"]).collect();
    let resumed = ["train", "--resume", directory.to_str().unwrap(), "--dashboard"];
    for (stop, args) in [(&b"q"[..], &endless[..]), (b"\x03", &resumed)] {
        let Some(mut command) = on_terminal(args) else { return };
        let before = checkpoints(&directory);
        let mut process = command.spawn().unwrap();
        wait_for(|| directory.join("pid").exists() && directory.join("status.json").exists());
        press(&mut process, b"s");
        wait_for(|| checkpoints(&directory) == before + 1);
        press(&mut process, stop);
        let done = finish(process);
        assert_eq!(done.status, Some(0), "{}", done.stdout);
        let (screen, after) = done.stdout.rsplit_once(LEAVE).unwrap();
        assert!(screen.contains(ENTER) && screen.contains("cleanly"), "{screen:?}");
        assert!(after.contains("stopped at update") && after.contains("saved "), "{after:?}");
        // One more at the end, unless it stopped where it was saved.
        assert!((before + 1..=before + 2).contains(&checkpoints(&directory)));
    }
}

#[test]
fn a_run_of_another_process_can_be_watched() {
    let path = trained().to_str().unwrap();
    run(&["runs", "watch", path])
        .fails_in_one_line(2, &["runs watch needs a terminal", "lockstep runs show"]);
    let Some(mut command) = on_terminal(&["runs", "watch", path]) else { return };
    let mut process = command.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    press(&mut process, b"q");
    let done = finish(process);
    assert_eq!(done.status, Some(0), "{}", done.stdout);
    assert!(done.stdout.contains("320 of 320 timesteps  100.0%") && done.stdout.contains(LEAVE));
    let Some(mut command) = on_terminal(&["runs", "watch", path, "--metric", "entropi"]) else { return };
    let done = finish(command.spawn().unwrap());
    assert_eq!(done.status, Some(2));
    assert!(done.stdout.contains("error: there is no metric entropi in these runs; did you mean entropy?"));
    assert!(!done.stdout.contains(ENTER));
}
