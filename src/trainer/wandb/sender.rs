//! Sending to W&B while the run goes on: a thread of its own with a bounded queue.
//!
//! Training never waits for it and never fails because of it. What cannot be sent is tried again with growing pauses;
//! when too much waits, the history is thinned out, and what was dropped is counted and said.

use std::collections::VecDeque;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::api::{self, Api, Failure};
use super::artifact::{self, Contents, Held};
use super::identity::{Identity, Origin};
use super::{ALERT_PAUSE, Alert, Artifact, json_object};

/// What is sent.
#[derive(Debug)]
pub enum Event {
    /// A row of the history, as names with JSON values.
    Row {
        step: u64,
        fields: Vec<(String, String)>,
    },
    Alert(Alert),
    /// A file, held until it is sent.
    Artifact(Artifact, Held),
    /// The last one.
    Finish {
        exit_code: i32,
    },
}

/// How patient the sender is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two posts of history in the first minute; later it is up to 15 times as long.
    pub post: Duration,
    /// The longest silence, or the server believes that the run has crashed.
    pub heartbeat: Duration,
    /// The first pause after a failure; each further one is twice as long, up to 150 times.
    pub pause: Duration,
    /// How long the end of the run waits without any progress of the sender.
    pub patience: Duration,
    /// The longest time for one call.
    pub call: Duration,
    /// Rows that may wait before they are thinned out.
    pub most_rows: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            post: Duration::from_secs(2),
            heartbeat: Duration::from_secs(30),
            pause: Duration::from_secs(2),
            patience: Duration::from_secs(30),
            call: Duration::from_secs(20),
            most_rows: 10_000,
        }
    }
}

/// What the thread tells the run.
#[derive(Debug, Default)]
struct Shared {
    notices: Mutex<Vec<String>>,
    /// Rows offered, and rows that the server has.
    offered: AtomicU64,
    sent: AtomicU64,
    /// Counts successful calls, so that the end of the run sees whether there is progress.
    calls: AtomicU64,
}

/// The run's end of the queue.
#[derive(Debug)]
pub struct Sender {
    queue: SyncSender<Event>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
    pace: Pace,
}

/// All that the thread needs to begin.
pub struct Begin {
    pub base_url: String,
    pub key: String,
    pub identity: Identity,
    pub config: Map<String, Value>,
    pub commit: Option<String>,
    pub metadata: Value,
    pub pace: Pace,
}

impl Sender {
    /// Starts the thread, which connects by itself.
    ///
    /// # Errors
    /// One line if the system has no thread or no certificates.
    pub fn start(begin: Begin) -> anyhow::Result<Self> {
        const QUEUE: usize = 1024;
        let pace = begin.pace;
        let (queue, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let api = Api::new(&begin.base_url, &begin.key, pace.call)?;
        let worker = Worker::new(begin, api, shared.clone());
        let thread = std::thread::Builder::new().name("wandb".into()).spawn(move || worker.work(&events))?;
        Ok(Self { queue, thread, shared, pace })
    }

    /// Offers an event. What finds no room in the queue is dropped, and counted at the end.
    pub fn send(&self, event: Event) {
        if let Event::Row { .. } = event {
            self.shared.offered.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.queue.try_send(event);
    }

    /// What the thread has to say since the last time.
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.notices.lock().expect("the thread does not panic"))
    }

    /// Sends the rest, as long as there is progress; gives the last notices and the number of rows not sent.
    pub fn finish(self, exit_code: i32) -> (Vec<String>, u64) {
        let Self { queue, thread, shared, pace } = self;
        let (mut calls, mut since) = (shared.calls.load(Ordering::Relaxed), Instant::now());
        let mut finish = Some(Event::Finish { exit_code });
        while !thread.is_finished() && since.elapsed() < pace.patience {
            if let Some(event) = finish.take() {
                finish = queue.try_send(event).err().map(|error| match error {
                    std::sync::mpsc::TrySendError::Full(event)
                    | std::sync::mpsc::TrySendError::Disconnected(event) => event,
                });
            }
            std::thread::sleep(Duration::from_millis(5));
            let now = shared.calls.load(Ordering::Relaxed);
            if now != calls {
                (calls, since) = (now, Instant::now());
            }
        }
        let mut notices = std::mem::take(&mut *shared.notices.lock().expect("the thread does not panic"));
        if thread.is_finished() {
            let _ = thread.join(); // a panic of the thread has been printed; the run goes on without it
        } else {
            notices.push("W&B does not answer; the rest is not sent".into());
        }
        let unsent = shared.offered.load(Ordering::Relaxed) - shared.sent.load(Ordering::Relaxed);
        (notices, unsent)
    }
}

