//! Golden data of learners: documents of numbers that the arithmetic of an algorithm must give, and the comparison.
//!
//! A document is one JSON object, gzipped or not. Its numbers were computed in 64 bits, and weights lie in it as in PyTorch
//! ([`torch`]). What its parts mean is known to the algorithm that they are about, which tells its own documents by one of the parts.

pub mod torch;

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::envs::golden::Tally;
use crate::envs::{Open, Replay};
use crate::files;
use crate::lang::Backend;

/// What was compared: its name, and what differs.
pub type Compared = Vec<(String, Vec<String>)>;

/// The most text in a file, in bytes.
const TEXT_LIMIT: u64 = 1 << 26;

/// Reads a document and opens what `compare`s its numbers; nothing if the file holds something else than a document with the part
/// `own`.
///
/// # Errors
/// One line with the name of the file: a part is malformed, or what the device reports.
pub fn open(
    path: &Path,
    open: Open,
    own: &str,
    compare: fn(&Value, &Backend) -> Result<Compared>,
) -> Result<Option<Replay>> {
    // What cannot be read is told by whoever else is asked for the file.
    let Ok(text) = files::read_unpacked_text(path, TEXT_LIMIT) else { return Ok(None) };
    let document: Value = match serde_json::from_str(&text) {
        Ok(document @ Value::Object(_)) => document,
        _ => return Ok(None),
    };
    if document.get(own).is_none() {
        return Ok(None);
    }
    let backend = open()?;
    let name = path.display().to_string();
    Ok(Some(Box::new(move |_seeds, out| {
        let compared = compare(&document, &backend).with_context(|| name)?;
        let mut tally = Tally::new(out);
        for (what, differences) in &compared {
            tally.add(what, differences)?;
        }
        tally.finish()
    })))
}

/// A part of a document.
///
/// # Errors
/// One line: it is not there, or malformed.
pub fn part<T: DeserializeOwned>(document: &Value, name: &str) -> Result<T> {
    let value = document.get(name).with_context(|| format!("the golden data has no part {name}"))?;
    T::deserialize(value).map_err(|error| anyhow!("the part {name} of the golden data: {error}"))
}

/// All numbers of nested lists; flags are 0 and 1.
pub fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        Value::Bool(flag) => vec![f64::from(u8::from(*flag))],
        _ => vec![value.as_f64().unwrap_or(f64::NAN)],
    }
}

/// Collects what differs.
#[derive(Default)]
pub struct Differences(pub Vec<String>);

impl Differences {
    pub fn same(&mut self, what: &str, found: f64, expected: f64) {
        if found != expected {
            self.0.push(format!("{what}: expected {expected}, got {found}"));
        }
    }

    /// Compares up to `tolerance`, relative to numbers above 1.
    pub fn close(&mut self, what: &str, found: f64, expected: f64, tolerance: f64) {
        let agree = (found - expected).abs() <= tolerance * expected.abs().max(1.0); // not so for a NaN
        if !agree {
            self.0.push(format!("{what}: expected {expected}, got {found}"));
        }
    }

    pub fn all_close(&mut self, what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
        if found.len() != expected.len() {
            self.0.push(format!("{what}: expected {} numbers, got {}", expected.len(), found.len()));
        }
        for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
            self.close(&format!("{what}[{i}]"), *found, *expected, tolerance);
        }
    }
}
