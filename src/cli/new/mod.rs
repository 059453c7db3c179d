//! `lockstep new`: a small crate with an environment of its own and the whole command line.
//!
//! The template is real code: the tests of lockstep compile it and play in it, so that what it writes always builds.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use toml::Value;

use super::print;
use crate::config::UsageError;
use crate::files;
use crate::trainer::tell;

/// The sources this program was built from.
const SOURCES: &str = env!("CARGO_MANIFEST_DIR");

/// The files of the crate, with `__CRATE__`, `__ENV__` and `__LOCKSTEP__` to be filled in.
const FILES: [(&str, &str); 6] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.in")),
    ("README.md", include_str!("template/README.md.in")),
    (".gitignore", "/target\n/checkpoints\n"),
    ("src/main.rs", include_str!("template/main.rs")),
    ("src/env.rs", include_str!("template/env.rs")),
    ("src/painter.rs", include_str!("template/painter.rs")),
];

/// What to write, and where.
#[derive(Debug, Args)]
struct New {
    /// Folder of the new crate; its last part is the name of the crate and its program
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Name of the environment [default: that of the crate]
    #[arg(long, value_name = "NAME")]
    env: Option<String>,
    /// Where lockstep comes from: a folder or the URL of a git repository [default: the sources that this program was built
    /// from]
    #[arg(long, value_name = "PATH|URL")]
    lockstep: Option<String>,
}

pub fn command() -> Command {
    New::augment_args(Command::new("new"))
        .about("Write a crate with an environment of your own and all commands")
        .after_help("It builds with `cargo build --release`, and its program trains, evaluates and shows the environment.")
}

/// Writes the crate.
///
/// # Errors
/// One line: a [`UsageError`] for a name or a source that cannot be; a folder that is there already or cannot be written.
pub fn run(matches: &ArgMatches) -> Result<()> {
    let new = New::from_arg_matches(matches)?;
    let name = crate_name(&new.path).map_err(usage)?;
    let env = new.env.clone().unwrap_or_else(|| name.clone());
    check_name("environment", &env).map_err(usage)?;
    let source = Source::find(new.lockstep.as_deref()).map_err(usage)?;
    write(&new.path, &name, &env, &source)?;
    let path = new.path.display();
    tell(&format!("wrote the crate {name} with the environment {env} to {path}"));
    print(&format!("cd {path}\ncargo run --release -- train --total-timesteps 500000\n"))
}

fn usage(error: anyhow::Error) -> anyhow::Error {
    UsageError(format!("{error:#}")).into()
}

/// The last part of the path, which must be fit for a crate.
fn crate_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} does not end in a name", path.display()))?;
    check_name("crate", name)?;
    Ok(name.to_owned())
}

fn check_name(what: &str, name: &str) -> Result<()> {
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    ensure!(
        name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(is_fit),
        "`{name}` cannot name the {what}; use lower-case letters, digits, - and _, a letter first"
    );
    // Such a crate cannot depend on lockstep, or is no identifier.
    const TAKEN: [&str; 8] = ["lockstep", "core", "std", "test", "crate", "self", "super", "fn"];
    ensure!(
        what != "crate" || !TAKEN.contains(&name),
        "a crate cannot be called `{name}`; choose another name"
    );
    Ok(())
}

/// Where the new crate takes lockstep from.
enum Source {
    Folder(PathBuf),
    Git(String),
}

impl Source {
    fn find(said: Option<&str>) -> Result<Source> {
        match said {
            Some(url) if url.contains("://") || url.starts_with("git@") => Ok(Source::Git(url.to_owned())),
            Some(folder) => Source::folder(Path::new(folder)),
            None => Source::folder(Path::new(SOURCES)).context(
                "the sources that this program was built from are gone; name others with --lockstep",
            ),
        }
    }

    /// A folder with lockstep's sources.
    fn folder(path: &Path) -> Result<Source> {
        let manifest = files::read_text(&path.join("Cargo.toml"))
            .with_context(|| format!("there is no crate in {}", path.display()))?;
        let manifest: toml::Table =
            manifest.parse().with_context(|| format!("{}/Cargo.toml is damaged", path.display()))?;
        let name = manifest.get("package").and_then(|package| package.get("name"));
        if name.and_then(Value::as_str) != Some(env!("CARGO_PKG_NAME")) {
            bail!("the crate in {} is not lockstep", path.display());
        }
        Ok(Source::Folder(path.canonicalize()?))
    }

    /// The dependency as Cargo writes it.
    fn dependency(&self) -> String {
        match self {
            Source::Folder(path) => format!("path = {}", Value::from(path.display().to_string())),
            Source::Git(url) => format!("git = {}", Value::from(url.as_str())),
        }
    }
}

/// Writes all files into a folder that is not there yet, or is empty. What fails in the middle leaves nothing behind.
fn write(path: &Path, name: &str, env: &str, source: &Source) -> Result<()> {
    let is_there = path.symlink_metadata().is_ok();
    let is_empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    ensure!(!is_there || is_empty, "{} is there already; choose another folder", path.display());
    let written = write_files(path, name, env, source);
    if written.is_err() && !is_there {
        let _ = fs::remove_dir_all(path); // only what was written here
    }
    written
}

fn write_files(path: &Path, name: &str, env: &str, source: &Source) -> Result<()> {
    let save = |file: &str, text: &[u8]| {
        let file = path.join(file);
        let folder = file.parent().expect("a file in the crate");
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    };
    for (file, text) in FILES {
        let text = text.replace("__CRATE__", name).replace("__ENV__", env);
        save(file, text.replace("__LOCKSTEP__", &source.dependency()).as_bytes())?;
    }
    // The versions of all dependencies that lockstep is tested with.
    if let Source::Folder(folder) = source
        && let Ok(lock) = files::read_text(&folder.join("Cargo.lock"))
    {
        save("Cargo.lock", lock.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_written_with_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("my-game");
        let source = Source::find(None).unwrap();
        write(&path, "my-game", "maze", &source).unwrap();
        let read = |file: &str| fs::read_to_string(path.join(file)).unwrap();
        let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("my-game"));
        assert_eq!(manifest["dependencies"]["lockstep"]["path"].as_str(), Some(SOURCES));
        assert!(read("src/env.rs").contains("pub const NAME: &str = \"maze\";"));
        for (file, _) in FILES {
            assert!(!read(file).contains("__"), "{file} has a place that was not filled in");
        }
        let again = write(&path, "my-game", "maze", &source).unwrap_err();
        assert!(again.to_string().ends_with("my-game is there already; choose another folder"), "{again}");
    }

    #[test]
    fn names_and_sources_are_checked() {
        for bad in ["", "9lives", "My", "a b", "lockstep", "ä"] {
            assert!(crate_name(Path::new(bad)).is_err(), "{bad}");
        }
        assert_eq!(crate_name(Path::new("games/my_game-2")).unwrap(), "my_game-2");
        let dependency = |said: &str| Source::find(Some(said)).map(|source| source.dependency());
        assert_eq!(dependency("https://host/lockstep.git").unwrap(), "git = \"https://host/lockstep.git\"");
        let dir = tempfile::tempdir().unwrap();
        assert!(
            dependency(dir.path().to_str().unwrap())
                .unwrap_err()
                .to_string()
                .starts_with("there is no crate in")
        );
        fs::write(dir.path().join("Cargo.toml"), "[package]\nname = \"other\"\n").unwrap();
        assert!(
            dependency(dir.path().to_str().unwrap()).unwrap_err().to_string().ends_with("is not lockstep")
        );
    }
}
