//! The curves of a run.

use axum::extract::{Path as Segment, State};
use serde_json::{Map, Value, json};

use super::answer::{Answer, Failure, json_of, work};
use super::asked::Asked;
use super::library::{Points, View, short};
use super::site::Shared;
use crate::trainer::METRICS;

/// `GET /api/v1/runs/{id}/curves`: the metrics that are asked for (`metric`, several times), and the names of all.
pub async fn show(State(site): State<Shared>, Segment(id): Segment<String>, asked: Asked) -> Answer {
    let view = View::asked(&asked)?;
    work(move || {
        let run = site.shelf.directory(&id)?;
        if !run.join(METRICS).exists() {
            return json_of(&json!({ "metrics": [], "curves": {} }));
        }
        let answer = site.library.with(&run, |curves| {
            let drawn: Map<String, Value> = asked
                .all("metric")
                .filter(|name| curves.has(name))
                .map(|name| (name.to_owned(), drawn(&curves.curve(name, view.axis), &view)))
                .collect();
            json!({ "metrics": curves.names(), "curves": drawn })
        });
        json_of(&answer.map_err(|error| Failure::damaged(&error))?)
    })
    .await
}

fn drawn(points: &Points, view: &View) -> Value {
    let shown = view.shown(points, |point| *point);
    let x: Vec<f64> = shown.iter().map(|&place| points[place].0).collect();
    let y: Vec<f32> = shown.iter().map(|&place| short(points[place].1)).collect();
    json!({ "x": x, "y": y, "points": points.len() })
}
