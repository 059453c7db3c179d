//! Against a server on the loopback interface that speaks as MLflow's does, and misbehaves on demand.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::*;
use crate::trainer::trackers::wandb::tests::PACE;
use crate::trainer::trackers::wandb::tests::server::{Call, Reply, Server};

const TOKEN: &str = "secret-token";

/// What a server has been told: the last part of the path, and the body.
type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// A server that does what MLflow's does, where `fault` says nothing else.
fn server(fault: impl Fn(&str) -> Option<Reply> + Send + Sync + 'static) -> (Server, Calls) {
    let calls = Calls::default();
    let told = calls.clone();
    let server = Server::start(move |call| {
        let path = call.path.split('?').next().unwrap();
        let name = path.strip_prefix("/api/2.0/mlflow/").unwrap_or(path).to_owned();
        if let Some(reply) = fault(&name) {
            return reply;
        }
        let reply = answer(&name, call);
        told.lock().unwrap().push((name, call.json()));
        reply
    });
    (server, calls)
}

fn answer(name: &str, call: &Call) -> Reply {
    assert!(call.head.to_lowercase().contains(&format!("authorization: bearer {TOKEN}")), "{}", call.head);
    let run = json!({"run": {"info": {"run_id": "r1", "experiment_id": "7", "artifact_uri": "mlflow-artifacts:/7/r1/artifacts"}}});
    match name {
        "experiments/get-by-name" => {
            assert!(call.path.ends_with("?experiment_name=cart%20pole"), "{}", call.path);
            let words = r#"{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such experiment"}"#;
            Reply::Words(404, words.into())
        }
        "experiments/create" => Reply::Words(200, json!({"experiment_id": "7"}).to_string()),
        "runs/create" | "runs/get" => Reply::Words(200, run.to_string()),
        _ => Reply::Words(200, "{}".into()),
    }
}

