//! Run directories: their names, who is working in one, and the checkpoints inside.
//!
//! A run is a directory. The process that trains holds an advisory lock on it, which the system drops when the
//! process ends in whatever way; so "is it running?" has an answer even after a crash, a reboot or a reused
//! process number. The `pid` file only says whom to signal.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use jiff::civil::Date;

use super::checkpoint::{self, Checkpoint};
use super::files::{self, directory_of, write_atomically};
use super::settings::Settings;

/// The directory of a run that this process is working on.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    _lock: File,
}

impl RunDir {
    /// Makes the directory of a new run and takes it.
    ///
    /// # Errors
    /// One line if the directory cannot be made, or if a run of that name is there.
    pub fn create(settings: &Settings) -> Result<Self> {
        let parent = &settings.checkpoint_dir;
        let cannot = |path: &Path| {
            format!("cannot make the run directory {}; choose another --checkpoint-dir", path.display())
        };
        fs::create_dir_all(parent).with_context(|| cannot(parent))?;
        loop {
            let name = new_name(settings)?;
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => return Self::take(path),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| cannot(&path));
                }
                // Another process took the automatic name first: the next number is free.
                Err(_) if settings.run_name.is_none() => {}
                Err(_) => bail!(is_taken(&path)),
            }
        }
    }

    /// Takes the directory of an existing run.
    ///
    /// # Errors
    /// One line if another process works in it, or if it is not writable.
    pub fn reopen(path: &Path) -> Result<Self> {
        let run = Self::take(path.to_path_buf())?;
        files::remove_leftovers(path).with_context(|| format!("cannot clean up {}", path.display()))?;
        Ok(run)
    }

    fn take(path: PathBuf) -> Result<Self> {
        let lock = lock(&path)?;
        write_atomically(&path.join("pid"), std::process::id().to_string().as_bytes())?;
        let _ = fs::remove_file(path.join("stop")); // a request to stop was meant for an earlier process
        Ok(Self { path, _lock: lock })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn checkpoint_path(&self, update: u64) -> PathBuf {
        self.file(&format!("checkpoint_{update}.ckpt"))
    }

    pub fn params_path(&self, update: u64) -> PathBuf {
        self.file(&format!("params_{update}.safetensors"))
    }

    /// The checkpoint of the moment at which a phase of the curriculum ended.
    pub fn phase_path(&self, phase: usize) -> PathBuf {
        self.file(&format!("phase_{phase}_complete.ckpt"))
    }

    /// The run's name, which is the directory's.
    pub fn name(&self) -> String {
        name_of(&self.path)
    }

    /// Whether somebody asked the run to stop by making a file `stop`.
    pub fn has_stop_file(&self) -> bool {
        self.path.join("stop").exists()
    }

    /// Moves what was saved after `update` to `superseded/`, so that the directory holds one history only.
    /// Gives the number of files moved.
    pub fn supersede_after(&self, update: u64) -> Result<usize> {
        let later = |name: &OsStr| {
            let name = name.to_string_lossy();
            let saved =
                numbered(&name, "checkpoint_", ".ckpt").or(numbered(&name, "params_", ".safetensors"));
            saved.or_else(|| end_of_phase(&self.path, &name)).is_some_and(|saved| saved > update)
                || name == "final_params.safetensors"
        };
        let names = entries(&self.path)?.into_iter().filter(|name| later(name)).collect::<Vec<_>>();
        let target = self.path.join("superseded");
        if !names.is_empty() {
            fs::create_dir_all(&target).with_context(|| format!("cannot make {}", target.display()))?;
        }
        for name in &names {
            let from = self.path.join(name);
            fs::rename(&from, target.join(name))
                .with_context(|| format!("cannot move {}", from.display()))?;
        }
        Ok(names.len())
    }
}

/// The update at which a phase ended, if this is the checkpoint of that; a damaged one is later than all.
fn end_of_phase(directory: &Path, name: &str) -> Option<u64> {
    numbered(name, "phase_", "_complete.ckpt")?;
    Some(Checkpoint::load(&directory.join(name)).map_or(u64::MAX, |checkpoint| checkpoint.progress.update))
}

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path.join("pid")); // the lock, not this file, says whether the run is alive
    }
}

/// Locks a directory for this process. Somebody who just looks (see [`is_running`]) holds it for an instant only.
fn lock(path: &Path) -> Result<File> {
    let directory = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    for _ in 0..20 {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            // Some network file systems know no locks; a run there is not protected.
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(directory),
        }
    }
    let who = match fs::read_to_string(path.join("pid")) {
        Ok(pid) => format!("process {}", pid.trim()),
        Err(_) => "another process".into(),
    };
    bail!("the run {} is being trained by {who}; stop that first", name_of(path))
}

