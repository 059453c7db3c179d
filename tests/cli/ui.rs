//! `lockstep ui` from outside: what is served, to whom, and what is not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{goodharts, lockstep, run, small_run, trained};
use crate::common::Ending;

/// A server in a process of its own, which ends with it.
pub struct Server {
    _process: Ending,
    port: u16,
}

/// An answer.
pub struct Reply {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Server {
    pub fn start(runs: &Path, flags: &[&str]) -> Server {
        let mut command = lockstep(&["ui", "--port", "0", "--checkpoint-dir", runs.to_str().unwrap()]);
        let mut process = Ending(command.args(flags).stdout(Stdio::piped()).spawn().unwrap());
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split('/').next());
        let port = port.and_then(|port| port.parse().ok());
        Server { _process: process, port: port.unwrap_or_else(|| panic!("no address: {line}")) }
    }

    /// Over the directory of the small run.
    pub fn of_trained() -> Server {
        Server::start(trained().parent().unwrap(), &[])
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends what stands there and reads until the server closes.
    fn raw(&self, text: &str) -> Reply {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes); // it may be cut off when we have sent too much
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Reply { status, head: head.to_lowercase(), body: body.to_owned() }
    }

    pub fn ask(&self, method: &str, path: &str, headers: &str) -> Reply {
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}\r\n",
            self.host()
        ))
    }

    /// Sends something along, with these headers.
    pub fn send(&self, method: &str, path: &str, headers: &str, sent: &str) -> Reply {
        let length = sent.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{sent}",
            self.host()
        ))
    }

    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "")
    }

    pub fn json(&self, path: &str) -> Value {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", reply.body))
    }

    /// The header that shows the token of the page.
    pub fn token(&self) -> String {
        let page = self.get("/").body;
        let (_, rest) = page.split_once("name=\"lockstep-token\" content=\"").unwrap();
        let (token, _) = rest.split_once('"').unwrap();
        assert_eq!(token.len(), 32);
        format!("X-Lockstep-Token: {token}\r\n")
    }
}

impl Reply {
    #[track_caller]
    pub fn refuses(&self, status: u16, part: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        let told: Value = serde_json::from_str(&self.body).unwrap();
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains(part) && !detail.contains('\n'), "no {part:?} in {detail:?}");
    }
}

/// What stands between two marks, wherever they are.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| Some(rest.split_once(after)?.0)).collect()
}

#[test]
fn pages_are_served_whole_and_use_nothing_from_elsewhere() {
    let server = Server::of_trained();
    let paths = [
        "/",
        "/runs/small",
        "/compare?run=small",
        "/dashboard?run=small",
        "/sweeps",
        "/sweeps/s",
        "/play",
        "/evaluations",
        "/evaluations/e",
        "/reports/r",
    ];
    for path in paths {
        let page = server.get(path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.head.contains("content-type: text/html"), "{}", page.head);
        for header in
            ["content-security-policy: default-src 'self'", "x-content-type-options: nosniff", "no-store"]
        {
            assert!(page.head.contains(header), "no {header} in {}", page.head);
        }
        assert!(!page.body.contains("{{") && page.body.contains("<html"), "{}", page.body);
        let parts: Vec<&str> = ["src=\"", "href=\""]
            .into_iter()
            .flat_map(|mark| between(&page.body, mark, "\""))
            .filter(|part| !part.starts_with('#'))
            .collect();
        assert!(parts.len() > 4, "{parts:?}");
        for part in parts {
            assert_eq!(server.get(part).status, 200, "{part}");
            // A script loads others.
            let text = server.get(part).body;
            for other in between(&text, " from \"./", "\"") {
                assert_eq!(server.get(&format!("/assets/{other}")).status, 200, "{other}");
            }
            assert!(!text.contains("https://") && !text.contains("innerHTML"), "{part}");
        }
    }
    server.get("/nothing").refuses(404, "no page /nothing");
    server.get("/assets/nothing.js").refuses(404, "no file");
    server.ask("DELETE", "/", &server.token()).refuses(405, "no such method");
}

