//! Making a run known to the server, or finding where it stands there.

use std::sync::atomic::Ordering;

use serde_json::{Map, Value, json};

use super::worker::{Bucket, Worker, merge};
use crate::trainer::wandb::api::{self, Failure};
use crate::trainer::wandb::environment::SERVER;
use crate::trainer::wandb::identity::{Identity, Origin, Place};
use crate::trainer::wandb::record::X_AXIS;

impl Worker {
    /// Makes the run known to the server, or finds what it knows of it.
    pub(super) fn connect(&mut self) -> Result<Bucket, Failure> {
        self.call(api::VIEWER, json!({}))?;
        let mut id = Value::Null;
        match self.begin.identity.origin {
            Origin::New => {}
            Origin::Resumed => id = self.find()?,
            Origin::Rewound { step } => match self.rewind(step) {
                Ok(rewound) => id = rewound,
                Err(Failure::Permanent(reason)) => {
                    self.say(format!(
                        "W&B cannot rewind ({reason}); the history goes on after its last step"
                    ));
                    id = self.find()?;
                }
                Err(failure) => return Err(failure),
            },
        }
        let again = std::mem::replace(&mut self.announced, true);
        let answer = self.call(api::UPSERT_BUCKET, self.upsert_variables(id))?;
        self.check_is_ours(&answer["upsertBucket"], again)?;
        let bucket = &answer["upsertBucket"]["bucket"];
        let name = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_string();
        let Identity { place, run, .. } = &self.begin.identity;
        let project = name(&bucket["project"]["name"], &place.project);
        let entity = name(&bucket["project"]["entity"]["name"], &place.entity);
        let run_id = place.run_id.clone();
        let named = Place { run_id: run_id.clone(), entity: entity.clone(), project: project.clone() };
        if let Err(error) = named.keep(run) {
            self.say(format!("W&B: {error:#}"));
        }
        let features = self.call(api::SERVER_FEATURES, json!({}))?;
        let marks_files = features["serverInfo"]["features"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|feature| feature["name"] == "MARK_RUN_FILES_UPLOADED" && feature["isEnabled"] == true);
        let path = [&entity, &project, &run_id].map(|part| percent_encoded(part)).join("/");
        let page = page(&self.begin.base_url, &entity, &project, &run_id);
        self.say(format!("W&B: {page}"));
        *self.shared.page.lock().expect("the run does not panic while it holds this") = Some(page);
        Ok(Bucket { entity, project, path, marks_files })
    }

    /// Fails if a new run has the id of another one: two histories would be mixed. If the announcement was sent before
    /// and its answer was lost (`again`), or a sweep has made the run, it is there but empty.
    fn check_is_ours(&self, answer: &Value, again: bool) -> Result<(), Failure> {
        let identity = &self.begin.identity;
        let is_there = identity.origin == Origin::New && answer["inserted"] == false;
        let may_be_there = again || !identity.sweep.is_empty();
        if is_there && !(may_be_there && answer["bucket"]["historyLineCount"].as_u64().unwrap_or(0) == 0) {
            let id = &identity.place.run_id;
            return Err(Failure::Permanent(format!(
                "there is another run of the id {id}; unset WANDB_RUN_ID, or send this one with `wandb sync --id`"
            )));
        }
        Ok(())
    }

    /// The server's id of a run that is there already, after taking over where it stands; null if there is none.
    fn find(&mut self) -> Result<Value, Failure> {
        let Place { run_id, entity, project } = &self.begin.identity.place;
        let variables = json!({"project": project, "entity": optional(entity), "name": run_id});
        let answer = self.call(api::RUN_RESUME_STATUS, variables)?;
        let bucket = &answer["model"]["bucket"];
        self.offset = lines(&bucket["historyLineCount"]);
        self.take_summary(&bucket["summaryMetrics"]);
        self.last_step = last_step(&bucket["historyTail"]);
        if let Some(last) = self.last_step {
            let before = self.rows.len();
            self.rows.retain(|(step, _)| *step > last);
            self.shared.sent.fetch_add((before - self.rows.len()) as u64, Ordering::Relaxed);
        }
        Ok(bucket["id"].clone())
    }

