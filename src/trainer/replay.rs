//! Replays: one recorded episode in a file, which shows the play to whoever has no game at hand.
//!
//! A file holds a line of JSON for each step, packed with gzip (`.jsonl.gz`). A line says what the step was for any program
//! (`frame_index`, `t`, `dt`, `action`, `reward`, `terminated`, `truncated`, `render_state` with the observation, `events`, and
//! `info` if it is wanted), by the names that the environment's [`Telemetry`](crate::envs::Telemetry) declares. Under `play` stands
//! what a terminal shows: the picture after the step, by what differs from the one before it, and the name of the action; in the first line also the environment and the
//! picture before the step. So a replay needs neither the game nor the network that played, and plays whatever rules these have by now.

mod changes;

use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::files::write_durably;
use crate::algorithms::playback::Outcome;
use crate::algorithms::reel::{Footage, Reel, Still, Taken};
use crate::array::HostArray;
use crate::envs::painter::{self, Color, Line, Modifier, Painter, Picture, Span, Style};
use crate::envs::scene::{Scene, Spot};
use crate::envs::telemetry::{Shown, Told};
use crate::envs::{Description, Entry, EnvSpec};
use crate::files;
use changes::Changes;

/// The version of the format.
const SCHEMA: u64 = 1;
/// The most bytes of an unpacked file.
const LIMIT: u64 = 1 << 30;
/// What an entry of a picture takes in memory, about.
const BYTES_OF_AN_ENTRY: u64 = 64;
/// How the name of a file ends.
pub const EXTENSION: &str = ".jsonl.gz";

/// A recorded step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frame {
    pub schema_version: u64,
    /// Counted from 0.
    pub frame_index: u64,
    /// Ticks of the episode after the step, and of the step.
    pub t: u64,
    pub dt: u64,
    pub action: i64,
    pub reward: f64,
    pub terminated: bool,
    pub truncated: bool,
    pub render_state: Map<String, Value>,
    pub events: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub play: Option<Play>,
}

/// What a terminal shows of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Play {
    /// In the first line: the environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub env: Option<String>,
    /// The name of the action.
    pub action: String,
    /// In the first line: before the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Drawing>,
    #[serde(default, skip_serializing_if = "Drawing::is_empty")]
    pub after: Drawing,
    /// In a file, instead of `after`: what differs from the drawing before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<Changes>,
}

/// A picture as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drawing {
    pub board: Vec<Text>,
    pub legend: Vec<Text>,
    pub facts: Vec<Text>,
    /// The same as shapes, if the environment's painter draws such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scene: Option<Scene>,
}

/// A line: pieces of text with what they look like, such as `light-red bold`; nothing for plain text.
type Text = Vec<(String, String)>;

/// A moment as a painter shows it.
#[derive(Default)]
struct Painted {
    picture: Picture,
    scene: Option<Scene>,
}

/// What an episode came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Episode {
    pub steps: u64,
    /// The sum of the rewards.
    pub episode_return: f64,
    pub terminated: bool,
    pub truncated: bool,
    /// The metrics of the last step by name, all finite.
    pub last: Vec<(String, f64)>,
}

/// Tells steps by the names that an environment's [`Telemetry`](crate::envs::Telemetry) declares.
pub struct Teller {
    env: Entry,
    spec: EnvSpec,
}

/// Plays episodes and keeps what there was to see.
pub struct Recorder {
    env: Entry,
    teller: Teller,
    reel: Reel,
    /// Whether frames have `info`.
    info: bool,
}

impl Recorder {
    pub fn new(env: Entry, reel: Reel, info: bool) -> Recorder {
        Recorder { teller: Teller::new(env), env, reel, info }
    }