/// Whether a process is training in this run directory.
pub fn is_running(path: &Path) -> bool {
    let Ok(directory) = File::open(path) else { return false };
    matches!(directory.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// Whether a directory is that of a run.
pub fn is_run(path: &Path) -> bool {
    path.join("config.toml").is_file()
}

/// The names of the runs in a directory, in no order; none if there is no such directory.
pub fn names(checkpoint_dir: &Path) -> Vec<String> {
    let names = entries(checkpoint_dir).unwrap_or_default().into_iter();
    names
        .filter(|name| is_run(&checkpoint_dir.join(name)))
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// The run that began last.
///
/// # Errors
/// One line if there is none.
pub fn latest(checkpoint_dir: &Path) -> Result<PathBuf> {
    let paths = names(checkpoint_dir).into_iter().map(|name| checkpoint_dir.join(name));
    let began = |path: &PathBuf| fs::metadata(path.join("config.toml")).and_then(|data| data.modified()).ok();
    match paths.max_by_key(began) {
        Some(path) => Ok(path),
        None => bail!("there is no run in {}", checkpoint_dir.display()),
    }
}

/// The configuration of the run in a directory.
///
/// # Errors
/// One line: the file cannot be read, or is no TOML.
pub fn config(path: &Path) -> Result<toml::Table> {
    let path = path.join("config.toml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|error: toml::de::Error| {
        anyhow!("cannot understand {}: {}", path.display(), error.message().replace('\n', ", "))
    })
}

/// Removes a run and all its files.
///
/// # Errors
/// One line: a process works on it, or a file cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    let _lock = lock(path)?;
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
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
        for file in [checkpoint, params] {
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

/// The name of the run in a directory.
pub fn name_of(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Refuses the name of a new run if there is one of that name.
///
/// # Errors
/// One line that says what to do.
pub fn check_is_new(settings: &Settings) -> Result<()> {
    let path = settings.run_name.as_ref().map(|name| settings.checkpoint_dir.join(name));
    match path.filter(|path| path.exists()) {
        Some(path) => bail!(is_taken(&path)),
        None => Ok(()),
    }
}

fn is_taken(path: &Path) -> String {
    let (name, other) = (name_of(path), other_way(path));
    format!("there is a run {name} already; choose another --run-name, or {other}")
}

/// What to do with a run that is in the way of a new one: continue it, if it has saved anything.
fn other_way(path: &Path) -> String {
    match checkpoints(path).is_ok_and(|found| !found.is_empty()) {
        true => format!("continue it with --resume {}", path.display()),
        false => format!("remove it, for it has no checkpoint: lockstep runs rm {}", path.display()),
    }
}

/// What a new run, or group of runs, with these settings will be called.
///
/// # Errors
/// One line if the directory of the runs cannot be read.
pub fn new_name(settings: &Settings) -> Result<String> {
    if let Some(name) = &settings.run_name {
        return Ok(name.clone());
    }
    let directory = &settings.checkpoint_dir;
    let existing = if directory.is_dir() { entries(directory)? } else { Vec::new() };
    let existing = existing.iter().map(|name| name.to_string_lossy());
    Ok(next_name(existing, &settings.env, jiff::Zoned::now().date(), settings.run_suffix.as_deref()))
}

/// `<env>-<mon><dd>-<yy>-<N>[-suffix]`, where N is one more than the largest number of that day.
fn next_name(
    existing: impl Iterator<Item = impl AsRef<str>>,
    env: &str,
    date: Date,
    suffix: Option<&str>,
) -> String {
    let prefix = format!("{env}-{}-", date.strftime("%b%d-%y")).to_lowercase();
    let number = |name: &str| -> Option<u64> {
        let rest = name.strip_prefix(&prefix)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok()
    };
    let largest = existing.filter_map(|name| number(name.as_ref())).max().unwrap_or(0);
    let suffix = suffix.map(|text| format!("-{text}")).unwrap_or_default();
    format!("{prefix}{}{suffix}", largest + 1)
}

/// The names in a directory, in no order.
fn entries(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|e| Ok(e?.file_name())).collect());
    listed.with_context(|| format!("cannot list {}", directory.display()))
}

/// The number in `<prefix><number><suffix>`.
fn numbered(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}

/// The checkpoints of a run directory, oldest first, each with its update.
pub fn checkpoints(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let update = |name: &OsStr| numbered(&name.to_string_lossy(), "checkpoint_", ".ckpt");
    let names = entries(directory)?;
    let mut found: Vec<_> =
        names.iter().filter_map(|name| Some((update(name)?, directory.join(name)))).collect();
    found.sort();
    Ok(found)
}

/// A checkpoint to continue from.
#[derive(Clone, Debug)]
pub struct Resumed {
    pub path: PathBuf,
    pub checkpoint: Checkpoint,
    /// Whether the history at W&B is to end at the checkpoint, too. Without, it goes on after its last step.
    pub rewind: bool,
}

impl Resumed {
    /// Loads what `--resume` names: a checkpoint, a run directory or a run's name (its newest checkpoint), or
    /// `latest` (the newest checkpoint of all runs).
    ///
    /// # Errors
    /// One line: nothing there, or why the file cannot be loaded and which older one to take instead.
    pub fn open(request: &Path, checkpoint_dir: &Path) -> Result<Self> {
        let path = find_checkpoint(request, checkpoint_dir)?;
        match Checkpoint::load(&path) {
            Ok(checkpoint) => Ok(Self { path, checkpoint, rewind: false }),
            Err(error) => match older_checkpoint(&path) {
                Some(older) if error.is_damage() => {
                    bail!("{error}; the one before it is {}", older.display())
                }
                _ => bail!(error),
            },
        }
    }

    /// The directory of the run.
    pub fn directory(&self) -> &Path {
        directory_of(&self.path)
    }
}

fn find_checkpoint(request: &Path, checkpoint_dir: &Path) -> Result<PathBuf> {
    let by_name = checkpoint_dir.join(request);
    if request.is_file() {
        Ok(request.to_path_buf())
    } else if request.is_dir() {
        newest_in(request)
    } else if request == Path::new("latest") {
        newest_of_all(checkpoint_dir)
    } else if by_name.is_dir() {
        newest_in(&by_name)
    } else {
        bail!(checkpoint::Error::Missing(request.into()))
    }
}

fn newest_in(run: &Path) -> Result<PathBuf> {
    match checkpoints(run)?.pop() {
        Some((_, path)) => Ok(path),
        None => bail!("there is no checkpoint in {}", run.display()),
    }
}

fn newest_of_all(checkpoint_dir: &Path) -> Result<PathBuf> {
    let mut newest: Option<(SystemTime, PathBuf)> = None;
    for run in if checkpoint_dir.is_dir() { entries(checkpoint_dir)? } else { Vec::new() } {
        let Ok(mut found) = checkpoints(&checkpoint_dir.join(run)) else { continue }; // no directory
        let Some((_, path)) = found.pop() else { continue };
        let modified = fs::metadata(&path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        if newest.as_ref().is_none_or(|(time, _)| modified > *time) {
            newest = Some((modified, path));
        }
    }
    match newest {
        Some((_, path)) => Ok(path),
        None => bail!("there is no checkpoint in any run of {}", checkpoint_dir.display()),
    }
}

/// The newest checkpoint beside `path` that is older and loads.
fn older_checkpoint(path: &Path) -> Option<PathBuf> {
    let update = numbered(&path.file_name()?.to_string_lossy(), "checkpoint_", ".ckpt")?;
    let older = checkpoints(directory_of(path)).ok()?.into_iter().rev().filter(|(other, _)| *other < update);
    older.map(|(_, path)| path).find(|path| Checkpoint::load(path).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::progress::Progress;

    #[test]
    fn names_count_up_within_a_day() {
        let date = jiff::civil::date(2026, 1, 5);
        let name = |existing: &[&str], suffix| next_name(existing.iter(), "hackmatrix", date, suffix);
        assert_eq!(name(&[], None), "hackmatrix-jan05-26-1");
        let existing = [
            "hackmatrix-jan05-26-1",
            "hackmatrix-jan05-26-12-wide",
            "hackmatrix-jan04-26-40",
            "cartpole-jan05-26-99",
            "hackmatrix-jan05-26-x",
            "README.md",
        ];
        assert_eq!(name(&existing, None), "hackmatrix-jan05-26-13");
        assert_eq!(name(&existing, Some("lr")), "hackmatrix-jan05-26-13-lr");
    }

    fn settings(dir: &Path, name: Option<&str>) -> Settings {
        Settings {
            checkpoint_dir: dir.join("checkpoints"),
            run_name: name.map(String::from),
            ..Settings::default()
        }
    }

    const MOMENT: std::time::Duration = std::time::Duration::from_millis(20);

    #[test]
    fn a_name_is_used_once_and_a_run_has_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunDir::create(&settings(dir.path(), None)).unwrap();
        let second = RunDir::create(&settings(dir.path(), None)).unwrap();
        assert!(first.name().ends_with("-1") && second.name().ends_with("-2"));
        let pid = std::process::id().to_string();
        assert_eq!(fs::read_to_string(first.file("pid")).unwrap(), pid);
        assert!(is_running(first.path()));
        let error = RunDir::reopen(first.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the run {} is being trained by process {pid}; stop that first", first.name())
        );

        let path = first.path().to_path_buf();
        drop(first);
        assert!(!path.join("pid").exists());
        // A process that another test is just starting holds the lock for a moment, until it becomes its program.
        let free = || {
            (0..100).any(|_| {
                !is_running(&path) || {
                    std::thread::sleep(MOMENT);
                    false
                }
            })
        };
        assert!(free());
        fs::write(path.join("stop"), "").unwrap();
        assert!(!RunDir::reopen(&path).unwrap().has_stop_file());

        let named = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap();
        assert_eq!(named.name(), "mine");
        let error = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap_err().to_string();
        assert!(
            error.starts_with("there is a run mine already; choose another --run-name, or remove it"),
            "{error}"
        );
        save(named.path(), 3);
        let error = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("or continue it with --resume {}", named.path().display())),
            "{error}"
        );
    }

    #[test]
    fn a_place_where_nothing_can_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("checkpoints"), "a file").unwrap();
        let error = format!("{:#}", RunDir::create(&settings(dir.path(), None)).unwrap_err());
        assert!(error.starts_with("cannot make the run directory"), "{error}");
        assert!(error.contains("choose another --checkpoint-dir"), "{error}");
    }

    fn save(directory: &Path, update: u64) -> PathBuf {
        fs::create_dir_all(directory).unwrap();
        let path = directory.join(format!("checkpoint_{update}.ckpt"));
        let progress = Progress { update, ..Progress::new(&[]) };
        let checkpoint =
            Checkpoint { config: String::new(), env: "x".into(), progress, state: Vec::new(), best: None };
        checkpoint.save(&path).unwrap();
        path
    }

    #[test]
    fn resume_finds_files_directories_names_and_the_latest() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for update in [9, 10, 100] {
            save(&root.join("a"), update);
        }
        std::thread::sleep(Duration::from_millis(20));
        save(&root.join("b"), 5);
        fs::write(root.join("b/checkpoint_x.ckpt"), "").unwrap();
        let update = |request: &Path| Resumed::open(request, root).unwrap().checkpoint.progress.update;
        assert_eq!(update(&root.join("a/checkpoint_9.ckpt")), 9);
        assert_eq!(update(&root.join("a")), 100);
        assert_eq!(update(Path::new("a")), 100);
        assert_eq!(update(Path::new("latest")), 5);
        let message = |request: &str| Resumed::open(Path::new(request), root).unwrap_err().to_string();
        assert_eq!(message("c"), "there is no checkpoint c");
        fs::create_dir(root.join("empty")).unwrap();
        assert!(message("empty").starts_with("there is no checkpoint in "));
        let none = Resumed::open(Path::new("latest"), &root.join("none")).unwrap_err().to_string();
        assert!(none.starts_with("there is no checkpoint in any run of "), "{none}");
    }

    #[test]
    fn a_damaged_newest_checkpoint_names_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for update in [10, 20, 30] {
            save(root, update);
        }
        for update in [20, 30] {
            fs::write(root.join(format!("checkpoint_{update}.ckpt")), "LOCKSTEP\x01\0\0\0").unwrap();
        }
        let error = Resumed::open(root, root).unwrap_err().to_string();
        let (newest, good) = (root.join("checkpoint_30.ckpt"), root.join("checkpoint_10.ckpt"));
        assert!(error.starts_with(&format!("{} is truncated", newest.display())), "{error}");
        assert!(error.ends_with(&format!("the one before it is {}", good.display())), "{error}");
    }

    #[test]
    fn later_files_are_moved_not_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&settings(dir.path(), Some("r"))).unwrap();
        for update in [10, 20, 30] {
            fs::write(run.checkpoint_path(update), "c").unwrap();
            fs::write(run.params_path(update), "p").unwrap();
        }
        fs::write(run.file("final_params.safetensors"), "f").unwrap();
        assert_eq!(run.supersede_after(20).unwrap(), 3);
        assert!(run.checkpoint_path(20).exists() && !run.checkpoint_path(30).exists());
        for name in ["checkpoint_30.ckpt", "params_30.safetensors", "final_params.safetensors"] {
            assert!(run.file("superseded").join(name).exists());
        }
        assert_eq!(run.supersede_after(20).unwrap(), 0);
    }
}
