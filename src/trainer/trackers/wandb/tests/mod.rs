//! Against a server on the loopback interface that misbehaves on demand, and against the official client where Python has it.

mod faults;
pub(in crate::trainer::trackers) mod server;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Instant;

use super::*;
use crate::trainer::metrics::Row;
use crate::trainer::settings::Settings;
use crate::trainer::tests::python_with;
use crate::trainer::utilisation::Gpu;
use server::{Call, Reply, Server};

/// Everything at once, and little patience.
pub(in crate::trainer::trackers) const PACE: Pace = Pace {
    post: Duration::from_millis(10),
    heartbeat: Duration::from_millis(200),
    pause: Duration::from_millis(10),
    patience: Duration::from_millis(2500),
    call: Duration::from_millis(500),
    most_rows: 1000,
};

const RUN_ID: &str = "k3v9x0q2m1zz";
const KEY: &str = "0123456789012345678901234567890123456789";

fn row(update: u64) -> Row {
    Row {
        update,
        timesteps: update * 100,
        names: ["train/entropy", "train/mean_episode_return", "reward/kill"].map(String::from).to_vec(),
        values: vec![None, Some(0.1), Some(update as f32)],
        steps_per_second: 10.0,
        updates_per_second: 0.1,
        wall_seconds: update as f64,
        phases: None,
        episodes: 0,
        rates: crate::algorithms::schedule::Rates::default(),
        time: "2026-01-05T01:02:03Z".parse().unwrap(),
        naming: Default::default(),
    }
}

/// Begins a run in `dir` that logs to `url`; without one it is offline.
fn begin(dir: &Path, url: Option<&str>, origin: Origin) -> Wandb {
    let settings = Settings {
        wandb: Some(Mode::Online),
        entity: Some("me".into()),
        project: Some("proj".into()),
        ..Settings::default()
    };
    let settings = if url.is_none() { Settings { wandb: Some(Mode::Offline), ..settings } } else { settings };
    let config = json!({"lr": 0.001, "env": "cartpole"}).as_object().unwrap().clone();
    let description = Description {
        settings: &settings,
        config,
        run: dir,
        run_id: RUN_ID,
        run_name: "cartpole-jan05-26-1",
        origin,
        commit: Some("c0ffee".into()),
        tags: &[],
        logged_step: 20,
    };
    let environment = Environment::of(
        &[("WANDB_API_KEY", KEY), ("WANDB_BASE_URL", url.unwrap_or("http://127.0.0.1:9"))],
        None,
    );
    let (wandb, notices) = Wandb::begin(&description, &environment, PACE);
    assert!(notices.is_empty(), "{notices:?}");
    wandb.unwrap()
}

impl Wandb {
    fn row(&mut self, row: &Row) {
        self.log(&Point::of_row(row));
    }

    fn warn(&mut self, title: &str, text: &str) {
        self.alert(&Alert { title: title.into(), text: text.into() });
    }

    fn finish(self) -> Vec<String> {
        Box::new(self).end(State::Completed).wait(Instant::now() + Duration::from_secs(60))
    }
}

fn checkpoint(dir: &Path) -> Artifact {
    let path = dir.join("checkpoint_20.ckpt");
    fs::write(&path, "hello").unwrap();
    let metadata = json!({"update": 20});
    Artifact { name: "checkpoint-20".into(), kind: "model", path, metadata, aliases: vec!["latest".into()] }
}

/// The `.wandb` files in `dir/wandb`, oldest first.
fn logs(dir: &Path) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(dir.join("wandb")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() == "latest-run" {
            continue;
        }
        let files = fs::read_dir(entry.path()).unwrap().map(|file| file.unwrap().path());
        logs.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "wandb")));
    }
    logs.sort();
    logs
}

