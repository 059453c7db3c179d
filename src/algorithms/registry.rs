//! Algorithms by name: a new one is a module, a [`Recipe`](super::Recipe) and one entry.
//!
//! A program is an [`App`](crate::App) with a [`Registry`] of its own: the entries of [`builtin`], those of the crate that makes
//! the program, or both.

use toml::Table;

use super::{Entry, dqn, ppo, uniform};
use crate::names::nearest;

/// The algorithms that come with lockstep.
pub const fn builtin() -> [Entry; 3] {
    [Entry::of::<ppo::Recipe>(), Entry::of::<dqn::Recipe>(), Entry::of::<uniform::Recipe>()]
}

/// The algorithms of a program. The first one is the default.
#[derive(Clone, Default)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Adds an algorithm.
    ///
    /// # Panics
    /// There is one of that name already; it says of a setting that it is fixed, traced or unscaled, but has none of that name; a
    /// setting and its flag have different names.
    #[track_caller]
    pub fn add(&mut self, entry: Entry) {
        let name = entry.name;
        assert!(self.entries.iter().all(|other| other.name != name), "two algorithms are called `{name}`");
        let known = entry.settings();
        for key in [entry.fixed, entry.traced, entry.unscaled].concat() {
            assert!(
                known.iter().any(|setting| setting == key),
                "the algorithm `{name}` has no setting {key}"
            );
        }
        let defaults = (entry.complete)(&Table::new()).unwrap_or_else(|error| panic!("{error}"));
        for key in defaults.keys() {
            assert!(
                known.contains(key),
                "the setting {key} of the algorithm `{name}` has no flag of its name"
            );
        }
        self.entries.push(entry);
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that name, or the known ones.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<Entry, UnknownAlgorithm> {
        self.entries.iter().find(|entry| entry.name == name).copied().ok_or_else(|| UnknownAlgorithm {
            name: name.to_owned(),
            known: self.entries.iter().map(|entry| entry.name).collect(),
        })
    }
}

impl FromIterator<Entry> for Registry {
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Registry {
        let mut registry = Registry::default();
        entries.into_iter().for_each(|entry| registry.add(entry));
        registry
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown algorithm `{name}`; {}", hint(name, known))]
pub struct UnknownAlgorithm {
    pub name: String,
    pub known: Vec<&'static str>,
}

fn hint(name: &str, known: &[&'static str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_keeps_what_its_entry_says() {
        for entry in Registry::from_iter(builtin()).entries() {
            assert!(entry.fixed.iter().all(|key| !entry.traced.contains(key)), "{}", entry.name);
            (entry.check)(&(entry.complete)(&Table::new()).unwrap()).unwrap();
        }
    }

    #[test]
    #[should_panic(expected = "two algorithms are called `ppo`")]
    fn names_are_unique() {
        let _ = Registry::from_iter([builtin()[0], builtin()[0]]);
    }

    #[test]
    #[should_panic(expected = "the algorithm `ppo` has no setting depth")]
    fn fixed_settings_are_settings() {
        Registry::default().add(Entry { fixed: &["depth"], ..builtin()[0] });
    }

    #[test]
    fn a_misspelt_name_gives_the_nearest() {
        let message = Registry::from_iter(builtin()).find("pppo").err().unwrap().to_string();
        assert_eq!(message, "unknown algorithm `pppo`; did you mean `ppo`?");
        let message = Registry::from_iter(builtin()).find("sac").err().unwrap().to_string();
        assert_eq!(message, "unknown algorithm `sac`; there are ppo, dqn, uniform");
    }
}
