//! A run and a screen in the same process: the run says its lines to the screen, the screen may ask to save or stop.
//!
//! All else that the screen shows it reads from the files of the run, as a screen in another process does.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// What the run tells the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What goes on before the directory is there.
    Stage(String),
    /// The directory of the run is there.
    Begun(PathBuf),
    /// A line for a person.
    Line(String),
    /// A row of metrics as a line, which says less than the screen does.
    Row(String),
    /// The run has ended, in whatever way.
    Ended,
}

#[derive(Debug, Default)]
struct Requests {
    stop: AtomicBool,
    /// Whether that was as a signal.
    interrupt: AtomicBool,
    /// Checkpoints that were asked for.
    saves: AtomicU64,
}

/// The run's end of the connection. When it and its clones are dropped, the run has ended.
#[derive(Clone, Debug)]
pub struct Live {
    events: Sender<Event>,
    requests: Arc<Requests>,
}

/// The screen's end.
#[derive(Debug)]
pub struct Remote {
    events: Receiver<Event>,
    requests: Arc<Requests>,
}

/// Both ends of a new connection.
pub fn connect() -> (Live, Remote) {
    let (sender, receiver) = channel();
    let requests = Arc::new(Requests::default());
    (Live { events: sender, requests: requests.clone() }, Remote { events: receiver, requests })
}

impl Live {
    pub(super) fn begin(&self, directory: &Path) {
        self.send(Event::Begun(directory.to_path_buf()));
    }

    pub(super) fn stage(&self, what: &str) {
        self.send(Event::Stage(what.into()));
    }

    pub(super) fn row(&self, line: &str) {
        self.send(Event::Row(line.into()));
    }

    /// Says a line.
    pub fn say(&self, line: &str) {
        self.send(Event::Line(line.into()));
    }

    fn send(&self, event: Event) {
        let _ = self.events.send(event); // a run goes on when its screen is gone
    }

    pub(super) fn stop_is_asked(&self) -> bool {
        self.requests.stop.load(Ordering::SeqCst)
    }

    /// Whether the stop is as a signal would be, not by a key that asks for it.
    pub(super) fn is_interrupted(&self) -> bool {
        self.requests.interrupt.load(Ordering::SeqCst)
    }

    /// Checkpoints that were asked for so far.
    pub(super) fn saves(&self) -> u64 {
        self.requests.saves.load(Ordering::SeqCst)
    }
}

impl Remote {
    /// Asks the run to end after its chunk.
    pub fn stop(&self) {
        self.requests.stop.store(true, Ordering::SeqCst);
    }

    /// As a signal: a run that is asked to end so has not come to what it was to come to.
    pub fn interrupt(&self) {
        self.requests.interrupt.store(true, Ordering::SeqCst);
    }

    /// Asks each run to save a checkpoint after its chunk.
    pub fn save(&self) {
        self.requests.saves.fetch_add(1, Ordering::SeqCst);
    }

    /// The next event, if there is one.
    pub fn next(&self) -> Option<Event> {
        match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Event::Ended),
        }
    }
}
