//! The calls of W&B's server: GraphQL documents, the stream of history lines, uploads. Each is tried once here; whether
//! and when to try again is the sender's decision, so a failure says which kind it is.
//!
//! A server may be broken, or none of W&B's at all: answers are read to a limit of size and time, nothing is sent on to
//! another host, and what a person is told of an answer is one short line of printable characters.

use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::{Body, Client, Response};
use reqwest::redirect::{Attempt, Policy};
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

/// The most bytes of an answer.
const ANSWER_LIMIT: usize = 8 << 20;
/// The longest pause that a server can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The most letters of a server's words.
const MOST_WORDS: usize = 300;

/// A connection to a server with a key.
pub struct Api {
    http: Client,
    base_url: String,
    key: String,
    /// The longest time for one call.
    timeout: Duration,
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
        let builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .user_agent(agent)
            .redirect(Policy::custom(redirect));
        let local = ["//127.0.0.1", "//localhost", "//[::1]"].iter().any(|host| base_url.contains(host));
        let builder = if local { builder.no_proxy() } else { builder };
        Ok(Self { http: builder.build()?, base_url: base_url.into(), key: key.into(), timeout })
    }

    /// Sends a document; gives what stands under `data`.
    pub fn graphql(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let operation = document.split([' ', '(']).nth(1).unwrap_or_default();
        let body = json!({"operationName": operation, "query": document, "variables": variables});
        let request = self.http.post(format!("{}/graphql", self.base_url)).basic_auth("api", Some(&self.key));
        let deadline = Instant::now() + self.timeout;
        let answer = read(checked(request.json(&body).send(), deadline)?, deadline)?;
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|error| {
            Failure::Transient(format!("the answer of the server is no JSON: {error}"), None)
        })?;
        if answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()) {
            let words = words(&answer).unwrap_or_else(|| "the server does not say why it failed".into());
            return Err(Failure::Permanent(format!("{operation}: {words}")));
        }
        Ok(answer["data"].take())
    }

    /// Sends lines of a run's files.
    pub fn file_stream(&self, run: &str, body: &Value) -> Result<(), Failure> {
        let url = format!("{}/files/{run}/file_stream", self.base_url);
        let request = self.http.post(url).basic_auth("api", Some(&self.key));
        checked(request.json(body).send(), Instant::now() + self.timeout).map(drop)
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
        let answer = request.timeout(Duration::from_secs(600)).body(body).send();
        checked(answer, Instant::now() + self.timeout).map(drop)
    }
}

/// Follows within one host only: what is sent, and the key with it, is meant for that one.
fn redirect(attempt: Attempt) -> reqwest::redirect::Action {
    let from = attempt.previous().last();
    match from.is_some_and(|from| from.origin() == attempt.url().origin()) && attempt.previous().len() < 5 {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// The body of an answer, up to [`ANSWER_LIMIT`] and until `deadline`.
fn read(mut answer: Response, deadline: Instant) -> Result<Vec<u8>, Failure> {
    let broken =
        |reason: String| Failure::Transient(format!("the answer of the server breaks off: {reason}"), None);
    let (mut body, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        match answer.read(&mut piece).map_err(|error| broken(cause(&error)))? {
            0 => return Ok(body),
            length => body.extend_from_slice(&piece[..length]),
        }
        if body.len() > ANSWER_LIMIT {
            return Err(broken(format!("it has more than {ANSWER_LIMIT} bytes")));
        }
        if Instant::now() > deadline {
            return Err(broken("it takes too long".into()));
        }
    }
}

/// The answer, if it tells of success.
fn checked(answer: reqwest::Result<Response>, deadline: Instant) -> Result<Response, Failure> {
    let answer = answer.map_err(|error| Failure::Transient(cause(&error.without_url()), None))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let elsewhere = status.is_redirection() && header("location").is_some();
    let again = !elsewhere && (matches!(status.as_u16(), 308 | 408 | 429) || status.is_server_error());
    let wait = header("retry-after").and_then(|value| value.trim().parse().ok());
    let wait = wait.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
    let own_words = match status {
        StatusCode::UNAUTHORIZED => Some("the API key is not accepted".to_string()),
        _ if elsewhere => Some("it points to another host, where nothing is sent".into()),
        _ => None,
    };
    let said = read(answer, deadline).ok().and_then(|body| words(&serde_json::from_slice(&body).ok()?));
    let reasons: Vec<String> = [Some(status.to_string()), own_words, said].into_iter().flatten().collect();
    let reason = format!("the server answered {}", reasons.join(": "));
    Err(if again { Failure::Transient(reason, wait) } else { Failure::Permanent(reason) })
}

/// What a server says of its failure, as one line that a terminal can show.
fn words(answer: &Value) -> Option<String> {
    let places =
        [&answer["errors"][0]["message"], &answer["errors"][0], &answer["error"], &answer["message"]];
    let text = places.into_iter().find_map(Value::as_str)?;
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let line = printable.take(MOST_WORDS).collect::<String>();
    (!line.trim().is_empty()).then(|| line.trim().to_string())
}

/// The innermost reason, which is the one that tells a person something.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
