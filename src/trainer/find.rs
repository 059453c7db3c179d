//! What a user names: one reading of a run, `latest`, a directory, a checkpoint or a file of parameters for all commands.
//!
//! A plain name is that of a run in the checkpoint directory; then come paths, also those from the checkpoint directory on.
//! What is found is brought to what the command works on: [`run`] gives the run that a file lies in, [`checkpoint`] and
//! [`params`] the newest file of a run. `latest` is the run that a process began to work on last, of those that have what
//! the command needs. A name that is nothing is answered with the nearest one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use super::files::directory_of;
use super::params::{find_params, params_of_run};
use super::run_dir::{self, checkpoints, holder, is_run, name_of};
use super::status;
use crate::names::nearest;

/// A name that is nothing: the user's mistake. One line, with the nearest name that is known.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unknown(String);

/// The name of the run that began last.
const LATEST: &str = "latest";
/// How many files or runs a message lists.
const MOST_LISTED: usize = 4;

/// What is there under a name.
enum Found {
    Run(PathBuf),
    Directory(PathBuf),
    File(PathBuf),
}

/// The directory of the run that is named: by its name, its directory or a file in it, or as `latest`.
///
/// # Errors
/// One line; [`Unknown`] if there is no such run.
pub fn run(request: impl AsRef<Path>, checkpoint_dir: &Path) -> Result<PathBuf> {
    let request = request.as_ref();
    if request == Path::new(LATEST) {
        return latest(checkpoint_dir, |run| Some(run.to_path_buf()))
            .with_context(|| format!("there is no run in {}", checkpoint_dir.display()));
    }
    match look(request, checkpoint_dir, "run", &[])? {
        Found::Run(run) => Ok(run),
        Found::File(file) if is_run(holder(&file)) => Ok(holder(&file).to_path_buf()),
        Found::File(path) | Found::Directory(path) => Err(no_run(&path, checkpoint_dir, &[])),
    }
}

/// As [`run`], but the name of a group (`train --num-seeds`) stands for all its runs.
///
/// # Errors
/// As [`run`].
pub fn runs(request: impl AsRef<Path>, checkpoint_dir: &Path) -> Result<Vec<PathBuf>> {
    let request = request.as_ref();
    let members = group(request, checkpoint_dir);
    if members.is_empty() { Ok(vec![run(request, checkpoint_dir)?]) } else { Ok(members) }
}

/// The checkpoint that is named: the file itself, or the newest of a run or a directory.
///
/// # Errors
/// One line; [`Unknown`] if there is nothing of that name.
pub fn checkpoint(request: impl AsRef<Path>, checkpoint_dir: &Path) -> Result<PathBuf> {
    let newest = |run: &Path| Some(checkpoints(run).ok()?.pop()?.1);
    let request = request.as_ref();
    if request == Path::new(LATEST) {
        return latest(checkpoint_dir, newest)
            .with_context(|| format!("there is no checkpoint in any run of {}", checkpoint_dir.display()));
    }
    match look(request, checkpoint_dir, "checkpoint", &[])? {
        Found::Run(run) | Found::Directory(run) => {
            newest(&run).with_context(|| format!("there is no checkpoint in {}", run.display()))
        }
        Found::File(file) if has_extension(&file, "safetensors") => {
            let run = holder(&file);
            let of_run = newest(run).map_or(String::new(), |_| format!("; its run is {}", run.display()));
            bail!("{} holds parameters only, from which no training can continue{of_run}", file.display())
        }
        Found::File(file) => Ok(file),
    }
}

/// The parameters that are named: the file itself, which may be a checkpoint, or those of a run or a directory: the final
/// ones, else the newest.
///
/// # Errors
/// One line; [`Unknown`] if there is nothing of that name. The nearest name may be one of `others`, which the caller knows.
pub fn params(request: impl AsRef<Path>, checkpoint_dir: &Path, others: &[String]) -> Result<PathBuf> {
    let none = |directory: &Path| {
        format!("there are no parameters in {}; `lockstep train` makes some", directory.display())
    };
    let newest = |directory: &Path| find_params(directory).into_iter().next();
    let request = request.as_ref();
    if request == Path::new(LATEST) {
        let found = latest(checkpoint_dir, params_of_run).or_else(|| newest(checkpoint_dir));
        return found.with_context(|| none(checkpoint_dir));
    }
    match look(request, checkpoint_dir, "file of parameters", others)? {
        Found::Run(run) => params_of_run(&run).with_context(|| none(&run)),
        Found::Directory(directory) => {
            let found = latest(&directory, params_of_run).or_else(|| newest(&directory));
            found.or_else(|| params_of_run(&directory)).with_context(|| none(&directory))
        }
        Found::File(file) => Ok(file),
    }
}

