//! Weights & Biases: a run is written to a local transaction log, and when online also sent as it goes.
//!
//! The log is the file that the official client writes; `wandb sync DIRECTORY` sends it, whether the run was
//! offline or the network was gone. Every process that works on a run begins a file of its own under the same run id,
//! and says in it how it relates to what is known: a new run, one that continues after the last logged step, or one
//! whose history is rewound to its checkpoint.
//!
//! Nothing here may stop a run: what goes wrong becomes a line for the console.

mod api;
mod artifact;
mod environment;
mod identity;
mod record;
mod sender;
mod transaction_log;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

pub use environment::Environment;
pub use identity::{Identity, Origin};
pub use sender::Pace;

use self::artifact::{Contents, Held};
use self::sender::{Begin, Event, Sender};
use self::transaction_log::TransactionLog;
use super::metrics::Row;
use super::settings::Settings;
pub use super::settings::Wandb as Mode;

/// Checks the variables that decide whether and where a run is logged.
///
/// # Errors
/// One line that names the variable.
pub fn check(settings: &Settings) -> Result<()> {
    Environment::of_process().mode_for(settings).map(drop)
}

/// The folder in the run directory for files that are being sent.
const UPLOADS: &str = ".uploads";
/// How long the server keeps quiet after an alert before it passes on another of the same title.
const ALERT_PAUSE: Duration = Duration::from_secs(600);

/// Something that a person should know at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub title: String,
    pub text: String,
}

/// A file to keep at W&B.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    pub name: String,
    pub kind: &'static str,
    pub path: PathBuf,
    pub metadata: Value,
    pub aliases: Vec<String>,
}

/// What the run is, as far as W&B wants to know.
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
    /// Tags beside those of the environment variable.
    pub tags: &'a [&'static str],
}

/// The run at W&B.
#[derive(Debug)]
pub struct Wandb {
    log: TransactionLog,
    sender: Option<Sender>,
    identity: Identity,
    /// Rows up to this step are there already.
    skip_until: u64,
    /// The newest row's runtime.
    runtime: f64,
    artifacts: bool,
    /// Whether the run removes files before it ends (`--keep`).
    removes_files: bool,
    /// Files to tell of at the end, those that are still there.
    held_back: Vec<Artifact>,
    /// Where files are held until they are sent, each in a folder of its own, and how many there were.
    uploads: PathBuf,
    uploaded: u64,
    notices: Vec<String>,
    /// Whether it has been said that the log cannot be written.
    complained: bool,
}

impl Wandb {
    /// Begins to log a run, or does not, as settings and environment say. Gives the lines to tell the user, too.
    pub fn begin(
        description: &Description,
        environment: &Environment,
        pace: Pace,
    ) -> (Option<Self>, Vec<String>) {
        let (mode, notice) = match environment.mode_for(description.settings) {
            Ok(mode) => mode,
            Err(error) => return (None, vec![format!("W&B is off: {error:#}")]),
        };
        let mut notices: Vec<_> = notice.into_iter().collect();
        if mode == Mode::Disabled {
            return (None, notices);
        }
        match Self::open(description, environment, mode, pace) {
            Ok(wandb) => (Some(wandb), notices),
            Err(error) => {
                notices.push(format!("W&B is off: {error:#}"));
                (None, notices)
            }
        }
    }

    fn open(description: &Description, environment: &Environment, mode: Mode, pace: Pace) -> Result<Self> {
        let Description { settings, ref config, run, origin, ref commit, logged_step, .. } = *description;
        let identity = Identity::new(description, environment)?;
        let start = jiff::Timestamp::now();
        let run_id = &identity.place.run_id;
        let directory = make_directory(&environment.directory(run), mode, run_id)?;
        let mut log = TransactionLog::create(&directory.join(format!("run-{run_id}.wandb")))?;
        log.append(record::HEADER, record::header())?;
        log.append(record::RUN, record::run(&identity, config, start))?;
        for metric in record::metrics() {
            log.append(record::METRIC, metric)?;
        }
        let uploads = run.join(UPLOADS);
        let _ = fs::remove_dir_all(&uploads); // held by a process that was killed
        let key = environment.api_key().filter(|_| mode == Mode::Online);
        let base_url = environment.base_url();
        let sender = key.map(|key| {
            Sender::start(Begin {
                base_url: base_url?,
                key,
                identity: identity.clone(),
                config: config.clone(),
                commit: commit.clone(),
                metadata: metadata(&identity, commit.as_deref(), start),
                pace,
            })
        });
        Ok(Self {
            log,
            sender: sender.transpose().context("cannot reach W&B")?,
            identity,
            skip_until: if origin == Origin::Resumed { logged_step } else { 0 },
            runtime: 0.0,
            artifacts: !settings.no_artifact,
            removes_files: settings.keep.is_some(),
            held_back: Vec::new(),
            uploads,
            uploaded: 0,
            notices: Vec::new(),
            complained: false,
        })
    }

