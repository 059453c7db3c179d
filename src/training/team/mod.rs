//! Several processes that train one agent.
//!
//! Each has its share of the devices and runs the same program on them. Rank 0 leads: it alone has the run directory, the logs and the clock, and
//! before each thing that all must do at once (a chunk of updates, giving or taking the state) it tells the others. For the trainer that is a
//! [`Learner`](crate::algorithms::Learner) like any other, [`Leader`]; the others do as they are told, in [`Team::follow`].
//!
//! - `meeting`: how they find each other
//! - `wire`: what they say, and how it lies on a connection
//! - `leader`: the learner of rank 0; and what the others do
//! - `notes`: what plugins tell each other
//!
//! A thread for each connection hears signs of life. When a process has gone or is silent, every other one ends: sums over devices that wait for
//! it fail, and the error names it and what to resume from.

mod leader;
mod meeting;
mod notes;
mod wire;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use crate::config::Place;
use crate::output::tell;
use crate::runtime::{Store, World};
use crate::trainer::{self, find};

pub use leader::Leader;
pub use meeting::{Lead, Meeting, TOKEN};

use meeting::named;
use notes::Notes;
use wire::{Hello, Line, Word};

/// How often a process gives a sign of life.
const BEAT: Duration = Duration::from_secs(1);
/// How long the thread that trains may take to find out that another process is lost: it may wait in MPI, or compile.
const GRACE: Duration = Duration::from_secs(10);
/// How long one may be silent.
const SILENCE: Duration = Duration::from_secs(15);

/// This process among those that it trains with.
pub struct Team {
    place: Place,
    shared: Arc<Shared>,
    /// What was heard besides signs of life, with the rank that said it.
    heard: Receiver<Heard>,
}

/// A word, the bytes of its arrays, and who said it.
type Heard = (usize, Word, Vec<u8>);

/// What the threads of the connections share.
struct Shared {
    world: Arc<World>,
    /// Where the run is.
    directory: PathBuf,
    /// At rank 0 those to the others, by rank; else the one to rank 0.
    lines: Vec<(Line, Hello)>,
    /// Whether all is done, so that connections may end.
    over: AtomicBool,
    /// Whether the thread that trains knows that another process is lost, and ends by itself.
    ends: AtomicBool,
    notes: Notes,
}

impl Team {
    fn new(place: Place, directory: PathBuf, lines: Vec<(Line, Hello)>, world: World) -> Result<Team> {
        for (line, _) in &lines {
            line.stream().set_nonblocking(false)?;
            line.stream().set_read_timeout(Some(SILENCE))?;
            line.stream().set_write_timeout(Some(SILENCE))?;
        }
        let shared = Arc::new(Shared {
            world: Arc::new(world),
            directory,
            lines,
            over: AtomicBool::new(false),
            ends: AtomicBool::new(false),
            notes: Notes::default(),
        });
        let (sender, heard) = channel();
        for index in 0..shared.lines.len() {
            let (shared, sender) = (shared.clone(), sender.clone());
            std::thread::spawn(move || shared.listen(index, &sender));
        }
        let beating = Arc::downgrade(&shared);
        std::thread::spawn(move || beat(&beating));
        Ok(Team { place, shared, heard })
    }

    /// The processes whose devices sum together.
    pub fn world(&self) -> Arc<World> {
        self.shared.world.clone()
    }

    /// Through which the plugins of all processes tell each other what they need.
    pub fn store(&self) -> Arc<dyn Store> {
        self.shared.clone()
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn leads(&self) -> bool {
        self.place.rank == 0
    }

    /// The name of the run, or of the group of runs.
    pub fn name(&self) -> String {
        trainer::run_dir::name_of(&self.shared.directory)
    }

    /// Which of `count` agents this process trains; the processes share them evenly.
    pub fn share(&self, count: usize) -> Range<usize> {
        let part = count / self.place.size;
        self.place.rank * part..(self.place.rank + 1) * part
    }

    /// An error as people are to read it: if another process is lost, that is why, and says how to go on.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(fault) = self.shared.world.fault() else { return error };
        self.shared.ends.store(true, Ordering::SeqCst);
        anyhow!("{fault}; {}", self.shared.how_to_go_on())
    }

    /// Says a word to all others.
    fn tell(&self, word: &Word) -> Result<()> {
        let said = self.shared.lines.iter().try_for_each(|(line, hello)| {
            line.say(word).with_context(|| format!("{} does not listen", named(hello)))
        });
        said.map_err(|error| self.explain(error))
    }