#[test]
fn an_online_run_makes_the_calls_of_the_official_client() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    for update in [10, 20] {
        wandb.row(&row(update));
    }
    wandb.warn("entropy collapse", "entropy is 0");
    wandb.artifact(&checkpoint(dir.path()));
    let notices = wandb.finish();
    assert_eq!(notices, [format!("W&B: {}/me/proj/runs/{RUN_ID}", server.url)]);

    let names = server.names();
    let mut expected = vec!["Viewer", "UpsertBucket", "ServerFeaturesQuery"];
    let streamed = names.iter().skip(3).take_while(|name| *name == "POST file_stream").count();
    expected.extend(vec!["POST file_stream"; streamed]);
    expected.extend([
        "NotifyScriptableRunAlert",
        "CreateArtifact",
        "CreateArtifactManifest",
        "CreateArtifactFiles",
        "PUT checkpoint_20.ckpt",
        "CreateArtifactManifest",
        "PUT manifest",
        "CommitArtifact",
        "CreateRunFiles",
        "PUT config.yaml",
        "PUT wandb-metadata.json",
        "PUT wandb-summary.json",
        "MarkRunFilesUploaded",
        "POST file_stream",
    ]);
    assert_eq!(names, expected);

    let calls = server.calls();
    assert!(calls[0].head.to_lowercase().contains("authorization: basic "), "{}", calls[0].head);
    let put = calls.iter().find(|call| call.name() == "PUT config.yaml").unwrap();
    assert!(
        !put.head.to_lowercase().contains("authorization")
            && put.head.to_lowercase().contains("x-store: yes")
    );
    let bucket = &server.call("UpsertBucket")["variables"];
    assert_eq!((&bucket["name"], &bucket["displayName"]), (&json!(RUN_ID), &json!("cartpole-jan05-26-1")));
    let config: Value = serde_json::from_str(bucket["config"].as_str().unwrap()).unwrap();
    assert_eq!(config["lr"], json!({"value": 0.001}));
    assert_eq!(config["_wandb"]["value"]["m"][1], json!({"2": "*", "5": 1, "6": [1], "7": []}));
    assert_eq!(server.steps(), [10, 20]);
    let line = &server.history()[1];
    assert_eq!((&line["timesteps"], &line["train/mean_episode_return"]), (&json!(2000), &json!(0.1)));
    assert_eq!((&line["reward/kill"], line.get("train/entropy")), (&json!(20.0), None));
    let last = calls.last().unwrap().json();
    assert_eq!(
        (&last["complete"], &last["exitcode"], &last["dropped"]),
        (&json!(true), &json!(0), &json!(0))
    );
    let digest = &server.call("CreateArtifact")["variables"]["input"]["digest"];
    assert_eq!(digest, "b24073ddb161abcfd79a9f5f5f45027a");
    assert_eq!(logs(dir.path()).len(), 1); // what was sent is on the disk, too
}

#[test]
fn a_large_file_is_sent_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    let large = checkpoint(dir.path());
    let bytes: Vec<u8> = (0..70_000u32).map(|i| (i % 253) as u8).collect();
    fs::write(&large.path, &bytes).unwrap();
    wandb.artifact(&large);
    wandb.finish();

    let calls = server.calls();
    let puts: Vec<&Call> = calls.iter().filter(|call| call.name().starts_with("PUT part")).collect();
    assert_eq!(
        puts.iter().map(|call| call.name()).collect::<Vec<_>>(),
        ["PUT part1", "PUT part2", "PUT part3"]
    );
    assert_eq!(puts.iter().flat_map(|call| call.body.clone()).collect::<Vec<_>>(), bytes);
    let head = puts[1].head.to_lowercase();
    assert!(
        head.contains("content-type: application/x-own") && head.contains("content-length: 24576"),
        "{head}"
    );
    assert!(
        head.contains(&format!("content-md5: {}", artifact::digest(&bytes[24_576..49_152])).to_lowercase())
    );
    let announced = &server.call("CreateArtifactFiles")["variables"]["input"]["artifactFiles"][0];
    assert_eq!(announced["uploadPartsInput"].as_array().unwrap().len(), 3);
    assert_eq!(announced["uploadPartsInput"][0]["hexMD5"].as_str().unwrap().len(), 32);
    let done = server.call("CompleteMultipartUploadArtifact")["variables"]["input"].take();
    assert_eq!(
        (&done["uploadID"], &done["storagePath"], &done["artifactID"]),
        (&json!("UP"), &json!("sp"), &json!("ART"))
    );
    assert_eq!(done["completedParts"][2], json!({"partNumber": 3, "hexMD5": "\"own\""}));
    let names = server.names();
    let place = |name: &str| names.iter().position(|other| other == name).unwrap();
    assert!(place("PUT part3") < place("CompleteMultipartUploadArtifact"));
    assert!(place("CompleteMultipartUploadArtifact") < place("CommitArtifact"));
    assert!(!names.contains(&"PUT checkpoint_20.ckpt".to_owned()));
}

