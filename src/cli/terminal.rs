//! The terminal as a screen: taken and given back, its keys, and its end.
//!
//! A terminal may go away while the process stays, where SIGHUP is ignored. Whoever reads keys from what is left waits for ever
//! and never sleeps, so every wait looks first whether the terminal is still there, and nothing is read before something was typed.

use std::cell::Cell;
use std::fs::File;
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;
use ratatui::{DefaultTerminal, Frame};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM, SIGWINCH};

use crate::config::UsageError;
use crate::output::can_draw;

/// The terminal as a screen; restored when dropped, also by a panic.
pub struct Terminal {
    screen: DefaultTerminal,
    /// What the keys come from, if it is not stdin.
    keyboard: Option<File>,
    /// Whether several keys may have been read at once, of which some wait.
    more: Cell<bool>,
    /// Columns and rows at the last look.
    size: Cell<(u16, u16)>,
}

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Char(char),
    Escape,
    Enter,
    Left,
    Right,
    Up,
    Down,
    /// Ctrl-C, which is no signal while the terminal is a screen.
    Interrupt,
    /// The window has another size.
    Resize,
}

/// Refuses a full screen where there is none; `instead` says what to do.
///
/// # Errors
/// A [`UsageError`].
pub fn check(command: &str, instead: &str) -> Result<()> {
    let complaint = || UsageError(format!("{command} needs a terminal; {instead}"));
    ensure!(can_draw(&stdout()), complaint());
    Ok(())
}

/// What SIGINT and SIGTERM set from now on, for a view that is to leave the screen in order.
///
/// # Errors
/// One line: the system does not let it listen.
pub fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("cannot listen to signals")?;
    }
    Ok(stop)
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// One line: it cannot be used.
    pub fn open() -> Result<Self> {
        let cannot = "cannot use the terminal as a screen";
        let keyboard = match stdin().is_terminal() {
            true => None,
            false => Some(File::open("/dev/tty").context(cannot)?),
        };
        let screen = ratatui::try_init().context(cannot)?;
        // From now on another size ends a wait; what it is, is asked.
        signal_hook::flag::register(SIGWINCH, Arc::default()).context(cannot)?;
        let size = Cell::new(terminal::size().context(cannot)?);
        Ok(Self { screen, keyboard, more: Cell::new(false), size })
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> Result<()> {
        self.screen.draw(draw).context("cannot draw on the terminal")?;
        Ok(())
    }

    /// The next key, if one comes in time.
    ///
    /// # Errors
    /// One line: the terminal is gone.
    pub fn key(&self, timeout: Duration) -> Result<Option<Key>> {
        let is_there = |timeout| Ok::<_, anyhow::Error>(self.wait(timeout)? && event::poll(Duration::ZERO)?);
        let waits = self.more.replace(false) && {
            self.wait(Duration::ZERO)?;
            event::poll(Duration::ZERO)?
        };
        if !waits && !is_there(timeout)? {
            return Ok(self.has_another_size()?.then_some(Key::Resize));
        }
        self.more.set(true);
        Ok(match event::read()? {
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => match key.code {
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
                KeyCode::Char(letter) => Some(Key::Char(letter)),
                KeyCode::Esc => Some(Key::Escape),
                KeyCode::Enter => Some(Key::Enter),
                KeyCode::Left => Some(Key::Left),
                KeyCode::Right => Some(Key::Right),
                KeyCode::Up => Some(Key::Up),
                KeyCode::Down => Some(Key::Down),
                _ => None,
            },
            Event::Resize(..) => Some(Key::Resize),
            _ => None,
        })
    }

    /// Whether the size is another one than at the last look: its signal may have come while nobody waited.
    fn has_another_size(&self) -> Result<bool> {
        let size = terminal::size().context("the terminal is gone")?;
        Ok(self.size.replace(size) != size)
    }

    /// Waits until something is typed, which gives yes, a signal comes (such as that of another size) or the time is up.
    fn wait(&self, timeout: Duration) -> Result<bool> {
        let stdin = stdin();
        let keyboard: BorrowedFd = self.keyboard.as_ref().map_or(stdin.as_fd(), File::as_fd);
        let mut watched = [PollFd::from_borrowed_fd(keyboard, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).context("a wait of that length")?;
        let happened = match poll(&mut watched, Some(&timeout)) {
            Ok(count) => count > 0,
            Err(Errno::INTR) => false,
            Err(error) => return Err(error).context("cannot wait for keys"),
        };
        let gone = PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        ensure!(!watched[0].revents().intersects(gone), "the terminal is gone");
        Ok(happened)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = ratatui::try_restore(); // where the terminal is gone, there is nothing to restore and nobody to tell
    }
}

/// A bar of `width` columns that is filled to the share `p`, in eighths of a column.
pub fn bar(p: f32, width: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (p.clamp(0.0, 1.0) * 8.0 * width as f32).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if !eighths.is_multiple_of(8) {
        bar.push(EIGHTHS[eighths % 8]);
    }
    let filled = bar.chars().count();
    bar + &" ".repeat(width - filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_fill_in_eighths() {
        assert_eq!(bar(0.0, 4), "    ");
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.53125, 4), "██▏ ");
        assert_eq!(bar(1.0, 4), "████");
    }
}