    /// The next word of anybody; nothing if none comes for a moment.
    fn hear(&self) -> Result<Option<Heard>> {
        const MOMENT: Duration = Duration::from_millis(100);
        if let Some(fault) = self.shared.world.fault() {
            return Err(self.explain(anyhow!(fault)));
        }
        match self.heard.recv_timeout(MOMENT) {
            Ok(heard) => Ok(Some(heard)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(self.explain(anyhow!("the connections to the other processes are closed")))
            }
        }
    }

    /// Waits until all others have said that they are done.
    ///
    /// # Errors
    /// One line: one of them is lost.
    pub fn wait_for_all(&self) -> Result<()> {
        let mut left = self.shared.lines.len();
        while left > 0 {
            if let Some((_, Word::End, _)) = self.hear()? {
                left -= 1;
            }
        }
        Ok(())
    }

    /// Ends the work of all: well, or with the error of this process, which the others are told. Gives the error as people are to read it.
    pub fn end<T>(self, result: Result<T>) -> Result<T> {
        self.shared.over.store(true, Ordering::SeqCst);
        // What is stopped because another process is lost has failed.
        let fault = self.shared.world.fault().map(|fault| anyhow!(fault));
        match result.and_then(|value| fault.map_or(Ok(value), Err)) {
            Ok(value) => {
                let _ = self.tell(&Word::End); // they may have gone
                self.shared.world.leave();
                Ok(value)
            }
            Err(error) => {
                let why = self.shared.world.fault().unwrap_or_else(|| format!("{error:#}"));
                let _ = self.tell(&Word::Failed(why));
                Err(self.explain(error))
            }
        }
    }
}

impl Shared {
    /// Hears one connection until it ends.
    fn listen(&self, index: usize, sender: &Sender<Heard>) {
        let (line, hello) = &self.lines[index];
        let (rank, who) = match self.world.rank() {
            0 => (hello.rank, named(hello)),
            _ => (0, "rank 0".to_owned()),
        };
        loop {
            match line.hear() {
                Ok((Word::Beat, _)) => {}
                Ok((Word::Stop, _)) => trainer::ask_to_stop(),
                Ok((Word::Save, _)) => trainer::ask_to_save(),
                Ok((Word::Note { number, name, leaves }, bytes)) => {
                    let word = |found, problem| Word::Noted { number, found, problem };
                    let (word, note) = match self.notes.answer(&name, leaves.then_some(bytes)) {
                        Ok(note) => (word(note.is_some(), None), note.unwrap_or_default()),
                        Err(problem) => (word(false, Some(problem)), Vec::new()),
                    };
                    let _ = line.say_and_give(&word, [Cow::from(note)].into_iter()); // it may have gone
                }
                Ok((Word::Noted { number, found, problem }, bytes)) => {
                    let outcome = problem.map_or(Ok(found.then_some(bytes)), Err);
                    self.notes.arrived(number, outcome);
                }
                Ok((Word::Failed(why), _)) => return self.lose(&format!("{who} failed: {why}")),
                Ok((Word::End, _)) => {
                    let _ = sender.send((rank, Word::End, Vec::new())); // nobody may wait for it any more
                    return;
                }
                Ok((word, arrays)) => {
                    let _ = sender.send((rank, word, arrays));
                }
                Err(error) if is_silence(&error) => {
                    return self
                        .lose(&format!("{who} has given no sign of life for {} s", SILENCE.as_secs()));
                }
                Err(_) => return self.lose(&format!("{who} has ended")),
            }
        }
    }

    /// Ends all that waits for another process, unless all is done.
    fn lose(&self, why: &str) {
        if !self.over.load(Ordering::SeqCst) {
            self.world.end(why);
            trainer::ask_to_stop(); // an evaluation waits for nobody, and would go on
            std::thread::sleep(GRACE);
            if !self.over.load(Ordering::SeqCst) && !self.ends.load(Ordering::SeqCst) {
                // Nothing wakes a thread that waits in MPI, or compiles.
                tell(&format!("error: {why}; {}", self.how_to_go_on()));
                std::process::exit(1);
            }
        }
    }

    fn how_to_go_on(&self) -> String {
        match find::checkpoint(&self.directory, Path::new("")) {
            Ok(_) => format!("start all processes again with --resume {}", self.directory.display()),
            Err(_) => "no checkpoint was saved; start all processes again".into(),
        }
    }
}

fn is_silence(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

/// Gives signs of life for as long as there is a team.
fn beat(shared: &Weak<Shared>) {
    while let Some(shared) = shared.upgrade() {
        for (line, _) in &shared.lines {
            let _ = line.say(&Word::Beat); // who listens on the connection finds out
        }
        drop(shared);
        std::thread::sleep(BEAT);
    }
}