    /// Plays with these parameters from now on.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn set_params(&mut self, params: &[HostArray]) -> Result<()> {
        self.reel.set_params(params)
    }

    /// Plays the first `count` episodes of a seed, each of at most `max_steps` steps, and gives the one with the highest return, of
    /// equal ones the first. Asks now and then whether to `go_on`; nothing if not.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn best_of(
        &self,
        count: usize,
        seed: u64,
        max_steps: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Footage>> {
        let mut best: Option<(f64, Footage)> = None;
        for number in 0..count {
            let Some(footage) = self.reel.play(seed, number, max_steps, go_on)? else { return Ok(None) };
            let total = footage.steps.iter().map(|step| finite(step.outcome.reward)).sum::<f64>();
            if best.as_ref().is_none_or(|(highest, _)| total > *highest) {
                best = Some((total, footage));
            }
        }
        Ok(best.map(|(_, footage)| footage))
    }

    /// Writes an episode durably, and gives what it came to.
    ///
    /// # Errors
    /// One line that names the file; what was there before is untouched.
    pub fn save(&self, footage: &Footage, path: &Path) -> Result<Episode> {
        let mut writing = Writing {
            recorder: self,
            painter: self.env.painter(),
            description: self.env.description(),
            episode: Episode {
                steps: 0,
                episode_return: 0.0,
                terminated: false,
                truncated: false,
                last: Vec::new(),
            },
            t: 0,
            spots: Vec::new(),
            painted: Painted::default(),
            seen: Vec::new(),
        };
        write_durably(path, |file| {
            let mut packed = GzEncoder::new(BufWriter::new(file), Compression::fast());
            writing.write(footage, &mut packed)?;
            packed.finish()?.flush()
        })?;
        Ok(writing.episode)
    }
}

/// An episode that is being written, step by step.
struct Writing<'a> {
    recorder: &'a Recorder,
    painter: Box<dyn Painter>,
    description: Description,
    /// What it has come to so far.
    episode: Episode,
    /// Its ticks so far.
    t: u64,
    /// Where one could act at the last moment.
    spots: Vec<Spot>,
    /// The last moment.
    painted: Painted,
    /// The last observation, as JSON has it.
    seen: Vec<(f32, f64)>,
}

