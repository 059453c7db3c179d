//! What W&B's server is told of a run while it goes on: lines of the run's files, as a stream of posts.

use std::collections::VecDeque;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::ALERT_PAUSE;
use super::api::{self, Api};
use super::identity::Identity;
use crate::trainer::status::State;
use crate::trainer::trackers::event::{Alert, Artifact, Fields, Point, Said, number};
use crate::trainer::trackers::http::Failure;
use crate::trainer::trackers::sender::{Service, Voice};

/// All that the sender needs to begin.
pub struct Begin {
    pub identity: Identity,
    pub base_url: String,
    pub config: Map<String, Value>,
    pub commit: Option<String>,
    pub metadata: Value,
}

/// The run as the server knows it.
pub struct Bucket {
    pub entity: String,
    pub project: String,
    /// `entity/project/run id`, as the addresses of its files have it.
    pub path: String,
    /// Whether the server wants to be told about uploaded files.
    pub marks_files: bool,
    /// Whether it takes lines of the console as objects.
    pub structured_console: bool,
}

/// The server of a run.
pub struct Wire {
    pub(super) api: Api,
    pub(super) begin: Begin,
    bucket: Option<Bucket>,
    /// Whether the run was announced to the server, though the answer may have been lost.
    pub(super) announced: bool,
    /// Lines of history that are there.
    pub(super) offset: u64,
    pub(super) summary: Vec<(String, String)>,
    pub(super) console: Stream<Said>,
    pub(super) utilisation: Stream<Point>,
}

/// Lines of a file that are to be sent with the next post.
pub struct Stream<T> {
    waiting: VecDeque<T>,
    /// Lines that are there.
    pub(super) offset: u64,
}

impl<T> Stream<T> {
    /// The most lines that wait; the oldest go first.
    const MOST: usize = 1000;

    fn new() -> Self {
        Self { waiting: VecDeque::new(), offset: 0 }
    }

    fn add(&mut self, lines: impl IntoIterator<Item = T>) {
        self.waiting.extend(lines);
        let surplus = self.waiting.len().saturating_sub(Self::MOST);
        self.waiting.drain(..surplus);
    }

    /// What a post says of the file, if anything waits.
    fn file(&self, line: impl Fn(&T) -> String) -> Option<Value> {
        let lines: Vec<String> = self.waiting.iter().map(line).collect();
        (!lines.is_empty()).then(|| json!({"offset": self.offset, "content": lines}))
    }

    /// What waited is there.
    fn is_sent(&mut self) {
        self.offset += self.waiting.len() as u64;
        self.waiting.clear();
    }
}

impl Wire {
    pub fn new(api: Api, begin: Begin) -> Self {
        Self {
            api,
            begin,
            bucket: None,
            announced: false,
            offset: 0,
            summary: Vec::new(),
            console: Stream::new(),
            utilisation: Stream::new(),
        }
    }

    pub(super) fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("calls about the run come after connecting")
    }

    pub(super) fn call(&self, document: &str, variables: Value, voice: &Voice) -> Result<Value, Failure> {
        let data = self.api.graphql(document, variables)?;
        voice.succeeded();
        Ok(data)
    }

    /// Posts these files and what waits of others; `body` is what else the post says.
    fn post_files(
        &mut self,
        mut files: Map<String, Value>,
        mut body: Value,
        voice: &Voice,
    ) -> Result<(), Failure> {
        let structured = self.bucket().structured_console;
        let console = self.console.file(|said| console_line(said, structured));
        files.extend(console.map(|file| ("output.log".into(), file)));
        let utilisation = self.utilisation.file(utilisation_line);
        files.extend(utilisation.map(|file| ("wandb-events.jsonl".into(), file)));
        if !files.is_empty() {
            body["files"] = files.into();
        }
        self.api.file_stream(&self.bucket().path, &body)?;
        voice.succeeded();
        self.console.is_sent();
        self.utilisation.is_sent();
        Ok(())
    }

    fn summary_file(&self) -> (String, Value) {
        ("wandb-summary.json".into(), json!({"offset": 0, "content": [json_object(&self.summary)]}))
    }
}

impl Service for Wire {
    const NAME: &'static str = "W&B";

    fn connect(&mut self, voice: &Voice) -> Result<Option<u64>, Failure> {
        let (bucket, last_step) = self.announce(voice)?;
        self.bucket = Some(bucket);
        Ok(last_step)
    }

    fn note(&mut self, point: &Point) {
        merge(&mut self.summary, &fields(point));
    }