/// What a file of the run has in the end, as the server knows it.
fn lines_of(server: &Server, file: &str) -> Vec<(u64, String)> {
    let posts = server.calls().into_iter().filter(|call| call.path.ends_with("file_stream"));
    let files = posts.map(|call| call.json()["files"][file].clone()).filter(|file| !file.is_null());
    let lines = |file: Value| {
        let offset = file["offset"].as_u64().unwrap();
        let content = file["content"].as_array().unwrap().clone();
        (offset..).zip(content.into_iter().map(|line| line.as_str().unwrap().to_owned()))
    };
    files.flat_map(lines).collect()
}

#[test]
fn console_and_utilisation_go_with_the_posts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    let time = "2026-01-05T01:02:03Z".parse().unwrap();
    wandb.console(&["one", "two"].map(|text| Said { time, text: text.into() }));
    let gpu = Gpu { load_percent: Some(98.0), memory_used: 1 << 30, memory_total: 4 << 30 };
    let utilisation = Utilisation { process_percent: Some(187.5), gpus: vec![gpu], ..Utilisation::default() };
    wandb.utilisation(&utilisation, Point::of_row(&row(10)));
    wandb.finish();
    let first = "2026-01-05T01:02:03.000000 one".to_owned();
    assert_eq!(lines_of(&server, "output.log")[0], (0, first));
    assert_eq!(lines_of(&server, "output.log").len(), 2);
    let events = lines_of(&server, "wandb-events.jsonl");
    let event: Value = serde_json::from_str(&events[0].1).unwrap();
    assert_eq!((&event["system.cpu"], &event["_wandb"]), (&json!(187.5), &json!(true)));
    assert_eq!(
        (&event["system.gpu.0.gpu"], &event["system.gpu.0.memoryAllocated"]),
        (&json!(98.0), &json!(25.0))
    );
    assert_eq!(event["_runtime"], 10.0);
    let log = fs::read(&logs(dir.path())[0]).unwrap();
    let log = String::from_utf8_lossy(&log);
    assert!(log.contains("two\n") && log.contains("gpu.0.memoryAllocatedBytes"));
}

#[test]
fn a_file_is_sent_as_it_was_though_the_run_has_removed_it() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Instant::now();
    // Nothing is taken until the run has done what it wants with its files.
    let server = Server::start(move |_| match slow.elapsed() < Duration::from_millis(150) {
        true => Reply::Status(503, ""),
        false => Reply::Good,
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    let artifact = checkpoint(dir.path());
    wandb.artifact(&artifact);
    fs::remove_file(&artifact.path).unwrap(); // --keep
    fs::write(dir.path().join("other"), "changed").unwrap();
    fs::rename(dir.path().join("other"), &artifact.path).unwrap();
    wandb.finish();
    let calls = server.calls();
    let sent = calls.iter().find(|call| call.name() == "PUT checkpoint_20.ckpt").expect("the file is sent");
    assert_eq!(sent.body, b"hello");
    assert!(!dir.path().join(UPLOADS).exists(), "nothing is left behind");
}

#[test]
fn a_resumed_run_continues_after_the_servers_last_step() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::Resumed);
    for update in [10, 20, 30, 40] {
        wandb.row(&row(update));
    }
    wandb.finish();
    assert_eq!(server.names()[..4], ["Viewer", "RunResumeStatus", "UpsertBucket", "ServerFeaturesQuery"]);
    assert_eq!(server.call("UpsertBucket")["variables"]["id"], "STORAGE");
    let first = server.first_rows();
    assert_eq!(first["offset"], 2);
    assert!(first["content"][0].as_str().unwrap().contains("\"_step\":30"));
}

#[test]
fn a_rewound_run_asks_the_server_to_forget() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::Rewound { step: 10 });
    wandb.row(&row(20));
    wandb.finish();
    let names = ["Viewer", "RewindRun", "RunResumeStatus", "UpsertBucket", "ServerFeaturesQuery"];
    assert_eq!(server.names()[..5], names);
    let rewind = &server.call("RewindRun")["variables"];
    assert_eq!((&rewind["metricName"], &rewind["metricValue"]), (&json!("_step"), &json!(10.0)));
    let config = server.call("UpsertBucket")["variables"]["config"].as_str().unwrap().to_string();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["_wandb"]["value"]["branch_point"]["step"], 10);
    assert_eq!(server.first_rows()["offset"], 1);
}

