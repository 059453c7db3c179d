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
mod connect;
mod environment;
mod identity;
mod record;
mod service;
mod transaction_log;
mod upload;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result};
use serde_json::{Value, json};

pub use environment::Environment;
pub use identity::Identity;

use self::api::Api;
use self::artifact::Contents;
use self::service::{Begin, Wire, exit_code, fields};
use self::transaction_log::TransactionLog;
use super::event::{Alert, Artifact, Fields, Held, Point, Said};
use super::sender::{Event, Pace, Sender};
use super::{Description, Ending, Origin, Tracker};
use crate::trainer::protobuf::Message;
pub use crate::trainer::settings::Wandb as Mode;
use crate::trainer::status::State;
use crate::trainer::utilisation::Utilisation;

/// The folder in the run directory for files that are being sent.
const UPLOADS: &str = ".uploads";
/// How long the server keeps quiet after an alert before it passes on another of the same title.
const ALERT_PAUSE: Duration = Duration::from_secs(600);

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
            let begin = Begin {
                base_url: base_url?,
                identity: identity.clone(),
                config: config.clone(),
                commit: commit.clone(),
                metadata: metadata(&identity, commit.as_deref(), start),
            };
            let api = Api::new(&begin.base_url, &key, pace.call)?;
            Sender::start(Wire::new(api, begin), Some(key), pace)
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

    fn append(&mut self, kind: u64, message: Message) {
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

    /// Tells of a file in the log. `wandb sync` fails if it is not there any more.
    fn log_artifact(&mut self, artifact: &Artifact) {
        match Contents::of(&artifact.path) {
            Ok(contents) => {
                self.append(record::ARTIFACT, record::artifact(&self.identity, artifact, &contents));
            }
            Err(error) => self.notices.push(unreadable(artifact, &error)),
        }
    }
}

impl Tracker for Wandb {
    /// Logs a point, unless it was logged before the run was resumed.
    fn log(&mut self, point: &Point) {
        self.runtime = point.wall_seconds;
        if point.step <= self.skip_until {
            return;
        }
        let fields = fields(point);
        self.append(record::HISTORY, record::history(point.step, &fields));
        self.append(record::SUMMARY, record::summary(&fields));
        self.send(Event::Point(point.clone()));
    }

    fn sum_up(&mut self, fields: &Fields) {
        self.append(record::SUMMARY, record::summary(fields));
        self.send(Event::Summary(fields.to_vec()));
    }

    fn skip_to(&mut self, step: u64) {
        self.skip_until = self.skip_until.max(step);
    }

    fn alert(&mut self, alert: &Alert) {
        self.append(record::ALERT, record::alert(alert));
        self.send(Event::Alert(alert.clone()));
    }

    /// Keeps a file, unless artifacts are not wanted.
    fn artifact(&mut self, artifact: &Artifact) {
        if !self.artifacts {
            return;
        }
        let path = artifact.path.canonicalize().unwrap_or(artifact.path.clone());
        let artifact = Artifact { path, ..artifact.clone() };
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

    fn console(&mut self, lines: &[Said]) {
        lines.iter().for_each(|said| self.append(record::OUTPUT_RAW, record::console(said)));
        self.send(Event::Console(lines.to_vec()));
    }

    fn utilisation(&mut self, utilisation: &Utilisation, now: Point) {
        let point = Point { fields: system_metrics(utilisation), ..now };
        self.append(record::STATS, record::stats(&point));
        self.send(Event::Utilisation(point));
    }

    fn notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.sender.iter().flat_map(Sender::notices));
        notices
    }

    fn wandb_url(&self) -> Option<String> {
        self.sender.as_ref().and_then(Sender::page)
    }

    /// Completes the log, and has the sender send what is left.
    fn end(mut self: Box<Self>, state: State) -> Ending {
        let held_back = std::mem::take(&mut self.held_back);
        let left = held_back.iter().filter(|artifact| artifact.path.exists());
        left.for_each(|artifact| self.log_artifact(artifact));
        self.append(record::EXIT, record::exit(exit_code(state), self.runtime));
        let mut notices = self.notices();
        if let Err(error) = self.log.sync() {
            notices.push(format!("{error:#}"));
        }
        let directory = self.log.path().parent().unwrap_or(self.log.path()).display().to_string();
        match &mut self.sender {
            Some(sender) => sender.end(state),
            None => notices.push(format!("W&B: send the run with: wandb sync {directory}")),
        }
        let lacking = move |what: &str| format!("W&B lacks {what}; send them with: wandb sync {directory}");
        Ending { notices, sender: self.sender, lacking: Box::new(lacking), uploads: Some(self.uploads) }
    }
}

fn unreadable(artifact: &Artifact, error: &io::Error) -> String {
    format!("cannot read {}: {error}", artifact.path.display())
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

/// How busy the machine is, by the names of the official client.
fn system_metrics(utilisation: &Utilisation) -> Vec<(String, String)> {
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut fields = vec![
        ("cpu".to_owned(), utilisation.process_percent),
        ("memory_percent".into(), utilisation.memory_percent()),
        ("proc.memory.rssMB".into(), utilisation.process_memory.map(mebibytes)),
        ("proc.memory.availableMB".into(), utilisation.memory.map(|memory| mebibytes(memory.available))),
    ];
    for (index, gpu) in utilisation.gpus.iter().enumerate() {
        let name = |what: &str| format!("gpu.{index}.{what}");
        fields.extend([
            (name("gpu"), gpu.load_percent),
            (name("memoryAllocated"), Some(gpu.memory_percent())),
            (name("memoryAllocatedBytes"), Some(gpu.memory_used as f64)),
        ]);
    }
    fields.into_iter().filter_map(|(key, value)| Some((key, super::event::number(value?)))).collect()
}

#[cfg(test)]
pub(super) mod tests;
