//! Runs with windows, by the HTTP interface that the front end of their format speaks: `/api/runs` and what is below it.
//!
//! The documents are those of the run directory (`run_metadata.json`, `metrics/windows.jsonl`, `replay_index.json`, replays), and the directory
//! is called by the id of the run. Where the format has a proxy of Weights & Biases, this server says that there is none.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Asked;
use super::replays::part;
use super::site::{Shared, Site};
use super::theater;
use crate::files;
use crate::trainer::replay::Frame;
use crate::trainer::run_dir;
use crate::trainer::status::seconds_since;
use crate::trainer::windows::{METADATA, WINDOWS};

/// Bytes of a log of windows.
const LOG_LIMIT: u64 = 256 << 20;
/// Seconds after which a run that says nothing new is stale.
const STALE_SECONDS: f64 = 21_600.0;
/// What a list of runs says of each.
const LISTED: [&str; 11] = [
    "run_id",
    "status",
    "trainer_backend",
    "env_steps_total",
    "windows_emitted",
    "checkpoints_written",
    "latest_checkpoint",
    "latest_replay",
    "updated_at",
    "started_at",
    "finished_at",
];
/// What must be there of a run, of its newest window and of its newest replay.
const COMPLETE: [(&str, &[&str]); 3] = [
    (
        "metadata",
        &["run_id", "status", "trainer_backend", "updated_at", "metrics_windows_path", "replay_index_path"],
    ),
    (
        "windows",
        &[
            "window_id",
            "env_steps_total",
            "reward_mean",
            "return_mean",
            "profit_mean",
            "survival_rate",
            "overheat_ticks_mean",
            "pirate_encounters_mean",
            "value_lost_to_pirates_mean",
            "mining_ticks_mean",
            "scan_count_mean",
        ],
    ),
    ("replays", &["replay_id", "window_id", "replay_path", "checkpoint_path", "tags", "created_at"]),
];

pub fn routes() -> Router<Shared> {
    Router::new()
        .route("/runs", get(list))
        .route("/runs/{id}", get(show))
        .route("/runs/{id}/metrics/windows", get(windows))
        .route("/runs/{id}/analytics/completeness", get(completeness))
        .route("/runs/{id}/replays", get(replays))
        .route("/runs/{id}/replays/{replay}", get(replay))
        .route("/runs/{id}/replays/{replay}/frames", get(frames))
        .route("/wandb/status", get(async || json_of(&json!({ "configured": false, "detail": NO_PROXY }))))
        .route("/wandb/{*rest}", get(async || no_proxy()))
}

const NO_PROXY: &str = "Weights & Biases is not configured";

fn no_proxy() -> Failure {
    Failure::new(StatusCode::SERVICE_UNAVAILABLE, NO_PROXY)
}

/// A run with windows.
struct Run {
    directory: PathBuf,
    metadata: Value,
}

impl Run {
    /// The run of that name.
    ///
    /// # Errors
    /// There is none, it has no windows, or its metadata cannot be understood or is of another run.
    fn named(site: &Site, id: &str) -> Result<Run, Failure> {
        Run::at(site.shelf.directory(id)?)
    }

    fn at(directory: PathBuf) -> Result<Run, Failure> {
        let path = directory.join(METADATA);
        if !path.is_file() {
            return Err(Failure::missing("run with windows of that name"));
        }
        let wrong =
            |what: String| Failure::damaged(&anyhow::anyhow!("cannot understand {}: {what}", path.display()));
        let text = files::read_text(&path).map_err(|error| wrong(error.to_string()))?;
        let metadata: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if metadata["run_id"] != run_dir::name_of(&directory).as_str() {
            return Err(wrong("run_id is not the name of its directory".into()));
        }
        Ok(Run { directory, metadata })
    }

