//! Who works on a run: the process says it in `owner.json`, and others judge by it whether the run may be alive.
//!
//! The advisory lock on the directory is the surest sign of a process, but where several machines share a folder a file
//! system may keep it from the others, or know no locks at all. So the record also says where the process runs, and is
//! renewed every few seconds by a thread of its own, however long a chunk takes. [`presence`] weighs these signs; all who
//! stop, resume, remove or list runs ask it.

use std::fs::{self, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::files::{open_directory, read_text};
use crate::trainer::files::write_atomically;
use crate::trainer::status::{host_name, now, seconds_since};

/// The record of the process that works on a run.
pub const OWNER: &str = "owner.json";

/// Seconds without a sign after which a process that cannot be looked at counts as gone.
pub const FRESH_SECONDS: f64 = 120.0;

/// How often the record is renewed.
const BEAT: Duration = Duration::from_secs(5);

/// A process and where it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub host: String,
    /// The boot of the host's kernel; empty where the system does not say.
    boot: String,
    /// Numbers of processes hold within it; empty where the system does not say.
    pid_namespace: String,
    pub pid: u32,
    /// When the process started, in the kernel's ticks since the boot: what tells it from a later one of its number.
    started: Option<u64>,
}

impl Process {
    /// This process.
    pub fn current() -> Self {
        let text = |path: &str| read_text(Path::new(path)).unwrap_or_default().trim().to_string();
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        let pid = std::process::id();
        Self {
            host: host_name(),
            boot: text("/proc/sys/kernel/random/boot_id"),
            pid_namespace: namespace.to_string_lossy().into_owned(),
            pid,
            started: start_of(pid),
        }
    }

    /// Whether it has ended, as far as this process can see: one of another machine cannot be looked at.
    pub fn is_gone(&self) -> bool {
        let here = Self::current();
        self.shares_numbers_with(&here) && !self.is_there(&here)
    }

    /// Whether both run under one kernel, so that each sees the locks of the other.
    fn shares_kernel_with(&self, other: &Self) -> bool {
        !self.boot.is_empty() && self.boot == other.boot && self.host == other.host
    }

    /// Whether both know a process by the same number.
    fn shares_numbers_with(&self, other: &Self) -> bool {
        self.boot == other.boot
            && !self.boot.is_empty()
            && self.pid_namespace == other.pid_namespace
            && !self.pid_namespace.is_empty()
    }

    /// Whether a process of this number and start is there, seen from `here`.
    fn is_there(&self, here: &Self) -> bool {
        self.shares_numbers_with(here) && self.started.is_some() && start_of(self.pid) == self.started
    }
}

/// When the process of that number started, in ticks since the boot.
fn start_of(pid: u32) -> Option<u64> {
    let stat = read_text(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    let (_, fields) = stat.rsplit_once(')')?; // the name before it may hold anything
    fields.split_whitespace().nth(19)?.parse().ok()
}

/// The content of `owner.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The id of the run.
    pub run: String,
    #[serde(flatten)]
    pub process: Process,
    /// Whether the process works on other runs, too.
    pub shared: bool,
    /// When this was written, UTC.
    pub heartbeat: String,
}

impl Owner {
    /// The record in a run directory, if there is one.
    pub fn read(run: &Path) -> Option<Self> {
        serde_json::from_str(&read_text(&run.join(OWNER)).ok()?).ok()
    }

    fn write(&self, run: &Path) -> Result<()> {
        let record = Self { heartbeat: now(), ..self.clone() };
        write_atomically(&run.join(OWNER), &serde_json::to_vec_pretty(&record)?)
    }

    /// Whether this is the record of the same process and run, whenever it was written.
    fn is_of_same(&self, other: &Self) -> bool {
        self.run == other.run && self.process == other.process
    }

    /// Seconds since the last sign of life. A clock that is far ahead counts as one that is far behind.
    pub fn silence(&self) -> f64 {
        seconds_since(&self.heartbeat).map_or(f64::INFINITY, f64::abs)
    }
}

/// What is known of the lock on a run directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lock {
    Held,
    Free,
    /// The file system has no locks.
    Unknown,
}

/// Whether a process works on a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// No process works on it.
    Gone,
    /// A process does, and has said which it is; or it has not yet.
    Alive(Option<Owner>),
    /// A process that cannot be looked at from here has given a sign of life not long ago.
    MayLive(Owner),
}

impl Presence {
    pub fn may_be_alive(&self) -> bool {
        *self != Presence::Gone
    }