#[test]
fn the_interface_says_of_runs_what_the_commands_say() {
    let server = Server::of_trained();
    let runs = server.json("/api/v1/runs");
    let listed = run(&[
        "runs",
        "list",
        "--all",
        "--json",
        "--checkpoint-dir",
        trained().parent().unwrap().to_str().unwrap(),
    ]);
    let listed: Value = serde_json::from_str(&listed.stdout()).unwrap();
    assert_eq!(runs["count"], 1);
    for name in ["run", "life", "timesteps", "total_timesteps", "episodes", "pid"] {
        assert_eq!(runs["runs"][0][name], listed[0][name], "{name}");
    }
    let row = &runs["runs"][0];
    assert_eq!(
        (&row["id"], &row["env"], &row["progress"]),
        (&"small".into(), &"cartpole".into(), &1.0.into())
    );

    let shown = server.json("/api/v1/runs/small");
    assert_eq!((&shown["status"], &shown["config"]["env"]), (row, &"cartpole".into()));
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&shown["checkpoints"]), ["checkpoint_10.ckpt", "checkpoint_5.ckpt"]);
    let files = names(&shown["files"]);
    assert!(files.contains(&"metrics.jsonl".to_owned()) && !files.iter().any(|name| name.ends_with(".ckpt")));
    for name in files {
        let text = server.get(&format!("/api/v1/runs/small/files/{name}"));
        assert!(text.status == 200 && text.head.contains("text/plain"), "{name}");
        assert_eq!(text.body, fs::read_to_string(trained().join(&name)).unwrap(), "{name}");
    }
    let rows = fs::read_to_string(trained().join("metrics.jsonl")).unwrap();
    let tail = server.get("/api/v1/runs/small/files/metrics.jsonl?tail=1500").body;
    assert!(rows.ends_with(&tail) && tail.starts_with('{') && tail.len() < rows.len(), "{tail}");

    let curves = server.json("/api/v1/runs/small/curves?metric=train/entropy&metric=none&x=update");
    let entropy = &curves["curves"]["train/entropy"];
    assert!(curves["metrics"].as_array().unwrap().contains(&"train/entropy".into()));
    assert_eq!((&entropy["points"], &entropy["x"][9]), (&10.into(), &10.0.into()));
    assert!(entropy["y"][0].as_f64().unwrap() > 0.0 && curves["curves"].get("none").is_none());
    let part = server.json("/api/v1/runs/small/curves?metric=train/entropy&x=update&from=4&to=5");
    assert_eq!(part["curves"]["train/entropy"]["x"], serde_json::json!([3.0, 4.0, 5.0, 6.0]));
    for (wrong, part) in [
        ("x=day", "x must be"),
        ("points=1", "from 10 to 4000"),
        ("from=a", "from must be"),
        ("to=nan", "to must be"),
    ] {
        server.get(&format!("/api/v1/runs/small/curves?{wrong}")).refuses(422, part);
    }
    let compared = server.json("/api/v1/compare?run=small&run=small&metric=train/entropy&x=update");
    assert_eq!(compared["settings"], serde_json::json!([]));
    assert_eq!(compared["curves"]["train/entropy"][1]["y"], entropy["y"]);
    server.get("/api/v1/compare").refuses(422, "0 runs are asked for");
    server.get("/api/v1/compare?run=other").refuses(404, "no run");
    assert_eq!(server.json("/health")["status"], "ok");

    // What is described is there.
    let described = server.json("/api/v1/openapi.json");
    let paths = described["paths"].as_object().unwrap();
    assert!(paths.len() > 8);
    let others = ["{replay}", "{sweep}", "{game}", "{sid}", "{evaluation}", "{report}"];
    let is_elsewhere = |path: &str| others.iter().any(|part| path.contains(part));
    for (path, methods) in paths.iter().filter(|(path, _)| !is_elsewhere(path)) {
        let path = path.replace("{id}", "small").replace("{name}", "config.toml");
        for method in methods.as_object().unwrap().keys().filter(|_| !path.ends_with("/events")) {
            let status = server.ask(&method.to_uppercase(), &path, &server.token()).status;
            assert!(![404, 405].contains(&status), "{method} {path}: {status}");
        }
    }
}

