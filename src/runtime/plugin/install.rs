//! Installing plugins from their wheels on PyPI.
//!
//! Plugins are published as Python wheels, which are zip files; no Python runs in them. pip (or uv) does the
//! download, so that the user's own index, proxy and certificate settings hold. The wheel is unpacked beside
//! its final place and renamed, so that a plugin is there whole or not at all. NVIDIA's libraries are wheels
//! too; the plugins for cuda look for them in `../../nvidia`, so that all unpack into one folder.
//!
//! What is unpacked is code. Each wheel must be one of those whose checksum stands in `wheels.sha256`, whatever index it
//! came from, and pip runs where it imports nothing from the current folder.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};

use super::{PluginFile, Source, in_packages};
use crate::files;
use crate::output::tell;
use crate::runtime::error::{Error, Result};
use crate::runtime::{DeviceKind, cache_folder, temporary_beside};

/// A plugin that `lockstep plugin install` knows.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// What the user calls it.
    pub name: &'static str,
    pub kind: DeviceKind,
    /// The plugin's wheel: a project on PyPI and its version.
    pub wheel: (&'static str, &'static str),
    /// Wheels of the libraries that the plugin loads from folders beside its own.
    libraries: &'static [(&'static str, &'static str)],
    /// Size of the download.
    pub megabytes: u32,
    /// What else the machine needs.
    pub needs: &'static str,
}

/// The SHA-256 and file name of every wheel that may be unpacked, as `sha256sum` writes them.
const WHEELS: &str = include_str!("wheels.sha256");

/// All plugins that can be installed.
pub const TARGETS: [Target; 4] = [
    Target {
        name: "cpu",
        kind: DeviceKind::Cpu,
        wheel: ("xla-cpu-pjrt", "0.0.1"),
        libraries: &[],
        megabytes: 63,
        needs: "Linux on x86-64 or arm64",
    },
    Target {
        name: "cuda12",
        kind: DeviceKind::Cuda,
        wheel: ("jax-cuda12-pjrt", "0.12.0.1"),
        libraries: &[
            ("nvidia-cublas-cu12", "12.9.3.13"),
            ("nvidia-cuda-cupti-cu12", "12.9.79"),
            ("nvidia-cuda-nvcc-cu12", "12.9.86"),
            ("nvidia-cuda-nvrtc-cu12", "12.9.86"),
            ("nvidia-cuda-runtime-cu12", "12.9.79"),
            ("nvidia-cudnn-cu12", "9.28.0.42"),
            ("nvidia-cufft-cu12", "11.4.1.4"),
            ("nvidia-cusparse-cu12", "12.5.10.65"),
            ("nvidia-nccl-cu12", "2.32.3"),
            ("nvidia-nvjitlink-cu12", "12.9.86"),
        ],
        megabytes: 2590,
        needs: "an NVIDIA driver for CUDA 12 (version 525 or newer)",
    },
    Target {
        name: "cuda13",
        kind: DeviceKind::Cuda,
        wheel: ("jax-cuda13-pjrt", "0.12.0.1"),
        libraries: &[
            ("nvidia-cublas", "13.10.0.20"),
            ("nvidia-cuda-cupti", "13.5.25"),
            ("nvidia-cuda-nvcc", "13.5.37"),
            ("nvidia-cuda-nvrtc", "13.5.37"),
            ("nvidia-cuda-runtime", "13.5.37"),
            ("nvidia-cudnn-cu13", "9.28.0.42"),
            ("nvidia-cufft", "12.5.0.14"),
            ("nvidia-cusparse", "12.9.4.2"),
            ("nvidia-nccl-cu13", "2.32.3"),
            ("nvidia-nvjitlink", "13.5.37"),
            ("nvidia-nvvm", "13.5.37"),
        ],
        megabytes: 2040,
        needs: "an NVIDIA driver for CUDA 13 (version 580 or newer)",
    },
    Target {
        name: "tpu",
        kind: DeviceKind::Tpu,
        wheel: ("libtpu", "0.0.51"),
        libraries: &[],
        megabytes: 205,
        needs: "a Google Cloud TPU machine to run on (`lockstep compile` needs none)",
    },
];

