//! SIGINT and SIGTERM: the first asks the run to stop cleanly, a later one leaves at once.
//!
//! One press of Ctrl-C, or one `timeout`, may send the signal twice, to the process and to its group; so what comes right
//! after the first means nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit status after a second signal.
pub const INTERRUPTED: i32 = 130;

/// Milliseconds after the first signal in which others belong to it.
const TOGETHER: u64 = 300;
/// No signal has come.
const NEVER: u64 = u64::MAX;

/// Listens to both signals as long as it lives.
#[derive(Debug)]
pub struct StopSignal {
    /// When the first signal came, in milliseconds from the start.
    first: Arc<AtomicU64>,
    handlers: Vec<SigId>,
}

impl StopSignal {
    /// Without `leave`, a second signal is left to somebody else, who has a terminal to restore.
    pub fn listen(leave: bool) -> Result<Self> {
        let first = Arc::new(AtomicU64::new(NEVER));
        let start = Instant::now();
        let mut handlers = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            let first = first.clone();
            let handler = move || {
                let now = start.elapsed().as_millis() as u64;
                let before = first.compare_exchange(NEVER, now, Ordering::SeqCst, Ordering::SeqCst);
                if leave && before.is_err_and(|before| now.saturating_sub(before) > TOGETHER) {
                    signal_hook::low_level::exit(INTERRUPTED);
                }
            };
            // SAFETY: reading the clock, an atomic number and leaving are allowed in a signal handler.
            let handler = unsafe { signal_hook::low_level::register(signal, handler) };
            handlers.push(handler.context("cannot listen to signals")?);
        }
        Ok(Self { first, handlers })
    }

    /// Whether a signal has come.
    pub fn requested(&self) -> bool {
        self.first.load(Ordering::SeqCst) != NEVER
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}