#[test]
fn a_group_is_a_mean_with_an_interval() {
    let folder = TempDir::new().unwrap();
    let flags = ["--num-seeds", "3", "--seed", "4"];
    run(&[&small_run(folder.path().to_str().unwrap(), "g")[..], &flags].concat()).stdout();
    let server = Server::start(folder.path(), &[]);
    let compared = server.json("/api/v1/compare?group=g&run=g-s4&metric=train/entropy");
    assert_eq!(compared["subjects"][1]["runs"], serde_json::json!(["g-s4", "g-s5", "g-s6"]));
    let [alone, group] = [0, 1].map(|place| &compared["curves"]["train/entropy"][place]);
    assert!(alone.get("low").is_none());
    let at = |name: &str| group[name][3].as_f64().unwrap();
    assert!(at("low") < at("y") && at("y") < at("high"), "{group}");
    let server = Server::start(folder.path(), &[]);
    server.get("/api/v1/compare?group=other").refuses(422, "0 runs");
    server.get("/api/v1/compare?group=g&group=other").refuses(404, "no run of one of these groups");
}

#[test]
fn nothing_outside_is_read_and_nobody_else_is_served() {
    let folder = TempDir::new().unwrap();
    let runs = folder.path().join("runs");
    fs::create_dir_all(runs.join("a")).unwrap();
    fs::write(folder.path().join("secret.json"), "treasure").unwrap();
    fs::write(runs.join("a/config.toml"), "env = \"x\"").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.path().join("secret.json"), runs.join("a/link.json")).unwrap();
    let server = Server::start(&runs, &[]);
    assert_eq!(server.json("/api/v1/runs/a")["config"]["env"], "x");
    for path in [
        "/api/v1/runs/..",
        "/api/v1/runs/%2e%2e",
        "/api/v1/runs/..%2fruns%2fa",
        "/api/v1/runs/a/files/..%2f..%2fsecret.json",
        "/api/v1/runs/a/files/%2e%2e/%2e%2e/secret.json",
        "/api/v1/runs/a/files/../../secret.json",
        "/api/v1/runs/a/files/link.json",
        "/api/v1/runs/a%00/files/config.toml",
        "/api/v1/runs/%ff/files/config.toml",
        "/assets/..%2f..%2fsecret.json",
        "/assets/../runs/secret.json",
        "//secret.json",
    ] {
        let reply = server.get(path);
        assert!((400..500).contains(&reply.status), "{path}: {}", reply.status);
        assert!(!reply.body.contains("treasure"), "{path}: {}", reply.body);
    }
    let token = server.token();
    let from = |host: &str, more: &str| {
        server.raw(&format!("GET /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n"))
    };
    from("evil.example", "").refuses(403, "another name");
    from(&format!("evil.example:{}", server.port), "").refuses(403, "another name");
    from("127.0.0.1:1", "").refuses(403, "another name");
    from(&server.host(), "Host: evil.example\r\n").refuses(403, "one Host");
    from(&server.host(), "Origin: http://evil.example\r\n").refuses(403, "another page");
    from(&server.host(), "Sec-Fetch-Site: cross-site\r\n").refuses(403, "another page");
    assert_eq!(from(&format!("localhost:{}", server.port), "").status, 200);
    server.raw("GET /health HTTP/1.0\r\n\r\n").refuses(403, "one Host");

    let stop = "/api/v1/runs/a/stop";
    server.ask("POST", stop, "").refuses(403, "token");
    server.ask("POST", stop, "X-Lockstep-Token: 0123456789abcdef0123456789abcdef\r\n").refuses(403, "token");
    server.ask("POST", stop, &format!("{token}Origin: http://evil.example\r\n")).refuses(403, "another page");
    server.ask("POST", stop, &format!("{token}Content-Length: 100000000\r\n")).refuses(413, "65536 bytes");
    assert_eq!(server.ask("POST", "/api/v1/runs/%2e%2e/stop", &token).status, 404);
    assert!(
        !runs.join("a/stop").exists() && !runs.join("stop").exists() && !folder.path().join("stop").exists()
    );
    let long =
        server.raw(&format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(100_000), server.host()));
    assert!((400..500).contains(&long.status), "{}", long.status);
    assert_eq!(server.json("/health")["status"], "ok");
}

