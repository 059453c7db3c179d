//! A journal as a file of JSON lines in the sweep's directory, locked by the system.
//!
//! The system drops a lock when the process that holds it ends in whatever way, so a worker is there as long as the file of its name in
//! `workers/` is locked: no clock is asked, and a worker that was killed is known at once. A line that has no end was being written when a
//! process was killed, and is cut off by the next one that writes.

use std::any::Any;
use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Storage;
use crate::files;
use crate::trainer::files::{make_own_directory, open_own};

/// The journal in the directory of a sweep.
pub const FILE: &str = "sweep.jsonl";
/// The files of those who work on it.
const WORKERS: &str = "workers";
/// The most bytes of a journal that are read at once.
const MOST_BYTES: u64 = 1 << 30;

/// The journal in the directory of a sweep.
pub struct FileStorage {
    directory: PathBuf,
    file: PathBuf,
    /// Locked while somebody reads and writes.
    reader: File,
    /// Nothing if it is only read.
    writer: Option<File>,
    /// Up to where it was read.
    position: u64,
}

impl FileStorage {
    /// Makes the directory of a new sweep and an empty journal in it.
    ///
    /// # Errors
    /// One line: the directory cannot be made, or is in use.
    pub fn create(directory: &Path) -> Result<FileStorage> {
        let shown = directory.display();
        let size = |path: &Path| fs::metadata(path).map_or(0, |data| data.len());
        if size(&directory.join(FILE)) > 0 {
            bail!(
                "there is a sweep in {shown} already; continue it with --resume {shown}, or choose another --run-name"
            );
        }
        // A process that could not write the first line leaves an empty journal.
        let is_vacant = |path: &Path| {
            fs::read_dir(path).is_ok_and(|mut entries| {
                entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == FILE))
            })
        };
        if directory.symlink_metadata().is_ok() && !is_vacant(directory) {
            bail!("{shown} is there already, and is no sweep; choose another --run-name");
        }
        make_own_directory(directory)?;
        FileStorage::open(directory, true)
    }

    /// Opens the journal in a directory, to write to it or only to read it.
    ///
    /// # Errors
    /// One line.
    pub fn open(directory: &Path, writes: bool) -> Result<FileStorage> {
        let file = directory.join(FILE);
        let cannot = || format!("cannot open {}", file.display());
        let writer = if writes { Some(open_own(&file).with_context(cannot)?) } else { None };
        let (reader, _) = files::open(&file).with_context(cannot)?;
        Ok(FileStorage { directory: directory.to_path_buf(), file, reader, writer, position: 0 })
    }

    /// The whole lines after the position, which moves behind them.
    fn read(&mut self) -> Result<Vec<String>> {
        let cannot = || format!("cannot read {}", self.file.display());
        self.reader.seek(SeekFrom::Start(self.position)).with_context(cannot)?;
        let mut bytes = Vec::new();
        (&mut self.reader).take(MOST_BYTES).read_to_end(&mut bytes).with_context(cannot)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let text = std::str::from_utf8(&bytes[..whole]).with_context(cannot)?;
        let lines = text.lines().map(str::to_owned).collect();
        self.position += whole as u64;
        Ok(lines)
    }

    /// Appends lines, all of them or none.
    fn append(&mut self, lines: &[String]) -> Result<()> {
        let Some(writer) = &mut self.writer else { bail!("{} is only read", self.file.display()) };
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        let mut write = || {
            writer.set_len(self.position)?; // without what a killed process left half-written
            writer.seek(SeekFrom::Start(self.position))?;
            writer.write_all(text.as_bytes())?;
            writer.sync_data()
        };
        if let Err(error) = write() {
            let _ = writer.set_len(self.position);
            return Err(error).with_context(|| format!("cannot write {}", self.file.display()));
        }
        self.position += text.len() as u64;
        Ok(())
    }

    fn presence(&self, worker: &str) -> PathBuf {
        self.directory.join(WORKERS).join(worker)
    }
}

impl Storage for FileStorage {
    fn exclusive(&mut self, decide: &mut dyn FnMut(Vec<String>) -> Result<Vec<String>>) -> Result<()> {
        let lock = if self.writer.is_some() { self.reader.lock() } else { self.reader.lock_shared() };
        lock.with_context(|| format!("cannot lock {}", self.file.display()))?;
        let mut work = || {
            let lines = decide(self.read()?)?;
            if lines.is_empty() { Ok(()) } else { self.append(&lines) }
        };
        let result = work();
        let _ = self.reader.unlock(); // at the latest the system does it
        result
    }

    fn enlist(&self, worker: &str) -> Result<Box<dyn Any>> {
        make_own_directory(&self.directory.join(WORKERS))?;
        let path = self.presence(worker);
        let file = open_own(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(Presence { path, _file: file })),
            Err(TryLockError::WouldBlock) => {
                bail!("another worker is called {worker}; choose another --worker-name")
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    fn is_alive(&mut self, worker: &str) -> Result<bool> {
        let path = self.presence(worker);
        match files::open(&path) {
            Err(_) => Ok(false),
            Ok((file, _)) => Ok(matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))),
        }
    }

    fn describe(&self) -> String {
        self.file.display().to_string()
    }
}

/// The file of a worker while it is there.
struct Presence {
    path: PathBuf,
    _file: File,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // unlocked is as good
    }
}
