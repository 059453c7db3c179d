//! The checkpoints in run directories.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};

use super::{entries, numbered};

/// The checkpoints of a run directory, oldest first, each with its update.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered_files(directory, "checkpoint_", ".ckpt")
}

/// The files `<prefix><number><suffix>` in a directory by their numbers.
pub fn numbered_files(directory: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let number = |name: &OsStr| numbered(&name.to_string_lossy(), prefix, suffix);
    let names = entries(directory)?;
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((number(name)?, directory.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// Removes all but the newest `keep` checkpoints of a run, and their parameters.
///
/// # Errors
/// One line that names the file.
pub fn keep_newest(path: &Path, keep: usize) -> Result<()> {
    let mut old = checkpoints(path)?;
    old.truncate(old.len().saturating_sub(keep));
    for (update, checkpoint) in old {
        let params = path.join(format!("params_{update}.safetensors"));
        // The checkpoint last: as long as it is there, a process that is killed in between leaves nothing that no later one
        // finds.
        for file in [params, checkpoint] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}
