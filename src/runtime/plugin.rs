//! Finding plugins.
//!
//! The search goes from what the user said to what happens to be there: `--plugin`, then the variable
//! `LOCKSTEP_PJRT_PLUGIN`, then lockstep's own cache folder, then the packages of the installed Python
//! (where JAX's plugins are). The flag comes before the variable, as flags do everywhere.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// A kind of device that XLA compiles for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// The processor.
    Cpu,
    /// NVIDIA GPUs.
    Cuda,
    /// Google TPUs.
    Tpu,
}

impl DeviceKind {
    /// The fastest first.
    const BEST_FIRST: [DeviceKind; 3] = [DeviceKind::Tpu, DeviceKind::Cuda, DeviceKind::Cpu];

    pub fn name(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda",
            DeviceKind::Tpu => "tpu",
        }
    }

    /// Whether this machine has a device of the kind, as far as the system's device files tell.
    pub fn is_present(self) -> bool {
        let exists = |path: &str| Path::new(path).exists();
        match self {
            DeviceKind::Cpu => true,
            DeviceKind::Cuda => exists("/dev/nvidiactl") || exists("/dev/dxg"),
            DeviceKind::Tpu => exists("/dev/accel0") || exists("/dev/vfio/0"),
        }
    }

    /// What `lockstep plugin install` calls the usual plugin of the kind.
    fn install_target(self) -> &'static str {
        match self {
            DeviceKind::Cpu => "cpu",
            DeviceKind::Cuda => "cuda12",
            DeviceKind::Tpu => "tpu",
        }
    }

    /// The kind of device that a plugin is for, by the words in its path.
    fn of_file(path: &Path) -> DeviceKind {
        let name = path.to_string_lossy().to_lowercase();
        let name = name.rsplit('/').take(2).collect::<Vec<_>>().join("/");
        if name.contains("cuda") || name.contains("gpu") {
            DeviceKind::Cuda
        } else if name.contains("tpu") {
            DeviceKind::Tpu
        } else {
            DeviceKind::Cpu
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = DeviceKind::BEST_FIRST.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| format!("`{text}` is no kind of device; there are cpu, cuda and tpu"))
    }
}

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
    let kinds = match kind {
        Some(kind) => vec![kind],
        None => DeviceKind::BEST_FIRST.into_iter().filter(|kind| kind.is_present()).collect(),
    };
    for &kind in &kinds {
        if let Some(found) = in_cache().chain(in_python()).find(|file| file.kind == kind) {
            return Ok(found);
        }
    }
    let kind = *kinds.last().unwrap_or(&DeviceKind::Cpu);
    Err(Error::PluginNotFound { kind, target: kind.install_target() })
}

/// Every plugin that the search can find, in its order.
pub fn list() -> Vec<PluginFile> {
    named_by_user(None).into_iter().chain(in_cache()).chain(in_python()).collect()
}

fn named_by_user(explicit: Option<&Path>) -> Option<PluginFile> {
    let (path, source) = match explicit {
        Some(path) => (path.to_path_buf(), Source::Flag),
        None => (
            PathBuf::from(std::env::var_os("LOCKSTEP_PJRT_PLUGIN").filter(|v| !v.is_empty())?),
            Source::Variable,
        ),
    };
    Some(PluginFile { kind: DeviceKind::of_file(&path), path, source })
}

/// Plugins in the cache folder: each is an unpacked wheel. Of several versions the newest comes first.
fn in_cache() -> impl Iterator<Item = PluginFile> {
    let folder = super::cache_folder().map(|folder| folder.join("plugins"));
    let mut wheels = folder.map_or(Vec::new(), |folder| entries(&folder));
    wheels.reverse();
    wheels.into_iter().flat_map(|wheel| in_packages(&wheel, Source::Cache))
}

/// Plugins among the packages of the Python that `python3` starts. Python is asked only when the iterator
/// is.
fn in_python() -> impl Iterator<Item = PluginFile> {
    std::iter::once_with(python_packages).flatten().flat_map(|folder| in_packages(&folder, Source::Python))
}

fn python_packages() -> Vec<PathBuf> {
    let script = "import sys; print('\\n'.join(sys.path))";
    let output = Command::new("python3").args(["-c", script]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().filter(|line| !line.is_empty()).map(PathBuf::from).collect()
}

/// The plugins in a folder of Python packages, or in an unpacked wheel.
fn in_packages(folder: &Path, source: Source) -> Vec<PluginFile> {
    let packages = ["xla_plugins", "jax_plugins"].iter().flat_map(|name| entries(&folder.join(name)));
    let libraries = packages.chain([folder.join("libtpu")]).flat_map(|package| entries(&package));
    let is_library = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "so");
    libraries
        .filter(is_library)
        .map(|path| PluginFile { kind: DeviceKind::of_file(&path), path, source })
        .collect()
}

/// What is in a folder, sorted by name; nothing if it cannot be read.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
