//! Run directories: who is working in one (`owner`), what new ones are called (`name`), what in them is a run's own
//! (`marks`), and the checkpoints inside (`checkpoints`).
//!
//! A run is a directory. The process that trains holds an advisory lock on it, which the system drops when the
//! process ends in whatever way; so "is it running?" has an answer even after a crash, a reboot or a reused
//! process number. For those who do not see the lock, it keeps a record of itself. The `pid` file is for people and
//! scripts only.

mod checkpoints;
mod marks;
mod name;
mod owner;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::checkpoint::Checkpoint;
use super::files::{self, write_atomically};
use super::settings::Settings;
use super::status::read_meta;
use crate::files::{open_directory, read_text};
use name::{cannot_make, is_taken};
use owner::{Claim, Lock, judge};

pub use checkpoints::{checkpoints, holder, keep_newest, numbered_files, params_beside};
use marks::is_own_file;
pub use marks::{has_marks, is_vacant};
pub use name::{check_is_new, new_name};
pub use owner::{OWNER, Owner, Presence, Process, presence, terminate};

/// The document that a run was begun by, if there was one.
pub const DOCUMENT: &str = "config.yaml";
/// The directory of checkpoints that are called by their steps.
pub const CHECKPOINTS: &str = "checkpoints";
/// The directory of agents that were frozen.
pub const POOL: &str = "pool";
/// A file of this name in its directory asks a run to save and end.
pub const STOP_FILE: &str = "stop";
/// A file of this name in its directory asks a run for a checkpoint.
pub const SAVE_FILE: &str = "save";

/// The directory of a run that this process is working on.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    id: String,
    /// Dropped before the lock is: nobody finds the record of a process that has let the run go.
    _claim: Claim,
    _lock: File,
}

