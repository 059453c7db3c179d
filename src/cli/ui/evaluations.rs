//! Evaluations by lives: how one goes on, and what it came to.

use std::sync::Arc;

use axum::extract::{Path as Segment, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::archive::{Archive, Evaluation};
use super::outcome::colours;
use super::reports;
use super::site::Shared;
use crate::cli::survival::course::{Course, Curve};
use crate::files;

/// `GET /api/v1/evaluations`: the evaluations, and the reports on some.
pub async fn list(State(site): State<Shared>) -> Answer {
    work(move || {
        let archive = &site.archive;
        let evaluations: Vec<Value> =
            archive.evaluations().iter().map(|(name, found)| Seen::of(archive, found).line(name)).collect();
        json_of(&json!({ "evaluations": evaluations, "reports": reports::lines(archive) }))
    })
    .await
}

/// `GET /api/v1/evaluations/{evaluation}`
pub async fn show(State(site): State<Shared>, Segment(name): Segment<String>) -> Answer {
    work(move || {
        let found = site.archive.evaluation(&name)?;
        let seen = Seen::of(&site.archive, &found);
        let mut told = seen.line(&name);
        told["course"] =
            seen.course.as_ref().map_or(Value::Null, |course| course_told(&site.archive, course));
        told["results"] = json!(seen.results.as_deref());
        told["has_file"] = found.results.is_some().into();
        json_of(&told)
    })
    .await
}

/// `GET /api/v1/evaluations/{evaluation}/results`: the file.
pub async fn results(State(site): State<Shared>, Segment(name): Segment<String>) -> Answer {
    let text = work(move || {
        let path = site.archive.evaluation(&name)?.results;
        let path = path.ok_or_else(|| Failure::missing("file of results of that evaluation yet"))?;
        files::read(&path, files::TEXT_LIMIT).map_err(|error| Failure::damaged(&error.into()))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], text.await?).into_response())
}

/// What the files of an evaluation say.
struct Seen {
    results: Option<Arc<Value>>,
    course: Option<Course>,
    /// Why one of them cannot be read.
    damage: Option<String>,
}

impl Seen {
    fn of(archive: &Archive, found: &Evaluation) -> Seen {
        let results = found.results.as_ref().map_or(Ok(None), |path| archive.read(path));
        let course = found.course.as_ref().map(|path| Course::read(path)).transpose();
        let course = course.map_err(|error| format!("{error:#}"));
        let damage = [results.as_ref().err(), course.as_ref().err()].into_iter().flatten().next().cloned();
        Seen { results: results.unwrap_or_default(), course: course.unwrap_or_default(), damage }
    }

    /// What a list says of it.
    fn line(&self, name: &str) -> Value {
        let life = self.course.as_ref().map_or("completed", |course| course.life().as_str());
        let mut line = json!({ "name": name, "life": life });
        if let Some(results) = &self.results {
            let kinds = results["kinds"].as_array().into_iter().flatten();
            line["modes"] = kinds.map(|kind| kind["name"].clone()).collect();
            line["env"] = results["env"].clone();
            line["time"] = results["time"].clone();
        }
        if let Some(course) = &self.course {
            line["modes"] = json!(course.modes);
            line["env"] = json!(course.env);
            line["time"] = json!(course.last_heartbeat);
            line["error"] = json!(course.error);
        }
        if let Some(damage) = &self.damage {
            line["life"] = "damaged".into();
            line["error"] = json!(damage);
        }
        line
    }
}

/// The course of an evaluation: of each kind that is or was evaluated its curves, if it has begun.
fn course_told(archive: &Archive, course: &Course) -> Value {
    let survival = archive.app().catalog().env(&course.env).ok().and_then(|entry| entry.survival);
    let kind = |name: &String| {
        let known = survival.and_then(|survival| survival.kinds.iter().find(|kind| kind.name == *name));
        json!({
            "name": name,
            "colours": known.map(colours),
            "curve": course.curves.get(name).map(curve_told),
        })
    };
    json!({
        "start_time": course.start_time,
        "runs": course.runs,
        "envs": course.envs,
        "steps": course.steps,
        "kinds": course.modes.iter().map(kind).collect::<Vec<_>>(),
    })
}

/// A curve whose columns have the same length, whatever the file has.
fn curve_told(curve: &Curve) -> Value {
    let Curve { steps, efficiency, deaths, survival, .. } = curve;
    let length = [steps.len(), efficiency.len(), deaths.len(), survival.len()].into_iter().min();
    let length = length.unwrap_or(0);
    json!({
        "run": curve.run,
        "seed": curve.seed,
        "steps": steps[..length],
        "efficiency": efficiency[..length],
        "deaths": deaths[..length],
        "survival": survival[..length],
    })
}
