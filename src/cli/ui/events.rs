//! What changes, as server-sent events: `rows` for the rows of runs that are new or different, `gone` for runs that are no more, and for
//! a run that is looked at closely `logged`, when its metrics have grown.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{Answer, work};
use super::asked::Asked;
use super::shelf::{Listing, stamp_of};
use super::site::Shared;
use crate::trainer::METRICS;

/// How often we look.
const PACE: Duration = Duration::from_secs(2);

/// `GET /api/v1/events`, with `run` those of one run.
pub async fn all(State(site): State<Shared>, asked: Asked) -> Answer {
    let place = site.stream()?;
    let watcher = Watcher {
        site,
        run: asked.get("run").map(String::from),
        seen: BTreeMap::new(),
        logged: None,
        begun: false,
        _place: place,
    };
    let events = unfold(watcher, |mut watcher| async move {
        let events = watcher.next().await?;
        Some((Ok::<_, Infallible>(events), watcher))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// One who watches, and what it knows.
struct Watcher {
    site: Shared,
    run: Option<String>,
    seen: BTreeMap<String, Arc<Value>>,
    /// When the metrics of the run were written last, and their length.
    logged: Option<Stamp>,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

type Stamp = (std::time::SystemTime, u64);

impl Watcher {
    /// The next event; nothing if the server ends.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.begun {
                tokio::time::sleep(PACE).await;
            }
            self.begun = true;
            let (site, run) = (self.site.clone(), self.run.clone());
            let looked = work(move || {
                let logged = run.and_then(|run| logged(&site.shelf.directory(&run).ok()?));
                Ok((site.shelf.list(), logged))
            });
            let (listing, logged) = looked.await.ok()?;
            let changes = self.compare(&listing, logged);
            if !changes.is_null() {
                return Some(Event::default().event("change").data(changes.to_string()));
            }
        }
    }

    /// What is new since the last look; null if nothing is.
    fn compare(&mut self, listing: &Listing, logged: Option<Stamp>) -> Value {
        let is_watched = |id: &String| self.run.as_ref().is_none_or(|run| run == id);
        let now: BTreeMap<String, Arc<Value>> = listing
            .rows()
            .filter(|(id, _)| is_watched(id))
            .map(|(id, row)| (id.clone(), row.clone()))
            .collect();
        let rows: Vec<&Value> =
            now.iter().filter(|(id, row)| self.seen.get(*id) != Some(*row)).map(|(_, row)| &**row).collect();
        let gone: Vec<&String> = self.seen.keys().filter(|id| !now.contains_key(*id)).collect();
        let has_grown = logged != self.logged;
        let changes = match rows.is_empty() && gone.is_empty() && !has_grown {
            true => Value::Null,
            false => json!({ "rows": rows, "gone": gone, "logged": has_grown }),
        };
        (self.seen, self.logged) = (now, logged);
        changes
    }
}

fn logged(run: &Path) -> Option<Stamp> {
    stamp_of(&run.join(METRICS))
}
