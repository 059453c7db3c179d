//! `runs rm`: removes run directories, after asking.

use std::fs;
use std::io::{IsTerminal, stdin};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::config::UsageError;
use crate::output::{prompt, tell};
use crate::trainer::find;
use crate::trainer::run_dir;

/// Which runs to remove.
#[derive(Debug, Args)]
pub struct Remove {
    /// Runs: names or directories
    #[arg(required = true)]
    runs: Vec<String>,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

impl Remove {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        // All of them first: a typing error in the last name must not cost the others.
        let mut directories: Vec<PathBuf> =
            self.runs.iter().map(|run| find::run(run, checkpoint_dir)).collect::<Result<_>>()?;
        directories.sort();
        directories.dedup(); // a run that is named twice
        if !self.yes && !stdin().is_terminal() {
            bail!(UsageError("there is nobody to ask; say --yes to remove without asking".into()));
        }
        for directory in directories {
            if self.yes || confirmed(&directory)? {
                run_dir::remove(&directory)?;
                tell(&format!("removed {}", directory.display()));
            }
        }
        Ok(())
    }
}

fn confirmed(directory: &Path) -> Result<bool> {
    let (files, bytes) = size(directory);
    prompt(&format!("remove {} ({files} files, {:.1} MB)? [y/N] ", directory.display(), bytes as f64 / 1e6));
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Files and bytes in a directory; what cannot be read counts as nothing.
fn size(directory: &Path) -> (u64, u64) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(data) if data.is_dir() => {
            let (inner_files, inner_bytes) = size(&entry.path());
            (files + inner_files, bytes + inner_bytes)
        }
        Ok(data) => (files + 1, bytes + data.len()),
        Err(_) => (files, bytes),
    })
}
