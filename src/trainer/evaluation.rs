//! Evaluation during training: whole episodes with the parameters as they are, and the best parameters so far.
//!
//! An evaluation depends on the parameters, the run's seed and the update alone. So it leaves no trace in the training,
//! and a resumed run repeats it bit for bit. The best parameters stand in each checkpoint, because the file of them
//! may be of a later update than the checkpoint that a run goes back to.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub use super::checkpoint::Best;
use super::files::make_own_directory;
pub use super::params::BEST_PARAMS;
use super::params::{Metadata, load_params, save_params};
use super::settings::Settings;
use crate::algorithms::evaluation::{Episode, Plan};
use crate::algorithms::policy::Choice;
use crate::algorithms::report::Report;
use crate::algorithms::{Learner, NamedArrays};
use crate::envs::EnvSpec;

/// What else that file says in its metadata.
const MEAN_RETURN: &str = "eval_mean_return";

/// One evaluation.
#[derive(Debug)]
pub struct Evaluation {
    pub episodes: Vec<Episode>,
    pub report: Report,
}

/// The columns that evaluations add to the logs; none in a run without evaluations.
pub fn columns(settings: &Settings, spec: &EnvSpec) -> Vec<String> {
    let names = || Report::new(spec, &[]).scalars().into_iter().map(|(name, _)| name).collect();
    settings.eval_interval.map_or(Vec::new(), |_| names())
}

/// Whether an evaluation belongs after `update`.
pub fn is_due(settings: &Settings, update: u64) -> bool {
    settings.eval_interval.is_some_and(|interval| update.is_multiple_of(interval))
}

/// How the evaluations of a run choose actions.
pub fn choice(settings: &Settings) -> Choice {
    if settings.eval_stochastic { Choice::Sample } else { Choice::Greedy }
}

impl Evaluation {
    /// Evaluates the parameters after `update`, as long as it is to `go_on`; nothing if it was interrupted.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run(
        settings: &Settings,
        learner: &dyn Learner,
        update: u64,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Self>> {
        let plan = Plan {
            episodes: settings.eval_episodes,
            max_steps: settings.eval_max_steps,
            seed: seed(settings.seed, update),
        };
        let Some(episodes) = learner.evaluate(&plan, go_on)? else { return Ok(None) };
        let report = Report::new(learner.spec(), &episodes);
        Ok(Some(Self { episodes, report }))
    }

    /// The values of [`columns`].
    pub fn values(&self) -> Vec<Option<f32>> {
        self.report.scalars().into_iter().map(|(_, value)| Some(value as f32)).collect()
    }

    /// Whether it is better than the best before it.
    pub fn beats(&self, best: Option<&Best>) -> bool {
        let mean = self.report.episode_return.mean;
        mean.is_finite() && best.is_none_or(|best| mean > best.mean_return)
    }

    /// What it came to, in one line.
    pub fn describe(&self, settings: &Settings, update: u64, is_best: bool) -> String {
        let Report { episodes, episode_return, episode_length, .. } = &self.report;
        let (mean, std, length) = (episode_return.mean, episode_return.std, episode_length.mean);
        let best = if is_best { ", the best so far" } else { "" };
        let line = format!(
            "evaluation {update}: return {mean:.3}{best}, std {std:.3}, length {length:.1}, {episodes} episodes"
        );
        match self.report.truncated() {
            0 => line,
            count => format!("{line}, {count} of them cut off after {} steps", settings.eval_max_steps),
        }
    }
}

/// The seed of the episodes after `update`, apart from the random numbers of the training.
fn seed(run_seed: u64, update: u64) -> u64 {
    run_seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(update)
}

impl Best {
    /// Writes [`BEST_PARAMS`] in the directory of a run; `metadata` describes the network.
    ///
    /// # Errors
    /// One line that names the file; what was there before is untouched.
    pub fn save(&self, run: &Path, metadata: Vec<(String, String)>) -> Result<()> {
        let own = [
            ("update".to_string(), self.update.to_string()),
            ("timesteps".into(), self.timesteps.to_string()),
            (MEAN_RETURN.into(), self.mean_return.to_string()),
        ];
        save_params(&run.join(BEST_PARAMS), &self.params, &metadata.into_iter().chain(own).collect())
    }

    /// Whether these parameters are those in a file.
    fn is_in(&self, (params, metadata): &(NamedArrays, Metadata)) -> bool {
        let said = |key: &str| metadata.get(key).map(String::as_str);
        said("update") == Some(&self.update.to_string())
            && said(MEAN_RETURN) == Some(&self.mean_return.to_string())
            && self.params.len() == params.len()
            && self.params.iter().all(|(name, array)| {
                params.iter().any(|(other, saved)| other == name && saved.to_bytes() == array.to_bytes())
            })
    }
}

/// Makes [`BEST_PARAMS`] in the directory of a run that of its checkpoint, whose best is `best`. A file of other
/// parameters is of a later update, and moves to `superseded/`.
///
/// # Errors
/// One line that names the file.
pub fn restore(run: &Path, best: Option<&Best>, metadata: Vec<(String, String)>) -> Result<()> {
    let path = run.join(BEST_PARAMS);
    if let (Some(best), Ok(saved)) = (best, load_params(&path))
        && best.is_in(&saved)
    {
        return Ok(());
    }
    if path.exists() {
        let target = run.join("superseded");
        make_own_directory(&target)?;
        fs::rename(&path, target.join(BEST_PARAMS))
            .with_context(|| format!("cannot move {}", path.display()))?;
    }
    best.map_or(Ok(()), |best| best.save(run, metadata))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::HostArray;

    fn best(update: u64, weight: f32) -> Best {
        let params = vec![("params.w".to_string(), HostArray::new(&[1], vec![weight]))];
        Best { update, timesteps: update * 100, mean_return: 0.1 + update as f64, params }
    }

    #[test]
    fn the_file_of_the_best_follows_the_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path();
        let metadata = || vec![("env".to_string(), "fake".to_string())];
        let saved = |path: &str| load_params(&run.join(path)).unwrap();
        best(20, 2.0).save(run, metadata()).unwrap();
        let written = fs::metadata(run.join(BEST_PARAMS)).unwrap().modified().unwrap();
        restore(run, Some(&best(20, 2.0)), metadata()).unwrap();
        assert_eq!(fs::metadata(run.join(BEST_PARAMS)).unwrap().modified().unwrap(), written);
        assert!(!run.join("superseded").exists());

        restore(run, Some(&best(10, 1.0)), metadata()).unwrap();
        assert!(best(10, 1.0).is_in(&saved(BEST_PARAMS)) && !best(10, 2.0).is_in(&saved(BEST_PARAMS)));
        assert!(best(20, 2.0).is_in(&saved("superseded/best_params.safetensors")));
        assert_eq!(saved(BEST_PARAMS).1["env"], "fake");

        restore(run, None, metadata()).unwrap();
        assert!(!run.join(BEST_PARAMS).exists());
        assert!(best(10, 1.0).is_in(&saved("superseded/best_params.safetensors")));
        restore(run, None, metadata()).unwrap();
    }
}
