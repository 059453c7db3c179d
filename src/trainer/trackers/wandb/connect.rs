//! Making a run known to the server, or finding where it stands there.

use serde_json::{Map, Value, json};

use super::api;
use super::environment::SERVER;
use super::identity::{Identity, Place};
use super::record::X_AXIS;
use super::service::{Bucket, Wire, merge};
use crate::trainer::trackers::http::Failure;
use crate::trainer::trackers::sender::Voice;
use crate::trainer::trackers::{Origin, percent_encoded};

/// What the server knows of a run that is there already.
#[derive(Default)]
struct Found {
    /// The server's id of it; null if there is none.
    id: Value,
    last_step: Option<u64>,
}

impl Wire {
    /// Makes the run known to the server, or finds what it knows of it. Gives the last step that is there.
    pub(super) fn announce(&mut self, voice: &Voice) -> Result<(Bucket, Option<u64>), Failure> {
        self.call(api::VIEWER, json!({}), voice)?;
        let mut found = Found::default();
        match self.begin.identity.origin {
            Origin::New => {}
            Origin::Resumed => found = self.find(voice)?,
            Origin::Rewound { step } => match self.rewind(step, voice) {
                Ok(id) => found.id = id,
                Err(Failure::Permanent(reason)) => {
                    voice.say(&format!(
                        "W&B cannot rewind ({reason}); the history goes on after its last step"
                    ));
                    found = self.find(voice)?;
                }
                Err(failure) => return Err(failure),
            },
        }
        let again = std::mem::replace(&mut self.announced, true);
        let answer = self.call(api::UPSERT_BUCKET, self.upsert_variables(found.id), voice)?;
        self.check_is_ours(&answer["upsertBucket"], again)?;
        let bucket = &answer["upsertBucket"]["bucket"];
        let name = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_string();
        let Identity { place, run, .. } = &self.begin.identity;
        let project = name(&bucket["project"]["name"], &place.project);
        let entity = name(&bucket["project"]["entity"]["name"], &place.entity);
        let run_id = place.run_id.clone();
        let named = Place { run_id: run_id.clone(), entity: entity.clone(), project: project.clone() };
        if let Err(error) = named.keep(run) {
            voice.say(&format!("W&B: {error:#}"));
        }
        let features = self.call(api::SERVER_FEATURES, json!({}), voice)?;
        let features = features["serverInfo"]["features"].as_array().cloned().unwrap_or_default();
        let has = |name: &str| {
            features.iter().any(|feature| feature["name"] == name && feature["isEnabled"] == true)
        };
        let path = [&entity, &project, &run_id].map(|part| percent_encoded(part)).join("/");
        let page = page(&self.begin.base_url, &entity, &project, &run_id);
        voice.say(&format!("W&B: {page}"));
        voice.show(page);
        let bucket = Bucket {
            entity,
            project,
            path,
            marks_files: has("MARK_RUN_FILES_UPLOADED"),
            structured_console: has("STRUCTURED_CONSOLE_LOGS"),
        };
        Ok((bucket, found.last_step))
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

    /// Finds a run that is there already, and takes over where it stands.
    fn find(&mut self, voice: &Voice) -> Result<Found, Failure> {
        let bucket = self.status(voice)?;
        self.offset = lines(&bucket["historyLineCount"]);
        self.go_on_after(&bucket);
        self.take_summary(&bucket["summaryMetrics"]);
        Ok(Found { id: bucket["id"].clone(), last_step: last_step(&bucket["historyTail"]) })
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

    /// What the server knows of the run.
    fn status(&self, voice: &Voice) -> Result<Value, Failure> {
        let Place { run_id, entity, project } = &self.begin.identity.place;
        let variables = json!({"project": project, "entity": optional(entity), "name": run_id});
        let mut answer = self.call(api::RUN_RESUME_STATUS, variables, voice)?;
        Ok(answer["model"]["bucket"].take())
    }

    /// Console and utilisation go on after the lines that are there.
    fn go_on_after(&mut self, bucket: &Value) {
        self.console.offset = lines(&bucket["logLineCount"]);
        self.utilisation.offset = lines(&bucket["eventsLineCount"]);
    }

    /// Has the server forget what came after a step. Gives its id of the run.
    fn rewind(&mut self, step: u64, voice: &Voice) -> Result<Value, Failure> {
        let Place { run_id, entity, project } = &self.begin.identity.place;
        let variables = json!({
            "runName": run_id,
            "entity": optional(entity),
            "project": project,
            "metricName": "_step",
            "metricValue": step as f64,
        });
        let answer = self.call(api::REWIND_RUN, variables, voice)?;
        let run = &answer["rewindRun"]["rewoundRun"];
        self.offset = lines(&run["historyLineCount"]);
        let bucket = self.status(voice)?; // lines of other files stay
        self.go_on_after(&bucket);
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
