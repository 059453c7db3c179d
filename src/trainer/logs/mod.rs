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
    /// Lengths of the event files of earlier processes.
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
    /// Opens the logs in the directory `run` and cuts them back to `offsets` (bytes by name, as a checkpoint knows
    /// them; what it does not know is removed). `metric_names` are those of all rows to come.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(run: &Path, offsets: &BTreeMap<String, u64>, metric_names: &[String]) -> Result<Self> {
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

        let header = csv::header(metric_names);
        let same_columns = csv::keep_if_header_is(&run.join(UPDATES), &header)?;
        logs.add(run, UPDATES, if same_columns { offset(UPDATES) } else { 0 }, csv::encode)?;
        logs.begin_with(&header)?;

        let directory = run.join(TENSORBOARD);
        make_own_directory(&directory)?;
        logs.cut_event_files(run, offsets)?;
        let name = format!("{TENSORBOARD}/{}", tensorboard::free_file_name(&directory));
        logs.add(run, &name, 0, tensorboard::encode)?;
        logs.begin_with(&tensorboard::header())?;
        Ok(logs)
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
mod tests {
    use super::*;

    fn row(update: u64) -> Row {
        Row {
            update,
            timesteps: update * 100,
            names: vec!["train/entropy".into(), "train/mean_episode_return".into()],
            values: vec![Some(update as f32), None],
            steps_per_second: 10.0,
            updates_per_second: 0.1,
            wall_seconds: update as f64,
            episodes: 0,
            rates: crate::algorithms::schedule::Rates::default(),
            time: "2026-01-05T01:02:03Z".parse().unwrap(),
            naming: Default::default(),
        }
    }

    fn names() -> Vec<String> {
        row(0).names
    }

    #[test]
    fn all_logs_are_cut_back_to_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let mut logs = Logs::open(run, &BTreeMap::new(), &names()).unwrap();
        logs.append(&row(10)).unwrap();
        let offsets = logs.offsets();
        logs.append(&row(20)).unwrap();
        drop(logs);
        let events = tensorboard_files(run);
        assert_eq!(events.len(), 1);

        // Two processes that were killed before they saved anything.
        for _ in 0..2 {
            let mut logs = Logs::open(run, &offsets, &names()).unwrap();
            logs.append(&row(20)).unwrap();
        }
        let mut logs = Logs::open(run, &offsets, &names()).unwrap();
        logs.append(&row(20)).unwrap();
        assert!(logs.take_notices().is_empty());
        let text = |name| fs::read_to_string(run.join(name)).unwrap();
        let updates: Vec<_> = text(METRICS).lines().map(|line| line[..14].to_string()).collect();
        assert_eq!(updates, [r#"{"update":10,"#, r#"{"update":20,"#].map(|s| format!("{s}\"")));
        assert_eq!(
            text(UPDATES),
            "update,timesteps,train/entropy,train/mean_episode_return,\
             time/steps_per_second,time/updates_per_second,time/wall_seconds,timestamp\n\
             10,1000,10,,10,0.1,10,2026-01-05T01:02:03Z\n20,2000,20,,10,0.1,20,2026-01-05T01:02:03Z\n"
        );
        let files = tensorboard_files(run);
        assert_eq!(files.len(), 2, "one of the first process, one of the last: {files:?}");
        assert_eq!(files[0], events[0]);
        assert_eq!(fs::metadata(run.join(&files[0])).unwrap().len(), offsets[&files[0]]);
        assert_eq!(logs.offsets().keys().filter(|name| name.starts_with(TENSORBOARD)).count(), 2);
    }

    #[test]
    fn other_columns_begin_another_table() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let mut logs = Logs::open(run, &BTreeMap::new(), &names()).unwrap();
        logs.append(&row(10)).unwrap();
        let offsets = logs.offsets();
        Logs::open(run, &offsets, &["train/entropy".to_string()]).unwrap();
        let text = fs::read_to_string(run.join(UPDATES)).unwrap();
        assert!(
            text.starts_with("update,timesteps,train/entropy,time/") && text.lines().count() == 1,
            "{text}"
        );
        assert!(fs::read_to_string(run.join("updates_1.csv")).unwrap().contains("\n10,1000,10,,10"));
    }

    #[test]
    fn a_log_that_lost_its_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let mut logs = Logs::open(run, &BTreeMap::new(), &names()).unwrap();
        logs.append(&row(10)).unwrap();
        let offsets = logs.offsets();
        fs::write(run.join(METRICS), "").unwrap();
        let notices = Logs::open(run, &offsets, &names()).unwrap().take_notices();
        assert_eq!(notices, ["metrics.jsonl has lost its end; it continues after what is there"]);
        fs::write(run.join(METRICS), [vec![0xff; offsets[METRICS] as usize - 1], vec![b'\n']].concat())
            .unwrap();
        let notices = Logs::open(run, &offsets, &names()).unwrap().take_notices();
        assert!(
            notices[0].contains("metrics.jsonl") && notices[0].contains("metrics_1.jsonl"),
            "{notices:?}"
        );
        assert_eq!(fs::read(run.join(METRICS)).unwrap(), b"");
    }

    fn tensorboard_files(run: &Path) -> Vec<String> {
        let entries = fs::read_dir(run.join(TENSORBOARD)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| format!("{TENSORBOARD}/{}", entry.unwrap().file_name().to_string_lossy()))
            .collect();
        names.sort();
        names
    }
}
