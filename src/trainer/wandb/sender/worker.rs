//! The thread: it gathers the rows of the history and other tasks, and sends them in a rhythm of its own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Begin, Event, Shared};
use crate::trainer::wandb::api::{self, Api, Failure};
use crate::trainer::wandb::{ALERT_PAUSE, Alert, json_object};

/// The run as the server knows it.
pub(super) struct Bucket {
    pub(super) entity: String,
    pub(super) project: String,
    /// `entity/project/run id`, as the addresses of its files have it.
    pub(super) path: String,
    /// Whether the server wants to be told about uploaded files.
    pub(super) marks_files: bool,
}

pub(super) struct Worker {
    pub(super) api: Api,
    pub(super) begin: Begin,
    pub(super) shared: Arc<Shared>,
    bucket: Option<Bucket>,
    /// Whether the run was announced to the server, though the answer may have been lost.
    pub(super) announced: bool,
    /// Lines of history that the server does not have yet, and the number of the first.
    pub(super) rows: VecDeque<(u64, String)>,
    pub(super) offset: u64,
    /// Steps up to here are there already.
    pub(super) last_step: Option<u64>,
    dropped: u64,
    pub(super) summary: Vec<(String, String)>,
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
    pub(super) fn new(begin: Begin, api: Api, shared: Arc<Shared>) -> Self {
        Self {
            api,
            begin,
            shared,
            bucket: None,
            announced: false,
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
    pub(super) fn work(mut self, events: &Receiver<Event>) {
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

    /// Tells the run something. A server may repeat the key in its words; nobody else sees it.
    pub(super) fn say(&self, notice: String) {
        let notice = notice.replace(&self.begin.key, "(the key)");
        self.shared.notices.lock().expect("the run does not panic while it holds this").push(notice);
    }

    pub(super) fn succeeded(&self) {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Row { step, fields } => {
                self.rows.push_back((step, json_object(&fields)));
                merge(&mut self.summary, &fields);
                if self.rows.len() > self.begin.pace.most_rows {
                    self.thin_out();
                }
            }
            Event::Summary(fields) => merge(&mut self.summary, &fields),
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

    pub(super) fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("calls about the run come after connecting")
    }

    pub(super) fn call(&self, document: &str, variables: Value) -> Result<Value, Failure> {
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
            Event::Row { .. } | Event::Summary(_) | Event::Finish { .. } => {
                unreachable!("these are no tasks")
            }
        };
        task.tries += 1;
        match done {
            Ok(()) => {
                if let Event::Artifact(..) = task.event {
                    self.shared.artifacts_sent.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
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
            "runName": self.begin.identity.place.run_id,
            "title": alert.title,
            "text": alert.text,
            "severity": "WARN",
            "waitDuration": ALERT_PAUSE.as_millis() as u64,
        });
        self.call(api::ALERT, variables).map(drop)
    }

    /// Uploads the last files, and ends the run.
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
}

/// Puts newer values over older ones; what the newer ones do not have stays, such as the last evaluation.
pub(super) fn merge(summary: &mut Vec<(String, String)>, newer: &[(String, String)]) {
    for (name, value) in newer {
        match summary.iter_mut().find(|(known, _)| known == name) {
            Some((_, older)) => older.clone_from(value),
            None => summary.push((name.clone(), value.clone())),
        }
    }
}