impl Writing<'_> {
    fn write(&mut self, footage: &Footage, file: &mut impl Write) -> std::io::Result<()> {
        let mut still = footage.first();
        self.seen = still.obs.iter().map(|&x| (x, finite(x))).collect();
        let mut before = Some(self.first(&still));
        let mut line = Vec::new();
        for (index, step) in footage.steps.iter().enumerate() {
            footage.show(index + 1, &mut still);
            let frame = self.frame(index, step, &still, before.take());
            line.clear();
            serde_json::to_writer(&mut line, &frame)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        Ok(())
    }

    /// The picture before the first step.
    fn first(&mut self, moment: &Still) -> Drawing {
        let mut painted = Painted::of(&*self.painter, &moment.frame());
        if let Some(scene) = &mut painted.scene {
            self.spots = std::mem::take(&mut scene.spots);
        }
        self.painted = painted;
        self.painted.drawing()
    }

    /// A step that led to a moment.
    fn frame(&mut self, index: usize, step: &Taken, moment: &Still, before: Option<Drawing>) -> Frame {
        let Recorder { env, teller, info, .. } = self.recorder;
        let Taken { action, outcome } = step;
        let Outcome { terminated, truncated, reward, .. } = *outcome;
        let metrics = teller.metrics(outcome);
        let earlier = (index > 0).then_some(&self.episode.last[..]);
        let shown = teller.tell(*action, outcome, moment.frame(), &metrics, earlier);
        let ends = [("terminated", terminated), ("truncated", truncated)];
        let ends = ends.into_iter().filter(|(_, is_so)| *is_so).map(|(event, _)| event);
        let mut render_state = shown.state;
        render_state.insert("observation".into(), self.observation(&moment.obs));
        let (dt, reward) = (teller.ticks(outcome), finite(reward));
        self.t += dt;
        self.episode = Episode {
            steps: self.episode.steps + 1,
            episode_return: self.episode.episode_return + reward,
            terminated,
            truncated,
            last: metrics,
        };
        Frame {
            schema_version: SCHEMA,
            frame_index: index as u64,
            t: self.t,
            dt,
            action: *action as i64,
            reward,
            terminated,
            truncated,
            render_state,
            events: shown.events.into_iter().chain(ends).map(String::from).collect(),
            info: info.then_some(shown.info),
            play: Some(Play {
                env: (index == 0).then(|| env.name.to_owned()),
                before,
                ..self.drawn(moment, *action)
            }),
        }
    }

    /// The observation, of which most numbers are those of the last one.
    fn observation(&mut self, obs: &[f32]) -> Value {
        let number = |(seen, &x): (&mut (f32, f64), &f32)| {
            if seen.0.to_bits() != x.to_bits() {
                *seen = (x, finite(x));
            }
            Value::from(seen.1)
        };
        self.seen.iter_mut().zip(obs).map(number).collect()
    }

    /// The picture of a moment, as a file has it. Nobody acts in a replay: of the places to act it keeps that of the action which led to
    /// it, unless the place has moved meanwhile, as those beside somebody who walks do.
    fn drawn(&mut self, moment: &Still, action: usize) -> Play {
        let mut painted = Painted::of(&*self.painter, &moment.frame());
        let place = |spots: &[Spot]| spots.iter().find(|spot| spot.action == action).map(|spot| spot.at);
        let spots = painted.scene.as_mut().map(|scene| std::mem::take(&mut scene.spots)).unwrap_or_default();
        if let Some(scene) = &mut painted.scene
            && place(&spots) == place(&self.spots)
        {
            scene.spots = spots.iter().filter(|spot| spot.action == action).cloned().collect();
        }
        self.spots = spots;
        let changed = Changes::between(&self.painted, &painted);
        self.painted = painted;
        let after = if changed.is_some() { Drawing::default() } else { self.painted.drawing() };
        Play { env: None, action: self.description.action(action).to_owned(), before: None, after, changed }
    }
}

impl Teller {
    pub fn new(env: Entry) -> Teller {
        Teller { spec: env.spec(), env }
    }

    /// The metrics of a step by name, all finite.
    pub fn metrics(&self, outcome: &Outcome) -> Vec<(String, f64)> {
        let named = self.spec.metrics.iter().zip(&outcome.metrics);
        named.map(|(metric, &value)| (metric.name.clone(), finite(value))).collect()
    }

    /// How long a step took.
    fn ticks(&self, outcome: &Outcome) -> u64 {
        self.spec.clock_column().map_or(1, |column| (outcome.metrics[column] as u64).max(1))
    }

    /// What there is to tell of a step with these metrics, and those of the step before.
    pub fn tell(
        &self,
        action: usize,
        outcome: &Outcome,
        after: painter::Frame,
        metrics: &[(String, f64)],
        before: Option<&[(String, f64)]>,
    ) -> Shown {
        let Outcome { terminated, truncated, .. } = *outcome;
        let ticks = self.ticks(outcome);
        (self.env.telemetry.frame)(&Told { after, action, ticks, terminated, truncated, metrics, before })
    }
}

/// An observation as JSON can hold it.
pub fn observation(obs: &[f32]) -> Vec<f64> {
    obs.iter().map(|&x| finite(x)).collect()
}

/// The number as JSON can hold it with few digits; 0 for one that is not finite, which JSON cannot hold.
pub fn finite(x: f32) -> f64 {
    match x {
        x if !x.is_finite() => 0.0,
        // Most numbers are whole, and these need no digits.
        x if x.trunc() == x && x.abs() < 1e6 => f64::from(x),
        x => x.to_string().parse().unwrap_or(0.0),
    }
}

/// Reads a replay, packed or not.
///
/// # Errors
/// One line: the file cannot be read, or which line of it is no frame.
pub fn read(path: &Path) -> Result<Vec<Frame>> {
    read_within(path, LIMIT)
}

