//! The file of a sweep: settings that all trials have in common, as `train --config` takes them, and a table `[sweep]`; or a file of
//! PufferLib that says both in its own words.

use std::path::Path;

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::text::parse;
use super::{Catalog, UsageError, puffer};
use crate::files;

/// What such a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct SweepFile {
    /// Settings of `train`.
    pub settings: Table,
    /// The table `[sweep]`.
    pub sweep: Table,
}

/// Reads the file of a sweep. Gives lines to tell the user, too.
///
/// # Errors
/// One line: it cannot be read; a [`UsageError`] if it is no TOML (no INI file, by its name), or has no table `[sweep]`.
pub fn read_sweep_file(catalog: &Catalog, path: &Path) -> Result<(SweepFile, Vec<String>)> {
    if puffer::is_file(path) {
        let (settings, sweep, notes) = puffer::read_sweep(catalog, path)?;
        return Ok((SweepFile { settings, sweep }, notes));
    }
    let shown = path.display();
    let text = files::read_text(path).with_context(|| format!("cannot read {shown}"))?;
    let mut settings = parse(&text).map_err(|error| UsageError(format!("{shown}, {error}")))?;
    match settings.remove("sweep") {
        Some(Value::Table(sweep)) => Ok((SweepFile { settings, sweep }, Vec::new())),
        Some(other) => {
            Err(UsageError(format!("{shown}: sweep is {other}; it must be a table [sweep]")).into())
        }
        None => {
            let what = "it has no table [sweep] that says what varies";
            Err(UsageError(format!("{shown} is no file of a sweep: {what}")).into())
        }
    }
}
