//! The program cache: compiled programs on disk, so that a program that was compiled once starts at once.
//!
//! A file's name is the hash of all that decides the compiled code ([`Key`]). Its content is a header
//! (magic, format version, the key, checksum) and what the plugin serialized. A file that is cut off, changed, of another
//! key or of another format is no entry: the program is compiled again and the file rewritten, before the plugin
//! sees a byte of it. The checksum tells what was damaged, not who wrote it: that is why folders and files that others can
//! write to are refused. Nothing that goes wrong here is an error for the user, since compiling always works;
//! it is a warning at most.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::files;
use crate::output::tell;

/// Where a program came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    /// It was loaded from the program cache.
    Hit,
    /// It was compiled.
    Miss,
}

const MAGIC: &[u8; 8] = b"LSPROGRM";
const FORMAT_VERSION: u32 = 2;
const HEADER_SIZE: usize = 8 + 4 + 32 + 32;
const EXTENSION: &str = "program";

/// How much disk the cache may take, in bytes; the entries unused for longest go first.
const SIZE_LIMIT: u64 = 2 << 30;

/// A folder of compiled programs, or none.
#[derive(Clone, Debug)]
pub struct ProgramCache {
    folder: Option<PathBuf>,
    size_limit: u64,
}

impl ProgramCache {
    /// The folder `programs` in lockstep's cache folder; disabled by `LOCKSTEP_NO_CACHE=1`.
    pub fn from_env() -> Self {
        let is_off =
            std::env::var_os("LOCKSTEP_NO_CACHE").is_some_and(|value| !value.is_empty() && value != "0");
        match super::cache_folder() {
            Some(folder) if !is_off => match files::distrust(&folder) {
                Some(reason) => ProgramCache::distrusted(&reason),
                None => ProgramCache::at(folder.join("programs")),
            },
            _ => ProgramCache::disabled(),
        }
    }

    /// A folder of the caller's choice; disabled if others can write to it, which is said once.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        let folder = folder.into();
        match files::distrust(&folder) {
            Some(reason) => ProgramCache::distrusted(&reason),
            None => ProgramCache { folder: Some(folder), size_limit: SIZE_LIMIT },
        }
    }

    fn distrusted(reason: &str) -> Self {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            let advice = "set LOCKSTEP_CACHE_DIR to a folder of your own";
            tell(&format!("lockstep: programs are not cached: {reason}; {advice}"));
        });
        ProgramCache::disabled()
    }

    pub fn disabled() -> Self {
        ProgramCache { folder: None, size_limit: 0 }
    }

    pub fn is_enabled(&self) -> bool {
        self.folder.is_some()
    }

    /// The serialized program under `key`, if there is a whole one.
    pub(super) fn load(&self, key: &Key) -> Option<Vec<u8>> {
        let path = self.path(key)?;
        let mut entry = files::read(&path, self.size_limit).ok()?;
        if files::distrust(&path).is_some() || !is_whole(&entry, key) {
            tracing::debug!("{} is no whole program of ours and is compiled again", path.display());
            return None;
        }
        // The time of last use decides what is evicted; not being able to note it does no harm.
        let _ = files::touch(&path);
        entry.drain(..HEADER_SIZE);
        Some(entry)
    }

    /// Keeps a serialized program under `key`.
    pub(super) fn store(&self, key: &Key, serialized: &[u8]) {
        let Some(path) = self.path(key) else { return };
        if let Err(error) = write_entry(&path, key, serialized).and_then(|()| self.evict()) {
            tracing::warn!("the program cache cannot be written ({}): {error}", path.display());
        }
    }

    fn path(&self, key: &Key) -> Option<PathBuf> {
        Some(self.folder.as_ref()?.join(key.name()).with_extension(EXTENSION))
    }

    /// Removes the entries unused for longest until the rest fits the limit. Files of others are left alone.
    fn evict(&self) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(is_own_name) {
                continue;
            }
            let path = entry.path();
            // Another process may have removed it in between.
            if let Ok(metadata) = fs::symlink_metadata(&path)
                && metadata.is_file()
            {
                entries.push((metadata.modified()?, metadata.len(), path));
            }
        }
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in entries {
            if total <= self.size_limit {
                break;
            }
            let _ = fs::remove_file(path);
            total -= size;
        }
        Ok(())
    }
}

/// Whether a file's name is that of an entry, or of one that a process has begun to write.
fn is_own_name(name: &str) -> bool {
    let is_key = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match name.split('.').collect::<Vec<_>>()[..] {
        [key, EXTENSION] => is_key(key),
        ["", key, EXTENSION, process, number] => is_key(key) && is_number(process) && is_number(number),
        _ => false,
    }
}

