//! How likely a trial is not to fail: logistic regression on the point, with an L2 penalty and classes of equal weight.

use super::cholesky::Cholesky;
use super::evidence::Evidence;
use super::space::Space;

/// With fewer of either kind nothing is learned.
const LEAST: usize = 10;
/// Steps of Newton's method.
const STEPS: usize = 20;

/// Weights of the features, the last of which is constant.
pub struct Success(Vec<f64>);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The features with the constant one.
fn extended(features: Vec<f64>) -> Vec<f64> {
    features.into_iter().chain([1.0]).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Success {
    /// Minimises |w|² / 2 plus the weighted logistic loss by Newton's method. Nothing where there are too few trials of either kind.
    pub fn fit(space: &Space, evidence: &Evidence) -> Option<Success> {
        let (successes, failures) = (evidence.done.len(), evidence.failed.len());
        if successes < LEAST || failures < LEAST {
            return None;
        }
        let weight = |count: usize| (successes + failures) as f64 / (2 * count) as f64;
        let done = evidence.done.iter().map(|seen| (&seen.at, 1.0, weight(successes)));
        let failed = evidence.failed.iter().map(|failure| (&failure.at, 0.0, weight(failures)));
        let data: Vec<(Vec<f64>, f64, f64)> = done
            .chain(failed)
            .map(|(at, label, weight)| (extended(space.features(at)), label, weight))
            .collect();
        let size = data[0].0.len();
        let mut weights = vec![0.0; size];
        for _ in 0..STEPS {
            // The constant is hardly penalised.
            let penalty = |i: usize| if i + 1 == size { 1e-6 } else { 1.0 };
            let mut slope: Vec<f64> = (0..size).map(|i| penalty(i) * weights[i]).collect();
            let mut curvature = vec![0.0; size * size];
            (0..size).for_each(|i| curvature[i * size + i] = penalty(i));
            for (x, label, weight) in &data {
                let p = sigmoid(dot(x, &weights));
                for i in 0..size {
                    slope[i] += weight * (p - label) * x[i];
                    (0..size).for_each(|j| curvature[i * size + j] += weight * p * (1.0 - p) * x[i] * x[j]);
                }
            }
            let step = Cholesky::new(size, &curvature)?.solve(&slope);
            weights.iter_mut().zip(&step).for_each(|(weight, step)| *weight -= step);
        }
        Some(Success(weights))
    }

    /// The probability that a trial at a point with such features succeeds.
    pub fn probability(&self, features: &[f64]) -> f64 {
        sigmoid(dot(&extended(features.to_vec()), &self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::evidence::{Failure, Observation};
    use crate::sweep::{Outcome, Plan};

    #[test]
    fn a_side_on_which_trials_fail_is_unlikely_to_succeed() {
        let text = "[a]\ndistribution = \"uniform\"\nmin = 0\nmax = 1\n[b]\ndistribution = \"uniform\"\nmin = 0\nmax = 1\n";
        let space = Plan::read(text.parse().unwrap()).unwrap().space;
        let mut evidence = Evidence::default();
        for i in 0..40 {
            let at = vec![f64::from(i % 8) / 3.5 - 1.0, f64::from(i / 8) / 2.0 - 1.0];
            match at[0] > 0.3 {
                true => evidence.failed.push(Failure { at, cost: 1.0 }),
                false => evidence.done.push(Observation { at, outcome: Outcome { score: 0.0, cost: 1.0 } }),
            }
        }
        let success = Success::fit(&space, &evidence).unwrap();
        let [left, right] = [[-0.8, 0.0], [0.9, 0.5]].map(|at| success.probability(&at));
        assert!(left > 0.8 && right < 0.2, "{left} {right}");
        assert!((success.probability(&[0.3, 0.0]) - 0.5).abs() < 0.25);
        // At the minimum the slope vanishes, so of the constant's the weighted probabilities add up.
        let of = |at: &Vec<f64>| success.probability(at);
        let done: f64 =
            evidence.done.iter().map(|seen| 1.0 - of(&seen.at)).sum::<f64>() / evidence.done.len() as f64;
        let failed: f64 =
            evidence.failed.iter().map(|seen| of(&seen.at)).sum::<f64>() / evidence.failed.len() as f64;
        assert!((done - failed).abs() < 1e-5, "{done} {failed}");
        evidence.failed.truncate(9);
        assert!(Success::fit(&space, &evidence).is_none());
    }
}
