//! Append-only log files that can be cut back to an earlier moment, and that outlive a full disk.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::open_own;

/// A log file of a run. What cannot be written now is kept and written with the next entry.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    pending: Vec<u8>,
}

impl LogFile {
    /// Opens or makes the file and cuts it back to `offset` bytes, so that nothing appears twice.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open(path: &Path, offset: u64) -> Result<Self> {
        let open = || -> io::Result<(File, u64)> {
            let mut file = open_own(path)?;
            let length = file.metadata()?.len().min(offset);
            file.set_len(length)?;
            file.seek(SeekFrom::Start(length))?;
            Ok((file, length))
        };
        let (file, length) = open().with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path: path.to_path_buf(), file, length, pending: Vec::new() })
    }

    /// Length in bytes of what is in the file.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends an entry, after those that could not be written before.
    ///
    /// # Errors
    /// One line that names the file; the entry is kept for the next time.
    pub fn append(&mut self, entry: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(entry);
        self.write_pending().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sync(&mut self) -> Result<()> {
        let synced = self.write_pending().and_then(|()| self.file.sync_data());
        synced.with_context(|| format!("cannot write {}", self.path.display()))
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.pending) {
            // A part may be there; without it the file ends with a whole entry.
            self.file.set_len(self.length)?;
            self.file.seek(SeekFrom::Start(self.length))?;
            return Err(error);
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_log_continues_where_the_checkpoint_left_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = LogFile::open(&path, 0).unwrap();
        log.append(b"one\n").unwrap();
        let offset = log.length();
        log.append(b"two\n").unwrap();
        drop(log);
        let mut log = LogFile::open(&path, offset).unwrap();
        log.append(b"2\n").unwrap();
        log.sync().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n2\n");
        // A file that lost its end is continued from what is there.
        assert_eq!(LogFile::open(&path, 1000).unwrap().length(), 6);
    }

    #[test]
    fn entries_wait_until_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = LogFile::open(&path, 0).unwrap();
        log.append(b"one\n").unwrap();
        let writable = std::mem::replace(&mut log.file, File::open(&path).unwrap()); // may not be written to
        let error = log.append(b"two\n").unwrap_err().to_string();
        assert!(error.starts_with("cannot write") && error.ends_with("metrics.jsonl"), "{error}");
        assert!(log.sync().is_err());
        log.file = writable;
        log.append(b"three\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    }
}
