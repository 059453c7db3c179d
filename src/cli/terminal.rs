//! Keys from a terminal that may go away.
//!
//! A terminal that is closed while SIGHUP is ignored is always ready to be read and never gives anything; crossterm would
//! read it for ever. So the terminal is looked at first.

use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use anyhow::{Result, bail};
use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The next event, if one comes in time.
///
/// # Errors
/// One line: the terminal is gone, or cannot be read.
pub fn next_event(timeout: Duration) -> Result<Option<Event>> {
    let (input, output) = (stdin(), stdout());
    let terminal = if input.is_terminal() { input.as_fd() } else { output.as_fd() };
    // Events that have been read already come before a wait for others.
    for timeout in [Duration::ZERO, timeout] {
        check(terminal, timeout)?;
        if event::poll(Duration::ZERO)? {
            return Ok(Some(event::read()?));
        }
    }
    Ok(None)
}

/// Waits until there is something to read, at most `timeout`.
///
/// # Errors
/// The terminal is gone.
fn check(terminal: BorrowedFd, timeout: Duration) -> Result<()> {
    let mut asked = [PollFd::from_borrowed_fd(terminal, PollFlags::IN)];
    match poll(&mut asked, Some(&Timespec::try_from(timeout)?)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {} // a signal, such as that of a new size
        Err(error) => return Err(error.into()),
    }
    if asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
        bail!("the terminal is gone");
    }
    Ok(())
}
