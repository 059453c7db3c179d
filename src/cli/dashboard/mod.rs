//! The curves of a run on the full screen: of one in this process (`train --dashboard`) or in another one (`runs watch`).
//!
//! Both read the run's files, so they show the same, and neither costs the training anything: drawing has a thread, or
//! a process, of its own. They differ only in where lines come from and requests go to. [`several`] runs of
//! this process share a screen.

mod draw;
mod layout;
mod screen;
mod several;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

pub use draw::{draw, draw_stage};
pub use screen::{Company, Screen};

use super::chart;
use super::terminal::{Key, Terminal};
use crate::trainer::history::{Curves, Follower};
use crate::trainer::overview::Overview;

/// A key and what it does.
pub type Help = (&'static str, &'static str);

/// What is on the screen.
pub struct View<'a> {
    pub overview: &'a Overview,
    pub curves: &'a Curves,
    /// The metrics that are asked for; none: all.
    pub asked: &'a [String],
    /// What was said last, the newest line at the end.
    pub lines: &'a [String],
    /// What the keys do.
    pub keys: &'a [Help],
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

    pub fn curves(&self) -> &Curves {
        self.follower.curves()
    }

    /// The full names of the metrics that are asked for. Refuses those that the run does not have, once it has any.
    pub fn resolve(&self, asked: &[String]) -> Result<Vec<String>> {
        if asked.is_empty() || self.curves().is_empty() {
            return Ok(asked.to_vec());
        }
        chart::metrics(asked, std::slice::from_ref(self.curves()))
    }
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// To close the screen, and nothing else.
    Leave,
    Save,
    Stop,
    /// Ctrl-C.
    Interrupt,
    /// To the page that is so many further on, or of that number.
    Turn(isize),
    Page(usize),
    Nothing,
}

/// The keys, of which that for stopping asks once more.
#[derive(Debug, Default)]
struct Keys {
    asking: bool,
    /// Whether there are several pages.
    has_pages: bool,
}

impl Keys {
    /// What the keys do now. A run that has ended can neither be saved nor stopped.
    fn shown(&self, is_live: bool) -> &'static [Help] {
        match (is_live, self.asking) {
            (true, false) if self.has_pages => {
                &[("1-6 ← →", "page"), ("q", "close this view"), ("s", "save now"), ("x", "stop all")]
            }
            (true, true) => &[("y", "save and stop the run"), ("any other key", "go on")],
            (true, false) => &[("q", "close this view"), ("s", "save now"), ("x", "stop the run")],
            (false, _) => &[("q", "close this view")],
        }
    }

    fn press(&mut self, key: Key, is_live: bool) -> Wish {
        let asked = std::mem::take(&mut self.asking);
        match key {
            Key::Char('y') if asked && is_live => Wish::Stop,
            Key::Interrupt => Wish::Interrupt,
            Key::Resize => {
                self.asking = asked;
                Wish::Nothing
            }
            _ if asked && is_live => Wish::Nothing,
            Key::Left if self.has_pages => Wish::Turn(-1),
            Key::Right if self.has_pages => Wish::Turn(1),
            Key::Char(digit @ '1'..='9') if self.has_pages => Wish::Page(digit as usize - '1' as usize),
            Key::Char('q') | Key::Escape => Wish::Leave,
            Key::Char('s') if is_live => Wish::Save,
            Key::Char('x') if is_live => {
                self.asking = true;
                Wish::Nothing
            }
            _ => Wish::Nothing,
        }
    }
}

/// What a screen in another process can ask of a run, and what it has to say.
pub trait Reach {
    /// What the run has said.
    fn lines(&self) -> Vec<String>;

    /// Asks for a checkpoint. Gives what to say about it.
    fn save(&self, overview: &Overview) -> Result<String>;

    /// Asks the run to end. Gives what to say about it.
    fn stop(&self, overview: &Overview) -> Result<String>;
}

/// Shows a run of another process until the user leaves.
///
/// # Errors
/// A terminal that cannot be used, or files that cannot be read. The terminal is restored in any case.
pub fn watch(directory: &Path, asked: &[String], run: &dyn Reach) -> Result<()> {
    let mut followed = Followed::new(directory)?;
    followed.resolve(asked)?;
    let mut terminal = Terminal::open()?;
    let (mut keys, mut notice) = (Keys::default(), String::new());
    loop {
        followed.refresh()?;
        let asked = followed.resolve(asked)?;
        let is_live = followed.overview().life.is_live();
        let view = View {
            overview: followed.overview(),
            curves: followed.curves(),
            asked: &asked,
            lines: &run.lines(),
            keys: keys.shown(is_live),
            notice: &notice,
        };
        terminal.draw(|frame| draw(frame, &view))?;
        let Some(key) = terminal.key(REFRESH)? else { continue };
        match keys.press(key, is_live) {
            Wish::Leave | Wish::Interrupt => return Ok(()),
            Wish::Save => notice = run.save(followed.overview())?,
            Wish::Stop => notice = run.stop(followed.overview())?,
            Wish::Turn(_) | Wish::Page(_) | Wish::Nothing => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_stopped_when_it_is_asked_for_twice_and_never_by_leaving() {
        let mut keys = Keys::default();
        let mut press = |key: char, is_live| keys.press(Key::Char(key), is_live);
        assert_eq!(
            [press('q', true), press('s', true), press('y', true)],
            [Wish::Leave, Wish::Save, Wish::Nothing]
        );
        assert_eq!([press('x', true), press('q', true), press('y', true)], [Wish::Nothing; 3]);
        assert_eq!([press('x', true), press('y', true)], [Wish::Nothing, Wish::Stop]);
        assert_eq!([press('x', false), press('y', false), press('s', false)], [Wish::Nothing; 3]);
        assert_eq!(keys.press(Key::Interrupt, true), Wish::Interrupt);
        let mut paged = Keys { has_pages: true, ..Keys::default() };
        let pressed = [Key::Right, Key::Left, Key::Char('3')].map(|key| paged.press(key, true));
        assert_eq!(pressed, [Wish::Turn(1), Wish::Turn(-1), Wish::Page(2)]);
        assert_eq!(keys.press(Key::Right, true), Wish::Nothing);
        keys.press(Key::Char('x'), true);
        assert!(keys.shown(true)[0].0 == "y" && keys.shown(false) == [("q", "close this view")]);
    }
}
