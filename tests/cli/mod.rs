//! The command line from outside: exit statuses, messages and files of the real binary.

mod beginnings;
mod browser;
mod dashboard;
mod documents;
mod every_environment;
mod games;
mod goodharts;
mod help;
mod loggers;
mod matching;
mod mistakes;
mod operating;
mod pipeline;
mod play;
mod playing;
mod positions;
mod puffer;
mod runs;
mod stages;
mod sweep;
mod together;
mod ui;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use lockstep::runtime::plugin;

/// The binary, with one program cache for all tests and nothing of the user's own settings.
pub fn lockstep(args: &[&str]) -> Command {
    static PLUGIN: OnceLock<PathBuf> = OnceLock::new();
    let plugin = PLUGIN.get_or_init(|| plugin::find(None, None).unwrap().path);
    let mut command = Command::new(env!("CARGO_BIN_EXE_lockstep"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LOCKSTEP_")) {
        command.env_remove(name);
    }
    command.env_remove("GOODHARTS_DEVICE");
    command.env("LOCKSTEP_PJRT_PLUGIN", plugin);
    command.env("LOCKSTEP_CACHE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/cache"));
    command.env("RUST_BACKTRACE", "1"); // a panic would show
    command.args(args).stdin(Stdio::null());
    command
}

/// What a command came to.
pub struct Done {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn run(args: &[&str]) -> Done {
    finish(&mut lockstep(args))
}

pub fn finish(command: &mut Command) -> Done {
    done(command.output().unwrap())
}

pub fn done(output: Output) -> Done {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let done =
        Done { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) };
    for sign in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!done.stderr.contains(sign), "{}", done.stderr);
    }
    done
}

impl Done {
    /// Requires success; gives what was printed.
    #[track_caller]
    pub fn stdout(self) -> String {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        self.stdout
    }

    /// Requires failure with a last line that begins with `error:` and contains the parts; it is the only error.
    #[track_caller]
    pub fn fails(&self, status: i32, parts: &[&str]) {
        let Done { stderr, .. } = self;
        let last = stderr.lines().last().unwrap_or_default();
        assert_eq!(self.status, Some(status), "{stderr}");
        assert!(last.starts_with("error: "), "{stderr}");
        assert_eq!(stderr.matches("error:").count(), 1, "{stderr}");
        for part in parts {
            assert!(last.contains(part), "no {part:?} in {last:?}");
        }
    }

    /// As [`Done::fails`], and nothing else was said.
    #[track_caller]
    pub fn fails_in_one_line(&self, status: i32, parts: &[&str]) {
        self.fails(status, parts);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        assert_eq!(self.stdout, "");
    }
}

/// Arguments of a small run: 10 updates, checkpoints after 5 and 10.
pub fn small_run<'a>(directory: &'a str, name: &'a str) -> Vec<&'a str> {
    let arguments = "train --env cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --total-timesteps 320 \
                     --log-interval 2 --save-interval 5 --device cpu --no-wandb";
    let mut arguments: Vec<&str> = arguments.split_whitespace().collect();
    arguments.extend(["--checkpoint-dir", directory, "--run-name", name]);
    arguments
}

/// The directory of a small run that has been trained, once for all tests; they only read it.
pub fn trained() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, run) = RUN.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        run(&small_run(directory.path().to_str().unwrap(), "small")).stdout();
        let run = directory.path().join("small");
        (directory, run)
    });
    run
}

/// A file of the trained run.
pub fn trained_file(name: &str) -> String {
    let path = trained().join(name);
    assert!(path.exists(), "there is no {}", path.display());
    path.to_str().unwrap().to_owned()
}
