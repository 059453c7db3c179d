//! What new runs are called: as the user says, or by environment, day and number.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, bail};
use jiff::civil::Date;
use rustix::fs::{Access, access};

use super::{checkpoints, entries, has_marks, is_own_file, is_vacant, name_of, presence};
use crate::envs::short_name;
use crate::trainer::settings::Settings;

/// Refuses the directory of a new run if nothing can be made there, and its name if there is one of that name: what
/// [`RunDir::create`](super::RunDir::create) would say, before anything is compiled.
///
/// # Errors
/// One line that says what to do.
pub fn check_is_new(settings: &Settings) -> Result<()> {
    if let Some(name) = settings.metrics_file.as_ref().filter(|name| is_own_file(name)) {
        bail!(
            "metrics_file is {name}, which is another file of the run; choose another name, such as metrics.csv"
        );
    }
    check_can_hold_runs(&settings.checkpoint_dir)?;
    let path = settings.run_name.as_ref().map(|name| settings.checkpoint_dir.join(name));
    match path.filter(|path| path.exists() && !is_vacant(path) && !can_be_reused(settings, path)) {
        Some(path) => bail!(is_taken(&path)),
        None => Ok(()),
    }
}

/// Whether the run may begin in the directory of another one, which has ended: documents name directories to be used again, and who begins
/// a run or goes on with it, as it comes, may find one that had not come to a checkpoint.
pub(super) fn can_be_reused(settings: &Settings, path: &Path) -> bool {
    (settings.document.is_some() || settings.begins_again)
        && has_marks(path)
        && !presence(path).may_be_alive()
}

/// Directories that are not there yet are made later: what is there of the path decides.
fn check_can_hold_runs(directory: &Path) -> Result<()> {
    let there = directory.ancestors().map(|path| if path == Path::new("") { Path::new(".") } else { path });
    let Some(nearest) = there.into_iter().find(|path| path.symlink_metadata().is_ok()) else { return Ok(()) };
    let writable = if nearest.is_dir() {
        access(nearest, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    };
    writable.with_context(|| cannot_make(directory))
}

/// Which directory cannot be made, and what to do.
pub(super) fn cannot_make(path: &Path) -> String {
    format!("cannot make the run directory {}; choose another --checkpoint-dir", path.display())
}

/// Why a new run cannot have this directory, and what to do.
pub(super) fn is_taken(path: &Path) -> String {
    let (name, shown) = (name_of(path), path.display());
    let has_checkpoint = || checkpoints(path).is_ok_and(|found| !found.is_empty());
    let other_way = match has_marks(path) {
        false => return format!("{shown} is there already, and is no run; choose another --run-name"),
        true if presence(path).may_be_alive() => "wait until it has ended".into(),
        true if has_checkpoint() => format!("continue it with --resume {shown}"),
        true => format!("remove it, for it has no checkpoint: lockstep runs rm {shown}"),
    };
    format!("there is a run {name} already; choose another --run-name, or {other_way}")
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
    let (env, today) = (short_name(&settings.env), jiff::Zoned::now().date());
    Ok(next_name(existing, &env, today, settings.run_suffix.as_deref()))
}

/// `<env>-<mon><dd>-<yy>-<N>[-suffix]`, where N is one more than the largest number of that day.
pub(super) fn next_name(
    existing: impl Iterator<Item = impl AsRef<str>>,
    env: &str,
    date: Date,
    suffix: Option<&str>,
) -> String {
    let prefix = format!("{env}-{}-", date.strftime("%b%d-%y")).to_lowercase();
    let number = |name: &str| -> Option<u64> {
        let rest = name.strip_prefix(&prefix)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse().ok().filter(|number| *number < u64::MAX / 2) // there is room for the next
    };
    let largest = existing.filter_map(|name| number(name.as_ref())).max().unwrap_or(0);
    let suffix = suffix.map(|text| format!("-{text}")).unwrap_or_default();
    format!("{prefix}{}{suffix}", largest + 1)
}