    /// What the log says of each window, in order.
    fn windows(&self) -> Result<Vec<Value>, Failure> {
        let path = self.directory.join(WINDOWS);
        if !path.exists() {
            return Ok(Vec::new());
        }
        let wrong =
            |what: String| Failure::damaged(&anyhow::anyhow!("cannot read {}: {what}", path.display()));
        let text = files::read_unpacked_text(&path, LOG_LIMIT).map_err(|error| wrong(error.to_string()))?;
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let rows: Result<Vec<Value>, _> = whole.lines().map(serde_json::from_str).collect();
        let mut rows = rows.map_err(|error| wrong(error.to_string()))?;
        rows.sort_by_key(|row| (row["window_id"].as_u64(), row["env_steps_total"].as_u64()));
        Ok(rows)
    }

    /// The replays that the index lists, the newest first, without the files themselves.
    fn replays(&self) -> Result<Vec<Value>, Failure> {
        let mut entries = theater::index(&self.directory)?;
        if entries.iter().any(|entry| entry["run_id"] != self.metadata["run_id"]) {
            return Err(Failure::damaged(&anyhow::anyhow!("the index of replays is of another run")));
        }
        let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        entries.sort_by_key(|entry| {
            (entry["window_id"].as_u64(), text(entry, "created_at"), text(entry, "replay_id"))
        });
        entries.reverse();
        Ok(entries)
    }
}

async fn list(State(site): State<Shared>, asked: Asked) -> Answer {
    let limit = asked.number("limit", 1..=500)?.unwrap_or(50);
    work(move || {
        let listing = site.shelf.list();
        let mut runs = Vec::new();
        for (id, _) in listing.rows() {
            let Ok(run) = Run::named(&site, id) else { continue };
            let mut row: serde_json::Map<String, Value> =
                LISTED.iter().map(|key| ((*key).to_owned(), run.metadata[*key].clone())).collect();
            row.insert(
                "replay_count".into(),
                theater::index(&run.directory).unwrap_or_default().len().into(),
            );
            runs.push(row);
        }
        runs.sort_by(|a, b| b["updated_at"].as_str().cmp(&a["updated_at"].as_str()));
        let total = runs.len();
        runs.truncate(limit);
        json_of(&json!({ "count": runs.len(), "runs": runs, "total": total }))
    })
    .await
}

async fn show(State(site): State<Shared>, Segment(id): Segment<String>) -> Answer {
    work(move || {
        let run = Run::named(&site, &id)?;
        let replay_count = run.replays()?.len();
        json_of(&json!({ "run_id": id, "metadata": run.metadata, "replay_count": replay_count }))
    })
    .await
}

async fn windows(State(site): State<Shared>, Segment(id): Segment<String>, asked: Asked) -> Answer {
    let limit = asked.number("limit", 1..=5000)?.unwrap_or(200);
    let backwards = match asked.get("order") {
        None | Some("asc") => false,
        Some("desc") => true,
        Some(_) => return Err(Failure::wrong("order must be asc or desc")),
    };
    work(move || {
        let run = Run::named(&site, &id)?;
        let mut rows = run.windows()?;
        let total = rows.len();
        if backwards {
            rows.reverse();
        }
        rows.truncate(limit);
        json_of(&json!({
            "run_id": id, "count": rows.len(), "windows": rows, "total": total,
            "metrics_path": run.metadata["metrics_windows_path"],
        }))
    })
    .await
}

/// Whether all is there that the front end draws, and how fresh it is.
async fn completeness(State(site): State<Shared>, Segment(id): Segment<String>) -> Answer {
    work(move || {
        let run = Run::named(&site, &id)?;
        let newest = |rows: Result<Vec<Value>, Failure>, last: bool| {
            rows.map(|rows| if last { rows.last().cloned() } else { rows.first().cloned() })
        };
        let is_stale = run.metadata["updated_at"]
            .as_str()
            .and_then(seconds_since)
            .is_none_or(|seconds| seconds > STALE_SECONDS);
        let found =
            [Ok(Some(run.metadata.clone())), newest(run.windows(), true), newest(run.replays(), false)];
        let mut parts = serde_json::Map::new();
        for ((name, needed), found) in COMPLETE.into_iter().zip(found) {
            parts.insert(name.into(), checked(needed, found, is_stale));
        }
        let worst = ["error", "missing", "stale", "ok"]
            .into_iter()
            .find(|status| parts.values().any(|part| part["status"] == *status));
        json_of(&json!({
            "run_id": id,
            "status": worst,
            "checks": parts,
            "wandb_run_id": wandb_id(&run.metadata),
            "config_path": run.metadata["config_path"],
            "constellation_url": run.metadata["constellation_url"],
        }))
    })
    .await
}