#[test]
fn a_damaged_run_is_shown_as_damaged_and_the_others_as_they_are() {
    let folder = TempDir::new().unwrap();
    for name in ["good", "bad", "worse"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        for file in ["config.toml", "meta.json", "status.json", "metrics.jsonl", "curves.jsonl"] {
            fs::copy(trained().join(file), folder.path().join(name).join(file)).unwrap();
        }
    }
    let spoil = |file: &str, bytes: &[u8]| fs::write(folder.path().join(file), bytes).unwrap();
    spoil("bad/status.json", b"{\"state\": \"run");
    spoil("bad/config.toml", b"= [[");
    spoil("bad/meta.json", b"\xff\xfe");
    spoil("bad/metrics.jsonl", b"no json\n");
    spoil("worse/metrics.jsonl", b"[1, 2]\n");
    spoil("worse/curves.jsonl", &[0; 3000]);
    let server = Server::start(folder.path(), &[]);
    let runs = server.json("/api/v1/runs");
    let lives: Vec<_> =
        runs["runs"].as_array().unwrap().iter().map(|row| (&row["id"], &row["life"])).collect();
    let [bad, good, worse] = ["bad", "good", "worse"].map(Value::from);
    let [damaged, completed] = ["damaged", "completed"].map(Value::from);
    assert_eq!(lives, [(&bad, &damaged), (&good, &completed), (&worse, &completed)]);
    assert!(runs["runs"][0]["error"].as_str().unwrap().contains("cannot understand"));
    let shown = server.json("/api/v1/runs/bad");
    assert!(shown["config"].is_null() && shown["config_error"].as_str().unwrap().contains("config.toml"));
    server.get("/api/v1/runs/bad/curves").refuses(500, "line 1 of");
    server.get("/api/v1/runs/worse/curves").refuses(500, "line 1 of");
    server.ask("POST", "/api/v1/runs/bad/stop", &server.token()).refuses(500, "status.json");
    server
        .ask("POST", "/api/v1/runs/good/save", &server.token())
        .refuses(409, "good is not running: it is completed");
    assert!(!folder.path().join("good/save").exists());
    assert!(server.json("/api/v1/runs/good/curves")["metrics"].as_array().unwrap().len() > 5);
}

