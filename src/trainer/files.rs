//! Files that are either there and whole, or not there: written beside their final name, then renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::files;

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
    match fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {} // what a killed process has left, or a link, which must not be followed
    }
    let mut file = BufWriter::with_capacity(1 << 20, File::create_new(temporary)?);
    write(&mut file)?;
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    if durable {
        file.sync_all()?;
    }
    drop(file);
    fs::rename(temporary, path)?;
    if durable {
        sync_directory(directory_of(path))?;
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

/// Makes a directory, if it is not there. What is written into it must be in the directory that holds it, so a link is
/// refused.
///
/// # Errors
/// One line that names it.
pub fn make_own_directory(path: &Path) -> Result<()> {
    ensure!(
        !is_link(path),
        "{} is a link, but a run writes into directories of its own only",
        path.display()
    );
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

/// Opens a file for writing, without changing it, or makes it. A file that is somebody else's too must not change: a link
/// is refused, and one that has other names (as a copy made of hard links has) is first replaced by a copy of its own.
pub fn open_own(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return File::create_new(path),
        Err(error) => return Err(error),
        Ok(data) if data.is_symlink() => {
            return Err(io::Error::other("it is a link, but a run writes into files of its own only"));
        }
        Ok(data) if !data.is_file() => return Err(io::Error::other("it is no regular file")),
        Ok(data) if has_other_names(&data) => {
            write_and_rename(path, &temporary_name(path), false, |copy| {
                io::copy(&mut files::open(path)?.0, copy).map(drop)
            })?;
        }
        Ok(_) => {}
    }
    OpenOptions::new().write(true).open(path)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink())
}

#[cfg(unix)]
fn has_other_names(data: &fs::Metadata) -> bool {
    data.is_file() && std::os::unix::fs::MetadataExt::nlink(data) > 1
}

#[cfg(not(unix))]
fn has_other_names(_: &fs::Metadata) -> bool {
    false
}

/// `dir/.name.tmp` for `dir/name`: on the same file system, and invisible to those who look for `name`.
fn temporary_name(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

/// The name of the file that is first written under the name `temporary`.
pub fn is_temporary(temporary: &str) -> Option<&str> {
    temporary.strip_prefix('.')?.strip_suffix(".tmp")
}

/// Waits until the directory itself is on the disk, where the file system can do that: some shares cannot, and
/// refuse; what they hold is as safe as it can be there.
fn sync_directory(directory: &Path) -> io::Result<()> {
    match files::open_directory(directory)?.sync_all() {
        Err(error) if is_unsupported(&error) => Ok(()),
        result => result,
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_directory_that_cannot_be_synced_is_no_failure() {
        let refused = File::open("/proc").unwrap().sync_all().unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput, "/proc is such a directory");
        sync_directory(Path::new("/proc")).unwrap();
        assert!(sync_directory(Path::new("/nowhere")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn links_are_replaced_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let [path, others] = ["file", "others"].map(|name| dir.path().join(name));
        fs::write(&others, "precious").unwrap();
        for link in [path.clone(), temporary_name(&path)] {
            std::os::unix::fs::symlink(&others, &link).unwrap();
            write_atomically(&path, b"new").unwrap();
            assert_eq!(fs::read(&others).unwrap(), b"precious");
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert!(!is_link(&path));
            fs::remove_file(&path).unwrap();
            // To be appended to, a link is refused; of several names, only this one is written to.
            std::os::unix::fs::symlink(&others, &path).unwrap();
            assert!(open_own(&path).unwrap_err().to_string().starts_with("it is a link"));
            fs::remove_file(&path).unwrap();
            fs::hard_link(&others, &path).unwrap();
            open_own(&path).unwrap().write_all(b"PRE").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"PREcious");
            assert_eq!(fs::read(&others).unwrap(), b"precious");
            fs::remove_file(&path).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), &path).unwrap();
        assert!(make_own_directory(&path).is_err());
    }
}
