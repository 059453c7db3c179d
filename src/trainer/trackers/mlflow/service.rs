//! What an MLflow server is told of a run while it goes on, within its limits.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Place;
use super::api::{Api, Known};
use crate::files;
use crate::trainer::status::State;
use crate::trainer::trackers::event::{Alert, Artifact, Point};
use crate::trainer::trackers::http::Failure;
use crate::trainer::trackers::sender::{Service, Voice};

/// The limits of a batch: metrics, parameters or tags in it, and bytes with room for what is around them.
const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
const MOST_BYTES: usize = 900_000;
/// The limits of texts, in characters.
const LONGEST_KEY: usize = 250;
const LONGEST_PARAM: usize = 6000;
const LONGEST_TAG: usize = 5000;

/// All that the sender needs to begin.
pub struct Begin {
    /// The run directory, which keeps the place.
    pub run: PathBuf,
    pub tracking_uri: String,
    /// A run that is there already.
    pub run_id: Option<String>,
    pub experiment_id: Option<String>,
    pub experiment: String,
    pub run_name: String,
    pub params: Vec<(String, String)>,
    pub tags: Vec<(String, String)>,
}

/// The server of a run.
pub struct Wire {
    api: Api,
    begin: Begin,
    known: Option<Known>,
    /// How many of the parameters are there.
    params_sent: usize,
    /// How busy the machine was, to be sent with what comes next.
    waiting: Vec<Point>,
    /// Numbers of the whole run.
    summary: Vec<(String, String)>,
    /// The last moment that was logged.
    last: Option<Point>,
}

impl Wire {
    pub fn new(api: Api, begin: Begin) -> Self {
        Self { api, begin, known: None, params_sent: 0, waiting: Vec::new(), summary: Vec::new(), last: None }
    }

    fn run_id(&self) -> &str {
        &self.known.as_ref().expect("calls about the run come after connecting").run_id
    }

    /// Finds the run, or makes it known.
    fn find_or_create(&self, voice: &Voice) -> Result<Known, Failure> {
        if let Some(id) = &self.begin.run_id {
            if let Some(known) = self.api.find_run(id)? {
                return Ok(known);
            }
            voice.say(&format!("MLflow has no run {id} any more; a new one begins"));
        }
        let experiment = match &self.begin.experiment_id {
            Some(id) => id.clone(),
            None => self.api.experiment(&self.begin.experiment)?,
        };
        voice.succeeded();
        let tags: Vec<Value> = self
            .begin
            .tags
            .iter()
            .map(|(key, value)| json!({"key": key, "value": shortened(value, LONGEST_TAG)}))
            .collect();
        let now = jiff::Timestamp::now().as_millisecond();
        self.api.create_run(&json!({
            "experiment_id": experiment,
            "run_name": self.begin.run_name,
            "start_time": now,
            "tags": tags,
        }))
    }

    /// Sends the parameters. Those of a run that is there already may be others, which it keeps.
    fn send_params(&mut self, is_new: bool, voice: &Voice) -> Result<(), Failure> {
        while self.params_sent < self.begin.params.len() {
            let rest = &self.begin.params[self.params_sent..];
            let params: Vec<Value> = rest
                .iter()
                .take(MOST_PARAMS)
                .map(|(key, value)| json!({"key": key, "value": shortened(value, LONGEST_PARAM)}))
                .collect();
            let count = params.len();
            match self.api.log_batch(&json!({"run_id": self.run_id(), "params": params})) {
                Ok(()) => voice.succeeded(),
                Err(Failure::Permanent(_)) if !is_new => {
                    voice.say("MLflow keeps the parameters that the run began with");
                    self.params_sent = self.begin.params.len();
                    return Ok(());
                }
                Err(failure) => return Err(failure),
            }
            self.params_sent += count;
        }
        Ok(())
    }

    /// Sends metrics at some moments, in as many batches as it takes.
    fn send_metrics(&self, metrics: &[Value], voice: &Voice) -> Result<(), Failure> {
        for metrics in metrics.chunks(MOST_METRICS) {
            self.api.log_batch(&json!({"run_id": self.run_id(), "metrics": metrics}))?;
            voice.succeeded();
        }
        Ok(())
    }

    /// Sends how busy the machine was.
    fn send_waiting(&mut self, voice: &Voice) -> Result<(), Failure> {
        let metrics: Vec<Value> = self.waiting.iter().flat_map(metrics).collect();
        self.send_metrics(&metrics, voice)?;
        self.waiting.clear();
        Ok(())
    }
}

impl Service for Wire {
    const NAME: &'static str = "MLflow";

