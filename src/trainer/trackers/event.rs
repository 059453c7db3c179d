//! What trackers are told.

use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::Value;

use crate::trainer::metrics::Row;

/// Names with values that are JSON already, or the bare words `NaN`, `Infinity` and `-Infinity`.
pub type Fields = [(String, String)];

/// Numbers at a moment of the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What orders the points: the update, or the tick at which a window ended.
    pub step: u64,
    /// Environment steps.
    pub timesteps: u64,
    /// Seconds of training since the run began.
    pub wall_seconds: f64,
    pub time: jiff::Timestamp,
    pub fields: Vec<(String, String)>,
}

impl Point {
    /// A row: the names of all logs, and the update.
    pub fn of_row(row: &Row) -> Self {
        let fields = row.scalars().map(|(name, value)| (name.into_owned(), number(value)));
        Self {
            step: row.update,
            timesteps: row.timesteps,
            wall_seconds: row.wall_seconds,
            time: row.time,
            fields: fields.chain([("update".to_owned(), row.update.to_string())]).collect(),
        }
    }

    /// A window as it stands in its log.
    pub fn of_window(row: &impl serde::Serialize, end: u64, wall_seconds: f64) -> Self {
        let fields = match serde_json::to_value(row) {
            Ok(Value::Object(row)) => {
                row.into_iter().map(|(name, value)| (name, value.to_string())).collect()
            }
            _ => Vec::new(),
        };
        Self { step: end, timesteps: end, wall_seconds, time: jiff::Timestamp::now(), fields }
    }

    /// The fields that are numbers.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.fields.iter().filter_map(|(name, value)| Some((name.as_str(), value.parse().ok()?)))
    }
}

/// A number as JSON, or a bare word that JSON lacks. What was a 32-bit number keeps its few digits.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else if f64::from(value as f32) == value {
        serde_json::to_string(&(value as f32)).expect("a finite number")
    } else {
        serde_json::to_string(&value).expect("a finite number")
    }
}

/// A line of the console, and when it was said.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    pub time: jiff::Timestamp,
    pub text: String,
}

/// Something that a person should know at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub title: String,
    pub text: String,
}

/// A file to keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    pub name: String,
    pub kind: &'static str,
    pub path: PathBuf,
    pub metadata: Value,
    pub aliases: Vec<String>,
}

/// A file as it is now, until it is sent: the run may remove or replace it meanwhile.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
}

impl Held {
    /// Holds `file` in a `folder` of its own: by a second name, or by a copy where the file system has one name only.
    pub fn new(file: &Path, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(file.file_name().unwrap_or_default());
        fs::hard_link(file, &path).or_else(|_| fs::copy(file, &path).map(drop))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // what is left goes with the folder when the run ends or begins again
        let _ = self.path.parent().map(fs::remove_dir);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks() {
        let words = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from(0.1f32), 1e-9, 3.0].map(number);
        assert_eq!(words, ["NaN", "Infinity", "-Infinity", "0.1", "1e-9", "3.0"]);
        let fields: Vec<_> = words.iter().map(|word| (word.clone(), word.clone())).collect();
        let point =
            Point { step: 0, timesteps: 0, wall_seconds: 0.0, time: jiff::Timestamp::UNIX_EPOCH, fields };
        let read: Vec<f64> = point.numbers().map(|(_, value)| value).collect();
        assert!(read[0].is_nan() && read[1..] == [f64::INFINITY, f64::NEG_INFINITY, 0.1, 1e-9, 3.0]);
    }
}
