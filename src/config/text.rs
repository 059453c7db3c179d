//! Settings as text.

use anyhow::{Result, anyhow};
use toml::Table;

use crate::names::nearest;

/// The lines of a file.
///
/// # Errors
/// The number of the line that is none, and why.
pub fn parse(text: &str) -> Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        anyhow!("line {line}: {}", error.message().replace('\n', ", "))
    })
}

/// Checks that each key is among the known ones.
///
/// # Errors
/// One line with the nearest known one.
pub fn check_keys(values: &Table, known: &[String]) -> Result<()> {
    let Some(key) = values.keys().find(|key| !known.contains(key)) else { return Ok(()) };
    let hint = match nearest(key, known.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name}?"),
        None => "`lockstep train --help` lists the settings".to_string(),
    };
    Err(anyhow!("there is no setting {key}; {hint}"))
}
