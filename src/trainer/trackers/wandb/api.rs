//! The calls of W&B's server: GraphQL documents, and the stream of a run's lines.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::http::{Auth, Failure, Http, words};

/// A server, and a key to it.
pub struct Api {
    pub http: Http,
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
    uploadHeaders uploadMultipartUrls { uploadID uploadUrlParts { partNumber uploadUrl } } artifact { id } } } } } }";

pub const COMPLETE_PARTS: &str = "mutation CompleteMultipartUploadArtifact($input: \
    CompleteMultipartUploadArtifactInput!) { completeMultipartUploadArtifact(input: $input) { digest } }";

pub const COMMIT_ARTIFACT: &str = "mutation CommitArtifact($artifactID: ID!) { \
    commitArtifact(input: {artifactID: $artifactID}) { artifact { id digest } } }";

impl Api {
    /// Prepares calls to a server; nothing is sent yet.
    ///
    /// # Errors
    /// One line: the system has no certificates to check the server with.
    pub fn new(base_url: &str, key: &str, timeout: Duration) -> anyhow::Result<Self> {
        let auth = Auth::Basic { user: "api".into(), password: key.into() };
        Ok(Self { http: Http::new(base_url, auth, "the API key is not accepted", timeout, false)? })
    }

    /// Sends a document; gives what stands under `data`.
    pub fn graphql(&self, document: &str, variables: Value) -> Result<Value, Failure> {
        let operation = document.split([' ', '(']).nth(1).unwrap_or_default();
        let body = json!({"operationName": operation, "query": document, "variables": variables});
        let mut answer = self.http.json(self.http.request(Method::POST, "/graphql").json(&body))?;
        if answer["errors"].as_array().is_some_and(|errors| !errors.is_empty()) {
            let words = words(&answer).unwrap_or_else(|| "the server does not say why it failed".into());
            return Err(Failure::Permanent(format!("{operation}: {words}")));
        }
        Ok(answer["data"].take())
    }

    /// Sends lines of a run's files.
    pub fn file_stream(&self, run: &str, body: &Value) -> Result<(), Failure> {
        let path = format!("/files/{run}/file_stream");
        self.http.send(self.http.request(Method::POST, &path).json(body))
    }
}