/// Whether `entry` has the header of this format and key, and the payload that its checksum was taken of.
fn is_whole(entry: &[u8], key: &Key) -> bool {
    entry.split_at_checked(HEADER_SIZE).is_some_and(|(found, payload)| found == header(key, payload))
}

fn header(key: &Key, payload: &[u8]) -> [u8; HEADER_SIZE] {
    let mut header = [0; HEADER_SIZE];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[12..44].copy_from_slice(&key.digest());
    header[44..].copy_from_slice(&Sha256::digest(payload));
    header
}

/// Writes beside the final name and renames, so that a reader sees a whole entry or none.
fn write_entry(path: &Path, key: &Key, serialized: &[u8]) -> io::Result<()> {
    files::make_folder(path.parent().unwrap_or(Path::new(".")))?;
    let temporary = super::temporary_beside(path);
    let written = files::make_file(&temporary).and_then(|mut file| {
        file.write_all(&header(key, serialized))?;
        file.write_all(serialized)
    });
    let placed = written.and_then(|()| fs::rename(&temporary, path));
    if placed.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    placed
}

/// The name of a compiled program: a hash over everything that decides it.
pub(super) struct Key(Sha256);

impl Key {
    /// Of nothing but the format, so that entries of two formats lie side by side.
    pub fn new() -> Self {
        let mut key = Key(Sha256::new());
        key.add(&FORMAT_VERSION.to_le_bytes());
        key
    }

    /// Adds one part; parts do not run into each other.
    pub fn add(&mut self, part: &[u8]) -> &mut Self {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
        self
    }

    /// Adds size and modification time of a file: another build of a plugin compiles other code.
    pub fn add_file_identity(&mut self, path: &Path) -> &mut Self {
        let metadata = fs::metadata(path);
        let size = metadata.as_ref().map_or(0, |metadata| metadata.len());
        let modified = metadata.and_then(|metadata| metadata.modified()).ok();
        let since_epoch = modified.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
        self.add(&size.to_le_bytes()).add(&since_epoch.unwrap_or_default().as_nanos().to_le_bytes())
    }

    /// Adds what the host's processor can do and how many cores there are: XLA compiles for exactly that.
    pub fn add_host(&mut self) -> &mut Self {
        static HOST: OnceLock<String> = OnceLock::new();
        let host = HOST.get_or_init(|| {
            let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
            format!("{} {cores}\n{}", std::env::consts::ARCH, processor_features())
        });
        self.add(host.as_bytes())
    }

    fn digest(&self) -> [u8; 32] {
        self.0.clone().finalize().into()
    }