impl RunDir {
    /// Makes the directory of a new run and takes it.
    ///
    /// # Errors
    /// One line if the directory cannot be made, or if a run of that name is there.
    pub fn create(settings: &Settings) -> Result<Self> {
        let parent = &settings.checkpoint_dir;
        fs::create_dir_all(parent).with_context(|| cannot_make(parent))?;
        loop {
            let name = new_name(settings)?;
            let path = parent.join(&name);
            let shared = settings.group.is_some();
            match fs::create_dir(&path) {
                Ok(()) => return Self::take(path, Some(new_id()?), shared),
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error).with_context(|| cannot_make(&path));
                }
                // Another process took the automatic name first: the next number is free.
                Err(_) if settings.run_name.is_none() => {}
                Err(_) if is_vacant(&path) => {
                    let lock = lock(&path)?;
                    marks::clear(&path)?;
                    return Self::claim(path, lock, new_id()?, shared);
                }
                Err(_) if name::can_be_reused(settings, &path) => {
                    let lock = lock(&path)?;
                    marks::set_aside(&path)?;
                    return Self::claim(path, lock, new_id()?, shared);
                }
                Err(_) => bail!(is_taken(&path)),
            }
        }
    }

    /// Takes the directory of an existing run.
    ///
    /// # Errors
    /// One line if it is not the directory of a run, if another process works in it or may, or if it is not writable.
    pub fn reopen(path: &Path) -> Result<Self> {
        marks::check_is_run(path)?;
        let run = Self::take(path.to_path_buf(), id_of(path), false)?;
        marks::remove_leftovers(path)?;
        Ok(run)
    }

    /// Takes a directory for the run `id`. One from before there were ids gets one now.
    fn take(path: PathBuf, id: Option<String>, shared: bool) -> Result<Self> {
        let lock = lock(&path)?;
        Self::claim(path, lock, id.map_or_else(new_id, Ok)?, shared)
    }

    fn claim(path: PathBuf, lock: File, id: String, shared: bool) -> Result<Self> {
        let claim = Claim::make(&path, &id, shared)?;
        write_atomically(&path.join("pid"), std::process::id().to_string().as_bytes())?;
        let _ = fs::remove_file(path.join(STOP_FILE)); // a request to stop was meant for an earlier process
        Ok(Self { path, id, _claim: claim, _lock: lock })
    }

    /// What tells this run from all others, also from those of its name in other directories and on other machines:
    /// `id` in `meta.json`, made when the run began and kept for ever.
    pub fn id(&self) -> &str {
        &self.id
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

    /// The checkpoint and the parameters of a moment that is called by its step.
    pub fn paths_by_step(&self, prefix: &str, step: u64) -> (PathBuf, PathBuf) {
        let path = |kind: &str| self.file(CHECKPOINTS).join(format!("{prefix}_{step}.{kind}"));
        (path("ckpt"), path("safetensors"))
    }

    /// Whether it was begun by a document.
    pub fn has_document(&self) -> bool {
        self.file(DOCUMENT).exists()
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
        self.path.join(STOP_FILE).exists()
    }

    /// Moves what was saved after `update`, in which the run had so many timesteps, to `superseded/`, so that the directory holds one
    /// history only. Gives the number of files moved.
    pub fn supersede_after(&self, update: u64, timesteps: u64) -> Result<usize> {
        let later = |name: &OsStr| {
            let name = name.to_string_lossy();
            let saved =
                numbered(&name, "checkpoint_", ".ckpt").or(numbered(&name, "params_", ".safetensors"));
            saved.or_else(|| end_of_phase(&self.path, &name)).is_some_and(|saved| saved > update)
                || name == "final_params.safetensors"
        };
        let names = entries(&self.path)?.into_iter().filter(|name| later(name));
        let mut moved: Vec<PathBuf> = names.map(|name| self.path.join(name)).collect();
        moved.extend(checkpoints::saved_after(&self.path, timesteps)?);
        let target = self.path.join("superseded");
        if !moved.is_empty() {
            files::make_own_directory(&target)?;
        }
        for from in &moved {
            fs::rename(from, target.join(from.file_name().unwrap_or_default()))
                .with_context(|| format!("cannot move {}", from.display()))?;
        }
        Ok(moved.len())
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

/// Locks a directory for this process. Somebody who just looks (see [`presence`]) holds it for an instant only.
fn lock(path: &Path) -> Result<File> {
    let directory = open_directory(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut lock = Lock::Held;
    for _ in 0..20 {
        match directory.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            Ok(()) => lock = Lock::Free,
            Err(TryLockError::Error(_)) => lock = Lock::Unknown,
        }
        if lock != Lock::Held {
            break;
        }
    }
    let run = name_of(path);
    match judge(lock, Owner::read(path), &Process::current()) {
        Presence::Gone => Ok(directory),
        presence @ Presence::Alive(_) => {
            bail!("the run {run} is being trained by {}; stop that first", presence.describe())
        }
        Presence::MayLive(owner) => bail!(
            "the run {run} may still be trained by process {} on {}, which has given a sign of life {:.0} s ago; stop \
             that first, or wait until it has been silent for {:.0} s",
            owner.process.pid,
            owner.process.host,
            owner.silence(),
            owner::FRESH_SECONDS
        ),
    }
}

/// Asks the process that works on a run for something, by making a file that it looks for after each chunk.
///
/// # Errors
/// One line: the file cannot be made.
pub fn ask_by_file(run: &Path, name: &str) -> Result<PathBuf> {
    let path = run.join(name);
    write_atomically(&path, b"")?;
    Ok(path)
}

/// Whether a directory looks like that of a run. To be changed by anybody but the run itself it must have a run's marks.
pub fn is_run(path: &Path) -> bool {
    path.join("config.toml").is_file() || has_marks(path)
}

/// The runs in a directory, by name; none if there is no such directory.
pub fn runs(checkpoint_dir: &Path) -> Vec<PathBuf> {
    let names = entries(checkpoint_dir).unwrap_or_default().into_iter();
    let mut runs: Vec<_> = names.map(|name| checkpoint_dir.join(name)).filter(|path| is_run(path)).collect();
    runs.sort();
    runs
}

/// The configuration of the run in a directory.
///
/// # Errors
/// One line: the file cannot be read, or is no TOML.
pub fn config(path: &Path) -> Result<toml::Table> {
    let path = path.join("config.toml");
    let text = read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().map_err(|error: toml::de::Error| {
        anyhow!("cannot understand {}: {}", path.display(), error.message().replace('\n', ", "))
    })
}

/// Removes a run and all its files.
///
/// # Errors
/// One line: it is no run, a process works on it or may, or a file cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    marks::check_is_run(path)?;
    let _lock = lock(path)?;
    fs::remove_dir_all(path).with_context(|| format!("cannot remove {}", path.display()))
}

/// The id of the run in a directory, as its `meta.json` says.
pub fn id_of(path: &Path) -> Option<String> {
    let meta = read_meta(path)?;
    let id = meta.get("id")?.as_str()?;
    let is_plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_plain.then(|| id.into())
}

/// An id that no other run has: 12 letters and digits, from the system's random numbers.
fn new_id() -> Result<String> {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut number = getrandom::u64().context("the system gives no random numbers")?;
    let mut digit = || {
        let digit = DIGITS[(number % 36) as usize];
        number /= 36;
        char::from(digit)
    };
    Ok((0..12).map(|_| digit()).collect())
}

/// The name of the run in a directory.
pub fn name_of(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    absolute.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The names in a directory, in no order.
fn entries(directory: &Path) -> Result<Vec<std::ffi::OsString>> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|e| Ok(e?.file_name())).collect());
    listed.with_context(|| format!("cannot list {}", directory.display()))
}

/// The number in `<prefix><number><suffix>`.
pub fn numbered(name: &str, prefix: &str, suffix: &str) -> Option<u64> {
    name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok()
}
