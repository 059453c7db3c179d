//! What runs there are: the listing that every name in a request is looked up in.
//!
//! A listing lives for a second, so that many watchers cost no more than one; of a run that has ended what was read is kept until its
//! files change. Runs of a sweep lie in the directory of the sweep and are called `SWEEP/RUN`. A run that cannot be read is listed as
//! damaged, with the reason.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::answer::Failure;
use crate::sweep::journal::FILE as SWEEP;
use crate::trainer::overview::Overview;
use crate::trainer::run_dir;
use crate::trainer::status::{META, STATUS};

/// How long a listing holds.
const FRESH: Duration = Duration::from_secs(1);

/// The directories of runs, and what was found there.
pub struct Shelf {
    roots: Vec<PathBuf>,
    listed: Mutex<Option<(Instant, Arc<Listing>)>>,
}

/// The runs of a moment, by the names that requests use.
#[derive(Default)]
pub struct Listing {
    runs: BTreeMap<String, Found>,
}

struct Found {
    directory: PathBuf,
    stamp: Stamp,
    has_ended: bool,
    row: Arc<Value>,
}

/// When the files that a row is made of were written, and their lengths.
type Stamp = [Option<(SystemTime, u64)>; 3];

impl Shelf {
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, listed: Mutex::new(None) }
    }

    /// The runs as they are now or were a second ago.
    pub fn list(&self) -> Arc<Listing> {
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        match &*listed {
            Some((when, listing)) if when.elapsed() < FRESH => listing.clone(),
            before => {
                let before = before.as_ref().map(|(_, listing)| listing.clone()).unwrap_or_default();
                let listing = Arc::new(self.look(&before));
                *listed = Some((Instant::now(), listing.clone()));
                listing
            }
        }
    }

    /// The directory of a run, if the listing has one of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn directory(&self, id: &str) -> Result<PathBuf, Failure> {
        let listing = self.list();
        let found = listing.runs.get(id).ok_or_else(|| Failure::missing("run of that name"))?;
        Ok(found.directory.clone())
    }

    /// The directories of sweeps, by name.
    pub fn sweeps(&self) -> BTreeMap<String, PathBuf> {
        // Of two of a name the first directory's.
        let all = self.roots.iter().rev().flat_map(|root| sweeps_in(root));
        all.map(|sweep| (run_dir::name_of(&sweep), sweep)).collect()
    }

    fn look(&self, before: &Listing) -> Listing {
        let mut runs = BTreeMap::new();
        for (id, directory) in self.roots.iter().flat_map(|root| in_root(root)) {
            let stamp = stamp(&directory);
            let known = before.runs.get(&id).filter(|known| known.has_ended && known.stamp == stamp);
            let found = match known.filter(|known| known.directory == directory) {
                Some(known) => Found { row: known.row.clone(), has_ended: true, stamp, directory },
                None => {
                    let (row, has_ended) = row(&id, &directory);
                    Found { row: Arc::new(row), has_ended, stamp, directory }
                }
            };
            // Of two of a name the first directory's.
            runs.entry(id).or_insert(found);
        }
        Listing { runs }
    }
}

impl Listing {
    /// What is listed of each run, by name.
    pub fn rows(&self) -> impl Iterator<Item = (&String, &Arc<Value>)> {
        self.runs.iter().map(|(id, found)| (id, &found.row))
    }

    pub fn row(&self, id: &str) -> Option<&Arc<Value>> {
        self.runs.get(id).map(|found| &found.row)
    }

    /// The runs of a group, by name.
    pub fn group<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a String> {
        self.rows().filter(move |(_, row)| row["group"] == name).map(|(id, _)| id)
    }
}

/// The runs of a directory and of the sweeps in it, with their names.
fn in_root(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> =
        run_dir::runs(root).into_iter().map(|run| (run_dir::name_of(&run), run)).collect();
    for sweep in sweeps_in(root) {
        let name = run_dir::name_of(&sweep);
        found.extend(
            run_dir::runs(&sweep).into_iter().map(|run| (format!("{name}/{}", run_dir::name_of(&run)), run)),
        );
    }
    found
}

/// The sweeps of a directory.
fn sweeps_in(root: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.join(SWEEP).is_file())
}

fn stamp(directory: &Path) -> Stamp {
    [STATUS, META, "config.toml"].map(|name| stamp_of(&directory.join(name)))
}

/// When a file was written, and its length.
pub fn stamp_of(path: &Path) -> Option<(SystemTime, u64)> {
    let data = fs::metadata(path).ok()?;
    Some((data.modified().ok()?, data.len()))
}

