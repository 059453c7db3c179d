//! What a run tells others about itself: `status.json` while it lives, `meta.json` for ever.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::files::write_atomically;
use super::utilisation::{Gpu, Utilisation};
use crate::files;

/// What a run says of itself while it lives.
pub const STATUS: &str = "status.json";

/// Where a run comes from.
pub const META: &str = "meta.json";

/// What a run is doing, as it says itself. A run that says `running` may be dead: see `run_dir::presence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Running,
    Completed,
    Stopped,
    Failed,
}

/// What `status.json` of a run that was begun by a document says first: the same as below, in the document's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub status: State,
    pub step: u64,
    pub total_steps: u64,
    pub episode: u64,
}

/// The content of `status.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    #[serde(flatten, skip_serializing_if = "Option::is_none", default)]
    pub told: Option<Told>,
    /// When the process started, UTC.
    pub start_time: String,
    /// When this was written, UTC.
    pub last_heartbeat: String,
    /// The probability of a random action, if the learner explores so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epsilon: Option<f64>,
    pub state: State,
    pub update: u64,
    pub num_updates: u64,
    pub timesteps: u64,
    /// Those that the run will have when it is complete.
    pub total_timesteps: u64,
    pub episodes: u64,
    /// Mean return of the last hundred episodes that ended, if any did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean_return: Option<f64>,
    /// Environment steps per second since the process began to train.
    pub steps_per_second: f64,
    /// Memory of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_bytes: Option<u64>,
    /// Memory in use on the first device, where its plugin says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_memory_bytes: Option<u64>,
    /// How busy the machine is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub machine: Option<Machine>,
    /// Where the time of the process went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub phases: Option<Phases>,
    /// Why the run failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// How busy the machine of a run is; what the system does not say is left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Share of all processors that anybody uses, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_percent: Option<f64>,
    /// What the process uses of them, in percent of one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub process_percent: Option<f64>,
    /// Share of the memory that is in use, in percent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_percent: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub gpus: Vec<Gpu>,
}

impl Machine {
    /// With one digit after the point: more is noise.
    pub fn of(utilisation: &Utilisation) -> Self {
        let rounded = |percent: f64| (percent * 10.0).round() / 10.0;
        Self {
            cpu_percent: utilisation.cpu_percent.map(rounded),
            process_percent: utilisation.process_percent.map(rounded),
            memory_percent: utilisation.memory_percent().map(rounded),
            gpus: utilisation.gpus.clone(),
        }
    }
}

/// Seconds of a process since it began to train, by what they went into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Phases {
    /// Updates: the device computes.
    pub train: f64,
    /// Evaluations and replays.
    pub evaluate: f64,
    /// Checkpoints and parameters.
    pub save: f64,
    /// Rows of the logs.
    pub log: f64,
    pub other: f64,
}

impl Phases {
    /// The share of each, in percent.
    pub fn shares(&self) -> [(&'static str, f64); 5] {
        let Phases { train, evaluate, save, log, other } = *self;
        let total = (train + evaluate + save + log + other).max(1e-9);
        [("train", train), ("evaluate", evaluate), ("save", save), ("log", log), ("other", other)]
            .map(|(name, seconds)| (name, 100.0 * seconds / total))
    }
}

impl Status {
    /// Replaces `status.json` in the run directory.
    pub fn write(&self, run: &Path) -> Result<()> {
        write_atomically(&run.join(STATUS), &serde_json::to_vec_pretty(self)?)
    }

    /// Reads `status.json` of a run directory.
    pub fn read(run: &Path) -> Result<Self> {
        let path = run.join(STATUS);
        let text = files::read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
    }
}

/// What `meta.json` in the directory of a run says, if it is there and can be understood.
pub fn read_meta(run: &Path) -> Option<Map<String, Value>> {
    serde_json::from_str(&files::read_text(&run.join(META)).ok()?).ok()
}

/// The present moment, as ISO 8601 in UTC with whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()
}

/// The key in `meta.json` and in files of parameters of the program that trained them.
pub const PROGRAM: &str = "program";

/// The program that a run was trained by, if the run says so.
pub fn program_of(run: &Path) -> Option<String> {
    let meta: Value = serde_json::from_str(&files::read_text(&run.join(META)).ok()?).ok()?;
    Some(meta.get(PROGRAM)?.as_str()?.to_owned())
}

/// Seconds from a moment in ISO 8601 to now, negative if it is to come; nothing if it cannot be understood.
pub fn seconds_since(time: &str) -> Option<f64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(jiff::Timestamp::now().duration_since(time).as_secs_f64())
}

/// Writes `meta.json` of a new run: its id and where it comes from. `facts` adds what the caller knows of the device
/// and the program.
pub fn write_meta(run: &Path, id: &str, seed: u64, facts: &[(String, Value)]) -> Result<()> {
    let (git_commit, git_dirty) = git_state();
    let mut meta = Map::new();
    meta.insert("id".into(), id.into());
    meta.insert("command".into(), command_line().into());
    meta.insert("git_commit".into(), json!(git_commit));
    meta.insert("git_dirty".into(), git_dirty.into());
    meta.insert("seed".into(), seed.into());
    meta.insert("lockstep_version".into(), env!("CARGO_PKG_VERSION").into());
    meta.insert("start_time_iso".into(), now().into());
    meta.extend(facts.iter().cloned());
    write_atomically(&run.join(META), &serde_json::to_vec_pretty(&meta)?)
}

