//! Answers in JSON, and failures as `{"detail": "one line"}` with a status.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

/// Why a request is not answered.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub detail: String,
}

pub type Answer = Result<Response, Failure>;

impl Failure {
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into().replace('\n', " ") }
    }

    /// What was asked for is not there.
    pub fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {what}"))
    }

    /// The request makes no sense.
    pub fn wrong(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// What was asked for is damaged.
    pub fn damaged(error: &anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}"))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "detail": self.detail }).to_string();
        (self.status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
    }
}

/// A value as JSON.
pub fn json_of(value: &impl Serialize) -> Answer {
    let text = serde_json::to_string(value).map_err(|error| Failure::damaged(&error.into()))?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Does work that waits for files, on a thread on which it keeps nobody waiting.
pub async fn work<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let fault =
        || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault of lockstep; its terminal says more");
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(fault()))
}
