//! Neptune: the offline directory of its client, versions 1.x, which `neptune sync` sends.
//!
//! Neptune's hosted service ended on 5 March 2026. Self-hosted servers remain, and the maintained fork `minfx` reads the same directory
//! and has a service of its own. So nothing is sent from here: a run writes
//!
//! ```text
//! .neptune/offline/run__<uuid>__<pid>__<key>/
//!     metadata.json                     what wrote it
//!     data-<first version>.log          operations, one JSON object per line, each with the next version
//!     last_put_version last_ack_version the versions that are there and that were sent
//!     upload_path/                      empty
//! ```
//!
//! Each line is written at once, so a killed process leaves whole lines, and at most a torn one at the end, which is cut when the run goes
//! on. It goes on in the same directory as long as that was not sent; what is logged cannot be taken back, so the series go on after the
//! last step that was logged.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::event::{Alert, Artifact, Fields, Point, Said};
use super::{Description, Ending, Origin, Tracker, is_plain_id, variable};
use crate::envs::short_name;
use crate::files;
use crate::trainer::files::write_atomically;
use crate::trainer::log_file::{LogFile, last_line};
use crate::trainer::status::{self, State};
use crate::trainer::utilisation::Utilisation;

/// The file in the run directory that says how the directory of its operations is called.
const FILE: &str = "neptune.json";
/// A file of operations is at most so large.
const MOST_BYTES: u64 = 64 << 20;

/// A run in an offline directory.
#[derive(Debug)]
pub struct Neptune {
    /// What `neptune sync --path` takes.
    root: PathBuf,
    directory: PathBuf,
    log: LogFile,
    /// The version of the last operation.
    version: u64,
    /// Points up to this step are there already.
    skip_until: u64,
    artifacts: bool,
    /// Files to tell of at the end, those that are still there.
    kept: Vec<Artifact>,
    /// Timesteps of the newest point.
    timesteps: u64,
    notices: Vec<String>,
    /// Whether it has been said that the log cannot be written.
    complained: bool,
}

impl Neptune {
    /// Begins a directory, or goes on with the one that the run has.
    ///
    /// # Errors
    /// One line: it cannot be made or read.
    pub fn begin(description: &Description) -> Result<Self> {
        let data = variable("NEPTUNE_DATA_DIRECTORY").map(PathBuf::from);
        Self::begin_in(description, data.unwrap_or_else(|| description.run.join(".neptune")))
    }