#[test]
fn errors_of_the_server_are_survived_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    // Half of the requests fail, in various ways.
    let server = Server::start(move |_| match count.fetch_add(1, SeqCst) % 8 {
        0 => Reply::Status(500, ""),
        1 => Reply::Status(429, "Retry-After: 0\r\n"),
        2 => Reply::Status(503, ""),
        3 => Reply::Silence(Duration::ZERO),
        _ => Reply::Good,
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    for update in 1..=50 {
        wandb.row(&row(update));
        std::thread::sleep(Duration::from_millis(2));
    }
    let notices = wandb.finish();
    assert!(!notices.iter().any(|notice| notice.contains("lacks")), "{notices:?}");
    assert_eq!(server.steps(), (1..=50).collect::<Vec<_>>());
}

/// Logs 100 rows, ends the run, and gives what was told; fails if logging took longer than it may.
fn log_quickly(dir: &Path, url: &str) -> Vec<String> {
    let begin_time = Instant::now();
    let mut wandb = begin(dir, Some(url), Origin::New);
    let start = Instant::now();
    for update in 1..=100 {
        wandb.row(&row(update));
    }
    assert!(start.elapsed() < Duration::from_millis(250), "training waited {:?}", start.elapsed());
    let notices = wandb.finish();
    assert!(begin_time.elapsed() < Duration::from_secs(10), "the end took {:?}", begin_time.elapsed());
    notices
}

#[test]
fn a_server_that_refuses_or_hangs_costs_no_time_and_what_is_missing_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
    let hanging = Server::start(|_| Reply::Silence(Duration::from_secs(5)));
    for url in [format!("http://{nobody}"), hanging.url] {
        let dir = tempfile::tempdir().unwrap();
        let notices = log_quickly(dir.path(), &url);
        let last = notices.last().unwrap();
        assert!(last.starts_with("W&B lacks 100 rows; send them with: wandb sync "), "{notices:?}");
        assert!(notices.iter().any(|notice| notice.starts_with("W&B cannot be reached (")), "{notices:?}");
    }
}

#[test]
fn a_server_that_disappears_is_given_up_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let gone = Arc::new(AtomicBool::new(false));
    let is_gone = gone.clone();
    let server = Server::start(move |_| match is_gone.load(SeqCst) {
        true => Reply::Silence(Duration::ZERO),
        false => Reply::Good,
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    wandb.row(&row(1));
    while server.steps().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    gone.store(true, SeqCst);
    wandb.row(&row(2));
    let notices = wandb.finish();
    assert_eq!(server.steps(), [1]);
    assert!(notices.last().unwrap().starts_with("W&B lacks 1 row;"), "{notices:?}");
}

#[test]
fn a_key_that_is_refused_is_said_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Status(401, ""));
    let notices = log_quickly(dir.path(), &server.url);
    assert!(notices[0].starts_with("W&B refuses the run (the server answered 401"), "{notices:?}");
    assert_eq!(notices.len(), 2, "{notices:?}");
}

#[test]
fn too_many_rows_are_thinned_out_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let open = Arc::new(AtomicBool::new(false));
    let gate = open.clone();
    let server = Server::start(move |_| match gate.load(SeqCst) {
        true => Reply::Good,
        false => Reply::Status(503, ""),
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    for update in 1..=3000 {
        wandb.row(&row(update));
        std::thread::sleep(Duration::from_micros(200));
    }
    open.store(true, SeqCst);
    let notices = wandb.finish();
    let steps = server.steps();
    assert!(steps.len() <= 1001 && steps.is_sorted() && *steps.last().unwrap() == 3000, "{}", steps.len());
    let missing = 3000 - steps.len();
    assert!(notices.last().unwrap().starts_with(&format!("W&B lacks {missing} rows")), "{notices:?}");
}

#[test]
fn an_offline_run_is_one_log_of_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut wandb = begin(dir.path(), None, Origin::Resumed);
    for update in [10, 20, 30] {
        wandb.row(&row(update));
    }
    wandb.warn("title", "text");
    wandb.artifact(&checkpoint(dir.path()));
    let notices = wandb.finish();
    assert!(notices[0].starts_with("W&B: send the run with: wandb sync "), "{notices:?}");
    let records = transaction_log::read(&logs(dir.path())[0]);
    // header, run, two metrics, history and summary of the one new row, alert, artifact, exit
    assert_eq!(records.len(), 9);
    let run_again = begin(dir.path(), None, Origin::Resumed);
    run_again.finish();
    assert_eq!(logs(dir.path()).len(), 2, "each process has a file of its own");
}

