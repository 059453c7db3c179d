//! MLflow: a run at a tracking server, over its REST interface.
//!
//! The settings become parameters, each row of the logs metrics at its timestep, checkpoints and parameters artifacts, the end of the
//! run its status. A run that is taken up again goes on in the same run there, whose place its directory keeps; what is logged cannot be
//! taken back, so the metrics go on after the last step that was logged. Everything that is sent is also in the files of the run.

mod api;
mod service;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::event::{Alert, Artifact, Fields, Held, Point, Said, number};
use super::http::Auth;
use super::sender::{Event, Pace, Sender};
use super::{Description, Ending, Origin, Tracker, is_plain_id, server_address, variable};
use crate::envs::short_name;
use crate::files;
use crate::trainer::files::write_atomically;
use crate::trainer::settings::Settings;
use crate::trainer::status::State;
use crate::trainer::utilisation::Utilisation;
use api::Api;
use service::{Begin, Wire, key};

/// The file in the run directory that keeps the [`Place`].
const FILE: &str = "mlflow.json";
/// The folder in the run directory for files that are being sent.
const UPLOADS: &str = ".mlflow_uploads";
/// What a right address looks like.
const EXAMPLE: &str = "http://127.0.0.1:5000";

/// Where a run is at MLflow, so that one which is taken up again goes on in the same place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The server.
    pub tracking_uri: String,
    pub run_id: String,
}

impl Place {
    /// The place that is kept in a run directory, if it is on this server.
    fn kept(run: &Path, tracking_uri: &str) -> Option<Self> {
        let place: Self = serde_json::from_str(&files::read_text(&run.join(FILE)).ok()?).ok()?;
        (is_plain_id(&place.run_id) && place.tracking_uri == tracking_uri).then_some(place)
    }

    /// Keeps the place in a run directory.
    fn keep(&self, run: &Path) -> Result<()> {
        write_atomically(&run.join(FILE), &serde_json::to_vec_pretty(self)?)
    }
}

/// Which server, and who calls.
struct Tracking {
    tracking_uri: String,
    auth: Auth,
    /// Whether any certificate will do.
    is_trusted: bool,
}

impl Tracking {
    /// What MLflow's variables say; `get` gives one that is set.
    fn of(get: impl Fn(&str) -> Option<String>) -> Result<Self> {
        const NAME: &str = "MLFLOW_TRACKING_URI";
        let Some(text) = get(NAME) else {
            bail!("{NAME} is not set; give the address of a tracking server, such as {EXAMPLE}")
        };
        let (tracking_uri, who) = server_address(NAME, &text, EXAMPLE)?;
        let user = get("MLFLOW_TRACKING_USERNAME");
        let password = get("MLFLOW_TRACKING_PASSWORD").unwrap_or_default();
        let who = user.map(|user| (user, password)).or(who);
        let auth = match (who, get("MLFLOW_TRACKING_TOKEN")) {
            (Some((user, password)), _) => Auth::Basic { user, password },
            (None, Some(token)) => Auth::Bearer(token),
            (None, None) => Auth::None,
        };
        let is_trusted =
            get("MLFLOW_TRACKING_INSECURE_TLS").is_some_and(|word| word.to_lowercase() == "true");
        Ok(Self { tracking_uri, auth, is_trusted })
    }
}

/// Checks the variables that say where the server is.
///
/// # Errors
/// One line that names the variable.
pub fn check() -> Result<()> {
    Tracking::of(variable).map(drop)
}

/// A run at an MLflow server.
#[derive(Debug)]
pub struct Mlflow {
    sender: Sender,
    /// Points up to this step are there already.
    skip_until: u64,
    artifacts: bool,
    /// Where files are held until they are sent, each in a folder of its own, and how many there were.
    uploads: PathBuf,
    uploaded: u64,
    metrics: String,
    notices: Vec<String>,
}

impl Mlflow {
    /// Begins to log a run, as MLflow's variables say. Variables that name one run do not hold for those of a group.
    ///
    /// # Errors
    /// One line: a variable makes no sense, or the system has no thread.
    pub fn begin(description: &Description, pace: Pace) -> Result<Self> {
        Self::begin_with(description, variable, pace)
    }

