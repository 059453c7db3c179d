//! The logs of a run: `metrics.jsonl`, `updates.csv` and TensorBoard event files, all of the same rows; and, apart from
//! them, a row for every update, warnings and the episodes of evaluations.
//!
//! Each is a [`LogFile`] whose length stands in the checkpoint. When a run is resumed, every file is cut back to that
//! length before the first new row, so a row is in each of them exactly once, whenever the run was killed.

mod csv;
mod episodes;
pub(super) mod tensorboard;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::make_own_directory;
use super::history::History;
use super::log_file::LogFile;
pub use super::log_file::{CURVES, METRICS};
use super::metrics::Row;
use super::pool::LOG as POOL;
use crate::algorithms::evaluation::Episode;
use crate::envs::EnvSpec;

/// The same rows for a spreadsheet.
pub const UPDATES: &str = "updates.csv";
/// The episodes of the evaluations, for a spreadsheet.
pub const EPISODES: &str = "episodes.csv";
/// What was warned of, one JSON object per warning.
pub const WARNINGS: &str = "warnings.jsonl";
/// The directory of the TensorBoard event files, one for each process that worked on the run.
pub const TENSORBOARD: &str = "tensorboard";

/// The log files of a run, open for appending.
#[derive(Debug)]
pub struct Logs {
    sinks: Vec<Sink>,
    warnings: LogFile,
    curves: LogFile,
    episodes: Option<LogFile>,
    pool: Option<LogFile>,
    /// Lengths of files that are only kept: the event files of earlier processes, and what is not wanted any more.
    closed: BTreeMap<String, u64>,
    /// Lines to tell: files that are not as the checkpoint says.
    notices: Vec<String>,
}

#[derive(Debug)]
struct Sink {
    /// Relative to the run directory.
    name: String,
    file: LogFile,
    encode: fn(&Row) -> Vec<u8>,
}

impl Logs {
    /// Opens the logs that every run has in the directory `run` and cuts them back to `offsets` (bytes by name, as a checkpoint knows
    /// them; what it does not know is removed).
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(run: &Path, offsets: &BTreeMap<String, u64>) -> Result<Self> {
        let offset = |name: &str| offsets.get(name).copied().unwrap_or(0);
        let mut logs = Self {
            sinks: Vec::new(),
            warnings: LogFile::open_lines(&run.join(WARNINGS), offset(WARNINGS))?,
            curves: LogFile::open_lines(&run.join(CURVES), offset(CURVES))?,
            episodes: None,
            pool: None,
            closed: BTreeMap::new(),
            notices: Vec::new(),
        };
        logs.add(run, METRICS, offset(METRICS), encode_json)?;
        if let Err(error) = History::read(run) {
            logs.put_aside(run, &error)?;
        }
        Ok(logs)
    }

