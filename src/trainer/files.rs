//! Files that are either there and whole, or not there: written beside their final name, then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes a file that survives a crash at any moment: a reader sees the old content or the new, and once this
/// returns, the new content is on the disk.
///
/// # Errors
/// One line that names the file. The old file, if there was one, is untouched.
pub fn write_durably(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replace(path, true, write)
}

/// Writes a small file that a reader never sees half-written, without waiting for the disk.
///
/// # Errors
/// One line that names the file.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<()> {
    replace(path, false, |file| file.write_all(content))
}

fn replace(path: &Path, durable: bool, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_name(path);
    let replaced = write_and_rename(path, &temporary, durable, write);
    if replaced.is_err() {
        let _ = fs::remove_file(&temporary); // it holds nothing that the old file does not
    }
    replaced.with_context(|| format!("cannot write {}", path.display()))
}

fn write_and_rename(
    path: &Path,
    temporary: &Path,
    durable: bool,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(temporary)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if durable {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(temporary, path)?;
    if durable {
        File::open(directory_of(path))?.sync_all()?;
    }
    Ok(())
}

/// The directory that holds `path`.
pub fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `dir/.name.tmp` for `dir/name`: on the same file system, and invisible to those who look for `name`.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// Removes what a killed process left half-written in a directory.
pub fn remove_leftovers(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            fs::remove_file(directory.join(&*name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write_durably(&path, |file| file.write_all(b"old")).unwrap();
        let error = write_durably(&path, |file| {
            file.write_all(b"half of the n")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert_eq!(format!("{error:#}"), format!("cannot write {}: no storage space", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        write_durably(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn leftovers_go_and_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".checkpoint_1.ckpt.tmp", "checkpoint_1.ckpt", ".hidden"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        remove_leftovers(dir.path()).unwrap();
        assert!(!dir.path().join(".checkpoint_1.ckpt.tmp").exists());
        assert!(dir.path().join("checkpoint_1.ckpt").exists() && dir.path().join(".hidden").exists());
    }
}
