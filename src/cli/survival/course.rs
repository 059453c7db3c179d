//! The course of an evaluation by lives: a small file beside the results that says how far it has come, and with what so far.
//!
//! An evaluation may take hours, and its results come at the end. Who watches it (`ui`) reads this file, which is replaced as a whole about
//! once a second and stays when all is done: its curves are in no other file. Of several runs of a kind it has the one that came last.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::algorithms::lives::Living;
use crate::files;
use crate::output::tell;
use crate::trainer::files::write_atomically;
use crate::trainer::overview::Life;
use crate::trainer::run_dir::Process;
use crate::trainer::status::{State, now, seconds_since};

/// What the name of the file adds to that of the results, before its ending.
pub const SUFFIX: &str = "_progress";
/// How often it is written at most.
const PACE: Duration = Duration::from_secs(1);
/// Points of a curve, about.
const POINTS: usize = 400;

/// What the file says.
#[derive(Debug, Serialize, Deserialize)]
pub struct Course {
    pub env: String,
    pub state: State,
    /// Why it failed.
    pub error: Option<String>,
    pub start_time: String,
    pub last_heartbeat: String,
    pub process: Process,
    pub runs: usize,
    pub envs: usize,
    /// Of each environment.
    pub steps: usize,
    /// What is evaluated, in this order.
    pub modes: Vec<String>,
    /// Of each that has begun.
    pub curves: BTreeMap<String, Curve>,
}

/// A run of a kind of agents, by points.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Curve {
    /// From 1.
    pub run: usize,
    pub seed: u64,
    /// Steps of each environment.
    pub steps: Vec<usize>,
    /// The share of the good in all that was eaten so far.
    pub efficiency: Vec<f64>,
    /// So far.
    pub deaths: Vec<u64>,
    /// The mean length of the lives that go on and of those that ended since the point before.
    pub survival: Vec<f64>,
}

impl Course {
    /// What has become of the evaluation.
    pub fn life(&self) -> Life {
        let silence = seconds_since(&self.last_heartbeat).unwrap_or(f64::INFINITY);
        Life::of(self.state, !self.process.is_gone(), silence)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// One line that names it.
    pub fn read(path: &Path) -> Result<Course> {
        let text = files::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }
}

/// `DIRECTORY/STEM_progress.json`
pub fn path_of(results: &Path) -> PathBuf {
    let stem = results.file_stem().unwrap_or_default().to_string_lossy();
    results.with_file_name(format!("{stem}{SUFFIX}.json"))
}

/// Writes the file of an evaluation while it goes on.
pub struct Recorder {
    path: PathBuf,
    course: Course,
    written: Instant,
    /// Lives that had ended at the last point, and their steps.
    ended: (u64, u128),
    /// Whether it could not be written: the evaluation goes on, and nobody is told twice.
    is_lost: bool,
}

impl Recorder {
    /// Begins a file, which takes the place of an earlier one.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn begin(results: &Path, course: Course) -> Result<Recorder> {
        let path = path_of(results);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let mut recorder = Recorder { path, course, written: Instant::now(), ended: (0, 0), is_lost: false };
        recorder.write()?;
        Ok(recorder)
    }

    /// Begins a run of a kind.
    pub fn run(&mut self, kind: &str, run: usize, seed: u64) {
        self.ended = (0, 0);
        self.course.curves.insert(kind.to_owned(), Curve { run, seed, ..Curve::default() });
    }

    /// How the run of a kind stands after so many steps.
    pub fn add(&mut self, kind: &str, steps: usize, living: &Living) {
        let every = self.course.steps / POINTS;
        let is_last = steps == self.course.steps;
        let curve = self.course.curves.get_mut(kind).expect("the run of the kind has begun");
        if is_last || curve.steps.last().is_none_or(|last| steps - last > every) {
            curve.steps.push(steps);
            curve.efficiency.push(share(living.good, living.bad));
            curve.deaths.push(living.ended.count);
            curve.survival.push(recent(living, self.ended));
            self.ended = (living.ended.count, living.ended.steps.sum);
        }
        if self.written.elapsed() > PACE {
            self.try_to_write();
        }
    }

    /// Says what has become of the evaluation.
    pub fn end(mut self, outcome: &Result<()>) {
        self.course.state = if outcome.is_ok() { State::Completed } else { State::Failed };
        self.course.error = outcome.as_ref().err().map(|error| format!("{error:#}"));
        self.try_to_write();
    }