    fn begin_with(
        description: &Description,
        get: impl Fn(&str) -> Option<String>,
        pace: Pace,
    ) -> Result<Self> {
        let Description { settings, run, origin, .. } = *description;
        let Tracking { tracking_uri, auth, is_trusted } = Tracking::of(&get)?;
        let secret = auth.secret().map(str::to_owned);
        let kept = Place::kept(run, &tracking_uri).map(|place| place.run_id);
        let named = get("MLFLOW_RUN_ID").filter(|_| settings.group.is_none());
        if let Some(id) = &named {
            ensure!(
                is_plain_id(id),
                "MLFLOW_RUN_ID is {id:?}; use letters, digits, - and _ only, at most 128"
            );
        }
        let api = Api::new(&tracking_uri, auth, pace.call, is_trusted)?;
        let begin = Begin {
            run: run.to_path_buf(),
            tracking_uri,
            run_id: kept.or(named),
            experiment_id: get("MLFLOW_EXPERIMENT_ID"),
            experiment: get("MLFLOW_EXPERIMENT_NAME").unwrap_or_else(|| experiment_of(settings)),
            run_name: description.run_name.to_owned(),
            params: params(description),
            tags: tags(description),
        };
        let uploads = run.join(UPLOADS);
        let _ = std::fs::remove_dir_all(&uploads); // held by a process that was killed
        let mut notices = Vec::new();
        if let Origin::Rewound { .. } = origin {
            notices.push("MLflow cannot rewind; the metrics go on after their last step".into());
        }
        Ok(Self {
            sender: Sender::start(Wire::new(api, begin), secret, pace)?,
            skip_until: description.skip_until(),
            artifacts: !settings.no_artifact,
            uploads,
            uploaded: 0,
            metrics: run.join(crate::trainer::METRICS).display().to_string(),
            notices,
        })
    }
}

/// The experiment that runs are in if nobody says another one.
fn experiment_of(settings: &Settings) -> String {
    settings.project.clone().unwrap_or_else(|| short_name(&settings.env))
}

/// The settings, as text.
fn params(description: &Description) -> Vec<(String, String)> {
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    description.config.iter().map(|(name, value)| (key(name), text(value))).collect()
}

fn tags(description: &Description) -> Vec<(String, String)> {
    let Description { settings, run_id, commit, tags, .. } = description;
    let named = [
        ("mlflow.source.name", Some("lockstep")),
        ("mlflow.source.type", Some("LOCAL")),
        ("mlflow.source.git.commit", commit.as_deref()),
        ("lockstep.id", Some(*run_id)),
        ("lockstep.env", Some(&*settings.env)),
        ("lockstep.group", settings.group.as_deref()),
    ];
    let user = variable("USER").or_else(|| variable("LOGNAME"));
    let named = named.into_iter().chain([("mlflow.user", user.as_deref())]);
    let named = named.filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())));
    named.chain(tags.iter().map(|tag| (key(tag), "true".to_owned()))).collect()
}

impl Tracker for Mlflow {
    fn log(&mut self, point: &Point) {
        if point.step > self.skip_until {
            self.sender.send(Event::Point(point.clone()));
        }
    }

    fn sum_up(&mut self, fields: &Fields) {
        self.sender.send(Event::Summary(fields.to_vec()));
    }

    fn skip_to(&mut self, step: u64) {
        self.skip_until = self.skip_until.max(step);
    }

    fn alert(&mut self, alert: &Alert) {
        self.sender.send(Event::Alert(alert.clone()));
    }

    fn artifact(&mut self, artifact: &Artifact) {
        if !self.artifacts {
            return;
        }
        self.uploaded += 1;
        match Held::new(&artifact.path, &self.uploads.join(self.uploaded.to_string())) {
            Ok(held) => self.sender.send(Event::Artifact(artifact.clone(), held)),
            Err(error) => self.notices.push(format!("cannot read {}: {error}", artifact.path.display())),
        }
    }

    /// Its runs have no console.
    fn console(&mut self, _lines: &[Said]) {}

    /// By the names of MLflow's own client.
    fn utilisation(&mut self, utilisation: &Utilisation, now: Point) {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        let used = utilisation.memory.map(|memory| megabytes(memory.total.saturating_sub(memory.available)));
        let mut fields = vec![
            ("system/cpu_utilization_percentage".to_owned(), utilisation.cpu_percent),
            ("system/system_memory_usage_megabytes".into(), used),
            ("system/system_memory_usage_percentage".into(), utilisation.memory_percent()),
        ];
        for (index, gpu) in utilisation.gpus.iter().enumerate() {
            let name = |what: &str| format!("system/gpu_{index}_{what}");
            fields.extend([
                (name("utilization_percentage"), gpu.load_percent),
                (name("memory_usage_megabytes"), Some(megabytes(gpu.memory_used))),
                (name("memory_usage_percentage"), Some(gpu.memory_percent())),
            ]);
        }
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name, number(value?)))).collect();
        self.sender.send(Event::Utilisation(Point { fields, ..now }));
    }

    fn notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.sender.notices());
        notices
    }

    fn end(mut self: Box<Self>, state: State) -> Ending {
        let notices = self.notices();
        self.sender.end(state);
        let metrics = self.metrics;
        let lacking = move |what: &str| format!("MLflow lacks {what}; all rows are in {metrics}");
        Ending { notices, sender: Some(self.sender), lacking: Box::new(lacking), uploads: Some(self.uploads) }
    }
}

#[cfg(test)]
mod tests;
