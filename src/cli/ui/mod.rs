//! `lockstep ui`: a page in the browser for runs, their curves and replays, evaluations and reports, served from this program.
//!
//! People look at training on a page. Everything is in the binary: pages, scripts, and a server ([`server`]) on one thread, which reads the
//! files of runs as `lockstep runs` does and keeps what it has read ([`shelf`], [`library`], [`archive`]). It never changes a run but by the two buttons,
//! which do what `runs stop` and a file `save` do ([`actions`]). Where people play ([`play`], [`session`]) the server holds the games
//! ([`games`], [`table`]), so that no page knows the rules of any.
//!
//! A server on a person's machine is within reach of every page that the person's browser shows. So [`guard`] stands before all routes, and
//! what a request names is looked up in a listing of what is there; no part of a request becomes a path.

mod actions;
mod answer;
mod archive;
mod asked;
mod compare;
mod curves;
mod evaluations;
mod events;
mod games;
mod guard;
mod library;
mod outcome;
mod pages;
mod play;
mod replays;
mod reports;
mod runs;
mod server;
mod session;
mod shelf;
mod site;
mod stream;
mod sweeps;
mod table;
mod theater;
mod windowed;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{App, print_line};
use crate::config::UsageError;
use crate::output::tell;
use guard::Guard;
use site::Site;

/// What to serve, and to whom.
#[derive(Debug, Args)]
struct Ui {
    /// Directory that holds the run directories
    #[arg(long, value_name = "DIR", default_value = "checkpoints")]
    checkpoint_dir: PathBuf,
    /// Another directory of runs, which are shown with those
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Directory of results of evaluations by lives and of reports on them; those in the directories of runs are shown as well
    #[arg(long, value_name = "DIR", default_value = "generated")]
    results_dir: PathBuf,
    /// Port to listen on; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 8050)]
    port: u16,
    /// Address to listen on; one that other machines reach needs a --token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: IpAddr,
    /// A secret without which nothing is served: at least 16 letters, digits, - and _
    #[arg(long, value_name = "SECRET", env = "LOCKSTEP_UI_TOKEN", hide_env = true)]
    token: Option<String>,
    /// A page of another server that may read what is served, such as http://localhost:3000; several times
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Show the page in the browser
    #[arg(long)]
    open: bool,
}

pub fn command() -> Command {
    let command = Ui::augment_args(Command::new("ui"));
    let command = command.mut_arg("checkpoint_dir", |arg| arg.env("LOCKSTEP_CHECKPOINT_DIR").hide_env(true));
    command.about("Serve a page that shows runs, replays, evaluations and reports, and plays games").after_help(
        "The address of the page is printed on stdout; Ctrl-C ends the server. Games, which /play begins, are computed on the CPU. Other \
         programs find the same as JSON under /api/v1/, which /api/v1/openapi.json describes.",
    )
}

/// Serves until it is interrupted.
///
/// # Errors
/// One line: a [`UsageError`] for flags that do not go together; an address that cannot be had.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let ui = Ui::from_arg_matches(matches)?;
    ui.check()?;
    let asked = SocketAddr::new(ui.host, ui.port);
    let listener = TcpListener::bind(asked)
        .with_context(|| format!("cannot listen on {asked}; --port takes another port, 0 a free one"))?;
    let address = listener.local_addr().context("cannot tell the port")?;
    let secret = ui.token.as_ref().map_or(String::new(), |token| format!("?token={token}"));
    let url = format!("http://{address}/{secret}");
    print_line(&url)?;
    if ui.open {
        open(&url);
    }
    let roots = [Some(ui.checkpoint_dir), ui.runs_dir].into_iter().flatten().collect();
    let guard = Guard::new(address, ui.token, ui.allow_origin)?;
    server::serve(listener, Site::new(roots, ui.results_dir, app.clone(), guard))
}

impl Ui {
    fn check(&self) -> Result<()> {
        let is_far = !self.host.is_loopback();
        ensure!(
            !is_far || self.token.is_some(),
            UsageError(format!(
                "other machines may reach {}; say which of them may look by a --token",
                self.host
            ))
        );
        let is_plain = |token: &String| {
            token.len() >= 16 && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        ensure!(
            self.token.as_ref().is_none_or(is_plain),
            UsageError("--token must have at least 16 letters, digits, - and _, and nothing else".into())
        );
        let is_origin = |origin: &&String| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', ' ']))
        };
        if let Some(wrong) = self.allow_origin.iter().find(|origin| !is_origin(origin)) {
            bail!(UsageError(format!("{wrong} is no origin; write it as http://HOST:PORT, without a path")));
        }
        for directory in [Some(&self.checkpoint_dir), self.runs_dir.as_ref()].into_iter().flatten() {
            let named = directory.display();
            ensure!(
                !directory.is_file(),
                UsageError(format!("{named} is a file; name the directory of runs"))
            );
            if !directory.is_dir() {
                tell(&format!("there is no directory {named} yet; its runs are shown once there are any"));
            }
        }
        let results = self.results_dir.display();
        ensure!(
            !self.results_dir.is_file(),
            UsageError(format!("{results} is a file; name the directory that it lies in"))
        );
        Ok(())
    }
}

/// Shows an address in the browser; where there is none, the address has been printed.
fn open(url: &str) {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let quiet = Process::new(opener).arg(url).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    if let Err(error) = quiet {
        tell(&format!("cannot open a browser with {opener}: {error}"));
    }
}
