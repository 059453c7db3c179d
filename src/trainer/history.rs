//! Reading the metrics of a run back, also while somebody else writes them: the logged rows, and the curves of all updates.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::log_file::{CURVES, METRICS};
use crate::files;

/// The most bytes of a row, and the most numbers of a history: more than any run has, and less than a memory.
const MOST_BYTES: u64 = 1 << 20;
const MOST_VALUES: usize = 1 << 28;
/// Bytes that are read first from the end of a file.
const FIRST_BYTES: u64 = 1 << 14;

/// Reads the next line into `line`, or of a longer one than rows can be its beginning.
fn read_line(reader: &mut impl BufRead, line: &mut String) -> io::Result<usize> {
    line.clear();
    reader.take(MOST_BYTES).read_line(line)
}

/// The last updates that a run has logged: up to `update`, and at all; 0 where there is none.
pub fn last_logged(run: &Path, update: u64) -> (u64, u64) {
    #[derive(Deserialize)]
    struct Logged {
        update: u64,
    }
    let Ok((file, _)) = files::open(&run.join(METRICS)) else { return (0, 0) };
    let (mut reader, mut line) = (BufReader::new(file), String::new());
    let rows = std::iter::from_fn(|| {
        read_line(&mut reader, &mut line).ok()?;
        serde_json::from_str::<Logged>(&line).ok()
    });
    rows.fold((0, 0), |(before, _), row| (if row.update <= update { row.update } else { before }, row.update))
}

/// The newest finite value of a metric that a run has logged. Reads from the end of the file, so that a long one costs no more.
pub fn newest_value(run: &Path, name: &str) -> Option<f64> {
    let (mut file, mut end) = files::open(&run.join(METRICS)).ok()?;
    let mut most = FIRST_BYTES;
    loop {
        let start = end.saturating_sub(most);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start)).ok()?;
        (&file).take(end - start).read_to_end(&mut bytes).ok()?;
        let first_end = || bytes.iter().position(|byte| *byte == b'\n');
        let whole = if start == 0 { 0 } else { first_end().map_or(bytes.len(), |end| end + 1) };
        let mut lines = bytes[whole..].rsplit(|byte| *byte == b'\n');
        if let Some(value) = lines.find_map(|line| value_in(line, name)) {
            return Some(value);
        }
        let has_lines = whole < bytes.len();
        if start == 0 || (!has_lines && most >= MOST_BYTES) {
            return None;
        }
        if has_lines {
            end = start + whole as u64;
        }
        most = (2 * most).min(MOST_BYTES);
    }
}

/// The finite value of a metric in a line of `metrics.jsonl`.
fn value_in(line: &[u8], name: &str) -> Option<f64> {
    let row: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let is_named = |key: &str| current_name(key, &row).is_some_and(|known| known == name);
    let (_, value) = row.iter().find(|(key, _)| is_named(key))?;
    value.as_f64().filter(|value| value.is_finite())
}

/// Rows of metrics: one column of numbers for each name, all of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    columns: BTreeMap<String, Vec<f64>>,
    rows: usize,
}

impl History {
    /// Reads all rows of the run in a directory. A last line without an end is still being written, and left out.
    ///
    /// # Errors
    /// One line: the file cannot be read, or a line of it is no JSON object.
    pub fn read(run: &Path) -> Result<Self> {
        let mut history = Self::default();
        history.read_from(&run.join(METRICS), 0)?;
        Ok(history)
    }

    /// Adds the rows of a file from byte `start` on. Gives the byte after the last of them.
    fn read_from(&mut self, path: &Path, start: u64) -> Result<u64> {
        let cannot = || format!("cannot read {}", path.display());
        let (mut file, _) = files::open(path).with_context(cannot)?;
        file.seek(SeekFrom::Start(start)).with_context(cannot)?;
        let (mut reader, mut line, mut end) = (BufReader::new(file), String::new(), start);
        loop {
            let length = read_line(&mut reader, &mut line).with_context(cannot)?;
            let number = self.rows + 1;
            ensure!((length as u64) < MOST_BYTES, "line {number} of {} is too long", path.display());
            if !line.ends_with('\n') {
                return Ok(end);
            }
            let row: Map<String, Value> = serde_json::from_str(&line)
                .with_context(|| format!("line {number} of {} is no row of metrics", path.display()))?;
            self.add(&row);
            ensure!(
                self.columns.len() * self.rows <= MOST_VALUES,
                "{} holds too many numbers",
                path.display()
            );
            end += line.len() as u64;
        }
    }

