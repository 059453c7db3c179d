//! What a method knows when it suggests the next trials.

use super::pareto::Outcome;

/// Points that are as close as this are the same.
const SAME: f64 = 1e-6;

/// A point and what came of it. More score is better: of a metric that is minimised it is the negative.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    pub at: Vec<f64>,
    pub outcome: Outcome,
}

/// A point at which a trial failed: it diverged, or its settings do not fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub at: Vec<f64>,
    pub cost: f64,
}

/// All that is known of the trials so far, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub done: Vec<Observation>,
    pub failed: Vec<Failure>,
    /// Where trials run that have not ended.
    pub running: Vec<Vec<f64>>,
}

/// Whether two points are the same.
pub fn is_same(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() < SAME * SAME
}

impl Evidence {
    /// Each point once with the mean of what came of it, and how often it was tried. One lucky trial does not make a point the best.
    pub fn means(&self) -> Vec<(Observation, usize)> {
        let mut means: Vec<(Observation, usize)> = Vec::new();
        for Observation { at, outcome } in &self.done {
            match means.iter_mut().find(|(mean, _)| is_same(&mean.at, at)) {
                None => means.push((Observation { at: at.clone(), outcome: *outcome }, 1)),
                Some((mean, count)) => {
                    *count += 1;
                    let share = 1.0 / *count as f64;
                    mean.outcome.score += share * (outcome.score - mean.outcome.score);
                    mean.outcome.cost += share * (outcome.cost - mean.outcome.cost);
                }
            }
        }
        means
    }
}
