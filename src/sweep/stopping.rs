//! Which trials end early: those that are behind others at the same share of their steps.

/// What a trial had come to after some of its steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stage {
    /// The share of its steps, from 0 to 1.
    pub share: f64,
    /// Seconds that it had cost until then.
    pub cost: f64,
    /// More is better.
    pub score: f64,
}

/// The stages of a trial, by rising shares.
pub type Curve = Vec<Stage>;

/// Trials that have to have ended before [`Stopping::Quantile`] knows what a cost is worth.
const LEAST_ENDED: usize = 30;
/// The trials that it looks at: the newest that ended. Its line costs the cube of them.
const MOST_ENDED: usize = 200;
/// The newest scores of a trial, of which [`Stopping::Quantile`] takes the mean.
const NEWEST: usize = 30;
/// The share of the dearest trial's cost from which [`Stopping::Quantile`] asks, and seconds on top of it.
const ASKED_FROM: (f64, f64) = (0.3, 10.0);
/// Beyond so many times the dearest trial's cost, a trial goes on only near the best score.
const DEARER: f64 = 1.2;
/// How much of the best score it may lack there.
const MAY_LACK: f64 = 0.1;

/// A rule by which a trial ends early.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stopping {
    /// All trials have all their steps.
    Never,
    /// The median rule (Golovin and others 2017, Vizier): a trial ends whose best score so far is below the median of the others' running
    /// means up to there. It asks only after `from` of the steps and where at least `least` others have come as far.
    Median { from: f64, least: usize },
    /// Asynchronous successive halving (Li and others 2020, its stopping form): at each rung, which are 1 / eta, 1 / eta², ... of the steps, a
    /// trial ends that is not among the best 1 / eta of those that came there so far.
    Halving { eta: f64, rungs: u32 },
    /// PufferLib's rule, for trials that cost unequally: a trial ends whose score is below what the quantile of the trials that ended had for
    /// the cost it has come to.
    Quantile { quantile: f64, from: f64 },
}

/// The line `a + b ln cost`, with `b` from 0, below which a share of the scores lies: the quantile regression of (cost, score), exactly. One of the
/// best lines goes through two of the points, or is level and goes through one.
fn quantile_line(points: &[(f64, f64)], quantile: f64) -> (f64, f64) {
    let points: Vec<(f64, f64)> = points.iter().map(|(cost, score)| (cost.max(1e-9).ln(), *score)).collect();
    let loss = |&(a, b): &(f64, f64)| -> f64 {
        let missing = points.iter().map(|(x, y)| y - (a + b * x));
        missing.map(|miss| if miss >= 0.0 { quantile * miss } else { (quantile - 1.0) * miss }).sum()
    };
    let level = points.iter().map(|(_, y)| (*y, 0.0));
    let through = |i: usize, j: usize| {
        let ((x, y), (u, v)) = (points[i], points[j]);
        let slope = (v - y) / (u - x);
        (slope.is_finite() && slope > 0.0).then_some((y - slope * x, slope))
    };
    let count = points.len();
    let steep = (0..count).flat_map(|i| (0..i).map(move |j| (i, j))).filter_map(|(i, j)| through(i, j));
    let best = level.chain(steep).map(|line| (loss(&line), line)).min_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or((f64::NEG_INFINITY, 0.0), |(_, line)| line)
}

/// The score that a trial needs to go on at a cost, by (cost, score) of those that have ended.
fn needed(ended: &[(f64, f64)], cost: f64, quantile: f64) -> f64 {
    let dearest = ended.iter().map(|(cost, _)| *cost).fold(0.0, f64::max);
    if cost < ASKED_FROM.0 * dearest + ASKED_FROM.1 {
        return f64::NEG_INFINITY;
    }
    let best = ended.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
    if cost > DEARER * dearest {
        return best - MAY_LACK * best.abs();
    }
    let (a, b) = quantile_line(ended, quantile);
    a + b * cost.ln()
}

/// The last score of a curve up to a share of the steps; nothing if it has not come so far.
fn at(curve: &Curve, share: f64) -> Option<f64> {
    let has_come = curve.last().is_some_and(|last| last.share >= share - 1e-9);
    let before = curve.iter().rev().find(|stage| stage.share <= share + 1e-9);
    before.filter(|_| has_come).map(|stage| stage.score)
}

