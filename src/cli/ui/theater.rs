//! The replays of a run, by the names of their files, and those that were shown last.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::answer::Failure;
use super::shelf::stamp_of;
use crate::files;
use crate::trainer::replay::{EXTENSION, Frame, read_within};
use crate::trainer::windows::{INDEX, REPLAYS};

/// Replays that are kept in memory, and the bytes that one may have.
const MOST_KEPT: usize = 4;
const REPLAY_LIMIT: u64 = 128 << 20;

/// What was read last.
#[derive(Default)]
pub struct Theater {
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
    frames: Arc<Vec<Frame>>,
}

impl Theater {
    /// The steps of a replay of a run.
    ///
    /// # Errors
    /// There is none of that name, or it cannot be read.
    pub fn frames(&self, run: &Path, replay: &str) -> Result<Arc<Vec<Frame>>, Failure> {
        let files = files_of(run);
        let found = files.into_iter().find(|(name, _)| name == replay);
        let (_, path) = found.ok_or_else(|| Failure::missing("replay of that name"))?;
        let stamp = stamp_of(&path);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = kept.iter().find(|known| known.path == path && known.stamp == stamp) {
            return Ok(known.frames.clone());
        }
        let frames = read_within(&path, REPLAY_LIMIT).map_err(|error| Failure::damaged(&error))?;
        let frames = Arc::new(frames);
        kept.retain(|known| known.path != path);
        kept.insert(0, Kept { path, stamp, frames: frames.clone() });
        kept.truncate(MOST_KEPT);
        Ok(frames)
    }
}

/// The files of replays with their names, by name. A link may lead anywhere, and is none.
pub fn files_of(run: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(run.join(REPLAYS)).into_iter().flatten().flatten();
    let named = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let stem = name.strip_suffix(EXTENSION).or_else(|| name.strip_suffix(".jsonl"))?.to_owned();
        entry.file_type().ok()?.is_file().then(|| (stem, entry.path()))
    };
    let mut found: Vec<_> = entries.filter_map(named).collect();
    found.sort();
    found
}

/// What the index of a run says of its replays, in order; nothing if there is none.
///
/// # Errors
/// The index cannot be understood.
pub fn index(run: &Path) -> Result<Vec<Value>, Failure> {
    let path = run.join(INDEX);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let wrong = || Failure::damaged(&anyhow::anyhow!("cannot understand {}", path.display()));
    let text = files::read_text(&path).map_err(|_| wrong())?;
    let mut index: Value = serde_json::from_str(&text).map_err(|_| wrong())?;
    match index["entries"].take() {
        Value::Array(entries) => Ok(entries),
        _ => Err(wrong()),
    }
}

/// The replays that there are, the newest first, with what the index says of them.
pub fn list(run: &Path) -> Vec<Value> {
    let entries = index(run).unwrap_or_default();
    let described = |(name, path): (String, PathBuf)| {
        let known = entries.iter().find(|entry| entry["replay_id"] == name.as_str()).cloned();
        let mut described = known.filter(Value::is_object).unwrap_or_else(|| json!({}));
        described["id"] = name.into();
        described["bytes"] = json!(stamp_of(&path).map(|(_, length)| length));
        described
    };
    files_of(run).into_iter().rev().map(described).collect()
}
