//! Sweeps: their trials, and those of them that no cheaper one beats.

use std::path::Path;

use anyhow::{Context, Result};
use axum::extract::{Path as Segment, State};
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::site::Shared;
use crate::cli::sweep::trial_json;
use crate::sweep::journal::{FileStorage, Journal, Trial};
use crate::sweep::{Outcome, front};

/// `GET /api/v1/sweeps`
pub async fn list(State(site): State<Shared>) -> Answer {
    work(move || {
        let sweeps: Vec<Value> =
            site.shelf.sweeps().iter().map(|(name, directory)| line(name, directory)).collect();
        json_of(&json!({ "sweeps": sweeps }))
    })
    .await
}

/// What a list of sweeps says of one.
fn line(name: &str, directory: &Path) -> Value {
    match read(directory) {
        Ok(sweep) => json!({
            "name": name,
            "metric": sweep["metric"],
            "max_runs": sweep["max_runs"],
            "num_trials": sweep["trials"].as_array().map_or(0, Vec::len),
            "best": sweep["best"],
        }),
        Err(error) => json!({ "name": name, "error": format!("{error:#}") }),
    }
}

/// `GET /api/v1/sweeps/{name}`
pub async fn show(State(site): State<Shared>, Segment(name): Segment<String>) -> Answer {
    work(move || {
        let sweeps = site.shelf.sweeps();
        let directory = sweeps.get(&name).ok_or_else(|| Failure::missing("sweep of that name"))?;
        json_of(&read(directory).map_err(|error| Failure::damaged(&error))?)
    })
    .await
}

/// What the journal in a directory tells: the sweep, its trials, the front from the cheapest to the best, and the best.
fn read(directory: &Path) -> Result<Value> {
    let journal = Journal::open(Box::new(FileStorage::open(directory, false)?))?;
    let state = journal.state();
    let setting = |name: &str| state.sweep.get(name).and_then(|value| serde_json::to_value(value).ok());
    let sign = if setting("goal").is_some_and(|goal| goal == "minimize") { -1.0 } else { 1.0 };
    let ended: Vec<(&Trial, Outcome)> = state
        .trials
        .iter()
        .filter_map(|trial| {
            trial.last().map(|last| (trial, Outcome { score: sign * last.score, cost: last.cost }))
        })
        .collect();
    let outcomes: Vec<Outcome> = ended.iter().map(|(_, outcome)| *outcome).collect();
    let front: Vec<u64> = front(&outcomes).into_iter().map(|place| ended[place].0.number).collect();
    let trials: Vec<Value> = state.trials.iter().map(trial_json).collect();
    let name = directory.file_name().context("a sweep has a name")?.to_string_lossy();
    Ok(json!({
        "name": name,
        "method": setting("method"),
        "metric": setting("metric"),
        "goal": setting("goal"),
        "max_runs": setting("max_runs"),
        "best": front.last(),
        "front": front,
        "trials": trials,
    }))
}
