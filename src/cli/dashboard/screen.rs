//! The screen of a run in this process, on a thread of its own.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::several::{self, PAGES};
use super::{Followed, Keys, View, Wish, draw, draw_stage};
use crate::cli::terminal::Terminal;
use crate::output::tell;
use crate::trainer::INTERRUPTED;
use crate::trainer::live::{Event, Live, Remote, connect};
use crate::trainer::readable::duration;

/// Longest time between two looks at keys and signals; the screen is drawn at most so often.
const TICK: Duration = Duration::from_millis(100);
/// Lines that are kept, to be told again once the screen is gone.
const MOST_LINES: usize = 1000;

/// What a screen knows beforehand of several runs.
pub struct Company {
    /// How the metrics of actions are called, where that is not their name.
    pub actions: BTreeMap<String, String>,
}

/// The screen's thread. Dropping this waits for its end, after which the terminal is as it was.
pub struct Screen {
    thread: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal, for one run or for several. Gives what a run needs to know; once that is dropped, the screen ends.
    ///
    /// # Errors
    /// One line: the terminal cannot be used.
    pub fn open(company: Option<Company>) -> Result<(Self, Live)> {
        let signals = Signals::new([SIGINT, SIGTERM]).context("cannot listen to signals")?;
        let terminal = Terminal::open()?;
        let (live, remote) = connect();
        let shown = Shown {
            remote,
            signals,
            stage: None,
            followed: Vec::new(),
            lines: Vec::new(),
            keys: Keys { has_pages: company.is_some(), ..Keys::default() },
            company,
            page: 0,
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
    /// What goes on before the run begins, and since when.
    stage: Option<(String, Instant)>,
    /// The runs that have begun.
    followed: Vec<Followed>,
    /// If there are to be several.
    company: Option<Company>,
    page: usize,
    lines: Vec<String>,
    keys: Keys,
    notice: String,
    /// Whether the run has been asked to stop.
    stopping: bool,
}

impl Shown {
    /// Shows the run until it ends. If the screen is closed or the terminal fails, the run goes on and is told in lines.
    fn run(mut self, mut terminal: Terminal) {
        let shown = self.show(&mut terminal);
        drop(terminal);
        self.lines.iter().for_each(|line| tell(line));
        match shown {
            Ok(false) => return,
            Ok(true) => tell("the view is closed, the run goes on; Ctrl-C saves and stops it"),
            Err(error) => tell(&format!("warning: the dashboard ended: {error:#}; the run goes on")),
        }
        self.listen();
    }

    /// Says whether the run goes on: the screen was closed.
    fn show(&mut self, terminal: &mut Terminal) -> Result<bool> {
        while self.take_events(|_| ())? {
            self.take_signals(Some(terminal));
            let lives = |followed: &Followed| followed.overview().life.is_live();
            let is_live =
                self.followed.is_empty() || self.company.is_some() || self.followed.iter().any(lives);
            let keys = self.keys.shown(is_live);
            for followed in &mut self.followed {
                followed.refresh()?;
            }
            if let (Some(Company { actions }), [_, ..]) = (&self.company, &self.followed[..]) {
                let view = several::View {
                    runs: &self.followed,
                    page: self.page,
                    actions,
                    lines: &self.lines,
                    keys,
                    notice: &self.notice,
                };
                terminal.draw(|frame| several::draw(frame, &view))?;
            } else if let [followed, ..] = &self.followed[..] {
                let view = View {
                    overview: followed.overview(),
                    curves: followed.curves(),
                    asked: &[],
                    lines: &self.lines,
                    keys,
                    notice: &self.notice,
                };
                terminal.draw(|frame| draw(frame, &view))?;
            } else if let Some((what, since)) = &self.stage {
                let what = format!("{what}  {}", duration(since.elapsed().as_secs_f64()));
                terminal.draw(|frame| draw_stage(frame, &what, &self.lines, keys, &self.notice))?;
            }
            let Some(key) = terminal.key(TICK)? else { continue };
            match self.keys.press(key, is_live) {
                Wish::Leave => return Ok(true),
                Wish::Stop => self.stop(),
                Wish::Save => {
                    self.remote.save();
                    self.notice = "the run saves after its chunk".into();
                }
                Wish::Interrupt if self.stopping => leave(Some(terminal)),
                Wish::Interrupt => self.interrupt(),
                Wish::Turn(by) => {
                    let pages = PAGES.len() as isize;
                    self.page = (self.page as isize + by).rem_euclid(pages) as usize;
                }
                Wish::Page(number) if number < PAGES.len() => self.page = number,
                Wish::Page(_) | Wish::Nothing => {}
            }
        }
        Ok(false)
    }

    /// Only tells what the run says.
    fn listen(&mut self) {
        loop {
            match self.take_events(tell) {
                Ok(false) => return,
                _ => thread::sleep(TICK), // that its files cannot be read does not matter any more
            }
            self.take_signals(None);
        }
    }

    /// Takes in what the run has told, and gives each line of it to `told`. Says whether the run goes on.
    fn take_events(&mut self, told: impl Fn(&str)) -> Result<bool> {
        while let Some(event) = self.remote.next() {
            match event {
                Event::Stage(what) => {
                    told(&format!("{what} ..."));
                    self.stage = Some((what, Instant::now()));
                }
                Event::Begun(directory) => self.followed.push(Followed::new(&directory)?),
                Event::Row(line) => told(&line),
                Event::Line(line) => {
                    told(&line);
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
            self.interrupt();
        }
    }

    /// Stops the run as a signal does.
    fn interrupt(&mut self) {
        self.remote.interrupt();
        self.stop();
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
        let _ = ratatui::try_restore();
    }
    signal_hook::low_level::exit(INTERRUPTED)
}
