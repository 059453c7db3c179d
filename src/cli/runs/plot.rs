//! `runs plot`: the curves of runs as a picture, one panel per metric, one colour per run or group.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::config::UsageError;
use crate::output::tell;
use crate::trainer::history::{Axis, Curves};

use super::subject::{Banded, Subject};
use crate::cli::chart::{self, Curve};
use crate::cli::picture::{Anchor, Ink, Picture, Point};

/// What to draw, and where.
#[derive(Debug, Args)]
pub struct Plot {
    /// Runs: names, directories or "latest"; the name of a group of --num-seeds stands for the mean of its runs, with a band
    /// of one standard deviation
    #[arg(required = true)]
    runs: Vec<String>,
    /// Metrics to draw, separated by commas [default: return, length, entropy, losses, approx_kl, clip_frac]
    #[arg(long = "metric", value_name = "NAMES", value_delimiter = ',')]
    metrics: Vec<String>,
    /// What to draw them over
    #[arg(long, value_name = "AXIS", default_value = "timesteps")]
    x: Axis,
    /// The picture, whose name ends with .svg or .png
    #[arg(long, short, value_name = "FILE", default_value = "curves.svg")]
    out: PathBuf,
}

impl Plot {
    pub fn run(&self, checkpoint_dir: &Path) -> Result<()> {
        let encode = match self.out.extension().and_then(|extension| extension.to_str()) {
            Some("svg") => |picture: Picture| Ok(picture.to_svg().into_bytes()),
            Some("png") => |picture: Picture| picture.to_png(),
            _ => bail!(UsageError(format!(
                "{} ends with neither .svg nor .png, the formats that are written",
                self.out.display()
            ))),
        };
        let subjects =
            self.runs.iter().map(|run| Subject::named(run, checkpoint_dir)).collect::<Result<Vec<_>>>()?;
        let runs: Vec<Curves> = subjects.iter().flat_map(|subject| subject.runs.clone()).collect();
        let metrics = chart::metrics(&self.metrics, &runs)?;
        let names: Vec<&str> = subjects.iter().map(|subject| subject.name.as_str()).collect();
        ensure!(
            !metrics.is_empty(),
            "there is nothing to draw: {} has logged no metrics yet",
            names.join(", ")
        );
        let bytes = encode(picture(&subjects, &metrics, self.x))?;
        fs::write(&self.out, bytes).with_context(|| format!("cannot write {}", self.out.display()))?;
        let curves = metrics.len() * names.len();
        let plural = if curves == 1 { "" } else { "s" };
        tell(&format!("drew {curves} curve{plural} into {}", self.out.display()));
        Ok(())
    }
}

const PANEL: Point = (460.0, 250.0);
/// Room around the axes of a panel: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 34.0, 20.0, 34.0);
const COLOURS: [[u8; 3]; 8] = [
    [0x00, 0x72, 0xb2],
    [0xd5, 0x5e, 0x00],
    [0x00, 0x9e, 0x73],
    [0xcc, 0x79, 0xa7],
    [0xe6, 0x9f, 0x00],
    [0x56, 0xb4, 0xe9],
    [0x6b, 0x4c, 0x9a],
    [0x00, 0x00, 0x00],
];
const BLACK: [u8; 3] = [0; 3];
const GREY: [u8; 3] = [0x88; 3];
const LEGEND_LINE: f64 = 20.0;

fn picture(subjects: &[Subject], metrics: &[String], axis: Axis) -> Picture {
    let columns = metrics.len().clamp(1, 2);
    let rows = metrics.len().div_ceil(columns);
    let legend = LEGEND_LINE * subjects.len() as f64 + 14.0;
    let mut picture = Picture::new(columns as f64 * PANEL.0, rows as f64 * PANEL.1 + legend);
    for (i, subject) in subjects.iter().enumerate() {
        let (x, y) = (MARGIN.0, LEGEND_LINE * (i + 1) as f64);
        let ink = Ink { colour: COLOURS[i % COLOURS.len()], opacity: 1.0, width: 3.0 };
        picture.line(vec![(x, y - 4.0), (x + 18.0, y - 4.0)], ink);
        picture.text((x + 26.0, y), Anchor::Start, false, BLACK, &subject.name);
    }
    for (i, metric) in metrics.iter().enumerate() {
        let corner = ((i % columns) as f64 * PANEL.0, (i / columns) as f64 * PANEL.1 + legend);
        let curves: Vec<Banded> = subjects.iter().map(|subject| subject.curve(metric, axis)).collect();
        panel(&mut picture, corner, metric, axis, &curves);
    }
    picture
}

