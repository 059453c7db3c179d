//! The directory by a reading of its own, and by the classes of Neptune's client where Python has it.

use std::time::Instant;

use super::*;
use crate::trainer::settings::Settings;
use crate::trainer::tests::python_with;

fn begin(run: &Path, origin: Origin) -> Neptune {
    let settings = Settings { env: "cartpole".into(), ..Settings::default() };
    let config =
        json!({"lr": 0.001, "seed": 3, "anneal": true, "env": "cartpole", "list": [1], "nothing": null});
    let description = Description {
        settings: &settings,
        config: config.as_object().unwrap().clone(),
        run,
        run_id: "k3v9x0q2m1zz",
        run_name: "cartpole-1",
        origin,
        commit: None,
        tags: &["learned"],
        logged_step: 20,
    };
    Neptune::begin_in(&description, run.join(".neptune")).unwrap()
}

fn point(step: u64) -> Point {
    Point {
        step,
        timesteps: step * 100,
        wall_seconds: 1.0,
        time: "2026-01-05T01:02:03.5Z".parse().unwrap(),
        fields: vec![("train/entropy".into(), "0.5".into()), ("eval/x".into(), "NaN".into())],
    }
}

fn finish(neptune: Neptune, state: State) -> Vec<String> {
    Box::new(neptune).end(state).wait(Instant::now())
}

