//! `runs plot`: the curves of runs as an SVG picture, one panel per metric, one colour per run.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::config::UsageError;
use crate::trainer::{History, run_dir, thousands};

use super::chart::{self, Curve};
use super::find;

/// What to draw, and where.
#[derive(Debug, Args)]
pub struct Plot {
    /// Run directories, names of runs, or "latest"
    #[arg(required = true)]
    runs: Vec<String>,
    /// Metrics to draw [default: return, length, entropy, losses, approx_kl, clip_frac]
    #[arg(long = "metric", value_name = "NAME")]
    metrics: Vec<String>,
    /// The picture
    #[arg(long, short, value_name = "FILE", default_value = "curves.svg")]
    out: PathBuf,
}

impl Plot {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        ensure!(
            self.out.extension().is_some_and(|extension| extension == "svg"),
            UsageError(format!(
                "{} does not end with .svg, the one format that is written",
                self.out.display()
            ))
        );
        let directories: Vec<PathBuf> =
            self.runs.iter().map(|run| find(run, checkpoint_dir)).collect::<Result<_>>()?;
        let histories: Vec<History> =
            directories.iter().map(|run| History::read(run)).collect::<Result<_>>()?;
        let names: Vec<String> = directories.iter().map(|run| run_dir::name_of(run)).collect();
        let metrics = chart::metrics(&self.metrics, &histories)?;
        let picture = picture(&names, &histories, &metrics);
        fs::write(&self.out, picture).with_context(|| format!("cannot write {}", self.out.display()))?;
        eprintln!("drew {} curves into {}", metrics.len() * names.len(), self.out.display());
        Ok(())
    }
}

const PANEL: (f64, f64) = (420.0, 240.0);
const MARGIN: f64 = 56.0;
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#000000"];

fn picture(names: &[String], histories: &[History], metrics: &[String]) -> String {
    let columns = metrics.len().clamp(1, 2);
    let rows = metrics.len().div_ceil(columns);
    let legend = 20.0 * names.len() as f64 + 10.0;
    let (width, height) = (columns as f64 * PANEL.0, rows as f64 * PANEL.1 + legend);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, name) in names.iter().enumerate() {
        let (y, colour) = (20.0 * i as f64 + 20.0, COLOURS[i % COLOURS.len()]);
        let name = escaped(name);
        add(
            &mut svg,
            &format!("<rect x=\"{MARGIN}\" y=\"{}\" width=\"16\" height=\"4\" fill=\"{colour}\"/>", y - 6.0),
        );
        add(&mut svg, &format!("<text x=\"{}\" y=\"{y}\">{name}</text>", MARGIN + 22.0));
    }
    for (i, metric) in metrics.iter().enumerate() {
        let origin = ((i % columns) as f64 * PANEL.0, (i / columns) as f64 * PANEL.1 + legend);
        let curves: Vec<Curve> = histories.iter().map(|history| history.curve(metric)).collect();
        add(
            &mut svg,
            &format!(
                "<g transform=\"translate({} {})\">\n{}</g>",
                origin.0,
                origin.1,
                panel(metric, &curves)
            ),
        );
    }
    svg + "</svg>\n"
}

/// One metric: axes with the ends of their ranges, and a line for each run.
fn panel(metric: &str, curves: &[Curve]) -> String {
    let (x_range, y_range) = (chart::range(curves, |p| p.0), chart::range(curves, |p| p.1));
    let (left, top, right, bottom) = (MARGIN, 24.0, PANEL.0 - 16.0, PANEL.1 - 28.0);
    let at = |(x, y): (f64, f64)| {
        let x = left + (x - x_range.0) / (x_range.1 - x_range.0) * (right - left);
        let y = bottom - (y - y_range.0) / (y_range.1 - y_range.0) * (bottom - top);
        format!("{x:.1},{y:.1}")
    };
    let mut svg = String::new();
    add(&mut svg, &format!("<path d=\"M{left},{top} V{bottom} H{right}\" fill=\"none\" stroke=\"#888\"/>"));
    add(&mut svg, &format!("<text x=\"{left}\" y=\"16\" font-weight=\"bold\">{}</text>", escaped(metric)));
    for (value, y) in [(y_range.1, top + 10.0), (y_range.0, bottom)] {
        add(&mut svg, &format!("<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{value:.4}</text>", left - 4.0));
    }
    let label = |value: f64| thousands(value.max(0.0) as u64);
    let below = bottom + 16.0;
    add(&mut svg, &format!("<text x=\"{left}\" y=\"{below}\">{}</text>", label(x_range.0)));
    add(
        &mut svg,
        &format!(
            "<text x=\"{right}\" y=\"{below}\" text-anchor=\"end\">{} timesteps</text>",
            label(x_range.1)
        ),
    );
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<_> = thinned(curve).map(at).collect();
        let points = points.join(" ");
        add(
            &mut svg,
            &format!(
                "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>"
            ),
        );
    }
    svg
}

/// At most about two thousand points, which is more than a panel can show.
fn thinned(curve: &Curve) -> impl Iterator<Item = (f64, f64)> {
    curve.iter().copied().step_by(curve.len().div_ceil(2000).max(1))
}

fn add(svg: &mut String, element: &str) {
    writeln!(svg, "{element}").expect("a string takes all");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_spans_its_axes() {
        let svg = panel("reward/<kill>", &[vec![(0.0, -1.0), (100_000.0, 3.0)]]);
        assert!(svg.contains("points=\"56.0,212.0 404.0,24.0\""), "{svg}");
        assert!(
            svg.contains("100,000 timesteps") && svg.contains("3.0000") && svg.contains("reward/&lt;kill>")
        );
    }

    #[test]
    fn a_picture_has_a_panel_for_each_metric_and_a_line_for_each_run() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("metrics.jsonl"), "{\"timesteps\":1,\"a\":2}\n{\"timesteps\":2,\"a\":3}\n")
            .unwrap();
        let histories = [History::read(dir.path()).unwrap(), History::default()];
        let names = ["one".to_string(), "two".to_string()];
        let svg = picture(&names, &histories, &["a".into(), "b".into(), "c".into()]);
        assert_eq!((svg.matches("<g ").count(), svg.matches("<polyline").count()), (3, 6));
        assert_eq!(svg.matches('<').count(), svg.matches('>').count());
    }
}
