//! Curves as text, and which ones to draw.

use anyhow::{Result, bail};

use crate::config::{UsageError, nearest};
use crate::trainer::History;

/// Points of x and y, by x.
pub type Curve = Vec<(f64, f64)>;

/// What is drawn unless something else is asked for, if the runs have it.
const USUAL: [&str; 7] =
    ["mean_episode_return", "mean_episode_length", "entropy", "pg_loss", "vf_loss", "approx_kl", "clip_frac"];

/// The metrics to draw: those asked for, or the usual ones.
///
/// # Errors
/// A [`UsageError`] for a metric that no run has.
pub fn metrics(asked: &[String], histories: &[History]) -> Result<Vec<String>> {
    let known = |name: &str| histories.iter().any(|history| history.column(name).is_some());
    if let Some(name) = asked.iter().find(|name| !known(name)) {
        let mut names: Vec<String> =
            histories.iter().flat_map(|history| history.names()).map(String::from).collect();
        names.sort();
        names.dedup();
        let hint = nearest(name, &names).map_or(String::new(), |name| format!("; did you mean {name}?"));
        bail!(UsageError(format!("there is no metric {name} in these runs{hint}")));
    }
    let usual = || USUAL.into_iter().filter(|name| known(name)).map(String::from).collect();
    Ok(if asked.is_empty() { usual() } else { asked.to_vec() })
}

/// The smallest and the largest coordinate of all curves, not quite equal; 0 to 1 if there are no points.
pub fn range(curves: &[Curve], coordinate: impl Fn(&(f64, f64)) -> f64) -> (f64, f64) {
    let values = curves.iter().flatten().map(coordinate);
    let (low, high) =
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    match low.partial_cmp(&high) {
        Some(std::cmp::Ordering::Less) => (low, high),
        Some(std::cmp::Ordering::Equal) => {
            let half = if low == 0.0 { 0.5 } else { 0.1 * low.abs() };
            (low - half, high + half)
        }
        _ => (0.0, 1.0),
    }
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
    fn ranges_have_a_width() {
        assert_eq!(range(&[vec![(1.0, 5.0)], vec![(3.0, 5.0)]], |p| p.0), (1.0, 3.0));
        assert_eq!(range(&[vec![(1.0, 5.0)]], |p| p.1), (4.5, 5.5));
        assert_eq!(range(&[vec![(1.0, 0.0)]], |p| p.1), (-0.5, 0.5));
        assert_eq!(range(&[], |p| p.1), (0.0, 1.0));
    }
}
