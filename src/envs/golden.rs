//! Golden data: files of what is known of an environment, and the report on what the compiled one does otherwise.
//!
//! A file is JSON lines or one JSON document, gzipped or not. Each environment knows what its records mean.

use std::borrow::Borrow;
use std::fmt::Debug;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use crate::files;

/// The most text in a file, in bytes.
const TEXT_LIMIT: u64 = 1 << 26;
/// Failures that are printed, and differences of each.
const PRINTED: usize = 10;

/// Reads the text of a file.
///
/// # Errors
/// One line with the name of the file.
pub fn read_text(path: &Path) -> Result<String> {
    let text = files::read_unpacked_text(path, TEXT_LIMIT);
    text.with_context(|| format!("cannot read {}", path.display()))
}

/// Reads a file of records, one a line.
///
/// # Errors
/// One line with the name of the file, and the line of it that is malformed.
pub fn read_lines<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<Vec<T>> {
    let records = lines(&read_text(path)?).map_err(|error| anyhow!("{}{error}", path.display()))?;
    if records.is_empty() { Err(anyhow!("there are no records in {}", path.display())) } else { Ok(records) }
}

/// The records of a text, one a line. Errors begin with `:LINE: `.
pub fn lines<T: for<'a> Deserialize<'a>>(text: &str) -> Result<Vec<T>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| serde_json::from_str(line).map_err(|error| format!(":{}: {error}", i + 1)))
        .collect()
}

/// What was found otherwise than expected.
#[derive(Default)]
pub struct Differences(pub Vec<String>);

impl Differences {
    pub fn compare<T: PartialEq + Debug>(&mut self, what: &str, found: T, expected: impl Borrow<T>) {
        let expected = expected.borrow();
        if found != *expected {
            self.0.push(format!("{what}: expected {expected:?}, got {found:?}"));
        }
    }

    /// Compares numbers to a millionth.
    pub fn close(&mut self, what: &str, found: f32, expected: f32) {
        if (found - expected).abs() > 1e-6 {
            self.0.push(format!("{what}: expected {expected}, got {found}"));
        }
    }
}

/// Counts, and tells of the first failures.
pub struct Tally<'a> {
    pub out: &'a mut dyn Write,
    passed: usize,
    failed: usize,
}

impl Tally<'_> {
    pub fn new(out: &mut dyn Write) -> Tally<'_> {
        Tally { out, passed: 0, failed: 0 }
    }

    /// Counts a record and what differs from it.
    ///
    /// # Errors
    /// Whatever writing reports.
    pub fn add(&mut self, what: &str, differences: &[String]) -> Result<()> {
        match differences {
            [] => self.passed += 1,
            _ => self.failed += 1,
        }
        if !differences.is_empty() && self.failed <= PRINTED {
            writeln!(self.out, "{what}")?;
            for difference in differences.iter().take(PRINTED) {
                writeln!(self.out, "  {difference}")?;
            }
        }
        Ok(())
    }

    /// Writes `N passed, M failed`, and gives the number of failures.
    ///
    /// # Errors
    /// Whatever writing reports.
    pub fn finish(self) -> Result<usize> {
        let Tally { out, passed, failed } = self;
        if failed > PRINTED {
            writeln!(out, "and {} more failures", failed - PRINTED)?;
        }
        writeln!(out, "{passed} passed, {failed} failed")?;
        Ok(failed)
    }
}