    /// The process that works on the run, or may.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Presence::Gone => None,
            Presence::Alive(owner) => owner.as_ref(),
            Presence::MayLive(owner) => Some(owner),
        }
    }

    /// Who works on the run, as part of a sentence.
    pub fn describe(&self) -> String {
        match self.owner() {
            None => "another process".into(),
            Some(owner) if owner.process.shares_numbers_with(&Process::current()) => {
                format!("process {}", owner.process.pid)
            }
            Some(Owner { process: Process { pid, host, .. }, .. }) => format!("process {pid} on {host}"),
        }
    }
}

/// Whether a process may be working on the run in a directory, by all signs there are.
pub fn presence(run: &Path) -> Presence {
    let Ok(directory) = open_directory(run) else { return Presence::Gone };
    let lock = match directory.try_lock_shared() {
        Ok(()) => Lock::Free,
        Err(TryLockError::WouldBlock) => Lock::Held,
        Err(TryLockError::Error(_)) => Lock::Unknown,
    };
    judge(lock, Owner::read(run), &Process::current())
}

/// What lock and record come to, seen from `here`.
pub(super) fn judge(lock: Lock, owner: Option<Owner>, here: &Process) -> Presence {
    match owner {
        owner if lock == Lock::Held => Presence::Alive(owner),
        Some(owner) if owner.process.is_there(here) => Presence::Alive(Some(owner)),
        // Under one kernel a lock would be seen, and a number is known.
        Some(owner) if owner.process.shares_kernel_with(here) && lock == Lock::Free => Presence::Gone,
        Some(owner) if owner.process.shares_numbers_with(here) => Presence::Gone,
        Some(owner) if owner.silence() <= FRESH_SECONDS => Presence::MayLive(owner),
        _ => Presence::Gone,
    }
}

/// This process's record in a run directory, renewed as long as this lives and taken away afterwards.
#[derive(Debug)]
pub struct Claim {
    run: PathBuf,
}

/// The records of this process.
static CLAIMS: Mutex<Vec<(PathBuf, Owner)>> = Mutex::new(Vec::new());

impl Claim {
    /// Writes the record for the run `id` in a directory, whose lock this process has. `shared` says whether this
    /// process works on other runs, too.
    ///
    /// # Errors
    /// One line: the file cannot be written.
    pub fn make(run: &Path, id: &str, shared: bool) -> Result<Self> {
        static THREAD: Once = Once::new();
        let owner = Owner { run: id.into(), process: Process::current(), shared, heartbeat: String::new() };
        owner.write(run)?;
        CLAIMS.lock().unwrap_or_else(PoisonError::into_inner).push((run.to_path_buf(), owner));
        // Without the thread only those on other machines might take a long silence for the end of the run.
        THREAD.call_once(|| drop(thread::Builder::new().name("owner".into()).spawn(renew)));
        Ok(Self { run: run.to_path_buf() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = claims.iter().position(|(run, _)| *run == self.run) else { return };
        let (run, owner) = claims.swap_remove(place);
        if Owner::read(&run).is_some_and(|found| found.is_of_same(&owner)) {
            let _ = fs::remove_file(run.join(OWNER)); // whoever finds it finds no such process
        }
    }
}

/// Renews the records of this process for ever. One that is not there any more stays away: the directory was removed,
/// or is another's.
fn renew() {
    loop {
        thread::sleep(BEAT);
        for (run, owner) in &*CLAIMS.lock().unwrap_or_else(PoisonError::into_inner) {
            if Owner::read(run).is_some_and(|found| found.is_of_same(owner)) {
                let _ = owner.write(run); // the next one may succeed
            }
        }
    }
}

#[cfg(target_os = "linux")]
pub use signalling::terminate;

/// Sends SIGTERM, if the record is beyond doubt that of a process which works on this run and no other. Says
/// whether it did.
///
/// # Errors
/// The system does not allow it.
#[cfg(not(target_os = "linux"))]
pub fn terminate(_: &Owner, _: &Path) -> std::io::Result<bool> {
    Ok(false) // nothing here says which process holds a lock
}

#[cfg(target_os = "linux")]
mod signalling {
    use std::fs;
    use std::io;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    use super::{Owner, Process, read_text};

    /// Sends SIGTERM, if the record is beyond doubt that of a process which works on this run and no other. Says
    /// whether it did.
    ///
    /// # Errors
    /// The system does not allow it.
    pub fn terminate(owner: &Owner, run: &Path) -> io::Result<bool> {
        let Owner { process, shared, .. } = owner;
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw).filter(|_| !shared) else {
            return Ok(false);
        };
        // First, so that what is found out holds for the process that gets the signal.
        let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(false) };
        if !process.is_there(&Process::current()) || !holds_lock(process.pid, run) {
            return Ok(false);
        }
        pidfd_send_signal(handle, Signal::TERM)?;
        Ok(true)
    }

