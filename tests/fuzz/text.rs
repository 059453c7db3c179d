//! Text: configurations, lines of the protocol, golden transitions.

use std::fs;
use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use lockstep::config::{Catalog, Config, Ranks, resolve, train_command};
use lockstep::envs::hackmatrix::host::golden;
use lockstep::envs::hackmatrix::host::protocol::{OracleTable, serve};
use lockstep::envs::hackmatrix::host::rules::Rules;

use super::{Random, check_message, damaged};

pub fn configuration(random: &mut Random) {
    static GOOD: OnceLock<String> = OnceLock::new();
    let good = GOOD.get_or_init(|| {
        let catalog = Catalog::builtin();
        let matches = train_command(&catalog).no_binary_name(true).get_matches_from([""; 0]);
        resolve(&catalog, &matches, Ranks::ONE).unwrap().config.to_toml().unwrap()
    });
    let bytes = damaged(random, good.as_bytes(), true);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    fs::write(&path, &bytes).unwrap();
    let catalog = Catalog::builtin();
    let matches = train_command(&catalog)
        .no_binary_name(true)
        .get_matches_from([&*"--config".to_string(), path.to_str().unwrap()]);
    match resolve(&catalog, &matches, Ranks::ONE) {
        Err(error) => check_message(&error),
        Ok(mut resolved) => {
            assert_eq!(resolved.config.run.plugin, None);
            for kind in [lockstep::runtime::DeviceKind::Cpu, lockstep::runtime::DeviceKind::Cuda] {
                let _ = resolved.config.adapt(kind).map_err(|error| check_message(&error));
            }
            let _ = resolved.config.to_toml();
        }
    }
    let _ = Config::stored(&catalog, &String::from_utf8_lossy(&bytes)).map_err(|error| check_message(&error));
}

const LINES: &[&str] = &[
    r#"{"action":"reset"}"#,
    r#"{"action":"step","actionIndex":3}"#,
    r#"{"action":"getValidActions"}"#,
    r#"{"action":"getInternalState"}"#,
    r#"{"action":"setState","state":{"player":{"row":2,"col":3,"hp":3,"credits":9,"energy":7,"dataSiphons":1,"attackDamage":1,"score":5},"enemies":[{"type":"virus","row":0,"col":1,"hp":2,"stunned":false,"spawnedFromSiphon":true,"isFromScheduledTask":false}],"transmissions":[{"row":4,"col":4,"turnsRemaining":2,"enemyType":"daemon"}],"blocks":[{"row":1,"col":1,"type":"data","points":5,"spawnCount":2,"siphoned":false}],"resources":[{"row":3,"col":0,"credits":2,"energy":1,"dataSiphon":true}],"ownedPrograms":[5,6],"stage":2,"turn":4,"showActivated":true,"scheduledTasksDisabled":false}}"#,
];

/// Every line has one reply, a JSON object, whatever was set before.
pub fn protocol(random: &mut Random) {
    let mut input = Vec::new();
    for _ in 0..1 + random.below(8) {
        let line = random.choose(LINES).as_bytes();
        let line = if random.one_in(3) { line.to_vec() } else { damaged(random, line, true) };
        input.extend(line.iter().filter(|byte| **byte != b'\n'));
        input.push(b'\n');
    }
    let lines = input.iter().filter(|byte| **byte == b'\n').count();
    let mut output = Vec::new();
    serve(&input[..], &mut output, &mut OracleTable::new(Rules::default(), 7)).unwrap();
    let replies: Vec<_> = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    assert_eq!(replies.len(), lines);
    for reply in replies {
        let reply: serde_json::Value = serde_json::from_slice(reply).expect("a reply is JSON");
        assert!(reply.is_object());
    }
}

pub fn golden(random: &mut Random) {
    static GOOD: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let good = GOOD.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/jax_env_spec/hackmatrix/golden.jsonl.gz");
        let text = std::io::read_to_string(flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()))
            .unwrap();
        text.lines().step_by(97).map(|line| line.as_bytes().to_vec()).collect()
    });
    let line = &good[random.below(good.len())];
    let mut text = damaged(random, line, true);
    text.push(b'\n');
    if random.one_in(2) {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&text).unwrap();
        text = packed.finish().unwrap();
        if random.one_in(2) {
            text = damaged(random, &text, false);
        }
    }
    if let Err(error) = golden::read(&text, "golden.jsonl.gz") {
        check_message(&error);
    }
}

/// A small file that unpacks to more than any memory, in one line.
#[test]
fn a_line_that_unpacks_to_gigabytes_is_refused() {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    for _ in 0..64 {
        packed.write_all(&[b' '; 1 << 20]).unwrap();
    }
    let bomb = packed.finish().unwrap();
    let error = golden::read(&bomb, "bomb.gz").unwrap_err().to_string();
    assert_eq!(error, "bomb.gz:1: the line has more than 1048576 bytes");
}

/// What clients send is a number of 64 bits; the smallest of them has no absolute value.
#[test]
fn the_smallest_number_is_too_large() {
    for value in [i64::MIN, i64::MIN + 1, 1_000_001, -1_000_001, i64::MAX] {
        let line =
            format!(r#"{{"action":"setState","state":{{"player":{{"row":0,"col":0,"credits":{value}}}}}}}"#);
        let mut output = Vec::new();
        serve(line.as_bytes(), &mut output, &mut OracleTable::new(Rules::default(), 7)).unwrap();
        let output = String::from_utf8(output).unwrap();
        assert!(output.contains(&format!("credits is {value}; it must be from 0 to ")), "{output}");
    }
}

/// A line without an end takes no memory without end, and the lines after it are answered.
#[test]
fn an_endless_line_is_passed_over() {
    let input = [&b"x".repeat(5 << 20)[..], b"\n{\"action\":\"getActionSpace\"}\n"].concat();
    let mut output = Vec::new();
    serve(&input[..], &mut output, &mut OracleTable::new(Rules::default(), 7)).unwrap();
    let output = String::from_utf8(output).unwrap();
    let replies: Vec<_> = output.lines().collect();
    assert!(
        replies.len() == 2 && replies[0].contains("Invalid command") && replies[1].contains("28"),
        "{output}"
    );
}