fn running_mean(curve: &Curve, share: f64) -> Option<f64> {
    at(curve, share)?;
    let up_to: Vec<f64> =
        curve.iter().take_while(|stage| stage.share <= share + 1e-9).map(|stage| stage.score).collect();
    Some(up_to.iter().sum::<f64>() / up_to.len() as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { (values[middle - 1] + values[middle]) / 2.0 } else { values[middle] }
}

impl Stopping {
    /// Whether a trial ends where its curve is now, beside the curves of the others.
    pub fn stops(&self, own: &Curve, others: &[Curve]) -> bool {
        let Some(&Stage { share, cost, score }) = own.last() else { return false };
        match *self {
            Stopping::Never => false,
            Stopping::Median { from, least } => {
                let mut means: Vec<f64> =
                    others.iter().filter_map(|other| running_mean(other, share)).collect();
                let best = own.iter().map(|stage| stage.score).fold(f64::NEG_INFINITY, f64::max);
                share >= from && share < 1.0 && means.len() >= least.max(1) && best < median(&mut means)
            }
            Stopping::Halving { eta, rungs } => (1..=rungs).any(|rung| {
                let rung = eta.powi(-(rung as i32));
                let Some(score) = at(own, rung) else { return false };
                let mut all: Vec<f64> = others.iter().filter_map(|other| at(other, rung)).collect();
                all.push(score);
                // Where fewer than eta have come, one of them goes on.
                let kept = ((all.len() as f64 / eta) as usize).max(1);
                all.sort_by(|a, b| b.total_cmp(a));
                score < all[kept - 1]
            }),
            Stopping::Quantile { quantile, from } => {
                let ended =
                    others.iter().filter_map(|other| other.last()).filter(|last| last.share >= 1.0 - 1e-9);
                let ended: Vec<(f64, f64)> = ended.map(|last| (last.cost, last.score)).collect();
                let newest = &own[own.len().saturating_sub(NEWEST)..];
                let mean = newest.iter().map(|stage| stage.score).sum::<f64>() / newest.len() as f64;
                let ended = &ended[ended.len().saturating_sub(MOST_ENDED)..];
                let may_end = share >= from && share < 1.0 && ended.len() >= LEAST_ENDED;
                may_end && mean.max(score) < needed(ended, cost, quantile)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(slope: f64, until: f64) -> Curve {
        (1..=10)
            .map(|i| f64::from(i) / 10.0)
            .take_while(|x| *x <= until + 1e-9)
            .map(|x| Stage { share: x, cost: 100.0 * x, score: slope * x })
            .collect()
    }

    #[test]
    fn the_median_rule_ends_what_is_below_the_middle() {
        let rule = Stopping::Median { from: 0.2, least: 3 };
        let others = [1.0, 2.0, 3.0].map(|slope| line(slope, 1.0));
        // At half of the steps the running means are slope x 0.3, the best score so far is slope x 0.5.
        assert!(rule.stops(&line(1.1, 0.5), &others));
        assert!(!rule.stops(&line(1.3, 0.5), &others));
        assert!(!rule.stops(&line(0.1, 0.1), &others), "it is too early");
        assert!(!rule.stops(&line(0.1, 0.5), &others[..2]), "there are too few");
        assert!(!rule.stops(&line(0.1, 1.0), &others), "it has ended");
        assert!(!rule.stops(&Vec::new(), &others));
    }

    #[test]
    fn halving_keeps_the_best_share_at_each_rung() {
        let rule = Stopping::Halving { eta: 2.0, rungs: 2 };
        let others = [1.0, 2.0, 3.0].map(|slope| line(slope, 0.6));
        assert!(rule.stops(&line(1.5, 0.3), &others));
        assert!(!rule.stops(&line(2.5, 0.3), &others));
        assert!(!rule.stops(&line(1.5, 0.2), &others), "it has not come to the first rung");
        assert!(!rule.stops(&line(1.5, 0.6), &[]), "the first one goes on");
        assert!(!Stopping::Never.stops(&line(0.0, 0.5), &others));
    }

    #[test]
    fn the_line_of_a_quantile_has_its_share_of_the_points_below_it() {
        // Scores 1 to 10 above ln cost, at two costs: a tenth to two tenths are below the line, and it rises as they do.
        let points: Vec<(f64, f64)> =
            (1..=10).flat_map(|i| [1.0, 100.0].map(|cost: f64| (cost, cost.ln() + f64::from(i)))).collect();
        let (a, b) = quantile_line(&points, 0.15);
        assert!((a - 2.0).abs() < 1e-9 && (b - 1.0).abs() < 1e-9, "{a} {b}");
        // What costs more and has less makes no line that falls.
        let (_, b) = quantile_line(&[(1.0, 5.0), (2.0, 4.0), (3.0, 3.0)], 0.3);
        assert_eq!(b, 0.0);
    }

    #[test]
    fn the_quantile_rule_ends_what_is_behind_at_its_cost() {
        let rule = Stopping::Quantile { quantile: 0.3, from: 0.2 };
        // Trials that cost 50 and 100 seconds and came to 10 to 39 and 20 to 49.
        let ended = |i: u32| {
            let (cost, score) = if i.is_multiple_of(2) { (50.0, 10.0) } else { (100.0, 20.0) };
            vec![Stage { share: 1.0, cost, score: score + f64::from(i / 2) }]
        };
        let others: Vec<Curve> = (0..60).map(ended).collect();
        let now = |cost, score| vec![Stage { share: 0.5, cost, score }];
        assert!(rule.stops(&now(50.0, 17.0), &others));
        assert!(!rule.stops(&now(50.0, 21.0), &others));
        assert!(rule.stops(&now(100.0, 27.0), &others) && !rule.stops(&now(100.0, 31.0), &others));
        assert!(!rule.stops(&now(30.0, 0.0), &others), "it has cost too little to tell");
        assert!(rule.stops(&now(130.0, 43.0), &others), "it costs more than all and is not near the best");
        assert!(!rule.stops(&now(130.0, 45.0), &others));
        assert!(!rule.stops(&now(50.0, 0.0), &others[..29]), "too few have ended");
        // Of a long sweep the newest count, here better ones.
        let better =
            |i| ended(i).into_iter().map(|stage| Stage { score: stage.score + 50.0, ..stage }).collect();
        let many = [&others[..], &(0..200).map(better).collect::<Vec<Curve>>()].concat();
        assert!(rule.stops(&now(50.0, 80.0), &many));
        let fell = [&now(40.0, 40.0)[..], &now(50.0, 5.0)].concat();
        assert!(!rule.stops(&fell, &others), "the mean of its newest scores counts, too");
    }
}
