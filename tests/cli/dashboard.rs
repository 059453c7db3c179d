//! The full screens of a run, on the terminal that `script` of util-linux makes.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Done, lockstep, run, small_run, trained};

pub const ENTER: &str = "\x1b[?1049h";
pub const LEAVE: &str = "\x1b[?1049l";

/// The command on a terminal of 80 x 24 characters; nothing where there is no such `script`.
pub fn on_terminal(args: &[&str]) -> Option<Command> {
    let version = Command::new("script").arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        crate::common::skip("the dashboard: there is no `script` of util-linux");
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

pub fn press(process: &mut Child, key: &[u8]) {
    process.stdin.as_mut().unwrap().write_all(key).unwrap();
}

pub fn wait_for(condition: impl Fn() -> bool) {
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

/// The arguments of a small run that does not end by itself.
fn endless(directory: &str) -> Vec<&str> {
    let arguments = small_run(directory, "endless").into_iter();
    arguments.map(|arg| if ["320", "5"].contains(&arg) { "1000000000" } else { arg }).collect()
}

#[test]
fn the_dashboard_saves_and_stops_at_a_key_and_restores_the_terminal() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("endless");
    let begun = [&endless(folder.path().to_str().unwrap())[..], &["--dashboard"]].concat();
    let resumed = ["train", "--resume", directory.to_str().unwrap(), "--dashboard"];
    for (stop, args) in [(&b"xy"[..], &begun[..]), (b"\x03", &resumed)] {
        let Some(mut command) = on_terminal(args) else { return };
        let before = checkpoints(&directory);
        let mut process = command.spawn().unwrap();
        wait_for(|| directory.join("pid").exists() && directory.join("status.json").exists());
        press(&mut process, b"s");
        wait_for(|| checkpoints(&directory) == before + 1);
        stop.iter().for_each(|key| press(&mut process, &[*key]));
        let done = finish(process);
        assert_eq!(done.status, Some(0), "{}", done.stdout);
        let (screen, after) = done.stdout.rsplit_once(LEAVE).unwrap();
        assert!(screen.contains(ENTER) && screen.contains("time: train "), "{screen:?}");
        #[cfg(target_os = "linux")]
        assert!(screen.contains("memory "), "{screen:?}");
        assert!(after.contains("stopped at update") && after.contains("saved "), "{after:?}");
        // One more at the end, unless it stopped where it was saved.
        assert!((before + 1..=before + 2).contains(&checkpoints(&directory)));
    }
}

/// `q` closes the view and nothing else; from then on there are lines, and Ctrl-C (a signal again) stops the run.
#[test]
fn the_dashboard_can_be_left_while_the_run_goes_on() {
    let folder = TempDir::new().unwrap();
    let directory = folder.path().join("endless");
    let args = [&endless(folder.path().to_str().unwrap())[..], &["--dashboard"]].concat();
    let Some(mut command) = on_terminal(&args) else { return };
    let mut process = command.spawn().unwrap();
    wait_for(|| directory.join("status.json").exists());
    press(&mut process, b"q");
    let rows = || fs::read_to_string(directory.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let before = rows();
    wait_for(|| rows() > before + 100);
    press(&mut process, b"\x03");
    let done = finish(process);
    assert_eq!(done.status, Some(0), "{}", done.stdout);
    let (_, after) = done.stdout.rsplit_once(LEAVE).unwrap();
    for part in ["the view is closed, the run goes on", "left  return ", "stopped at update"] {
        assert!(after.contains(part), "no {part:?} in {after}");
    }
}

/// A terminal that goes away while SIGHUP is ignored ends what only shows something.
#[test]
fn a_view_ends_with_its_terminal() {
    let path = trained().to_str().unwrap();
    let params = trained().join("final_params.safetensors");
    for args in [vec!["runs", "watch", path], vec!["watch", params.to_str().unwrap(), "--episodes", "1000"]] {
        let Some(command) = on_terminal(&args) else { return };
        let folder = TempDir::new().unwrap();
        let pid_file = folder.path().join("pid");
        let mut ignoring = Command::new("script");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => ignoring.env(name, value),
                None => ignoring.env_remove(name),
            };
        }
        let line = command.get_args().nth(1).unwrap().to_str().unwrap();
        let line = format!("trap '' HUP; echo $$ > {}; {line}", pid_file.display());
        ignoring.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = ignoring.spawn().unwrap();
        let mut screen = script.stdout.take().unwrap();
        let mut seen = String::new();
        while !seen.contains(ENTER) {
            let mut bytes = [0; 256];
            let count = std::io::Read::read(&mut screen, &mut bytes).unwrap();
            assert!(count > 0, "it ended: {seen}");
            seen += &String::from_utf8_lossy(&bytes[..count]);
        }
        script.kill().unwrap(); // and the terminal with it
        script.wait().unwrap();
        let pid = fs::read_to_string(pid_file).unwrap();
        wait_for(|| !Path::new("/proc").join(pid.trim()).exists());
    }
}

/// Where the cursor cannot be moved there are rows instead of a bar, and no screen.
#[test]
fn a_dumb_terminal_gets_lines() {
    let folder = TempDir::new().unwrap();
    let parent = folder.path().to_str().unwrap();
    for (name, term) in [("dumb", Some("dumb")), ("unset", None)] {
        let Some(mut command) = on_terminal(&small_run(parent, name)) else { return };
        match term {
            Some(term) => command.env("TERM", term),
            None => command.env_remove("TERM"),
        };
        let done = finish(command.spawn().unwrap());
        assert_eq!(done.status, Some(0), "{}", done.stdout);
        assert_eq!(done.stdout.matches("left  return ").count(), 5, "{}", done.stdout);
        assert!(!done.stdout.contains('\x1b'), "{:?}", done.stdout);
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