    /// Leaves out every second row, but not the newest.
    fn thin_out(&mut self) {
        for column in self.columns.values_mut() {
            *column = column.rchunks(2).rev().map(|pair| pair[pair.len() - 1]).collect();
        }
        self.rows = self.rows.div_ceil(2);
    }

    fn add(&mut self, row: &Map<String, Value>) {
        for (name, value) in row {
            let Some(name) = current_name(name, row) else { continue };
            let column = self.columns.entry(name.into_owned()).or_default();
            column.resize(self.rows, f64::NAN);
            column.push(value.as_f64().unwrap_or(f64::NAN));
        }
        self.rows += 1;
        self.columns.values_mut().for_each(|column| column.resize(self.rows, f64::NAN));
    }

    /// The value of a metric in a row, if it has one.
    pub fn get(&self, row: usize, name: &str) -> Option<f64> {
        self.column(name)?.get(row).copied().filter(|value| !value.is_nan())
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The names of all columns, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// The values of a column, NaN where there is none.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        self.columns.get(name).map(Vec::as_slice)
    }

    /// The values of a metric over an axis, of the updates before `end`: those that an f32 can hold, as lockstep computes them.
    fn curve(&self, name: &str, axis: Axis, end: f64) -> impl Iterator<Item = (f64, f64)> {
        let column = |name: &str| self.column(name).unwrap_or_default().iter().copied();
        let points = column(axis.column()).zip(column(name)).enumerate();
        let before =
            points.filter(move |(row, _)| self.get(*row, "update").is_none_or(|update| update < end));
        let can_be = |value: f64| value.abs() <= f32::MAX.into();
        before.map(|(_, point)| point).filter(move |&(x, y)| can_be(x) && can_be(y))
    }

    /// The largest finite value of a metric.
    pub fn best(&self, name: &str) -> Option<f64> {
        let values = self.column(name)?.iter().copied();
        values.filter(|value| value.is_finite()).reduce(f64::max)
    }
}

/// What a curve is drawn over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Axis {
    Update,
    #[default]
    Timesteps,
    /// Seconds of training.
    Time,
}

impl Axis {
    /// The column with its values.
    fn column(self) -> &'static str {
        match self {
            Axis::Update => "update",
            Axis::Timesteps => "timesteps",
            Axis::Time => "time/wall_seconds",
        }
    }

    /// What its numbers are.
    pub fn unit(self) -> &'static str {
        match self {
            Axis::Update => "updates",
            Axis::Timesteps => "timesteps",
            Axis::Time => "seconds",
        }
    }
}

/// The curves of a run: one point for every update where the run kept them, one for every logged row where it did not, such
/// as for evaluations.
#[derive(Clone, Debug, Default)]
pub struct Curves {
    updates: History,
    logged: History,
}

impl Curves {
    /// Reads the curves of the run in a directory.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn read(run: &Path) -> Result<Self> {
        let mut curves = Self { updates: History::default(), logged: History::read(run)? };
        let path = run.join(CURVES);
        if path.exists() {
            curves.updates.read_from(&path, 0)?;
        }
        Ok(curves)
    }

    pub fn is_empty(&self) -> bool {
        self.updates.is_empty() && self.logged.is_empty()
    }

    /// Whether the run has such a metric.
    pub fn has(&self, name: &str) -> bool {
        self.updates.column(name).is_some() || self.logged.column(name).is_some()
    }

    /// The names of all metrics, in alphabetical order.
    pub fn names(&self) -> BTreeSet<&str> {
        self.updates.names().chain(self.logged.names()).collect()
    }

    /// The finite values of a metric over an axis.
    pub fn curve(&self, name: &str, axis: Axis) -> Vec<(f64, f64)> {
        // Where the updates were kept, the logged rows are means of the same numbers.
        let kept = self.updates.column(name).and_then(|_| self.updates.get(0, "update"));
        let logged = self.logged.curve(name, axis, kept.unwrap_or(f64::INFINITY));
        logged.chain(self.updates.curve(name, axis, f64::INFINITY)).collect()
    }
}

