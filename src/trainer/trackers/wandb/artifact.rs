//! Artifacts: checkpoints and parameters as W&B stores them, by their digests.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::files;

pub const STORAGE_POLICY: &str = "wandb-storage-policy-v1";
pub const DIGEST_ALGORITHM: &str = "MANIFEST_MD5";

/// Bytes from which a file is uploaded in parts, as the official client does. (Tests do not wait for gigabytes.)
const IN_PARTS_FROM: u64 = if cfg!(test) { 64 << 10 } else { 2 << 30 };
/// Bytes of a part, if these parts are not too many.
const PART: u64 = if cfg!(test) { 24 << 10 } else { 100 << 20 };
/// The most parts that a server gives addresses for.
const MOST_PARTS: u64 = 1000;

/// A part of a large file.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// From 1.
    pub number: u64,
    /// Where it begins in the file.
    pub begin: u64,
    pub size: u64,
    md5: [u8; 16],
}

impl Part {
    /// What the server is told of it.
    pub fn announced(&self) -> Value {
        json!({"partNumber": self.number, "hexMD5": hex(&self.md5)})
    }

    /// The MD5 in base64, as HTTP has it.
    pub fn digest(&self) -> String {
        STANDARD.encode(self.md5)
    }
}

/// The bytes of each part of a file; none if it is uploaded whole.
fn part_size(size: u64) -> Option<u64> {
    (size >= IN_PARTS_FROM).then(|| PART.max(size.div_ceil(MOST_PARTS).next_multiple_of(4096)))
}

/// What is inside an artifact of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    pub file_name: String,
    /// MD5 of the file in base64.
    pub digest: String,
    pub size: u64,
    /// The parts of a large file; none of others.
    pub parts: Vec<Part>,
}

impl Contents {
    /// Reads the file for its digest.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (mut file, _) = files::open(path)?;
        let (md5, size) = md5_of(&mut file)?;
        let parts = part_size(size).map_or(Ok(Vec::new()), |part| parts_of(file, part))?;
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file_name, digest: STANDARD.encode(md5), size, parts })
    }

    /// The artifact's own digest, in hexadecimal.
    pub fn manifest_digest(&self) -> String {
        let text = format!("wandb-artifact-manifest-v1\n{}:{}\n", self.file_name, self.digest);
        hex(&Md5::digest(text))
    }

    /// The manifest file of the artifact, once the server has given it an id.
    pub fn manifest(&self, artifact_id: &str) -> Value {
        json!({
            "version": 1,
            "storagePolicy": STORAGE_POLICY,
            "storagePolicyConfig": {"storageLayout": "V2"},
            "contents": {
                &self.file_name: {"digest": self.digest, "size": self.size, "birthArtifactID": artifact_id},
            },
        })
    }
}

/// The MD5 of what is left to read, and how many bytes that is.
fn md5_of(file: &mut impl Read) -> io::Result<([u8; 16], u64)> {
    let (mut hash, mut size, mut buffer) = (Md5::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((hash.finalize().into(), size)),
            read => {
                hash.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
}

/// A file in parts of so many bytes, the last one of what is left.
fn parts_of(mut file: File, part: u64) -> io::Result<Vec<Part>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    file.rewind()?;
    loop {
        let (md5, size) = md5_of(&mut (&file).take(part))?;
        if size == 0 {
            return Ok(parts);
        }
        parts.push(Part { number: parts.len() as u64 + 1, begin, size, md5 });
        begin += size;
    }
}

/// MD5 of bytes in base64.
pub fn digest(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 128 random letters and digits: a name that the server will not have seen.
pub fn random_id() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let letter = |_| {
        let random = RandomState::new().build_hasher().finish(); // seeded by the system
        char::from(LETTERS[(random % 36) as usize])
    };
    (0..128).map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from the official client, version 0.31.
    #[test]
    fn digests_are_those_of_the_official_client() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint_20.ckpt");
        std::fs::write(&path, "hello").unwrap();
        let contents = Contents::of(&path).unwrap();
        assert_eq!(contents.digest, "XUFAKrxLKna5cZ2REBfFkg==");
        assert_eq!(contents.manifest_digest(), "b24073ddb161abcfd79a9f5f5f45027a");
        assert_eq!(contents.size, 5);
        assert_eq!(digest(b"hello"), contents.digest);
    }

    #[test]
    fn a_large_file_has_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large.ckpt");
        let bytes: Vec<u8> = (0..65_536u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let contents = Contents::of(&path).unwrap();
        assert_eq!(contents.digest, digest(&bytes));
        let places: Vec<_> = contents.parts.iter().map(|part| (part.number, part.begin, part.size)).collect();
        assert_eq!(places, [(1, 0, 24_576), (2, 24_576, 24_576), (3, 49_152, 16_384)]);
        assert_eq!(contents.parts[1].digest(), digest(&bytes[24_576..49_152]));
        std::fs::write(&path, &bytes[1..]).unwrap();
        assert!(Contents::of(&path).unwrap().parts.is_empty());
        // Five tebibytes are a thousand parts still.
        assert!(5u64 << 40 <= MOST_PARTS * part_size(5 << 40).unwrap());
    }

    #[test]
    fn random_ids_differ() {
        let (a, b) = (random_id(), random_id());
        assert!(a.len() == 128 && a != b);
    }
}
