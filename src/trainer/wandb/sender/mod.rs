//! Sending to W&B while the run goes on: a thread of its own with a bounded queue.
//!
//! Training never waits for it and never fails because of it. What cannot be sent is tried again with growing pauses;
//! when too much waits, the history is thinned out, and what was dropped is counted and said.
//!
//! Here is the run's end of the queue. The thread's is in `worker`: its rhythm and the history; `connect` makes the run known
//! to the server, `upload` sends it files.

mod connect;
mod upload;
mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::api::Api;
use super::artifact::Held;
use super::identity::Identity;
use super::{Alert, Artifact};
use worker::Worker;

/// What is sent.
#[derive(Debug)]
pub enum Event {
    /// A row of the history, as names with JSON values.
    Row {
        step: u64,
        fields: Vec<(String, String)>,
    },
    Alert(Alert),
    /// Numbers of the whole run, as names with JSON values.
    Summary(Vec<(String, String)>),
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
    /// The address of the run, once the server knows it.
    page: Mutex<Option<String>>,
    /// Rows offered, and rows that the server has.
    offered: AtomicU64,
    sent: AtomicU64,
    /// Artifacts likewise.
    artifacts_offered: AtomicU64,
    artifacts_sent: AtomicU64,
    /// Counts successful calls, so that the end of the run sees whether there is progress.
    calls: AtomicU64,
}

/// What the server does not have in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unsent {
    pub rows: u64,
    pub artifacts: u64,
}

/// The run's end of the queue.
#[derive(Debug)]
pub struct Sender {
    queue: SyncSender<Event>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
    pace: Pace,
    /// The last event, if it has found no room in the queue yet.
    last: Option<Event>,
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
        Ok(Self { queue, thread, shared, pace, last: None })
    }

    /// Offers an event. What finds no room in the queue is dropped, and counted at the end.
    pub fn send(&self, event: Event) {
        let offered = match event {
            Event::Row { .. } => Some(&self.shared.offered),
            Event::Artifact(..) => Some(&self.shared.artifacts_offered),
            Event::Alert(_) | Event::Summary(_) | Event::Finish { .. } => None,
        };
        if let Some(offered) = offered {
            offered.fetch_add(1, Ordering::Relaxed);
        }
        let _ = self.queue.try_send(event);
    }

    /// The address of the run, once the server knows it.
    pub fn page(&self) -> Option<String> {
        self.shared.page.lock().expect("the thread does not panic").clone()
    }

    /// What the thread has to say since the last time.
    pub fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.notices.lock().expect("the thread does not panic"))
    }

    /// Asks the thread to send the rest, and then to end.
    pub fn end(&mut self, exit_code: i32) {
        self.offer_last(Event::Finish { exit_code });
    }

    /// Offers the last event, which waits for room in the queue.
    fn offer_last(&mut self, event: Event) {
        self.last = match self.queue.try_send(event) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => None,
            Err(TrySendError::Full(event)) => Some(event),
        };
    }

    /// Waits for the end of the thread until `deadline`, as long as there is progress; gives the last notices and what was
    /// not sent.
    pub fn wait(mut self, deadline: Instant) -> (Vec<String>, Unsent) {
        let (mut calls, mut since) = (self.shared.calls.load(Ordering::Relaxed), Instant::now());
        while !self.thread.is_finished() && since.elapsed() < self.pace.patience && Instant::now() < deadline
        {
            if let Some(event) = self.last.take() {
                self.offer_last(event);
            }
            std::thread::sleep(Duration::from_millis(5));
            let now = self.shared.calls.load(Ordering::Relaxed);
            if now != calls {
                (calls, since) = (now, Instant::now());
            }
        }
        let Self { thread, shared, .. } = self;
        let mut notices = std::mem::take(&mut *shared.notices.lock().expect("the thread does not panic"));
        if thread.is_finished() {
            if thread.join().is_err() {
                // The panic itself has been printed; the run goes on without the thread.
                notices.push("W&B: the sender has broken, which is a fault of lockstep".into());
            }
        } else {
            notices.push("W&B does not answer in time; the rest is not sent".into());
        }
        let lacking = |offered: &AtomicU64, sent: &AtomicU64| {
            offered.load(Ordering::Relaxed).saturating_sub(sent.load(Ordering::Relaxed))
        };
        let rows = lacking(&shared.offered, &shared.sent);
        (notices, Unsent { rows, artifacts: lacking(&shared.artifacts_offered, &shared.artifacts_sent) })
    }
}
