//! The agent of a document: its algorithm, and the parameters as settings of that.

use anyhow::{Result, anyhow, ensure};
use serde_json::Value;
use toml::Table;

use super::Game;
use super::section::{Section, unknown};
use crate::algorithms::Entry;
use crate::config::Catalog;

/// Settings that a document says elsewhere, or not at all.
const ELSEWHERE: [&str; 20] = [
    "num_envs",
    "num_steps",
    "opponent",
    "start_policy",
    "opening_share",
    "opening_min",
    "opening_max",
    "start_episode",
    "current_self_fraction",
    "past_self_fraction",
    "heuristic_distribution",
    "freeze_every",
    "max_frozen_agents",
    "greedy",
    "augment",
    "epsilon_every",
    "lr_decay_interval",
    "lr_decay",
    "lr_min",
    "anneal_lr",
];

/// Parameters that every agent has.
const OF_EVERY_AGENT: [&str; 4] = ["device", "seed", "num_actions", "observation_shape"];

/// The agent of a document.
pub struct Agent {
    pub algorithm: Entry,
    /// All settings of the algorithm.
    pub settings: Table,
    /// Where it says so.
    pub device: Option<&'static str>,
    pub seed: Option<u64>,
}

pub fn read(catalog: &Catalog, mut section: Section, game: &Game) -> Result<Agent> {
    let id = section.text("id")?.ok_or_else(|| anyhow!("agent.id is required"))?;
    let algorithm = catalog.algorithm(&id).map_err(|error| section.about("id", error))?;
    let mut params = section.section("params")?;
    section.end()?;
    // Anything but these two stands for the best that is there.
    let device = params.text("device")?;
    let device = ["cuda", "cpu"].into_iter().find(|known| device.as_deref() == Some(known));
    let seed = params.whole("seed", 0)?;
    check_sizes(&mut params, game)?;

    let dialect = algorithm.dialect;
    let own: Vec<String> =
        algorithm.settings().into_iter().filter(|name| !ELSEWHERE.contains(&name.as_str())).collect();
    let (mut settings, mut others) = (Table::new(), Table::new());
    for (path, key, value) in params.rest() {
        let value =
            toml::Value::try_from(&value).map_err(|_| anyhow!("{path} is {value}, which is no setting"))?;
        if dialect.others.contains(&key.as_str()) {
            others.insert(key, value);
            continue;
        }
        let setting = dialect.setting(&key);
        if !own.iter().any(|name| name == setting) {
            let words = dialect.names.iter().map(|(word, _)| *word).chain(dialect.others.iter().copied());
            let known: Vec<String> =
                words.chain(OF_EVERY_AGENT).map(str::to_owned).chain(own.iter().cloned()).collect();
            return Err(unknown(&path, &key, &known));
        }
        ensure!(!settings.contains_key(setting), "{path} says {setting}, which is said already");
        let alone = Table::from_iter([(setting.to_owned(), value.clone())]);
        (algorithm.complete)(&alone).map_err(|error| {
            let message = error.to_string();
            anyhow!("{path} is {value}: {}", message.split('\n').next().unwrap_or_default())
        })?;
        settings.extend(alone);
    }
    let documented = (dialect.settings)(&others, &game.env.spec());
    let documented = documented.map_err(|error| anyhow!("agent.params.{error}"))?;
    // What is said of a setting itself counts more.
    let settings = (algorithm.complete)(&documented.into_iter().chain(settings).collect())?;
    Ok(Agent { algorithm, settings, device, seed })
}

/// Sizes follow from the game; a document may say them, but no others.
fn check_sizes(params: &mut Section, game: &Game) -> Result<()> {
    let spec = game.env.spec();
    let path = params.path("num_actions");
    if let Some(actions) = params.whole("num_actions", 1)? {
        ensure!(
            actions == spec.num_actions as u64,
            "{path} is {actions}, but {} has {}; leave it out",
            spec.name,
            spec.num_actions
        );
    }
    let path = params.path("observation_shape");
    if let Some(shape) = params.take("observation_shape") {
        let own = Value::from(spec.obs_shape.clone());
        ensure!(shape == own, "{path} is {shape}, but that of {} is {own}; leave it out", spec.name);
    }
    Ok(())
}

impl Agent {
    /// Whether the algorithm has a setting.
    pub fn has(&self, setting: &str) -> bool {
        self.algorithm.settings().iter().any(|name| name == setting)
    }

    /// The value of a setting that is a number.
    pub fn number(&self, setting: &str) -> Option<f64> {
        let value = self.settings.get(setting)?;
        value.as_float().or(value.as_integer().map(|value| value as f64))
    }
}
