//! How documents that say what to train speak of an algorithm: what they call its settings.

use anyhow::Result;
use toml::Table;

use crate::envs::EnvSpec;

/// The words of documents for one algorithm. Each setting can be called by its own name besides.
#[derive(Clone, Copy)]
pub struct Dialect {
    /// Other names of settings, each with the setting's own.
    pub names: &'static [(&'static str, &'static str)],
    /// Parameters that are no single setting.
    pub others: &'static [&'static str],
    /// The settings that the others come to in an environment, those that are not said included: they have defaults of their own.
    ///
    /// # Errors
    /// One line that begins with the name of the parameter.
    pub settings: fn(others: &Table, env: &EnvSpec) -> Result<Table>,
}

impl Dialect {
    /// The names of the settings, and nothing else.
    pub const PLAIN: Dialect = Dialect { names: &[], others: &[], settings: |_, _| Ok(Table::new()) };

    /// The setting that a document calls so.
    pub fn setting<'a>(&self, name: &'a str) -> &'a str {
        self.names.iter().find(|(known, _)| *known == name).map_or(name, |(_, setting)| setting)
    }
}
