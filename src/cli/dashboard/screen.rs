//! The screen of a run in this process, on a thread of its own.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use ratatui::{DefaultTerminal, Frame};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Followed, Key, View, draw, next_key};
use crate::trainer::live::{Event, Live, Remote, connect};
use crate::trainer::{INTERRUPTED, tell};

/// Longest time between two looks at keys and signals; the screen is drawn at most so often.
const TICK: Duration = Duration::from_millis(100);
/// Lines that are kept, to be told again once the screen is gone.
const MOST_LINES: usize = 1000;

const KEYS: [(&str, &str); 2] = [("q", "stop cleanly"), ("s", "save now")];

/// The terminal as a screen; restored when dropped, also by a panic.
pub struct Terminal(DefaultTerminal);

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// One line: it cannot be used.
    pub fn open() -> Result<Self> {
        Ok(Self(ratatui::try_init().context("cannot use the terminal as a screen")?))
    }

    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> Result<()> {
        self.0.draw(draw).context("cannot draw on the terminal")?;
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The screen's thread. Dropping this waits for its end, after which the terminal is as it was.
pub struct Screen {
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal. Gives what the run needs to know; once that is dropped, the screen ends.
    ///
    /// # Errors
    /// One line: the terminal cannot be used.
    pub fn open() -> Result<(Self, Live)> {
        let signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen to signals")?;
        let terminal = Terminal::open()?;
        let (live, remote) = connect();
        let shown = Shown {
            remote,
            signals,
            followed: None,
            lines: Vec::new(),
            notice: String::new(),
            stopping: false,
        };
        Ok((Self { thread: Some(thread::spawn(|| shown.run(terminal))) }, live))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic of the thread has been told
        }
    }
}

/// What the thread knows.
struct Shown {
    remote: Remote,
    signals: Signals,
    /// The run, once it has begun.
    followed: Option<Followed>,
    lines: Vec<String>,
    notice: String,
    /// Whether the run has been asked to stop.
    stopping: bool,
}

impl Shown {
    /// Shows the run until it ends. If the terminal fails, the run goes on and its lines go to stderr.
    fn run(mut self, mut terminal: Terminal) {
        let shown = self.show(&mut terminal);
        drop(terminal);
        self.lines.iter().for_each(|line| tell(line));
        if let Err(error) = shown {
            tell(&format!("warning: the dashboard ended: {error:#}; the run goes on"));
            self.listen();
        }
    }

    fn show(&mut self, terminal: &mut Terminal) -> Result<()> {
        while self.take_events()? {
            self.take_signals(Some(terminal));
            if let Some(followed) = &mut self.followed {
                followed.refresh()?;
                let view = View {
                    overview: followed.overview(),
                    history: followed.history(),
                    asked: &[],
                    lines: &self.lines,
                    keys: &KEYS,
                    notice: &self.notice,
                };
                terminal.draw(|frame| draw(frame, &view))?;
            }
            match next_key(TICK)? {
                Some(Key::Char('q')) => self.stop(),
                Some(Key::Char('s')) => {
                    self.remote.save();
                    self.notice = "the run saves after its chunk".into();
                }
                Some(Key::Interrupt) if self.stopping => leave(Some(terminal)),
                Some(Key::Interrupt) => self.stop(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Only tells what the run says.
    fn listen(&mut self) {
        loop {
            self.lines.clear();
            let goes_on = self.take_events();
            self.lines.iter().for_each(|line| tell(line));
            match goes_on {
                Ok(false) => return,
                _ => thread::sleep(TICK), // that its files cannot be read does not matter any more
            }
            self.take_signals(None);
        }
    }

    /// Takes in what the run has told. Says whether it goes on.
    fn take_events(&mut self) -> Result<bool> {
        while let Some(event) = self.remote.next() {
            match event {
                Event::Begun(directory) => self.followed = Some(Followed::new(&directory)?),
                Event::Line(line) => {
                    self.lines.push(line);
                    let surplus = self.lines.len().saturating_sub(MOST_LINES);
                    self.lines.drain(..surplus);
                    self.notice.clear();
                }
                Event::Ended => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The first signal stops the run cleanly, the second leaves at once.
    fn take_signals(&mut self, mut terminal: Option<&mut Terminal>) {
        for _ in 0..self.signals.pending().count() {
            if self.stopping {
                leave(terminal.take());
            }
            self.stop();
        }
    }

    fn stop(&mut self) {
        self.remote.stop();
        self.stopping = true;
        self.notice = "the run saves and stops after its chunk; Ctrl-C leaves at once".into();
    }
}

/// Restores the terminal and ends the process, whatever else it does.
fn leave(terminal: Option<&mut Terminal>) -> ! {
    if terminal.is_some() {
        ratatui::restore();
    }
    signal_hook::low_level::exit(INTERRUPTED)
}
