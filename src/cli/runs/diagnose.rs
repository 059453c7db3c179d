//! `runs diagnose`: repeats the update at which a run met a value that is not finite, and says where it stands.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::algorithms::NamedArrays;
use crate::array::{DType, HostArray};
use crate::cli::App;
use crate::config::Config;
use crate::runtime::plugin;
use crate::trainer::{Checkpoint, Stage, find};
use crate::training::learner::{Plan, build};

use super::print;

/// Which run to diagnose.
#[derive(Debug, Args)]
pub struct Diagnose {
    /// A run: its name, its directory, a file in it or "latest"
    run: String,
    /// PJRT plugin to load instead of searching for one
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

impl Diagnose {
    pub fn run(&self, app: &App, checkpoint_dir: &Path) -> Result<()> {
        let path = newest_kept(&find::run(&self.run, checkpoint_dir)?)?;
        let mut checkpoint = Checkpoint::load(&path)?;
        let config = Config::stored(app.catalog(), &checkpoint.config)?;
        let run = &config.run;
        let plugin = plugin::find(run.device, self.plugin.as_deref())?;
        let entry = config.chosen(app.catalog().env(&run.env)?)?;
        let stage = Stage::begin("opening the device", None);
        let plan = Plan { max_updates: 1, ..Plan::of(app.name(), &entry, &config, &plugin, &stage)? };
        let (mut learner, _) = build(&config.agent(&entry), &plan)?;
        checkpoint.match_state(&path, &learner.state_types())?;
        learner.load_state(&checkpoint.state)?;
        let first = learner.diagnose()?;
        let axes = learner.environment_axes();
        let metrics = learner.run(1)?.remove(0);
        drop(stage);
        let update = checkpoint.progress.update;
        print(&format!("update {} repeated from {}", update + 1, path.display()))?;
        for line in non_finite(&checkpoint.state, &axes) {
            print(&format!("before it: {line}"))?;
        }
        if let Some(first) = &first {
            print(&format!("first: {first}"))?;
        }
        for (metric, value) in learner.metrics().iter().zip(&metrics).filter(|(_, value)| !value.is_finite())
        {
            print(&format!("in it: {} is {value}", metric.name))?;
        }
        for line in non_finite(&learner.state()?, &axes) {
            print(&format!("after it: {line}"))?;
        }
        if metrics.iter().all(|value| value.is_finite()) {
            print("all metrics are finite this time: the device or the program is another than in the run")?;
        }
        Ok(())
    }
}

/// The newest state that was kept because of a value that is not finite.
fn newest_kept(run: &Path) -> Result<PathBuf> {
    let update =
        |name: &str| -> Option<u64> { name.strip_prefix("nonfinite_")?.strip_suffix(".ckpt")?.parse().ok() };
    let entries = fs::read_dir(run).with_context(|| format!("cannot list {}", run.display()))?;
    let kept = entries
        .flatten()
        .filter_map(|entry| Some((update(&entry.file_name().to_string_lossy())?, entry.path())));
    let newest =
        kept.max().with_context(|| format!("{} has met no value that is not finite", run.display()))?;
    Ok(newest.1)
}

/// One line for each array with values that are not finite. `axes` are those of the environments.
fn non_finite(state: &NamedArrays, axes: &[Option<usize>]) -> Vec<String> {
    state.iter().zip(axes).filter_map(|((name, array), axis)| describe(name, array, *axis)).collect()
}

fn describe(name: &str, array: &HostArray, env_axis: Option<usize>) -> Option<String> {
    let bad: Vec<usize> = match array.dtype() {
        DType::F32 => positions(array.as_slice(), |value: &f32| !value.is_finite()),
        DType::F64 => positions(array.as_slice(), |value: &f64| !value.is_finite()),
        DType::BF16 => positions(array.as_slice(), |value: &half::bf16| !value.is_finite()),
        DType::Bool | DType::U8 | DType::I32 | DType::U32 | DType::U64 => return None,
    };
    let first = array.index_of(*bad.first()?);
    let size: usize = array.shape().iter().product();
    let mut line =
        format!("{name} has {} of {size} values that are not finite, the first at {first:?}", bad.len());
    if let Some(axis) = env_axis {
        line += &format!(": environment {}", first[axis]);
    }
    Some(line)
}

fn positions<T>(values: &[T], is_bad: impl Fn(&T) -> bool) -> Vec<usize> {
    values.iter().enumerate().filter(|(_, value)| is_bad(value)).map(|(position, _)| position).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_index_and_environment_are_named() {
        let mut values = vec![0.0f32; 12];
        values[7] = f32::NAN;
        values[9] = f32::INFINITY;
        let array = HostArray::new(&[3, 4], values);
        assert_eq!(
            describe("envs.view.obs", &array, Some(0)).unwrap(),
            "envs.view.obs has 2 of 12 values that are not finite, the first at [1, 3]: environment 1"
        );
        assert!(
            describe("envs.state.x", &array, Some(1))
                .unwrap()
                .ends_with("the first at [1, 3]: environment 3")
        );
        assert_eq!(describe("count", &HostArray::scalar(3i32), None), None);
        assert!(describe("lr", &HostArray::scalar(f32::NAN), None).unwrap().ends_with("the first at []"));
    }
}
