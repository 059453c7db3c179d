//! The environments and algorithms of a program, and which settings belong to a pair of them.

use anyhow::{Result, anyhow};
use toml::{Table, Value};

use super::UsageError;
use super::text::{check_keys, parse};
use crate::{algorithms, envs};

/// What a program is made of. The first of each kind is the default.
#[derive(Clone, Default)]
pub struct Catalog {
    pub envs: envs::Registry,
    pub algorithms: algorithms::Registry,
}

impl Catalog {
    /// What comes with lockstep.
    pub fn builtin() -> Catalog {
        Catalog {
            envs: envs::builtin().into_iter().collect(),
            algorithms: algorithms::builtin().into_iter().collect(),
        }
    }

    /// The environment that is meant when none is named.
    pub fn default_env(&self) -> &'static str {
        self.envs.entries()[0].name
    }

    /// The environment of that name.
    ///
    /// # Errors
    /// A [`UsageError`] with the nearest known name.
    pub fn env(&self, name: &str) -> Result<envs::Entry> {
        self.envs.find(name).map_err(|error| UsageError(error.to_string()).into())
    }

    /// The algorithm of that name.
    ///
    /// # Errors
    /// A [`UsageError`] with the nearest known name.
    pub fn algorithm(&self, name: &str) -> Result<algorithms::Entry> {
        self.algorithms.find(name).map_err(|error| UsageError(error.to_string()).into())
    }

    /// The algorithm that learns an environment where none is named: the environment's if the program has it, else the first.
    pub fn algorithm_of(&self, env: &envs::Entry) -> algorithms::Entry {
        let own = env.algorithm.and_then(|name| self.algorithms.find(name).ok());
        own.unwrap_or_else(|| self.algorithms.entries()[0])
    }

    /// The settings of an algorithm in an environment, where nobody says other ones.
    ///
    /// # Errors
    /// What the environment's entry says is no setting, or of the wrong type.
    pub fn defaults(&self, env: &envs::Entry, algorithm: &algorithms::Entry) -> Result<Table> {
        let about = |error: anyhow::Error| {
            let error = error.to_string().trim().replace('\n', " ");
            anyhow!("the defaults of the environment {}: {error}", env.name)
        };
        let mut lines = parse(env.defaults).map_err(about)?;
        let mut named = Table::new();
        lines.retain(|name, value| match value {
            Value::Table(own) => {
                if name == algorithm.name {
                    named = std::mem::take(own);
                }
                false
            }
            _ => true,
        });
        let is_own = match env.algorithm {
            Some(name) => name == algorithm.name,
            None => *algorithm == self.algorithm_of(env),
        };
        if is_own {
            named.extend(lines);
        }
        check_keys(&named, &algorithm.settings()).map_err(about)?;
        (algorithm.complete)(&named).map_err(about)
    }
}
