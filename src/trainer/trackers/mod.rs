//! Trackers: programs beside the files of the run that keep experiments, and show them to people.
//!
//! `--logger` lists them. Each is a [`Tracker`]: the session tells all of them the same things, and knows none by name.
//!
//! - [`wandb`]: Weights & Biases, by a log of its own format and, online, over HTTPS
//! - [`mlflow`]: an MLflow server, over its REST interface
//! - [`neptune`]: the offline directory of Neptune's client
//!
//! Those with a server have a [`sender`], a thread with a bounded queue; what its calls and failures are is in [`http`]. Nothing
//! here may stop a run or make it wait: what goes wrong becomes a line for the console.

mod event;
mod http;
pub mod mlflow;
pub mod neptune;
mod sender;
pub mod wandb;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use reqwest::Url;
use serde_json::{Map, Value};

pub use event::{Alert, Artifact, Fields, Point};
pub use sender::Pace;

use super::metrics::Row;
use super::settings::{Logger, Settings};
use super::status::State;
use super::utilisation::Utilisation;
use event::Said;
use sender::Sender;

/// How this process's part of the run relates to what trackers know already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    New,
    /// Continues after the last step that was logged.
    Resumed,
    /// The history after this step is to be forgotten.
    Rewound {
        step: u64,
    },
}

/// What the run is, as far as trackers want to know.
pub struct Description<'a> {
    pub settings: &'a Settings,
    pub config: Map<String, Value>,
    /// The run directory.
    pub run: &'a Path,
    /// The run's own id, which no other run has: `id` in its `meta.json`.
    pub run_id: &'a str,
    pub run_name: &'a str,
    pub origin: Origin,
    pub commit: Option<String>,
    /// The last step that was logged before the run was resumed; up to there, nothing is logged again.
    pub logged_step: u64,
    /// Tags beside those of environment variables.
    pub tags: &'a [&'static str],
}

impl Description<'_> {
    /// The step after which a tracker that cannot forget logs again.
    fn skip_until(&self) -> u64 {
        if self.origin == Origin::New { 0 } else { self.logged_step }
    }
}

/// Something that keeps what runs log.
pub trait Tracker {
    /// Takes a row of the logs, or a window.
    fn log(&mut self, point: &Point);

    /// Keeps numbers of the whole run.
    fn sum_up(&mut self, fields: &Fields);

    /// Logs nothing again up to `step`: the run has gone back, and what is there stays.
    fn skip_to(&mut self, step: u64);

    /// Sends a warning to the people who follow the run.
    fn alert(&mut self, alert: &Alert);

    /// Keeps a file.
    fn artifact(&mut self, artifact: &Artifact);

    /// Takes lines of the console.
    fn console(&mut self, lines: &[Said]);

    /// Takes how busy the machine is; `now` is a point without numbers.
    fn utilisation(&mut self, utilisation: &Utilisation, now: Point);

    /// What there is to tell since the last time.
    fn notices(&mut self) -> Vec<String>;

    /// The run's page at Weights & Biases, if this is that.
    fn wandb_url(&self) -> Option<String> {
        None
    }

    /// Ends the run.
    fn end(self: Box<Self>, state: State) -> Ending;
}

/// All trackers of a run.
#[derive(Default)]
pub struct Trackers {
    all: Vec<Box<dyn Tracker>>,
}

impl Trackers {
    /// Begins to log a run where settings and environment say. Gives the lines to tell the user, too.
    pub fn begin(description: &Description) -> (Self, Vec<String>) {
        let (mut all, mut notices) = (Vec::new(), Vec::new());
        let (wandb, told) =
            wandb::Wandb::begin(description, &wandb::Environment::of_process(), Pace::default());
        all.extend(wandb.map(|wandb| Box::new(wandb) as Box<dyn Tracker>));
        notices.extend(told);
        type Begun = Result<Box<dyn Tracker>>;
        let mlflow = || -> Begun { Ok(Box::new(mlflow::Mlflow::begin(description, Pace::default())?)) };
        let neptune = || -> Begun { Ok(Box::new(neptune::Neptune::begin(description)?)) };
        let others: [(Logger, &dyn Fn() -> Begun); 2] =
            [(Logger::Mlflow, &mlflow), (Logger::Neptune, &neptune)];
        for (logger, begin) in others.iter().filter(|(logger, _)| description.settings.logs_to(*logger)) {
            match begin() {
                Ok(tracker) => all.push(tracker),
                Err(error) => notices.push(format!("{logger} is off: {error:#}")),
            }
        }
        (Self { all }, notices)
    }

    /// Takes a row of the logs.
    pub fn row(&mut self, row: &Row) {
        self.log(&Point::of_row(row));
    }

    /// Takes a window as it stands in its log, at the tick at which it ended.
    pub fn window(&mut self, row: &impl serde::Serialize, end: u64, wall_seconds: f64) {
        self.log(&Point::of_window(row, end, wall_seconds));
    }