    fn append(&mut self, kind: u64, message: super::protobuf::Message) {
        if let Err(error) = self.log.append(kind, message)
            && !self.complained
        {
            self.complained = true;
            self.notices.push(format!("{error:#}; W&B's records are kept for later"));
        }
    }

    fn send(&self, event: Event) {
        if let Some(sender) = &self.sender {
            sender.send(event);
        }
    }

    /// Logs a row, unless it was logged before the run was resumed.
    pub fn row(&mut self, row: &Row) {
        self.runtime = row.wall_seconds;
        if row.update <= self.skip_until {
            return;
        }
        let fields = fields(row);
        self.append(record::HISTORY, record::history(row.update, &fields));
        self.append(record::SUMMARY, record::summary(&fields));
        self.send(Event::Row { step: row.update, fields });
    }

    /// Logs a window as it stands in its log, at the tick at which it ended, unless it was logged before the run was resumed.
    pub fn window(&mut self, row: &impl serde::Serialize, step: u64, wall_seconds: f64) {
        self.runtime = wall_seconds;
        let Ok(Value::Object(row)) = serde_json::to_value(row) else { return };
        if step <= self.skip_until {
            return;
        }
        let mut fields: Vec<(String, String)> =
            row.into_iter().map(|(name, value)| (name, value.to_string())).collect();
        fields.push((record::X_AXIS.into(), step.to_string()));
        fields.extend(clocks(step, wall_seconds, jiff::Timestamp::now()));
        self.append(record::HISTORY, record::history(step, &fields));
        self.append(record::SUMMARY, record::summary(&fields));
        self.send(Event::Row { step, fields });
    }

    /// Keeps numbers of the whole run.
    pub fn sum_up(&mut self, numbers: &[(&str, u64)], failed: bool) {
        let mut fields: Vec<(String, String)> =
            numbers.iter().map(|(name, number)| ((*name).to_owned(), number.to_string())).collect();
        if failed {
            fields.push(("status".into(), "\"failed\"".into()));
        }
        self.append(record::SUMMARY, record::summary(&fields));
        self.send(Event::Summary(fields));
    }

    /// The run's page, where there is a server.
    pub fn url(&self) -> Option<String> {
        self.sender.as_ref().and_then(Sender::page)
    }

    /// Logs nothing again up to `step`: the run has gone back, and what is there stays.
    pub fn skip_to(&mut self, step: u64) {
        self.skip_until = self.skip_until.max(step);
    }

    /// Sends a warning to the people who follow the run.
    pub fn alert(&mut self, title: &str, text: &str) {
        let alert = Alert { title: title.into(), text: text.into() };
        self.append(record::ALERT, record::alert(&alert));
        self.send(Event::Alert(alert));
    }

    /// Keeps a file, unless artifacts are not wanted.
    pub fn artifact(&mut self, artifact: Artifact) {
        if !self.artifacts {
            return;
        }
        let path = artifact.path.canonicalize().unwrap_or(artifact.path);
        let artifact = Artifact { path, ..artifact };
        // The sender reads the file when its turn comes. The log tells of it, too, for what the sender cannot send.
        if self.sender.is_some() {
            self.uploaded += 1;
            match Held::new(&artifact.path, &self.uploads.join(self.uploaded.to_string())) {
                Ok(held) => self.send(Event::Artifact(artifact.clone(), held)),
                Err(error) => return self.notices.push(unreadable(&artifact, &error)),
            }
        }
        if self.removes_files {
            self.held_back.retain(|artifact| artifact.path.exists());
            self.held_back.push(artifact);
        } else {
            self.log_artifact(&artifact);
        }
    }

    /// Tells of a file in the log. `wandb sync` fails if it is not there any more.
    fn log_artifact(&mut self, artifact: &Artifact) {
        match Contents::of(&artifact.path) {
            Ok(contents) => {
                self.append(record::ARTIFACT, record::artifact(&self.identity, artifact, &contents));
            }
            Err(error) => self.notices.push(unreadable(artifact, &error)),
        }
    }

    /// What there is to tell since the last time.
    pub fn notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.sender.iter().flat_map(Sender::notices));
        notices
    }

    /// Ends the run with an exit status: completes the log, and has the sender send what is left.
    pub fn end(mut self, exit_code: i32) -> Ending {
        let held_back = std::mem::take(&mut self.held_back);
        let left = held_back.iter().filter(|artifact| artifact.path.exists());
        left.for_each(|artifact| self.log_artifact(artifact));
        self.append(record::EXIT, record::exit(exit_code, self.runtime));
        let mut notices = self.notices();
        if let Err(error) = self.log.sync() {
            notices.push(format!("{error:#}"));
        }
        let directory = self.log.path().parent().unwrap_or(self.log.path()).to_path_buf();
        if let Some(sender) = &mut self.sender {
            sender.end(exit_code);
        }
        Ending { directory, sender: self.sender, uploads: self.uploads, notices }
    }
}