/// One metric: axes with round numbers, and for each run its points, faintly, under their moving average, for each group
/// its band under its mean.
fn panel(picture: &mut Picture, (x0, y0): Point, metric: &str, axis: Axis, curves: &[Banded]) {
    let all: Vec<Curve> =
        curves.iter().flat_map(|c| [c.mean.clone(), c.low.clone(), c.high.clone()]).collect();
    let (first, last) = chart::range(&all, |p| p.0);
    let x_range = (first.min(0.0), last.max(0.0));
    let (y_ticks, x_ticks) = (chart::ticks(chart::range(&all, |p| p.1), 5), chart::ticks(x_range, 5));
    let y_range = (y_ticks[0], y_ticks[y_ticks.len() - 1]);
    let (left, top) = (x0 + MARGIN.0, y0 + MARGIN.1);
    let (right, bottom) = (x0 + PANEL.0 - MARGIN.2, y0 + PANEL.1 - MARGIN.3);
    let at = |(x, y): Point| {
        let x = left + (x - x_range.0) / (x_range.1 - x_range.0) * (right - left);
        (x, bottom - (y - y_range.0) / (y_range.1 - y_range.0) * (bottom - top))
    };
    let thin = |colour| Ink { colour, opacity: 1.0, width: 1.0 };
    picture.text((left, top - 14.0), Anchor::Start, true, BLACK, metric);
    for &tick in &y_ticks {
        let (_, y) = at((0.0, tick));
        picture.line(vec![(left, y), (right, y)], thin([0xdd; 3]));
        picture.text((left - 6.0, y + 4.0), Anchor::End, false, BLACK, &chart::short(tick));
    }
    for &tick in x_ticks.iter().filter(|tick| **tick <= x_range.1) {
        let (x, _) = at((tick, y_range.0));
        picture.line(vec![(x, bottom), (x, bottom + 4.0)], thin(GREY));
        picture.text((x, bottom + 17.0), Anchor::Middle, false, BLACK, &chart::short(tick));
    }
    picture.line(vec![(left, bottom), (right, bottom)], thin(GREY));
    picture.text((right, top - 14.0), Anchor::End, false, GREY, &format!("over {}", axis.unit()));
    for (Banded { mean, low, high }, colour) in curves.iter().zip(COLOURS.into_iter().cycle()) {
        let ink = |opacity, width| Ink { colour, opacity, width };
        let smooth = mean.len() >= SMOOTHED;
        let shown =
            |curve: &Curve| if smooth { chart::smooth(curve, curve.len() / 25) } else { curve.clone() };
        let points = |curve: &Curve| thinned(curve).map(at).collect::<Vec<_>>();
        if !low.is_empty() {
            let back = points(&shown(high)).into_iter().rev();
            picture.area(points(&shown(low)).into_iter().chain(back).collect(), ink(0.2, 0.0));
        } else if smooth {
            picture.line(points(mean), ink(0.25, 1.0));
        }
        picture.line(points(&shown(mean)), ink(1.0, 1.8));
    }
}

/// Fewest points of a curve that is drawn smoothly.
const SMOOTHED: usize = 100;

/// At most about two thousand points, which is more than a panel can show.
fn thinned(curve: &Curve) -> impl Iterator<Item = Point> {
    curve.iter().copied().step_by(curve.len().div_ceil(2000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panel_has_round_numbers_around_its_curve() {
        let mut picture = Picture::new(PANEL.0, PANEL.1);
        let curve = Banded { mean: vec![(0.0, -1.0), (100_000.0, 3.0)], low: vec![], high: vec![] };
        panel(&mut picture, (0.0, 0.0), "reward/<kill>", Axis::Timesteps, &[curve]);
        let svg = picture.to_svg();
        let (right, bottom) = (PANEL.0 - MARGIN.2, PANEL.1 - MARGIN.3);
        assert!(svg.contains(&format!("points=\"64.0,{bottom:.1} {right:.1},34.0\"")), "{svg}");
        for part in [">100 k</text>", ">-1</text>", "reward/&lt;kill>", "over timesteps"] {
            assert!(svg.contains(part), "no {part} in {svg}");
        }
    }

    #[test]
    fn a_picture_has_a_panel_for_each_metric_and_a_band_for_each_group() {
        let dir = tempfile::tempdir().unwrap();
        let rows =
            "{\"update\":1,\"timesteps\":1,\"train/a\":2}\n{\"update\":2,\"timesteps\":2,\"train/a\":3}\n";
        fs::write(dir.path().join("metrics.jsonl"), rows).unwrap();
        let read = || Curves::read(dir.path()).unwrap();
        let subject = |name: &str, runs| Subject { name: name.into(), directories: vec![], runs };
        let subjects = [subject("one", vec![read()]), subject("two", vec![read(), read()])];
        let svg = picture(&subjects, &["train/a".into(), "b".into(), "c".into()], Axis::Update).to_svg();
        assert_eq!((svg.matches("over updates").count(), svg.matches("<polygon").count()), (3, 1));
        assert!(svg.contains(">one</text>") && svg.contains(">two</text>"));
    }
}