    fn connect(&mut self, voice: &Voice) -> Result<Option<u64>, Failure> {
        let is_new = self.begin.run_id.is_none();
        if self.known.is_none() {
            let known = self.find_or_create(voice)?;
            voice.succeeded();
            let place = Place { tracking_uri: self.begin.tracking_uri.clone(), run_id: known.run_id.clone() };
            if let Err(error) = place.keep(&self.begin.run) {
                voice.say(&format!("MLflow: {error:#}"));
            }
            let Known { experiment_id, run_id, .. } = &known;
            let page = format!("{}/#/experiments/{experiment_id}/runs/{run_id}", self.begin.tracking_uri);
            voice.say(&format!("MLflow: {page}"));
            voice.show(page);
            self.known = Some(known);
        }
        self.send_params(is_new, voice)?;
        if !is_new {
            self.api.update_run(&json!({"run_id": self.run_id(), "status": "RUNNING"}))?;
        }
        // Steps are timesteps there, and the run itself knows after which of them it goes on.
        Ok(None)
    }

    fn note(&mut self, point: &Point) {
        self.last = Some(Point { fields: Vec::new(), ..point.clone() });
    }

    /// As many points as fit into one batch; one that does not fit is sent in several.
    fn post(
        &mut self,
        points: &mut dyn Iterator<Item = &Point>,
        _dropped: u64,
        voice: &Voice,
    ) -> Result<usize, Failure> {
        let (mut batch, mut bytes, mut count) = (Vec::new(), 0, 0);
        for point in points {
            let metrics = metrics(point);
            bytes += metrics.iter().map(|metric| metric.to_string().len() + 1).sum::<usize>();
            if count > 0 && (batch.len() + metrics.len() > MOST_METRICS || bytes > MOST_BYTES) {
                break;
            }
            batch.extend(metrics);
            count += 1;
        }
        self.send_metrics(&batch, voice)?;
        self.send_waiting(voice)?;
        Ok(count)
    }

    /// A run there lives until it says otherwise.
    fn beat(&mut self, _dropped: u64, voice: &Voice) -> Result<(), Failure> {
        self.send_waiting(voice)
    }

    /// There are no alerts: the last one is a tag.
    fn alert(&mut self, alert: &Alert, voice: &Voice) -> Result<(), Failure> {
        let text = format!("{}: {}", alert.title, alert.text);
        self.api.set_tag(self.run_id(), "lockstep.warning", &shortened(&text, LONGEST_TAG))?;
        voice.succeeded();
        Ok(())
    }

    fn sum_up(&mut self, fields: Vec<(String, String)>) {
        self.summary = fields;
    }

    fn utilisation(&mut self, point: Point) {
        const MOST: usize = 100;
        self.waiting.push(point);
        let surplus = self.waiting.len().saturating_sub(MOST);
        self.waiting.drain(..surplus);
    }

    fn artifact(&mut self, artifact: &Artifact, held: &Path, voice: &Voice) -> Result<(), Failure> {
        let unreadable =
            |error: std::io::Error| Failure::Permanent(format!("cannot read {}: {error}", held.display()));
        let (file, _) = files::open(held).map_err(unreadable)?;
        let name = held.file_name().unwrap_or_default().to_string_lossy();
        let known = self.known.as_ref().expect("calls about the run come after connecting");
        self.api.upload(&known.artifact_uri, &format!("{}/{name}", artifact.name), file)?;
        voice.succeeded();
        Ok(())
    }

    fn complete(&mut self, state: State, _dropped: u64, voice: &Voice) -> Result<(), Failure> {
        let now = jiff::Timestamp::now();
        if let Some(last) = self.last.take() {
            let summary = Point { fields: std::mem::take(&mut self.summary), time: now, ..last };
            self.waiting.push(summary);
        }
        self.send_waiting(voice)?;
        let status = match state {
            State::Completed => "FINISHED",
            State::Stopped => "KILLED",
            State::Failed => "FAILED",
            State::Running => "RUNNING",
        };
        let end = now.as_millisecond();
        self.api.update_run(&json!({"run_id": self.run_id(), "status": status, "end_time": end}))?;
        voice.succeeded();
        Ok(())
    }
}

/// The numbers of a point at its timestep.
fn metrics(point: &Point) -> Vec<Value> {
    let time = point.time.as_millisecond();
    let metric = |(name, value): (&str, f64)| {
        let value = match value {
            value if value.is_nan() => "NaN".into(),
            f64::INFINITY => "Infinity".into(),
            f64::NEG_INFINITY => "-Infinity".into(),
            value => json!(value),
        };
        json!({"key": key(name), "value": value, "timestamp": time, "step": point.timesteps})
    };
    point.numbers().map(metric).collect()
}

/// A name as the server takes it: letters, digits, `_ - . : /` and blanks, not too many of them.
pub fn key(name: &str) -> String {
    let plain = |c: char| if c.is_alphanumeric() || "_-. :/".contains(c) { c } else { '_' };
    name.chars().map(plain).take(LONGEST_KEY).collect()
}

/// A text that is not too long; of one that is, the end is left out.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_keep_to_the_limits() {
        assert_eq!(key("actions/up (held)"), "actions/up _held_");
        assert_eq!(key(&"x".repeat(300)).len(), LONGEST_KEY);
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcdefgh", 6), "abc...");
    }
}
