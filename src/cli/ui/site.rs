//! What all requests share: the shelf of runs, what was read of their curves and replays, and who may ask.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::guard::Guard;
use super::library::Library;
use super::shelf::Shelf;
use super::theater::Theater;

/// Streams of events at once. They stay open, and connections must remain for requests.
const MOST_STREAMS: usize = 40;

/// The server's state.
pub struct Site {
    pub shelf: Shelf,
    pub library: Library,
    pub theater: Theater,
    pub guard: Arc<Guard>,
    pub streams: Arc<Semaphore>,
}

pub type Shared = Arc<Site>;

impl Site {
    /// A site for the runs in some directories.
    pub fn new(roots: Vec<PathBuf>, guard: Guard) -> Shared {
        Arc::new(Self {
            shelf: Shelf::new(roots),
            library: Library::default(),
            theater: Theater::default(),
            guard: Arc::new(guard),
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
        })
    }
}
