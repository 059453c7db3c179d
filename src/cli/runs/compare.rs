//! `runs compare`: where two runs differ.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Result;
use clap::Args;
use toml::{Table, Value};

use crate::trainer::history::{Axis, Curves};
use crate::trainer::readable::{ABSENT, significant};
use crate::trainer::run_dir;

use super::subject::Subject;
use crate::cli::chart::{self, Curve};
use crate::cli::print_line;

/// Which runs to compare.
#[derive(Debug, Args)]
pub struct Compare {
    /// A run: its name, its directory, a file in it or "latest"; or a group of --num-seeds, of which the mean is drawn
    a: String,
    /// Another one
    b: String,
    /// Metrics to draw, separated by commas [default: return, length, entropy, losses, approx_kl, clip_frac]
    #[arg(long = "metric", value_name = "NAMES", value_delimiter = ',')]
    metrics: Vec<String>,
    /// What to draw them over
    #[arg(long, value_name = "AXIS", default_value = "timesteps")]
    x: Axis,
}

const WIDTH: usize = 48;
const HEIGHT: usize = 6;

impl Compare {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let [a, b] = [Subject::named(&self.a, checkpoint_dir)?, Subject::named(&self.b, checkpoint_dir)?];
        let configs = [run_dir::config(&a.directories[0])?, run_dir::config(&b.directories[0])?];
        let all: Vec<Curves> = a.runs.iter().chain(&b.runs).cloned().collect();
        let metrics = chart::metrics(&self.metrics, &all)?;
        print_line(format_args!("{:>24}  {:<WIDTH$}  {}", "setting", a.name, b.name))?;
        for (key, values) in differences(&[&configs[0], &configs[1]]) {
            print_line(format_args!("{key:>24}  {:<WIDTH$}  {}", values[0], values[1]))?;
        }
        for metric in metrics {
            print_line(format_args!("\n{}", side_by_side(&metric, self.x, [&a, &b])))?;
        }
        Ok(())
    }
}

/// The settings that are not the same in all, by name, each with its values; `-` stands for none.
pub fn differences(configs: &[&Table]) -> Vec<(String, Vec<String>)> {
    let keys: BTreeSet<&String> = configs.iter().flat_map(|config| config.keys()).collect();
    let values = |key: &str| configs.iter().map(|config| config.get(key)).collect::<Vec<_>>();
    let text = |value: Option<&Value>| value.map_or("-".into(), Value::to_string);
    keys.into_iter()
        .map(|key| (key, values(key)))
        .filter(|(_, values)| values.windows(2).any(|pair| pair[0] != pair[1]))
        .map(|(key, values)| (key.clone(), values.into_iter().map(text).collect()))
        .collect()
}

/// The curves of a metric in both runs, drawn over the same ranges.
fn side_by_side(metric: &str, axis: Axis, subjects: [&Subject; 2]) -> String {
    let curves: Vec<Curve> = subjects.iter().map(|subject| subject.curve(metric, axis).mean).collect();
    let (x_range, y_range) = (chart::range(&curves, |p| p.0), chart::range(&curves, |p| p.1));
    let drawn: Vec<_> =
        curves.iter().map(|curve| chart::draw(curve, x_range, y_range, WIDTH, HEIGHT)).collect();
    let last = |curve: &Curve| {
        let value = curve.last().map_or(ABSENT.into(), |(_, y)| significant(*y, 4));
        format!("{metric} = {value}")
    };
    let mut text = format!("{:>24}  {:<WIDTH$}  {}", "", last(&curves[0]), last(&curves[1]));
    for (row, (left, right)) in drawn[0].iter().zip(&drawn[1]).enumerate() {
        let label = match row {
            0 => significant(y_range.1, 4),
            row if row + 1 == HEIGHT => significant(y_range.0, 4),
            _ => String::new(),
        };
        text += &format!("\n{label:>24} |{left:<WIDTH$} |{right}");
    }
    let (from, to) = (chart::short(x_range.0), format!("{} {}", chart::short(x_range.1), axis.unit()));
    let width = WIDTH - from.len();
    text + &format!("\n{:>24}  {from}{to:>width$}  {from}{to:>width$}", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let a: Table = "lr = 0.1\nenv = \"x\"\nold = 1".parse().unwrap();
        let b: Table = "lr = 0.2\nenv = \"x\"\nnew = true".parse().unwrap();
        let expected = [("lr", ["0.1", "0.2"]), ("new", ["-", "true"]), ("old", ["1", "-"])];
        let expected = expected.map(|(key, values)| (key.to_string(), values.map(String::from).to_vec()));
        assert_eq!(differences(&[&a, &b]), expected);
        let values = |differing: Vec<(String, Vec<String>)>| differing.into_iter().map(|(_, values)| values);
        let of_three = values(differences(&[&a, &a, &b])).next().unwrap();
        assert_eq!(of_three, ["0.1", "0.1", "0.2"]);
        assert_eq!(differences(&[&a]), []);
    }
}
