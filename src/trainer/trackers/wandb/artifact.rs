//! Artifacts: checkpoints and parameters as W&B stores them, by their digests.

use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use serde_json::{Value, json};

use crate::files;

pub const STORAGE_POLICY: &str = "wandb-storage-policy-v1";
pub const DIGEST_ALGORITHM: &str = "MANIFEST_MD5";

/// What is inside an artifact of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Contents {
    pub file_name: String,
    /// MD5 of the file in base64.
    pub digest: String,
    pub size: u64,
}

impl Contents {
    /// Reads the file for its digest.
    pub fn of(path: &Path) -> io::Result<Self> {
        let (mut file, _) = files::open(path)?;
        let (mut hash, mut size, mut buffer) = (Md5::new(), 0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => {
                    hash.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
        let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { file_name, digest: STANDARD.encode(hash.finalize()), size })
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
    fn random_ids_differ() {
        let (a, b) = (random_id(), random_id());
        assert!(a.len() == 128 && a != b);
    }
}
