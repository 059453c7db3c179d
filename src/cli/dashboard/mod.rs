//! The curves of a run on the full screen: of one in this process (`train --dashboard`) or in another one (`runs watch`).
//!
//! Both read the run's files, so they show the same, and neither costs the training anything: drawing has a thread, or
//! a process, of its own. They differ only in where lines come from and requests go to.

mod draw;
mod layout;
mod screen;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};

pub use draw::draw;
pub use screen::Screen;

use super::runs::chart;
use super::terminal::next_event;
use crate::config::UsageError;
use crate::trainer::History;
use crate::trainer::history::Follower;
use crate::trainer::overview::Overview;

/// What is on the screen.
pub struct View<'a> {
    pub overview: &'a Overview,
    pub history: &'a History,
    /// The metrics that are asked for; none: all.
    pub asked: &'a [String],
    /// What was said last, the newest line at the end.
    pub lines: &'a [String],
    /// What the keys do.
    pub keys: &'a [(&'static str, &'static str)],
    /// What the last key has done, in its place.
    pub notice: &'a str,
}

/// A run whose files are read again now and then.
pub struct Followed {
    follower: Follower,
    overview: Overview,
    read: Instant,
}

/// How often the files are read.
const REFRESH: Duration = Duration::from_millis(500);

impl Followed {
    /// Follows the run in a directory.
    ///
    /// # Errors
    /// One line: there is no run, or its files cannot be read.
    pub fn new(directory: &Path) -> Result<Self> {
        let (mut follower, overview) = (Follower::new(directory), Overview::of(directory)?);
        follower.update()?;
        Ok(Self { follower, overview, read: Instant::now() })
    }

    /// Reads the files again if they are old. Says whether it did.
    ///
    /// # Errors
    /// As [`Followed::new`].
    pub fn refresh(&mut self) -> Result<bool> {
        if self.read.elapsed() < REFRESH {
            return Ok(false);
        }
        self.overview = Overview::of(&self.overview.directory)?;
        self.follower.update()?;
        self.read = Instant::now();
        Ok(true)
    }

    pub fn overview(&self) -> &Overview {
        &self.overview
    }

    pub fn history(&self) -> &History {
        self.follower.history()
    }

    /// Refuses names of metrics that the run does not have, once it has any.
    pub fn check(&self, asked: &[String]) -> Result<()> {
        if self.history().is_empty() {
            return Ok(());
        }
        chart::metrics(asked, std::slice::from_ref(self.history())).map(drop)
    }
}

/// Refuses a full screen where there is none; `instead` says what to do.
///
/// # Errors
/// A [`UsageError`].
pub fn check_terminal(command: &str, instead: &str) -> Result<()> {
    let complaint = || UsageError(format!("{command} needs a terminal; {instead}"));
    ensure!(stdout().is_terminal(), complaint());
    Ok(())
}

/// What a person wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Char(char),
    Escape,
    /// Ctrl-C, which is no signal while the terminal is a screen.
    Interrupt,
    /// The window has another size.
    Resize,
}

/// The next key, if one comes in time.
fn next_key(timeout: Duration) -> Result<Option<Key>> {
    let Some(event) = next_event(timeout)? else { return Ok(None) };
    Ok(match event {
        Event::Key(key) if key.kind == KeyEventKind::Release => None,
        Event::Key(key) => match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Key::Interrupt),
            KeyCode::Char(letter) => Some(Key::Char(letter)),
            KeyCode::Esc => Some(Key::Escape),
            _ => None,
        },
        Event::Resize(..) => Some(Key::Resize),
        _ => None,
    })
}

/// Shows a run of another process until the user leaves. `lines` reads what the run has to say; `ask` does what a key
/// asks for and says what it did.
///
/// # Errors
/// A terminal that cannot be used, or files that cannot be read. The terminal is restored in any case.
pub fn watch(
    directory: &Path,
    asked: &[String],
    keys: &[(&'static str, &'static str)],
    lines: impl Fn() -> Vec<String>,
    ask: impl Fn(char, &Overview) -> Result<Option<String>>,
) -> Result<()> {
    let mut followed = Followed::new(directory)?;
    followed.check(asked)?;
    let mut terminal = screen::Terminal::open()?;
    let mut notice = String::new();
    loop {
        followed.refresh()?;
        followed.check(asked)?;
        let view = View {
            overview: followed.overview(),
            history: followed.history(),
            asked,
            lines: &lines(),
            keys,
            notice: &notice,
        };
        terminal.draw(|frame| draw(frame, &view))?;
        match next_key(REFRESH)? {
            Some(Key::Char('q') | Key::Escape | Key::Interrupt) => return Ok(()),
            Some(Key::Char(letter)) => notice = ask(letter, followed.overview())?.unwrap_or(notice),
            Some(Key::Resize) | None => {}
        }
    }
}
