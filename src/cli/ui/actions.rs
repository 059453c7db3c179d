//! The two buttons, which are all that the page can do to a run: stop it, as `runs stop` does, and save it now, by the file `save`.

use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use serde_json::json;

use super::answer::{Answer, Failure, json_of, work};
use super::site::Shared;
use crate::cli::runs::stop_run;
use crate::trainer::overview::Overview;
use crate::trainer::run_dir::{self, SAVE_FILE};

/// `POST /api/v1/runs/{id}/stop`
pub async fn stop(State(site): State<Shared>, Segment(id): Segment<String>) -> Answer {
    work(move || {
        let overview = live(&site, &id)?;
        let said = stop_run(&overview).map_err(|error| Failure::damaged(&error))?;
        json_of(&json!({ "said": said }))
    })
    .await
}

/// `POST /api/v1/runs/{id}/save`
pub async fn save(State(site): State<Shared>, Segment(id): Segment<String>) -> Answer {
    work(move || {
        let overview = live(&site, &id)?;
        run_dir::ask_by_file(&overview.directory, SAVE_FILE).map_err(|error| Failure::damaged(&error))?;
        json_of(&json!({ "said": format!("{} saves a checkpoint after its chunk", overview.run) }))
    })
    .await
}

/// The run of that name, if a process may be working on it.
fn live(site: &Shared, id: &str) -> Result<Overview, Failure> {
    let directory = site.shelf.directory(id)?;
    let overview = Overview::of(&directory).map_err(|error| Failure::damaged(&error))?;
    if !overview.life.is_live() {
        let detail = format!("{} is not running: it is {}", overview.run, overview.life.as_str());
        return Err(Failure::new(StatusCode::CONFLICT, detail));
    }
    Ok(overview)
}
