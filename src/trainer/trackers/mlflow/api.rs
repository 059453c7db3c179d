//! The calls of MLflow's REST interface, version 2.0, each tried once.

use std::fs::File;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::trainer::trackers::http::{Auth, Failure, Http};
use crate::trainer::trackers::percent_encoded;

/// A tracking server.
pub struct Api {
    http: Http,
}

/// A run as the server knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    pub run_id: String,
    pub experiment_id: String,
    pub artifact_uri: String,
}

impl Api {
    /// Prepares calls to a server; nothing is sent yet.
    ///
    /// # Errors
    /// One line: the system has no certificates to check the server with.
    pub fn new(tracking_uri: &str, auth: Auth, timeout: Duration, is_trusted: bool) -> anyhow::Result<Self> {
        let unknown = "name and password, or token, are not accepted";
        Ok(Self { http: Http::new(tracking_uri, auth, unknown, timeout, is_trusted)? })
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.http.json(self.http.request(Method::POST, &place(path)).json(body))
    }

    /// Asks for something; nothing if there is no such thing.
    fn get(&self, path: &str) -> Result<Option<Value>, Failure> {
        let request = self.http.request(Method::GET, &place(path));
        self.http.json_unless(request, "RESOURCE_DOES_NOT_EXIST")
    }

    /// The id of the experiment of a name, which is made if there is none.
    pub fn experiment(&self, name: &str) -> Result<String, Failure> {
        let find = || {
            let path = format!("experiments/get-by-name?experiment_name={}", percent_encoded(name));
            let found = self.get(&path)?;
            found.map(|found| text(&found["experiment"]["experiment_id"])).transpose()
        };
        if let Some(id) = find()? {
            return Ok(id);
        }
        let request = self.http.request(Method::POST, &place("experiments/create"));
        let made = self.http.json_unless(request.json(&json!({"name": name})), "RESOURCE_ALREADY_EXISTS")?;
        match made {
            Some(made) => text(&made["experiment_id"]),
            // Another run of the same moment has made it.
            None => find()?.ok_or_else(|| Failure::Transient(format!("there is no experiment {name}"), None)),
        }
    }

    pub fn create_run(&self, body: &Value) -> Result<Known, Failure> {
        known(&self.post("runs/create", body)?["run"])
    }

    /// Finds a run; nothing if there is none of this id.
    pub fn find_run(&self, run_id: &str) -> Result<Option<Known>, Failure> {
        let found = self.get(&format!("runs/get?run_id={}", percent_encoded(run_id)))?;
        found.map(|found| known(&found["run"])).transpose()
    }

    pub fn log_batch(&self, body: &Value) -> Result<(), Failure> {
        self.post("runs/log-batch", body).map(drop)
    }

    pub fn set_tag(&self, run_id: &str, key: &str, value: &str) -> Result<(), Failure> {
        self.post("runs/set-tag", &json!({"run_id": run_id, "key": key, "value": value})).map(drop)
    }

    pub fn update_run(&self, body: &Value) -> Result<(), Failure> {
        self.post("runs/update", body).map(drop)
    }

    /// Puts a file of a run at a path below `artifact_uri`, if the server itself takes files.
    pub fn upload(&self, artifact_uri: &str, path: &str, file: File) -> Result<(), Failure> {
        let Some(root) = served(artifact_uri) else {
            let reason = format!("its files are kept at {artifact_uri}, which lockstep does not write to");
            return Err(Failure::Permanent(reason));
        };
        let path: Vec<String> = root.split('/').chain(path.split('/')).map(percent_encoded).collect();
        let path = format!("/api/2.0/mlflow-artifacts/artifacts/{}", path.join("/"));
        self.http.upload(self.http.request(Method::PUT, &path), file)
    }
}

fn place(path: &str) -> String {
    format!("/api/2.0/mlflow/{path}")
}

/// The path of artifacts that the server itself keeps: `mlflow-artifacts:/0/abc/artifacts`, or with a host.
fn served(artifact_uri: &str) -> Option<&str> {
    let rest = artifact_uri.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(rest) => rest.split_once('/')?.1,
        None => rest.trim_start_matches('/'),
    };
    (!path.is_empty()).then_some(path)
}

fn known(run: &Value) -> Result<Known, Failure> {
    let info = &run["info"];
    Ok(Known {
        run_id: text(&info["run_id"])?,
        experiment_id: text(&info["experiment_id"])?,
        artifact_uri: info["artifact_uri"].as_str().unwrap_or_default().to_owned(),
    })
}

/// A text that an answer must have.
fn text(value: &Value) -> Result<String, Failure> {
    let text = value.as_str().filter(|text| !text.is_empty());
    text.map(str::to_owned).ok_or_else(|| Failure::Permanent("it does not answer as MLflow does".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn artifacts_that_the_server_keeps_have_a_path() {
        assert_eq!(served("mlflow-artifacts:/0/abc/artifacts"), Some("0/abc/artifacts"));
        assert_eq!(served("mlflow-artifacts://host:5000/0/abc/artifacts"), Some("0/abc/artifacts"));
        for elsewhere in ["s3://bucket/0/abc", "/tmp/mlruns/0", "mlflow-artifacts:", ""] {
            assert_eq!(served(elsewhere), None);
        }
    }
}
