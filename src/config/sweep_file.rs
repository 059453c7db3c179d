//! The file of a sweep: settings that all trials have in common, as `train --config` takes them, and a table `[sweep]`.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::UsageError;
use super::text::parse;
use crate::files;

/// What such a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepFile {
    /// Settings of `train`.
    pub settings: Table,
    /// The table `[sweep]`.
    pub sweep: Table,
}

/// Reads the file of a sweep.
///
/// # Errors
/// One line: it cannot be read; a [`UsageError`] if it is no TOML, or has no table `[sweep]`.
pub fn read_sweep_file(path: &Path) -> Result<SweepFile> {
    let shown = path.display();
    let text = files::read_text(path).with_context(|| format!("cannot read {shown}"))?;
    let mut settings = parse(&text).map_err(|error| UsageError(format!("{shown}, {error}")))?;
    match settings.remove("sweep") {
        Some(Value::Table(sweep)) => Ok(SweepFile { settings, sweep }),
        Some(other) => {
            Err(UsageError(format!("{shown}: sweep is {other}; it must be a table [sweep]")).into())
        }
        None => {
            let what = "it has no table [sweep] that says what varies";
            Err(UsageError(format!("{shown} is no file of a sweep: {what}")).into())
        }
    }
}
