//! What is believed of points that were not tried: a Gaussian process of the score, and one of the logarithm of the cost.

use super::evidence::Evidence;
use super::gp::Gp;
use super::random::Random;
use super::space::Space;

/// Below so many successes, failures count as data with the worst score.
const FEW: usize = 100;
/// The costs are scaled so that this share of them is at most 1, where there are more than a few: one of them may be an accident.
const COST_QUANTILE: f64 = 0.97;
/// The scores are scaled so that this share of them is below 0, and none is below that: how bad the bad ones are would hide which of the good
/// ones is the best.
const BAD_QUANTILE: f64 = 0.25;
const WORST: f64 = -0.5;
/// Costs that differ by less than this factor are equal: they differ by what else the machine did.
const EQUAL_COSTS: f64 = 1.1;

/// What is believed of a point: the score, 0 for a bad one and 1 for the best so far, and the cost on a logarithmic scale, 0 for the cheapest
/// and about 1 for the costliest so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    pub score: f64,
    pub cost: f64,
}

/// A range of numbers that is scaled to 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Span {
    low: f64,
    width: f64,
}

impl Span {
    fn scaled(&self, value: f64) -> f64 {
        if self.width > 0.0 { (value - self.low) / self.width } else { 0.0 }
    }

    fn unscaled(&self, share: f64) -> f64 {
        self.low + share * self.width
    }
}

/// The two processes.
pub struct Surrogate {
    scores: Gp,
    /// Nothing if all trials cost the same.
    costs: Option<Gp>,
    score_span: Span,
    cost_span: Span,
}

impl Surrogate {
    /// Fits them to what is known, to at most `most` points: the newest half of them, and as many of the older ones drawn by `random`.
    /// Nothing without a success, or if no covariance can be factorised.
    pub fn fit(space: &Space, evidence: &Evidence, most: usize, random: &mut Random) -> Option<Surrogate> {
        let mut scores: Vec<f64> = evidence.done.iter().map(|seen| seen.outcome.score).collect();
        scores.sort_by(f64::total_cmp);
        let (bad, best) = (quantile(&scores, BAD_QUANTILE)?, *scores.last()?);
        let mut costs: Vec<f64> = evidence.done.iter().map(|seen| log_cost(seen.outcome.cost)).collect();
        costs.sort_by(f64::total_cmp);
        let (cheapest, dearest) = (*costs.first()?, *costs.last()?);
        let high = if costs.len() < FEW { dearest } else { quantile(&costs, COST_QUANTILE)? };
        let differ = dearest - cheapest > EQUAL_COSTS.ln();
        let score_span = Span { low: bad, width: best - bad };
        let cost_span = Span { low: cheapest, width: if differ { (high - cheapest).max(1e-3) } else { 0.0 } };

        let failures = evidence.failed.iter().filter(|_| evidence.done.len() < FEW);
        let failures = failures.map(|failure| (&failure.at, WORST, failure.cost));
        let successes = evidence.done.iter();
        let successes = successes
            .map(|seen| (&seen.at, score_span.scaled(seen.outcome.score).max(WORST), seen.outcome.cost));
        let data = thinned(failures.chain(successes).collect(), most, random);
        let inputs: Vec<Vec<f64>> = data.iter().map(|(at, ..)| space.features(at)).collect();
        let score_values = data.iter().map(|(_, score, _)| *score).collect();
        let cost_values = data.iter().map(|(.., cost)| cost_span.scaled(log_cost(*cost))).collect();
        let costs = if differ { Some(Gp::fit(inputs.clone(), cost_values)?) } else { None };
        Some(Surrogate { scores: Gp::fit(inputs, score_values)?, costs, score_span, cost_span })
    }

    /// What is believed of a point with such features.
    pub fn belief(&self, features: &[f64]) -> Belief {
        // A process that is asked far away may say anything, and a cost is an exponent.
        let cost = self.costs.as_ref().map_or(0.0, |costs| costs.mean(features).clamp(-1.0, 2.0));
        Belief { score: self.scores.mean(features), cost }
    }

    /// The score and the cost in their own units.
    pub fn in_units(&self, belief: Belief) -> (f64, f64) {
        (self.score_span.unscaled(belief.score), self.cost_span.unscaled(belief.cost).exp())
    }

    /// Whether costs matter: whether they differ.
    pub fn has_costs(&self) -> bool {
        self.costs.is_some()
    }

    /// How much of what is not known of the score at a point would still not be known when the trials at `running` have ended, from 0 to 1:
    /// the posterior variance with their results, whatever they are, over that without.
    pub fn novelty(&self, running: &[Vec<f64>]) -> impl Fn(&[f64]) -> f64 {
        let believer = (!running.is_empty()).then(|| self.scores.believing(running)).flatten();
        move |features| match &believer {
            None => 1.0,
            Some(believer) => {
                (believer.variance(features) / self.scores.variance(features).max(1e-12)).clamp(0.0, 1.0)
            }
        }
    }

    /// The share of the variance of the score over the space that each setting explains alone: the first-order indices of Sobol, of the
    /// process's mean (main effects of a functional ANOVA: Hutter, Hoos and Leyton-Brown 2014).
    pub fn importance(&self, space: &Space, random: &mut Random) -> Vec<f64> {
        const SLICES: usize = 16;
        const DRAWS: usize = 64;
        let mut draw = || -> Vec<f64> { space.parameters.iter().map(|_| random.symmetric()).collect() };
        let others: Vec<Vec<f64>> = (0..DRAWS).map(|_| draw()).collect();
        let mut all = Vec::new();
        let mut effects = Vec::new();
        for place in 0..space.parameters.len() {
            let mut means = Vec::new();
            for slice in 0..SLICES {
                let z = (2 * slice + 1) as f64 / SLICES as f64 - 1.0;
                let value = |other: &Vec<f64>| {
                    let mut at = other.clone();
                    at[place] = z;
                    self.scores.mean(&space.features(&space.snapped(&at)))
                };
                let values: Vec<f64> = others.iter().map(value).collect();
                means.push(mean(&values));
                all.extend(values);
            }
            effects.push(variance(&means));
        }
        let whole = variance(&all).max(1e-12);
        effects.iter().map(|effect| (effect / whole).min(1.0)).collect()
    }
}

/// The value below which a share of sorted values is.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get((sorted.len().saturating_sub(1) as f64 * share).round() as usize).copied()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64
}

/// A trial that failed at once cost nothing, of which there is no logarithm.
fn log_cost(cost: f64) -> f64 {
    cost.max(1e-3).ln()
}

fn thinned<T>(mut data: Vec<T>, most: usize, random: &mut Random) -> Vec<T> {
    if data.len() <= most {
        return data;
    }
    let newest = data.split_off(data.len() - most / 2);
    random.shuffle(&mut data);
    data.truncate(most - newest.len());
    data.extend(newest);
    data
}
