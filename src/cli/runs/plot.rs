//! `runs plot`: the curves of runs as an SVG picture, one panel per metric, one colour per run.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::config::UsageError;
use crate::output::tell;
use crate::trainer::{History, run_dir};

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
        ensure!(
            !metrics.is_empty(),
            "there is nothing to draw: {} has logged no metrics yet",
            names.join(", ")
        );
        let picture = picture(&names, &histories, &metrics);
        fs::write(&self.out, picture).with_context(|| format!("cannot write {}", self.out.display()))?;
        let curves = metrics.len() * names.len();
        let plural = if curves == 1 { "" } else { "s" };
        tell(&format!("drew {curves} curve{plural} into {}", self.out.display()));
        Ok(())
    }
}

const PANEL: (f64, f64) = (460.0, 250.0);
/// Room around the axes of a panel: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 34.0, 20.0, 34.0);
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6b4c9a", "#000000"];
const LEGEND_LINE: f64 = 20.0;

fn picture(names: &[String], histories: &[History], metrics: &[String]) -> String {
    let columns = metrics.len().clamp(1, 2);
    let rows = metrics.len().div_ceil(columns);
    let legend = LEGEND_LINE * names.len() as f64 + 14.0;
    let (width, height) = (columns as f64 * PANEL.0, rows as f64 * PANEL.1 + legend);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (i, name) in names.iter().enumerate() {
        let (x, y, colour) = (MARGIN.0, LEGEND_LINE * (i + 1) as f64, COLOURS[i % COLOURS.len()]);
        line(&mut svg, (x, y - 4.0), (x + 18.0, y - 4.0), &format!("stroke=\"{colour}\" stroke-width=\"3\""));
        text(&mut svg, (x + 26.0, y), "", name);
    }
    for (i, metric) in metrics.iter().enumerate() {
        let (x, y) = ((i % columns) as f64 * PANEL.0, (i / columns) as f64 * PANEL.1 + legend);
        let curves: Vec<Curve> = histories.iter().map(|history| history.curve(metric)).collect();
        add(&mut svg, &format!("<g transform=\"translate({x} {y})\">\n{}</g>", panel(metric, &curves)));
    }
    svg + "</svg>\n"
}

/// One metric: axes with round numbers, and for each run its points, faintly, under their moving average.
fn panel(metric: &str, curves: &[Curve]) -> String {
    let x_range = (0.0, chart::range(curves, |p| p.0).1);
    let (y_ticks, x_ticks) = (chart::ticks(chart::range(curves, |p| p.1), 5), chart::ticks(x_range, 5));
    let y_range = (y_ticks[0], y_ticks[y_ticks.len() - 1]);
    let (left, top) = (MARGIN.0, MARGIN.1);
    let (right, bottom) = (PANEL.0 - MARGIN.2, PANEL.1 - MARGIN.3);
    let at = |(x, y): (f64, f64)| {
        let x = left + (x - x_range.0) / (x_range.1 - x_range.0) * (right - left);
        (x, bottom - (y - y_range.0) / (y_range.1 - y_range.0) * (bottom - top))
    };
    let mut svg = String::new();
    text(&mut svg, (left, top - 14.0), "font-weight=\"bold\"", metric);
    for &tick in &y_ticks {
        let (_, y) = at((0.0, tick));
        line(&mut svg, (left, y), (right, y), "stroke=\"#ddd\"");
        text(&mut svg, (left - 6.0, y + 4.0), "text-anchor=\"end\"", &chart::short(tick));
    }
    for &tick in x_ticks.iter().filter(|tick| **tick <= x_range.1) {
        let (x, _) = at((tick, y_range.0));
        line(&mut svg, (x, bottom), (x, bottom + 4.0), "stroke=\"#888\"");
        text(&mut svg, (x, bottom + 17.0), "text-anchor=\"middle\"", &chart::short(tick));
    }
    line(&mut svg, (left, bottom), (right, bottom), "stroke=\"#888\"");
    text(&mut svg, (right, top - 14.0), "text-anchor=\"end\" fill=\"#888\"", "over timesteps");
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let mut draw = |curve: &Curve, style: &str| {
            let points: Vec<_> = thinned(curve).map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let points = points.join(" ");
            add(
                &mut svg,
                &format!("<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" {style}/>"),
            );
        };
        if curve.len() < SMOOTHED {
            draw(curve, "stroke-width=\"1.8\"");
        } else {
            draw(curve, "stroke-width=\"1\" stroke-opacity=\"0.25\"");
            draw(&chart::smooth(curve, curve.len() / 25), "stroke-width=\"1.8\"");
        }
    }
    svg
}

/// Fewest points of a curve that is drawn smoothly.
const SMOOTHED: usize = 100;

/// At most about two thousand points, which is more than a panel can show.
fn thinned(curve: &Curve) -> impl Iterator<Item = (f64, f64)> {
    curve.iter().copied().step_by(curve.len().div_ceil(2000).max(1))
}

fn line(svg: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    add(svg, &format!("<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"));
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, text: &str) {
    add(svg, &format!("<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{}</text>", escaped(text)));
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
    fn a_panel_has_round_numbers_around_its_curve() {
        let svg = panel("reward/<kill>", &[vec![(0.0, -1.0), (100_000.0, 3.0)]]);
        let (right, bottom) = (PANEL.0 - MARGIN.2, PANEL.1 - MARGIN.3);
        assert!(svg.contains(&format!("points=\"64.0,{bottom:.1} {right:.1},34.0\"")), "{svg}");
        assert!(
            svg.contains(">100 k</text>") && svg.contains(">-1</text>") && svg.contains("reward/&lt;kill>")
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
