//! Replays as the player reads them: what one is about, then its steps.

use axum::extract::{Path as Segment, State};
use serde_json::{Value, json};

use super::answer::{Answer, json_of, work};
use super::asked::Asked;
use super::site::Shared;
use crate::trainer::replay::Frame;

/// Steps in an answer.
const STEPS: usize = 256;
const MOST_STEPS: usize = 5000;

/// `GET /api/v1/runs/{id}/replays/{replay}`
pub async fn show(State(site): State<Shared>, Segment((id, replay)): Segment<(String, String)>) -> Answer {
    work(move || {
        let frames = site.theater.frames(&site.shelf.directory(&id)?, &replay)?;
        let first = frames[0].play.as_ref();
        let events = frames.iter().filter(|frame| !frame.events.is_empty());
        json_of(&json!({
            "env": first.and_then(|play| play.env.clone()),
            "before": first.and_then(|play| play.before.clone()),
            "steps": frames.len(),
            "return_total": frames.iter().fold(0.0, |sum, frame| sum + frame.reward),
            "terminated": frames.last().is_some_and(|frame| frame.terminated),
            "truncated": frames.last().is_some_and(|frame| frame.truncated),
            "events": events.map(|frame| json!([frame.frame_index, frame.events])).collect::<Vec<_>>(),
        }))
    })
    .await
}

/// `GET /api/v1/runs/{id}/replays/{replay}/frames`
pub async fn frames(
    State(site): State<Shared>,
    Segment((id, replay)): Segment<(String, String)>,
    asked: Asked,
) -> Answer {
    let offset = asked.number("offset", 0..=usize::MAX)?.unwrap_or(0);
    let limit = asked.number("limit", 1..=MOST_STEPS)?.unwrap_or(STEPS);
    let whole = asked.get("observations") == Some("1");
    work(move || {
        let frames = site.theater.frames(&site.shelf.directory(&id)?, &replay)?;
        json_of(&part(
            &frames,
            offset,
            limit,
            |frame| if whole { json!(frame) } else { without_observation(frame) },
        ))
    })
    .await
}

/// Some steps, and where the next ones begin.
pub fn part(frames: &[Frame], offset: usize, limit: usize, told: impl Fn(&Frame) -> Value) -> Value {
    let start = offset.min(frames.len());
    let end = start.saturating_add(limit).min(frames.len());
    let shown: Vec<Value> = frames[start..end].iter().map(told).collect();
    let has_more = end < frames.len();
    json!({
        "count": shown.len(),
        "frames": shown,
        "next_offset": has_more.then_some(end),
        "has_more": has_more,
    })
}

/// A step without what is long and shown nowhere.
fn without_observation(frame: &Frame) -> Value {
    let mut told = json!(frame);
    if let Some(state) = told["render_state"].as_object_mut() {
        state.remove("observation");
    }
    told
}
