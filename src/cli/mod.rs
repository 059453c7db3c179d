//! The command line: one binary, one subcommand per file.
//!
//! People read stderr, programs read stdout (`--json`). The exit status is 0 when all is done (also after a first
//! interrupt), 1 when something failed, 2 for wrong usage, 130 after a second interrupt. Every mistake is one line
//! that says what to do.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgMatches, Command};

use crate::config::{UsageError, train_command, translate_words};
use crate::output::{printable, tell};
use crate::trainer::find::Unknown;

mod app;
mod bench;
mod chart;
mod compile;
mod dashboard;
mod device;
mod devices;
mod document;
mod envs;
mod eval;
mod launch;
mod matches;
mod metrics;
mod mistakes;
mod new;
mod picture;
mod play;
mod player;
mod plugin;
mod positions;
mod power;
mod runs;
mod saliency;
mod serve;
mod survival;
mod sweep;
mod table;
mod terminal;
mod train;
mod ui;
mod verify;
mod watch;
mod workload;

pub use app::App;
pub use document::run as run_document;

/// A failure of which everything has been said.
#[derive(Debug, thiserror::Error)]
#[error("failed")]
struct Reported;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// The whole program: parses `args`, does what they say, and gives the exit status.
fn main(app: &App, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let env = app.catalog().default_env();
    let command = Command::new(app.name())
        .version(env!("CARGO_PKG_VERSION"))
        .about("Train reinforcement-learning agents in programs compiled by XLA")
        .subcommands([
            train_command(app.catalog()),
            sweep::command(),
            eval::command(app),
            watch::command(env),
            saliency::command(env),
            matches::command(),
            play::command(),
            runs::command(),
            ui::command(),
            envs::command(),
            devices::command(),
            metrics::command(),
            bench::command(env),
            compile::command(env),
            survival::command(),
            power::command(),
            verify::command(app),
            serve::command(app),
            plugin::command(),
            new::command(),
        ]);
    run(command, args, |name, matches| match name {
        "train" => train::run(app, matches),
        "sweep" => sweep::run(app, matches),
        "eval" => eval::run(app, matches),
        "watch" => watch::run(app, matches),
        "saliency" => saliency::run(app, matches),
        "match" => matches::run(app, matches),
        "play" => play::run(app, matches),
        "envs" => envs::run(app, matches),
        "devices" => devices::run(matches),
        "metrics" => metrics::run(app, matches),
        "bench" => bench::run(app, matches),
        "compile" => compile::run(app, matches),
        "power" => power::run(matches),
        "report" => survival::run_report(app, matches),
        "runs" => runs::run(app, matches),
        "ui" => ui::run(app, matches),
        "verify" => verify::run(app, matches),
        "serve" => serve::run(app, matches),
        "plugin" => plugin::run(matches),
        "new" => new::run(matches),
        _ => unreachable!("clap knows the subcommands"),
    })
}

/// Parses `args`, gives the subcommand's name and matches to `dispatch`, and reports what went wrong.
fn run(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
    dispatch: impl FnOnce(&str, &ArgMatches) -> Result<()>,
) -> ExitCode {
    let command = command.subcommand_required(true).arg_required_else_help(true);
    let args = match translate_words(args) {
        Ok(args) => args,
        Err(error) => return report(&error),
    };
    let done = match command.try_get_matches_from(args) {
        Ok(matches) => match matches.subcommand() {
            Some((name, matches)) => mistakes::as_errors(|| dispatch(name, matches)),
            None => unreachable!("clap requires a subcommand"),
        },
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

/// Says an error and gives the exit status for it.
fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(error) = error.downcast_ref::<clap::Error>() {
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let _ = error.print(); // there is nobody left to tell
                return ExitCode::from(if error.use_stderr() { WRONG_USAGE } else { 0 });
            }
            _ => {
                tell(&one_line(&error.render().to_string()));
                return ExitCode::from(WRONG_USAGE);
            }
        }
    }
    if is_broken_pipe(error) {
        return ExitCode::SUCCESS; // whoever read the output has seen enough
    }
    if !error.is::<Reported>() {
        tell(&format!("error: {error:#}"));
    }
    let is_wrong_usage = error.is::<UsageError>() || error.is::<Unknown>();
    ExitCode::from(if is_wrong_usage { WRONG_USAGE } else { FAILED })
}

/// Whether stdout was closed by its reader: an error of its own, not the cause of another one.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let outermost = error.chain().next().and_then(|cause| cause.downcast_ref::<io::Error>());
    outermost.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Writes text to stdout. Unlike `print!`, it returns an error when nobody reads any more.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(printable(text).as_bytes())?;
    Ok(out.flush()?)
}

/// Writes a line to stdout.
fn print_line(line: impl std::fmt::Display) -> Result<()> {
    print(&format!("{line}\n"))
}

/// The argument with these values only; with any if there are none.
fn of_these(arg: Arg, names: Vec<&'static str>) -> Arg {
    if names.is_empty() { arg } else { arg.value_parser(PossibleValuesParser::new(names)) }
}

/// clap's message without its page of usage: the error, then its tips.
fn one_line(message: &str) -> String {
    let told = message.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let parts: Vec<_> =
        told.filter(|line| !line.is_empty() && !line.starts_with("For more information")).collect();
    parts.join(" ").replace(" tip: ", "; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Catalog;

    /// The exit status, and what the error said in one line.
    fn outcome(args: &[&str], result: Result<()>) -> String {
        let args = ["lockstep"].iter().chain(args).map(OsString::from).collect::<Vec<_>>();
        let code =
            run(Command::new("lockstep").subcommand(train_command(&Catalog::builtin())), args, |_, _| result);
        format!("{code:?}")
    }

    #[test]
    fn exit_statuses() {
        let status = |code: u8| format!("{:?}", ExitCode::from(code));
        assert_eq!(outcome(&["train"], Ok(())), status(0));
        assert_eq!(outcome(&["train", "--help"], Ok(())), status(0));
        assert_eq!(outcome(&["train"], Err(anyhow::anyhow!("the disk is full"))), status(1));
        assert_eq!(outcome(&["train"], Err(UsageError("lr is 0".into()).into())), status(2));
        assert_eq!(outcome(&["train", "--num-env", "3"], Ok(())), status(2));
        assert_eq!(outcome(&["trian"], Ok(())), status(2));
        assert_eq!(outcome(&[], Ok(())), status(2));
    }

    #[test]
    fn mistakes_are_one_line_with_a_tip() {
        let message = |args: &[&str]| {
            let error = train_command(&Catalog::builtin())
                .no_binary_name(true)
                .try_get_matches_from(args)
                .unwrap_err();
            one_line(&error.render().to_string())
        };
        assert_eq!(
            message(&["--num-env", "3"]),
            "error: unexpected argument '--num-env' found; a similar argument exists: '--num-envs'"
        );
        assert_eq!(
            message(&["--device", "xpu"]),
            "error: invalid value 'xpu' for '--device <KIND>' [possible values: cpu, cuda, tpu]; \
             a similar value exists: 'tpu'"
        );
        assert_eq!(
            message(&["--rewind"]),
            "error: the following required arguments were not provided: --resume <CKPT>"
        );
    }
}
