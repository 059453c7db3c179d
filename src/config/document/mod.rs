//! Documents: YAML files that say what to train, with a vocabulary and a run directory of their own.
//!
//! A document is one more layer of settings: [`read`] turns its keys into the settings that every run has, and nothing behind it knows
//! that there was a document but for the run directory, which holds it word for word. What the document calls the parameters of an
//! agent, the algorithm's entry says ([`Dialect`](crate::algorithms::dialect::Dialect)); the parameters of a game are the
//! environment's. An unknown key is a mistake.

mod agent;
mod section;
#[cfg(test)]
mod tests;
mod train;

use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use toml::Table;

use super::{Catalog, UsageError};
use crate::envs::{self, AnyEnv};
use crate::files;
use crate::trainer::Document;

use section::Section;

/// What a document comes to.
pub struct Read {
    /// Settings of the run and all those of its algorithm.
    pub values: Table,
    pub document: Document,
    /// Lines to tell the user: what has no effect.
    pub notes: Vec<String>,
}

/// Whether a file of settings is a document: its name says so.
pub fn is_document(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads a document.
///
/// # Errors
/// One line: there is no such file; it is no YAML; a key is unknown, or its value makes no sense.
pub fn read(catalog: &Catalog, path: &Path) -> Result<Read> {
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let text = files::read_text(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => anyhow!("Config not found: {}", whole.display()),
        _ => anyhow!("cannot read {}: {error}", path.display()),
    })?;
    let wrong = |error: anyhow::Error| UsageError(format!("{}: {error:#}", path.display()));
    let Translated { mut values, seed, notes } =
        parse(&text).and_then(|document| translate(catalog, document)).map_err(wrong)?;
    values.insert("checkpoint_dir".into(), "runs".into());
    values.insert("run_name".into(), run_name(path).into());
    let facts = [
        ("seed", json!(seed)),
        ("python_version", Value::Null),
        ("torch_version", Value::Null),
        ("config_path", json!(whole.display().to_string())),
    ];
    let facts = facts.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(Read { values, document: Document { text, facts }, notes })
}

/// The name of a run that nobody has named: that of the file, and the time.
fn run_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.+=@".contains(c) { c } else { '_' };
    let stem: String = stem.chars().take(150).map(plain).collect();
    let stem = stem.trim_start_matches('.');
    format!("{stem}_{}", jiff::Timestamp::now().strftime("%Y-%m-%d_%H-%M-%S"))
}

/// YAML as a tree of values.
fn parse(text: &str) -> Result<Value> {
    let options = serde_saphyr::options! { with_snippet: false };
    let parsed: Result<Option<Value>, _> = serde_saphyr::from_str_with_options(text, options);
    let value = parsed.map_err(|error| {
        let lines = error.to_string();
        anyhow!("{}", lines.split_whitespace().collect::<Vec<_>>().join(" "))
    })?;
    Ok(value.unwrap_or(Value::Null))
}

/// The settings that a document comes to, before it has a name.
struct Translated {
    values: Table,
    /// As the document says it.
    seed: Option<u64>,
    notes: Vec<String>,
}

fn translate(catalog: &Catalog, document: Value) -> Result<Translated> {
    let mut top = Section::top(document)?;
    let seed = top.whole("seed", 0)?;
    let game = Game::read(catalog, top.required("game")?)?;
    let agent = agent::read(catalog, top.required("agent")?, &game)?;
    let train = top.optional("train")?.ok_or_else(|| anyhow!("train.opponent_sampler is required"))?;
    let mut notes = Vec::new();
    let mut values = train::read(train, &game, &agent, seed, &mut notes)?;
    evaluation(top.section("eval")?)?;
    top.end()?;

    let mut run = |key: &str, value: toml::Value| values.insert(key.to_owned(), value);
    run("env", game.entry.name.into());
    run("algo", agent.algorithm.name.into());
    run("seed", toml::Value::try_from(agent.seed.or(seed).map_or_else(any_seed, Ok)?)?);
    run("wandb", "disabled".into());
    run("auto_scale", false.into());
    if !game.params.is_empty() {
        run("env_set", toml::Value::try_from(&game.params)?);
    }
    if let Some(device) = agent.device {
        run("device", device.into());
    }
    Ok(Translated { values, seed, notes })
}

/// A seed where the document says none.
fn any_seed() -> Result<u64> {
    let number = getrandom::u64().map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(number >> 1)
}

/// What is said of evaluations has no effect, but must be right.
fn evaluation(mut eval: Section) -> Result<()> {
    eval.flag("enabled", false)?;
    eval.whole("num_episodes", 1)?;
    eval.flag("deterministic", true)?;
    eval.end()
}

/// The game, with what was chosen of it.
struct Game {
    entry: envs::Entry,
    env: Box<dyn AnyEnv>,
    /// What is chosen of it, each as `NAME=VALUE`.
    params: Vec<String>,
}

impl Game {
    fn read(catalog: &Catalog, mut section: Section) -> Result<Game> {
        let id = section.text("id")?.ok_or_else(|| anyhow!("game.id is required"))?;
        let entry = catalog.env(&id).map_err(|error| section.about("id", error))?;
        let mut given = section.section("params")?;
        let mut params = Vec::new();
        for name in entry.options() {
            let value = given.take(&name);
            let text = |value: Value| value.as_str().map_or(value.to_string(), str::to_owned);
            params.extend(value.map(|value| format!("{name}={}", text(value))));
        }
        given.end()?;
        let chosen = entry.with(&params).map_err(|error| section.about("params", error))?;
        section.end()?;
        Ok(Game { entry, env: chosen.build(), params })
    }
}
