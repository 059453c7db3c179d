//! Notes that the plugins of the processes leave for each other: rank 0 keeps them, the others ask it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::Word;
use super::{SILENCE, Shared};
use crate::runtime::Store;

/// A note if there is one, or why rank 0 does not take it.
type Outcome = Result<Option<Vec<u8>>, String>;

/// What is kept at rank 0, and what this process has asked it.
#[derive(Default)]
pub(super) struct Notes {
    kept: Mutex<HashMap<String, Vec<u8>>>,
    asked: Mutex<HashMap<u64, Sender<Outcome>>>,
    next: AtomicU64,
}

impl Notes {
    /// At rank 0: the note of that name, or takes one, of which a name has only one for ever.
    pub fn answer(&self, name: &str, left: Option<Vec<u8>>) -> Outcome {
        let mut kept = locked(&self.kept);
        let Some(value) = left else { return Ok(kept.get(name).cloned()) };
        match kept.get(name) {
            Some(known) if *known != value => Err("there is another note of that name".into()),
            _ => {
                kept.insert(name.to_owned(), value);
                Ok(None)
            }
        }
    }

    /// Elsewhere: what rank 0 has answered to question `number`.
    pub fn arrived(&self, number: u64, outcome: Outcome) {
        if let Some(sender) = locked(&self.asked).remove(&number) {
            let _ = sender.send(outcome); // nobody may wait for it any more
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn note(&self, name: &[u8], left: Option<&[u8]>) -> Outcome {
        let name: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.world.rank() == 0 {
            return self.notes.answer(&name, left.map(<[u8]>::to_vec));
        }
        let number = self.notes.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        locked(&self.notes.asked).insert(number, sender);
        let word = Word::Note { number, name, leaves: left.is_some() };
        let said = self.lines[0].0.say_and_give(&word, left.map(Cow::from).into_iter());
        said.map_err(|error| format!("rank 0 does not listen: {error}"))?;
        receiver.recv_timeout(SILENCE).unwrap_or_else(|_| Err("rank 0 does not answer".into()))
    }
}

impl Store for Shared {
    fn put(&self, name: &[u8], value: &[u8]) -> Result<(), String> {
        self.note(name, Some(value)).map(drop)
    }

    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, String> {
        self.note(name, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_note_for_ever() {
        let notes = Notes::default();
        assert_eq!(notes.answer("a", None), Ok(None));
        assert_eq!(notes.answer("a", Some(vec![0, 1])), Ok(None));
        assert_eq!(notes.answer("a", Some(vec![0, 1])), Ok(None));
        assert_eq!(notes.answer("a", None), Ok(Some(vec![0, 1])));
        assert!(notes.answer("a", Some(vec![2])).is_err());
        assert_eq!(notes.answer("a", None), Ok(Some(vec![0, 1])));
    }
}