    fn name(&self) -> String {
        self.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// MLIR text without `loc(...)`; what stands inside quotes is left alone.
pub(super) fn without_locations(module: &str) -> String {
    const LOCATION: &str = "loc(";
    let mut kept = String::with_capacity(module.len());
    let mut rest = module;
    while let Some(at) = rest.find(['"', 'l']) {
        let (before, from_here) = rest.split_at(at);
        kept.push_str(before);
        let starts_word = !kept.ends_with(|c: char| c.is_alphanumeric() || "_$.%@#!".contains(c));
        let length = if from_here.starts_with('"') {
            text_length(from_here)
        } else if starts_word && from_here.starts_with(LOCATION) {
            rest = &from_here[location_length(from_here)..];
            continue;
        } else {
            1
        };
        let (token, after) = from_here.split_at(length);
        kept.push_str(token);
        rest = after;
    }
    kept + rest
}

/// Length of the quoted text that `module` begins with; a backslash takes the meaning off the next byte.
fn text_length(module: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in module.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !escaped => return at + 1,
            b'\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    module.len()
}

/// Length of the `loc(...)` that `module` begins with; it may have others and quoted texts inside.
fn location_length(module: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(&byte) = module.as_bytes().get(at) {
        match byte {
            b'"' => at += text_length(&module[at..]) - 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return at + 1,
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    module.len()
}

/// The lines of /proc/cpuinfo on the first processor that tell its model and features, on x86 and on arm.
fn processor_features() -> String {
    const TELLING: [&str; 8] = [
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "flags",
        "CPU implementer",
        "CPU part",
        "Features",
    ];
    let cpuinfo = files::read_text(Path::new("/proc/cpuinfo")).unwrap_or_default();
    let first = cpuinfo.split("\n\n").next().unwrap_or_default();
    let is_telling = |line: &&str| TELLING.contains(&line.split(':').next().unwrap_or_default().trim());
    first.lines().filter(is_telling).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    fn key(parts: &[&str]) -> Key {
        let mut key = Key::new();
        for part in parts {
            key.add(part.as_bytes());
        }
        key
    }

    #[test]
    fn parts_of_a_key_do_not_run_into_each_other() {
        assert_eq!(key(&["ab", "c"]).name(), key(&["ab", "c"]).name());
        assert_ne!(key(&["ab", "c"]).name(), key(&["a", "bc"]).name());
        assert_ne!(key(&["ab"]).name(), key(&["ab", ""]).name());
    }

    #[test]
    fn locations_do_not_count_but_quoted_text_does() {
        let strip = without_locations;
        assert_eq!(strip("a loc(\"x.rs\":1:2)\nb"), "a \nb");
        assert_eq!(strip("a loc(\"f(\\\"\"(callsite(\"y\":1:2 at #loc1))) c loc(unknown)"), "a  c ");
        assert_eq!(strip("#loc1 = loc(\"x\":1:2)\n"), "#loc1 = \n");
        let untouched = "@alloc(%x) {n = \"a loc(b) \\\" loc(c)\"} call @loc(%l) : locale";
        assert_eq!(strip(untouched), untouched);
        assert_eq!(strip("a \"open loc(b)"), "a \"open loc(b)");
        assert_eq!(strip("a loc(open"), "a ");
    }

    #[test]
    fn another_build_of_a_plugin_is_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugin.so");
        let name = |content: &str| {
            fs::write(&path, content).unwrap();
            Key::new().add_file_identity(&path).name()
        };
        assert_ne!(name("one"), name("three"));
    }

    #[test]
    fn the_entries_unused_for_longest_are_evicted() {
        let folder = tempfile::tempdir().unwrap();
        let entry_size = (HEADER_SIZE + 100) as u64;
        let cache = ProgramCache { size_limit: 2 * entry_size, ..ProgramCache::at(folder.path()) };
        let [a, b, c] = ["a", "b", "c"].map(|name| key(&[name]));
        cache.store(&a, &[1; 100]);
        cache.store(&b, &[2; 100]);
        // `a` is the older file, but was used last.
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        File::options().append(true).open(cache.path(&b).unwrap()).unwrap().set_modified(long_ago).unwrap();
        assert_eq!(cache.load(&a), Some(vec![1; 100]));
        cache.store(&c, &[3; 100]);
        assert_eq!(cache.load(&b), None);
        assert_eq!(cache.load(&a), Some(vec![1; 100]));
        assert_eq!(cache.load(&c), Some(vec![3; 100]));
    }

    /// Whatever else lies in the folder: `LOCKSTEP_CACHE_DIR` may be a home directory with a folder `programs`.
    #[test]
    fn files_of_others_are_not_evicted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ProgramCache { size_limit: 1, ..ProgramCache::at(folder.path()) };
        let theirs = ["thesis.program", "notes.txt", ".profile", &format!("{}.bak", key(&["b"]).name())];
        for name in theirs {
            fs::write(folder.path().join(name), [0; 1000]).unwrap();
        }
        let begun = folder.path().join(format!(".{}.program.1234.5", key(&["b"]).name()));
        fs::write(&begun, "").unwrap();
        File::options().append(true).open(&begun).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        cache.store(&key(&["a"]), &[1; 100]);
        assert!(theirs.iter().all(|name| folder.path().join(name).exists()));
        assert!(!begun.exists());
        assert!(!cache.path(&key(&["a"])).unwrap().exists());
    }

    #[test]
    fn an_entry_under_another_key_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = ProgramCache::at(folder.path());
        let [a, b] = ["a", "b"].map(|name| key(&[name]));
        cache.store(&a, &[1; 100]);
        fs::copy(cache.path(&a).unwrap(), cache.path(&b).unwrap()).unwrap();
        assert_eq!(cache.load(&b), None);
        assert_eq!(cache.load(&a), Some(vec![1; 100]));
    }

    #[cfg(unix)]
    #[test]
    fn what_others_can_write_is_no_entry() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let cache = ProgramCache::at(folder.path());
        let a = key(&["a"]);
        cache.store(&a, &[1; 100]);
        let open_to_all = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        open_to_all(&cache.path(&a).unwrap());
        assert_eq!(cache.load(&a), None);
        cache.store(&a, &[1; 100]);
        assert_eq!(cache.load(&a), Some(vec![1; 100]));
        open_to_all(folder.path());
        assert!(!ProgramCache::at(folder.path()).is_enabled());
    }
}
