//! What is told to W&B, as the protobuf records of the transaction log. The numbers are those of its schema.

use serde_json::{Map, Value};

use super::super::event::{Alert, Artifact, Fields, Point, Said};
use super::identity::Identity;
use crate::trainer::protobuf::Message;
use crate::trainer::trackers::Origin;

// Fields of `Record`: what a record is about.
pub const HISTORY: u64 = 2;
pub const SUMMARY: u64 = 3;
pub const STATS: u64 = 7;
pub const ARTIFACT: u64 = 8;
pub const ALERT: u64 = 10;
pub const METRIC: u64 = 12;
pub const OUTPUT_RAW: u64 = 13;
pub const RUN: u64 = 17;
pub const EXIT: u64 = 18;
pub const HEADER: u64 = 21;

/// The metric that charts have on the x axis.
pub const X_AXIS: &str = "timesteps";

/// The first record: who wrote the file, and that any reader may try.
pub fn header() -> Message {
    let version = concat!("lockstep-", env!("CARGO_PKG_VERSION"));
    Message::new().message(1, Message::new().bytes(1, version).bytes(2, "0.0.1"))
}

pub fn run(identity: &Identity, config: &Map<String, Value>, start: jiff::Timestamp) -> Message {
    let item = |(key, value): (&String, &Value)| Message::new().bytes(1, key).bytes(16, value.to_string());
    let run = Message::new()
        .bytes(1, &identity.place.run_id)
        .text(2, &identity.place.entity)
        .text(3, &identity.place.project)
        .message(4, Message::new().messages(1, config.iter().map(item)))
        .text(6, &identity.group)
        .text(7, &identity.job_type)
        .text(8, &identity.name)
        .text(9, &identity.notes);
    let run = identity.tags.iter().fold(run, |run, tag| run.bytes(10, tag));
    let run = run.text(12, &identity.sweep).text(13, &identity.host).message(17, timestamp(start));
    match identity.origin {
        Origin::New => run,
        Origin::Resumed => run.int(24, 1),
        Origin::Rewound { step } => run.message(
            23,
            Message::new().bytes(1, &identity.place.run_id).double(2, step as f64).bytes(3, "_step"),
        ),
    }
}

fn timestamp(time: jiff::Timestamp) -> Message {
    Message::new().int(1, time.as_second()).int(2, i64::from(time.subsec_nanosecond()))
}

/// The metric definitions: [`X_AXIS`] is the x axis of all others.
pub fn metrics() -> [Message; 2] {
    const STEP_SYNC: u64 = 1;
    const DEFINED: u64 = 3;
    let options = |option| Message::new().int(option, 1);
    [
        Message::new().bytes(1, X_AXIS).message(6, options(DEFINED)),
        Message::new().bytes(2, "*").bytes(4, X_AXIS).message(6, options(STEP_SYNC)),
    ]
}

/// One row of the history.
pub fn history(step: u64, fields: &Fields) -> Message {
    let item = |(key, json): &(String, String)| Message::new().bytes(2, key).bytes(16, json);
    Message::new().messages(1, fields.iter().map(item)).message(2, Message::new().int(1, step as i64))
}

/// The newest values.
pub fn summary(fields: &Fields) -> Message {
    let item = |(key, json): &(String, String)| Message::new().bytes(2, key).bytes(16, json);
    Message::new().messages(1, fields.iter().map(item))
}

/// A line of the console.
pub fn console(said: &Said) -> Message {
    const STDOUT: i64 = 1;
    let message = Message::new().int(1, STDOUT).message(2, timestamp(said.time));
    message.bytes(3, format!("{}\n", said.text))
}

/// How busy the machine is.
pub fn stats(point: &Point) -> Message {
    let item = |(key, json): &(String, String)| Message::new().bytes(1, key).bytes(16, json);
    Message::new().message(2, timestamp(point.time)).messages(3, point.fields.iter().map(item))
}

pub fn alert(alert: &Alert) -> Message {
    Message::new()
        .bytes(1, &alert.title)
        .bytes(2, &alert.text)
        .bytes(3, "WARN")
        .int(4, super::ALERT_PAUSE.as_millis() as i64)
}

/// An artifact of one file, to be sent when the log is.
pub fn artifact(identity: &Identity, artifact: &Artifact, contents: &super::artifact::Contents) -> Message {
    let entry = Message::new()
        .bytes(1, &contents.file_name)
        .bytes(2, &contents.digest)
        .int(4, contents.size as i64)
        .bytes(6, artifact.path.to_string_lossy().as_bytes());
    let layout = Message::new().bytes(1, "storageLayout").bytes(2, "\"V2\"");
    let manifest = Message::new()
        .int(1, 1)
        .bytes(2, super::artifact::STORAGE_POLICY)
        .message(3, layout)
        .message(4, entry);
    let record = Message::new()
        .bytes(1, &identity.place.run_id)
        .text(2, &identity.place.project)
        .text(3, &identity.place.entity)
        .bytes(4, artifact.kind)
        .bytes(5, &artifact.name)
        .bytes(6, contents.manifest_digest())
        .bytes(8, artifact.metadata.to_string())
        .int(9, 1);
    let record = artifact.aliases.iter().fold(record, |record, alias| record.bytes(11, alias));
    record
        .message(12, manifest)
        .int(14, 1)
        .bytes(15, super::artifact::random_id())
        .bytes(16, super::artifact::random_id())
        .bytes(20, super::artifact::DIGEST_ALGORITHM)
}

pub fn exit(exit_code: i32, runtime: f64) -> Message {
    Message::new().int(1, i64::from(exit_code)).int(2, runtime as i64)
}