#[test]
fn an_offline_run_tells_of_no_file_that_it_has_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut wandb = begin(dir.path(), None, Origin::New);
    wandb.removes_files = true; // --keep
    let kept = checkpoint(dir.path());
    let removed = Artifact { path: dir.path().join("checkpoint_10.ckpt"), ..kept.clone() };
    fs::write(&removed.path, "older").unwrap();
    wandb.artifact(&removed);
    wandb.artifact(&kept);
    fs::remove_file(&removed.path).unwrap();
    let notices = wandb.finish();
    assert_eq!(notices.len(), 1, "{notices:?}");
    let records = transaction_log::read(&logs(dir.path())[0]);
    let tells_of = |record: &Vec<u8>, name: &str| String::from_utf8_lossy(record).contains(name);
    // header, run, two metrics, artifact, exit
    assert_eq!(records.len(), 6);
    assert!(tells_of(&records[4], "checkpoint_20.ckpt"));
    assert!(!records.iter().any(|record| tells_of(record, "checkpoint_10.ckpt")));
}

/// Runs the official client.
fn official(arguments: &[&std::ffi::OsStr], url: &str) -> Option<std::process::Output> {
    let mut command = python_with("wandb.sdk")?;
    command.args(["-m", "wandb"]).args(arguments).envs([("WANDB_BASE_URL", url), ("WANDB_API_KEY", KEY)]);
    let home = tempfile::tempdir().unwrap();
    command.current_dir(home.path()).env("HOME", home.path()); // it leaves files of its own
    Some(command.output().unwrap())
}

#[test]
fn the_official_client_reads_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut wandb = begin(dir.path(), None, Origin::New);
    for update in 1..=400 {
        wandb.row(&row(update)); // several blocks
    }
    wandb.warn("title", "text");
    wandb.artifact(&checkpoint(dir.path()));
    wandb.finish();
    let log = &logs(dir.path())[0];
    let arguments = ["leet", "inspect", "--summary", "--json"].map(std::ffi::OsStr::new);
    let arguments = [&arguments[..], &[log.as_os_str()]].concat();
    let Some(output) = official(&arguments, "http://127.0.0.1:9") else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let inspected: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(inspected["state"], "finished", "{text}");
    assert!(
        text.contains("cartpole") && text.contains("train/mean_episode_return") && text.contains("400"),
        "{text}"
    );
}

#[test]
fn the_official_client_sends_the_log() {
    let dir = tempfile::tempdir().unwrap();
    for (origin, updates) in [(Origin::New, [10, 20]), (Origin::Rewound { step: 10 }, [20, 30])] {
        let mut wandb = begin(dir.path(), None, origin);
        updates.iter().for_each(|&update| wandb.row(&row(update)));
        wandb.artifact(&checkpoint(dir.path()));
        wandb.finish();
    }
    for (log, expected) in logs(dir.path()).iter().zip([vec![10, 20], vec![20, 30]]) {
        let server = Server::start(|_| Reply::Good);
        let arguments = [std::ffi::OsStr::new("sync"), log.parent().unwrap().as_os_str()];
        let Some(output) = official(&arguments, &server.url) else { return };
        let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        let names = server.names();
        assert!(output.status.success(), "{said} {names:?}");
        let rewound = expected[0] == 20;
        assert_eq!(names.contains(&"RewindRun".to_string()), rewound, "{names:?}");
        assert!(names.contains(&"CommitArtifact".to_string()), "{said} {names:?}");
        let lines: Vec<_> = server
            .calls()
            .iter()
            .filter(|call| call.path.ends_with("file_stream"))
            .flat_map(|call| {
                call.json()["files"]["wandb-history.jsonl"]["content"].as_array().cloned().unwrap_or_default()
            })
            .collect();
        let steps: Vec<u64> = lines
            .iter()
            .map(|line| {
                serde_json::from_str::<Value>(&line.as_str().unwrap().replace("NaN", "null")).unwrap()
            })
            .map(|line| line["_step"].as_u64().unwrap())
            .collect();
        assert_eq!(steps, expected, "{said}");
    }
}
