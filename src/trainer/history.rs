//! Reading a run's `metrics.jsonl` back, also while somebody else writes it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::logs::METRICS;
use crate::runtime::files;

/// The most bytes of a row, and the most numbers of a history: more than any run has, and less than a memory.
const MOST_BYTES: u64 = 1 << 20;
const MOST_VALUES: usize = 1 << 28;

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

/// The curves of a run: one column of numbers for each name, all of the same length.
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
        for name in row.keys() {
            if !self.columns.contains_key(name) {
                self.columns.insert(name.clone(), vec![f64::NAN; self.rows]);
            }
        }
        for (name, column) in &mut self.columns {
            column.push(row.get(name).and_then(Value::as_f64).unwrap_or(f64::NAN));
        }
        self.rows += 1;
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

    /// The finite values of a metric over timesteps.
    pub fn curve(&self, name: &str) -> Vec<(f64, f64)> {
        let (Some(x), Some(y)) = (self.column("timesteps"), self.column(name)) else { return Vec::new() };
        x.iter().copied().zip(y.iter().copied()).filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    }

    /// The largest finite value of a metric.
    pub fn best(&self, name: &str) -> Option<f64> {
        self.curve(name).into_iter().map(|(_, y)| y).reduce(f64::max)
    }
}

/// The curves of a run that goes on: reads what is new, and of a long run keeps what a screen can show.
#[derive(Debug, Default)]
pub struct Follower {
    path: PathBuf,
    end: u64,
    history: History,
}

/// Rows that a follower keeps at most.
const MOST_ROWS: usize = 1 << 13;

impl Follower {
    /// Follows the run in a directory, from its beginning.
    pub fn new(run: &Path) -> Self {
        Self { path: run.join(METRICS), ..Self::default() }
    }

    /// The curves as they are now.
    ///
    /// # Errors
    /// As [`History::read`].
    pub fn update(&mut self) -> Result<&History> {
        let length = fs::metadata(&self.path).map_or(0, |data| data.len());
        // A file that was cut back belongs to a run that went back to a checkpoint.
        if length < self.end || (length > self.end && self.read().is_err()) {
            *self = Self { path: std::mem::take(&mut self.path), ..Self::default() };
            self.read()?;
        }
        Ok(&self.history)
    }

    /// The curves as they were at the last update.
    pub fn history(&self) -> &History {
        &self.history
    }

    fn read(&mut self) -> Result<()> {
        self.end = self.history.read_from(&self.path, self.end)?;
        while self.history.rows > MOST_ROWS {
            self.history.thin_out();
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
            let history = follower.update().unwrap();
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
    fn rows_become_columns() {
        let dir = tempfile::tempdir().unwrap();
        let text =
            "{\"timesteps\":10,\"a\":1.5}\n{\"timesteps\":20,\"a\":null,\"b\":3}\n{\"timesteps\":30,\"a";
        fs::write(dir.path().join(METRICS), text).unwrap();
        let history = History::read(dir.path()).unwrap();
        assert_eq!(history.len(), 2);
        assert_eq!(history.names().collect::<Vec<_>>(), ["a", "b", "timesteps"]);
        assert_eq!(history.curve("a"), [(10.0, 1.5)]);
        assert_eq!(history.curve("b"), [(20.0, 3.0)]);
        assert_eq!((history.best("a"), history.best("c")), (Some(1.5), None));
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
}
