//! The calls of W&B's server: GraphQL documents, the stream of history lines, uploads. Each is tried once here; whether
//! and when to try again is the sender's decision, so a failure says which kind it is.

use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::blocking::{Body, Client, Response};
use serde_json::{Value, json};

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// The network or the server: worth another try, after the time that the server asks for.
    Transient(String, Option<Duration>),
    /// It would fail again.
    Permanent(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Failure::Transient(reason, _) | Failure::Permanent(reason) => f.write_str(reason),
        }
    }
}

/// A connection to a server with a key.
pub struct Api {
    http: Client,
    base_url: String,
    key: String,
}

pub const UPSERT_BUCKET: &str = "mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String, \
    $groupName: String, $displayName: String, $notes: String, $commit: String, $config: JSONString, $host: String, \
    $program: String, $jobType: String, $state: String, $sweep: String, $tags: [String!], \
    $summaryMetrics: JSONString) { upsertBucket(input: {id: $id, name: $name, groupName: $groupName, \
    modelName: $project, entityName: $entity, displayName: $displayName, notes: $notes, config: $config, \
    commit: $commit, host: $host, jobProgram: $program, jobType: $jobType, state: $state, sweep: $sweep, \
    tags: $tags, summaryMetrics: $summaryMetrics}) { bucket { id name displayName config sweepName historyLineCount \
    project { id name entity { id name } } } inserted } }";

pub const VIEWER: &str =
    "query Viewer { viewer { id entity username email flags teams { edges { node { name } } } } }";

pub const SERVER_FEATURES: &str = "query ServerFeaturesQuery { serverInfo { features { name isEnabled } } }";

pub const RUN_RESUME_STATUS: &str = "query RunResumeStatus($project: String, $entity: String, $name: String!) { \
    model(name: $project, entityName: $entity) { id name entity { id name } bucket(name: $name, missingOk: true) { \
    id name summaryMetrics displayName logLineCount historyLineCount eventsLineCount historyTail eventsTail config \
    tags notes wandbConfig(keys: [\"t\"]) } } }";

pub const REWIND_RUN: &str = "mutation RewindRun($runName: String!, $entity: String, $project: String, \
    $metricName: String!, $metricValue: Float!) { rewindRun(input: {runName: $runName, entityName: $entity, \
    projectName: $project, metricName: $metricName, metricValue: $metricValue}) { rewoundRun { id name displayName \
    description config sweepName project { id name entity { id name } } historyLineCount } } }";

pub const ALERT: &str = "mutation NotifyScriptableRunAlert($entityName: String!, $projectName: String!, \
    $runName: String!, $title: String!, $text: String!, $severity: AlertSeverity = INFO, $waitDuration: Duration) { \
    notifyScriptableRunAlert(input: {entityName: $entityName, projectName: $projectName, runName: $runName, \
    title: $title, text: $text, severity: $severity, waitDuration: $waitDuration}) { success } }";

pub const CREATE_RUN_FILES: &str = "mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, \
    $files: [String!]!) { createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, \
    files: $files}) { runID uploadHeaders files { name uploadUrl } } }";

pub const MARK_UPLOADED: &str = "mutation MarkRunFilesUploaded($entity: String!, $project: String!, $run: String!, \
    $files: [String!]!) { markRunFilesUploaded(input: {entityName: $entity, projectName: $project, runName: $run, \
    files: $files}) { success } }";

pub const CREATE_ARTIFACT: &str = "mutation CreateArtifact($input: CreateArtifactInput!) { \
    createArtifact(input: $input) { artifact { id state artifactSequence { id latestArtifact { id versionIndex } } } } }";