    /// Opens the spreadsheet of the rows, too; `metric_names` are those of all rows to come. If none is `wanted`, one that is there is
    /// only cut back.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn with_csv(
        mut self,
        run: &Path,
        offsets: &BTreeMap<String, u64>,
        metric_names: &[String],
        wanted: bool,
    ) -> Result<Self> {
        let (path, offset) = (run.join(UPDATES), offsets.get(UPDATES).copied().unwrap_or(0));
        if wanted {
            let header = csv::header(metric_names);
            let same_columns = csv::keep_if_header_is(&path, &header)?;
            self.add(run, UPDATES, if same_columns { offset } else { 0 }, csv::encode)?;
            self.begin_with(&header)?;
        } else if path.exists() {
            self.closed.insert(UPDATES.into(), LogFile::open_lines(&path, offset)?.length());
        }
        Ok(self)
    }

    /// Opens an event file for TensorBoard, too. If none is `wanted`, those that are there are only cut back.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn with_tensorboard(
        mut self,
        run: &Path,
        offsets: &BTreeMap<String, u64>,
        wanted: bool,
    ) -> Result<Self> {
        let directory = run.join(TENSORBOARD);
        if !wanted && !directory.exists() {
            return Ok(self);
        }
        make_own_directory(&directory)?;
        self.cut_event_files(run, offsets)?;
        if wanted {
            let name = format!("{TENSORBOARD}/{}", tensorboard::free_file_name(&directory));
            self.add(run, &name, 0, tensorboard::encode)?;
            self.begin_with(&tensorboard::header())?;
        }
        Ok(self)
    }

    /// Opens the table of episodes, too. If none are `wanted`, one that is there is only cut back.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn with_episodes(
        mut self,
        run: &Path,
        offsets: &BTreeMap<String, u64>,
        spec: &EnvSpec,
        wanted: bool,
    ) -> Result<Self> {
        let path = run.join(EPISODES);
        if !wanted && !path.exists() {
            return Ok(self);
        }
        let header = episodes::header(spec);
        let kept = !wanted || csv::keep_if_header_is(&path, &header)?;
        let offset = offsets.get(EPISODES).copied().filter(|_| kept).unwrap_or(0);
        let mut file = LogFile::open_lines(&path, offset)?;
        if file.length() < offset {
            self.notices.push(lost_its_end(EPISODES));
        }
        file.begin_with(&header)?;
        self.episodes = Some(file);
        Ok(self)
    }

    /// Opens the log of a pool of opponents, too, if there is one.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn with_pool(mut self, run: &Path, offsets: &BTreeMap<String, u64>, wanted: bool) -> Result<Self> {
        if wanted {
            let offset = offsets.get(POOL).copied().unwrap_or(0);
            let file = LogFile::open_lines(&run.join(POOL), offset)?;
            if file.length() < offset {
                self.notices.push(lost_its_end(POOL));
            }
            self.pool = Some(file);
        }
        Ok(self)
    }

    /// Opens the table of the rows by step, too, if it has a name.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn with_table(
        mut self,
        run: &Path,
        offsets: &BTreeMap<String, u64>,
        metric_names: &[String],
        name: Option<&str>,
    ) -> Result<Self> {
        let Some(name) = name else { return Ok(self) };
        let header = csv::table_header(metric_names);
        let kept = csv::keep_if_header_is(&run.join(name), &header)?;
        let offset = offsets.get(name).copied().filter(|_| kept).unwrap_or(0);
        self.add(run, name, offset, csv::encode_table)?;
        self.begin_with(&header)?;
        Ok(self)
    }

    fn add(&mut self, run: &Path, name: &str, offset: u64, encode: fn(&Row) -> Vec<u8>) -> Result<()> {
        let file = LogFile::open_lines(&run.join(name), offset)?;
        if file.length() < offset {
            self.notices.push(lost_its_end(name));
        }
        self.sinks.push(Sink { name: name.into(), file, encode });
        Ok(())
    }

    /// Begins [`METRICS`], which was added last, afresh: what is damaged must not keep a run from going on.
    fn put_aside(&mut self, run: &Path, error: &anyhow::Error) -> Result<()> {
        let path = run.join(METRICS);
        let aside = free_name(&path);
        fs::rename(&path, &aside).with_context(|| format!("cannot move {}", path.display()))?;
        self.sinks.pop();
        self.notices.push(format!("{error:#}; it is put aside as {}, and begins afresh", aside.display()));
        self.add(run, METRICS, 0, encode_json)
    }

    /// Begins the file that was added last, if it is empty.
    fn begin_with(&mut self, header: &[u8]) -> Result<()> {
        self.sinks.last_mut().expect("a file was added").file.begin_with(header)
    }

    /// TensorBoard may be watching, and loses its place in a file that shrinks and grows again; therefore each
    /// process writes a file of its own, and those before it are only cut.
    fn cut_event_files(&mut self, run: &Path, offsets: &BTreeMap<String, u64>) -> Result<()> {
        let directory = run.join(TENSORBOARD);
        let listed = fs::read_dir(&directory).with_context(|| format!("cannot list {}", directory.display()));
        for entry in listed? {
            let entry = entry.with_context(|| format!("cannot list {}", directory.display()))?;
            let name = format!("{TENSORBOARD}/{}", entry.file_name().to_string_lossy());
            let path = run.join(&name);
            match offsets.get(&name) {
                Some(&offset) => {
                    let length = LogFile::open(&path, offset)?.length();
                    self.closed.insert(name, length);
                }
                None if tensorboard::is_event_file(&name) => {
                    fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
                }
                None => {} // somebody else's
            }
        }
        Ok(())
    }

    /// Appends a row to each log.
    ///
    /// # Errors
    /// One line for the first file that cannot be written; what could not be written is kept for the next time.
    pub fn append(&mut self, row: &Row) -> Result<()> {
        self.for_each(|sink| sink.file.append(&(sink.encode)(row)))
    }

    /// Appends the rows of some updates.
    ///
    /// # Errors
    /// One line that names the file; the rows are kept for the next time.
    pub fn curves(&mut self, rows: &[Row]) -> Result<()> {
        if rows.is_empty() {
            Ok(())
        } else {
            self.curves.append(&rows.iter().flat_map(encode_json).collect::<Vec<_>>())
        }
    }

    /// Appends a warning.
    ///
    /// # Errors
    /// One line that names the file; the warning is kept for the next time.
    pub fn warn(&mut self, update: u64, title: &str, text: &str) -> Result<()> {
        let warning = serde_json::json!({"update": update, "title": title, "text": text});
        self.warnings.append(format!("{warning}\n").as_bytes())
    }

    /// Appends the episodes of an evaluation, if there is a table for them.
    ///
    /// # Errors
    /// One line that names the file; the episodes are kept for the next time.
    pub fn episodes(&mut self, update: u64, timesteps: u64, played: &[Episode]) -> Result<()> {
        let lines = || episodes::encode(update, timesteps, jiff::Timestamp::now(), played);
        self.episodes.as_mut().map_or(Ok(()), |file| file.append(&lines()))
    }

    /// Appends what has come of the games against the opponents of a pool, if there is one.
    ///
    /// # Errors
    /// One line that names the file; the line is kept for the next time.
    pub fn pool(&mut self, line: &str) -> Result<()> {
        self.pool.as_mut().map_or(Ok(()), |file| file.append(line.as_bytes()))
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// One line for the first file that cannot be written.
    pub fn sync(&mut self) -> Result<()> {
        let others = [&mut self.warnings, &mut self.curves].into_iter();
        let others = others.chain(&mut self.episodes).chain(&mut self.pool);
        let others: Vec<_> = others.map(LogFile::sync).collect(); // all, also after a failure
        self.for_each(|sink| sink.file.sync()).and(others.into_iter().collect())
    }

    fn for_each(&mut self, mut act: impl FnMut(&mut Sink) -> Result<()>) -> Result<()> {
        let results: Vec<_> = self.sinks.iter_mut().map(&mut act).collect(); // all, also after a failure
        results.into_iter().collect()
    }

    /// The length of each file, for the checkpoint.
    pub fn offsets(&self) -> BTreeMap<String, u64> {
        let mut offsets = self.closed.clone();
        offsets.insert(WARNINGS.into(), self.warnings.length());
        offsets.insert(CURVES.into(), self.curves.length());
        offsets.extend(self.episodes.iter().map(|file| (EPISODES.into(), file.length())));
        offsets.extend(self.pool.iter().map(|file| (POOL.into(), file.length())));
        offsets.extend(self.sinks.iter().map(|sink| (sink.name.clone(), sink.file.length())));
        offsets
    }

    /// Lines to tell the user since this was last asked: what has become of the files since the checkpoint was written, or
    /// under the run's hands.
    pub fn take_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        let sinks = self.sinks.iter_mut().map(|sink| (sink.name.as_str(), &mut sink.file));
        let episodes = self.episodes.iter_mut().map(|file| (EPISODES, file));
        let pool = self.pool.iter_mut().map(|file| (POOL, file));
        for (name, file) in sinks.chain([(WARNINGS, &mut self.warnings)]).chain(episodes).chain(pool) {
            if file.was_removed() {
                notices.push(format!("{name} was removed; it goes on with what is logged from now on"));
            }
        }
        notices
    }
}

fn lost_its_end(name: &str) -> String {
    format!("{name} has lost its end; it continues after what is there")
}

/// `updates_1.csv` for `updates.csv`, or the next number.
fn free_name(path: &Path) -> PathBuf {
    let part = |part: Option<&OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let (stem, extension) = (part(path.file_stem()), part(path.extension()));
    let numbered = (1..).map(|number: u32| path.with_file_name(format!("{stem}_{number}.{extension}")));
    numbered.into_iter().find(|path| !path.exists()).expect("numbers do not end")
}

fn encode_json(row: &Row) -> Vec<u8> {
    let mut line = serde_json::to_vec(row).expect("a row is a flat object");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