/// The directories of a run, and the lines of their operations.
fn read(run: &Path) -> (Vec<PathBuf>, Vec<Value>) {
    let entries = fs::read_dir(run.join(".neptune/offline")).unwrap();
    let directories: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let mut files: Vec<(u64, PathBuf)> = Vec::new();
    for file in directories.iter().flat_map(|directory| fs::read_dir(directory).unwrap()) {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if let Some(number) = name.strip_prefix("data-").and_then(|name| name.strip_suffix(".log")) {
            files.push((number.parse().unwrap(), path.clone()));
        }
    }
    files.sort();
    let text: String = files.iter().map(|(_, path)| fs::read_to_string(path).unwrap()).collect();
    (directories, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The operations at a path.
fn at(lines: &[Value], path: &str) -> Vec<Value> {
    let path: Vec<&str> = path.split('/').collect();
    lines.iter().filter(|line| line["obj"]["path"] == json!(path)).map(|line| line["obj"].clone()).collect()
}

fn logged(dir: &Path) {
    let mut neptune = begin(dir, Origin::New);
    neptune.log(&point(10));
    neptune.log(&point(20));
    neptune.alert(&Alert { title: "entropy".into(), text: "it is 0".into() });
    neptune.console(&[Said { time: jiff::Timestamp::UNIX_EPOCH, text: "hello".into() }]);
    neptune.utilisation(&Utilisation { cpu_percent: Some(50.0), ..Utilisation::default() }, point(20));
    neptune.sum_up(&[("windows".into(), "3".into()), ("status".into(), "\"failed\"".into())]);
    let path = dir.join("checkpoint_20.ckpt");
    fs::write(&path, "hello").unwrap();
    let artifact =
        Artifact { name: "final-model".into(), kind: "model", path, metadata: json!({}), aliases: vec![] };
    neptune.artifact(&Artifact { path: dir.join("removed"), name: "older".into(), ..artifact.clone() });
    neptune.artifact(&artifact);
    let notices = finish(neptune, State::Completed);
    let said = format!("Neptune: send the run with: neptune sync --path {} ", dir.display());
    assert!(notices.len() == 1 && notices[0].starts_with(&said), "{notices:?}");
}

#[test]
fn a_run_is_a_directory_of_operations() {
    let dir = tempfile::tempdir().unwrap();
    logged(dir.path());
    let (directories, lines) = read(dir.path());
    let [directory] = &directories[..] else { panic!("{directories:?}") };
    let name = directory.file_name().unwrap().to_str().unwrap();
    assert_eq!(name.split("__").count(), 4, "{name}");
    let metadata: Value =
        serde_json::from_slice(&fs::read(directory.join("metadata.json")).unwrap()).unwrap();
    assert_eq!(name.split("__").nth(1), metadata["containerId"].as_str());
    assert_eq!((&metadata["structureVersion"], &metadata["containerType"]), (&json!(3), &json!("run")));
    let versions: Vec<u64> = lines.iter().map(|line| line["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=lines.len() as u64).collect::<Vec<_>>());
    let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    assert_eq!(text("last_put_version"), lines.len().to_string());
    assert_eq!(text("last_ack_version"), "0");
    assert!(directory.join("upload_path").is_dir());

    let value = |path: &str| {
        let [operation] = &at(&lines, path)[..] else { panic!("{path}") };
        (operation["type"].as_str().unwrap().to_owned(), operation["value"].clone())
    };
    assert_eq!(value("sys/name"), ("AssignString".into(), json!("cartpole-1")));
    assert_eq!(value("parameters/lr"), ("AssignFloat".into(), json!(0.001)));
    assert_eq!(value("parameters/seed"), ("AssignInt".into(), json!(3)));
    assert_eq!(value("parameters/anneal"), ("AssignBool".into(), json!(true)));
    assert_eq!(value("parameters/list"), ("AssignString".into(), json!("[1]")));
    assert_eq!(value("summary/windows"), ("AssignInt".into(), json!(3)));
    assert_eq!(value("sys/failed"), ("AssignBool".into(), json!(false)));
    assert!(at(&lines, "parameters/nothing").is_empty() && at(&lines, "eval/x").is_empty());
    assert_eq!(at(&lines, "sys/tags")[0]["values"], json!(["lockstep", "cartpole", "learned"]));
    let entropy: Vec<Value> =
        at(&lines, "train/entropy").iter().map(|operation| operation["values"][0].clone()).collect();
    assert_eq!(entropy[0], json!({"value": 0.5, "step": 1000.0, "ts": 1_767_574_923.5}));
    assert_eq!(entropy.len(), 2);
    assert_eq!(at(&lines, "monitoring/cpu")[0]["values"][0]["value"], 50.0);
    assert_eq!(at(&lines, "warnings")[0]["values"][0]["value"], "entropy: it is 0");
    assert_eq!(at(&lines, "monitoring/stdout")[0]["values"][0]["value"], "hello");
    assert!(at(&lines, "model/older").is_empty(), "it is not there any more");
    let path = at(&lines, "model/final-model")[0]["file_path"].as_str().unwrap().to_owned();
    assert_eq!(fs::read_to_string(path).unwrap(), "hello");
}

#[test]
fn a_resumed_run_goes_on_behind_the_last_whole_line() {
    let dir = tempfile::tempdir().unwrap();
    let mut neptune = begin(dir.path(), Origin::New);
    neptune.log(&point(20));
    drop(neptune); // killed
    let (directories, before) = read(dir.path());
    let log = directories[0].join("data-1.log");
    let mut text = fs::read(&log).unwrap();
    text.extend_from_slice(b"{\"obj\": {\"ty");
    fs::write(&log, text).unwrap();
    let mut neptune = begin(dir.path(), Origin::Rewound { step: 10 });
    [10, 20, 30].iter().for_each(|&step| neptune.log(&point(step)));
    let notices = finish(neptune, State::Stopped);
    assert!(notices[0].starts_with("Neptune cannot rewind"), "{notices:?}");
    let (directories, lines) = read(dir.path());
    assert_eq!(directories.len(), 1);
    assert_eq!(lines[before.len()]["version"], before.len() as u64 + 1);
    let steps: Vec<Value> =
        at(&lines, "train/entropy").iter().map(|operation| operation["values"][0]["step"].clone()).collect();
    assert_eq!(steps, [2000.0, 3000.0]);

    // The client moves away what it has sent; a place may be anybody's.
    fs::remove_dir_all(&directories[0]).unwrap();
    finish(begin(dir.path(), Origin::Resumed), State::Completed);
    assert_ne!(read(dir.path()).0, directories);
    fs::write(dir.path().join(FILE), r#"{"directory": "../../elsewhere"}"#).unwrap();
    finish(begin(dir.path(), Origin::Resumed), State::Completed);
    assert_eq!(read(dir.path()).0.len(), 2);
}

#[test]
fn a_large_file_is_followed_by_another() {
    let dir = tempfile::tempdir().unwrap();
    let mut neptune = begin(dir.path(), Origin::New);
    let before = neptune.version;
    let text = "x".repeat(1 + MOST_BYTES as usize);
    neptune.console(&[Said { time: jiff::Timestamp::UNIX_EPOCH, text }]);
    neptune.log(&point(30));
    drop(neptune);
    let (directories, lines) = read(dir.path());
    assert!(directories[0].join(format!("data-{}.log", before + 2)).is_file());
    let mut neptune = begin(dir.path(), Origin::Resumed);
    assert!(neptune.version > lines.len() as u64, "it goes on in the last one");
    neptune.log(&point(40));
    let (_, lines) = read(dir.path());
    let versions: Vec<u64> = lines.iter().map(|line| line["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=lines.len() as u64).collect::<Vec<_>>());
}

/// Reads a directory by the classes of a client: that of the package in which they are.
fn is_read_by(package: &str) {
    let script = r#"
import sys, threading, json
from importlib import import_module
from pathlib import Path
def of(module, name):
    return getattr(import_module(f"{sys.argv[2]}.{module}"), name)
MetadataFile = of("core.components.metadata_file", "MetadataFile")
OperationStorage = of("core.components.operation_storage", "OperationStorage")
DiskQueue = of("core.components.queue.disk_queue", "DiskQueue")
Operation = of("internal.operation", "Operation")
path = Path(sys.argv[1])
assert MetadataFile(path)["mode"] == "offline"
assert OperationStorage(path).upload_path.is_dir()
queue = DiskQueue(data_path=path, to_dict=lambda op: op.to_dict(), from_dict=Operation.from_dict, lock=threading.RLock())
size, operations = queue.size(), []
while batch := queue.get_batch(7):
    operations += batch
print(json.dumps({"size": size, "operations": [[element.ver, element.obj.to_dict()] for element in operations]}))
"#;
    let Some(mut python) = python_with(&format!("{package}.core.components.queue")) else { return };
    let dir = tempfile::tempdir().unwrap();
    logged(dir.path());
    let (directories, lines) = read(dir.path());
    let output = python.args(["-c", script]).arg(&directories[0]).arg(package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(result["size"], lines.len() as u64);
    for (line, read) in lines.iter().zip(result["operations"].as_array().unwrap()) {
        assert_eq!((&line["version"], &line["obj"]["path"]), (&read[0], &read[1]["path"]));
        // Tags are a set.
        let values = |operation: &Value| {
            let mut values = operation["values"].clone();
            if let (Some(tags), "AddStrings") = (values.as_array_mut(), operation["type"].as_str().unwrap()) {
                tags.sort_by_key(Value::to_string);
            }
            values
        };
        assert_eq!(values(&line["obj"]), values(&read[1]), "{line}");
    }
}

/// The classes with which `neptune sync` reads.
#[test]
fn the_official_client_reads_the_directory() {
    is_read_by("neptune");
}

/// Those of the fork that is still maintained.
#[test]
fn minfx_reads_the_directory() {
    is_read_by("minfx.neptune_v2");
}