fn try_begin(run: &Path, url: &str, origin: Origin, variables: &[(&str, &str)]) -> Result<Mlflow> {
    let settings =
        Settings { env: "cartpole".into(), project: Some("cart pole".into()), ..Settings::default() };
    let config = (0..150).map(|number| (format!("key_{number}"), json!(number)));
    let config = config.chain([("lr".to_owned(), json!(0.001)), ("env".to_owned(), json!("cartpole"))]);
    let description = Description {
        settings: &settings,
        config: config.collect(),
        run,
        run_id: "k3v9x0q2m1zz",
        run_name: "cartpole-1",
        origin,
        commit: Some("c0ffee".into()),
        tags: &["learned"],
        logged_step: 20,
    };
    let known = [("MLFLOW_TRACKING_URI", url), ("MLFLOW_TRACKING_TOKEN", TOKEN)];
    let get = |name: &str| {
        let found = variables.iter().chain(&known).find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    Mlflow::begin_with(&description, get, PACE)
}

fn begin(run: &Path, url: &str, origin: Origin) -> Mlflow {
    try_begin(run, url, origin, &[]).unwrap()
}

fn point(step: u64) -> Point {
    Point {
        step,
        timesteps: step * 100,
        wall_seconds: step as f64,
        time: "2026-01-05T01:02:03Z".parse().unwrap(),
        fields: vec![("train/entropy".into(), "0.5".into()), ("eval/x".into(), "NaN".into())],
    }
}

fn finish(mlflow: Mlflow, state: State) -> Vec<String> {
    Box::new(mlflow).end(state).wait(Instant::now() + Duration::from_secs(60))
}

/// The bodies of all calls of a name.
fn bodies(calls: &Calls, name: &str) -> Vec<Value> {
    let calls = calls.lock().unwrap();
    calls.iter().filter(|(known, _)| known == name).map(|(_, body)| body.clone()).collect()
}

/// The steps of a metric, as the server has them.
fn steps(calls: &Calls) -> Vec<u64> {
    let batches = bodies(calls, "runs/log-batch");
    let metrics = batches.iter().flat_map(|batch| batch["metrics"].as_array().cloned().unwrap_or_default());
    metrics
        .filter(|metric| metric["key"] == "train/entropy")
        .map(|metric| metric["step"].as_u64().unwrap())
        .collect()
}

#[test]
fn a_run_is_made_known_logged_and_ended() {
    let dir = tempfile::tempdir().unwrap();
    let (server, calls) = server(|_| None);
    let mut mlflow = begin(dir.path(), &server.url, Origin::New);
    mlflow.log(&point(10));
    mlflow.alert(&Alert { title: "entropy".into(), text: "it is 0".into() });
    let path = dir.path().join("checkpoint_20.ckpt");
    std::fs::write(&path, "hello").unwrap();
    let metadata = json!({});
    mlflow.artifact(&Artifact {
        name: "checkpoint-20".into(),
        kind: "model",
        path,
        metadata,
        aliases: vec![],
    });
    mlflow.utilisation(&Utilisation { cpu_percent: Some(50.0), ..Utilisation::default() }, point(10));
    mlflow.sum_up(&[("windows".into(), "3".into())]);
    let notices = finish(mlflow, State::Stopped);
    assert_eq!(notices, [format!("MLflow: {}/#/experiments/7/runs/r1", server.url)]);

    let created = &bodies(&calls, "runs/create")[0];
    assert_eq!((&created["experiment_id"], &created["run_name"]), (&json!("7"), &json!("cartpole-1")));
    assert!(
        created["tags"].as_array().unwrap().contains(&json!({"key": "lockstep.env", "value": "cartpole"}))
    );
    let batches = bodies(&calls, "runs/log-batch");
    let params: Vec<usize> =
        batches.iter().filter_map(|batch| Some(batch["params"].as_array()?.len())).collect();
    assert_eq!(params, [100, 52], "a batch has a hundred parameters at most");
    let metrics: Vec<Value> =
        batches.iter().flat_map(|batch| batch["metrics"].as_array().cloned().unwrap_or_default()).collect();
    let time = 1_767_574_923_000_u64;
    assert_eq!(metrics[0], json!({"key": "train/entropy", "value": 0.5, "timestamp": time, "step": 1000}));
    assert_eq!(metrics[1]["value"], "NaN");
    let value = |key: &str| metrics.iter().find(|metric| metric["key"] == key).map(|metric| &metric["value"]);
    assert_eq!(value("system/cpu_utilization_percentage"), Some(&json!(50.0)));
    assert_eq!(value("windows"), Some(&json!(3.0)));
    assert_eq!(bodies(&calls, "runs/set-tag")[0]["value"], "entropy: it is 0");
    let artifact = "/api/2.0/mlflow-artifacts/artifacts/7/r1/artifacts/checkpoint-20/checkpoint_20.ckpt";
    assert_eq!(bodies(&calls, artifact).len(), 1);
    let ended = bodies(&calls, "runs/update");
    assert_eq!((&ended[0]["status"], ended.len()), (&json!("KILLED"), 1));
    assert!(!dir.path().join(UPLOADS).exists(), "nothing is left behind");
}

#[test]
fn a_resumed_run_goes_on_in_the_same_place() {
    let dir = tempfile::tempdir().unwrap();
    let (server, calls) = server(|_| None);
    finish(begin(dir.path(), &server.url, Origin::New), State::Stopped);
    let mut mlflow = begin(dir.path(), &server.url, Origin::Rewound { step: 10 });
    [10, 20, 30].iter().for_each(|&step| mlflow.log(&point(step)));
    let notices = finish(mlflow, State::Completed);
    assert!(notices[0].starts_with("MLflow cannot rewind"), "{notices:?}");
    assert_eq!(bodies(&calls, "runs/create").len(), 1);
    assert_eq!(steps(&calls), [3000], "what was logged is not logged again");
    let states: Vec<_> = bodies(&calls, "runs/update").iter().map(|body| body["status"].clone()).collect();
    assert_eq!(states, ["KILLED", "RUNNING", "FINISHED"]);
    let elsewhere = begin(dir.path(), "http://127.0.0.1:9", Origin::Resumed);
    assert!(finish(elsewhere, State::Completed).last().unwrap().contains("does not answer in time"));
}

#[test]
fn errors_of_the_server_are_survived_and_nothing_is_lost_or_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let count = AtomicUsize::new(0);
    let (server, calls) = server(move |_| match count.fetch_add(1, SeqCst) % 8 {
        0 => Some(Reply::Status(500, "")),
        1 => Some(Reply::Status(429, "Retry-After: 0\r\n")),
        2 => Some(Reply::Status(503, "")),
        3 => Some(Reply::Silence(Duration::ZERO)),
        _ => None,
    });
    let mut mlflow = begin(dir.path(), &server.url, Origin::New);
    for step in 1..=50 {
        mlflow.log(&point(step));
        std::thread::sleep(Duration::from_millis(2));
    }
    let notices = finish(mlflow, State::Completed);
    assert!(!notices.iter().any(|notice| notice.contains("lacks")), "{notices:?}");
    assert_eq!(steps(&calls), (1..=50).map(|step| step * 100).collect::<Vec<_>>());
    assert_eq!(bodies(&calls, "runs/create").len(), 1);
}

