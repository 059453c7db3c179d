//! Append-only log files that can be cut back to an earlier moment, and that outlive a full disk.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::open_own;
use crate::files;

/// The log that a run is judged by: one JSON object per row.
pub const METRICS: &str = "metrics.jsonl";
/// A row for every update, or for every n-th of a long run: what charts are drawn from.
pub const CURVES: &str = "curves.jsonl";

/// A log file of a run. What cannot be written now is kept and written with the next entry.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    length: u64,
    pending: Vec<u8>,
    /// What an empty file begins with.
    head: Vec<u8>,
    was_removed: bool,
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
        Ok(Self {
            path: path.to_path_buf(),
            file,
            length,
            pending: Vec::new(),
            head: Vec::new(),
            was_removed: false,
        })
    }

    /// As [`LogFile::open`], of a file of lines: one that has lost its end may end within a line, and is cut back to the end of
    /// the line before, so that no entry is joined to what is left.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn open_lines(path: &Path, offset: u64) -> Result<Self> {
        let end = end_of_lines(path, offset).with_context(|| format!("cannot read {}", path.display()))?;
        Self::open(path, end)
    }

    /// Whether the file was removed, or another put in its place, while it was open, since this was last asked. The new one has
    /// what came later.
    pub fn was_removed(&mut self) -> bool {
        std::mem::take(&mut self.was_removed)
    }

    /// Begins the file with `head` if it is empty, now or whenever it has to begin again.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn begin_with(&mut self, head: &[u8]) -> Result<()> {
        self.head = head.into();
        if self.length == 0 { self.append(head) } else { Ok(()) }
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
        if is_removed(&self.file)? {
            self.file = open_own(&self.path)?;
            self.length = self.file.seek(SeekFrom::End(0))?;
            self.was_removed = true;
            if self.length == 0 {
                self.pending.splice(..0, self.head.iter().copied());
            }
        }
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

/// Whether no path leads to the file any more: what is written to it is lost.
fn is_removed(file: &File) -> io::Result<bool> {
    #[cfg(unix)]
    return Ok(std::os::unix::fs::MetadataExt::nlink(&file.metadata()?) == 0);
    #[cfg(not(unix))]
    return Ok(false);
}

/// The end of the last whole line within the first `offset` bytes of a file; 0 if there is none.
fn end_of_lines(path: &Path, offset: u64) -> io::Result<u64> {
    const PIECE: u64 = 64 << 10;
    let mut file = match files::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?.0,
    };
    let mut end = file.metadata()?.len().min(offset);
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        let mut piece = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut piece)?;
        if let Some(last) = piece.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// The last whole line of a file, without its end; nothing if there is no such file, or no line in it.
///
/// # Errors
/// What the system says, or that the line is longer than a text may be.
pub fn last_line(path: &Path) -> io::Result<Option<String>> {
    let end = end_of_lines(path, u64::MAX)?;
    let Some(last) = end.checked_sub(1) else { return Ok(None) };
    let start = end_of_lines(path, last)?;
    if last - start > files::TEXT_LIMIT {
        return Err(io::Error::other("its last line is too long"));
    }
    let (mut file, mut bytes) = (files::open(path)?.0, vec![0; (last - start) as usize]);
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes)?;
    String::from_utf8(bytes).map(Some).map_err(io::Error::other)
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
    fn a_file_of_lines_ends_with_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let long = "x".repeat(200_000);
        let reopened = |content: &str, offset: u64| {
            fs::write(&path, content).unwrap();
            LogFile::open_lines(&path, offset).unwrap().append(b"2\n").unwrap();
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(reopened("one\ntw", 100), "one\n2\n");
        assert_eq!(reopened("one\ntwo\n", 6), "one\n2\n");
        assert_eq!(reopened("one\ntwo\n", 8), "one\ntwo\n2\n");
        assert_eq!(reopened("on", 100), "2\n");
        assert_eq!(reopened(&format!("one\n{long}"), 1 << 20), "one\n2\n");
        assert_eq!(reopened(&format!("{long}\n{long}\n{long}"), 1 << 20), format!("{long}\n{long}\n2\n"));
        fs::remove_file(&path).unwrap();
        assert_eq!(LogFile::open_lines(&path, 100).unwrap().length(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_removed_begins_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let mut log = LogFile::open(&path, 0).unwrap();
        log.begin_with(b"head\n").unwrap();
        log.append(b"one\n").unwrap();
        assert!(!log.was_removed());
        fs::remove_file(&path).unwrap();
        log.append(b"two\n").unwrap();
        assert!(log.was_removed() && !log.was_removed());
        assert_eq!((fs::read_to_string(&path).unwrap(), log.length()), ("head\ntwo\n".into(), 9));
        fs::write(dir.path().join("edited"), "mine\n").unwrap();
        fs::rename(dir.path().join("edited"), &path).unwrap();
        log.append(b"three\n").unwrap();
        assert_eq!((fs::read_to_string(&path).unwrap(), log.length()), ("mine\nthree\n".into(), 11));
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(log.append(b"four\n").is_err());
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