pub const CREATE_MANIFEST: &str = "mutation CreateArtifactManifest($artifactID: ID!, $baseArtifactID: ID, \
    $name: String!, $digest: String!, $entityName: String!, $projectName: String!, $runName: String!, \
    $manifestType: ArtifactManifestType!, $includeUpload: Boolean!) { createArtifactManifest(input: { \
    artifactID: $artifactID, baseArtifactID: $baseArtifactID, name: $name, digest: $digest, \
    entityName: $entityName, projectName: $projectName, runName: $runName, type: $manifestType}) { \
    artifactManifest { id file { id name displayName uploadUrl @include(if: $includeUpload) \
    uploadHeaders @include(if: $includeUpload) } } } }";

pub const CREATE_ARTIFACT_FILES: &str = "mutation CreateArtifactFiles($input: CreateArtifactFilesInput!) { \
    createArtifactFiles(input: $input) { files { edges { node { id name displayName storagePath uploadUrl \
    uploadHeaders artifact { id } } } } } }";

pub const COMMIT_ARTIFACT: &str = "mutation CommitArtifact($artifactID: ID!) { \
    commitArtifact(input: {artifactID: $artifactID}) { artifact { id digest } } }";

impl Api {
    /// Prepares calls to a server; nothing is sent yet.
    ///
    /// # Errors
    /// One line: the system has no certificates to check the server with.
    pub fn new(base_url: &str, key: &str, timeout: Duration) -> anyhow::Result<Self> {
        // Refused only if the process has a provider already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let agent = concat!("lockstep/", env!("CARGO_PKG_VERSION"));
        let builder = Client::builder().timeout(timeout).connect_timeout(timeout).user_agent(agent);
        let local = ["//127.0.0.1", "//localhost", "//[::1]"].iter().any(|host| base_url.contains(host));
        let builder = if local { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build()?, base_url: base_url.into(), key: key.into() })
    }

    /// Sends a document; gives what stands under `data`.
    pub fn graphql(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let operation = document.split([' ', '(']).nth(1).unwrap_or_default();
        let body = json!({"operationName": operation, "query": document, "variables": variables});
        let request = self.http.post(format!("{}/graphql", self.base_url)).basic_auth("api", Some(&self.key));
        let answer: Value = checked(request.json(&body).send())?.json().map_err(broken)?;
        if let Some(message) = answer["errors"][0]["message"].as_str() {
            return Err(Failure::Permanent(format!("{operation}: {message}")));
        }
        Ok(answer["data"].clone())
    }

    /// Sends lines of a run's files.
    pub fn file_stream(&self, run: &str, body: &Value) -> Result<(), Failure> {
        let url = format!("{}/files/{run}/file_stream", self.base_url);
        let request = self.http.post(url).basic_auth("api", Some(&self.key));
        checked(request.json(body).send()).map(drop)
    }

    /// Puts a file where the server said, with the headers (`Name:value`) that it asked for.
    pub fn upload(&self, url: &str, headers: &Value, body: impl Into<Body>) -> Result<(), Failure> {
        let mut request = self.http.put(url);
        for header in headers.as_array().into_iter().flatten().filter_map(Value::as_str) {
            if let Some((name, value)) = header.split_once(':') {
                request = request.header(name.trim(), value.trim());
            }
        }
        // The size of a file decides how long it may take, not the time for a call.
        checked(request.timeout(Duration::from_secs(600)).body(body).send()).map(drop)
    }
}

fn broken(error: reqwest::Error) -> Failure {
    Failure::Transient(format!("the answer of the server cannot be understood: {}", cause(&error)), None)
}

fn checked(answer: reqwest::Result<Response>) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| Failure::Transient(cause(&error), None))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let reason = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("{status}: the API key is not accepted"),
        _ => status.to_string(),
    };
    let again = matches!(status.as_u16(), 308 | 408 | 429) || status.is_server_error();
    if !again {
        return Err(Failure::Permanent(format!("the server answered {reason}")));
    }
    let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Failure::Transient(format!("the server answered {reason}"), wait.map(Duration::from_secs)))
}

/// The innermost reason, which is the one that tells a person something.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