    fn log(&mut self, point: &Point) {
        self.all.iter_mut().for_each(|tracker| tracker.log(point));
    }

    /// Keeps numbers of the whole run, and that it has failed if it has.
    pub fn sum_up(&mut self, numbers: &[(&str, u64)], failed: bool) {
        let numbers = numbers.iter().map(|(name, number)| ((*name).to_owned(), number.to_string()));
        let failed = failed.then(|| ("status".to_owned(), "\"failed\"".to_owned()));
        let fields: Vec<_> = numbers.chain(failed).collect();
        self.all.iter_mut().for_each(|tracker| tracker.sum_up(&fields));
    }

    /// As [`Tracker::skip_to`].
    pub fn skip_to(&mut self, step: u64) {
        self.all.iter_mut().for_each(|tracker| tracker.skip_to(step));
    }

    /// As [`Tracker::alert`].
    pub fn alert(&mut self, title: &str, text: &str) {
        let alert = Alert { title: title.into(), text: text.into() };
        self.all.iter_mut().for_each(|tracker| tracker.alert(&alert));
    }

    /// As [`Tracker::artifact`].
    pub fn artifact(&mut self, artifact: &Artifact) {
        self.all.iter_mut().for_each(|tracker| tracker.artifact(artifact));
    }

    /// As [`Tracker::console`], of lines that were said now.
    pub fn console(&mut self, lines: Vec<(jiff::Timestamp, String)>) {
        let lines: Vec<Said> = lines.into_iter().map(|(time, text)| Said { time, text }).collect();
        if !lines.is_empty() {
            self.all.iter_mut().for_each(|tracker| tracker.console(&lines));
        }
    }

    /// As [`Tracker::utilisation`].
    pub fn utilisation(&mut self, utilisation: &Utilisation, now: &Point) {
        self.all.iter_mut().for_each(|tracker| tracker.utilisation(utilisation, now.clone()));
    }

    /// As [`Tracker::notices`].
    pub fn notices(&mut self) -> Vec<String> {
        self.all.iter_mut().flat_map(|tracker| tracker.notices()).collect()
    }

    /// The run's page at Weights & Biases, once it has one.
    pub fn wandb_url(&self) -> Option<String> {
        self.all.iter().find_map(|tracker| tracker.wandb_url())
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Ends the run for all of them.
    pub fn end(self, state: State) -> Vec<Ending> {
        self.all.into_iter().map(|tracker| tracker.end(state)).collect()
    }
}

/// A run that has ended for a tracker; only its sender may still be at work.
pub struct Ending {
    notices: Vec<String>,
    sender: Option<Sender>,
    /// How to say that the server lacks something.
    lacking: Box<dyn FnOnce(&str) -> String>,
    /// The folder of files that were held for the sender.
    uploads: Option<std::path::PathBuf>,
}

impl Ending {
    /// Waits for the sender, until `deadline`. Gives the last lines to tell.
    pub fn wait(self, deadline: Instant) -> Vec<String> {
        let Self { mut notices, sender, lacking, uploads } = self;
        if let Some(sender) = sender {
            let (last, unsent) = sender.wait(deadline);
            notices.extend(last);
            notices.extend(unsent.described().map(|what| lacking(&what)));
        }
        // Empty, but for what the sender has given up.
        let _ = uploads.map(std::fs::remove_dir_all);
        notices
    }
}

/// Checks the variables that decide whether and where a run is logged.
///
/// # Errors
/// One line that names the variable.
pub fn check(settings: &Settings) -> Result<()> {
    wandb::Environment::of_process().mode_for(settings)?;
    if settings.logs_to(Logger::Mlflow) {
        mlflow::check()?;
    }
    Ok(())
}

/// A value of an environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    (!value.is_empty()).then_some(value)
}

/// Whether a text can be an id, which is a part of addresses and of file names.
fn is_plain_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=128).contains(&id.len()) && id.bytes().all(plain)
}

/// The address of a server without a slash at the end, a query, and what it holds of a name and a password, which are apart. `example`
/// is a right one.
///
/// # Errors
/// One line: the variable `name` is no address of a web server. A password in it is not repeated.
fn server_address(name: &str, text: &str, example: &str) -> Result<(String, Option<(String, String)>)> {
    let shown = if text.contains('@') { String::new() } else { format!(" ({text:?})") };
    let wrong = || anyhow!("{name}{shown} is no address such as {example}");
    let mut url = Url::parse(text.trim()).map_err(|_| wrong())?;
    ensure!(matches!(url.scheme(), "http" | "https") && url.has_host(), wrong());
    let who = (!url.username().is_empty())
        .then(|| (url.username().to_owned(), url.password().unwrap_or_default().to_owned()));
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| wrong())?;
    url.set_query(None);
    url.set_fragment(None);
    Ok((url.as_str().trim_end_matches('/').into(), who))
}

/// A text as a part of an address.
fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
