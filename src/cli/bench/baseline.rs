//! `bench --compare`: the ratios to an earlier result of `bench --json`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::config::UsageError;
use crate::files;

/// What must be the same for a comparison to mean anything.
const SAME: [&str; 3] = ["env", "num_envs", "num_steps"];
/// What makes a comparison one of machines or settings, and is therefore told.
const TOLD: [&str; 5] = ["num_seeds", "devices", "platform", "device_kind", "plugin"];
/// What is compared.
const COMPARED: [&str; 5] = [
    "steps_per_second",
    "logged_steps_per_second",
    "env_steps_per_second",
    "env_obs_steps_per_second",
    "peak_rss_bytes",
];

/// An earlier result.
#[derive(Debug)]
pub struct Baseline {
    path: PathBuf,
    report: Map<String, Value>,
}

impl Baseline {
    /// Reads a file that `bench --json` has printed.
    ///
    /// # Errors
    /// One line: the file cannot be read, or is no such result.
    pub fn read(path: &Path) -> Result<Self> {
        let text = files::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        let report: Map<String, Value> = serde_json::from_str(&text).with_context(|| {
            format!("{} is no result of `lockstep bench --json`, or damaged", path.display())
        })?;
        let baseline = Self { path: path.into(), report };
        if SAME.iter().any(|key| !baseline.report.contains_key(*key)) || baseline.figures().next().is_none() {
            bail!("{} is no result of `lockstep bench --json`", path.display());
        }
        Ok(baseline)
    }

    fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let figure = |key: &'static str| Some((key, self.report.get(key)?.as_f64()?));
        COMPARED.into_iter().filter_map(figure).filter(|(_, value)| *value > 0.0)
    }

    /// Refuses a comparison of different work.
    ///
    /// # Errors
    /// A [`UsageError`] that names the difference and the flag that removes it.
    pub fn check(&self, report: &Map<String, Value>) -> Result<()> {
        let differs = |key: &&&str| self.report[**key] != report[**key];
        let Some(key) = SAME.iter().find(differs) else { return Ok(()) };
        let (then, now, flag) = (&self.report[*key], &report[*key], key.replace('_', "-"));
        let then = then.as_str().map_or(then.to_string(), String::from);
        let path = self.path.display();
        bail!(UsageError(format!("{path} has {key} = {then}, not {now}; compare with --{flag} {then}")))
    }

    /// What is told beside the ratios: other devices, another plugin.
    pub fn differences(&self, report: &Map<String, Value>) -> Vec<String> {
        let pair = |key| Some((key, self.report.get(key)?, report.get(key)?));
        let differing = TOLD.into_iter().filter_map(pair).filter(|(_, then, now)| then != now);
        differing.map(|(key, then, now)| format!("{key} is {now}, {then} in the baseline")).collect()
    }

    /// Each figure of both results as a ratio, new over old.
    pub fn ratios(&self, report: &Map<String, Value>) -> Vec<(&'static str, f64)> {
        let ratio = |(key, then): (&'static str, f64)| Some((key, report.get(key)?.as_f64()? / then));
        self.figures().filter_map(ratio).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use serde_json::json;

    fn report(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn baseline(text: &str) -> Result<Baseline> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.json");
        fs::write(&path, text).unwrap();
        Baseline::read(&path)
    }

    const OLD: &str = r#"{"env":"cartpole","num_envs":64,"num_steps":128,"devices":1,"platform":"cpu",
        "steps_per_second":1000.0,"peak_rss_bytes":50}"#;

    #[test]
    fn ratios_are_new_over_old() {
        let old = baseline(OLD).unwrap();
        let new = json!({"env": "cartpole", "num_envs": 64, "num_steps": 128, "devices": 2, "platform": "cpu",
            "steps_per_second": 1500.0, "env_steps_per_second": 7, "peak_rss_bytes": 100});
        let new = report(new);
        old.check(&new).unwrap();
        assert_eq!(old.ratios(&new), [("steps_per_second", 1.5), ("peak_rss_bytes", 2.0)]);
        assert_eq!(old.differences(&new), ["devices is 2, 1 in the baseline"]);
    }

    #[test]
    fn other_work_is_not_compared() {
        let new = report(json!({"env": "hackmatrix", "num_envs": 64, "num_steps": 128}));
        let error = baseline(OLD).unwrap().check(&new).unwrap_err();
        assert!(error.is::<UsageError>());
        let text = error.to_string();
        assert!(
            text.ends_with(r#"has env = cartpole, not "hackmatrix"; compare with --env cartpole"#),
            "{text}"
        );
    }

    #[test]
    fn other_files_are_named() {
        for text in ["", "[]", "{", r#"{"env":"cartpole"}"#, r#"{"env":1,"num_envs":2,"num_steps":3}"#] {
            let error = format!("{:#}", baseline(text).unwrap_err());
            assert!(error.contains("old.json is no result of `lockstep bench --json`"), "{error}");
        }
    }
}