/// Adds to `meta.json` that the run `id` was continued from `update`.
pub fn add_resume_to_meta(run: &Path, id: &str, update: u64, facts: &[(String, Value)]) -> Result<()> {
    let path = run.join(META);
    let text = files::read_text(&path).unwrap_or_default(); // a checkpoint may lie in a directory of its own
    let mut meta: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    meta.insert("id".into(), id.into());
    let mut resume = Map::new();
    resume.insert("update".into(), update.into());
    resume.insert("command".into(), command_line().into());
    resume.insert("lockstep_version".into(), env!("CARGO_PKG_VERSION").into());
    resume.insert("start_time_iso".into(), now().into());
    resume.extend(facts.iter().cloned());
    let resumes = meta.entry("resumes").or_insert_with(|| json!([]));
    match resumes {
        Value::Array(list) => list.push(resume.into()),
        other => *other = json!([resume]),
    }
    write_atomically(&path, &serde_json::to_vec_pretty(&meta)?)
}

/// The name of this machine.
pub fn host_name() -> String {
    let known =
        files::read_text(Path::new("/proc/sys/kernel/hostname")).or_else(|_| std::env::var("HOSTNAME"));
    known
        .ok()
        .map(|name| name.trim().to_string())
        .filter(|name| !name.is_empty())
        .unwrap_or("localhost".into())
}

fn command_line() -> String {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

/// The commit of the current directory's repository, if there is one, and whether anything differs from it.
pub fn git_state() -> (Option<String>, bool) {
    git_state_of(Path::new("."))
}

/// Runs nothing that the repository's own configuration names: no monitor, no filters, no hooks, no submodules.
fn git_state_of(folder: &Path) -> (Option<String>, bool) {
    let mut settings: Vec<String> =
        ["core.fsmonitor=false", "core.hooksPath=/dev/null"].map(String::from).into();
    let git = |settings: &[String], args: &[&str]| {
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        let output = Command::new("git").arg("-C").arg(folder).args(settings).args(args).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_string();
        output.status.success().then_some(text)
    };
    // A user's own filters, such as those of large files, are none of the repository's: they stay.
    let filters = git(&settings, &["config", "--show-scope", "--name-only", "--get-regexp", r"^filter\."]);
    let of_repository = |line: &str| {
        let (scope, name) = line.split_once('\t')?;
        matches!(scope, "local" | "worktree").then(|| format!("{name}="))
    };
    settings.extend(filters.unwrap_or_default().lines().filter_map(of_repository));
    let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"];
    let dirty = git(&settings, &status).is_some_and(|text| !text.is_empty());
    (git(&settings, &["rev-parse", "HEAD"]), dirty)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trainer::utilisation::process_memory;

    #[test]
    fn a_status_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let status = Status {
            state: State::Running,
            update: 3,
            num_updates: 10,
            timesteps: 300,
            total_timesteps: 1000,
            episodes: 4,
            mean_return: Some(-1.5),
            steps_per_second: 12.5,
            start_time: now(),
            last_heartbeat: now(),
            memory_bytes: process_memory(),
            device_memory_bytes: None,
            machine: None,
            phases: None,
            told: None,
            epsilon: None,
            error: None,
        };
        status.write(dir.path()).unwrap();
        assert_eq!(Status::read(dir.path()).unwrap(), status);
        #[cfg(target_os = "linux")]
        assert!(status.memory_bytes.unwrap() > 1 << 20);
        let text = fs::read_to_string(dir.path().join("status.json")).unwrap();
        assert!(text.contains(r#""state": "running""#) && !text.contains("error"), "{text}");
        let time = &status.start_time;
        assert!(time.len() == 25 && time.ends_with("+00:00"), "{time}");
    }

    #[test]
    fn meta_remembers_every_start() {
        let dir = tempfile::tempdir().unwrap();
        write_meta(dir.path(), "abc", 7, &[("device".into(), "cpu".into())]).unwrap();
        add_resume_to_meta(dir.path(), "abc", 10, &[]).unwrap();
        add_resume_to_meta(dir.path(), "abc", 20, &[("device".into(), "cuda".into())]).unwrap();
        let text = fs::read_to_string(dir.path().join("meta.json")).unwrap();
        let meta: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&meta["id"], &meta["seed"]), (&"abc".into(), &7.into()));
        assert_eq!(meta["device"], "cpu");
        assert_eq!(meta["resumes"][0]["update"], 10);
        assert_eq!(meta["resumes"][1]["device"], "cuda");
    }

    /// A folder that was unpacked from somewhere may hold a repository whose configuration names programs.
    #[cfg(unix)]
    #[test]
    fn git_runs_no_program_of_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let user = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
            let status = Command::new("git").arg("-C").arg(dir.path()).args(user).args(args).status();
            assert!(status.unwrap().success(), "{args:?}");
        };
        git(&["init", "--quiet"]);
        fs::write(dir.path().join("file"), "1").unwrap();
        git(&["add", "file"]);
        git(&["commit", "--quiet", "--message=one"]);
        assert!(matches!(git_state_of(dir.path()), (Some(commit), false) if commit.len() == 40));
        let marker = dir.path().join("it_ran");
        let touch = format!("touch {}; cat", marker.display());
        for setting in ["core.fsmonitor", "filter.a.clean", "filter.a.process", "filter.a.smudge"] {
            git(&["config", setting, &touch]);
        }
        git(&["config", "filter.a.required", "true"]);
        fs::write(dir.path().join(".git/info/attributes"), "* filter=a\n").unwrap();
        fs::write(dir.path().join("file"), "2").unwrap();
        assert!(matches!(git_state_of(dir.path()), (Some(_), true)));
        assert!(!marker.exists());
    }
}
