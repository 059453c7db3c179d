//! What stands behind the `?` of a request.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;

use super::answer::Failure;

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
