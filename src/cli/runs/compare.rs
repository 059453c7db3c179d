//! `runs compare`: where two runs differ.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use toml::{Table, Value};

use crate::trainer::{History, run_dir};

use super::chart::{self, Curve};
use super::find;
use crate::cli::print_line;

/// Which runs to compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// A run directory, the name of a run, or "latest"
    a: String,
    /// Another one
    b: String,
    /// Metrics to draw [default: return, length, entropy, losses, approx_kl, clip_frac]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
}

const WIDTH: usize = 48;
const HEIGHT: usize = 6;

impl Compare {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let [a, b] = [find(&self.a, checkpoint_dir)?, find(&self.b, checkpoint_dir)?];
        let names = [&a, &b].map(|run| run_dir::name_of(run));
        let configs = [run_dir::config(&a)?, run_dir::config(&b)?];
        let histories = [History::read(&a)?, History::read(&b)?];
        let metrics = chart::metrics(&self.metrics, &histories)?;
        print_line(format_args!("{:>24}  {:<WIDTH$}  {}", "setting", names[0], names[1]))?;
        for (key, [in_a, in_b]) in differences(&configs[0], &configs[1]) {
            print_line(format_args!("{key:>24}  {in_a:<WIDTH$}  {in_b}"))?;
        }
        for metric in metrics {
            print_line(format_args!("\n{}", side_by_side(&metric, &histories)))?;
        }
        Ok(())
    }
}

/// The settings that are not the same, with both values; `-` stands for none.
fn differences(a: &Table, b: &Table) -> Vec<(String, [String; 2])> {
    let mut keys: Vec<_> = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
    keys.sort();
    let text = |value: Option<&Value>| value.map_or("-".into(), Value::to_string);
    let differing = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
    differing.map(|key| (key.clone(), [text(a.get(key)), text(b.get(key))])).collect()
}

/// The curves of a metric in both runs, drawn over the same ranges.
fn side_by_side(metric: &str, histories: &[History; 2]) -> String {
    let curves: Vec<Curve> = histories.iter().map(|history| history.curve(metric)).collect();
    let (x_range, y_range) = (chart::range(&curves, |p| p.0), chart::range(&curves, |p| p.1));
    let drawn: Vec<_> =
        curves.iter().map(|curve| chart::draw(curve, x_range, y_range, WIDTH, HEIGHT)).collect();
    let last = |curve: &Curve| curve.last().map_or("-".into(), |(_, y)| format!("{metric} = {y:.4}"));
    let mut text = format!("{:>24}  {:<WIDTH$}  {}", "", last(&curves[0]), last(&curves[1]));
    for (row, (left, right)) in drawn[0].iter().zip(&drawn[1]).enumerate() {
        let label = match row {
            0 => format!("{:.4}", y_range.1),
            row if row + 1 == HEIGHT => format!("{:.4}", y_range.0),
            _ => String::new(),
        };
        text += &format!("\n{label:>24} |{left:<WIDTH$} |{right}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let a: Table = "lr = 0.1\nenv = \"x\"\nold = 1".parse().unwrap();
        let b: Table = "lr = 0.2\nenv = \"x\"\nnew = true".parse().unwrap();
        let expected = [("lr", ["0.1", "0.2"]), ("new", ["-", "true"]), ("old", ["1", "-"])];
        let expected = expected.map(|(key, values)| (key.to_string(), values.map(String::from)));
        assert_eq!(differences(&a, &b), expected);
    }
}