/// The run as the server knows it.
struct Bucket {
    entity: String,
    project: String,
    /// `entity/project/run id`, as the addresses of its files have it.
    path: String,
    /// Whether the server wants to be told about uploaded files.
    marks_files: bool,
}

struct Worker {
    api: Api,
    begin: Begin,
    shared: Arc<Shared>,
    bucket: Option<Bucket>,
    /// Lines of history that the server does not have yet, and the number of the first.
    rows: VecDeque<(u64, String)>,
    offset: u64,
    /// Steps up to here are there already.
    last_step: Option<u64>,
    dropped: u64,
    summary: Vec<(String, String)>,
    tasks: VecDeque<Task>,
    last_post: Option<Instant>,
    started: Instant,
    failures: u32,
    /// Whether the present trouble has been told.
    complained: bool,
    exit_code: Option<i32>,
}

/// Something to do beside the history.
struct Task {
    event: Event,
    tries: u32,
}

impl Worker {
    fn new(begin: Begin, api: Api, shared: Arc<Shared>) -> Self {
        Self {
            api,
            begin,
            shared,
            bucket: None,
            rows: VecDeque::new(),
            offset: 0,
            last_step: None,
            dropped: 0,
            summary: Vec::new(),
            tasks: VecDeque::new(),
            last_post: None,
            started: Instant::now(),
            failures: 0,
            complained: false,
            exit_code: None,
        }
    }

    /// Takes events as they come and sends when it is time, until the last is sent or nothing can be sent any more.
    fn work(mut self, events: &Receiver<Event>) {
        let mut next = Instant::now();
        loop {
            match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => {
                    self.take(event);
                    if self.exit_code.is_none() {
                        continue;
                    }
                    self.failures = 0; // the last event is sent at once
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return, // the run has given up waiting
            }
            match self.send() {
                Ok(true) => return,
                Ok(false) => {
                    (self.failures, self.complained) = (0, false);
                    next = Instant::now() + self.interval();
                }
                Err(Failure::Permanent(reason)) => {
                    return self.say(format!("W&B refuses the run ({reason}); nothing more is sent there"));
                }
                Err(Failure::Transient(reason, wait)) => {
                    next = Instant::now() + wait.unwrap_or_else(|| self.pause());
                    self.failures += 1;
                    if self.failures >= 3 && !self.complained {
                        self.complained = true;
                        self.say(format!("W&B cannot be reached ({reason}); trying again from time to time"));
                    }
                }
            }
        }
    }

    fn say(&self, notice: String) {
        self.shared.notices.lock().expect("the run does not panic while it holds this").push(notice);
    }

