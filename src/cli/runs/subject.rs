//! What is drawn as one curve: a run, or the runs of a group as their mean with a band.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::statistics::Moments;
use crate::trainer::history::{Axis, Curves};
use crate::trainer::{find, run_dir};

use crate::cli::chart::Curve;

/// A run, or all runs of a group.
pub struct Subject {
    pub name: String,
    pub directories: Vec<PathBuf>,
    pub runs: Vec<Curves>,
}

/// The curve of a subject.
#[derive(Debug, PartialEq)]
pub struct Banded {
    pub mean: Curve,
    /// One standard deviation below and above the mean; empty for a single run.
    pub low: Curve,
    pub high: Curve,
}

impl Subject {
    /// What the user names: a run, or a group with all its runs.
    ///
    /// # Errors
    /// One line: there is no such run, or its metrics cannot be read.
    pub fn named(request: &str, checkpoint_dir: &Path) -> Result<Self> {
        let directories = find::runs(request, checkpoint_dir)?;
        let name = match &directories[..] {
            [run] => run_dir::name_of(run),
            agents => format!("{request} ({} runs)", agents.len()),
        };
        let runs = directories.iter().map(|run| Curves::read(run)).collect::<Result<_>>()?;
        Ok(Self { name, directories, runs })
    }

    /// Its curve of a metric: at each update, the mean over the runs that have a value there.
    pub fn curve(&self, metric: &str, axis: Axis) -> Banded {
        if let [run] = &self.runs[..] {
            return Banded { mean: run.curve(metric, axis), low: Vec::new(), high: Vec::new() };
        }
        let curves = self.runs.iter().map(|run| [Axis::Update, axis].map(|axis| run.curve(metric, axis)));
        let mut banded = Banded { mean: Vec::new(), low: Vec::new(), high: Vec::new() };
        for (x, values) in moments(curves) {
            let (mean, deviation) = (values.mean, values.population_std());
            banded.mean.push((x, mean));
            banded.low.push((x, mean - deviation));
            banded.high.push((x, mean + deviation));
        }
        banded
    }
}

/// What several runs have of a metric at each update at which any of them has a value: the mean of their places on an axis, and their
/// values. Of each run its curve over updates and its curve over that axis.
pub fn moments(runs: impl IntoIterator<Item = [Curve; 2]>) -> Vec<(f64, Moments)> {
    let mut at_update: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for [over_updates, curve] in runs {
        for ((update, _), point) in over_updates.into_iter().zip(curve) {
            at_update.entry(update as u64).or_default().push(point);
        }
    }
    let together = |points: Vec<(f64, f64)>| {
        let of = |part: fn(&(f64, f64)) -> f64| Moments::of(points.iter().map(part));
        (of(|point| point.0).mean, of(|point| point.1))
    };
    at_update.into_values().map(together).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_group_has_a_mean_and_a_band() {
        let dir = tempfile::tempdir().unwrap();
        for (seed, values) in [(3, [1.0, 2.0]), (4, [3.0, 2.0])] {
            let run = dir.path().join(format!("g-s{seed}"));
            fs::create_dir(&run).unwrap();
            fs::write(run.join("config.toml"), "").unwrap();
            fs::write(run.join("meta.json"), r#"{"group": "g"}"#).unwrap();
            let row = |(index, value): (usize, f64)| {
                let update = 10 * (index + 1);
                format!(
                    "{{\"update\":{update},\"timesteps\":{update}00,\"time/wall_seconds\":{seed},\"train/a\":{value}}}\n"
                )
            };
            let rows: String = values.into_iter().enumerate().map(row).collect();
            fs::write(run.join("metrics.jsonl"), rows).unwrap();
        }
        let group = Subject::named("g", dir.path()).unwrap();
        assert_eq!(group.name, "g (2 runs)");
        let curve = group.curve("train/a", Axis::Timesteps);
        assert_eq!(curve.mean, [(1000.0, 2.0), (2000.0, 2.0)]);
        assert_eq!((curve.low[0].1, curve.high[0].1, curve.high[1].1), (1.0, 3.0, 2.0));
        assert_eq!(group.curve("train/a", Axis::Time).mean[0].0, 3.5);
        let alone = Subject::named("g-s3", dir.path()).unwrap().curve("train/a", Axis::Update);
        assert_eq!(alone, Banded { mean: vec![(10.0, 1.0), (20.0, 2.0)], low: vec![], high: vec![] });
    }
}