/// The name today of a metric in a row of `metrics.jsonl`. Before 0.1.0 was released, names had no group, a mean over no
/// episodes was 0, the number of episodes was a mean over updates, and the length of episodes was that of unfinished ones
/// as well; what cannot be mended is left out.
fn current_name<'a>(name: &'a str, row: &Map<String, Value>) -> Option<Cow<'a, str>> {
    match name {
        "update" | "timesteps" => Some(name.into()),
        "steps_per_second" | "wall_seconds" => Some(format!("time/{name}").into()),
        "mean_episode_length" | "num_episodes" => None,
        "mean_episode_return" if row.get("num_episodes").and_then(Value::as_f64) == Some(0.0) => None,
        _ if name.contains('/') => Some(name.into()),
        _ => Some(format!("train/{name}").into()),
    }
}

/// The curves of a run that goes on: reads what is new, and of a long run keeps what a screen can show.
#[derive(Debug)]
pub struct Follower {
    updates: Place,
    logged: Place,
    curves: Curves,
    most_rows: usize,
}

/// How far a file is read.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    end: u64,
}

/// Rows that a follower keeps at most.
const MOST_ROWS: usize = 1 << 13;

impl Follower {
    /// Follows the run in a directory, from its beginning.
    pub fn new(run: &Path) -> Self {
        Self::keeping(run, MOST_ROWS)
    }

    /// As [`Follower::new`], of at most so many rows.
    pub fn keeping(run: &Path, most_rows: usize) -> Self {
        let place = |name: &str| Place { path: run.join(name), end: 0 };
        Self { updates: place(CURVES), logged: place(METRICS), curves: Curves::default(), most_rows }
    }

    /// The curves as they are now.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn update(&mut self) -> Result<&Curves> {
        self.updates.read_on(&mut self.curves.updates, self.most_rows)?;
        self.logged.read_on(&mut self.curves.logged, self.most_rows)?;
        Ok(&self.curves)
    }

    /// The curves as they were at the last update.
    pub fn curves(&self) -> &Curves {
        &self.curves
    }
}

