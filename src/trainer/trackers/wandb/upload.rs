//! Files of a run: artifacts on the way, and at the end those that every run has.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use reqwest::blocking::Body;
use serde_json::{Value, json};

use super::api;
use super::artifact::{self, Contents, Part};
use super::service::{Bucket, Wire, json_object};
use crate::files;
use crate::trainer::trackers::event::Artifact;
use crate::trainer::trackers::http::Failure;
use crate::trainer::trackers::sender::Voice;

impl Wire {
    /// Creates an artifact of one file: announce it, upload the file, then its manifest, then commit.
    pub(super) fn upload_artifact(
        &self,
        artifact: &Artifact,
        file: &Path,
        voice: &Voice,
    ) -> Result<(), Failure> {
        let unreadable =
            |error: std::io::Error| Failure::Permanent(format!("cannot read {}: {error}", file.display()));
        let contents = Contents::of(file).map_err(unreadable)?;
        let Bucket { entity, project, .. } = self.bucket();
        let run = &self.begin.identity.place.run_id;
        let alias = |alias: &String| json!({"artifactCollectionName": artifact.name, "alias": alias});
        let input = json!({
            "entityName": entity,
            "projectName": project,
            "runName": run,
            "artifactTypeName": artifact.kind,
            "artifactCollectionName": artifact.name,
            "digest": contents.manifest_digest(),
            "digestAlgorithm": artifact::DIGEST_ALGORITHM,
            "enableDigestDeduplication": true,
            "aliases": artifact.aliases.iter().map(alias).collect::<Vec<_>>(),
            "clientID": artifact::random_id(),
            "sequenceClientID": artifact::random_id(),
            "metadata": artifact.metadata.to_string(),
        });
        let created = self.call(api::CREATE_ARTIFACT, json!({"input": input}), voice)?;
        let created = &created["createArtifact"]["artifact"];
        if created["state"] == "COMMITTED" {
            return Ok(()); // the server has it already
        }
        let id = created["id"].as_str().unwrap_or_default();
        let base = &created["artifactSequence"]["latestArtifact"]["id"];
        let manifest_variables = |digest: &str, include_upload: bool| {
            json!({
                "artifactID": id, "baseArtifactID": base, "name": "wandb_manifest.json", "digest": digest,
                "entityName": entity, "projectName": project, "runName": run, "manifestType": "FULL",
                "includeUpload": include_upload,
            })
        };
        let manifest = self.call(api::CREATE_MANIFEST, manifest_variables("", false), voice)?;
        let manifest_id = &manifest["createArtifactManifest"]["artifactManifest"]["id"];
        let mut entry = json!({"artifactID": id, "artifactManifestID": manifest_id, "md5": contents.digest,
            "name": contents.file_name});
        if !contents.parts.is_empty() {
            entry["uploadPartsInput"] = contents.parts.iter().map(Part::announced).collect();
        }
        let input = json!({"artifactFiles": [entry], "storageLayout": "V2"});
        let files = self.call(api::CREATE_ARTIFACT_FILES, json!({"input": input}), voice)?;
        let node = &files["createArtifactFiles"]["files"]["edges"][0]["node"];
        // Without an address the server has a file of this content.
        if node["uploadMultipartUrls"]["uploadID"].is_string() {
            self.upload_parts(node, &contents, file, voice)?;
        } else if let Some(url) = node["uploadUrl"].as_str() {
            self.api.http.upload_elsewhere(
                url,
                &node["uploadHeaders"],
                files::open(file).map_err(unreadable)?.0,
            )?;
            voice.succeeded();
        }
        let text = contents.manifest(id).to_string();
        let manifest = self.call(
            api::CREATE_MANIFEST,
            manifest_variables(&artifact::digest(text.as_bytes()), true),
            voice,
        )?;
        let place = &manifest["createArtifactManifest"]["artifactManifest"]["file"];
        let url = place["uploadUrl"].as_str().unwrap_or_default();
        self.api.http.upload_elsewhere(url, &place["uploadHeaders"], text)?;
        self.call(api::COMMIT_ARTIFACT, json!({"artifactID": id}), voice).map(drop)
    }

    /// Uploads a large file in the parts that the server has given addresses for, and tells it when all are there.
    fn upload_parts(
        &self,
        node: &Value,
        contents: &Contents,
        path: &Path,
        voice: &Voice,
    ) -> Result<(), Failure> {
        let urls = &node["uploadMultipartUrls"];
        let headers = node["uploadHeaders"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let kind = headers.filter(|header| header.to_lowercase().starts_with("content-type:"));
        let kind: Vec<String> = kind.map(str::to_owned).collect();
        let mut completed = Vec::new();
        for part in &contents.parts {
            let places = urls["uploadUrlParts"].as_array().into_iter().flatten();
            let place = places.into_iter().find(|place| place["partNumber"] == part.number);
            let url = place.and_then(|place| place["uploadUrl"].as_str());
            let url = url.ok_or_else(|| {
                Failure::Permanent(format!(
                    "the server gives no address for part {} of {}",
                    part.number,
                    path.display()
                ))
            })?;
            let headers = [&kind[..], &[format!("Content-MD5:{}", part.digest())]].concat();
            let body = bytes_of(path, part)
                .map_err(|error| Failure::Permanent(format!("cannot read {}: {error}", path.display())))?;
            let tag = self.api.http.upload_part(url, &json!(headers), body)?;
            voice.succeeded();
            completed.push(json!({"partNumber": part.number, "hexMD5": tag}));
        }
        let input = json!({
            "completeMultipartAction": "Complete",
            "completedParts": completed,
            "artifactID": node["artifact"]["id"],
            "storagePath": node["storagePath"],
            "uploadID": urls["uploadID"],
        });
        self.call(api::COMPLETE_PARTS, json!({"input": input}), voice).map(drop)
    }

    /// Uploads the files that every run has, and gives their names.
    pub(super) fn upload_files(&self, voice: &Voice) -> Result<Vec<String>, Failure> {
        // JSON is YAML, too: each line is a key and its value.
        let config = self.config();
        let config: Vec<_> =
            config.as_object().into_iter().flatten().map(|(k, v)| format!("{k}: {v}\n")).collect();
        let files = [
            ("config.yaml", config.concat()),
            ("wandb-metadata.json", self.begin.metadata.to_string()),
            ("wandb-summary.json", json_object(&self.summary)),
        ];
        let names: Vec<_> = files.iter().map(|(name, _)| name.to_string()).collect();
        let Bucket { entity, project, marks_files, .. } = self.bucket();
        let variables = json!({"entity": entity, "project": project, "run": self.begin.identity.place.run_id, "files": names});
        let answer = self.call(api::CREATE_RUN_FILES, variables.clone(), voice)?;
        let created = &answer["createRunFiles"];
        for (name, content) in files {
            let places = created["files"].as_array().into_iter().flatten();
            let url = places.filter(|file| file["name"] == name).find_map(|file| file["uploadUrl"].as_str());
            if let Some(url) = url {
                self.api.http.upload_elsewhere(url, &created["uploadHeaders"], content)?;
                voice.succeeded();
            }
        }
        if *marks_files {
            self.call(api::MARK_UPLOADED, variables, voice)?;
        }
        Ok(names)
    }
}

/// The bytes of a part, read while they are sent.
fn bytes_of(path: &Path, part: &Part) -> io::Result<Body> {
    let (mut file, _) = files::open(path)?;
    file.seek(SeekFrom::Start(part.begin))?;
    Ok(Body::sized(file.take(part.size), part.size))
}