/// The folder that holds the installed plugins.
fn plugins_folder() -> Option<PathBuf> {
    Some(cache_folder()?.join("plugins"))
}

/// Downloads and unpacks a plugin (`cpu`, `cuda12`, `cuda13` or `tpu`) into lockstep's cache folder, replacing
/// what is there, and says on stderr what it does.
pub fn install(target: &str) -> Result<PluginFile> {
    let fail = |reason: String| Error::Install { target: target.into(), reason };
    let target = TARGETS.iter().find(|known| known.name == target).ok_or_else(|| {
        let names: Vec<_> = TARGETS.iter().map(|known| known.name).collect();
        fail(format!("there is no such plugin; there are {}", names.join(", ")))
    })?;
    let folder =
        plugins_folder().ok_or_else(|| fail("no cache folder is known; set LOCKSTEP_CACHE_DIR".into()))?;
    target.install_into(&folder).map_err(fail)
}

impl Target {
    /// Where the plugin is once it is installed.
    pub fn place(&self) -> Option<PathBuf> {
        Some(self.place_in(&plugins_folder()?))
    }

    fn place_in(&self, plugins: &Path) -> PathBuf {
        let (package, version) = self.wheel;
        plugins.join(format!("{}-{version}", package.replace('-', "_")))
    }

    fn install_into(&self, plugins: &Path) -> Result<PluginFile, String> {
        let (package, version) = self.wheel;
        let place = self.place_in(plugins);
        tell(&format!("lockstep: downloading {package} {version} ({} MB)", self.megabytes));
        let workshop = temporary_beside(&place);
        let built = self.build(&workshop).and_then(|unpacked| {
            replace(&unpacked, &place).map_err(|error| format!("{}: {error}", place.display()))
        });
        let _ = fs::remove_dir_all(&workshop);
        built?;
        let found = in_packages(&place, Source::Cache).into_iter().next();
        let plugin = found.ok_or_else(|| format!("the wheel of {package} holds no plugin"))?;
        tell(&format!("lockstep: installed it in {}", place.display()));
        if !self.kind.is_present() {
            tell(&format!("lockstep: it needs {}, which this machine does not show", self.needs));
        }
        Ok(plugin)
    }

    /// Downloads, checks and unpacks the wheels inside `workshop`; returns the unpacked folder.
    fn build(&self, workshop: &Path) -> Result<PathBuf, String> {
        let (downloads, unpacked) = (workshop.join("wheels"), workshop.join("unpacked"));
        let downloads = files::make_folder(&downloads)
            .and_then(|()| downloads.canonicalize()) // pip runs in it
            .map_err(|error| format!("{}: {error}", downloads.display()))?;
        for wheel in [self.wheel].iter().chain(self.libraries) {
            let file = download(&format!("{}=={}", wheel.0, wheel.1), &downloads)?;
            tell(&check(&file, WHEELS)?);
            unpack(&file, &unpacked)
                .and_then(|()| fs::remove_file(&file))
                .map_err(|error| format!("the wheel of {} cannot be unpacked: {error}", wheel.0))?;
        }
        Ok(unpacked)
    }
}

/// Compares a wheel's checksum with that of the wheel of this name which lockstep was tested with, as the lines `pinned` say.
/// Gives a line that says so.
fn check(wheel: &Path, pinned: &str) -> Result<String, String> {
    let name = wheel.file_name().unwrap_or_default().to_string_lossy();
    let pinned = pinned.lines().find_map(|line| line.split_once("  ").filter(|(_, known)| *known == name));
    let (expected, _) = pinned.ok_or_else(|| {
        format!(
            "lockstep does not know the wheel {name}; if you trust it, unzip it and set LOCKSTEP_PJRT_PLUGIN to the \
             library in it"
        )
    })?;
    let mut hash = Sha256::new();
    files::open(wheel)
        .and_then(|(mut file, _)| io::copy(&mut file, &mut HashWriter(&mut hash)))
        .map_err(|error| format!("{}: {error}", wheel.display()))?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != expected {
        return Err(format!(
            "{name}, as it was downloaded, is not the wheel that lockstep was tested with (sha256 {found}, expected \
             {expected})"
        ));
    }
    Ok(format!("lockstep: {name} has the sha256 that lockstep was tested with ({found})"))
}