    /// Whether a process has the directory open, and locked.
    fn holds_lock(pid: u32, directory: &Path) -> bool {
        let Ok(wanted) = fs::metadata(directory) else { return false };
        let opened = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let is_wanted = |path: &Path| {
            fs::metadata(path).is_ok_and(|data| (data.dev(), data.ino()) == (wanted.dev(), wanted.ino()))
        };
        opened.filter(|entry| is_wanted(&entry.path())).any(|entry| {
            let number = entry.file_name();
            let facts = read_text(&Path::new(&format!("/proc/{pid}/fdinfo")).join(number));
            let is_lock = |line: &str| line.starts_with("lock:") && line.contains("WRITE");
            facts.is_ok_and(|facts| facts.lines().any(is_lock))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(process: Process, silence: i64) -> Owner {
        let time = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(silence);
        Owner { run: "abc".into(), process, shared: false, heartbeat: time.to_string() }
    }

    /// Every place that a record may come from, with every lock, heard of just now and long ago.
    #[test]
    fn what_may_live_is_not_called_gone() {
        let here =
            Process { boot: "this boot".into(), pid_namespace: "pid:[1]".into(), ..Process::current() };
        let dead = Process { pid: u32::MAX, ..here.clone() };
        let reused = Process { started: Some(1), ..here.clone() };
        let container = Process { pid_namespace: "pid:[2]".into(), ..here.clone() };
        let elsewhere = Process { host: "other".into(), boot: "other boot".into(), ..here.clone() };
        let unknown = Process { boot: String::new(), pid_namespace: String::new(), ..here.clone() };
        let seen = |process: &Process, lock, silence| match judge(
            lock,
            Some(owner(process.clone(), silence)),
            &here,
        ) {
            Presence::Gone => "gone",
            Presence::Alive(_) => "alive",
            Presence::MayLive(_) => "may live",
        };
        for (process, free, unlockable, silent) in [
            (&dead, "gone", "gone", "gone"),
            (&reused, "gone", "gone", "gone"),
            (&container, "gone", "may live", "gone"),
            (&elsewhere, "may live", "may live", "gone"),
            (&unknown, "may live", "may live", "gone"),
        ] {
            assert_eq!(seen(process, Lock::Held, 1000), "alive", "{process:?}");
            assert_eq!(seen(process, Lock::Free, 3), free, "{process:?}");
            assert_eq!(seen(process, Lock::Unknown, 3), unlockable, "{process:?}");
            assert_eq!(seen(process, Lock::Unknown, 1000), silent, "{process:?}");
            assert_eq!(seen(process, Lock::Unknown, -1000), silent, "a clock that is far ahead");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(seen(&here, Lock::Unknown, 1000), "alive", "its process is there");
        assert_eq!(judge(Lock::Held, None, &here), Presence::Alive(None));
        assert_eq!(judge(Lock::Free, None, &here), Presence::Gone);
    }

    #[test]
    fn a_claim_is_renewed_only_where_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let claim = Claim::make(dir.path(), "abc", false).unwrap();
        let record = Owner::read(dir.path()).unwrap();
        assert!(record.silence() < 60.0 && record.process.pid == std::process::id());
        // Another process has taken the directory meanwhile.
        let other = Owner { process: Process { pid: 7, ..record.process }, ..record };
        other.write(dir.path()).unwrap();
        drop(claim);
        assert_eq!(Owner::read(dir.path()).unwrap().process.pid, 7);
        drop(Claim::make(dir.path(), "abc", false).unwrap());
        assert!(!dir.path().join(OWNER).exists());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_the_process_that_holds_the_lock_is_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let innocent = |pid| Process { pid, started: start_of(pid), ..Process::current() };
        // Whose numbers would mean every process, a group of processes, or just somebody else.
        for pid in [u32::MAX, u32::MAX - child.id() + 1, 0, child.id()] {
            assert!(!terminate(&owner(innocent(pid), 0), dir.path()).unwrap(), "{pid}");
        }
        assert!(child.try_wait().unwrap().is_none());
        let process = innocent(child.id());
        let elsewhere = Process { boot: "another".into(), ..process.clone() };
        assert!(!process.is_gone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.is_gone() && !elsewhere.is_gone());
    }
}
