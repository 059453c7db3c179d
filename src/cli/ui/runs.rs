//! What there is to read of runs: the table, a run with all that is known of it, its files.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Asked;
use super::shelf::{in_utc, stamp_of};
use super::site::{Shared, Site};
use super::theater;
use crate::cli::runs::warnings;
use crate::envs::survival::Item;
use crate::files;
use crate::trainer::{params_of_run, run_dir, status, windows};

/// Bytes of a file that are sent; of a longer one its end.
const FILE_LIMIT: u64 = 16 << 20;
/// Warnings that are sent, the newest.
const MOST_WARNINGS: usize = 200;
/// Files of a run that people can read.
const READABLE: [&str; 6] = [".json", ".jsonl", ".csv", ".toml", ".yaml", ".md"];

/// `GET /api/v1/runs`
pub async fn list(State(site): State<Shared>) -> Answer {
    work(move || {
        let listing = site.shelf.list();
        let rows: Vec<&Value> = listing.rows().map(|(_, row)| &**row).collect();
        json_of(&json!({ "count": rows.len(), "runs": rows }))
    })
    .await
}

/// `GET /api/v1/runs/{id}`: what cannot be read is null, and the others are there all the same.
pub async fn show(State(site): State<Shared>, Segment(id): Segment<String>) -> Answer {
    work(move || {
        let run = site.shelf.directory(&id)?;
        let listing = site.shelf.list();
        let warnings = warnings(&run);
        let newest = &warnings[warnings.len().saturating_sub(MOST_WARNINGS)..];
        let config = run_dir::config(&run);
        json_of(&json!({
            "status": listing.row(&id).map(|row| &**row),
            "directory": run.display().to_string(),
            "config": config.as_ref().ok(),
            "config_error": config.as_ref().err().map(|error| format!("{error:#}")),
            "meta": status::read_meta(&run),
            "windows": windows::read_metadata(&run),
            "warnings": newest,
            "num_warnings": warnings.len(),
            "checkpoints": checkpoints(&run),
            "players": players(&site, &id, &run),
            "eaten": eaten(&site, &id),
            "replays": theater::list(&run),
            "files": readable(&run).iter().map(|path| described(path)).collect::<Vec<_>>(),
        }))
    })
    .await
}

/// How many players its environment has, if it has parameters that a person can play with.
fn players(site: &Site, id: &str, run: &Path) -> Option<usize> {
    params_of_run(run)?;
    let env = site.games.env(&site.env_of(id)?).ok()?;
    Some(env.spec().players).filter(|players| *players <= 2)
}

/// What agents eat in its environment, if that is what matters there: the name of the good and of the bad, each with its metric.
fn eaten(site: &Site, id: &str) -> Option<Value> {
    let survival = site.games.env(&site.env_of(id)?).ok()?.survival?;
    let item = |item: Item| json!({ "name": item.name, "metric": item.metric });
    Some(json!({ "good": item(survival.good), "bad": item(survival.bad) }))
}

/// The checkpoints, the newest first.
fn checkpoints(run: &Path) -> Vec<Value> {
    let found = run_dir::checkpoints(run).unwrap_or_default();
    let with_number = |(number, path): (u64, PathBuf)| {
        let mut described = described(&path);
        described["number"] = number.into();
        described["has_params"] = run_dir::params_beside(&path).is_file().into();
        described
    };
    found.into_iter().rev().map(with_number).collect()
}

/// A file by its name, length and time.
fn described(path: &Path) -> Value {
    let stamp = stamp_of(path);
    json!({
        "name": path.file_name().unwrap_or_default().to_string_lossy(),
        "bytes": stamp.map(|(_, bytes)| bytes),
        "modified": stamp.and_then(|(time, _)| in_utc(time)),
    })
}

/// The files in the directory of a run that people can read. A link may lead anywhere, and is none.
fn readable(run: &Path) -> Vec<PathBuf> {
    let is_readable = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        !name.starts_with('.')
            && READABLE.iter().any(|ending| name.ends_with(ending))
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.filter(is_readable).map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// `GET /api/v1/runs/{id}/files/{name}`: a text, or its last bytes (`tail`), from the beginning of a line.
pub async fn file(
    State(site): State<Shared>,
    Segment((id, name)): Segment<(String, String)>,
    asked: Asked,
) -> Answer {
    let tail = asked.number("tail", 1..=FILE_LIMIT)?.unwrap_or(FILE_LIMIT);
    let text = work(move || {
        let run = site.shelf.directory(&id)?;
        let found =
            readable(&run).into_iter().find(|path| path.file_name().is_some_and(|file| *file == *name));
        let path = found.ok_or_else(|| Failure::missing("file of that name"))?;
        end_of(&path, tail).map_err(|error| Failure::damaged(&error.into()))
    });
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text.await?).into_response())
}

/// The last lines of a file, of at most so many bytes.
fn end_of(path: &Path, most: u64) -> std::io::Result<String> {
    let (mut file, length) = files::open(path)?;
    let start = length.saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(match text.split_once('\n') {
        Some((_, whole)) if start > 0 => whole.to_owned(),
        _ => text.into_owned(),
    })
}
