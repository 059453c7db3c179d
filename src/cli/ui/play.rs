//! Games that a person plays on the page, alone or against an agent: `/api/v1/play` and what is below it.

use std::time::Duration;

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Sent;
use super::games::{Agent, Order};
use super::site::{Shared, Site};
use super::table::Table;
use crate::algorithms::policy::Choice;
use crate::cli::player::RANDOM;
use crate::output::printable;
use crate::trainer::params_of_run;

/// How long a request waits for a game that is being prepared.
const PATIENCE: Duration = Duration::from_secs(10);

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/play", get(list).post(open))
        .route("/play/{game}", get(show).delete(close))
        .route("/play/{game}/move", post(make))
        .route("/play/{game}/undo", post(undo))
        .route("/play/{game}/new", post(anew))
}

/// What is wanted: a run, or an environment with a player that needs no parameters.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    run: Option<String>,
    env: Option<String>,
    /// Without, the strongest one of the environment.
    player: Option<String>,
    /// Whether the other side begins.
    #[serde(default)]
    second: bool,
    /// Whether the agent draws its actions with their probabilities.
    #[serde(default)]
    stochastic: bool,
    seed: Option<u64>,
}

/// Environments that a person can play, with the players that need no parameters, the strongest first; and runs that have parameters.
async fn list(State(site): State<Shared>) -> Answer {
    work(move || {
        let envs = site.games.app.entries().iter().filter(|env| env.spec().players <= 2);
        let envs = envs.map(|env| {
            let own = env.build().players().into_iter().rev().map(|player| player.name);
            let own = own.filter(|name| *name != RANDOM).chain([RANDOM]);
            json!({
                "name": env.name, "summary": env.summary, "players": env.spec().players,
                "opponents": own.collect::<Vec<_>>(),
            })
        });
        let listing = site.shelf.list();
        let has_params = |id: &str| site.shelf.directory(id).is_ok_and(|run| params_of_run(&run).is_some());
        let runs = listing.rows().filter(|(id, _)| has_params(id));
        let runs = runs.map(|(id, row)| json!({ "id": id, "env": row["env"], "algo": row["algo"] }));
        json_of(&json!({ "environments": envs.collect::<Vec<_>>(), "runs": runs.collect::<Vec<_>>() }))
    })
    .await
}

async fn open(State(site): State<Shared>, Sent(wanted): Sent<Wanted>) -> Answer {
    work(move || {
        let choice = if wanted.stochastic { Choice::Sample } else { Choice::Greedy };
        let order = Order {
            agent: agent(&site, &wanted)?,
            person: usize::from(wanted.second),
            seed: wanted.seed.map_or_else(any_seed, Ok)?,
            choice,
        };
        json_of(&json!({ "id": site.games.open(order)? }))
    })
    .await
}

/// A seed that a person can type and JavaScript can hold.
///
/// # Errors
/// The system gives no random numbers.
pub fn any_seed() -> Result<u64, Failure> {
    let random = getrandom::u32().map_err(|error| Failure::damaged(&error.into()))?;
    Ok(u64::from(random))
}

/// Who is named.
fn agent(site: &Site, wanted: &Wanted) -> Result<Agent, Failure> {
    match wanted {
        Wanted { run: Some(run), env: None, player: None, .. } => {
            let file = params_of_run(&site.shelf.directory(run)?);
            let file = file.ok_or_else(|| Failure::wrong(format!("{run} has saved no parameters yet")))?;
            let env = site
                .env_of(run)
                .ok_or_else(|| Failure::wrong(format!("{run} does not say its environment")))?;
            Ok(Agent::Trained(site.games.env(&env)?, file, run.clone()))
        }
        Wanted { run: None, env: Some(env), player, .. } => {
            let env = site.games.env(env)?;
            let own: Vec<&str> = env.build().players().iter().map(|player| player.name).collect();
            let name = player.as_deref().unwrap_or(own.last().copied().unwrap_or(RANDOM));
            if name != RANDOM && !own.contains(&name) {
                let known = own.iter().copied().filter(|name| *name != RANDOM).chain([RANDOM]);
                let known = known.collect::<Vec<_>>().join(", ");
                let detail = format!("{} has no player {name}; it has {known}", env.name);
                return Err(Failure::wrong(printable(&detail)));
            }
            Ok(Agent::Known(env, name.to_owned()))
        }
        _ => Err(Failure::wrong("name a run, or an environment with a player")),
    }
}

/// The whole game; `ready` says whether it is prepared.
async fn show(State(site): State<Shared>, Segment(game): Segment<String>) -> Answer {
    let told = |table: &mut Table| Ok((table.about(), table.position()));
    match tokio::time::timeout(PATIENCE, site.games.ask(&game, told)).await {
        Err(_) => json_of(&json!({ "ready": false })),
        Ok(told) => {
            let (about, position) = told?;
            json_of(&json!({ "ready": true, "about": about, "position": position }))
        }
    }
}

async fn close(State(site): State<Shared>, Segment(game): Segment<String>) -> Answer {
    site.games.close(&game)?;
    json_of(&json!({ "said": "the game has ended" }))
}

/// Without an action, the agent's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    action: Option<usize>,
}

async fn make(State(site): State<Shared>, Segment(game): Segment<String>, Sent(made): Sent<Made>) -> Answer {
    after(&site, &game, move |table| table.play(made.action)).await
}

async fn undo(State(site): State<Shared>, Segment(game): Segment<String>) -> Answer {
    after(&site, &game, Table::undo).await
}

/// Without `second`, on the same side as before.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Anew {
    second: Option<bool>,
}

async fn anew(State(site): State<Shared>, Segment(game): Segment<String>, Sent(anew): Sent<Anew>) -> Answer {
    let person = anew.second.map(usize::from);
    after(&site, &game, move |table| table.new_game(person).map_err(|error| Failure::damaged(&error))).await
}

/// The position after something was done.
async fn after(
    site: &Site,
    game: &str,
    does: impl FnOnce(&mut Table) -> Result<(), Failure> + Send + 'static,
) -> Answer {
    let position: Value = site.games.ask(game, move |table| does(table).map(|()| table.position())).await?;
    json_of(&json!({ "position": position }))
}
