//! Finding plugins.
//!
//! The search goes from what the user said to what happens to be there: `--plugin`, then the variable
//! `LOCKSTEP_PJRT_PLUGIN`, then lockstep's own cache folder, then the packages of the installed Python
//! (where JAX's plugins are). The flag comes before the variable, as flags do everywhere. If all of that holds
//! no plugin for cpu, the one that lockstep is tested with is installed.
//!
//! A plugin is code that runs with all that the user may do. So the search takes none that another user can change, none
//! from the current folder, and nothing that a stored configuration says; what the user names is taken as it is.

mod install;

pub use install::{TARGETS, Target, install};

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

use super::DeviceKind;
use super::error::{Error, Result};
use crate::files;
use crate::output::tell;

/// Where a plugin was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// `--plugin`.
    Flag,
    /// The variable `LOCKSTEP_PJRT_PLUGIN`.
    Variable,
    /// lockstep's cache folder, where `lockstep plugin install` puts plugins.
    Cache,
    /// A package of the installed Python.
    Python,
}

/// A plugin on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PluginFile {
    pub kind: DeviceKind,
    pub path: PathBuf,
    pub source: Source,
}

/// The plugin to use: `explicit` if given, else the first that the search finds for `kind`. Without a kind,
/// the best whose device this machine has: tpu before cuda before cpu.
pub fn find(kind: Option<DeviceKind>, explicit: Option<&Path>) -> Result<PluginFile> {
    if let Some(named) = named_by_user(explicit) {
        let kind = kind.unwrap_or(named.kind);
        return if named.path.is_file() {
            Ok(PluginFile { kind, ..named })
        } else {
            Err(Error::PluginMissing { path: named.path })
        };
    }
    match kind {
        Some(kind) => find_or_install(kind),
        None => find_best(),
    }
}

fn find_best() -> Result<PluginFile> {
    for kind in DeviceKind::BEST_FIRST.into_iter().filter(|kind| kind.is_present()) {
        match find_or_install(kind) {
            Err(Error::PluginNotFound { target, .. }) => {
                tell(&format!(
                    "lockstep: this machine has a {kind} device but no plugin for it, so it is not used; \
                     `lockstep plugin install {target}` installs one"
                ));
            }
            outcome => return outcome,
        }
    }
    unreachable!("a cpu is always present, and its plugin is found, installed or fails to install")
}

/// The first plugin for `kind` that the search finds. One for cpu is installed if there is none; the others
/// are large and for machines that have the device, so they are left to the user.
fn find_or_install(kind: DeviceKind) -> Result<PluginFile> {
    match in_cache().chain(in_python()).find(|file| file.kind == kind) {
        Some(found) => trusted(found),
        None if kind == DeviceKind::Cpu => {
            tell("lockstep: no plugin for cpu was found, so one is installed");
            install("cpu")
        }
        None => Err(Error::PluginNotFound { kind, target: kind.install_target() }),
    }
}

/// The plugin, unless somebody else can change the file or its folder, or for an installed one any folder up to the cache
/// folder.
fn trusted(file: PluginFile) -> Result<PluginFile> {
    let root = super::cache_folder().filter(|_| file.source == Source::Cache);
    let is_inside = |path: &Path| root.as_ref().is_some_and(|root| path.starts_with(root));
    let folders = file.path.ancestors().enumerate().take_while(|(level, path)| *level < 2 || is_inside(path));
    match folders.map(|(_, path)| path).find_map(files::distrust) {
        Some(reason) => Err(Error::PluginDistrusted { path: file.path, reason }),
        None => Ok(file),
    }
}

/// Every plugin that the search can find, in its order.
pub fn list() -> Vec<PluginFile> {
    named_by_user(None).into_iter().chain(in_cache()).chain(in_python()).collect()
}

/// The plugin of the flag or of the variable. A file whose name says nothing is taken for one for cpu.
fn named_by_user(explicit: Option<&Path>) -> Option<PluginFile> {
    let from_variable = || std::env::var_os("LOCKSTEP_PJRT_PLUGIN").filter(|path| !path.is_empty());
    let (path, source) = match explicit {
        Some(path) => (path.to_path_buf(), Source::Flag),
        None => (PathBuf::from(from_variable()?), Source::Variable),
    };
    Some(PluginFile { kind: DeviceKind::of_file(&path).unwrap_or(DeviceKind::Cpu), path, source })
}

/// Plugins that were installed, in the versions that this lockstep installs.
fn in_cache() -> impl Iterator<Item = PluginFile> {
    let places = TARGETS.iter().filter_map(Target::place);
    places.flat_map(|place| in_packages(&place, Source::Cache))
}

/// Plugins among the packages of the Python that `python3` starts. Python is asked only when the iterator
/// is.
fn in_python() -> impl Iterator<Item = PluginFile> {
    std::iter::once_with(python_packages).flatten().flat_map(|folder| in_packages(&folder, Source::Python))
}

fn python_packages() -> Vec<PathBuf> {
    // Isolated (-I), Python imports nothing from the current folder, but lists no packages of the user either.
    let script = "import site, sys; print('\\n'.join([site.getusersitepackages()] + sys.path))";
    let output = Command::new("python3").args(["-I", "-c", script]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

/// The plugins in a folder of Python packages, or in an unpacked wheel.
fn in_packages(folder: &Path, source: Source) -> Vec<PluginFile> {
    let packages = ["xla_plugins", "jax_plugins"].iter().flat_map(|name| entries(&folder.join(name)));
    let libraries = packages.chain([folder.join("libtpu")]).flat_map(|package| entries(&package));
    let is_plugin = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // `libtpu` brings another library that is no plugin.
        name.ends_with(".so") && name != "sdk.so"
    };
    let plugin = |path: PathBuf| Some(PluginFile { kind: DeviceKind::of_file(&path)?, path, source });
    libraries.filter(is_plugin).filter_map(plugin).collect()
}

/// What is in a folder, sorted by name; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
