//! SIGINT and SIGTERM: the first asks the run to stop cleanly, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use signal_hook::SigId;
use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit status after a second signal.
pub const INTERRUPTED: i32 = 130;

/// Listens to both signals as long as it lives.
#[derive(Debug)]
pub struct StopSignal {
    requested: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

impl StopSignal {
    /// Without `leave`, a second signal is left to somebody else, who has a terminal to restore.
    pub fn listen(leave: bool) -> Result<Self> {
        let requested = Arc::new(AtomicBool::new(false));
        let mut handlers = Vec::new();
        for signal in [SIGINT, SIGTERM] {
            // Handlers run in this order: the first signal finds the flag unset and sets it.
            if leave {
                let leave =
                    signal_hook::flag::register_conditional_shutdown(signal, INTERRUPTED, requested.clone());
                handlers.push(leave.context("cannot listen to signals")?);
            }
            let ask = signal_hook::flag::register(signal, requested.clone());
            handlers.push(ask.context("cannot listen to signals")?);
        }
        Ok(Self { requested, handlers })
    }

    /// Whether a signal has come.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}
