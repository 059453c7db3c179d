//! A table of a sweep's file, from which keys are taken one by one: what is left in the end is a mistake.

use anyhow::{Result, anyhow, bail, ensure};
use toml::{Table, Value};

use crate::names::nearest;

/// A table, and which keys it may have.
pub struct Section {
    /// As in the file: `sweep.lr`.
    path: String,
    values: Table,
    known: Vec<&'static str>,
}

impl Section {
    pub fn new(path: impl Into<String>, values: Table) -> Section {
        Section { path: path.into(), values, known: Vec::new() }
    }

    /// The value of a key.
    pub fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    pub fn text(&mut self, key: &'static str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.about(key, format!("is {other}; it must be a text in quotes"))),
        }
    }

    /// A finite number.
    pub fn number(&mut self, key: &'static str) -> Result<Option<f64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
        match number.filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => Err(self.about(key, format!("is {value}; it must be a number"))),
        }
    }

    /// A whole number in a range.
    pub fn whole(&mut self, key: &'static str, least: u64, most: u64) -> Result<Option<u64>> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        let is_whole = number.fract() == 0.0 && number >= least as f64 && number <= most as f64;
        ensure!(
            is_whole,
            self.about(key, format!("is {number}; it must be a whole number from {least} to {most}"))
        );
        Ok(Some(number as u64))
    }

    /// One of these words, however it is spelt in capitals; gives its place among them.
    pub fn word(&mut self, key: &'static str, known: &[&str]) -> Result<Option<usize>> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        let lower = text.to_lowercase().replace('-', "_");
        match known.iter().position(|word| *word == lower) {
            Some(place) => Ok(Some(place)),
            None => Err(self.about(key, format!("is {text}; it must be one of {}", known.join(", ")))),
        }
    }

    /// The tables that are left.
    pub fn tables(&mut self) -> Vec<(String, Table)> {
        let (tables, values) =
            std::mem::take(&mut self.values).into_iter().partition(|(_, value)| value.is_table());
        self.values = values;
        let table = |(key, value)| match value {
            Value::Table(table) => Some((key, table)),
            _ => None,
        };
        Table::into_iter(tables).filter_map(table).collect()
    }

    /// Says about a key what is wrong.
    pub fn about(&self, key: &str, problem: impl std::fmt::Display) -> anyhow::Error {
        anyhow!("{}.{key} {problem}", self.path)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// A key that is none, with the nearest known one.
    pub fn end(self) -> Result<()> {
        let Some(key) = self.values.keys().next() else { return Ok(()) };
        let hint = match nearest(key, self.known.iter().copied()) {
            Some(name) => format!("did you mean {name}?"),
            None => format!("there are {}", self.known.join(", ")),
        };
        bail!("there is no {}.{key}; {hint}", self.path)
    }
}
