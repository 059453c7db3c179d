//! `--logger` from outside: what a list writes and sends, and servers that are not there.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Done, finish, lockstep, run};

/// A small run of ten updates, without the user's own trackers.
fn train(folder: &Path, more: &str) -> Command {
    let small = "train --env cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --log-interval 2 --device cpu --run-name a";
    let words = small.split(' ').chain(more.split_whitespace());
    let mut command = lockstep(&words.collect::<Vec<_>>());
    command.arg("--checkpoint-dir").arg(folder);
    for (name, _) in std::env::vars() {
        if ["WANDB_", "MLFLOW_", "NEPTUNE_"].iter().any(|begin| name.starts_with(begin)) {
            command.env_remove(name);
        }
    }
    command
}

fn trained(command: &mut Command) -> Done {
    let done = finish(command);
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    done
}

/// A tracking server that takes everything: method and path without a query, and body of each call.
struct Mlflow {
    url: String,
    calls: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Mlflow {
    fn start() -> Mlflow {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::default();
        let taken = Arc::clone(&calls);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&taken);
                std::thread::spawn(move || serve(&stream, &taken));
            }
        });
        Mlflow { url, calls }
    }

    /// The bodies of the calls of a name.
    fn bodies(&self, name: &str) -> Vec<Value> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(known, _)| known.ends_with(name)).map(|(_, body)| body.clone()).collect()
    }

    /// What a list in the batches holds.
    fn logged(&self, list: &str) -> Vec<Value> {
        let batches = self.bodies("runs/log-batch");
        batches.iter().flat_map(|batch| batch[list].as_array().cloned().unwrap_or_default()).collect()
    }

    fn steps(&self, metric: &str) -> Vec<u64> {
        let metrics = self.logged("metrics").into_iter().filter(|known| known["key"] == metric);
        metrics.map(|metric| metric["step"].as_u64().unwrap()).collect()
    }
}

