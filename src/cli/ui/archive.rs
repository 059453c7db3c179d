//! What there is of evaluations by lives and of reports on them: the listing that their names in requests are looked up in.
//!
//! They lie in the places that are served. An evaluation is a file of results or of a course, and has the name of the file of results
//! without its ending; a report is a directory with a text, there or in the directory of reports. A link may lead anywhere, and is none of
//! both. What was read of results is kept until the file changes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::{Context, Result};
use serde_json::Value;

use super::answer::Failure;
use super::outcome::told;
use super::shelf::stamp_of;
use crate::cli::App;
use crate::cli::survival::course::SUFFIX;
use crate::cli::survival::summary::Summary;
use crate::cli::survival::{FIGURES, REPORT, REPORTS, RESULTS};
use crate::files;

const RESULTS_ENDING: &str = ".json";
const FIGURE_ENDING: &str = ".png";

/// The places, and what was read there.
pub struct Archive {
    places: Vec<PathBuf>,
    app: App,
    kept: Mutex<BTreeMap<PathBuf, (Stamp, Reading)>>,
}

/// When a file was written, and its length.
type Stamp = (SystemTime, u64);

/// What a file of results says; nothing if it is a file of something else; or why it cannot be read.
pub type Reading = Result<Option<Arc<Value>>, String>;

/// The files of an evaluation, of which one is there at least.
#[derive(Default)]
pub struct Evaluation {
    pub results: Option<PathBuf>,
    pub course: Option<PathBuf>,
}

impl Archive {
    pub fn new(places: Vec<PathBuf>, app: App) -> Self {
        Self { places, app, kept: Mutex::default() }
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// The evaluations by name.
    pub fn evaluations(&self) -> BTreeMap<String, Evaluation> {
        // Of two of a name the first place's.
        self.places.iter().rev().flat_map(|place| self.evaluations_in(place)).collect()
    }

    fn evaluations_in(&self, place: &Path) -> BTreeMap<String, Evaluation> {
        let mut here: BTreeMap<String, Evaluation> = BTreeMap::new();
        for path in files_in(place, RESULTS_ENDING) {
            let stem = stem_of(&path);
            match stem.strip_suffix(SUFFIX) {
                Some(stem) => here.entry(stem.to_owned()).or_default().course = Some(path),
                None if matches!(self.read(&path), Ok(None)) => {}
                None => here.entry(stem).or_default().results = Some(path),
            }
        }
        here
    }

    /// # Errors
    /// There is none of that name.
    pub fn evaluation(&self, name: &str) -> Result<Evaluation, Failure> {
        self.evaluations().remove(name).ok_or_else(|| Failure::missing("evaluation of that name"))
    }

    /// What a file of results says.
    pub fn read(&self, path: &Path) -> Reading {
        let Some(stamp) = stamp_of(path) else { return Err(format!("{} is gone", path.display())) };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reading)) = kept.get(path).filter(|(known, _)| *known == stamp) {
            return reading.clone();
        }
        let reading = self.look_at(path).map(|told| told.map(Arc::new)).map_err(|error| format!("{error:#}"));
        kept.retain(|path, _| path.exists());
        kept.insert(path.to_path_buf(), (stamp, reading.clone()));
        reading
    }

    fn look_at(&self, path: &Path) -> Result<Option<Value>> {
        let text = files::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        let wrong = || format!("cannot understand {}", path.display());
        let document: Value = serde_json::from_str(&text).with_context(wrong)?;
        if !document["results"].is_object() {
            return Ok(None); // neither has the file of one kind of agents, beside the results
        }
        let summary = Summary::read(&self.app, &document).with_context(wrong)?;
        Ok(Some(told(&document, &summary)))
    }

    /// The directories of reports by name.
    pub fn reports(&self) -> BTreeMap<String, PathBuf> {
        let inner = Path::new(REPORTS).file_name().unwrap_or_default();
        // Of two of a name the first place's, and there the one that is not in the directory of reports.
        let folders = self.places.iter().rev().flat_map(|place| [place.join(inner), place.clone()]);
        let reports = folders.flat_map(|folder| reports_in(&folder));
        reports.map(|report| (name_of(&report), report)).collect()
    }

    /// The files of a report by name: the text, the results and the figures.
    ///
    /// # Errors
    /// There is no report of that name.
    pub fn report(&self, name: &str) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let report = self.reports().remove(name).ok_or_else(|| Failure::missing("report of that name"))?;
        let figures = report.join(FIGURES);
        let figures = if is_own_directory(&figures) { files_in(&figures, FIGURE_ENDING) } else { vec![] };
        let texts =
            [REPORT, RESULTS].map(|name| report.join(name)).into_iter().filter(|path| is_own_file(path));
        Ok(texts.chain(figures).map(|path| (name_of(&path), path)).collect())
    }
}

/// The reports directly in a directory.
fn reports_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_own_directory(path) && is_own_file(&path.join(REPORT))).collect()
}

/// The files directly in a directory whose names end so.
fn files_in(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_meant = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(ending) && !name.starts_with('.')) && is_own_file(path)
    };
    entries.filter(is_meant).collect()
}

/// Whether it is a file, and no link to one.
fn is_own_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_file())
}

fn is_own_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn stem_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_files_and_directories_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("secret.json", r#"{"results":{}}"#);
        write("here/all.json", r#"{"results":{},"env":"none"}"#);
        write("here/all_proxy.json", r#"{"config":{},"aggregates":{}}"#);
        write("here/all_progress.json", "{}");
        write("here/begun_progress.json", "{}");
        write("here/broken.json", "{");
        write("here/notes.txt", "");
        write("here/reports/first/report.md", "# First");
        write("here/reports/first/results.json", "{}");
        write("here/reports/first/figures/a_dark.png", "");
        write("here/reports/first/figures/a.html", "");
        write("here/reports/none/results.json", "{}");
        write("here/second/report.md", "# Second");
        #[cfg(unix)]
        {
            use std::os::unix::fs::symlink;
            symlink(dir.path().join("secret.json"), dir.path().join("here/link.json")).unwrap();
            symlink(dir.path().join("here/second"), dir.path().join("here/third")).unwrap();
            symlink(dir.path().join("secret.json"), dir.path().join("here/second/results.json")).unwrap();
            symlink(dir.path(), dir.path().join("here/second/figures")).unwrap();
        }
        let archive = Archive::new(vec![dir.path().join("here"), dir.path().join("nowhere")], App::new("x"));
        let evaluations = archive.evaluations();
        let names: Vec<_> = evaluations
            .iter()
            .map(|(name, found)| (name.as_str(), found.results.is_some(), found.course.is_some()))
            .collect();
        assert_eq!(names, [("all", true, true), ("begun", false, true), ("broken", true, false)]);
        let why = |name: &str| archive.read(evaluations[name].results.as_ref().unwrap()).unwrap_err();
        assert!(why("all").contains("all.json") && why("broken").contains("broken.json"));
        assert_eq!(archive.reports().into_keys().collect::<Vec<_>>(), ["first", "second"]);
        let files = |name: &str| archive.report(name).unwrap().into_keys().collect::<Vec<_>>();
        assert_eq!(files("first"), ["a_dark.png", "report.md", "results.json"]);
        assert_eq!(files("second"), ["report.md"]);
        for name in ["..", "", "../secret", "link", "/etc", "first/", "none", "third"] {
            assert!(archive.evaluation(name).is_err() && archive.report(name).is_err(), "{name}");
        }
        // A file that was written anew is read anew.
        write("here/broken.json", r#"{"config":{}}"#);
        assert!(archive.evaluation("broken").is_err());
    }
}