    fn begin_in(description: &Description, data: PathBuf) -> Result<Self> {
        let Description { settings, run, origin, .. } = *description;
        let offline = std::path::absolute(data.join("offline"))?;
        let (directory, (log, version)) = match kept(run, &offline).filter(|_| origin != Origin::New) {
            Some(directory) => (directory.clone(), go_on(&directory)?),
            None => {
                let name = make(&offline)?;
                write_atomically(&run.join(FILE), &serde_json::to_vec_pretty(&json!({"directory": name}))?)?;
                let directory = offline.join(name);
                let log = LogFile::open_lines(&directory.join("data-1.log"), 0)?;
                (directory, (log, 0))
            }
        };
        let mut neptune = Self {
            root: data.parent().filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new(".")).into(),
            directory,
            log,
            version,
            skip_until: description.skip_until(),
            artifacts: !settings.no_artifact,
            kept: Vec::new(),
            timesteps: 0,
            notices: Vec::new(),
            complained: false,
        };
        if let Origin::Rewound { .. } = origin {
            neptune.notices.push("Neptune cannot rewind; the series go on after their last step".into());
        }
        neptune.describe(description);
        Ok(neptune)
    }

    /// Writes what the run is: its name, its tags and its settings.
    fn describe(&mut self, description: &Description) {
        let Description { settings, config, run_name, run_id, commit, tags, .. } = description;
        self.assign("sys/name", &json!(run_name));
        let env = short_name(&settings.env);
        let values: Vec<&str> = ["lockstep", &env].into_iter().chain(tags.iter().copied()).collect();
        self.put("AddStrings", "sys/tags", json!({"values": values}));
        self.assign("lockstep/id", &json!(run_id));
        let named = [("lockstep/group", settings.group.as_deref()), ("lockstep/commit", commit.as_deref())];
        for (path, value) in named.into_iter().filter_map(|(path, value)| Some((path, value?))) {
            self.assign(path, &json!(value));
        }
        for (name, value) in config {
            self.assign(&format!("parameters/{name}"), value);
        }
    }

    /// Gives an attribute a value, of the type that it has.
    fn assign(&mut self, path: &str, value: &Value) {
        let kind = match value {
            Value::Null => return,
            Value::Bool(_) => "AssignBool",
            Value::Number(number) if number.is_f64() => "AssignFloat",
            Value::Number(_) => "AssignInt",
            Value::String(_) => "AssignString",
            Value::Array(_) | Value::Object(_) => {
                return self.put("AssignString", path, json!({"value": value.to_string()}));
            }
        };
        self.put(kind, path, json!({"value": value}));
    }

    /// Adds a value to a series.
    fn add(&mut self, kind: &str, path: &str, value: Value, timesteps: u64, time: jiff::Timestamp) {
        let entry = json!({"value": value, "step": timesteps as f64, "ts": seconds(time)});
        self.put(kind, path, json!({"values": [entry]}));
    }

    /// Appends an operation. `path` has its parts between slashes.
    fn put(&mut self, kind: &str, path: &str, content: Value) {
        let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let mut operation = json!({"type": kind, "path": path});
        if let (Value::Object(operation), Value::Object(content)) = (&mut operation, content) {
            operation.extend(content);
        }
        self.version += 1;
        let at = seconds(jiff::Timestamp::now());
        let line = json!({"obj": operation, "version": self.version, "at": at});
        let written = self.next_file().and_then(|()| self.log.append(format!("{line}\n").as_bytes()));
        self.tell_of(written);
    }

    /// Begins another file if this one is large.
    fn next_file(&mut self) -> Result<()> {
        if self.log.length() > MOST_BYTES {
            let path = self.directory.join(format!("data-{}.log", self.version));
            self.log.sync()?;
            self.log = LogFile::open_lines(&path, 0)?;
        }
        Ok(())
    }

    fn tell_of(&mut self, written: Result<()>) {
        if let (Err(error), false) = (written, self.complained) {
            self.complained = true;
            self.notices.push(format!("{error:#}; Neptune's lines are kept for later"));
        }
    }

    /// Says how many operations there are.
    fn count(&mut self) {
        let path = self.directory.join("last_put_version");
        let written = fs::write(&path, self.version.to_string());
        self.tell_of(written.with_context(|| format!("cannot write {}", path.display())));
    }
}

impl Tracker for Neptune {
    fn log(&mut self, point: &Point) {
        self.timesteps = point.timesteps;
        if point.step <= self.skip_until {
            return;
        }
        // What is no number has no place in JSON.
        for (name, value) in point.numbers().filter(|(_, value)| value.is_finite()) {
            self.add("LogFloats", name, json!(value), point.timesteps, point.time);
        }
        self.count();
    }

    fn sum_up(&mut self, fields: &Fields) {
        for (name, value) in fields {
            if let Ok(value) = serde_json::from_str(value) {
                self.assign(&format!("summary/{name}"), &value);
            }
        }
    }

    fn skip_to(&mut self, step: u64) {
        self.skip_until = self.skip_until.max(step);
    }

    fn alert(&mut self, alert: &Alert) {
        let text = format!("{}: {}", alert.title, alert.text);
        self.add("LogStrings", "warnings", text.into(), self.timesteps, jiff::Timestamp::now());
    }

    /// Tells of files at the end only, for the run may remove them; `neptune sync` needs them where they are.
    fn artifact(&mut self, artifact: &Artifact) {
        if self.artifacts {
            self.kept.retain(|older| older.name != artifact.name);
            self.kept.push(artifact.clone());
        }
    }

    fn console(&mut self, lines: &[Said]) {
        let values: Vec<Value> = lines
            .iter()
            .map(|said| json!({"value": said.text, "step": null, "ts": seconds(said.time)}))
            .collect();
        self.put("LogStrings", "monitoring/stdout", json!({"values": values}));
    }