    /// As many as fit into one request.
    fn post(
        &mut self,
        points: &mut dyn Iterator<Item = &Point>,
        dropped: u64,
        voice: &Voice,
    ) -> Result<usize, Failure> {
        const MOST_BYTES: usize = 4 << 20;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for point in points {
            let line = json_object(&fields(point));
            bytes += line.len();
            if bytes > MOST_BYTES && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        let count = lines.len();
        let history = json!({"offset": self.offset, "content": lines});
        let files = [("wandb-history.jsonl".into(), history), self.summary_file()];
        self.post_files(files.into_iter().collect(), json!({"dropped": dropped}), voice)?;
        self.offset += count as u64;
        Ok(count)
    }

    fn beat(&mut self, dropped: u64, voice: &Voice) -> Result<(), Failure> {
        let body = json!({"complete": false, "failed": false, "dropped": dropped, "uploaded": []});
        self.post_files(Map::new(), body, voice)
    }

    fn alert(&mut self, alert: &Alert, voice: &Voice) -> Result<(), Failure> {
        let Bucket { entity, project, .. } = self.bucket();
        let variables = json!({
            "entityName": entity,
            "projectName": project,
            "runName": self.begin.identity.place.run_id,
            "title": alert.title,
            "text": alert.text,
            "severity": "WARN",
            "waitDuration": ALERT_PAUSE.as_millis() as u64,
        });
        self.call(api::ALERT, variables, voice).map(drop)
    }

    fn sum_up(&mut self, fields: Vec<(String, String)>) {
        merge(&mut self.summary, &fields);
    }

    fn console(&mut self, lines: Vec<Said>) {
        self.console.add(lines);
    }

    fn utilisation(&mut self, point: Point) {
        self.utilisation.add([point]);
    }

    fn artifact(&mut self, artifact: &Artifact, held: &Path, voice: &Voice) -> Result<(), Failure> {
        self.upload_artifact(artifact, held, voice)
    }

    /// Uploads the last files, and ends the run.
    fn complete(&mut self, state: State, dropped: u64, voice: &Voice) -> Result<(), Failure> {
        let names = self.upload_files(voice)?;
        let body = json!({
            "uploaded": names,
            "dropped": dropped,
            "complete": true,
            "exitcode": exit_code(state),
        });
        let files = [self.summary_file()];
        self.post_files(files.into_iter().collect(), body, voice)
    }
}

/// How a run ended, as the exit status of a process.
pub fn exit_code(state: State) -> i32 {
    (state == State::Failed).into()
}

/// A point as W&B takes it: its numbers, and the clocks that W&B itself wants.
pub fn fields(point: &Point) -> Vec<(String, String)> {
    let clocks = [
        (super::record::X_AXIS.into(), point.timesteps.to_string()),
        ("_step".into(), point.step.to_string()),
        ("_runtime".into(), number(point.wall_seconds)),
        ("_timestamp".into(), seconds(point.time)),
    ];
    point.fields.iter().cloned().chain(clocks).collect()
}

fn seconds(time: jiff::Timestamp) -> String {
    number(time.as_millisecond() as f64 / 1e3)
}

fn console_line(said: &Said, structured: bool) -> String {
    let time = said.time.strftime("%Y-%m-%dT%H:%M:%S%.6f");
    match structured {
        true => json!({"ts": time.to_string(), "content": said.text}).to_string(),
        false => format!("{time} {}", said.text),
    }
}

fn utilisation_line(point: &Point) -> String {
    let numbers = point.fields.iter().map(|(name, value)| (format!("system.{name}"), value.clone()));
    let clocks = [
        ("_wandb".to_owned(), "true".to_owned()),
        ("_timestamp".into(), seconds(point.time)),
        ("_runtime".into(), number(point.wall_seconds)),
    ];
    json_object(&numbers.chain(clocks).collect::<Vec<_>>())
}

/// Puts newer values over older ones; what the newer ones do not have stays, such as the last evaluation.
pub fn merge(summary: &mut Vec<(String, String)>, newer: &Fields) {
    for (name, value) in newer {
        match summary.iter_mut().find(|(known, _)| known == name) {
            Some((_, older)) => older.clone_from(value),
            None => summary.push((name.clone(), value.clone())),
        }
    }
}

/// One JSON object; serde_json could not write the words for what is not a number.
pub fn json_object(fields: &Fields) -> String {
    let member = |(name, json): &(String, String)| format!("{}:{json}", Value::from(name.as_str()));
    format!("{{{}}}", fields.iter().map(member).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_number_stays_a_bare_word() {
        let fields = [("a \"b\"".to_string(), "NaN".to_string()), ("c".into(), "1".into())];
        assert_eq!(json_object(&fields), r#"{"a \"b\"":NaN,"c":1}"#);
    }

    #[test]
    fn lines_of_the_console_have_the_form_that_the_server_knows() {
        let said = Said { time: "2026-01-05T01:02:03.5Z".parse().unwrap(), text: "a \"b\"".into() };
        assert_eq!(console_line(&said, false), "2026-01-05T01:02:03.500000 a \"b\"");
        let structured = console_line(&said, true);
        assert_eq!(structured, r#"{"content":"a \"b\"","ts":"2026-01-05T01:02:03.500000"}"#);
    }

    #[test]
    fn the_oldest_of_too_many_lines_go_first() {
        let mut stream = Stream::new();
        stream.offset = 5;
        stream.add(0..1500);
        let file = stream.file(|line| line.to_string()).unwrap();
        assert_eq!((&file["offset"], &file["content"][0]), (&json!(5), &json!("500")));
        stream.is_sent();
        assert_eq!((stream.offset, stream.file(|line| line.to_string())), (1005, None));
    }
}