/// Feeds what is written to it into a hash.
struct HashWriter<'a>(&'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Has pip or uv download the wheel of `requirement` into `folder`.
fn download(requirement: &str, folder: &Path) -> Result<PathBuf, String> {
    let spinner = ProgressBar::new_spinner().with_message(requirement.to_string());
    spinner.enable_steady_tick(Duration::from_millis(100));
    let outcome = run_pip(requirement, folder);
    spinner.finish_and_clear();
    let output = outcome?;
    if !output.status.success() {
        return Err(format!("pip cannot download {requirement}: {}", reason(&output)));
    }
    let wheels = super::entries(folder);
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    wheels.into_iter().find(is_wheel).ok_or_else(|| format!("pip downloaded no wheel for {requirement}"))
}

/// Runs `pip download` with the first of these that has pip: Python, then uv.
fn run_pip(requirement: &str, folder: &Path) -> Result<Output, String> {
    // As `python3 -m pip`, but isolated (-I): nothing is imported from the current folder. A pip that the user has
    // installed for himself is found all the same.
    const PIP: &str = "import runpy, site, sys; sys.path.append(site.getusersitepackages()); \
                       sys.argv[0] = 'pip'; runpy.run_module('pip', run_name='__main__')";
    const RUNNERS: [(&str, &[&str]); 2] = [("python3", &["-I", "-c", PIP]), ("uv", &["tool", "run", "pip"])];
    for (program, arguments) in RUNNERS {
        let output = Command::new(program)
            .current_dir(folder) // neither may read settings from the user's current folder
            .args(arguments)
            .args(["download", "--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off"])
            .arg("--dest")
            .arg(folder)
            .arg(requirement)
            .output();
        match output {
            Ok(output) if String::from_utf8_lossy(&output.stderr).contains("No module named pip") => {}
            Ok(output) => return Ok(output),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{program} cannot be run: {error}")),
        }
    }
    Err(format!(
        "neither `python3 -m pip` nor `uv` is there to download {requirement}; install one of them, or unzip the \
         wheel by hand and set LOCKSTEP_PJRT_PLUGIN to the library in it"
    ))
}

/// The line of pip's output that says why it failed.
fn reason(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let error = text.lines().find_map(|line| line.strip_prefix("ERROR: "));
    error.or(text.lines().last()).unwrap_or("it says nothing").to_string()
}

/// Unzips a wheel into `folder`, showing how far it is.
fn unpack(wheel: &Path, folder: &Path) -> io::Result<()> {
    let mut archive = zip::ZipArchive::new(files::open(wheel)?.0)?;
    let style =
        ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}").map_err(io::Error::other)?;
    let bar = ProgressBar::new(archive.decompressed_size().unwrap_or_default() as u64)
        .with_style(style)
        .with_message("unpacking");
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        let name =
            entry.enclosed_name().ok_or_else(|| io::Error::other("it has a file outside its folder"))?;
        let path = folder.join(name);
        if entry.is_dir() {
            files::make_folder(&path)?;
            continue;
        }
        files::make_folder(path.parent().unwrap_or(folder))?;
        io::copy(&mut entry, &mut bar.wrap_write(files::make_file(&path)?))?;
    }
    bar.finish_and_clear();
    Ok(())
}

