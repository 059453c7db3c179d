//! What all requests share: the shelf of runs, what was read of their curves and replays, evaluations and reports, the games, and who may ask.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Failure;
use super::archive::Archive;
use super::games::Games;
use super::guard::Guard;
use super::library::Library;
use super::shelf::Shelf;
use super::theater::Theater;
use crate::cli::App;

/// Streams at once, of events and of steps. They stay open, and connections must remain for requests.
const MOST_STREAMS: usize = 40;

/// The server's state.
pub struct Site {
    pub shelf: Shelf,
    pub archive: Archive,
    pub library: Library,
    pub theater: Theater,
    pub games: Games,
    pub guard: Arc<Guard>,
    streams: Arc<Semaphore>,
}

pub type Shared = Arc<Site>;

impl Site {
    /// The name of a run's environment, if its configuration says it.
    pub fn env_of(&self, run: &str) -> Option<String> {
        Some(self.shelf.list().row(run)?["env"].as_str()?.to_owned())
    }

    /// A site for the runs in some directories, for results there and in one more, and for games in the environments of a program.
    pub fn new(roots: Vec<PathBuf>, results: PathBuf, app: App, guard: Guard) -> Shared {
        Arc::new(Self {
            archive: Archive::new([&roots[..], &[results]].concat(), app.clone()),
            shelf: Shelf::new(roots),
            library: Library::default(),
            theater: Theater::default(),
            games: Games::new(app),
            guard: Arc::new(guard),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        })
    }

    /// A place for a stream, which has it until it ends.
    ///
    /// # Errors
    /// All are taken.
    pub fn stream(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let busy = |_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
        self.streams.clone().try_acquire_owned().map_err(busy)
    }
}
