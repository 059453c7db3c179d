//! Curves as text, and which ones to draw.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use crate::config::UsageError;
use crate::names::nearest;
use crate::trainer::history::Curves;

/// Points of x and y, by x.
pub type Curve = Vec<(f64, f64)>;

/// What is drawn unless something else is asked for, if the runs have it.
const USUAL: [&str; 7] = [
    "train/mean_episode_return",
    "train/mean_episode_length",
    "train/entropy",
    "train/pg_loss",
    "train/vf_loss",
    "train/approx_kl",
    "train/clip_frac",
];

/// The metrics to draw: those asked for, or the usual ones.
///
/// # Errors
/// A [`UsageError`] for a metric that no run has.
pub fn metrics(asked: &[String], runs: &[Curves]) -> Result<Vec<String>> {
    let names: BTreeSet<&str> = runs.iter().flat_map(Curves::names).collect();
    if asked.is_empty() {
        return Ok(USUAL.into_iter().filter(|name| names.contains(name)).map(String::from).collect());
    }
    asked.iter().map(|name| Ok(resolve(name, &names)?.to_owned())).collect()
}

/// The metric of that name: `train/entropy`, or `entropy` where no other group has one.
fn resolve<'a>(asked: &str, names: &BTreeSet<&'a str>) -> Result<&'a str> {
    if let Some(name) = names.get(asked) {
        return Ok(name);
    }
    let short = |name: &str| name.split_once('/').map_or(name, |(_, rest)| rest).to_owned();
    let so_called: Vec<&str> = names.iter().copied().filter(|name| short(name) == asked).collect();
    if let [name] = so_called[..] {
        return Ok(name);
    }
    let all: Vec<String> = names.iter().flat_map(|name| [name.to_string(), short(name)]).collect();
    let hint = nearest(asked, all.iter().map(String::as_str))
        .map_or(String::new(), |name| format!("; did you mean {name}?"));
    bail!(UsageError(format!("there is no metric {asked} in these runs{hint}")))
}

/// What is smaller is drawn as 0: no f32 is.
const TINY: f64 = 1e-46;
/// Numbers whose distance is a smaller share of them than this are drawn as equal.
const CLOSE: f64 = 1e-9;

/// The smallest and the largest coordinate of all curves, so far apart that numbers between them can be told apart; 0 to 1
/// if there are no points.
pub fn range(curves: &[Curve], coordinate: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = curves.iter().flatten().map(coordinate);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    let size = low.abs().max(high.abs());
    if low > high {
        (0.0, 1.0)
    } else if size < TINY {
        (-0.5, 0.5)
    } else if high - low < CLOSE * size {
        (low - 0.1 * size, high + 0.1 * size)
    } else {
        (low, high)
    }
}

/// About `count` round numbers at equal distances that span the range.
pub fn ticks((low, high): (f64, f64), count: usize) -> Vec<f64> {
    let least = (high - low) / count as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
    // At most a few more than asked for, whatever rounding does.
    (0..=2 * count)
        .map(|i| (first + i as f64) * step)
        .take_while(|tick| *tick <= (last + 0.5) * step)
        .collect()
}

/// A number in a few characters: `1.5 M`, `20 k`, `0.25`, `1e-5`.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let trimmed = |value: f64, digits: usize| {
        let text = format!("{value:.digits$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        if text == "-0" { "0".to_string() } else { text.to_string() }
    };
    match size {
        0.0 => "0".into(),
        size if !(1e-3..1e12).contains(&size) => format!("{value:.0e}"),
        size if size >= 1e9 => format!("{} G", trimmed(value / 1e9, 2)),
        size if size >= 1e6 => format!("{} M", trimmed(value / 1e6, 2)),
        size if size >= 1e4 => format!("{} k", trimmed(value / 1e3, 2)),
        _ => trimmed(value, 4),
    }
}

/// The moving average over `width` points.
pub fn smooth(curve: &Curve, width: usize) -> Curve {
    let mean = |i: usize| {
        let around = &curve[i.saturating_sub(width / 2)..(i + width / 2 + 1).min(curve.len())];
        around.iter().map(|(_, y)| y).sum::<f64>() / around.len() as f64
    };
    curve.iter().enumerate().map(|(i, (x, _))| (*x, mean(i))).collect()
}