/// Moves the folder `new` to `place`; what is there goes away.
fn replace(new: &Path, place: &Path) -> io::Result<()> {
    if place.exists() {
        let old = temporary_beside(place);
        fs::rename(place, &old)?;
        fs::remove_dir_all(old)?;
    }
    match fs::rename(new, place) {
        // Another process was faster; it has put the same there.
        Err(_) if place.exists() => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use super::*;

    fn wheel_of(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
        let path = folder.join("a-1.whl");
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        archive.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
        archive.finish().unwrap();
        path
    }

    #[test]
    fn unpacks_a_wheel_and_finds_the_plugin() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_of(folder.path(), "xla_plugins/xla_cpu_pjrt/xla_cpu_pjrt.so", b"library");
        let place = folder.path().join("plugins/new");
        unpack(&wheel, &place).unwrap();
        let found = in_packages(&place, Source::Cache);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind, found[0].source), (DeviceKind::Cpu, Source::Cache));
        assert_eq!(fs::read(&found[0].path).unwrap(), b"library");
    }

    #[test]
    fn refuses_a_wheel_that_writes_outside() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_of(folder.path(), "../escaped.so", b"");
        assert!(unpack(&wheel, &folder.path().join("new")).is_err());
        assert!(!folder.path().join("escaped.so").exists());
    }

    #[test]
    fn a_wheel_that_is_not_pinned_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = wheel_of(folder.path(), "a.so", b"library");
        assert!(check(&wheel, WHEELS).unwrap_err().contains("does not know the wheel a-1.whl"));
        let hash: String =
            Sha256::digest(fs::read(&wheel).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            check(&wheel, &format!("{hash}  a-1.whl\n")),
            Ok(format!("lockstep: a-1.whl has the sha256 that lockstep was tested with ({hash})"))
        );
        let known = WHEELS.lines().find(|line| line.contains("xla_cpu_pjrt")).unwrap();
        let (hash, name) = known.split_once("  ").unwrap();
        let other = folder.path().join(name);
        fs::rename(&wheel, &other).unwrap();
        let message = check(&other, WHEELS).unwrap_err();
        assert!(message.contains("is not the wheel") && message.contains(&format!("expected {hash})")));
    }

    #[test]
    fn every_wheel_has_a_checksum() {
        for (name, version) in TARGETS.iter().flat_map(|t| [t.wheel].into_iter().chain(t.libraries.to_vec()))
        {
            let prefix = format!("{}-{version}-", name.replace('-', "_"));
            let known = WHEELS.lines().filter(|line| line[66..].starts_with(&prefix));
            assert!(known.clone().count() > 0, "{prefix}");
            let is_hash = |line: &str| line[..64].bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(known.clone().all(|line| is_hash(line) && &line[64..66] == "  "), "{prefix}");
            assert!(known.clone().any(|line| line.ends_with("x86_64.whl")), "{prefix}");
        }
    }

    /// A file of the current folder that is called like a module of Python's must not run.
    #[test]
    fn python_runs_nothing_of_the_current_folder() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("it_ran");
        let planted = format!("open({:?}, 'w')", marker.display().to_string());
        for module in ["pip.py", "site.py", "runpy.py", "sitecustomize.py"] {
            fs::write(folder.path().join(module), &planted).unwrap();
        }
        // The name is none that an index could have, so that nothing is asked of one.
        let _ = run_pip("./no-such-wheel.whl", folder.path());
        assert!(!marker.exists());
    }

    #[test]
    fn replaces_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        for content in ["one", "two"] {
            let new = folder.path().join("new");
            fs::create_dir(&new).unwrap();
            fs::write(new.join("file"), content).unwrap();
            replace(&new, &place).unwrap();
            assert_eq!(fs::read_to_string(place.join("file")).unwrap(), content);
        }
        assert_eq!(super::super::entries(folder.path()), [place]);
    }

    #[test]
    fn an_unknown_plugin_names_the_known_ones() {
        let message = install("cuda11").unwrap_err().to_string();
        assert_eq!(
            message,
            "plugin cuda11 cannot be installed: there is no such plugin; there are cpu, cuda12, cuda13, tpu"
        );
    }
}
