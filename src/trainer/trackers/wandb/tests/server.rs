//! A server on the loopback interface that speaks as W&B's does, and misbehaves on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub head: String,
    pub body: Vec<u8>,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The GraphQL operation, or method and the last part of the path.
    pub fn name(&self) -> String {
        match self.json()["operationName"].as_str() {
            Some(operation) if self.path == "/graphql" => operation.into(),
            _ => format!("{} {}", self.method, self.path.rsplit('/').next().unwrap()),
        }
    }
}

/// What the server does with a request.
pub enum Reply {
    /// As the real one.
    Good,
    Status(u16, &'static str),
    /// With these words as its body.
    Words(u16, String),
    /// In place of what the real one would say under `data`.
    Data(Value),
    /// Says nothing for a while, then closes.
    Silence(Duration),
    /// Says this without end, with pauses.
    Endless(&'static [u8], Duration),
}

type Behaviour = dyn Fn(&Call) -> Reply + Send + Sync;

pub struct Server {
    pub url: String,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Server {
    /// Asks `behaviour` about each request.
    pub fn start(behaviour: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (shared, base, behaviour) =
            (calls.clone(), url.clone(), Arc::<Behaviour>::from(Box::new(behaviour) as Box<Behaviour>));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (calls, base, behaviour) = (shared.clone(), base.clone(), behaviour.clone());
                std::thread::spawn(move || serve(stream, &calls, &base, &*behaviour));
            }
        });
        Self { url, calls }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub fn names(&self) -> Vec<String> {
        self.calls().iter().map(Call::name).collect()
    }

    pub fn call(&self, name: &str) -> Value {
        let calls = self.calls();
        calls
            .iter()
            .find(|call| call.name() == name)
            .unwrap_or_else(|| panic!("no {name}: {:?}", self.names()))
            .json()
    }

    /// The history as the server has it in the end: later lines at an offset replace earlier ones.
    pub fn history(&self) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        for call in self.calls().iter().filter(|call| call.path.ends_with("file_stream")) {
            let file = &call.json()["files"]["wandb-history.jsonl"];
            let Some(offset) = file["offset"].as_u64() else { continue };
            for (i, line) in file["content"].as_array().unwrap().iter().enumerate() {
                let at = offset as usize + i;
                assert!(at <= lines.len(), "a gap before line {at}");
                lines.truncate(at);
                lines.push(serde_json::from_str(&line.as_str().unwrap().replace("NaN", "null")).unwrap());
            }
        }
        lines
    }

    /// The first lines of history that came, and their offset.
    pub fn first_rows(&self) -> Value {
        self.first_rows_if_any().unwrap()
    }

    pub fn first_rows_if_any(&self) -> Option<Value> {
        let mut files =
            self.calls().into_iter().map(|call| call.json()["files"]["wandb-history.jsonl"].clone());
        files.find(|file| !file.is_null())
    }

    pub fn steps(&self) -> Vec<u64> {
        self.history().iter().map(|line| line["_step"].as_u64().unwrap()).collect()
    }
}

fn serve(stream: TcpStream, calls: &Mutex<Vec<Call>>, base: &str, behaviour: &Behaviour) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(call) = read_call(&mut reader) {
        let mut all = calls.lock().unwrap();
        let reply = behaviour(&call);
        if let Reply::Good | Reply::Data(_) = reply {
            all.push(call.clone());
        }
        drop(all);
        let (status, extra, body) = match reply {
            Reply::Good => (200, "ETag: \"own\"\r\n", answer(&call, base).to_string()),
            Reply::Status(status, extra) => (status, extra, "{}".into()),
            Reply::Words(status, words) => (status, "", words),
            Reply::Data(data) => (200, "", json!({"data": data}).to_string()),
            Reply::Endless(piece, pause) => {
                let mut stream = &stream;
                while stream.write_all(piece).is_ok() {
                    std::thread::sleep(pause);
                }
                return;
            }
            Reply::Silence(time) => {
                std::thread::sleep(time);
                return;
            }
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{extra}\r\n",
            body.len()
        );
        let mut stream = &stream;
        if stream.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
    }
}

fn read_call(reader: &mut impl BufRead) -> Option<Call> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut first = head.split(' ');
    let (method, path) = (first.next()?.to_string(), first.next()?.to_string());
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(Call { method, path, head, body })
}

