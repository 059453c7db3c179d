//! A new run that begins with what another one has learned (`--init-from`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::algorithms::{Entry, Learner, NamedArrays};
use crate::trainer::{Settings, find, load_params};

/// The parameters that a run begins with.
pub struct Beginning {
    file: PathBuf,
    params: NamedArrays,
}

impl Beginning {
    /// What the settings of a new run name, if they name something.
    ///
    /// # Errors
    /// One line: there is nothing of that name, or it cannot be read.
    pub fn of(run: &Settings, algorithm: &Entry) -> Result<Option<Beginning>> {
        let Some(name) = &run.init_from else { return Ok(None) };
        let file = find::params(Path::new(name), &run.checkpoint_dir, &[])?;
        let params = algorithm.params_of(load_params(&file)?.0);
        Ok(Some(Beginning { file, params }))
    }

    /// Gives them to a learner.
    ///
    /// # Errors
    /// One line that names the first array that does not fit.
    pub fn give(&self, learner: &mut dyn Learner) -> Result<()> {
        let file = self.file.display();
        learner.load_params(&self.params).with_context(|| format!("cannot begin with {file}"))
    }

    /// Where they come from, in words.
    pub fn line(&self) -> String {
        format!("the parameters at the start are those in {}", self.file.display())
    }
}
