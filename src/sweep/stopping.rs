//! Which trials end early: those that are behind others at the same share of their steps.

/// What a trial had come to after some of its steps: shares of its steps, rising, each with its score. More is better.
pub type Curve = Vec<(f64, f64)>;

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
}

/// The last score of a curve up to a share of the steps; nothing if it has not come so far.
fn at(curve: &Curve, share: f64) -> Option<f64> {
    let has_come = curve.last().is_some_and(|(last, _)| *last >= share - 1e-9);
    let before = curve.iter().rev().find(|(own, _)| *own <= share + 1e-9);
    before.filter(|_| has_come).map(|(_, score)| *score)
}

fn running_mean(curve: &Curve, share: f64) -> Option<f64> {
    at(curve, share)?;
    let up_to: Vec<f64> =
        curve.iter().take_while(|(own, _)| *own <= share + 1e-9).map(|(_, score)| *score).collect();
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
        let Some(&(share, _)) = own.last() else { return false };
        match *self {
            Stopping::Never => false,
            Stopping::Median { from, least } => {
                let mut means: Vec<f64> =
                    others.iter().filter_map(|other| running_mean(other, share)).collect();
                let best = own.iter().map(|(_, score)| *score).fold(f64::NEG_INFINITY, f64::max);
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
            .map(|x| (x, slope * x))
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
}