#[test]
fn a_server_that_refuses_hangs_or_is_another_one_costs_no_time_and_what_is_missing_is_said() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // closed again
    let (hanging, _) = server(|_| Some(Reply::Silence(Duration::from_secs(5))));
    let refusing = format!(r#"{{"error_code": "PERMISSION_DENIED", "message": "{TOKEN} may not"}}"#);
    let (refusing, _) = server(move |_| Some(Reply::Words(403, refusing.clone())));
    let (other, _) = server(|_| Some(Reply::Words(200, r#"{"hello": 1}"#.into())));
    for (url, said) in [
        (format!("http://{nobody}"), "MLflow cannot be reached ("),
        (hanging.url, "MLflow cannot be reached ("),
        (refusing.url, "MLflow refuses the run (the server answered 403 Forbidden: (the key) may not)"),
        (other.url, "MLflow refuses the run (it does not answer as MLflow does)"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut mlflow = begin(dir.path(), &url, Origin::New);
        let start = Instant::now();
        (1..=100).for_each(|step| mlflow.log(&point(step)));
        assert!(start.elapsed() < Duration::from_millis(250), "training waited {:?}", start.elapsed());
        let notices = finish(mlflow, State::Completed);
        assert!(start.elapsed() < Duration::from_secs(10), "the end took {:?}", start.elapsed());
        assert!(notices.iter().any(|notice| notice.starts_with(said)), "{notices:?}");
        let lacking = "MLflow lacks 100 rows; all rows are in ";
        assert!(notices.last().unwrap().starts_with(lacking), "{notices:?}");
    }
}

#[test]
fn other_settings_of_a_resumed_run_are_not_forced_on_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let batches = AtomicUsize::new(0);
    let (server, calls) = server(move |name| match name {
        "runs/log-batch" if batches.fetch_add(1, SeqCst) == 0 => {
            let words = r#"{"error_code": "INVALID_PARAMETER_VALUE", "message": "lr was 1"}"#;
            Some(Reply::Words(400, words.into()))
        }
        _ => None,
    });
    Place { tracking_uri: server.url.clone(), run_id: "r1".into() }.keep(dir.path()).unwrap();
    let mut mlflow = begin(dir.path(), &server.url, Origin::Resumed);
    mlflow.log(&point(30));
    let notices = finish(mlflow, State::Completed);
    assert!(
        notices.contains(&"MLflow keeps the parameters that the run began with".to_owned()),
        "{notices:?}"
    );
    assert_eq!(steps(&calls), [3000]);
}

#[test]
fn variables_say_where_the_server_is_and_who_calls() {
    let of = |variables: &'static [(&str, &str)]| {
        Tracking::of(move |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    };
    let missing = of(&[]).err().unwrap().to_string();
    assert!(missing.starts_with("MLFLOW_TRACKING_URI is not set;"), "{missing}");
    let file = of(&[("MLFLOW_TRACKING_URI", "file:///tmp/mlruns")]).err().unwrap().to_string();
    assert!(file.ends_with("is no address such as http://127.0.0.1:5000"), "{file}");
    let plain = of(&[("MLFLOW_TRACKING_URI", "http://me:secret@host:5000/")]).unwrap();
    assert_eq!(plain.tracking_uri, "http://host:5000");
    assert!(plain.auth == Auth::Basic { user: "me".into(), password: "secret".into() } && !plain.is_trusted);
    let named = of(&[
        ("MLFLOW_TRACKING_URI", "https://host"),
        ("MLFLOW_TRACKING_USERNAME", "a"),
        ("MLFLOW_TRACKING_PASSWORD", "b"),
        ("MLFLOW_TRACKING_TOKEN", "c"),
        ("MLFLOW_TRACKING_INSECURE_TLS", "True"),
    ]);
    let named = named.unwrap();
    assert!(named.auth == Auth::Basic { user: "a".into(), password: "b".into() } && named.is_trusted);
    let dir = tempfile::tempdir().unwrap();
    let error = try_begin(dir.path(), "http://127.0.0.1:9", Origin::New, &[("MLFLOW_RUN_ID", "../x")]);
    assert!(error.unwrap_err().to_string().starts_with("MLFLOW_RUN_ID is \"../x\""));
}
