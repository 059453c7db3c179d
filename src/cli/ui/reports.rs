//! Reports on evaluations: their text, and the figures and results beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::archive::Archive;
use super::shelf::{in_utc, stamp_of};
use super::site::Shared;
use crate::cli::survival::REPORT;
use crate::files;

/// What kinds of files a report has, by their endings.
const KINDS: [(&str, &str); 3] =
    [(".png", "image/png"), (".json", "application/json"), (".md", "text/plain; charset=utf-8")];

/// What a list says of the reports.
pub fn lines(archive: &Archive) -> Vec<Value> {
    let reports = archive.reports();
    let line = |(name, directory): (&String, &PathBuf)| match text(&directory.join(REPORT)) {
        Ok(text) => json!({ "name": name, "title": title(&text), "time": time(&directory.join(REPORT)) }),
        Err(error) => json!({ "name": name, "error": error.detail }),
    };
    reports.iter().map(line).collect()
}

/// `GET /api/v1/reports/{report}`
pub async fn show(State(site): State<Shared>, Segment(name): Segment<String>) -> Answer {
    work(move || {
        let files = site.archive.report(&name)?;
        let path = file(&files, REPORT)?;
        json_of(&json!({
            "name": name,
            "time": time(path),
            "text": text(path)?,
            "files": files.keys().collect::<Vec<_>>(),
        }))
    })
    .await
}

/// `GET /api/v1/reports/{report}/files/{name}`: its text, its results or a figure.
pub async fn part(State(site): State<Shared>, Segment((report, name)): Segment<(String, String)>) -> Answer {
    let kind = KINDS.iter().find(|(ending, _)| name.ends_with(ending)).map_or("text/plain", |(_, kind)| kind);
    let content = work(move || {
        let files = site.archive.report(&report)?;
        let path = file(&files, &name)?;
        files::read(path, files::TEXT_LIMIT).map_err(|error| Failure::damaged(&error.into()))
    });
    Ok(([(header::CONTENT_TYPE, kind)], content.await?).into_response())
}

fn file<'a>(files: &'a BTreeMap<String, PathBuf>, name: &str) -> Result<&'a PathBuf, Failure> {
    files.get(name).ok_or_else(|| Failure::missing("file of that name"))
}

fn text(path: &Path) -> Result<String, Failure> {
    let named = |error: std::io::Error| anyhow::anyhow!("cannot read {}: {error}", path.display());
    files::read_text(path).map_err(|error| Failure::damaged(&named(error)))
}

/// The first heading.
fn title(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("# "))
}

/// When the text was written.
fn time(path: &Path) -> Option<String> {
    in_utc(stamp_of(path)?.0)
}
