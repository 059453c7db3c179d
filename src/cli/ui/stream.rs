//! The steps of a replay over a WebSocket, for the front end of runs with windows.

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path as Segment, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answer::{Failure, work};
use super::asked::Asked;
use super::site::Shared;
use super::windowed::replay_of;
use crate::trainer::replay::Frame;

/// How a stream of steps is divided.
#[derive(Clone, Copy)]
struct Division {
    offset: usize,
    limit: usize,
    batch: usize,
    most_bytes: usize,
    pause_every: usize,
}

/// `WS /ws/runs/{id}/replays/{replay}/frames`: an empty beginning, chunks of steps, and an end; or an error.
pub async fn frames(
    State(site): State<Shared>,
    Segment((id, replay)): Segment<(String, String)>,
    asked: Asked,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Failure> {
    let division = Division {
        offset: asked.number("offset", 0..=usize::MAX)?.unwrap_or(0),
        limit: asked.number("limit", 1..=50_000)?.unwrap_or(5000),
        batch: asked.number("batch_size", 1..=5000)?.unwrap_or(256),
        most_bytes: asked.number("max_chunk_bytes", 1024..=4 << 20)?.unwrap_or(262_144),
        pause_every: asked.number("yield_every_batches", 1..=10_000)?.unwrap_or(8),
    };
    let (upgrade, place) = (upgrade.max_message_size(1 << 16), site.stream()?);
    Ok(upgrade
        .on_upgrade(async move |socket| {
            let _place = place;
            let found = work(move || replay_of(&site, &id, &replay).map(|(_, frames)| frames)).await;
            send(socket, found.map(|frames| chunks(&frames, division)), division.pause_every).await;
        })
        .into_response())
}

/// Sends all of it; a reader that has left ends it.
async fn send(mut socket: WebSocket, messages: Result<Vec<Value>, Failure>, pause_every: usize) {
    let error = |failure: Failure| {
        vec![json!({ "type": "error", "status_code": failure.status.as_u16(), "detail": failure.detail })]
    };
    for (number, message) in messages.unwrap_or_else(error).into_iter().enumerate() {
        if socket.send(Message::text(message.to_string())).await.is_err() {
            return;
        }
        if number % pause_every == pause_every - 1 {
            tokio::task::yield_now().await;
        }
    }
    let _ = socket.send(Message::Close(None)).await;
}

/// The messages of a stream.
fn chunks(frames: &[Frame], division: Division) -> Vec<Value> {
    let start = division.offset.min(frames.len());
    let end = start.saturating_add(division.limit).min(frames.len());
    let chunk = |index: i64, offset: usize, steps: &[Value]| {
        json!({
            "type": "frames", "prelude": index < 0, "chunk_index": index, "offset": offset, "count": steps.len(),
            "frames": steps, "next_offset": offset + steps.len(), "has_more": offset + steps.len() < frames.len(),
        })
    };
    let mut messages = vec![chunk(-1, start, &[])];
    let (mut steps, mut bytes, mut offset) = (Vec::new(), 0, start);
    for frame in &frames[start..end] {
        let told = json!(frame);
        let length = told.to_string().len();
        if !steps.is_empty() && (steps.len() == division.batch || bytes + length > division.most_bytes) {
            messages.push(chunk(messages.len() as i64 - 1, offset, &steps));
            offset += steps.len();
            steps.clear();
            bytes = 0;
        }
        steps.push(told);
        bytes += length;
    }
    if !steps.is_empty() {
        messages.push(chunk(messages.len() as i64 - 1, offset, &steps));
    }
    messages.push(json!({
        "type": "complete", "chunks": messages.len() - 1, "count": end - start, "next_offset": end,
        "has_more": end < frames.len(),
    }));
    messages
}