#[test]
fn replays_are_shown_by_steps_and_by_the_interface_of_windows() {
    let folder = TempDir::new().unwrap();
    let windows = ["--window-steps", "64", "--replays-per-window", "1", "--eval-max-steps", "12"];
    run(&[&small_run(folder.path().to_str().unwrap(), "w")[..], &windows].concat()).stdout();
    let server = Server::start(folder.path(), &[]);
    let listed = server.json("/api/v1/runs/w")["replays"].clone();
    assert!(listed.as_array().unwrap().len() > 2, "{listed}");
    let id = listed[0]["id"].as_str().unwrap();
    let about = server.json(&format!("/api/v1/runs/w/replays/{id}"));
    let steps = about["steps"].as_u64().unwrap();
    assert!(steps > 1 && about["env"] == "cartpole" && about["before"]["board"].is_array(), "{about}");
    let part = server.json(&format!("/api/v1/runs/w/replays/{id}/frames?offset=1&limit=1"));
    assert_eq!((&part["count"], &part["frames"][0]["frame_index"]), (&1.into(), &1.into()));
    assert!(part["frames"][0]["render_state"].get("observation").is_none());
    // Where the action was taken is marked: to the left or to the right.
    let spots = part["frames"][0]["play"]["after"]["scene"]["spots"].as_array().unwrap();
    assert_eq!((spots.len(), &spots[0]["action"]), (1, &part["frames"][0]["action"]));
    assert_eq!(server.get(&format!("/runs/w/replays/{id}")).status, 200);
    server.get("/api/v1/runs/w/replays/other").refuses(404, "no replay");
    server.get("/api/v1/runs/w/replays/..%2f..%2fw%2freplays%2fx").refuses(404, "no replay");
    server.get(&format!("/api/v1/runs/w/replays/{id}/frames?limit=0")).refuses(422, "from 1 to 5000");

    let runs = server.json("/api/runs");
    assert_eq!((&runs["count"], &runs["runs"][0]["run_id"]), (&1.into(), &"w".into()));
    assert_eq!(runs["runs"][0]["replay_count"], listed.as_array().unwrap().len());
    assert_eq!(server.json("/api/runs/w")["metadata"]["status"], "completed");
    let windows = server.json("/api/runs/w/metrics/windows?limit=2&order=desc");
    let number = |place: usize| windows["windows"][place]["window_id"].as_u64().unwrap();
    assert_eq!((&windows["count"], number(0)), (&2.into(), number(1) + 1));
    let entries = server.json("/api/runs/w/replays?tag=every_window&tags_any=best_so_far,other");
    assert!(entries["total"].as_u64().unwrap() >= 1);
    assert_eq!(server.json("/api/runs/w/replays?tags_all=other")["total"], 0);
    let frames = server.json(&format!("/api/runs/w/replays/{id}/frames"));
    assert_eq!((&frames["count"], &frames["has_more"]), (&steps.into(), &false.into()));
    assert!(frames["frames"][0]["render_state"]["observation"].is_array());
    let complete = server.json("/api/runs/w/analytics/completeness");
    assert_eq!(
        (&complete["checks"]["metadata"]["status"], &complete["status"]),
        (&"ok".into(), &"missing".into())
    );
    server.get("/api/runs/other").refuses(404, "no run");
    server.get("/api/runs/w/metrics/windows?order=up").refuses(422, "asc or desc");
    assert_eq!(server.json("/api/wandb/status")["configured"], false);
    server.get("/api/wandb/runs/latest").refuses(503, "not configured");

    // The same over a WebSocket, in small pieces.
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    let path = format!("/ws/runs/w/replays/{id}/frames?batch_size=1");
    let request =
        |more: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{upgrade}{more}\r\n", server.host());
    let told = server.raw(&request(""));
    assert_eq!(told.status, 101);
    assert_eq!(told.body.matches("\"type\":\"frames\"").count() as u64, steps + 1, "{}", told.body);
    assert!(told.body.contains("\"prelude\":true") && told.body.contains("\"type\":\"complete\""));
    server.raw(&request("Origin: http://evil.example\r\nConnection: close\r\n")).refuses(403, "another page");

    // A damaged replay is no more than that.
    let replays = folder.path().join("w/replays");
    fs::write(replays.join("bad.jsonl.gz"), b"\x1f\x8b damaged").unwrap();
    server.get("/api/v1/runs/w/replays/bad").refuses(500, "bad.jsonl.gz");
    fs::write(folder.path().join("w/replay_index.json"), "{}").unwrap();
    server.get("/api/runs/w/replays").refuses(500, "replay_index.json");
    assert_eq!(
        server.json("/api/v1/runs/w")["replays"].as_array().unwrap().len(),
        listed.as_array().unwrap().len() + 1
    );
}

#[test]
fn a_sweep_is_shown_with_its_trials_and_its_front() {
    let folder = TempDir::new().unwrap();
    let [file, runs] = ["s.toml", "runs"].map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    let text = "env = \"cartpole\"\nnum_envs = 4\nnum_steps = 32\nhidden_dim = 8\ntotal_timesteps = 1280\ndevice = \"cpu\"\n\
                no_wandb = true\n[sweep]\nmethod = \"random\"\nmetric = \"train/mean_episode_return\"\nmax_runs = 3\n\
                [sweep.lr]\ndistribution = \"log_normal\"\nmin = 1e-5\nmax = 1e-1\n";
    fs::write(&file, text).unwrap();
    run(&["sweep", &file, "--checkpoint-dir", &runs]).stdout();
    let server = Server::start(Path::new(&runs), &[]);
    let shown = server.json("/api/v1/sweeps/s");
    let told = run(&["sweep", "show", "s", "--json", "--checkpoint-dir", &runs]).stdout();
    let told: Value = serde_json::from_str(&told).unwrap();
    for part in ["name", "method", "metric", "max_runs", "front", "best", "trials"] {
        assert_eq!(shown[part], told[part], "{part}");
    }
    let listed = server.json("/api/v1/sweeps");
    assert_eq!((&listed["sweeps"][0]["name"], &listed["sweeps"][0]["num_trials"]), (&"s".into(), &3.into()));
    let trial = server.json("/api/v1/runs/s%2Fs-t1");
    assert_eq!((&trial["status"]["group"], &trial["status"]["id"]), (&"s".into(), &"s/s-t1".into()));
    assert!(server.get("/sweeps/s").body.contains("sweep.js") && server.get("/sweeps").status == 200);
    server.get("/api/v1/sweeps/..").refuses(404, "no sweep");
    fs::write(Path::new(&runs).join("s/sweep.jsonl"), "damaged\n").unwrap();
    server.get("/api/v1/sweeps/s").refuses(500, "sweep.jsonl");
    assert!(server.json("/api/v1/sweeps")["sweeps"][0]["error"].is_string());
}

