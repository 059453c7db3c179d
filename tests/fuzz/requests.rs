//! Requests to `lockstep ui`: whatever they say, the server goes on, answers in order, and reads nothing that is not a run's.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Random, damaged};
use crate::common::{Ending, lockstep};

/// Requests to one server.
const REQUESTS: usize = 50;
/// What stands in a file that is no run's.
const SECRET: &str = "treasure-of-the-house";

const PATHS: &[&str] = &[
    "/",
    "/health",
    "/compare",
    "/runs/a",
    "/assets/chart.js",
    "/assets/..%2fsecret.json",
    "/api/v1/openapi.json",
    "/api/v1/runs",
    "/api/v1/runs/a",
    "/api/v1/runs/..",
    "/api/v1/runs/%2e%2e%2fsecret.json",
    "/api/v1/runs/a/files/config.toml?tail=3",
    "/api/v1/runs/a/files/..%2f..%2fsecret.json",
    "/api/v1/runs/a/files/link.json",
    "/api/v1/runs/a/curves?metric=x/a&x=update&points=10&from=-1e300&to=1e308",
    "/api/v1/runs/a/stop",
    "/api/v1/runs/a/save",
    "/api/v1/compare?run=a&run=a&group=g&metric=x/a",
    "/evaluations/e",
    "/reports/r",
    "/api/v1/evaluations",
    "/api/v1/evaluations/e",
    "/api/v1/evaluations/..%2f..%2fsecret/results",
    "/api/v1/evaluations/link/results",
    "/api/v1/reports/r",
    "/api/v1/reports/../files/secret.json",
    "/api/v1/reports/r/files/link.png",
    "/play?run=a",
    "/api/v1/play",
    "/api/v1/play/0123456789abcdef0123456789abcdef",
    "/api/v1/play/0123456789abcdef0123456789abcdef/move",
    "/api/v1/play/..%2f..%2fsecret.json/new",
    "/api/play/session",
    "/api/play/session/0123456789abcdef0123456789abcdef/step",
];

/// What may be sent with them: games that cannot be, and some that can.
const BODIES: &[&str] = &[
    r#"{"env":"connect4","player":"random","second":true,"seed":18446744073709551615}"#,
    r#"{"run":"a"}"#,
    r#"{"run":"../secret.json","env":null}"#,
    r#"{"env":"connect4\n\u001b[2J","player":"\u202e"}"#,
    r#"{"seed":-1,"env_time_max":0}"#,
    r#"{"action":68}"#,
    r#"{"action":1e99}"#,
    "[[[[[[[[[[[[[[[[",
];

/// A server over one run and a secret beside it, and damaged requests to it.
pub fn page(random: &mut Random) {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().join("runs");
    fs::create_dir_all(runs.join("a")).unwrap();
    fs::write(dir.path().join("secret.json"), SECRET).unwrap();
    fs::write(runs.join("a/config.toml"), "env = \"x\"").unwrap();
    fs::write(runs.join("a/metrics.jsonl"), "{\"update\":1,\"timesteps\":8,\"x/a\":1e308}\n").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(dir.path().join("secret.json"), runs.join("a/link.json")).unwrap();
    let results = dir.path().join("results");
    fs::create_dir_all(results.join("r/figures")).unwrap();
    fs::write(results.join("r/report.md"), "# A").unwrap();
    fs::write(results.join("e.json"), "{\"results\": {}, \"env\": \"goodharts\"}").unwrap();
    #[cfg(unix)]
    for link in ["link.json", "r/figures/link.png"] {
        std::os::unix::fs::symlink(dir.path().join("secret.json"), results.join(link)).unwrap();
    }

    let mut command: Command = lockstep();
    command.args(["ui", "--port", "0", "--checkpoint-dir"]).arg(&runs).arg("--results-dir").arg(&results);
    let mut server = Ending(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let host = line.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
    let token = token(&host);
    for _ in 0..REQUESTS {
        let request = request(random, &host, &token);
        let answer = converse(&host, &request);
        let shown = String::from_utf8_lossy(&request);
        let text = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || text.starts_with("HTTP/1."), "{shown:?}: {text:?}");
        assert!(!text.contains(SECRET), "{shown:?}: {text}");
        assert!(!text.contains("a fault of lockstep"), "{shown:?}: {text}");
    }
    let answer = get(&host, "/health");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    server.0.kill().unwrap();
    let mut said = String::new();
    server.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(!said.contains("panicked"), "{said}");
    let left: Vec<_> =
        fs::read_dir(runs.join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "stop" || name == "save"), "{left:?}");
}

/// What the server answers to a client that goes on listening: it may leave at once one that has stopped speaking.
fn get(host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut client = TcpStream::connect(host).unwrap();
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

/// The token of the page.
fn token(host: &str) -> String {
    let page = get(host, "/");
    let (_, rest) = page.split_once("name=\"lockstep-token\" content=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

/// A request that opens a game or does something with one, with the token of the page.
fn play(random: &mut Random, host: &str, token: &str) -> Vec<u8> {
    let path = random.choose(&PATHS[PATHS.len() - 6..]);
    let body = random.choose(BODIES).as_bytes();
    let body = if random.one_in(3) { damaged(random, body, true) } else { body.to_vec() };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Lockstep-Token: {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

fn request(random: &mut Random, host: &str, token: &str) -> Vec<u8> {
    if random.one_in(3) {
        return play(random, host, token);
    }
    let method =
        random.choose(&["GET", "GET", "GET", "GET", "POST", "HEAD", "DELETE", "OPTIONS", "PRI", "get"]);
    let path = random.choose(PATHS).as_bytes();
    let path = if random.one_in(2) { path.to_vec() } else { damaged(random, path, true) };
    let more = random.choose(&[
        "",
        "",
        "Origin: http://evil.example\r\n",
        "X-Lockstep-Token: \r\n",
        "Content-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Upgrade: websocket\r\nConnection: Upgrade\r\n",
        "Upgrade: h2c\r\n",
        "Range: bytes=0-18446744073709551615\r\n",
        "Cookie: lockstep=;;;=\r\n",
    ]);
    let body = random.choose(&["", "abc", "ffffffffffffffff\r\n", "{}"]);
    let host = if random.one_in(8) { "evil.example" } else { host };
    let head = format!(" HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n{body}");
    let whole = [method.as_bytes(), b" ", &path, head.as_bytes()].concat();
    if random.one_in(3) { damaged(random, &whole, true) } else { whole }
}

/// What comes back; nothing if the server closes without a word.
fn converse(host: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(host).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let _ = stream.write_all(request); // it may have read enough
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}
