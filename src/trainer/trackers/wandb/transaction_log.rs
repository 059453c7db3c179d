//! The file `run-<id>.wandb`: a log of records that the official client reads, sends and shows.
//!
//! ```text
//! file:  ":W&B" | 0xBEE1, u16 | version 0 | chunks
//! chunk: crc32 of type and data, u32 | length, u16 | type, u8 (1 whole, 2 first, 3 middle, 4 last) | data
//! ```
//!
//! Chunks lie in blocks of 32 KiB, as in LevelDB's logs: none crosses the end of a block, and where not even
//! a chunk's header fits, the block ends with zeros. Each record is written at once, so a killed process
//! leaves whole records, and at most one torn one at the end.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::trainer::log_file::LogFile;
use crate::trainer::protobuf::Message;

const FILE_HEADER: [u8; 7] = *b":W&B\xe1\xbe\x00";
const BLOCK: usize = 32 * 1024;
const CHUNK_HEADER: usize = 7;

/// A transaction log open for writing.
#[derive(Debug)]
pub struct TransactionLog {
    path: PathBuf,
    file: LogFile,
    /// Bytes written and waiting.
    position: u64,
    /// Number of the last record.
    number: i64,
}

impl TransactionLog {
    /// Begins a new file.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = LogFile::open(path, 0)?;
        file.append(&FILE_HEADER)?;
        Ok(Self { path: path.to_path_buf(), file, position: FILE_HEADER.len() as u64, number: 0 })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a record whose content is the message `content` in the field `kind`.
    ///
    /// # Errors
    /// One line that names the file; the record is kept and written with the next one.
    pub fn append(&mut self, kind: u64, content: Message) -> Result<()> {
        self.number += 1;
        let record = Message::new().int(1, self.number).message(kind, content).into_bytes();
        let framed = frame(&record, self.position as usize % BLOCK);
        self.position += framed.len() as u64;
        self.file.append(&framed)
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// One line that names the file.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

/// The chunks of a record that begins `offset` bytes into a block.
fn frame(record: &[u8], mut offset: usize) -> Vec<u8> {
    let mut framed = Vec::with_capacity(record.len() + 2 * CHUNK_HEADER);
    let mut rest = record;
    let mut first = true;
    loop {
        let room = BLOCK - offset;
        if room < CHUNK_HEADER {
            framed.resize(framed.len() + room, 0);
            offset = 0;
            continue;
        }
        let (data, after) = rest.split_at(rest.len().min(room - CHUNK_HEADER));
        let kind: u8 = match (first, after.is_empty()) {
            (true, true) => 1,
            (true, false) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&[kind]);
        checksum.update(data);
        framed.extend_from_slice(&checksum.finalize().to_le_bytes());
        framed.extend_from_slice(&(data.len() as u16).to_le_bytes());
        framed.push(kind);
        framed.extend_from_slice(data);
        offset = (offset + CHUNK_HEADER + data.len()) % BLOCK;
        (rest, first) = (after, false);
        if rest.is_empty() {
            return framed;
        }
    }
}

/// The records of a file, by an independent reading of the format.
#[cfg(test)]
pub fn read(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(bytes[..7], FILE_HEADER);
    let (mut records, mut record, mut position) = (Vec::new(), Vec::new(), 7);
    while position < bytes.len() {
        let room = BLOCK - position % BLOCK;
        if room < CHUNK_HEADER {
            assert!(bytes[position..position + room].iter().all(|&byte| byte == 0));
            position += room;
            continue;
        }
        let crc = u32::from_le_bytes(bytes[position..position + 4].try_into().unwrap());
        let length = u16::from_le_bytes(bytes[position + 4..position + 6].try_into().unwrap()) as usize;
        assert!(CHUNK_HEADER + length <= room, "a chunk crosses a block");
        let kind = bytes[position + 6];
        let data = &bytes[position + 7..position + 7 + length];
        assert_eq!(crc, crc32fast::hash(&[&[kind], data].concat()));
        assert_eq!(record.is_empty(), kind <= 2);
        record.extend_from_slice(data);
        if kind == 1 || kind == 4 {
            records.push(std::mem::take(&mut record));
        }
        position += CHUNK_HEADER + length;
    }
    assert!(record.is_empty());
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_every_size_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run-x.wandb");
        let mut log = TransactionLog::create(&path).unwrap();
        // Sizes that leave 0 to 8 bytes at the end of the first block, and records over many blocks.
        let mut expected = Vec::new();
        for (number, size) in (0..40).flat_map(|i| [i * 7, 32 * 1024 - 40 + i, 100_000]).enumerate() {
            let content = Message::new().bytes(1, vec![number as u8; size]);
            log.append(2, content.clone()).unwrap();
            expected.push(Message::new().int(1, number as i64 + 1).message(2, content).into_bytes());
        }
        assert!(read(&path) == expected);
    }

    #[test]
    fn a_chunk_never_ends_beyond_its_block() {
        for offset in 0..BLOCK {
            let framed = frame(&[1, 2, 3], offset);
            let room = BLOCK - offset;
            let padding = if room < CHUNK_HEADER { room } else { 0 };
            let split = room > CHUNK_HEADER && room < CHUNK_HEADER + 3 || room == CHUNK_HEADER;
            let headers = if split { 2 } else { 1 };
            assert_eq!(framed.len(), padding + 3 + headers * CHUNK_HEADER, "offset {offset}");
        }
    }
}
