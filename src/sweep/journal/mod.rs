//! The journal of a sweep: everything that happened, one event after the other, from which its state follows.
//!
//! The journal is the only thing that a sweep keeps beside the directories of its runs. Whoever works on it reads the events that are new,
//! decides, and appends what it decided, all under one lock: so two workers never run the same trial, and a process that is killed at any
//! moment leaves a journal from which the sweep goes on. Where the events are kept is the business of a [`Storage`]: a file of JSON lines in
//! the sweep's directory ([`FileStorage`]), which all processes that see the directory can share, or a PostgreSQL server
//! ([`PostgresStorage`]) for any number of machines.

mod event;
mod file;
mod postgres;
mod state;
#[cfg(test)]
mod tests;

use std::any::Any;

use anyhow::{Context, Result, ensure};

pub use event::{Event, Point};
pub use file::{FILE, FileStorage};
pub use postgres::{PostgresStorage, is_postgres};
pub use state::{Claim, State, Status, Trial};

/// Where the events of a sweep are kept, and who works on it.
pub trait Storage {
    /// Locks the journal, gives the lines that were added since the last call, appends the lines that come back, durably, and unlocks it. If
    /// any of that fails, nothing was appended.
    ///
    /// # Errors
    /// Those of `decide`, and one line that says why the journal cannot be read or written.
    fn exclusive(&mut self, decide: &mut dyn FnMut(Vec<String>) -> Result<Vec<String>>) -> Result<()>;

    /// Says that a worker is there, until what it gives is dropped or the process ends in whatever way.
    ///
    /// # Errors
    /// One line.
    fn enlist(&self, worker: &str) -> Result<Box<dyn Any>>;

    /// Whether that worker is still there.
    ///
    /// # Errors
    /// One line.
    fn is_alive(&mut self, worker: &str) -> Result<bool>;

    /// Where that is, in words.
    fn describe(&self) -> String;
}

/// A journal and the state that follows from what was read of it.
pub struct Journal {
    storage: Box<dyn Storage>,
    state: State,
    /// Lines that were read.
    read: usize,
}

impl Journal {
    /// Opens a journal and reads it.
    ///
    /// # Errors
    /// One line: it cannot be read, or is none.
    pub fn open(storage: Box<dyn Storage>) -> Result<Journal> {
        let mut journal = Journal { storage, state: State::default(), read: 0 };
        journal.refresh()?;
        ensure!(journal.read > 0, "{} holds no sweep", journal.storage.describe());
        Ok(journal)
    }

    /// Begins the journal of a new sweep.
    ///
    /// # Errors
    /// One line: it cannot be written, or holds a sweep already.
    pub fn begin(storage: Box<dyn Storage>, began: Event) -> Result<Journal> {
        let mut journal = Journal { storage, state: State::default(), read: 0 };
        let place = journal.storage.describe();
        journal.update(|state, _| {
            ensure!(state.name.is_empty(), "{place} holds a sweep already");
            Ok((vec![began], ()))
        })?;
        Ok(journal)
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where it is, in words.
    pub fn describe(&self) -> String {
        self.storage.describe()
    }

    /// As [`Storage::enlist`].
    ///
    /// # Errors
    /// One line.
    pub fn enlist(&self, worker: &str) -> Result<Box<dyn Any>> {
        self.storage.enlist(worker)
    }

    /// Reads what others have added.
    ///
    /// # Errors
    /// One line.
    pub fn refresh(&mut self) -> Result<()> {
        self.update(|_, _| Ok((Vec::new(), ())))
    }

    /// Reads what others have added, lets `decide` say what is to be added, and adds it, while nobody else can. `decide` is also given who of
    /// those that have trials is not there any more.
    ///
    /// # Errors
    /// Those of `decide`, and one line that says why the journal cannot be read or written; nothing was added then.
    pub fn update<T>(
        &mut self,
        decide: impl FnOnce(&State, &[String]) -> Result<(Vec<Event>, T)>,
    ) -> Result<T> {
        let place = self.storage.describe();
        let gone = self.gone()?;
        let Journal { storage, state, read } = self;
        let (mut decide, mut result) = (Some(decide), None);
        let mut added = Vec::new();
        storage.exclusive(&mut |lines| {
            for line in lines {
                *read += 1;
                let event = Event::parse(&line)
                    .with_context(|| format!("line {read} of {place} is no event of a sweep"))?;
                state.apply(event).with_context(|| format!("line {read} of {place}"))?;
            }
            let decide = decide.take().expect("a storage decides once");
            let (events, decided) = decide(state, &gone)?;
            result = Some(decided);
            let lines = events.iter().map(Event::line).collect::<Result<Vec<_>>>()?;
            added = events;
            Ok(lines)
        })?;
        for event in added {
            *read += 1;
            state.apply(event)?;
        }
        result.context("a storage decides")
    }

    /// The workers of running trials that are not there any more.
    fn gone(&mut self) -> Result<Vec<String>> {
        let mut gone: Vec<String> = Vec::new();
        for trial in &self.state.trials {
            let is_known = |worker: &String| gone.contains(worker);
            if trial.status == Status::Running
                && !is_known(&trial.worker)
                && !self.storage.is_alive(&trial.worker)?
            {
                gone.push(trial.worker.clone());
            }
        }
        Ok(gone)
    }
}