/// The runs of a group, by name; none if there is no such group.
fn group(name: &Path, checkpoint_dir: &Path) -> Vec<PathBuf> {
    let Some(name) = name.to_str() else { return Vec::new() };
    let mut found: Vec<PathBuf> = run_dir::runs(checkpoint_dir)
        .into_iter()
        .filter(|run| text(run).strip_prefix(name).is_some_and(|rest| rest.starts_with("-s")))
        .filter(|run| group_of(run).as_deref() == Some(name))
        .collect();
    found.sort_by_key(|run| {
        run.to_string_lossy().rsplit("-s").next().and_then(|seed| seed.parse::<u64>().ok())
    });
    found
}

/// The group that a run is one agent of.
pub fn group_of(run: &Path) -> Option<String> {
    let meta = status::read_meta(run)?;
    Some(meta.get("group")?.as_str()?.to_owned())
}

/// What is there under a name or path; `what` is wanted.
fn look(request: &Path, checkpoint_dir: &Path, what: &str, others: &[String]) -> Result<Found> {
    let named = checkpoint_dir.join(request);
    if is_run(&named) {
        return Ok(Found::Run(named));
    }
    for candidate in [request.to_path_buf(), named] {
        if is_run(&candidate) {
            return Ok(Found::Run(candidate));
        } else if candidate.is_dir() {
            return Ok(Found::Directory(candidate));
        } else if candidate.exists() {
            return Ok(Found::File(candidate));
        }
    }
    let is_file = ["ckpt", "safetensors"].iter().any(|extension| has_extension(request, extension));
    if is_file || request.components().count() > 1 {
        bail!("there is no {what} {}{}", request.display(), what_there_is(request));
    }
    Err(no_run(request, checkpoint_dir, others))
}

/// The newest run for which `has` gives something, and what that is.
fn latest<T>(checkpoint_dir: &Path, has: impl Fn(&Path) -> Option<T>) -> Option<T> {
    // `config.toml` is written when a process begins to work on the run.
    let began = |run: &Path| fs::metadata(run.join("config.toml")).and_then(|data| data.modified());
    let mut runs: Vec<(SystemTime, PathBuf)> = run_dir::runs(checkpoint_dir)
        .into_iter()
        .map(|run| (began(&run).unwrap_or(SystemTime::UNIX_EPOCH), run))
        .collect();
    runs.sort();
    runs.into_iter().rev().find_map(|(_, run)| has(&run))
}

/// That a name is no run's: with the runs of the group of that name, or the nearest name.
fn no_run(request: &Path, checkpoint_dir: &Path, others: &[String]) -> anyhow::Error {
    let named = request.display();
    let members = group(request, checkpoint_dir);
    if !members.is_empty() {
        let names: Vec<String> = members.iter().map(|run| name_of(run)).collect();
        let members = listed(&names);
        return Unknown(format!("{named} is a group of runs; name one of them: {members}")).into();
    }
    let mut known: Vec<String> = run_dir::runs(checkpoint_dir).iter().map(|run| text(run)).collect();
    known.push(LATEST.into());
    let has_runs = known.len() > 1;
    known.extend_from_slice(others);
    let hint = match nearest(&request.to_string_lossy(), known.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean {name}?"),
        None if has_runs => "; `lockstep runs list --all` lists them".into(),
        None => String::new(),
    };
    anyhow!(Unknown(format!("there is no run {named} in {}{hint}", checkpoint_dir.display())))
}

/// The files beside one that is missing, as the end of a sentence.
fn what_there_is(missing: &Path) -> String {
    let Some(extension) = missing.extension() else { return String::new() };
    let entries =
        fs::read_dir(directory_of(missing)).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_kind = entries.filter(|path| path.extension() == Some(extension));
    let mut beside: Vec<String> = of_kind.map(|path| path.display().to_string()).collect();
    beside.sort();
    if beside.is_empty() { String::new() } else { format!("; there are {}", listed(&beside)) }
}

fn listed(names: &[String]) -> String {
    let (shown, more) = names.split_at(names.len().min(MOST_LISTED));
    let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    format!("{}{more}", shown.join(", "))
}