fn serve(stream: &TcpStream, calls: &Mutex<Vec<(String, Value)>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head).unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).unwrap();
        let path = head.split(' ').nth(1).unwrap().split('?').next().unwrap().to_owned();
        let run = json!({"info": {"run_id": "r1", "experiment_id": "7", "artifact_uri": "mlflow-artifacts:/7/r1/artifacts"}});
        let answer = match path.rsplit_once("/mlflow/").map_or("", |(_, name)| name) {
            "experiments/get-by-name" => json!({"experiment": {"experiment_id": "7"}}),
            "runs/create" | "runs/get" => json!({"run": run}),
            _ => json!({}),
        }
        .to_string();
        calls.lock().unwrap().push((path, serde_json::from_slice(&body).unwrap_or_default()));
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len());
        let mut stream = stream;
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The operations of the one offline directory of a run.
fn neptune(run: &Path) -> Vec<Value> {
    let directories: Vec<PathBuf> =
        fs::read_dir(run.join(".neptune/offline")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [directory] = &directories[..] else { panic!("{directories:?}") };
    let text = fs::read_to_string(directory.join("data-1.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_is_logged_where_the_list_says_and_goes_on_there() {
    let folder = TempDir::new().unwrap();
    let server = Mlflow::start();
    let run = folder.path().join("a");
    let list = "--total-timesteps 320 --logger mlflow,neptune,csv";
    let done = trained(train(folder.path(), list).env("MLFLOW_TRACKING_URI", &server.url));
    assert!(
        done.stderr.contains(&format!("MLflow: {}/#/experiments/7/runs/r1", server.url)),
        "{}",
        done.stderr
    );
    assert!(done.stderr.contains("Neptune: send the run with: neptune sync --path"), "{}", done.stderr);
    assert!(run.join("updates.csv").is_file() && run.join("metrics.jsonl").is_file());
    assert!(!run.join("tensorboard").exists() && !run.join("wandb").exists());
    let status: Value = serde_json::from_slice(&fs::read(run.join("status.json")).unwrap()).unwrap();
    let phases = status["phases"].as_object().unwrap();
    assert!(phases["train"].as_f64().unwrap() > 0.0 && phases.len() == 5, "{status}");
    #[cfg(target_os = "linux")]
    assert!(status["machine"]["memory_percent"].as_f64().unwrap() > 0.0, "{status}");

    let return_steps = [64, 128, 192, 256, 320];
    assert_eq!(server.steps("time/steps_per_second"), return_steps);
    assert!(server.logged("params").contains(&json!({"key": "num_envs", "value": "4"})));
    #[cfg(target_os = "linux")]
    assert!(!server.steps("system/system_memory_usage_percentage").is_empty());
    assert_eq!(server.bodies("runs/update")[0]["status"], "FINISHED");
    let artifacts = server.bodies("final-model/final_params.safetensors");
    assert_eq!(artifacts.len(), 1);
    let lines = neptune(&run);
    let series = |path: Value| lines.iter().filter(move |line| line["obj"]["path"] == path).count();
    assert_eq!(series(json!(["time", "steps_per_second"])), 5);
    assert_eq!(series(json!(["model", "final-model"])), 1);
    assert!(series(json!(["monitoring", "stdout"])) > 0);

    let more = "--resume a --total-timesteps 448";
    let mut resumed = lockstep(&["train"]);
    resumed.args(more.split(' ')).arg("--checkpoint-dir").arg(folder.path());
    trained(resumed.env("MLFLOW_TRACKING_URI", &server.url));
    assert_eq!(server.bodies("runs/create").len(), 1);
    assert_eq!(server.steps("time/steps_per_second"), [&return_steps[..], &[384, 448]].concat());
    let states: Vec<Value> = server.bodies("runs/update").iter().map(|body| body["status"].clone()).collect();
    assert_eq!(states, ["FINISHED", "RUNNING", "FINISHED"]);
    let versions: Vec<u64> = neptune(&run).iter().map(|line| line["version"].as_u64().unwrap()).collect();
    assert_eq!(versions, (1..=versions.len() as u64).collect::<Vec<_>>());
}

#[test]
fn none_is_no_more_than_a_run_needs_itself() {
    let folder = TempDir::new().unwrap();
    trained(&mut train(folder.path(), "--total-timesteps 320 --logger none"));
    let run = folder.path().join("a");
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl")).unwrap().lines().count(), 5);
    for absent in ["updates.csv", "tensorboard", "wandb", "mlflow.json", ".neptune"] {
        assert!(!run.join(absent).exists(), "{absent}");
    }
    let summary: Value = serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["log_files"]["updates"], Value::Null);
    let shown = run_of(&["runs", "show", "a"], folder.path()).stdout();
    assert!(shown.contains("completed"), "{shown}");
}

fn run_of(args: &[&str], folder: &Path) -> Done {
    run(&[args, &["--checkpoint-dir", folder.to_str().unwrap()]].concat())
}

#[test]
fn lists_that_make_no_sense_are_refused_in_one_line() {
    let folder = TempDir::new().unwrap();
    let with = |more: &str| finish(&mut train(folder.path(), more));
    with("--logger tensorbord")
        .fails_in_one_line(2, &["invalid value 'tensorbord'", "wandb, mlflow, neptune"]);
    with("--logger none,csv").fails_in_one_line(2, &["logger lists none beside others"]);
    with("--logger csv --wandb online")
        .fails_in_one_line(2, &["wandb is online, but logger does not list it"]);
    with("--logger mlflow")
        .fails_in_one_line(2, &["MLFLOW_TRACKING_URI is not set", "http://127.0.0.1:5000"]);
    let local = finish(train(folder.path(), "--logger mlflow").env("MLFLOW_TRACKING_URI", "sqlite:///a.db"));
    local.fails_in_one_line(2, &["MLFLOW_TRACKING_URI (\"sqlite:///a.db\") is no address such as"]);
    assert!(!folder.path().join("a").exists(), "nothing was made");
}

#[test]
fn a_run_without_its_server_is_trained_and_what_is_missing_is_said() {
    let folder = TempDir::new().unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
    let url = format!("http://{nobody}");
    let mut command = train(folder.path(), "--total-timesteps 320 --logger mlflow");
    let done = trained(command.env("MLFLOW_TRACKING_URI", &url));
    let lacking: Vec<&str> = done.stderr.lines().filter(|line| line.contains("MLflow lacks")).collect();
    assert_eq!(lacking.len(), 1, "{}", done.stderr);
    assert!(lacking[0].starts_with("MLflow lacks 5 rows and "), "{lacking:?}");
    assert!(folder.path().join("a/final_params.safetensors").is_file());
}

/// The command line and the variables of `wandb agent`, and the log that its run leaves.
#[test]
fn a_run_of_an_agent_of_wandb_is_one_of_its_sweep() {
    let folder = TempDir::new().unwrap();
    let mut command =
        train(folder.path(), "--lr=.001 --anneal-lr=True --num-minibatches=2 --total-timesteps=320");
    let variables = [
        ("WANDB_SWEEP_ID", "s1x2y3z4"),
        ("WANDB_RUN_ID", "abcd1234"),
        ("WANDB_PROJECT", "poles"),
        ("WANDB_MODE", "offline"),
    ];
    trained(command.envs(variables));
    let run = folder.path().join("a");
    let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
    assert_eq!((config["lr"].as_float(), config["anneal_lr"].as_bool()), (Some(0.001), Some(true)));
    let log = fs::read_dir(run.join("wandb/latest-run")).unwrap().map(|entry| entry.unwrap().path());
    let log = log.into_iter().find(|path| path.ends_with("run-abcd1234.wandb")).unwrap();
    let text = String::from_utf8_lossy(&fs::read(log).unwrap()).into_owned();
    for part in ["s1x2y3z4", "poles", "completed at update 10", "memory_percent"] {
        assert!(text.contains(part), "{part}");
    }
}

/// A Python that has MLflow with its server; nothing where there is none.
fn python() -> Option<String> {
    let python = std::env::var("LOCKSTEP_TEST_PYTHON").unwrap_or("python3".into());
    let has = Command::new(&python).args(["-c", "import mlflow.server, flask"]).output();
    if has.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    crate::common::skip(&format!(
        "{python} has no module mlflow; name one that has it in LOCKSTEP_TEST_PYTHON"
    ));
    None
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Its workers are processes of their own, in its group.
        #[cfg(unix)]
        if let Some(group) = rustix::process::Pid::from_raw(self.0.id() as i32) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// MLflow's own server takes a run, and its own client reads it back.
#[cfg(unix)]
#[test]
fn mlflow_itself_shows_the_run() {
    use std::os::unix::process::CommandExt;
    let Some(python) = python() else { return };
    let folder = TempDir::new().unwrap();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // free again
    let store = format!("sqlite:///{}/mlflow.db", folder.path().display());
    let artifacts = folder.path().join("artifacts");
    let mut server = Command::new(&python);
    server.args([
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--workers",
        "1",
        "--port",
        &port.to_string(),
    ]);
    server.args(["--backend-store-uri", &store, "--artifacts-destination"]).arg(&artifacts);
    server.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).current_dir(folder.path());
    let _server = Running(server.spawn().unwrap());
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(300), "the server does not start");
        std::thread::sleep(Duration::from_millis(200));
    }
    let url = format!("http://127.0.0.1:{port}");
    let mut command = train(folder.path(), "--total-timesteps 320 --logger mlflow --project=poles");
    let done = trained(command.env("MLFLOW_TRACKING_URI", &url));
    assert!(!done.stderr.contains("MLflow lacks"), "{}", done.stderr);
    let script = r#"
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("poles")
[run] = client.search_runs([experiment.experiment_id])
history = client.get_metric_history(run.info.run_id, "time/steps_per_second")
files = client.list_artifacts(run.info.run_id, "final-model")
print(json.dumps({"name": run.info.run_name, "status": run.info.status, "params": run.data.params,
    "tags": run.data.tags, "steps": [metric.step for metric in history], "files": [file.path for file in files]}))
"#;
    let output = Command::new(&python).args(["-c", script, &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&shown["name"], &shown["status"]), (&json!("a"), &json!("FINISHED")));
    assert_eq!(
        (&shown["params"]["num_envs"], &shown["tags"]["lockstep.env"]),
        (&json!("4"), &json!("cartpole"))
    );
    assert_eq!(shown["steps"], json!([64, 128, 192, 256, 320]));
    assert_eq!(shown["files"], json!(["final-model/final_params.safetensors"]));
}
