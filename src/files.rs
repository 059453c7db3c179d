//! Files and folders that others may have made: how much of them is read, and whose code is run.
//!
//! A path that a user gives can name anything: a pipe that never ends, a device, a file of many gigabytes of zeros. So only
//! regular files are read, and never more of them than a caller has said. Code (plugins and compiled programs) is
//! loaded only from files and folders that nobody else can change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

/// The most bytes of a small text: a configuration, a status, metadata.
pub const TEXT_LIMIT: u64 = 16 << 20;

/// Opens a regular file and gives its length in bytes.
///
/// # Errors
/// What the system says, or that the path names something else than a file.
pub fn open(path: &Path) -> io::Result<(File, u64)> {
    let regular = |metadata: fs::Metadata| match metadata.is_file() {
        true => Ok(metadata.len()),
        false if metadata.is_dir() => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a directory")),
        false => Err(io::Error::other("it is no regular file")),
    };
    regular(fs::metadata(path)?)?; // first, for opening a pipe waits until somebody writes to it
    let file = File::open(path)?;
    let length = regular(file.metadata()?)?;
    Ok((file, length))
}

/// The content of a regular file of at most `limit` bytes.
///
/// # Errors
/// What the system says; that the path names no file; that the file is too large.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (file, length) = open(path)?;
    let too_large = || io::Error::other(format!("it is larger than {limit} bytes"));
    if length > limit {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(length as usize);
    file.take(limit + 1).read_to_end(&mut content)?;
    if content.len() as u64 > limit { Err(too_large()) } else { Ok(content) }
}

/// Opens a directory, to lock it or to wait until it is on the disk.
///
/// # Errors
/// What the system says, or that the path names something else.
pub fn open_directory(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_dir() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory")),
    }
}

/// As [`read`], of a text of at most [`TEXT_LIMIT`] bytes.
///
/// # Errors
/// Those of [`read`], and that the file is no UTF-8.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path, TEXT_LIMIT)?).map_err(|_| io::Error::other("it is no UTF-8 text"))
}

/// Says that a file was used now.
///
/// # Errors
/// What the system says, or that the path names no file.
pub fn touch(path: &Path) -> io::Result<()> {
    open(path)?;
    File::options().append(true).open(path)?.set_modified(SystemTime::now())
}

/// As [`read_text`], of a file that may be gzipped. Unpacked it has less than `limit` bytes: a small file can unpack to one that
/// fills any memory.
///
/// # Errors
/// Those of [`read_text`], and that it has so many bytes.
pub fn read_unpacked_text(path: &Path, limit: u64) -> io::Result<String> {
    let bytes = read(path, limit)?;
    let mut text = Vec::new();
    match bytes.starts_with(&[0x1f, 0x8b]) {
        true => MultiGzDecoder::new(&bytes[..]).take(limit).read_to_end(&mut text)?,
        false => { &bytes[..] }.read_to_end(&mut text)?,
    };
    if text.len() as u64 >= limit {
        return Err(io::Error::other(format!("it has {limit} bytes of text or more")));
    }
    String::from_utf8(text).map_err(|_| io::Error::other("it is no UTF-8 text"))
}

/// Why the code in `path` (a file or folder, whose links are followed) is not trusted: somebody else than this user and
/// root can change it. Nothing if it is.
pub fn distrust(path: &Path) -> Option<String> {
    #[cfg(unix)]
    if let Ok(metadata) = fs::metadata(path) {
        use std::os::unix::fs::MetadataExt;
        let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
        if owner != own && owner != 0 {
            return Some(format!("{} belongs to another user (id {owner})", path.display()));
        }
        if metadata.mode() & 0o002 != 0 {
            return Some(format!("every user can write to {}", path.display()));
        }
    }
    let _ = path;
    None
}

/// Makes a folder and those above it, in which nobody else can write, whatever the process' file mode mask says.
pub fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    builder.create(path)
}

/// Makes a file, in which nobody else can write, whatever the process' file mode mask says.
pub fn make_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o644);
    options.open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| read(path, 10).unwrap_err().to_string();
        let path = folder.path().join("file");
        fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        fs::write(&path, "0123456789a").unwrap();
        assert_eq!(message(&path), "it is larger than 10 bytes");
        File::create(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(message(&path), "it is larger than 10 bytes");
        fs::write(&path, [255, 254]).unwrap();
        assert_eq!(read_text(&path).unwrap_err().to_string(), "it is no UTF-8 text");
        assert_eq!(message(folder.path()), "it is a directory");
        let pipe = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(message(&pipe), "it is no regular file");
        assert_eq!(message(Path::new("/dev/zero")), "it is no regular file");
    }

    #[test]
    fn what_others_can_write_to_is_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        make_folder(&path).unwrap();
        let file = path.join("file");
        make_file(&file).unwrap();
        assert_eq!((distrust(&path), distrust(&file)), (None, None));
        for path in [&path, &file] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
            assert_eq!(distrust(path), Some(format!("every user can write to {}", path.display())));
        }
        assert_eq!(distrust(&folder.path().join("missing")), None);
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(12345), None).unwrap();
            assert_eq!(
                distrust(&file),
                Some(format!("{} belongs to another user (id 12345)", file.display()))
            );
        }
    }
}