impl Place {
    fn read_on(&mut self, history: &mut History, most_rows: usize) -> Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |data| data.len());
        // A file that was cut back belongs to a run that went back to a checkpoint.
        if length < self.end || (length > self.end && self.read(history, most_rows).is_err()) {
            *history = History::default();
            self.end = 0;
            self.read(history, most_rows)?;
        }
        Ok(())
    }

    fn read(&mut self, history: &mut History, most_rows: usize) -> Result<()> {
        self.end = history.read_from(&self.path, self.end)?;
        while history.rows > most_rows {
            history.thin_out();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_reads_on_and_starts_over_where_a_run_went_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS);
        let row = |x: usize| format!("{{\"timesteps\":{x}}}\n");
        let rows = |range: std::ops::Range<usize>| range.map(row).collect::<String>();
        let seen = |follower: &mut Follower| {
            let history = &follower.update().unwrap().logged;
            (history.len(), history.column("timesteps").and_then(|column| column.last().copied()))
        };
        let mut follower = Follower::new(dir.path());
        assert_eq!(seen(&mut follower), (0, None));
        fs::write(&path, rows(1..4) + "{\"times").unwrap();
        assert_eq!(seen(&mut follower), (3, Some(3.0)));
        fs::write(&path, rows(1..6)).unwrap();
        assert_eq!(seen(&mut follower), (5, Some(5.0)));
        fs::write(&path, rows(1..3)).unwrap();
        assert_eq!(seen(&mut follower), (2, Some(2.0)));
        fs::write(&path, rows(1..MOST_ROWS + 2 * 1000 + 1)).unwrap();
        assert_eq!(seen(&mut follower), (MOST_ROWS / 2 + 1000, Some((MOST_ROWS + 2000) as f64)));
        fs::write(&path, format!("{}nonsense\n", rows(1..3))).unwrap();
        assert!(follower.update().is_err());
    }

    #[test]
    fn curves_have_a_point_for_every_update_that_was_kept() {
        let dir = tempfile::tempdir().unwrap();
        let row = |update: u64, more: &str| {
            let (steps, seconds) = (10 * update, update as f64 / 2.0);
            format!("{{\"update\":{update},\"timesteps\":{steps},\"wall_seconds\":{seconds}{more}}}\n")
        };
        // The first four updates were only logged; of the others every second was kept.
        let logged =
            [2, 4, 6, 8].map(|update| row(update, &format!(",\"x/a\":{update},\"eval/b\":-{update}")));
        fs::write(dir.path().join(METRICS), logged.concat()).unwrap();
        let read = || Curves::read(dir.path()).unwrap();
        assert_eq!(read().curve("x/a", Axis::Update), [(2.0, 2.0), (4.0, 4.0), (6.0, 6.0), (8.0, 8.0)]);
        let kept = [row(5, ",\"x/a\":50"), row(7, ",\"x/a\":null"), row(8, ",\"x/a\":80")];
        fs::write(dir.path().join(CURVES), kept.concat()).unwrap();
        let curves = read();
        assert_eq!(
            curves.curve("x/a", Axis::Timesteps),
            [(20.0, 2.0), (40.0, 4.0), (50.0, 50.0), (80.0, 80.0)]
        );
        assert_eq!(curves.curve("x/a", Axis::Time)[2..], [(2.5, 50.0), (4.0, 80.0)]);
        assert_eq!(curves.curve("eval/b", Axis::Update).len(), 4);
        assert_eq!(curves.curve("x/c", Axis::Update), []);
        assert!(curves.has("x/a") && !curves.has("x/c") && curves.names().contains("eval/b"));
    }

    #[test]
    fn the_newest_value_is_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS);
        let newest = |text: String| {
            fs::write(&path, text).unwrap();
            newest_value(dir.path(), "x/a")
        };
        let row = |value: &str| format!("{{\"update\":1,\"x/b\":\"{}\",\"x/a\":{value}}}\n", "-".repeat(100));
        assert_eq!(newest(row("1.5") + &row("2.5") + &row("null") + "{\"x/a\":9"), Some(2.5));
        assert_eq!(newest(row("1.5") + &row("null").repeat(5000)), Some(1.5));
        assert_eq!(newest(row("null").repeat(5000)), None);
        assert_eq!(newest(row("1.5") + &"-".repeat(100_000)), Some(1.5));
        assert_eq!(newest(row("1.5") + &"-".repeat(3 << 20)), None);
        assert_eq!(newest(String::new()), None);
    }

    #[test]
    fn rows_become_columns() {
        let dir = tempfile::tempdir().unwrap();
        let text = "{\"timesteps\":10,\"x/a\":1.5}\n{\"timesteps\":20,\"x/a\":null,\"x/b\":3}\n{\"timesteps\":30,\"x/a";
        fs::write(dir.path().join(METRICS), text).unwrap();
        let history = History::read(dir.path()).unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history.names().collect::<Vec<_>>(), ["timesteps", "x/a", "x/b"]);
        assert_eq!((history.best("x/a"), history.best("x/c")), (Some(1.5), None));
        fs::write(dir.path().join(METRICS), "{\"update\":10}\n{\"update\":20}\n{\"update\":30}\n{\"upd")
            .unwrap();
        assert_eq!(last_logged(dir.path(), 25), (20, 30));
        assert_eq!(last_logged(dir.path(), 5), (0, 30));
        fs::write(dir.path().join(METRICS), format!("{{\"update\":10}}\n{}", "x".repeat(3 << 20))).unwrap();
        let error = History::read(dir.path()).unwrap_err().to_string();
        assert!(error.starts_with("line 2 of ") && error.ends_with(" is too long"), "{error}");
        assert_eq!(last_logged(dir.path(), 25), (10, 10));
        fs::write(dir.path().join(METRICS), "{\"timesteps\":10}\nnonsense\n").unwrap();
        let error = format!("{:#}", History::read(dir.path()).unwrap_err());
        assert!(error.starts_with("line 2 of "), "{error}");
    }

    #[test]
    fn rows_of_old_runs_have_the_names_of_today() {
        let dir = tempfile::tempdir().unwrap();
        let row = |episodes: f64| {
            format!(
                "{{\"update\":1,\"timesteps\":10,\"pg_loss\":0.5,\"num_episodes\":{episodes},\
                 \"mean_episode_length\":613.0,\"mean_episode_return\":{episodes},\"reward/kill\":2,\
                 \"steps_per_second\":100.0}}\n"
            )
        };
        fs::write(dir.path().join(METRICS), row(0.0) + &row(3.0)).unwrap();
        let history = History::read(dir.path()).unwrap();
        let names: Vec<_> = history.names().collect();
        assert_eq!(
            names,
            [
                "reward/kill",
                "time/steps_per_second",
                "timesteps",
                "train/mean_episode_return",
                "train/pg_loss",
                "update"
            ]
        );
        let returns = history.column("train/mean_episode_return").unwrap();
        assert!(returns[0].is_nan() && returns[1] == 3.0, "no episode had ended before: {returns:?}");
    }
}
