//! What the run of a trial came to: its metric over its steps, summed up in a few points.

use std::path::Path;

use anyhow::Result;

use crate::sweep::{Curve, Plan, Stage, journal::Point};
use crate::trainer::history::History;

/// The share of the steps, at the beginning, of which nothing is learned.
const SKIPPED: f64 = 0.2;

/// The logged values of a metric of a run, by steps. `share` is what the run had of the seconds in which it was trained.
///
/// # Errors
/// One line: the metrics cannot be read.
pub fn logged(run: &Path, metric: &str, share: f64) -> Result<Vec<Point>> {
    let history = History::read(run)?;
    let point = |row| {
        let (steps, score) = (history.get(row, "timesteps")?, history.get(row, metric)?);
        let seconds = history.get(row, "time/wall_seconds")?;
        score.is_finite().then_some(Point { steps: steps as u64, score, cost: seconds * share })
    };
    Ok((0..history.len()).filter_map(point).collect())
}

/// The mean of several runs where all of them have a value. They cost what all of them cost.
pub fn mean(runs: &[Vec<Point>]) -> Vec<Point> {
    let [first, others @ ..] = runs else { return Vec::new() };
    let at = |run: &Vec<Point>, steps| run.iter().find(|point| point.steps == steps).copied();
    let mean = |own: &Point| {
        let others: Option<Vec<Point>> = others.iter().map(|run| at(run, own.steps)).collect();
        let all: Vec<Point> = [*own].into_iter().chain(others?).collect();
        let sum = |of: fn(&Point) -> f64| all.iter().map(of).sum::<f64>();
        let score = sum(|point| point.score) / all.len() as f64;
        Some(Point { steps: own.steps, score, cost: sum(|point| point.cost) })
    };
    first.iter().filter_map(mean).collect()
}

/// The points after the first fifth of the steps as at most `count`: the last one as it is, and means of those before it in parts of equally
/// many steps, as PufferLib has them.
pub fn downsampled(points: &[Point], count: usize) -> Vec<Point> {
    let Some((last, before)) = points.split_last() else { return Vec::new() };
    let begin = SKIPPED * last.steps as f64;
    let bins = count.saturating_sub(1);
    let width = (last.steps as f64 - begin) / bins.max(1) as f64;
    let bin_of = |point: &Point| ((point.steps as f64 - begin) / width) as usize;
    let used: Vec<&Point> = before.iter().filter(|point| point.steps as f64 > begin).collect();
    let in_bin = |bin| used.iter().copied().filter(move |point| bin_of(point) == bin).collect::<Vec<_>>();
    let mean = |points: Vec<&Point>| {
        let mean =
            |of: fn(&Point) -> f64| points.iter().map(|point| of(point)).sum::<f64>() / points.len() as f64;
        (!points.is_empty()).then(|| Point {
            steps: mean(|point| point.steps as f64) as u64,
            score: mean(|point| point.score),
            cost: mean(|point| point.cost),
        })
    };
    (0..bins).filter_map(|bin| mean(in_bin(bin))).chain([*last]).collect()
}

/// Points as shares of `total` steps with what they are worth.
pub fn curve(plan: &Plan, points: &[Point], total: u64) -> Curve {
    let stage = |point: &Point| Stage {
        share: point.steps as f64 / total.max(1) as f64,
        cost: point.cost,
        score: plan.worth(point.score),
    };
    points.iter().map(stage).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_summed_up_in_a_few_points_of_which_the_last_is_kept() {
        let points: Vec<Point> =
            (1..=10).map(|i| Point { steps: 10 * i, score: i as f64, cost: 0.5 * i as f64 }).collect();
        // 20 is not above a fifth; 30, 40, 50 and 60 are before the middle of 20 to 100, 60 is on it.
        let expected = [
            Point { steps: 40, score: 4.0, cost: 2.0 },
            Point { steps: 75, score: 7.5, cost: 3.75 },
            Point { steps: 100, score: 10.0, cost: 5.0 },
        ];
        assert_eq!(downsampled(&points, 3), expected);
        assert_eq!(downsampled(&points, 1), expected[2..]);
        assert_eq!(downsampled(&points[9..], 5), expected[2..]);
        assert!(downsampled(&[], 5).is_empty());
    }

    #[test]
    fn several_runs_are_one_curve_where_all_have_a_value() {
        let point = |steps, score| Point { steps, score, cost: 0.5 };
        let runs =
            [vec![point(10, 1.0), point(20, 2.0), point(30, 3.0)], vec![point(10, 3.0), point(30, 6.0)]];
        let expected = [(10, 2.0), (30, 4.5)].map(|(steps, score)| Point { steps, score, cost: 1.0 });
        assert_eq!(mean(&runs), expected);
        assert_eq!(mean(&runs[..1]), runs[0]);
        assert!(mean(&[]).is_empty());
    }

    #[test]
    fn rows_without_the_metric_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let rows = "{\"timesteps\":10,\"time/wall_seconds\":1}\n{\"timesteps\":20,\"time/wall_seconds\":2,\"train/a\":3}\n";
        std::fs::write(folder.path().join("metrics.jsonl"), rows).unwrap();
        let points = logged(folder.path(), "train/a", 0.25).unwrap();
        assert_eq!(points, [Point { steps: 20, score: 3.0, cost: 0.5 }]);
        assert!(logged(folder.path(), "train/b", 1.0).unwrap().is_empty());
    }
}
