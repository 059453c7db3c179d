//! Servers that are broken, hostile, or none of W&B's.

use super::*;

/// What is told of a run with one row against a server that answers everything so.
fn told(reply: fn() -> Reply) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(move |_| reply());
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    wandb.row(&row(1));
    let notices = wandb.finish();
    assert!(notices.iter().all(|notice| !notice.contains(KEY)), "{notices:?}");
    assert!(notices.iter().all(|notice| !notice.chars().any(char::is_control)), "{notices:?}");
    assert!(notices.last().unwrap().starts_with("W&B lacks 1 row; send them with: "), "{notices:?}");
    notices
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let first = |reply: fn() -> Reply| told(reply)[0].clone();
    assert_eq!(
        first(|| Reply::Words(403, r#"{"error": "user is no member of charles-team"}"#.into())),
        "W&B refuses the run (the server answered 403 Forbidden: user is no member of charles-team); \
         nothing more is sent there"
    );
    let not_found = first(|| Reply::Words(404, r#"{"errors": [{"message": "no such project"}]}"#.into()));
    assert!(not_found.contains("404 Not Found: no such project)"), "{not_found}");
    let conflict = first(|| Reply::Words(409, r#"{"message": "the run\u001b[31m is\nlocked"}"#.into()));
    assert!(conflict.contains("409 Conflict: the run [31m is locked)"), "{conflict}");
    let key = first(|| Reply::Words(401, format!(r#"{{"error": "{KEY} is no key"}}"#)));
    assert!(key.contains("401 Unauthorized: the API key is not accepted: (the key) is no key"), "{key}");
    let graphql = first(|| Reply::Words(200, r#"{"errors": [{"message": "out of storage"}]}"#.into()));
    assert!(graphql.contains("(Viewer: out of storage)"), "{graphql}");
    let wordless = first(|| Reply::Words(200, r#"{"errors": [7]}"#.into()));
    assert!(wordless.contains("does not say why"), "{wordless}");
    let long = told(|| Reply::Words(403, format!(r#"{{"error": "{}"}}"#, "x".repeat(1 << 20))));
    assert!(long[0].len() < 500, "{} letters", long[0].len());
}

#[test]
fn answers_have_a_limit_of_size_and_time() {
    let endless = told(|| Reply::Endless(&[b' '; 1 << 16], Duration::ZERO));
    assert!(endless[0].starts_with("W&B cannot be reached"), "{endless:?}");
    let large = told(|| Reply::Words(200, " ".repeat(9 << 20)));
    assert!(large[0].contains("it has more than 8388608 bytes"), "{large:?}");
    let slow = told(|| {
        Reply::Endless(
            b"HTTP/1.1 200 X\r\nContent-Length: 99999999\r\n\r\n          ",
            Duration::from_millis(20),
        )
    });
    assert!(slow[0].starts_with("W&B cannot be reached"), "{slow:?}");
    let headers = told(|| Reply::Endless(b"HTTP/1.1 200 X\r\n", Duration::ZERO));
    assert!(headers[0].starts_with("W&B cannot be reached"), "{headers:?}");
}

#[test]
fn a_pause_of_ages_is_clamped() {
    for pause in ["Retry-After: 18446744073709551615\r\n", "Retry-After: -1\r\n", "Retry-After: soon\r\n"] {
        let dir = tempfile::tempdir().unwrap();
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| match count.fetch_add(1, SeqCst) {
            0 => Reply::Status(429, pause),
            _ => Reply::Good,
        });
        let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
        wandb.row(&row(1));
        wandb.finish(); // the last event is sent at once
        assert_eq!(server.steps(), [1], "{pause}");
    }
}

/// What is sent is meant for one host.
#[test]
fn nothing_is_sent_on_to_another_host() {
    let other = Server::start(|_| Reply::Good);
    let location: &'static str = format!("Location: {}/graphql\r\n", other.url).leak();
    for status in [301, 302, 303, 307, 308] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(move |_| Reply::Status(status, location));
        let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
        wandb.row(&row(1));
        let notices = wandb.finish();
        assert!(notices[0].contains("it points to another host, where nothing is sent"), "{notices:?}");
    }
    assert!(other.calls().is_empty(), "{:?}", other.names());
}

#[test]
fn a_server_that_is_slow_with_everything_does_not_hold_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_millis(100));
        Reply::Good
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::New);
    wandb.row(&row(1));
    for _ in 0..200 {
        wandb.artifact(&checkpoint(dir.path())); // seven calls each
    }
    let notices = Box::new(wandb).end(State::Completed).wait(Instant::now() + Duration::from_secs(2));
    let last = notices.last().unwrap();
    assert!(last.contains("artifacts; send them with: wandb sync "), "{notices:?}");
    let records = transaction_log::read(&logs(dir.path())[0]);
    let told = records.iter().filter(|record| String::from_utf8_lossy(record).contains("checkpoint_20.ckpt"));
    assert_eq!(told.count(), 200, "`wandb sync` can send what is missing");
}

#[test]
fn an_id_that_another_run_has_is_not_used() {
    let upserted = |inserted: bool, lines: u64| {
        let bucket = json!({"id": "S", "project": {"name": "proj", "entity": {"name": "me"}}, "historyLineCount": lines});
        json!({"upsertBucket": {"inserted": inserted, "bucket": bucket}})
    };
    let run = |inserted: bool, lines: u64, origin, lost: bool| {
        let dir = tempfile::tempdir().unwrap();
        let answer = upserted(inserted, lines);
        let lose = AtomicBool::new(lost);
        let server = Server::start(move |call| match call.name().as_str() {
            // The first announcement arrives, but its answer is lost.
            "UpsertBucket" if lose.swap(false, SeqCst) => Reply::Silence(Duration::ZERO),
            "UpsertBucket" => Reply::Data(answer.clone()),
            _ => Reply::Good,
        });
        let mut wandb = begin(dir.path(), Some(&server.url), origin);
        wandb.row(&row(30));
        (wandb.finish(), server.first_rows_if_any().is_some())
    };
    for lines in [0, 5] {
        let (notices, sent) = run(false, lines, Origin::New, false);
        assert!(notices[0].contains("there is another run of the id k3v9x0q2m1zz"), "{notices:?}");
        assert!(!sent);
    }
    assert!(run(true, 0, Origin::New, false).1);
    assert!(run(false, 0, Origin::New, true).1, "it is this one, announced twice");
    assert!(!run(false, 5, Origin::New, true).1);
    assert!(run(false, 5, Origin::Resumed, false).1);
}

#[test]
fn numbers_of_the_server_may_be_any() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|call| match call.name().as_str() {
        "RunResumeStatus" => Reply::Data(json!({"model": {"bucket": {"id": [], "historyLineCount": u64::MAX,
            "summaryMetrics": "[1]", "historyTail": "[\"{\\\"_step\\\":-1}\"]"}}})),
        _ => Reply::Good,
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::Resumed);
    wandb.row(&row(30));
    let notices = wandb.finish();
    assert_eq!(server.steps(), [30], "{notices:?}");
}

#[test]
fn the_summary_keeps_what_the_last_row_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|call| match call.name().as_str() {
        "RunResumeStatus" => Reply::Data(json!({"model": {"bucket": {"id": "STORAGE", "historyLineCount": 0,
            "summaryMetrics": r#"{"eval/older": 2.5, "reward/kill": -1, "_wandb": {"runtime": 3}}"#}}})),
        _ => Reply::Good,
    });
    let mut wandb = begin(dir.path(), Some(&server.url), Origin::Resumed);
    let mut evaluated = row(30);
    evaluated.names.push("eval/mean_return".into());
    evaluated.values.push(Some(7.5));
    wandb.row(&evaluated);
    wandb.row(&row(40));
    wandb.finish();
    let last = server.calls().last().unwrap().json();
    let summary = last["files"]["wandb-summary.json"]["content"][0].as_str().unwrap();
    let summary: Value = serde_json::from_str(&summary.replace("NaN", "null")).unwrap();
    assert_eq!(
        [&summary["eval/mean_return"], &summary["eval/older"], &summary["reward/kill"]],
        [&json!(7.5), &json!(2.5), &json!(40.0)]
    );
}

#[test]
fn the_place_that_the_server_names_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::Good);
    begin(dir.path(), Some(&server.url), Origin::New).finish();
    let kept: Value = serde_json::from_slice(&fs::read(dir.path().join("wandb.json")).unwrap()).unwrap();
    assert_eq!(kept, json!({"run_id": RUN_ID, "entity": "me", "project": "proj"}));
}
