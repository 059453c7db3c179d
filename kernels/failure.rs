//! What a kernel complains of while a program runs.
//!
//! Where several devices run the program the call itself does not fail: the others would wait for the one that has left it, for a minute, and XLA
//! would then abort the process. So the complaint is kept, the rest of the program goes on with zeros, and whoever waits for the program's
//! results gets the complaint in their place. A native environment complains so on one device, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static FAILED: AtomicBool = AtomicBool::new(false);
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// Whether something is kept: what is computed now is thrown away.
pub fn has_failed() -> bool {
    FAILED.load(Ordering::Acquire)
}

/// Keeps what a call complains of, if it does; whether it does.
pub fn is_failure(outcome: Result<(), String>) -> bool {
    let Err(problem) = outcome else { return false };
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(problem);
    FAILED.store(true, Ordering::Release);
    true
}

/// What is kept, which is then told.
pub fn take_failure() -> Option<String> {
    if !has_failed() {
        return None;
    }
    let problem = FIRST.lock().unwrap_or_else(PoisonError::into_inner).take();
    FAILED.store(false, Ordering::Release);
    problem
}
