//! The pages themselves, which are in the binary.
//!
//! They are plain HTML with modules of JavaScript and one style sheet; nothing is built and nothing is loaded from elsewhere. Charts are a
//! script of our own (`pages/chart.js`, about 300 lines on a canvas): the crate `plotly` brings 4.6 MB of script, which a browser takes longer
//! to read than a page of curves may take to be there, and thirty crates; smaller libraries are in no crate.

use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::json;

use super::answer::{Answer, Failure, json_of};
use super::site::Shared;

macro_rules! page {
    ($name:literal) => {
        include_str!(concat!("pages/", $name))
    };
}

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What pages load: name, type, content.
const ASSETS: [(&str, &str, &str); 19] = [
    ("style.css", "text/css; charset=utf-8", page!("style.css")),
    ("icon.svg", "image/svg+xml", page!("icon.svg")),
    ("common.js", SCRIPT, page!("common.js")),
    ("chart.js", SCRIPT, page!("chart.js")),
    ("board.js", SCRIPT, page!("board.js")),
    ("runs.js", SCRIPT, page!("runs.js")),
    ("run.js", SCRIPT, page!("run.js")),
    ("compare.js", SCRIPT, page!("compare.js")),
    ("picture.js", SCRIPT, page!("picture.js")),
    ("scene.js", SCRIPT, page!("scene.js")),
    ("replay.js", SCRIPT, page!("replay.js")),
    ("play.js", SCRIPT, page!("play.js")),
    ("sweeps.js", SCRIPT, page!("sweeps.js")),
    ("sweep.js", SCRIPT, page!("sweep.js")),
    ("dashboard.js", SCRIPT, page!("dashboard.js")),
    ("evaluations.js", SCRIPT, page!("evaluations.js")),
    ("evaluation.js", SCRIPT, page!("evaluation.js")),
    ("report.js", SCRIPT, page!("report.js")),
    ("markdown.js", SCRIPT, page!("markdown.js")),
];

/// A page around its own content: a title, a script and what is there before the script has run.
fn around(site: &Shared, title: &str, script: &str, body: &str) -> Html<String> {
    let fields = [("TITLE", title), ("SCRIPT", script), ("TOKEN", site.guard.page_token()), ("BODY", body)];
    let fill = |page: String, (name, value): (&str, &str)| page.replace(&format!("{{{{{name}}}}}"), value);
    Html(fields.into_iter().fold(page!("frame.html").to_owned(), fill))
}

/// `GET /`
pub async fn runs(State(site): State<Shared>) -> Html<String> {
    around(&site, "Runs", "runs.js", page!("runs.html"))
}

/// `GET /runs/{id}`: the script takes the name from the address.
pub async fn run(State(site): State<Shared>) -> Html<String> {
    around(&site, "Run", "run.js", page!("run.html"))
}

/// `GET /compare`
pub async fn compare(State(site): State<Shared>) -> Html<String> {
    around(&site, "Compare runs", "compare.js", page!("compare.html"))
}

/// `GET /runs/{id}/replays/{replay}`
pub async fn replay(State(site): State<Shared>) -> Html<String> {
    around(&site, "Replay", "replay.js", page!("replay.html"))
}

/// `GET /dashboard`, with `group` or `run`
pub async fn dashboard(State(site): State<Shared>) -> Html<String> {
    around(&site, "Dashboard", "dashboard.js", page!("dashboard.html"))
}

/// `GET /play`, with `run` or `env` and `player`
pub async fn play(State(site): State<Shared>) -> Html<String> {
    around(&site, "Play", "play.js", page!("play.html"))
}

/// `GET /sweeps`
pub async fn sweeps(State(site): State<Shared>) -> Html<String> {
    around(&site, "Sweeps", "sweeps.js", page!("sweeps.html"))
}

/// `GET /sweeps/{name}`
pub async fn sweep(State(site): State<Shared>) -> Html<String> {
    around(&site, "Sweep", "sweep.js", page!("sweep.html"))
}

/// `GET /evaluations`
pub async fn evaluations(State(site): State<Shared>) -> Html<String> {
    around(&site, "Evaluations", "evaluations.js", page!("evaluations.html"))
}

/// `GET /evaluations/{evaluation}`
pub async fn evaluation(State(site): State<Shared>) -> Html<String> {
    around(&site, "Evaluation", "evaluation.js", page!("evaluation.html"))
}

/// `GET /reports/{report}`
pub async fn report(State(site): State<Shared>) -> Html<String> {
    around(&site, "Report", "report.js", page!("report.html"))
}

/// `GET /assets/{name}`
pub async fn asset(Segment(name): Segment<String>) -> Result<Response, Failure> {
    let found = ASSETS.iter().find(|(known, ..)| *known == name);
    let (_, kind, content) = found.ok_or_else(|| Failure::missing("file of that name"))?;
    Ok(([(header::CONTENT_TYPE, *kind)], *content).into_response())
}

/// `GET /health`
pub async fn health() -> Answer {
    json_of(&json!({ "status": "ok", "program": "lockstep", "version": env!("CARGO_PKG_VERSION") }))
}

/// `GET /api/v1/openapi.json`
pub async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], page!("openapi.json")).into_response()
}