/// The name of a run as it stands in its directory's.
fn text(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|own| own == extension)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs `old`, `new` and the agents of the group `g`, of which only the first two have files.
    fn directory() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        for (age, name) in ["old", "new", "g-s9", "g-s10", "bare"].into_iter().enumerate() {
            let run = dir.path().join(name);
            fs::create_dir(&run).unwrap();
            let file = fs::File::create(run.join("config.toml")).unwrap();
            file.set_modified(start + std::time::Duration::from_secs(age as u64)).unwrap();
            if name.starts_with("g-") {
                fs::write(run.join("meta.json"), r#"{"group": "g"}"#).unwrap();
            }
        }
        for file in [
            "old/checkpoint_9.ckpt",
            "old/checkpoint_10.ckpt",
            "old/params_9.safetensors",
            "old/params_10.safetensors",
            "old/best_params.safetensors",
            "new/checkpoint_3.ckpt",
            "new/params_3.safetensors",
            "new/final_params.safetensors",
        ] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        dir
    }

    #[test]
    fn each_command_finds_what_it_needs_by_any_name() {
        let dir = directory();
        let root = dir.path();
        let (old, new) = (root.join("old"), root.join("new"));
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        for request in [
            "old".into(),
            text(&old),
            text(&old.join("checkpoint_9.ckpt")),
            "old/params_9.safetensors".into(),
        ] {
            assert_eq!(run(&request, root).unwrap(), old, "{request}");
        }
        assert_eq!(run(text(&old), Path::new("nowhere")).unwrap(), old);
        assert_eq!(run("latest", root).unwrap(), root.join("bare"));
        assert_eq!(checkpoint("latest", root).unwrap(), new.join("checkpoint_3.ckpt"));
        assert_eq!(params("latest", root, &[]).unwrap(), new.join("final_params.safetensors"));
        assert_eq!(checkpoint("old", root).unwrap(), old.join("checkpoint_10.ckpt"));
        assert_eq!(params("old", root, &[]).unwrap(), old.join("params_10.safetensors"));
        assert_eq!(params(text(&new), root, &[]).unwrap(), new.join("final_params.safetensors"));
        assert_eq!(
            params(text(root), Path::new("nowhere"), &[]).unwrap(),
            new.join("final_params.safetensors")
        );
        for request in ["old/checkpoint_9.ckpt".to_owned(), text(&old.join("checkpoint_9.ckpt"))] {
            assert_eq!(checkpoint(&request, root).unwrap(), old.join("checkpoint_9.ckpt"));
            assert_eq!(params(&request, root, &[]).unwrap(), old.join("checkpoint_9.ckpt"));
        }
        assert_eq!(runs("g", root).unwrap(), [root.join("g-s9"), root.join("g-s10")]);
        assert_eq!(runs("g-s9", root).unwrap(), [root.join("g-s9")]);
        // Whose parameters were removed, or could not be saved.
        fs::write(old.join("checkpoint_11.ckpt"), "").unwrap();
        assert_eq!(params("old", root, &[]).unwrap(), old.join("checkpoint_11.ckpt"));
        fs::remove_file(old.join("checkpoint_11.ckpt")).unwrap();
        // A run that was stopped before its first checkpoint but one has only a checkpoint left: it has the parameters.
        fs::remove_file(old.join("params_9.safetensors")).unwrap();
        fs::remove_file(old.join("params_10.safetensors")).unwrap();
        fs::remove_file(old.join("best_params.safetensors")).unwrap();
        assert_eq!(params("old", root, &[]).unwrap(), old.join("checkpoint_10.ckpt"));
    }

    #[test]
    fn what_is_not_there_gets_one_line_with_the_nearest_name() {
        let dir = directory();
        let root = dir.path();
        for find in [
            |request: &str, root: &Path| run(request, root).map(drop),
            |request: &str, root: &Path| checkpoint(request, root).map(drop),
            |request: &str, root: &Path| params(request, root, &[]).map(drop),
        ] {
            let error = |request: &str| find(request, root).unwrap_err();
            assert!(error("olld").is::<Unknown>());
            assert!(error("olld").to_string().ends_with("; did you mean old?"), "{}", error("olld"));
            assert!(error("lates").to_string().ends_with("; did you mean latest?"));
            assert!(error("zzz").to_string().ends_with("; `lockstep runs list --all` lists them"));
            assert!(error("g").to_string().ends_with("g is a group of runs; name one of them: g-s9, g-s10"));
            assert!(find("latest", &root.join("none")).unwrap_err().to_string().starts_with("there "));
            let missing = error(root.join("old/checkpoint_7.ckpt").to_str().unwrap()).to_string();
            assert!(
                missing.contains("old/checkpoint_7.ckpt; there are ") && missing.contains("checkpoint_9"),
                "{missing}"
            );
        }
        let other = params("chesss", root, &["chess".into()]).unwrap_err();
        assert!(other.to_string().ends_with("; did you mean chess?"), "{other}");
        let only_params = checkpoint("old/params_9.safetensors", root).unwrap_err().to_string();
        assert!(
            only_params.contains("holds parameters only") && only_params.contains("its run is"),
            "{only_params}"
        );
        let error = checkpoint("bare", root).unwrap_err().to_string();
        assert!(error.starts_with("there is no checkpoint in "), "{error}");
        assert!(
            params("bare", root, &[]).unwrap_err().to_string().starts_with("there are no parameters in ")
        );
    }
}