#[test]
fn evaluations_and_reports_are_shown_as_their_files_say() {
    let (results, report) = goodharts::results();
    let runs = TempDir::new().unwrap();
    let server = Server::start(runs.path(), &["--results-dir", results.to_str().unwrap()]);
    let listed = server.json("/api/v1/evaluations");
    let count = |kind: &str| listed[kind].as_array().unwrap().len();
    assert_eq!((count("evaluations"), count("reports")), (1, 1), "{listed}");
    let line = &listed["evaluations"][0];
    assert_eq!((&line["name"], &line["life"]), (&"all".into(), &"completed".into()));
    assert_eq!(listed["reports"][0]["name"], report);
    assert_eq!(listed["reports"][0]["title"], "Evaluation by lives in goodharts");

    let shown = server.json("/api/v1/evaluations/all");
    let file = fs::read_to_string(results.join("all.json")).unwrap();
    let document: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(shown["modes"], document["modes"]);
    let kinds = shown["results"]["kinds"].as_array().unwrap();
    assert_eq!(kinds.len(), 4);
    for kind in kinds {
        let told = &document["results"][kind["name"].as_str().unwrap()]["aggregates"];
        let value = |name: &str| &kind["values"][name]["value"];
        for (name, key) in [
            ("survival", "survival_mean"),
            ("deaths", "deaths_per_1k_steps"),
            ("food", "food_per_1k_steps"),
            ("energy", "energy_per_1k_steps"),
            ("per_agent_efficiency", "per_agent_efficiency"),
            ("overall_efficiency", "overall_efficiency"),
        ] {
            assert_eq!(value(name), &told[key], "{name} of {kind}");
        }
        for (name, key) in [("survival", "survival_ci"), ("overall_efficiency", "efficiency_ci")] {
            let bounds = [0, 1].map(|side| told[key][side].as_f64().unwrap());
            let shown = ["low", "high"].map(|side| kind["values"][name][side].as_f64().unwrap());
            assert!((0..2).all(|side| (bounds[side] - shown[side]).abs() < 1e-9), "{bounds:?} {shown:?}");
        }
        assert_eq!((&kind["seeds"], &kind["deaths"]), (&told["seeds"], &told["total_deaths"]));
    }
    for kind in shown["course"]["kinds"].as_array().unwrap() {
        let curve = &kind["curve"];
        assert_eq!(
            (&curve["run"], curve["steps"].as_array().unwrap().last()),
            (&3.into(), Some(&150.into()))
        );
        assert!(kind["colours"]["dark"].as_str().unwrap().starts_with('#'));
    }
    assert_eq!(server.get("/api/v1/evaluations/all/results").body, file);

    let path = results.join("reports").join(&report);
    let told = server.json(&format!("/api/v1/reports/{report}"));
    assert_eq!(told["text"], fs::read_to_string(path.join("report.md")).unwrap());
    let files: Vec<&str> =
        told["files"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(files.len(), 20, "{files:?}");
    for (name, kind) in [
        ("report.md", "text/plain"),
        ("results.json", "application/json"),
        ("goodhart_summary_dark.png", "image/png"),
    ] {
        let part = server.get(&format!("/api/v1/reports/{report}/files/{name}"));
        let folder = if kind == "image/png" { path.join("figures") } else { path.clone() };
        let length = fs::metadata(folder.join(name)).unwrap().len();
        assert!(part.status == 200 && part.head.contains(&format!("content-type: {kind}")), "{}", part.head);
        assert!(part.head.contains(&format!("content-length: {length}")), "{}", part.head);
    }
}

#[test]
fn results_that_are_damaged_or_elsewhere_are_not_read() {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    write("secret.json", b"\"treasure\"");
    write("secret.png", b"treasure");
    write("here/good.json", &fs::read(goodharts::results().0.join("all.json")).unwrap());
    write("here/bad.json", b"{\"results\": {\"proxy\": 3}, \"env\": \"goodharts\"}");
    write("here/worse.json", b"\xff");
    write("here/begun_progress.json", b"[1]");
    write("here/notes.json", b"{\"a\": 1}");
    write("here/reports/bad/report.md", b"\xff\xfe");
    write("here/reports/good/report.md", b"# Good\n");
    write("here/reports/good/figures/a.png", b"a");
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        let here = folder.path().join("here");
        symlink(folder.path().join("secret.json"), here.join("link.json")).unwrap();
        symlink(folder.path().join("secret.json"), here.join("reports/good/results.json")).unwrap();
        symlink(folder.path().join("secret.png"), here.join("reports/good/figures/b.png")).unwrap();
        symlink(folder.path(), here.join("reports/link")).unwrap();
    }
    let server = Server::start(&folder.path().join("here"), &["--results-dir", "/nonexistent"]);
    let listed = server.json("/api/v1/evaluations");
    let lives: Vec<_> =
        listed["evaluations"].as_array().unwrap().iter().map(|row| [&row["name"], &row["life"]]).collect();
    let [bad, begun, good, worse] = ["bad", "begun", "good", "worse"].map(Value::from);
    let [damaged, completed] = ["damaged", "completed"].map(Value::from);
    assert_eq!(lives, [[&bad, &damaged], [&begun, &damaged], [&good, &completed], [&worse, &damaged]]);
    for name in ["bad", "begun", "worse"] {
        let error = server.json(&format!("/api/v1/evaluations/{name}"))["error"].clone();
        assert!(error.as_str().unwrap().contains(&format!("/{name}")), "{name}: {error}");
    }
    server.get("/api/v1/evaluations/begun/results").refuses(404, "no file of results");
    server.get("/api/v1/reports/bad").refuses(500, "report.md");
    assert_eq!(listed["reports"][1]["title"], "Good");
    assert_eq!(server.json("/api/v1/reports/good")["files"], serde_json::json!(["a.png", "report.md"]));
    for path in [
        "/api/v1/evaluations/link",
        "/api/v1/evaluations/..%2fsecret",
        "/api/v1/evaluations/..%2fsecret/results",
        "/api/v1/evaluations/notes/results",
        "/api/v1/reports/link",
        "/api/v1/reports/..",
        "/api/v1/reports/%2e%2e",
        "/api/v1/reports/..%2f..%2f..",
        "/api/v1/reports/good/files/results.json",
        "/api/v1/reports/good/files/b.png",
        "/api/v1/reports/good/files/..%2f..%2f..%2f..%2fsecret.png",
        "/api/v1/reports/..%2f..%2f../files/secret.json",
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
        assert!(!reply.body.contains("treasure"), "{path}: {}", reply.body);
    }
    let file = folder.path().join("secret.json");
    run(&["ui", "--results-dir", file.to_str().unwrap()]).fails(2, &["secret.json is a file"]);
}

