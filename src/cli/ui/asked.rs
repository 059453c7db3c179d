//! What stands behind the `?` of a request, and what is sent with it.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::answer::Failure;
use super::guard::BODY_LIMIT;
use crate::output::printable;

/// Names and values in their order; a name may come several times.
pub struct Asked(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let wrong = |_| Failure::wrong("what stands behind the ? cannot be understood");
        let Query(pairs) = Query::from_request_parts(parts, state).await.map_err(wrong)?;
        Ok(Self(pairs))
    }
}

impl Asked {
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    pub fn get<'a>(&'a self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// A number within a range, if one is given.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &self,
        name: &str,
        range: RangeInclusive<T>,
    ) -> Result<Option<T>, Failure> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(Failure::wrong(format!("{name} must be from {} to {}", range.start(), range.end()))),
        }
    }
}

/// The JSON object that is sent with a request; nothing at all is an empty one.
pub struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = Bytes::from_request(request, state).await.map_err(|problem| match problem.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Failure::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a request may have {BODY_LIMIT} bytes"))
            }
            status => Failure::new(status, "what is sent ends too early"),
        })?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let wrong = |problem: serde_json::Error| {
            Failure::wrong(printable(&format!("what is sent cannot be understood: {problem}")))
        };
        serde_json::from_slice(text).map(Sent).map_err(wrong)
    }
}
