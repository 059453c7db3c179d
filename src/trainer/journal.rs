//! Files of a run beside its directory, under the names that its front gives them: a table with a line for each update, one with a line
//! for each episode, scalars for TensorBoard, a summary, the model.
//!
//! The lengths of the tables stand in the checkpoint, so that a run that goes on has each update once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::files::write_atomically;
use super::log_file::LogFile;
use super::logs::tensorboard;
use super::metrics::Row;
use super::params::{Metadata, save_params};
use crate::algorithms::NamedArrays;
use crate::algorithms::metrics::EPISODE_RETURN;
use crate::algorithms::recording::Ended;
use crate::envs::front::{self, Update};

/// The keys of the lengths.
const UPDATES: &str = "journal/updates";
const EPISODES: &str = "journal/episodes";
const EVENTS: &str = "journal/events";

/// The files of a run, open for appending.
pub struct Journal {
    plan: front::Journal,
    tables: Option<Tables>,
    /// When the run began, as text.
    began: String,
    best_return: Option<f64>,
}

struct Tables {
    directory: PathBuf,
    updates: Table,
    episodes: Table,
    events: LogFile,
}

struct Table {
    name: String,
    file: LogFile,
}

impl Journal {
    /// Opens the files, cut back to `offsets` (bytes by key); without these it is a new run, and older files are moved away. `began` and
    /// `best_return` are when the run began and its best mean return so far.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(
        plan: front::Journal,
        offsets: &BTreeMap<String, u64>,
        began: &str,
        best_return: Option<f64>,
    ) -> Result<Journal> {
        let tables =
            plan.logs.clone().map(|directory| Tables::open(&plan, directory, offsets)).transpose()?;
        Ok(Journal { plan, tables, began: began.to_owned(), best_return })
    }

    /// Takes in some updates of a run of `num_updates`: the row of each, and the episodes that ended in it.
    ///
    /// # Errors
    /// One line that names the file; the lines are kept for the next time.
    pub fn take(&mut self, updates: &[(Row, Vec<Ended>)], num_updates: u64) -> Result<()> {
        let returns = updates.iter().filter_map(|(row, _)| row.get(EPISODE_RETURN)).map(f64::from);
        self.best_return = returns.chain(self.best_return).max_by(f64::total_cmp);
        let Some(tables) = &mut self.tables else { return Ok(()) };
        let (mut lines, mut episode_lines, mut events) = (String::new(), String::new(), Vec::new());
        for (row, ended) in updates {
            let episodes = numbered(row.episodes, ended);
            let update = Update {
                number: row.update,
                timesteps: row.timesteps,
                time: row.time,
                value: &|name| row.get(name).map(f64::from),
                episodes: &episodes,
                progress: row.update as f64 / num_updates as f64,
            };
            lines += &(self.plan.line)(&update);
            lines.push('\n');
            for episode in &episodes {
                episode_lines += &(self.plan.episode_line)(episode, &update);
                episode_lines.push('\n');
            }
            events.extend(tensorboard::scalars(row.time, row.timesteps, (self.plan.scalars)(&update)));
        }
        let Tables { updates, episodes, events: event_file, .. } = tables;
        let written = [
            updates.file.append(lines.as_bytes()),
            episodes.file.append(episode_lines.as_bytes()),
            event_file.append(&events),
        ];
        written.into_iter().collect()
    }

    /// Waits until everything is on the disk; gives the lengths.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sync(&mut self) -> Result<BTreeMap<String, u64>> {
        let Some(Tables { updates, episodes, events, .. }) = &mut self.tables else {
            return Ok(BTreeMap::new());
        };
        let files = [(UPDATES, &mut updates.file), (EPISODES, &mut episodes.file), (EVENTS, events)];
        let length = |(key, file): (&str, &mut LogFile)| {
            file.sync()?;
            Ok((key.to_owned(), file.length()))
        };
        files.into_iter().map(length).collect()
    }

    /// Saves the parameters as the model.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn save_model(&self, params: &NamedArrays, mut metadata: Metadata, timesteps: u64) -> Result<()> {
        let front::Journal { model, metadata: own, steps_key, .. } = &self.plan;
        make_directory_of(model)?;
        metadata.extend(own.iter().cloned());
        metadata.insert((*steps_key).to_owned(), timesteps.to_string());
        save_params(model, params, &metadata)
    }

    /// Writes the summary of a run that has ended.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sum_up(&mut self, end: &End) -> Result<()> {
        self.sync()?;
        let Some(Tables { directory, updates, episodes, .. }) = &self.tables else { return Ok(()) };
        let summary = (self.plan.summary)(&front::Summary {
            journal: &self.plan,
            began: &self.began,
            seconds: end.seconds,
            episodes: end.episodes,
            updates: end.updates,
            best_return: self.best_return,
            is_saved: end.is_saved,
            updates_table: &updates.name,
            episodes_table: &episodes.name,
            settings: end.settings,
        });
        let path = directory.join(format!("{}_summary.json", self.plan.name));
        write_atomically(&path, &serde_json::to_vec_pretty(&summary)?)
    }
}