/// A time as the pages' data tell it, UTC.
pub fn in_utc(time: SystemTime) -> Option<String> {
    let time = jiff::Timestamp::try_from(time).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// What the listing says of a run, and whether that stays so.
fn row(id: &str, directory: &Path) -> (Value, bool) {
    let config = run_dir::config(directory).unwrap_or_default();
    let setting = |name: &str| config.get(name).and_then(|value| serde_json::to_value(value).ok());
    let sweep = id.split_once('/').map(|(sweep, _)| sweep.to_owned());
    let mut row = Map::new();
    row.insert("id".into(), id.into());
    row.insert("run".into(), run_dir::name_of(directory).into());
    for name in ["env", "algo", "seed"] {
        row.insert(name.into(), json!(setting(name)));
    }
    row.insert("group".into(), json!(crate::trainer::find::group_of(directory).or(sweep)));
    match Overview::of(directory) {
        Ok(overview) => {
            row.extend(seen(&overview));
            (row.into(), !overview.life.is_live())
        }
        Err(_) if !directory.join(STATUS).exists() && run_dir::presence(directory).may_be_alive() => {
            row.insert("life".into(), "starting".into());
            (row.into(), false)
        }
        Err(error) => {
            row.insert("life".into(), "damaged".into());
            row.insert("error".into(), format!("{error:#}").into());
            (row.into(), false)
        }
    }
}

/// What is seen of a run whose status can be read. Times are absolute, so that a row changes only when the run does.
fn seen(overview: &Overview) -> Map<String, Value> {
    let status = &overview.status;
    let is_live = overview.life.is_live();
    let fields = json!({
        "life": overview.life,
        "error": status.error,
        "pid": overview.pid,
        "host": overview.host,
        "progress": overview.progress(),
        "return": overview.mean_return().filter(|value| value.is_finite()),
        "timesteps": status.timesteps,
        "total_timesteps": status.total_timesteps,
        "update": status.update,
        "num_updates": status.num_updates,
        "episodes": status.episodes,
        "steps_per_second": status.steps_per_second,
        "start_time": status.start_time,
        "last_heartbeat": status.last_heartbeat,
        "duration_seconds": (!is_live).then_some(milliseconds(overview.duration_seconds)),
        "memory_bytes": status.memory_bytes,
        "device_memory_bytes": status.device_memory_bytes,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => unreachable!("it is an object"),
    }
}

/// Seconds without digits that depend on the moment at which they were computed.
fn milliseconds(seconds: f64) -> f64 {
    (1e3 * seconds).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_run_is_listed_and_the_others_are_too() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[(&str, &str)]| {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            files.iter().for_each(|(file, text)| fs::write(dir.path().join(name).join(file), text).unwrap());
        };
        let status = r#"{"state":"completed","update":1,"num_updates":1,"timesteps":8,"total_timesteps":8,"episodes":1,
            "mean_return":2.5,"steps_per_second":3,"start_time":"2026-01-01T00:00:00Z","last_heartbeat":"2026-01-01T00:01:00Z"}"#;
        make(
            "good",
            &[
                ("config.toml", "env = \"x\"\nseed = 7"),
                (STATUS, status),
                (META, r#"{"id":"a","group":"g"}"#),
            ],
        );
        make("bad", &[("config.toml", "= ="), (STATUS, "{")]);
        make("none", &[("readme", "no run")]);
        make("sweep", &[(SWEEP, "")]);
        make("sweep/sweep-t1", &[("config.toml", ""), (STATUS, status)]);
        let shelf = Shelf::new(vec![dir.path().to_path_buf()]);
        let listing = shelf.list();
        let lives: Vec<_> =
            listing.rows().map(|(id, row)| (id.as_str(), row["life"].as_str().unwrap())).collect();
        assert_eq!(lives, [("bad", "damaged"), ("good", "completed"), ("sweep/sweep-t1", "completed")]);
        let good = listing.row("good").unwrap();
        assert_eq!((&good["env"], &good["seed"], &good["return"]), (&json!("x"), &json!(7), &json!(2.5)));
        assert_eq!(good["duration_seconds"], 60.0);
        assert!(listing.row("bad").unwrap()["error"].as_str().unwrap().contains("status.json"));
        assert_eq!(listing.group("g").collect::<Vec<_>>(), ["good"]);
        assert_eq!(listing.group("sweep").count(), 1);
        // What has ended is read again only when its files change.
        let again = shelf.look(&listing);
        assert!(Arc::ptr_eq(good, again.row("good").unwrap()));
        make("good", &[(STATUS, &status.replace("2.5", "3.5"))]);
        assert_eq!(shelf.look(&again).row("good").unwrap()["return"], 3.5);
        for id in ["..", "none", "good/", "../good", "", "/etc"] {
            assert_eq!(shelf.directory(id).unwrap_err().status, 404, "{id}");
        }
    }
}
