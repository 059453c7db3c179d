//! What signals ask of the runs of this process.
//!
//! - SIGINT, SIGTERM and SIGHUP: the first asks all runs to stop cleanly, a later one leaves at once. Before a run has begun
//!   there is nothing to save, so the first one leaves at once. One that is ignored when the process begins (`nohup`,
//!   a background job of a script) stays ignored.
//! - SIGUSR1, by which clusters warn of the end of a job's time: asks all runs for a checkpoint.
//! - SIGXFSZ, for a file beyond the user's limit: is caught, so that the write fails as it does on a full disk.
//!
//! One press of Ctrl-C, or one `timeout`, may send the signal twice, to the process and to its group; so what comes right
//! after the first means nothing.
//!
//! The first process of a container gets no signal for which it has no handler, so [`listen`] comes before anything
//! that takes long.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Instant;

use anyhow::{Result, anyhow};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::low_level::{exit, register};

use crate::files;

/// The exit status after a second signal.
pub const INTERRUPTED: i32 = 130;

/// Milliseconds after the first signal in which others belong to it.
const TOGETHER: u64 = 300;
/// No signal has come.
const NEVER: u64 = u64::MAX;

/// When listening began.
static START: OnceLock<Instant> = OnceLock::new();
/// When the first signal to stop came, in milliseconds from then.
static FIRST: AtomicU64 = AtomicU64::new(NEVER);
/// How often a checkpoint was asked for.
static SAVES: AtomicU64 = AtomicU64::new(0);
/// How many [`Signals`] there are: none before a run has begun.
static LISTENERS: AtomicUsize = AtomicUsize::new(0);
/// Whether a second signal ends the process here, or is left to somebody who has a terminal to restore.
static LEAVE: AtomicBool = AtomicBool::new(true);

/// Installs the handlers, once for the process.
///
/// # Errors
/// One line: the system does not allow it.
pub fn listen() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| install().map_err(|error| error.to_string()));
    installed.clone().map_err(|error| anyhow!("cannot listen to signals: {error}"))
}

fn install() -> std::io::Result<()> {
    START.get_or_init(Instant::now);
    let stop = move |signal: i32| {
        if LISTENERS.load(SeqCst) == 0 {
            exit(128 + signal);
        }
        let now = now();
        let before = FIRST.compare_exchange(NEVER, now, SeqCst, SeqCst);
        if LEAVE.load(SeqCst) && before.is_err_and(|before| now.saturating_sub(before) > TOGETHER) {
            exit(INTERRUPTED);
        }
    };
    for signal in [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
        // SAFETY: reading the clock, atomic numbers and leaving are allowed in a signal handler.
        unsafe { register(signal, move || stop(signal)) }?;
    }
    let save = || {
        SAVES.fetch_add(1, SeqCst);
    };
    // SAFETY: an atomic number is allowed, too.
    unsafe { register(SIGUSR1, save) }?;
    // SAFETY: nothing is done.
    unsafe { register(SIGXFSZ, || {}) }?;
    Ok(())
}

/// Milliseconds since listening began.
fn now() -> u64 {
    START.get().map_or(0, |start| start.elapsed().as_millis() as u64)
}

/// Asks all runs of this process to stop cleanly, as the first signal does. Another process may have had the signal that whoever sends it sends
/// here, too, a little later: it then means nothing more.
pub fn ask_to_stop() {
    const LITTLE: u64 = 10_000;
    let _ = FIRST.compare_exchange(NEVER, now() + LITTLE, SeqCst, SeqCst); // it may have been asked before
}

/// Asks all runs of this process for a checkpoint, as SIGUSR1 does.
pub fn ask_to_save() {
    SAVES.fetch_add(1, SeqCst);
}

/// Whether this process ignores a signal, where the system says so.
pub fn is_ignored(signal: i32) -> bool {
    let status = files::read_text(Path::new("/proc/self/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

/// As long as it lives, a run would lose something, so the first signal only asks it to stop.
#[derive(Debug)]
pub struct Signals(());

impl Signals {
    /// Without `leave`, a second signal is left to somebody else, who has a terminal to restore.
    ///
    /// # Errors
    /// As [`listen`].
    pub fn begin(leave: bool) -> Result<Self> {
        listen()?;
        LEAVE.store(leave, SeqCst);
        LISTENERS.fetch_add(1, SeqCst);
        Ok(Self(()))
    }

    /// Whether a signal to stop has come.
    pub fn stop_is_asked(&self) -> bool {
        FIRST.load(SeqCst) != NEVER
    }

    /// How often a checkpoint was asked for, by anybody, since the process began.
    pub fn saves_asked(&self) -> u64 {
        SAVES.load(SeqCst)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        LISTENERS.fetch_sub(1, SeqCst);
    }
}