/// A curve as `height` lines of `width` characters: columns of bars, each the mean of the points in its share of x.
pub fn draw(
    curve: &Curve,
    x_range: (f64, f64),
    y_range: (f64, f64),
    width: usize,
    height: usize,
) -> Vec<String> {
    const EIGHTHS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let mut sums = vec![(0.0, 0u32); width];
    for &(x, y) in curve {
        let share = (x - x_range.0) / (x_range.1 - x_range.0);
        let (sum, count) = &mut sums[((share * width as f64) as usize).min(width - 1)];
        *sum += y;
        *count += 1;
    }
    let levels: Vec<Option<usize>> = sums
        .iter()
        .map(|&(sum, count)| {
            let share = (sum / f64::from(count) - y_range.0) / (y_range.1 - y_range.0);
            // The lowest value still shows.
            (count > 0).then(|| 1 + (share * (8 * height - 1) as f64).round() as usize)
        })
        .collect();
    let levels = without_gaps(levels);
    let cell = |level: &Option<usize>, row: usize| {
        let below = 8 * (height - 1 - row);
        EIGHTHS[level.map_or(0, |level| level.saturating_sub(below).min(8))]
    };
    (0..height).map(|row| levels.iter().map(|level| cell(level, row)).collect()).collect()
}

/// Fills the gaps between columns that have a level with the level before.
fn without_gaps(mut levels: Vec<Option<usize>>) -> Vec<Option<usize>> {
    let end = levels.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    for column in 1..end {
        levels[column] = levels[column].or(levels[column - 1]);
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_is_a_ramp() {
        let ramp: Curve = (0..4).map(|i| (f64::from(i), f64::from(i))).collect();
        let drawn = draw(&ramp, (0.0, 3.0), (0.0, 3.0), 4, 2);
        assert_eq!(drawn, ["  ▃█", "▁▆██"]);
        assert_eq!(draw(&vec![(1.0, 0.0), (3.0, 1.0)], (0.0, 4.0), (0.0, 1.0), 5, 1), [" ▁▁█ "]);
        assert_eq!(draw(&Vec::new(), (0.0, 1.0), (0.0, 1.0), 3, 1), ["   "]);
    }

    #[test]
    fn ticks_are_round_and_span_the_range() {
        assert_eq!(ticks((0.0, 500.0), 5), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks((-1.0, 3.0), 5), [-1.0, 0.0, 1.0, 2.0, 3.0]);
        let small = ticks((-0.0039, 0.0008), 5);
        assert!(small[0] <= -0.0039 && small[small.len() - 1] >= 0.0008 && small.len() < 9, "{small:?}");
        let numbers = [0.0, -1.0, 0.25, 500.0, 20_000.0, 1.5e6, 1e-5, 3e9].map(short);
        assert_eq!(numbers, ["0", "-1", "0.25", "500", "20 k", "1.5 M", "1e-5", "3 G"]);
        let ramp: Curve = (0..5).map(|i| (f64::from(i), f64::from(i % 2))).collect();
        assert_eq!(smooth(&ramp, 2)[2], (2.0, 2.0 / 3.0));
    }

    #[test]
    fn ranges_have_a_width() {
        assert_eq!(range(&[vec![(1.0, 5.0)], vec![(3.0, 5.0)]], |p| p.0), (1.0, 3.0));
        assert_eq!(range(&[vec![(1.0, 5.0)]], |p| p.1), (4.5, 5.5));
        assert_eq!(range(&[vec![(1.0, 0.0)]], |p| p.1), (-0.5, 0.5));
        assert_eq!(range(&[], |p| p.1), (0.0, 1.0));
        assert_eq!(range(&[vec![(0.0, 0.0), (1.0, 5e-324)]], |p| p.1), (-0.5, 0.5));
        let most = f64::from(f32::MAX);
        for (low, high) in [(-most, most), (1e38, 1.000_000_000_000_1e38), (0.0, 1.5e-45), (-most, 0.0)] {
            let (low, high) = range(&[vec![(0.0, low), (1.0, high)]], |p| p.1);
            let found = ticks((low, high), 5);
            let room = 1e-6 * (high - low);
            assert!(found[0] <= low + room && found[found.len() - 1] >= high - room, "{found:?}");
            assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        }
    }
}