/// What of a document is missing, and what that comes to.
fn checked(needed: &[&str], found: Result<Option<Value>, Failure>, is_stale: bool) -> Value {
    match found {
        Err(failure) => json!({ "status": "error", "detail": failure.detail }),
        Ok(None) => json!({ "status": "missing", "missing": needed }),
        Ok(Some(document)) => {
            let missing: Vec<_> = needed.iter().filter(|key| document[**key].is_null()).collect();
            let status = match (missing.is_empty(), is_stale) {
                (false, _) => "missing",
                (true, true) => "stale",
                (true, false) => "ok",
            };
            json!({ "status": status, "missing": missing })
        }
    }
}

/// The id of the run at Weights & Biases, if its metadata tells it.
fn wandb_id(metadata: &Value) -> Option<&str> {
    let in_url = || metadata["wandb_run_url"].as_str()?.split_once("/runs/").map(|(_, id)| id);
    metadata["wandb_run_id"].as_str().or_else(in_url)
}

async fn replays(State(site): State<Shared>, Segment(id): Segment<String>, asked: Asked) -> Answer {
    let limit = asked.number("limit", 1..=usize::MAX)?.unwrap_or(usize::MAX);
    let window = asked.number("window_id", 0..=u64::MAX)?;
    work(move || {
        let split = |name: &str| -> Vec<String> {
            asked.all(name).flat_map(|tags| tags.split(',')).map(|tag| tag.trim().to_owned()).collect()
        };
        let (any, all) = (split("tags_any"), [split("tag"), split("tags_all")].concat());
        let fits = |entry: &Value| {
            let has =
                |tag: &String| entry["tags"].as_array().is_some_and(|tags| tags.iter().any(|own| own == tag));
            all.iter().all(has)
                && (any.is_empty() || any.iter().any(has))
                && window.is_none_or(|window| entry["window_id"] == window)
        };
        let mut entries = Run::named(&site, &id)?.replays()?;
        entries.retain(fits);
        let total = entries.len();
        entries.truncate(limit);
        json_of(&json!({ "run_id": id, "count": entries.len(), "replays": entries, "total": total }))
    })
    .await
}

/// What the index says of a replay, and its steps.
///
/// # Errors
/// There is no such run or replay, or it cannot be read.
pub fn replay_of(site: &Site, id: &str, replay: &str) -> Result<(Value, Arc<Vec<Frame>>), Failure> {
    let run = Run::named(site, id)?;
    let entry = run.replays()?.into_iter().find(|entry| entry["replay_id"] == replay);
    let entry = entry.ok_or_else(|| Failure::missing("replay of that name"))?;
    Ok((entry, site.theater.frames(&run.directory, replay)?))
}

async fn replay(State(site): State<Shared>, Segment((id, replay)): Segment<(String, String)>) -> Answer {
    work(move || {
        let (entry, _) = replay_of(&site, &id, &replay)?;
        json_of(&json!({ "run_id": id, "replay": entry }))
    })
    .await
}

async fn frames(
    State(site): State<Shared>,
    Segment((id, replay)): Segment<(String, String)>,
    asked: Asked,
) -> Answer {
    let offset = asked.number("offset", 0..=usize::MAX)?.unwrap_or(0);
    let limit = asked.number("limit", 1..=5000)?.unwrap_or(256);
    work(move || {
        let (entry, frames) = replay_of(&site, &id, &replay)?;
        let mut answer = part(&frames, offset, limit, |frame| json!(frame));
        answer["run_id"] = id.into();
        answer["replay"] = entry;
        answer["offset"] = offset.into();
        answer["limit"] = limit.into();
        json_of(&answer)
    })
    .await
}