#[test]
fn an_evaluation_is_watched_while_it_goes_on() {
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &["--results-dir", folder.path().to_str().unwrap()]);
    let flags = "eval --env goodharts --device cpu -m ground_truth --model omniscient_seeker -t 16000000 -e 8 --seed 7 -o e.json";
    let mut command = lockstep(&flags.split(' ').collect::<Vec<_>>());
    let mut process = Ending(command.current_dir(folder.path()).stderr(Stdio::null()).spawn().unwrap());
    let shown = || server.get("/api/v1/evaluations/e");
    wait_for("it is there", || shown().status == 200);
    let points = || {
        let evaluation = server.json("/api/v1/evaluations/e");
        assert_eq!((&evaluation["life"], &evaluation["results"]), (&"running".into(), &Value::Null));
        evaluation["course"]["kinds"][0]["curve"]["steps"].as_array().map_or(0, Vec::len)
    };
    wait_for("it has begun", || points() > 0);
    server.get("/api/v1/evaluations/e/results").refuses(404, "no file of results");
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let life = || server.json("/api/v1/evaluations/e")["life"].clone();
    wait_for("it is dead", || life() == "dead");
}

/// Waits until something is so; it takes as long as it takes.
pub fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(300);
    while !is_so() {
        assert!(Instant::now() < end, "{what}: it is not so after five minutes");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_run_is_seen_to_go_on_is_saved_and_stopped() {
    let folder = TempDir::new().unwrap();
    let mut arguments = small_run(folder.path().to_str().unwrap(), "live");
    arguments.iter_mut().filter(|word| **word == "320").for_each(|word| *word = "2000000000");
    arguments.iter_mut().filter(|word| **word == "5").for_each(|word| *word = "1000000");
    let server = Server::start(folder.path(), &[]);
    let mut training = lockstep(&arguments).stderr(Stdio::null()).spawn().unwrap();
    let life = || server.json("/api/v1/runs")["runs"][0]["life"].clone();
    wait_for("it runs", || life() == "running");

    let mut events = TcpStream::connect(server.host()).unwrap();
    let request = format!("GET /api/v1/events?run=live HTTP/1.1\r\nHost: {}\r\n\r\n", server.host());
    events.write_all(request.as_bytes()).unwrap();
    events.set_read_timeout(Some(Duration::from_secs(300))).unwrap();
    let lines = BufReader::new(events).lines().map_while(Result::ok);
    let changes = lines.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
    let grown: Vec<Value> = changes.filter(|change| change["logged"] == true).take(3).collect();
    assert_eq!(grown.len(), 3);
    let points = || {
        let curves = server.json("/api/v1/runs/live/curves?metric=train/entropy");
        curves["curves"]["train/entropy"]["points"].as_u64().unwrap_or(0)
    };
    let before = points();
    wait_for("the curve grows", || points() > before);

    let token = server.token();
    let saved = server.ask("POST", "/api/v1/runs/live/save", &token);
    assert!(saved.status == 200 && saved.body.contains("saves a checkpoint"), "{}", saved.body);
    let count = || server.json("/api/v1/runs/live")["checkpoints"].as_array().unwrap().len();
    wait_for("there is a checkpoint", || count() == 1);
    let stopped = server.ask("POST", "/api/v1/runs/live/stop", &token);
    assert!(stopped.status == 200 && stopped.body.contains("SIGTERM"), "{}", stopped.body);
    wait_for("it is stopped", || life() == "stopped");
    assert_eq!(training.wait().unwrap().code(), Some(0));
    assert_eq!(server.ask("POST", "/api/v1/runs/live/stop", &token).status, 409);
}

#[test]
fn a_page_of_another_server_reads_if_it_may() {
    let server = Server::start(trained().parent().unwrap(), &["--allow-origin", "http://localhost:3000"]);
    let of_friend = server.ask("GET", "/api/runs", "Origin: http://localhost:3000\r\n");
    assert!(
        of_friend.head.contains("access-control-allow-origin: http://localhost:3000\r\n"),
        "{}",
        of_friend.head
    );
    assert!(!server.get("/api/runs").head.contains("access-control"));
    server.ask("GET", "/api/runs", "Origin: http://localhost:3001\r\n").refuses(403, "another page");
    server
        .ask("POST", "/api/v1/runs/small/stop", "Origin: http://localhost:3000\r\n")
        .refuses(403, "another page");
}

#[test]
fn other_addresses_need_a_secret() {
    let secret = "a-secret_of_20_signs";
    let server = Server::start(trained().parent().unwrap(), &["--token", secret]);
    server.get("/").refuses(401, "needs the token");
    server.get("/api/v1/runs?token=wrong").refuses(401, "needs the token");
    let entered = server.get(&format!("/?token={secret}"));
    assert_eq!(entered.status, 303);
    assert!(entered.head.contains("location: /\r\n") && entered.head.contains("httponly; samesite=strict"));
    assert_eq!(server.ask("GET", "/", &format!("Cookie: lockstep={secret}\r\n")).status, 200);
    assert_eq!(server.ask("GET", "/api/v1/runs", &format!("Authorization: Bearer {secret}\r\n")).status, 200);
    let port = server.port.to_string();
    run(&["ui", "--port", &port]).fails(1, &["cannot listen on 127.0.0.1:", "--port takes another port"]);
}
