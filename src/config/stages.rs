//! The stages of a run in its configuration: whether algorithm and environment have what they set.

use anyhow::Result;
use toml::Table;

use super::{Config, UsageError};
use crate::algorithms::Entry;
use crate::algorithms::curriculum::{Stage, Stages};
use crate::envs;
use crate::names::nearest;

/// The key of the list in a file.
pub const KEY: &str = "stages";

/// Checks what each stage sets of the algorithm.
///
/// # Errors
/// A [`UsageError`]: a key that is no traced setting of the algorithm, or a value that it cannot have.
pub fn check(config: &Config) -> Result<()> {
    let Config { algorithm, settings, .. } = config;
    for (stage, number) in config.run.stages.all().iter().zip(1..) {
        check_settings(algorithm, settings, stage).map_err(|problem| about(number, &problem))?;
    }
    Ok(())
}

fn check_settings(algorithm: &Entry, settings: &Table, stage: &Stage) -> Result<(), String> {
    for (key, value) in &stage.settings {
        if !algorithm.traced.contains(&key.as_str()) {
            return Err(unknown(algorithm, key));
        }
        let alone = Table::from_iter([(key.clone(), value.clone())]);
        (algorithm.complete)(&alone).map_err(|error| {
            let message = match error.downcast::<toml::de::Error>() {
                Ok(error) => error.message().to_owned(),
                Err(error) => error.to_string(),
            };
            format!("{key} = {value}: {message}")
        })?;
    }
    let whole: Table = settings.clone().into_iter().chain(stage.settings.clone()).collect();
    (algorithm.check)(&whole).map_err(|error| format!("{error:#}"))
}

/// That a stage cannot set something.
fn unknown(algorithm: &Entry, key: &str) -> String {
    let traced = algorithm.traced;
    if algorithm.settings().iter().any(|name| name == key) {
        return format!(
            "{key} is no number that a stage can set, for the program is compiled with it; there are {}",
            traced.join(", ")
        );
    }
    let known = traced.iter().copied().chain(["env", "until"]);
    match nearest(key, known) {
        Some(name) => format!("there is no {key} to set; did you mean {name}?"),
        None if traced.is_empty() => format!("there is no {key} to set; a stage takes env and until"),
        None => format!("there is no {key} to set; a stage takes env, until, {}", traced.join(", ")),
    }
}

/// The environment with what the stages set of it as its phases.
///
/// # Errors
/// A [`UsageError`]: there is no such parameter, or its value is none.
pub fn choose(stages: &Stages, env: envs::Entry) -> Result<envs::Entry> {
    if stages.is_empty() {
        return Ok(env);
    }
    let phases: Vec<Vec<String>> = stages.all().iter().map(Stage::env_options).collect();
    env.with_phases(&phases).map_err(|(number, problem)| about(number, &problem))
}

fn about(number: usize, problem: &str) -> anyhow::Error {
    UsageError(format!("stage {number}: {problem}")).into()
}

/// The list as the end of a file.
///
/// # Errors
/// A number that cannot be stored.
pub fn to_toml(stages: Stages) -> Result<String> {
    if stages.is_empty() {
        return Ok(String::new());
    }
    let tables: Vec<Table> = stages.into();
    let list = Table::from_iter([(KEY.to_owned(), tables.into())]);
    Ok(format!("\n# Stages\n{}", toml::to_string(&list)?))
}