/// What the real server answers.
fn answer(call: &Call, base: &str) -> Value {
    let (json, upload) = (call.json(), |name: &str| format!("{base}/upload/{name}"));
    let variables = &json["variables"];
    let project = json!({"id": "p", "name": "proj", "entity": {"id": "e", "name": "me"}});
    let data = match call.name().as_str() {
        "Viewer" => {
            json!({"viewer": {"id": "x", "entity": "me", "username": "me", "email": "", "flags": "{}", "teams": {"edges": []}}})
        }
        "ServerFeaturesQuery" => {
            json!({"serverInfo": {"features": [{"name": "MARK_RUN_FILES_UPLOADED", "isEnabled": true}]}})
        }
        "UpsertBucket" => {
            json!({"upsertBucket": {"inserted": true, "bucket": {"id": "STORAGE", "name": variables["name"],
            "displayName": variables["displayName"], "config": variables["config"], "sweepName": null, "description": null,
            "project": project, "historyLineCount": 0}}})
        }
        "RunResumeStatus" => {
            json!({"model": {"id": "m", "name": "proj", "entity": {"id": "e", "name": "me"}, "bucket": {
            "id": "STORAGE", "name": variables["name"], "historyLineCount": 2, "eventsLineCount": 0, "logLineCount": 0,
            "summaryMetrics": "{}", "displayName": "n", "config": "{}", "tags": [], "notes": "", "eventsTail": "[]",
            "historyTail": "[\"{\\\"_step\\\":20,\\\"a\\\":NaN}\"]", "wandbConfig": "{\"t\":{}}"}}})
        }
        "RewindRun" => {
            json!({"rewindRun": {"rewoundRun": {"id": "STORAGE", "name": variables["runName"], "displayName": "n",
            "description": null, "config": "{}", "sweepName": null, "project": project, "historyLineCount": 1}}})
        }
        "CreateRunFiles" => {
            let files = variables["files"].as_array().unwrap().iter();
            let files: Vec<_> = files
                .map(|name| json!({"name": name, "uploadUrl": upload(name.as_str().unwrap())}))
                .collect();
            json!({"createRunFiles": {"runID": "r", "uploadHeaders": ["X-Store:yes"], "files": files}})
        }
        "MarkRunFilesUploaded" => json!({"markRunFilesUploaded": {"success": true}}),
        "NotifyScriptableRunAlert" => json!({"notifyScriptableRunAlert": {"success": true}}),
        "CreateArtifact" => json!({"createArtifact": {"artifact": {"id": "ART", "state": "PENDING",
            "artifactSequence": {"id": "s", "latestArtifact": null}}}}),
        "CreateArtifactManifest" => {
            json!({"createArtifactManifest": {"artifactManifest": {"id": "MAN", "file": {"id": "f",
            "name": "m", "displayName": "m", "uploadUrl": upload("manifest"), "uploadHeaders": []}}}})
        }
        "CreateArtifactFiles" => {
            let file = &variables["input"]["artifactFiles"][0];
            let name = file["name"].as_str().unwrap();
            let part = |part: &Value| {
                let number = &part["partNumber"];
                json!({"partNumber": number, "uploadUrl": upload(&format!("part{number}"))})
            };
            let parts = file["uploadPartsInput"].as_array().map(|parts| {
                json!({"uploadID": "UP", "uploadUrlParts": parts.iter().map(part).collect::<Vec<_>>()})
            });
            let node = json!({"id": "f", "name": name, "displayName": name, "storagePath": "sp", "uploadUrl": upload(name),
                "uploadHeaders": ["Content-Type:application/x-own"], "uploadMultipartUrls": parts, "artifact": {"id": "ART"}});
            json!({"createArtifactFiles": {"files": {"edges": [{"node": node}]}}})
        }
        "CompleteMultipartUploadArtifact" => {
            json!({"completeMultipartUploadArtifact": {"digest": "d"}})
        }
        "CommitArtifact" => json!({"commitArtifact": {"artifact": {"id": "ART", "digest": "d"}}}),
        "FetchArtifactDigestAlgorithm" => json!({"project": {"artifactType": null}}),
        "RunStoppedStatus" => json!({"project": {"run": {"stopped": false}}}),
        _ => return json!({}),
    };
    json!({"data": data})
}