    fn succeeded(&self) {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Row { step, fields } => {
                self.rows.push_back((step, json_object(&fields)));
                self.summary = fields;
                if self.rows.len() > self.begin.pace.most_rows {
                    self.thin_out();
                }
            }
            Event::Finish { exit_code } => self.exit_code = Some(exit_code),
            task => self.tasks.push_back(Task { event: task, tries: 0 }),
        }
    }

    /// Drops every second of the rows that wait.
    fn thin_out(&mut self) {
        let before = self.rows.len();
        let mut keep = false;
        self.rows.retain(|_| {
            keep = !keep;
            keep
        });
        self.dropped += (before - self.rows.len()) as u64;
    }

    /// The rhythm of the official client: often at first, seldom later.
    fn interval(&self) -> Duration {
        match self.started.elapsed() / 30 {
            age if age < self.begin.pace.post => self.begin.pace.post,
            age if age < self.begin.pace.post * 5 => self.begin.pace.post * 5,
            _ => self.begin.pace.post * 15,
        }
    }

    fn pause(&self) -> Duration {
        self.begin.pace.pause * 2u32.pow(self.failures.min(7)).min(150)
    }

    /// Sends what waits. Says whether the run is over and everything is sent.
    fn send(&mut self) -> Result<bool, Failure> {
        if self.bucket.is_none() {
            self.bucket = Some(self.connect()?);
        }
        while !self.rows.is_empty() {
            self.post_rows()?;
        }
        let quiet = self.last_post.is_none_or(|last| last.elapsed() >= self.begin.pace.heartbeat);
        if quiet && self.exit_code.is_none() {
            self.post(json!({"complete": false, "failed": false, "dropped": self.dropped, "uploaded": []}))?;
        }
        while let Some(task) = self.tasks.pop_front() {
            self.perform(task)?;
        }
        match self.exit_code {
            None => Ok(false),
            Some(exit_code) => self.complete(exit_code).map(|()| true),
        }
    }

    fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("calls about the run come after connecting")
    }

    fn call(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let data = self.api.graphql(document, variables)?;
        self.succeeded();
        Ok(data)
    }

    fn post(&mut self, body: Value) -> Result<(), Failure> {
        self.api.file_stream(&self.bucket().path, &body)?;
        self.succeeded();
        self.last_post = Some(Instant::now());
        Ok(())
    }

    /// Makes the run known to the server, or finds what it knows of it.
    fn connect(&mut self) -> Result<Bucket, Failure> {
        self.call(api::VIEWER, json!({}))?;
        let mut id = Value::Null;
        match self.begin.identity.origin {
            Origin::New => {}
            Origin::Resumed => id = self.find()?,
            Origin::Rewound { step } => match self.rewind(step) {
                Ok(rewound) => id = rewound,
                Err(Failure::Permanent(reason)) => {
                    self.say(format!(
                        "W&B cannot rewind ({reason}); the history goes on after its last step"
                    ));
                    id = self.find()?;
                }
                Err(failure) => return Err(failure),
            },
        }
        let answer = self.call(api::UPSERT_BUCKET, self.upsert_variables(id))?;
        let bucket = &answer["upsertBucket"]["bucket"];
        let name = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_string();
        let identity = &self.begin.identity;
        let project = name(&bucket["project"]["name"], &identity.project);
        let entity = name(&bucket["project"]["entity"]["name"], &identity.entity);
        let features = self.call(api::SERVER_FEATURES, json!({}))?;
        let marks_files = features["serverInfo"]["features"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|feature| feature["name"] == "MARK_RUN_FILES_UPLOADED" && feature["isEnabled"] == true);
        let path = [&entity, &project, &identity.run_id].map(|part| percent_encoded(part)).join("/");
        self.say(format!("W&B: {}", page(&self.begin.base_url, &entity, &project, &identity.run_id)));
        Ok(Bucket { entity, project, path, marks_files })
    }

    /// The server's id of a run that is there already, after taking over where it stands; null if there is none.
    fn find(&mut self) -> Result<Value, Failure> {
        let identity = &self.begin.identity;
        let variables = json!({"project": identity.project, "entity": optional(&identity.entity), "name": identity.run_id});
        let answer = self.call(api::RUN_RESUME_STATUS, variables)?;
        let bucket = &answer["model"]["bucket"];
        self.offset = bucket["historyLineCount"].as_u64().unwrap_or(0);
        self.last_step = last_step(&bucket["historyTail"]);
        if let Some(last) = self.last_step {
            let before = self.rows.len();
            self.rows.retain(|(step, _)| *step > last);
            self.shared.sent.fetch_add((before - self.rows.len()) as u64, Ordering::Relaxed);
        }
        Ok(bucket["id"].clone())
    }

    fn rewind(&mut self, step: u64) -> Result<Value, Failure> {
        let identity = &self.begin.identity;
        let variables = json!({
            "runName": identity.run_id,
            "entity": optional(&identity.entity),
            "project": identity.project,
            "metricName": "_step",
            "metricValue": step as f64,
        });
        let answer = self.call(api::REWIND_RUN, variables)?;
        let run = &answer["rewindRun"]["rewoundRun"];
        self.offset = run["historyLineCount"].as_u64().unwrap_or(0);
        Ok(run["id"].clone())
    }

    fn upsert_variables(&self, id: Value) -> Value {
        let identity = &self.begin.identity;
        json!({
            "id": id,
            "name": identity.run_id,
            "project": identity.project,
            "entity": optional(&identity.entity),
            "groupName": optional(&identity.group),
            "displayName": identity.name,
            "notes": optional(&identity.notes),
            "commit": self.begin.commit,
            "config": self.config().to_string(),
            "host": identity.host,
            "program": "lockstep",
            "jobType": optional(&identity.job_type),
            "state": null,
            "sweep": optional(&identity.sweep),
            "tags": (!identity.tags.is_empty()).then_some(&identity.tags),
            "summaryMetrics": null,
        })
    }

    /// The configuration as the server wants it, with what W&B keeps beside it: versions and the metric definitions.
    fn config(&self) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let mut own = json!({
            "cli_version": version,
            "framework": "lockstep",
            "t": {"5": version, "12": version, "13": platform},
            "m": [
                {"1": super::record::X_AXIS, "6": [3], "7": []},
                {"2": "*", "5": 1, "6": [1], "7": []},
            ],
        });
        if let Origin::Rewound { step } = self.begin.identity.origin {
            own["branch_point"] = json!({"run_id": self.begin.identity.run_id, "step": step});
        }
        let values = self.begin.config.iter().map(|(key, value)| (key.clone(), json!({"value": value})));
        values.chain([("_wandb".to_string(), json!({"value": own}))]).collect::<Map<_, _>>().into()
    }

    /// Posts as many rows as fit into one request.
    fn post_rows(&mut self) -> Result<(), Failure> {
        const MOST_BYTES: usize = 4 << 20;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        let mut taken = 0;
        for (step, line) in &self.rows {
            if bytes + line.len() > MOST_BYTES && taken > 0 {
                break;
            }
            bytes += line.len();
            taken += 1;
            if self.last_step.is_none_or(|last| *step > last) {
                lines.push(line.clone());
            }
        }
        let count = lines.len() as u64;
        if count > 0 {
            let body = json!({
                "files": {
                    "wandb-history.jsonl": {"offset": self.offset, "content": lines},
                    "wandb-summary.json": {"offset": 0, "content": [json_object(&self.summary)]},
                },
                "dropped": self.dropped,
            });
            self.post(body)?;
        }
        self.rows.drain(..taken);
        self.offset += count;
        self.shared.sent.fetch_add(taken as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Does a task. After three failures it is given up, and the history goes on.
    fn perform(&mut self, mut task: Task) -> Result<(), Failure> {
        let (done, what) = match &task.event {
            Event::Alert(alert) => (self.alert(alert), format!("the alert {:?}", alert.title)),
            Event::Artifact(artifact, held) => {
                (self.artifact(artifact, held.path()), format!("the artifact {}", artifact.name))
            }
            Event::Row { .. } | Event::Finish { .. } => unreachable!("these are no tasks"),
        };
        task.tries += 1;
        match done {
            Ok(()) => Ok(()),
            Err(failure @ Failure::Transient(..)) if task.tries < 3 => {
                self.tasks.push_front(task);
                Err(failure)
            }
            Err(failure) => {
                self.say(format!("W&B did not take {what}: {failure}"));
                Ok(())
            }
        }
    }

    fn alert(&self, alert: &Alert) -> Result<(), Failure> {
        let Bucket { entity, project, .. } = self.bucket();
        let variables = json!({
            "entityName": entity,
            "projectName": project,
            "runName": self.begin.identity.run_id,
            "title": alert.title,
            "text": alert.text,
            "severity": "WARN",
            "waitDuration": ALERT_PAUSE.as_millis() as u64,
        });
        self.call(api::ALERT, variables).map(drop)
    }

    /// Creates an artifact of one file: announce it, upload the file, then its manifest, then commit.
    fn artifact(&self, artifact: &Artifact, file: &Path) -> Result<(), Failure> {
        let unreadable =
            |error: std::io::Error| Failure::Permanent(format!("cannot read {}: {error}", file.display()));
        let contents = Contents::of(file).map_err(unreadable)?;
        let Bucket { entity, project, .. } = self.bucket();
        let run = &self.begin.identity.run_id;
        let alias = |alias: &String| json!({"artifactCollectionName": artifact.name, "alias": alias});
        let input = json!({
            "entityName": entity,
            "projectName": project,
            "runName": run,
            "artifactTypeName": artifact.kind,
            "artifactCollectionName": artifact.name,
            "digest": contents.manifest_digest(),
            "digestAlgorithm": artifact::DIGEST_ALGORITHM,
            "enableDigestDeduplication": true,
            "aliases": artifact.aliases.iter().map(alias).collect::<Vec<_>>(),
            "clientID": artifact::random_id(),
            "sequenceClientID": artifact::random_id(),
            "metadata": artifact.metadata.to_string(),
        });
        let created = self.call(api::CREATE_ARTIFACT, json!({"input": input}))?;
        let created = &created["createArtifact"]["artifact"];
        if created["state"] == "COMMITTED" {
            return Ok(()); // the server has it already
        }
        let id = created["id"].as_str().unwrap_or_default();
        let base = &created["artifactSequence"]["latestArtifact"]["id"];
        let manifest_variables = |digest: &str, include_upload: bool| {
            json!({
                "artifactID": id, "baseArtifactID": base, "name": "wandb_manifest.json", "digest": digest,
                "entityName": entity, "projectName": project, "runName": run, "manifestType": "FULL",
                "includeUpload": include_upload,
            })
        };
        let manifest = self.call(api::CREATE_MANIFEST, manifest_variables("", false))?;
        let manifest_id = &manifest["createArtifactManifest"]["artifactManifest"]["id"];
        let entry = json!({"artifactID": id, "artifactManifestID": manifest_id, "md5": contents.digest,
            "name": contents.file_name});
        let input = json!({"artifactFiles": [entry], "storageLayout": "V2"});
        let files = self.call(api::CREATE_ARTIFACT_FILES, json!({"input": input}))?;
        let node = &files["createArtifactFiles"]["files"]["edges"][0]["node"];
        // Without an address the server has a file of this content.
        if let Some(url) = node["uploadUrl"].as_str() {
            self.api.upload(url, &node["uploadHeaders"], File::open(file).map_err(unreadable)?)?;
            self.succeeded();
        }
        let text = contents.manifest(id).to_string();
        let manifest =
            self.call(api::CREATE_MANIFEST, manifest_variables(&artifact::digest(text.as_bytes()), true))?;
        let place = &manifest["createArtifactManifest"]["artifactManifest"]["file"];
        let url = place["uploadUrl"].as_str().unwrap_or_default();
        self.api.upload(url, &place["uploadHeaders"], text)?;
        self.call(api::COMMIT_ARTIFACT, json!({"artifactID": id})).map(drop)
    }

    /// Uploads the files that every run has, and ends the run.
    fn complete(&mut self, exit_code: i32) -> Result<(), Failure> {
        let names = self.upload_files()?;
        let summary = json_object(&self.summary);
        let body = json!({
            "files": {"wandb-summary.json": {"offset": 0, "content": [summary]}},
            "uploaded": names,
            "dropped": self.dropped,
            "complete": true,
            "exitcode": exit_code,
        });
        self.post(body)
    }

    fn upload_files(&self) -> Result<Vec<String>, Failure> {
        // JSON is YAML, too: each line is a key and its value.
        let config = self.config();
        let config: Vec<_> =
            config.as_object().into_iter().flatten().map(|(k, v)| format!("{k}: {v}\n")).collect();
        let files = [
            ("config.yaml", config.concat()),
            ("wandb-metadata.json", self.begin.metadata.to_string()),
            ("wandb-summary.json", json_object(&self.summary)),
        ];
        let names: Vec<_> = files.iter().map(|(name, _)| name.to_string()).collect();
        let Bucket { entity, project, marks_files, .. } = self.bucket();
        let variables =
            json!({"entity": entity, "project": project, "run": self.begin.identity.run_id, "files": names});
        let answer = self.call(api::CREATE_RUN_FILES, variables.clone())?;
        let created = &answer["createRunFiles"];
        for (name, content) in files {
            let places = created["files"].as_array().into_iter().flatten();
            let url = places.filter(|file| file["name"] == name).find_map(|file| file["uploadUrl"].as_str());
            if let Some(url) = url {
                self.api.upload(url, &created["uploadHeaders"], content)?;
                self.succeeded();
            }
        }
        if *marks_files {
            self.call(api::MARK_UPLOADED, variables)?;
        }
        Ok(names)
    }
}

/// `_step` of the last line of a `historyTail`: a JSON text of an array of JSON texts.
fn last_step(tail: &Value) -> Option<u64> {
    let lines: Vec<String> = serde_json::from_str(tail.as_str()?).ok()?;
    let numbers =
        lines.last()?.replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null");
    let last: Value = serde_json::from_str(&numbers).ok()?;
    last["_step"].as_u64()
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The run's page.
fn page(base_url: &str, entity: &str, project: &str, run: &str) -> String {
    let site = if base_url == "https://api.wandb.ai" { "https://wandb.ai" } else { base_url };
    let [entity, project, run] = [entity, project, run].map(percent_encoded);
    format!("{site}/{entity}/{project}/runs/{run}")
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_history_tells_its_last_step() {
        let tail = json!(r#"["{\"_step\":10}","{\"_step\":20,\"a\":NaN,\"b\":-Infinity}"]"#);
        assert_eq!(last_step(&tail), Some(20));
        assert_eq!(last_step(&json!("[]")), None);
        assert_eq!(last_step(&Value::Null), None);
    }

    #[test]
    fn pages_are_addresses() {
        assert_eq!(page("https://api.wandb.ai", "a b", "p/q", "1"), "https://wandb.ai/a%20b/p%2Fq/runs/1");
        assert_eq!(page("http://127.0.0.1:1", "a", "p", "1"), "http://127.0.0.1:1/a/p/runs/1");
    }
}