/// As [`read`], of a file that has less than `limit` bytes when it is unpacked.
///
/// # Errors
/// Those of [`read`], and that it has so many.
pub fn read_within(path: &Path, limit: u64) -> Result<Vec<Frame>> {
    let shown = path.display();
    let text = files::read_unpacked_text(path, limit).with_context(|| format!("cannot read {shown}"))?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut entries = 0;
    for (number, line) in text.lines().enumerate() {
        let wrong = |problem: String| anyhow!("{shown} is no replay: line {}: {problem}", number + 1);
        let mut frame: Frame = serde_json::from_str(line).map_err(|error| wrong(error.to_string()))?;
        ensure!(
            frame.schema_version == SCHEMA,
            wrong(format!("schema_version is {}; this lockstep reads {SCHEMA}", frame.schema_version))
        );
        ensure!(
            frame.frame_index == number as u64,
            wrong(format!("frame_index is {}; it must be {number}", frame.frame_index))
        );
        if let Some(play) = &mut frame.play {
            let last = frames.last().and_then(|last| last.play.as_ref()).map(|play| &play.after);
            let is_whole = play.complete(last);
            ensure!(is_whole, wrong("its picture has changes of what was not there".into()));
            entries += play.after.entries();
            ensure!(
                entries <= limit / BYTES_OF_AN_ENTRY,
                wrong("the pictures up to here are too large".into())
            );
        }
        frames.push(frame);
    }
    ensure!(!frames.is_empty(), "{shown} is no replay: it is empty");
    Ok(frames)
}

/// Whether a file is named as replays are.
pub fn is_replay(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(EXTENSION) || name.ends_with(".jsonl")
}

impl Play {
    /// Makes a whole picture of what differs from the `last` one. Says whether that could be.
    fn complete(&mut self, last: Option<&Drawing>) -> bool {
        let Some(changed) = self.changed.take() else { return true };
        let after = self.before.as_ref().or(last).and_then(|before| changed.apply(before));
        after.map(|after| self.after = after).is_some()
    }
}

impl Painted {
    fn of(painter: &dyn Painter, frame: &painter::Frame) -> Painted {
        Painted { picture: painter.paint(frame), scene: painter.scene(frame) }
    }

    fn drawing(&self) -> Drawing {
        let lines = |lines: &[Line]| lines.iter().map(text_of).collect();
        let Picture { board, legend, facts } = &self.picture;
        Drawing { board: lines(board), legend: lines(legend), facts: lines(facts), scene: self.scene.clone() }
    }
}

impl Drawing {
    /// What a painter makes of a moment.
    pub fn of(painter: &dyn Painter, frame: &painter::Frame) -> Drawing {
        Painted::of(painter, frame).drawing()
    }

    fn is_empty(&self) -> bool {
        *self == Drawing::default()
    }

    /// Lines and shapes.
    fn entries(&self) -> u64 {
        let shapes = self.scene.as_ref().map_or(0, |scene| scene.shapes.len());
        (self.board.len() + self.legend.len() + self.facts.len() + shapes) as u64
    }

    pub fn picture(&self) -> Picture {
        let lines = |lines: &[Text]| lines.iter().map(line_of).collect();
        Picture { board: lines(&self.board), legend: lines(&self.legend), facts: lines(&self.facts) }
    }
}

/// The pieces of a line; a style of the whole line is one of each.
fn text_of(line: &Line) -> Text {
    line.spans
        .iter()
        .map(|span| (span.content.clone().into_owned(), words_of(line.style.patch(span.style))))
        .collect()
}

fn line_of(text: &Text) -> Line<'static> {
    let span = |(content, look): &(String, String)| Span::styled(content.clone(), style_of(look));
    Line::from(text.iter().map(span).collect::<Vec<_>>())
}

