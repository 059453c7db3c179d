//! Answers of a server that is broken, hostile, or none of W&B's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lockstep::trainer::Settings;
use lockstep::trainer::status::State;
use lockstep::trainer::trackers::wandb::{Environment, Mode, Wandb};
use lockstep::trainer::trackers::{Alert, Description, Origin, Pace, Tracker};

use super::{Random, check_message, damaged};

const PACE: Pace = Pace {
    post: Duration::from_millis(5),
    heartbeat: Duration::from_millis(100),
    pause: Duration::from_millis(1),
    patience: Duration::from_millis(150),
    call: Duration::from_millis(100),
    most_rows: 100,
};
const KEY: &str = "0123456789012345678901234567890123456789";

const ANSWERS: &[&str] = &[
    r#"{"data":{"viewer":{"id":"x","entity":"me"}}}"#,
    r#"{"data":{"upsertBucket":{"inserted":true,"bucket":{"id":"S","historyLineCount":0,"project":{"name":"p","entity":{"name":"me"}}}}}}"#,
    r#"{"data":{"model":{"bucket":{"id":"S","historyLineCount":2,"summaryMetrics":"{\"a\":1}","historyTail":"[\"{\\\"_step\\\":20}\"]"}}}}"#,
    r#"{"data":{"serverInfo":{"features":[{"name":"MARK_RUN_FILES_UPLOADED","isEnabled":true}]}}}"#,
    r#"{"data":{"createRunFiles":{"runID":"r","uploadHeaders":["X-Store:yes"],"files":[{"name":"config.yaml","uploadUrl":"http://127.0.0.1:1/"}]}}}"#,
    r#"{"data":{"rewindRun":{"rewoundRun":{"id":"S","historyLineCount":1}}}}"#,
    r#"{"errors":[{"message":"no"}]}"#,
];

/// A run from its beginning to its end against a server whose every answer is damaged.
pub fn answers(random: &mut Random) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let random = Arc::new(Mutex::new(Random::new(random.number())));
    let origin = random.lock().unwrap().choose(&[Origin::New, Origin::Resumed, Origin::Rewound { step: 3 }]);
    let shared = random.clone();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Some(request) = read(&stream) else { continue };
            if request.starts_with("GET /end") {
                return;
            }
            let answer = answer(&mut shared.lock().unwrap());
            let _ = (&stream).write_all(&answer);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { wandb: Some(Mode::Online), env: "cartpole".into(), ..Settings::default() };
    let description = Description {
        settings: &settings,
        config: Default::default(),
        run: dir.path(),
        run_id: "k3v9x0q2m1zz",
        run_name: "r",
        origin,
        commit: None,
        tags: &[],
        logged_step: 2,
    };
    let variables = [("WANDB_API_KEY", KEY), ("WANDB_BASE_URL", &*format!("http://{address}"))];
    let (wandb, notices) = Wandb::begin(&description, &Environment::of(&variables, None), PACE);
    assert!(notices.is_empty(), "{notices:?}");
    let mut wandb = wandb.unwrap();
    wandb.alert(&Alert { title: "title".into(), text: "text".into() });
    let notices = Box::new(wandb).end(State::Completed).wait(Instant::now() + Duration::from_millis(300));
    for notice in &notices {
        check_message(notice);
        assert!(!notice.contains(KEY), "{notice}");
        assert!(!notice.contains("a fault of lockstep"), "{notice}");
    }
    let _ = TcpStream::connect(address).and_then(|mut stream| stream.write_all(b"GET /end HTTP/1.1\r\n\r\n"));
    server.join().unwrap();
}

/// Reads a request; gives its head.
fn read(stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    reader.read_exact(&mut vec![0; length.unwrap_or(0)]).ok()?;
    Some(head)
}

fn answer(random: &mut Random) -> Vec<u8> {
    let body = random.choose(ANSWERS).as_bytes();
    let body = if random.one_in(3) { body.to_vec() } else { damaged(random, body, true) };
    let status = random.choose(&[
        "200 OK",
        "200 OK",
        "200 OK",
        "401 No",
        "403 No",
        "404 No",
        "409 No",
        "429 Wait",
        "500 No",
        "307 There",
    ]);
    let extra = random.choose(&[
        "",
        "Retry-After: 18446744073709551615\r\n",
        "Retry-After: -1\r\n",
        "Location: http://127.0.0.1:1/\r\n",
        "Location: \u{1b}[31m\r\n",
    ]);
    let head =
        format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{extra}\r\n", body.len());
    let whole = [head.as_bytes(), &body].concat();
    if random.one_in(4) { damaged(random, &whole, true) } else { whole }
}
