//! Sending to a tracker's server while the run goes on: a thread of its own with a bounded queue.
//!
//! Training never waits for it and never fails because of it. What cannot be sent is tried again with growing pauses;
//! when too much waits, the history is thinned out, and what was dropped is counted and said.
//!
//! Here is the run's end of the queue. The thread's is in [`worker`]: its rhythm, the history and other tasks. What a kind of server
//! is told in which calls is a [`Service`].

mod worker;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::event::{Alert, Artifact, Held, Point, Said};
use super::http::Failure;
use crate::trainer::status::State;
use worker::Worker;

/// What is sent.
#[derive(Debug)]
pub enum Event {
    /// A point of the history.
    Point(Point),
    Alert(Alert),
    /// Numbers of the whole run, as names with JSON values.
    Summary(Vec<(String, String)>),
    /// Lines of the console.
    Console(Vec<Said>),
    /// How busy the machine is, as names with JSON values.
    Utilisation(Point),
    /// A file, held until it is sent.
    Artifact(Artifact, Held),
    /// The last one.
    Finish(State),
}

/// How a kind of server is told of a run. Each call is tried once; the thread tries again what may succeed later.
pub trait Service: Send + 'static {
    /// What people call it.
    const NAME: &'static str;

    /// Makes the run known, or finds what is known of it. Gives the last step that is there already.
    fn connect(&mut self, voice: &Voice) -> Result<Option<u64>, Failure>;

    /// Takes note of a point that has come, before it is sent.
    fn note(&mut self, _point: &Point) {}

    /// Sends the first of some points, at least one; gives how many. `dropped` were thinned out so far.
    fn post(
        &mut self,
        points: &mut dyn Iterator<Item = &Point>,
        dropped: u64,
        voice: &Voice,
    ) -> Result<usize, Failure>;

    /// Says that the run lives.
    fn beat(&mut self, dropped: u64, voice: &Voice) -> Result<(), Failure>;

    fn alert(&mut self, alert: &Alert, voice: &Voice) -> Result<(), Failure>;

    /// Takes note of numbers of the whole run.
    fn sum_up(&mut self, fields: Vec<(String, String)>);

    /// Takes lines of the console, to be sent with what comes next.
    fn console(&mut self, _lines: Vec<Said>) {}

    /// Takes how busy the machine is, to be sent with what comes next.
    fn utilisation(&mut self, _point: Point) {}

    /// Sends a file, which is held at a path.
    fn artifact(&mut self, artifact: &Artifact, held: &std::path::Path, voice: &Voice)
    -> Result<(), Failure>;

    /// Sends what is left, and ends the run.
    fn complete(&mut self, state: State, dropped: u64, voice: &Voice) -> Result<(), Failure>;
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

/// What a service says to the run while it works.
pub struct Voice {
    shared: Arc<Shared>,
    /// A server may repeat it in its words; nobody else sees it.
    secret: Option<String>,
}

impl Voice {
    /// Tells the run something.
    pub fn say(&self, notice: &str) {
        let notice = match &self.secret {
            Some(secret) => notice.replace(secret, "(the key)"),
            None => notice.to_owned(),
        };
        self.shared.notices.lock().expect("the run does not panic while it holds this").push(notice);
    }

    /// Notes that a call has succeeded.
    pub fn succeeded(&self) {
        self.shared.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells where the run can be seen.
    pub fn show(&self, page: String) {
        *self.shared.page.lock().expect("the run does not panic while it holds this") = Some(page);
    }
}

/// What the server does not have in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Unsent {
    pub rows: u64,
    pub artifacts: u64,
}

impl Unsent {
    /// `3 rows and 1 artifact`; nothing if the server has everything.
    pub fn described(self) -> Option<String> {
        let count = |number: u64, what: &str| {
            let plural = if number == 1 { "" } else { "s" };
            (number > 0).then(|| format!("{number} {what}{plural}"))
        };
        let lacking = [count(self.rows, "row"), count(self.artifacts, "artifact")];
        let lacking: Vec<_> = lacking.into_iter().flatten().collect();
        (!lacking.is_empty()).then(|| lacking.join(" and "))
    }
}

/// The run's end of the queue.
#[derive(Debug)]
pub struct Sender {
    /// What people call the server.
    name: &'static str,
    queue: SyncSender<Event>,
    thread: JoinHandle<()>,
    shared: Arc<Shared>,
    pace: Pace,
    /// The last event, if it has found no room in the queue yet.
    last: Option<Event>,
}

impl Sender {
    /// Starts the thread, which connects by itself. `secret` is what nobody may see of what it says.
    ///
    /// # Errors
    /// One line if the system has no thread.
    pub fn start<S: Service>(service: S, secret: Option<String>, pace: Pace) -> anyhow::Result<Self> {
        const QUEUE: usize = 1024;
        let (queue, events) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::default());
        let worker = Worker::new(service, Voice { shared: shared.clone(), secret }, pace);
        let name = S::NAME.to_lowercase();
        let thread = std::thread::Builder::new().name(name).spawn(move || worker.work(&events))?;
        Ok(Self { name: S::NAME, queue, thread, shared, pace, last: None })
    }

    /// Offers an event. What finds no room in the queue is dropped, and counted at the end.
    pub fn send(&self, event: Event) {
        let offered = match event {
            Event::Point(_) => Some(&self.shared.offered),
            Event::Artifact(..) => Some(&self.shared.artifacts_offered),
            _ => None,
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
    pub fn end(&mut self, state: State) {
        self.offer_last(Event::Finish(state));
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
        let Self { name, thread, shared, .. } = self;
        let mut notices = std::mem::take(&mut *shared.notices.lock().expect("the thread does not panic"));
        if thread.is_finished() {
            if thread.join().is_err() {
                // The panic itself has been printed; the run goes on without the thread.
                notices.push(format!("{name}: the sender has broken, which is a fault of lockstep"));
            }
        } else {
            notices.push(format!("{name} does not answer in time; the rest is not sent"));
        }
        let lacking = |offered: &AtomicU64, sent: &AtomicU64| {
            offered.load(Ordering::Relaxed).saturating_sub(sent.load(Ordering::Relaxed))
        };
        let rows = lacking(&shared.offered, &shared.sent);
        (notices, Unsent { rows, artifacts: lacking(&shared.artifacts_offered, &shared.artifacts_sent) })
    }
}