    /// Takes over what the run's summary has, where this process has nothing newer.
    fn take_summary(&mut self, metrics: &Value) {
        let metrics: Map<String, Value> =
            metrics.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let is_metric = |(name, value): &(String, Value)| !name.starts_with("_wandb") && value.is_number();
        let older = metrics.into_iter().filter(is_metric).map(|(name, value)| (name, value.to_string()));
        let newer = std::mem::take(&mut self.summary);
        self.summary = older.collect();
        merge(&mut self.summary, &newer);
    }

    fn rewind(&mut self, step: u64) -> Result<Value, Failure> {
        let Place { run_id, entity, project } = &self.begin.identity.place;
        let variables = json!({
            "runName": run_id,
            "entity": optional(entity),
            "project": project,
            "metricName": "_step",
            "metricValue": step as f64,
        });
        let answer = self.call(api::REWIND_RUN, variables)?;
        let run = &answer["rewindRun"]["rewoundRun"];
        self.offset = lines(&run["historyLineCount"]);
        Ok(run["id"].clone())
    }

    fn upsert_variables(&self, id: Value) -> Value {
        let identity = &self.begin.identity;
        json!({
            "id": id,
            "name": identity.place.run_id,
            "project": identity.place.project,
            "entity": optional(&identity.place.entity),
            "groupName": optional(&identity.group),
            "displayName": identity.name,
            "notes": optional(&identity.notes),
            "commit": self.begin.commit,
            "config": self.config().to_string(),
            "host": identity.host,
            "program": "lockstep",
            "jobType": optional(&identity.job_type),
            "state": null,
            "sweep": optional(&identity.sweep),
            "tags": (!identity.tags.is_empty()).then_some(&identity.tags),
            "summaryMetrics": null,
        })
    }

    /// The configuration as the server wants it, with what W&B keeps beside it: versions and the metric definitions.
    pub(super) fn config(&self) -> Value {
        let version = env!("CARGO_PKG_VERSION");
        let platform = format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH);
        let mut own = json!({
            "cli_version": version,
            "framework": "lockstep",
            "t": {"5": version, "12": version, "13": platform},
            "m": [
                {"1": X_AXIS, "6": [3], "7": []},
                {"2": "*", "5": 1, "6": [1], "7": []},
            ],
        });
        if let Origin::Rewound { step } = self.begin.identity.origin {
            own["branch_point"] = json!({"run_id": self.begin.identity.place.run_id, "step": step});
        }
        let values = self.begin.config.iter().map(|(key, value)| (key.clone(), json!({"value": value})));
        values.chain([("_wandb".to_string(), json!({"value": own}))]).collect::<Map<_, _>>().into()
    }
}

/// `_step` of the last line of a `historyTail`: a JSON text of an array of JSON texts.
fn last_step(tail: &Value) -> Option<u64> {
    let lines: Vec<String> = serde_json::from_str(tail.as_str()?).ok()?;
    let numbers =
        lines.last()?.replace("NaN", "null").replace("-Infinity", "null").replace("Infinity", "null");
    let last: Value = serde_json::from_str(&numbers).ok()?;
    last["_step"].as_u64()
}

/// A number of lines, as far as it can be one.
fn lines(count: &Value) -> u64 {
    count.as_u64().filter(|count| *count < 1 << 53).unwrap_or(0)
}

fn optional(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// The run's page.
fn page(base_url: &str, entity: &str, project: &str, run: &str) -> String {
    let site = if base_url == SERVER { "https://wandb.ai" } else { base_url };
    let [entity, project, run] = [entity, project, run].map(percent_encoded);
    format!("{site}/{entity}/{project}/runs/{run}")
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_of_a_history_tells_its_last_step() {
        let tail = json!(r#"["{\"_step\":10}","{\"_step\":20,\"a\":NaN,\"b\":-Infinity}"]"#);
        assert_eq!(last_step(&tail), Some(20));
        assert_eq!(last_step(&json!("[]")), None);
        assert_eq!(last_step(&Value::Null), None);
    }

    #[test]
    fn pages_are_addresses() {
        assert_eq!(page("https://api.wandb.ai", "a b", "p/q", "1"), "https://wandb.ai/a%20b/p%2Fq/runs/1");
        assert_eq!(page("http://127.0.0.1:1", "a", "p", "1"), "http://127.0.0.1:1/a/p/runs/1");
    }
}
