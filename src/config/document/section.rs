//! A mapping of a document, from which keys are taken one by one: what is left in the end is a mistake.

use std::fmt::Display;

use anyhow::{Result, anyhow, bail, ensure};
use serde_json::{Map, Value};

use crate::names::nearest;

/// A mapping, and which keys it may have.
pub struct Section {
    /// From the top: `train.callbacks[0].params`; empty at the top.
    path: String,
    values: Map<String, Value>,
    known: Vec<String>,
}

impl Section {
    /// The whole document.
    ///
    /// # Errors
    /// It is no mapping.
    pub fn top(value: Value) -> Result<Section> {
        match value {
            Value::Object(values) => Ok(Section { path: String::new(), values, known: Vec::new() }),
            _ => bail!("Config must be a YAML mapping"),
        }
    }

    fn of(path: String, value: Option<Value>) -> Result<Section> {
        let values = match value {
            None => Map::new(),
            Some(Value::Object(values)) => values,
            Some(_) => bail!("{path} must be a mapping"),
        };
        Ok(Section { path, values, known: Vec::new() })
    }

    /// The path of a key.
    pub fn path(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key; null is as good as none.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.values.remove(key).filter(|value| !value.is_null())
    }

    /// The mapping of a key, an empty one if there is none.
    pub fn section(&mut self, key: &str) -> Result<Section> {
        let value = self.take(key);
        Section::of(self.path(key), value)
    }

    /// The mapping of a key, if there is one.
    pub fn optional(&mut self, key: &str) -> Result<Option<Section>> {
        let value = self.take(key);
        value.map(|value| Section::of(self.path(key), Some(value))).transpose()
    }

    /// The mapping of a key that must be there.
    pub fn required(&mut self, key: &str) -> Result<Section> {
        let path = self.path(key);
        self.optional(key)?.ok_or_else(|| anyhow!("{path} is required"))
    }

    /// The mappings in the list of a key.
    pub fn list(&mut self, key: &str) -> Result<Vec<Section>> {
        let path = self.path(key);
        match self.take(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => {
                let numbered = values.into_iter().enumerate();
                numbered.map(|(i, value)| Section::of(format!("{path}[{i}]"), Some(value))).collect()
            }
            Some(_) => bail!("{path} must be a list"),
        }
    }

    pub fn text(&mut self, key: &str) -> Result<Option<String>> {
        let path = self.path(key);
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => bail!("{path} is {other}; it must be a text"),
        }
    }

    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        let path = self.path(key);
        match self.take(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => bail!("{path} is {other}; it must be true or false"),
        }
    }

    /// A number, also one that is written as a text.
    pub fn number(&mut self, key: &str) -> Result<Option<f64>> {
        let path = self.path(key);
        self.take(key)
            .map(|value| number(&value).ok_or_else(|| anyhow!("{path} is {value}; it must be a number")))
            .transpose()
    }

    /// A whole number from `least` on.
    pub fn whole(&mut self, key: &str, least: u64) -> Result<Option<u64>> {
        let path = self.path(key);
        let Some(value) = self.take(key) else { return Ok(None) };
        let whole = number(&value).filter(|value| value.fract() == 0.0 && (0.0..9e15).contains(value));
        let whole = value.as_u64().or(whole.map(|value| value as u64));
        let most = i64::MAX as u64;
        match whole.filter(|whole| (least..=most).contains(whole)) {
            Some(whole) => Ok(Some(whole)),
            None => bail!("{path} is {value}; it must be a whole number from {least} on"),
        }
    }

    /// What is left, key by key; these are known.
    pub fn rest(self) -> impl Iterator<Item = (String, String, Value)> {
        let path = self.path.clone();
        let entries = self.values.into_iter().filter(|(_, value)| !value.is_null());
        entries.map(move |(key, value)| (format!("{path}.{key}"), key, value))
    }

    /// Says about a key what is wrong.
    pub fn about(&self, key: &str, problem: impl Display) -> anyhow::Error {
        anyhow!("{}: {problem}", self.path(key))
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// A key that is none, with its path and the nearest known one.
    pub fn end(self) -> Result<()> {
        let Some(key) = self.values.keys().next() else { return Ok(()) };
        Err(unknown(&self.path(key), key, &self.known))
    }
}

/// That a key is none.
pub fn unknown(path: &str, key: &str, known: &[String]) -> anyhow::Error {
    let hint = match nearest(key, known.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {name}?"),
        None => format!("there are {}", known.join(", ")),
    };
    anyhow!("{path} is no key of such a document; {hint}")
}

/// Requires that a value is one of these.
pub fn one_of(path: &str, value: &str, known: &[&str]) -> Result<()> {
    ensure!(known.contains(&value), "{path} is {value}; it must be one of {}", known.join(", "));
    Ok(())
}

fn number(value: &Value) -> Option<f64> {
    let read = value.as_str().and_then(|text| text.trim().parse().ok());
    value.as_f64().or(read).filter(|number| number.is_finite())
}