/// Episodes with their numbers, of which the last is `count`.
fn numbered<'a>(count: u64, ended: &'a [Ended]) -> Vec<front::Episode<'a>> {
    let before = count.saturating_sub(ended.len() as u64);
    let episode = |(number, ended): (u64, &'a Ended)| front::Episode {
        number,
        episode_return: ended.episode_return,
        length: ended.length,
        metrics: &ended.metrics,
    };
    (before + 1..).zip(ended).map(episode).collect()
}

/// How a run ended.
pub struct End<'a> {
    pub seconds: f64,
    pub episodes: u64,
    pub updates: u64,
    /// Whether the model was saved.
    pub is_saved: bool,
    pub settings: &'a Map<String, Value>,
}

impl Tables {
    fn open(plan: &front::Journal, directory: PathBuf, offsets: &BTreeMap<String, u64>) -> Result<Tables> {
        let events = plan.events.join(&plan.name);
        for directory in [&directory, &events] {
            let made = fs::create_dir_all(directory);
            made.with_context(|| format!("cannot make the directory {}", directory.display()))?;
        }
        if !offsets.contains_key(UPDATES) {
            move_away(&directory, &plan.subject)?;
        }
        let offset = |key: &str| offsets.get(key).copied().unwrap_or(0);
        let table = |kind: &str, key: &str, columns: &str| -> Result<Table> {
            let name = format!("{}_{kind}.csv", plan.name);
            let mut file = LogFile::open_lines(&directory.join(&name), offset(key))?;
            file.begin_with(format!("{columns}\n").as_bytes())?;
            Ok(Table { name, file })
        };
        let updates = table("updates", UPDATES, plan.columns)?;
        let episodes = table("episodes", EPISODES, plan.episode_columns)?;
        let mut events = LogFile::open(&events.join(tensorboard::file_name(&plan.name)), offset(EVENTS))?;
        events.begin_with(&tensorboard::header())?;
        Ok(Tables { directory, updates, episodes, events })
    }
}

/// Moves older files about a subject, such as `proxy_20260105_101500_updates.csv`, to `previous/`.
fn move_away(directory: &Path, subject: &str) -> Result<()> {
    let cannot = || format!("cannot move older files of {subject} in {}", directory.display());
    let mut older = Vec::new();
    for entry in fs::read_dir(directory).with_context(cannot)? {
        let name = entry.with_context(cannot)?.file_name().to_string_lossy().into_owned();
        if is_about(&name, subject) {
            older.push(name);
        }
    }
    let previous = directory.join("previous");
    for name in older {
        fs::create_dir_all(&previous).with_context(cannot)?;
        fs::rename(directory.join(&name), previous.join(&name)).with_context(cannot)?;
    }
    Ok(())
}

/// Whether a file is named after a subject and a time. `proxy_mortal_...` is not about `proxy`.
fn is_about(name: &str, subject: &str) -> bool {
    let time = name.strip_prefix(subject).and_then(|rest| rest.strip_prefix('_'));
    time.is_some_and(|time| time.starts_with(|c: char| c.is_ascii_digit()))
}

fn make_directory_of(path: &Path) -> Result<()> {
    let directory = super::files::directory_of(path);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make the directory {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_files_of_the_same_subject_are_moved() {
        let dir = tempfile::tempdir().unwrap();
        let names =
            ["proxy_20260105_101500_updates.csv", "proxy_mortal_20260105_101500_updates.csv", "proxy.txt"];
        names.iter().for_each(|name| fs::write(dir.path().join(name), name).unwrap());
        move_away(dir.path(), "proxy").unwrap();
        let is_there = |path: &str| dir.path().join(path).exists();
        assert!(is_there(&format!("previous/{}", names[0])) && !is_there(names[0]));
        assert!(is_there(names[1]) && is_there(names[2]));
    }
}