/// A run that has ended and whose log is complete; only the sender may still be at work.
#[derive(Debug)]
pub struct Ending {
    /// Of the log.
    directory: PathBuf,
    sender: Option<Sender>,
    uploads: PathBuf,
    notices: Vec<String>,
}

impl Ending {
    /// Waits for the sender, until `deadline`. Gives the last lines to tell.
    pub fn wait(self, deadline: Instant) -> Vec<String> {
        let Self { directory, sender, uploads, mut notices } = self;
        let directory = directory.display();
        match sender {
            None => notices.push(format!("W&B: send the run with: wandb sync {directory}")),
            Some(sender) => {
                let (last, unsent) = sender.wait(deadline);
                notices.extend(last);
                let lacking = [count(unsent.rows, "row"), count(unsent.artifacts, "artifact")];
                let lacking: Vec<_> = lacking.into_iter().flatten().collect();
                if !lacking.is_empty() {
                    let what = lacking.join(" and ");
                    notices.push(format!("W&B lacks {what}; send them with: wandb sync {directory}"));
                }
            }
        }
        let _ = fs::remove_dir_all(&uploads); // empty, but for what the sender has given up
        notices
    }
}

fn unreadable(artifact: &Artifact, error: &io::Error) -> String {
    format!("cannot read {}: {error}", artifact.path.display())
}

/// `3 rows`; nothing for none.
fn count(number: u64, what: &str) -> Option<String> {
    let plural = if number == 1 { "" } else { "s" };
    (number > 0).then(|| format!("{number} {what}{plural}"))
}

/// Makes `offline-run-<date>_<time>-<id>` with a file name that is free, and points `latest-run` to it.
fn make_directory(parent: &Path, mode: Mode, run_id: &str) -> Result<PathBuf> {
    let prefix = if mode == Mode::Offline { "offline-run" } else { "run" };
    let cannot = || format!("cannot make a directory in {}", parent.display());
    fs::create_dir_all(parent).with_context(cannot)?;
    let mut time = jiff::Zoned::now();
    loop {
        let name = format!("{prefix}-{}-{run_id}", time.strftime("%Y%m%d_%H%M%S"));
        let directory = parent.join(&name);
        match fs::create_dir(&directory) {
            Ok(()) => {
                fs::create_dir_all(directory.join("files")).with_context(cannot)?;
                #[cfg(unix)]
                {
                    let link = parent.join("latest-run");
                    let _ = fs::remove_file(&link); // a convenience only: nothing depends on the link
                    let _ = std::os::unix::fs::symlink(&name, &link);
                }
                return Ok(directory);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                time = time.saturating_add(jiff::Span::new().seconds(1));
            }
            Err(error) => return Err(error).with_context(cannot),
        }
    }
}

/// The file `wandb-metadata.json`.
fn metadata(identity: &Identity, commit: Option<&str>, start: jiff::Timestamp) -> Value {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let program = std::env::args().next().unwrap_or_default();
    json!({
        "os": format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        "startedAt": start.to_string(),
        "program": program,
        "args": args,
        "root": std::env::current_dir().unwrap_or_default(),
        "host": identity.host,
        "git": commit.map(|commit| json!({"commit": commit})),
    })
}

/// A row as W&B takes it: the names of all logs, and the clocks that W&B itself wants. Each value is JSON.
fn fields(row: &Row) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> =
        row.scalars().map(|(name, value)| (name.into_owned(), number(value))).collect();
    fields.push(("update".into(), row.update.to_string()));
    fields.push((record::X_AXIS.into(), row.timesteps.to_string()));
    fields.extend(clocks(row.update, row.wall_seconds, row.time));
    fields
}

/// The clocks that W&B itself wants.
fn clocks(step: u64, wall_seconds: f64, time: jiff::Timestamp) -> [(String, String); 3] {
    [
        ("_step".into(), step.to_string()),
        ("_runtime".into(), number(wall_seconds)),
        ("_timestamp".into(), number(time.as_millisecond() as f64 / 1e3)),
    ]
}

/// A number as W&B reads it: JSON, and the bare words that JSON lacks. What was a 32-bit number keeps its few digits.
fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if f64::from(value as f32) == value {
        serde_json::to_string(&(value as f32)).expect("a finite number")
    } else {
        serde_json::to_string(&value).expect("a finite number")
    }
}

/// One JSON object; serde_json could not write the words for what is not a number.
fn json_object(fields: &record::Fields) -> String {
    let member = |(name, json): &(String, String)| format!("{}:{json}", Value::from(name.as_str()));
    format!("{{{}}}", fields.iter().map(member).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests;
