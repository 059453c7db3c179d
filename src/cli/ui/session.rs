//! An environment that other programs play step by step, by the HTTP interface that the front end of runs with windows speaks:
//! `/api/play/session` and what is below it.
//!
//! It is the environment whose [`Telemetry`](crate::envs::Telemetry) says that it has such clients; of several the first. A seed is the
//! number of a world, and gives the world that the clients know by it. The games are those of [`games`](super::games).

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::routing::{delete, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Sent;
use super::games::{Agent, Order};
use super::play::any_seed;
use super::site::{Shared, Site};
use super::table::Table;
use crate::algorithms::policy::Choice;
use crate::cli::player::RANDOM;
use crate::envs::Entry;

/// Ticks of an episode.
const TIMES: std::ops::RangeInclusive<u64> = 1..=1_000_000;

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/session", post(open))
        .route("/session/{sid}", delete(close))
        .route("/session/{sid}/reset", post(reset))
        .route("/session/{sid}/step", post(step))
}

/// Other fields are those of clients, and mean nothing.
#[derive(Deserialize)]
struct Wanted {
    seed: Option<i64>,
    env_time_max: Option<u64>,
}

async fn open(State(site): State<Shared>, Sent(wanted): Sent<Wanted>) -> Answer {
    let shared = site.clone();
    let opened = work(move || {
        shared.games.open(Order {
            agent: Agent::InWorlds(env(&shared, &wanted)?, RANDOM.to_owned()),
            person: 0,
            seed: wanted.seed.map_or_else(any_seed, |seed| Ok(seed as u64))?,
            choice: Choice::Greedy,
        })
    });
    let id = opened.await?;
    let begun = site.games.ask(&id, |table| Ok(table.stepped())).await;
    if begun.is_err() {
        let _ = site.games.close(&id); // it may be gone
    }
    json_of(&named(&id, begun?))
}

/// The environment, with episodes of the length that is asked for.
fn env(site: &Site, wanted: &Wanted) -> Result<Entry, Failure> {
    let known = site.games.app.entries().iter().find_map(|env| Some((*env, env.telemetry.session?)));
    let (env, time) = known.ok_or_else(|| Failure::missing("environment with such sessions"))?;
    let Some(ticks) = wanted.env_time_max else { return Ok(env) };
    if !TIMES.contains(&ticks) {
        let detail = format!("env_time_max must be from {} to {}", TIMES.start(), TIMES.end());
        return Err(Failure::wrong(detail));
    }
    env.with(&[format!("{time}={ticks}")]).map_err(Failure::wrong)
}

/// An answer with the id of its session.
fn named(id: &str, mut told: Value) -> Value {
    told["session_id"] = id.into();
    told
}

#[derive(Deserialize)]
struct Again {
    seed: Option<i64>,
}

async fn reset(
    State(site): State<Shared>,
    Segment(sid): Segment<String>,
    Sent(again): Sent<Again>,
) -> Answer {
    let seed = again.seed.map_or_else(any_seed, |seed| Ok(seed as u64))?;
    let does = move |table: &mut Table| table.begin(seed).map_err(|error| Failure::damaged(&error));
    told(&site, &sid, does).await
}

#[derive(Deserialize)]
struct Step {
    action: usize,
}

async fn step(State(site): State<Shared>, Segment(sid): Segment<String>, Sent(step): Sent<Step>) -> Answer {
    told(&site, &sid, move |table| table.play(Some(step.action))).await
}

async fn told(
    site: &Site,
    sid: &str,
    does: impl FnOnce(&mut Table) -> Result<(), Failure> + Send + 'static,
) -> Answer {
    let told = site.games.ask(sid, move |table| does(table).map(|()| table.stepped())).await?;
    json_of(&named(sid, told))
}

async fn close(State(site): State<Shared>, Segment(sid): Segment<String>) -> Answer {
    site.games.close(&sid)?;
    json_of(&json!({ "session_id": sid, "closed": true }))
}
