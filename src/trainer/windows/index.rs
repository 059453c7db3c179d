//! The index of a run's replays, and the tags that they earn.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use serde::ser::{SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envs::front::Milestone;
use crate::files;
use crate::trainer::files::write_atomically;
use crate::trainer::replay::Episode;
use crate::trainer::status;

/// The file in a run directory.
pub const INDEX: &str = "replay_index.json";
/// The tag of each replay, and that of one whose return is the highest so far.
const EVERY: &str = "every_window";
const BEST: &str = "best_so_far";

/// What the index says of a replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Replay {
    pub run_id: String,
    pub window_id: u64,
    pub replay_id: String,
    pub replay_path: String,
    pub checkpoint_path: String,
    pub tags: Vec<String>,
    pub trainer_backend: String,
    pub return_total: f64,
    pub steps: u64,
    /// The outcomes of the environment's telemetry, each under its own key.
    #[serde(flatten, serialize_with = "as_fields")]
    pub outcome: Vec<(&'static str, f64)>,
    pub terminated: bool,
    pub truncated: bool,
    pub checkpoint_env_steps_total: u64,
    pub created_at: String,
}

fn as_fields<S: Serializer>(fields: &[(&'static str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    for (key, value) in fields {
        map.serialize_entry(key, value)?;
    }
    map.end()
}

/// The replays of a run, in order.
#[derive(Debug)]
pub struct Index {
    run_id: String,
    /// As they stand in the file.
    entries: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
struct File {
    schema_version: u64,
    run_id: String,
    updated_at: String,
    entries: Vec<Value>,
}

impl Index {
    /// That of a run, without what belongs to windows from `number` on.
    ///
    /// # Errors
    /// One line: the file cannot be understood.
    pub fn open(run: &Path, run_id: &str, number: u64) -> Result<Index> {
        let path = run.join(INDEX);
        let mut index = Index { run_id: run_id.to_owned(), entries: Vec::new() };
        if !path.exists() {
            return Ok(index);
        }
        let text = files::read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File =
            serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))?;
        let all = file.entries.len();
        index.entries =
            file.entries.into_iter().filter(|entry| window(entry).is_some_and(|w| w < number)).collect();
        if index.entries.len() < all {
            index.write(run)?;
        }
        Ok(index)
    }

    /// The window of the newest replay.
    pub fn newest(&self) -> Option<u64> {
        window(self.entries.last()?)
    }

    /// The highest return so far.
    fn best(&self) -> Option<f64> {
        self.entries.iter().filter_map(|entry| entry["return_total"].as_f64()).reduce(f64::max)
    }

    /// Adds a replay and writes the file.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn add(&mut self, run: &Path, replay: Replay) -> Result<()> {
        self.entries.push(serde_json::to_value(replay)?);
        self.write(run)
    }

    fn write(&self, run: &Path) -> Result<()> {
        let file = File {
            schema_version: 1,
            run_id: self.run_id.clone(),
            updated_at: status::now(),
            entries: self.entries.clone(),
        };
        write_atomically(&run.join(INDEX), &serde_json::to_vec_pretty(&file)?)
    }
}

fn window(entry: &Value) -> Option<u64> {
    entry["window_id"].as_u64()
}

/// The tags of a replay that is to follow those of an index.
pub fn tags(
    index: &Index,
    episode: &Episode,
    outcome: &[(&'static str, f64)],
    milestones: &[Milestone],
) -> Vec<String> {
    let mut tags = vec![EVERY.to_owned()];
    if index.best().is_none_or(|best| episode.episode_return > best) {
        tags.push(BEST.to_owned());
    }
    for Milestone { name, outcome: key, thresholds } in milestones {
        let value = match key {
            None => Some(episode.episode_return),
            Some(key) => outcome.iter().find(|(other, _)| other == key).map(|(_, value)| *value),
        };
        let reached = thresholds.iter().filter(|&&threshold| value.is_some_and(|value| value >= threshold));
        tags.extend(reached.map(|threshold| format!("milestone:{name}:{}", short(*threshold))));
    }
    tags
}

/// A number with at most six decimals: `100`, `0.5`.
fn short(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The aliases of a replay at Weights & Biases, where names have letters, digits and `_ . -`.
pub fn aliases(number: u64, tags: &[String]) -> Vec<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let plain = |tag: &String| {
        let mut name = String::new();
        for c in tag.chars() {
            match is_plain(c) {
                true => name.push(c),
                false if name.ends_with('\0') => {}
                false => name.push('\0'),
            }
        }
        name.replace('\0', "-")
    };
    let all = ["latest".to_owned(), format!("window-{number}")].into_iter().chain(tags.iter().map(plain));
    let mut seen = BTreeSet::new();
    all.filter(|alias| seen.insert(alias.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn episode(episode_return: f64) -> Episode {
        Episode { steps: 1, episode_return, terminated: true, truncated: false, last: vec![] }
    }

    #[test]
    fn tags_are_in_order_and_only_a_higher_return_is_the_best() {
        let dir = tempfile::tempdir().unwrap();
        let milestones = [
            Milestone { name: "profit", outcome: Some("profit"), thresholds: vec![100.0, 500.0] },
            Milestone { name: "return", outcome: None, thresholds: vec![0.5, 1.0] },
        ];
        let mut index = Index::open(dir.path(), "run", 0).unwrap();
        let mut add = |number: u64, episode_return: f64, profit: f64| {
            let outcome = [("profit", profit)];
            let tags = tags(&index, &episode(episode_return), &outcome, &milestones);
            let replay = Replay {
                run_id: "run".into(),
                window_id: number,
                replay_id: format!("replay-{number}"),
                replay_path: String::new(),
                checkpoint_path: String::new(),
                tags: tags.clone(),
                trainer_backend: String::new(),
                return_total: episode_return,
                steps: 1,
                outcome: outcome.to_vec(),
                terminated: true,
                truncated: false,
                checkpoint_env_steps_total: 1,
                created_at: status::now(),
            };
            index.add(dir.path(), replay).unwrap();
            tags
        };
        assert_eq!(add(0, 0.5, 99.9), [EVERY, BEST, "milestone:return:0.5"]);
        assert_eq!(
            add(1, 0.5, 500.0),
            [EVERY, "milestone:profit:100", "milestone:profit:500", "milestone:return:0.5"]
        );
        assert_eq!(add(2, 0.75, 0.0), [EVERY, BEST, "milestone:return:0.5"]);
        let kept = Index::open(dir.path(), "run", 2).unwrap();
        assert_eq!((kept.entries.len(), kept.newest(), kept.best()), (2, Some(1), Some(0.5)));
        assert_eq!(kept.entries[1]["profit"], 500.0);
        assert_eq!(Index::open(dir.path(), "run", 9).unwrap().entries.len(), 2, "the file was cut, too");
    }

    #[test]
    fn aliases_are_plain_and_each_there_once() {
        let tags = ["every_window", "milestone:profit:0.5", "a::b", "a:b"].map(String::from);
        assert_eq!(aliases(3, &tags), ["latest", "window-3", "every_window", "milestone-profit-0.5", "a-b"]);
        assert_eq!(["1", "0.5", "100"], [1.0, 0.5, 100.0].map(short));
    }
}