    fn utilisation(&mut self, utilisation: &Utilisation, now: Point) {
        let gibibytes = |bytes: u64| bytes as f64 / f64::from(1 << 30);
        let used = utilisation.memory.map(|memory| gibibytes(memory.total.saturating_sub(memory.available)));
        let mut series =
            vec![("monitoring/cpu".to_owned(), utilisation.cpu_percent), ("monitoring/memory".into(), used)];
        for (index, gpu) in utilisation.gpus.iter().enumerate() {
            series.push((format!("monitoring/gpu_{index}"), gpu.load_percent));
            series.push((format!("monitoring/gpu_memory_{index}"), Some(gibibytes(gpu.memory_used))));
        }
        for (path, value) in series.into_iter().filter_map(|(path, value)| Some((path, value?))) {
            self.add("LogFloats", &path, json!(value), now.timesteps, now.time);
        }
    }

    fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    fn end(mut self: Box<Self>, state: State) -> Ending {
        let kept = std::mem::take(&mut self.kept);
        for Artifact { name, path, .. } in kept.iter().filter(|artifact| artifact.path.exists()) {
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            let path = path.canonicalize().unwrap_or(path.clone());
            self.put("UploadFile", &format!("model/{name}"), json!({"ext": extension, "file_path": path}));
        }
        self.assign("sys/failed", &json!(state == State::Failed));
        self.count();
        let synced = self.log.sync();
        self.tell_of(synced);
        let root = self.root.display();
        self.notices.push(format!(
            "Neptune: send the run with: neptune sync --path {root} --project WORKSPACE/PROJECT --offline-only"
        ));
        Ending { notices: self.notices, sender: None, lacking: Box::new(str::to_owned), uploads: None }
    }
}

fn seconds(time: jiff::Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1e3
}

/// The directory below `offline` that a run has, unless it was sent: the client moves it away then.
fn kept(run: &Path, offline: &Path) -> Option<PathBuf> {
    let place: Value = serde_json::from_str(&files::read_text(&run.join(FILE)).ok()?).ok()?;
    let name = place["directory"].as_str().filter(|name| is_plain_id(name))?;
    let directory = offline.join(name);
    directory.join("metadata.json").is_file().then_some(directory)
}

/// Makes the directory of a new run; gives its name.
fn make(offline: &Path) -> Result<String> {
    let id = uuid()?;
    let name = format!("run__{id}__{}__{}", std::process::id(), &id.replace('-', "")[..8]);
    let directory = offline.join(&name);
    let cannot = || format!("cannot make {}", directory.display());
    fs::create_dir_all(directory.join("upload_path")).with_context(cannot)?;
    let metadata = json!({
        "mode": "offline",
        "containerId": id,
        "containerType": "run",
        "structureVersion": 3,
        "os": format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
        "pythonVersion": "",
        "neptuneClientVersion": concat!("lockstep-", env!("CARGO_PKG_VERSION")),
        "createdAt": status::now(),
    });
    write_atomically(&directory.join("metadata.json"), &serde_json::to_vec_pretty(&metadata)?)?;
    for name in ["last_put_version", "last_ack_version"] {
        write_atomically(&directory.join(name), b"0")?;
    }
    Ok(name)
}

/// A random UUID, version 4.
fn uuid() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..4], &hex[4..6], &hex[6..8], &hex[8..10], &hex[10..]].map(<[String]>::concat).join("-"))
}

/// Opens the last file of operations in a directory, behind its last whole line; gives the version that has.
fn go_on(directory: &Path) -> Result<(LogFile, u64)> {
    let cannot = || format!("cannot read {}", directory.display());
    let number = |name: &str| name.strip_prefix("data-")?.strip_suffix(".log")?.parse::<u64>().ok();
    let entries = fs::read_dir(directory).with_context(cannot)?.flatten();
    let first = entries.filter_map(|entry| number(&entry.file_name().to_string_lossy())).max().unwrap_or(1);
    let path = directory.join(format!("data-{first}.log"));
    let last = last_line(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let version = last.and_then(|line| serde_json::from_str::<Value>(&line).ok()?["version"].as_u64());
    Ok((LogFile::open_lines(&path, u64::MAX)?, version.unwrap_or(first.saturating_sub(1))))
}

#[cfg(test)]
mod tests;