const MODIFIERS: [(&str, Modifier); 4] = [
    ("bold", Modifier::BOLD),
    ("dim", Modifier::DIM),
    ("reversed", Modifier::REVERSED),
    ("underlined", Modifier::UNDERLINED),
];

/// A style in words: the colour of the letters, `on` that of the ground, and how they are set.
fn words_of(style: Style) -> String {
    let set = MODIFIERS.iter().filter(|(_, modifier)| style.add_modifier.contains(*modifier));
    let words = style.fg.map(|color| color.to_string()).into_iter();
    let ground = style.bg.map(|color| format!("on:{color}"));
    words.chain(ground).chain(set.map(|(word, _)| (*word).to_owned())).collect::<Vec<_>>().join(" ")
}

/// The style of such words; those that are unknown change nothing.
fn style_of(words: &str) -> Style {
    words.split_whitespace().fold(Style::new(), |style, word| {
        if let Some((_, modifier)) = MODIFIERS.iter().find(|(name, _)| *name == word) {
            return style.add_modifier(*modifier);
        }
        match word.strip_prefix("on:") {
            Some(ground) => ground.parse::<Color>().map_or(style, |color| style.bg(color)),
            None => word.parse::<Color>().map_or(style, |color| style.fg(color)),
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(index: u64) -> Frame {
        let line = Line::styled("a ship", Style::new().fg(Color::LightRed).add_modifier(Modifier::BOLD));
        let picture = Picture { board: vec![line], legend: Vec::new(), facts: vec!["fuel 3".into()] };
        Frame {
            schema_version: SCHEMA,
            frame_index: index,
            t: 2 * index + 2,
            dt: 2,
            action: 1,
            reward: 0.5,
            terminated: false,
            truncated: false,
            render_state: Map::from_iter([("observation".to_owned(), json!([0.25]))]),
            events: vec!["overheat_tick".into()],
            info: None,
            play: Some(Play {
                env: None,
                action: "wait".into(),
                before: None,
                after: Painted { picture, scene: None }.drawing(),
                changed: None,
            }),
        }
    }

    #[test]
    fn a_replay_reads_back_with_its_colours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replay.jsonl.gz");
        let frames: Vec<Frame> = (0..3).map(frame).collect();
        let mut packed = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::default());
        for frame in &frames {
            writeln!(packed, "{}", serde_json::to_string(frame).unwrap()).unwrap();
        }
        packed.finish().unwrap();
        assert_eq!(read(&path).unwrap(), frames);
        let picture = frames[0].play.as_ref().unwrap().after.picture();
        let span = &picture.board[0].spans[0];
        assert_eq!((&*span.content, span.style.fg), ("a ship", Some(Color::LightRed)));
        assert!(span.style.add_modifier.contains(Modifier::BOLD));
        let every = [Color::Rgb(1, 2, 3), Color::Indexed(7), Color::DarkGray, Color::Reset];
        for color in every {
            assert_eq!(style_of(&words_of(Style::new().bg(color))), Style::new().bg(color), "{color}");
        }
    }

    #[test]
    fn what_is_no_replay_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replay.jsonl");
        let complaint = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read(&path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE")
        };
        let line = |frame: &Frame| serde_json::to_string(frame).unwrap();
        assert_eq!(complaint(""), "FILE is no replay: it is empty");
        let damaged = format!("{}\n{{\"t\": ", line(&frame(0)));
        assert!(complaint(&damaged).starts_with("FILE is no replay: line 2: EOF"), "{}", complaint(&damaged));
        let missing = "FILE is no replay: line 1: missing field `frame_index`";
        assert!(complaint("{\"schema_version\": 1}").starts_with(missing));
        assert!(complaint(&line(&frame(1))).ends_with("line 1: frame_index is 1; it must be 0"));
        let newer = Frame { schema_version: 2, ..frame(0) };
        assert!(complaint(&line(&newer)).contains("schema_version is 2; this lockstep reads 1"));
    }
}