    fn try_to_write(&mut self) {
        if let Some(error) = (!self.is_lost).then(|| self.write()).and_then(Result::err) {
            tell(&format!("{error:#}; nobody can watch the evaluation, which goes on"));
            self.is_lost = true;
        }
    }

    fn write(&mut self) -> Result<()> {
        self.course.last_heartbeat = now();
        self.written = Instant::now();
        write_atomically(&self.path, &serde_json::to_vec(&self.course)?)
    }
}

/// The share of the good; all of it if nothing was eaten.
fn share(good: u64, bad: u64) -> f64 {
    if good + bad == 0 { 1.0 } else { good as f64 / (good + bad) as f64 }
}

/// The mean length of the lives that go on, and of those that ended since there were so many with so many steps.
fn recent(living: &Living, (ended, steps): (u64, u128)) -> f64 {
    let Living { ended: all, unfinished, .. } = living;
    let lives = unfinished.count + all.count - ended;
    (unfinished.steps.sum + all.steps.sum - steps) as f64 / lives as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::lives::Lives;

    fn lives(steps: &[u64]) -> Lives {
        let mut lives = Lives::default();
        steps.iter().for_each(|&steps| lives.add(steps, 3, 1));
        lives
    }

    fn living(ended: &[u64], unfinished: &[u64]) -> Living {
        let count = (ended.len() + unfinished.len()) as u64;
        Living { ended: lives(ended), unfinished: lives(unfinished), good: 3 * count, bad: count }
    }

    #[test]
    fn a_course_is_read_as_it_was_written_and_says_what_became_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let results = dir.path().join("all.json");
        let course = Course {
            env: "x".into(),
            state: State::Running,
            error: None,
            start_time: now(),
            last_heartbeat: String::new(),
            process: Process::current(),
            runs: 1,
            envs: 2,
            steps: 30,
            modes: vec!["a".into(), "b".into()],
            curves: BTreeMap::new(),
        };
        let mut recorder = Recorder::begin(&results, course).unwrap();
        let read = || Course::read(&dir.path().join("all_progress.json")).unwrap();
        assert_eq!((read().life(), read().curves.len()), (Life::Running, 0));
        recorder.run("a", 1, 7);
        recorder.add("a", 10, &living(&[], &[10, 10]));
        recorder.add("a", 20, &living(&[12], &[20, 8]));
        recorder.add("a", 30, &living(&[12, 21], &[9, 18]));
        recorder.end(&Ok(()));
        let curve = &read().curves["a"];
        assert_eq!((curve.run, curve.seed, &curve.steps[..]), (1, 7, &[10, 20, 30][..]));
        assert_eq!(curve.deaths, [0, 1, 2]);
        assert_eq!(curve.survival, [10.0, 40.0 / 3.0, 16.0]);
        assert_eq!(curve.efficiency, [0.75; 3]);
        assert_eq!(read().life(), Life::Completed);
        let recorder = Recorder::begin(&results, read()).unwrap();
        recorder.end(&Err(anyhow::anyhow!("no memory")));
        assert_eq!((read().life(), read().error.as_deref()), (Life::Failed, Some("no memory")));
        std::fs::write(dir.path().join("all_progress.json"), "{").unwrap();
        let error = Course::read(&dir.path().join("all_progress.json")).unwrap_err();
        assert!(error.to_string().contains("all_progress.json"), "{error}");
    }

    #[test]
    fn a_curve_has_no_more_points_than_are_seen() {
        let dir = tempfile::tempdir().unwrap();
        let course = serde_json::json!({
            "env": "x", "state": "running", "start_time": now(), "last_heartbeat": "", "process": Process::current(),
            "runs": 1, "envs": 1, "steps": 10_000, "modes": ["a"], "curves": {},
        });
        let course = serde_json::from_value(course).unwrap();
        let mut recorder = Recorder::begin(&dir.path().join("r.json"), course).unwrap();
        recorder.run("a", 1, 7);
        (1..=10_000).for_each(|steps| recorder.add("a", steps, &living(&[], &[steps as u64])));
        let steps = &recorder.course.curves["a"].steps;
        assert!(
            (300..=POINTS + 2).contains(&steps.len()) && steps.last() == Some(&10_000),
            "{}",
            steps.len()
        );
    }
}
