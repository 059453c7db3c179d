//! Protein, the method of PufferLib: candidates are small steps from the Pareto front, rated by the score that is expected of them and by how
//! near their cost is to a target that changes from trial to trial. So cheap trials show where costly ones pay.
//!
//! Where PufferLib's own goes wrong it is mended here:
//!
//! - A metric that is minimised is maximised with the other sign, so fronts and ratings are the same for both.
//! - Trials that run are known: a candidate counts as far as they leave something to learn about it
//!   ([`Surrogate::novelty`]), so that trials side by side differ.
//! - The front is one of means over trials of the same point, and now and then the best point is tried once more with another seed: noise makes
//!   no winners.
//! - Some candidates come from the whole space, so that a region far from the front is reached in one step.
//! - Costs that are equal but for noise do not count.
//!
//! A suggestion depends on the evidence, the seed and its number alone.

use super::evidence::Evidence;
use super::pareto::{Outcome, front, pruned};
use super::random::Random;
use super::space::Space;
use super::success::Success;
use super::surrogate::Surrogate;
use super::{Suggestion, design};

/// Target costs, in a random order, each once before any comes again.
const TARGETS: [f64; 6] = [0.16, 0.32, 0.48, 0.64, 0.8, 1.0];
/// The noise on a target, and how much farther than the costliest trial it may lie.
const TARGET_NOISE: f64 = 0.1;
const EXPANSION: f64 = 1.2;
/// Candidates for each centre, those of the whole space, and the most of them all.
const PER_CENTRE: usize = 256;
const GLOBAL: usize = 256;
const MOST_CANDIDATES: usize = 4096;
/// Of so many best points, cheaper copies are centres, too.
const BEST: usize = 5;

/// The method with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Protein {
    pub seed: u64,
    /// Trials before the first one that is suggested by a model.
    pub warm_up: usize,
    /// Most points that a model is fitted to.
    pub max_points: usize,
    /// Seconds above which nothing is suggested, as far as the model knows.
    pub max_cost: f64,
    /// After how many trials the best point is tried once more; 0 for never.
    pub repeat_every: usize,
}

impl Protein {
    /// Suggests `count` trials, of which the first is number `first` (from 0) of the sweep.
    pub fn suggest(&self, space: &Space, evidence: &Evidence, first: usize, count: usize) -> Vec<Suggestion> {
        let fit =
            || Surrogate::fit(space, evidence, self.max_points, &mut Random::new(self.seed, first as u64));
        let needs_model = first + count > self.warm_up && !evidence.done.is_empty();
        let surrogate = needs_model.then(fit).flatten();
        let mut running = evidence.running.clone();
        let mut suggested = Vec::new();
        for number in first..first + count {
            let suggestion = match &surrogate {
                _ if number == 0 => Suggestion::new(space.initial()),
                Some(_) if number >= self.warm_up && self.repeats(number) => self.repeat(evidence),
                Some(surrogate) if number >= self.warm_up => {
                    self.by_model(space, evidence, surrogate, number, &running)
                }
                _ => Suggestion::new(self.warm_up_point(space, number)),
            };
            running.push(suggestion.at.clone());
            suggested.push(suggestion);
        }
        suggested
    }

    fn repeats(&self, number: usize) -> bool {
        self.repeat_every > 0 && number.is_multiple_of(self.repeat_every)
    }

    /// The point with the best mean, tried once more.
    fn repeat(&self, evidence: &Evidence) -> Suggestion {
        let means = evidence.means();
        let best = means.iter().max_by(|(a, _), (b, _)| a.outcome.score.total_cmp(&b.outcome.score));
        let (best, _) = best.expect("a model was fitted, so there is a success");
        Suggestion { at: best.at.clone(), repeats: true, expected: None }
    }

    /// A quasi-random point, and a cheap one.
    fn warm_up_point(&self, space: &Space, number: usize) -> Vec<f64> {
        let mut at = design::sobol(space, self.seed, number);
        if let Some(cost) = space.cost() {
            let cheap = -0.8 + 0.1 * Random::new(self.seed, number as u64).normal();
            at[cost] = cheap.clamp(-1.0, 1.0);
        }
        space.snapped(&at)
    }

    fn by_model(
        &self,
        space: &Space,
        evidence: &Evidence,
        surrogate: &Surrogate,
        number: usize,
        running: &[Vec<f64>],
    ) -> Suggestion {
        let mut random = Random::new(self.seed, number as u64);
        let target = self.target(number, &mut random);
        let running: Vec<Vec<f64>> = running.iter().map(|at| space.features(at)).collect();
        let novelty = surrogate.novelty(&running);
        let success = Success::fit(space, evidence);
        let rated = candidates(space, &centres(space, evidence), &mut random).into_iter().map(|at| {
            let features = space.features(&at);
            let belief = surrogate.belief(&features);
            let expected @ (_, cost) = surrogate.in_units(belief);
            let closeness =
                if surrogate.has_costs() { (1.0 - (target - belief.cost).abs()).max(0.0) } else { 1.0 };
            let affordable = f64::from(u8::from(cost < self.max_cost));
            // Worse than all that is known is as bad as that: a negative score would turn the other factors around.
            let likely = success.as_ref().map_or(1.0, |success| success.probability(&features));
            let rating = belief.score.max(1e-6) * affordable * closeness * likely;
            // Novelty is at most 1 and costly to compute, so it is left to those who need it.
            (rating, at, features, expected)
        });
        let mut rated: Vec<_> = rated.collect();
        rated.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut best: Option<(f64, usize)> = None;
        for (place, (rating, _, features, _)) in rated.iter().enumerate() {
            if best.is_some_and(|(best, _)| best >= *rating) {
                break;
            }
            let rating = rating * novelty(features);
            if best.is_none_or(|(best, _)| rating > best) {
                best = Some((rating, place));
            }
        }
        let (_, place) = best.expect("there are candidates");
        let (_, at, _, expected) = rated.swap_remove(place);
        Suggestion { at, repeats: false, expected: Some(expected) }
    }

    /// The cost to look for, as a share of the costs so far.
    fn target(&self, number: usize, random: &mut Random) -> f64 {
        let mut pool = TARGETS;
        Random::new(self.seed, !((number / TARGETS.len()) as u64)).shuffle(&mut pool);
        let target = pool[number % TARGETS.len()] + TARGET_NOISE * random.normal();
        target.clamp(0.0, 1.0) * EXPANSION
    }
}

/// The points from which steps are made: those of the front, and cheaper copies of the best ones.
fn centres(space: &Space, evidence: &Evidence) -> Vec<Vec<f64>> {
    let mut means: Vec<_> = evidence.means().into_iter().map(|(mean, _)| mean).collect();
    let outcomes: Vec<Outcome> = means.iter().map(|mean| mean.outcome).collect();
    let front = pruned(&outcomes, &front(&outcomes));
    let mut centres: Vec<Vec<f64>> = front.into_iter().map(|place| means[place].at.clone()).collect();
    means.sort_by(|a, b| b.outcome.score.total_cmp(&a.outcome.score));
    for mean in means.iter().take(BEST) {
        match space.cost() {
            None => centres.push(mean.at.clone()),
            Some(cost) => centres.extend([2.0, 3.0].map(|part| {
                let mut cheaper = mean.at.clone();
                cheaper[cost] -= (cheaper[cost] + 1.0) / part;
                cheaper
            })),
        }
    }
    centres
}

fn candidates(space: &Space, centres: &[Vec<f64>], random: &mut Random) -> Vec<Vec<f64>> {
    let near = (PER_CENTRE * centres.len()).min(MOST_CANDIDATES);
    let mut candidates = Vec::with_capacity(near + GLOBAL);
    for _ in 0..near {
        let centre = &centres[random.below(centres.len())];
        candidates.push(space.step(centre, random));
    }
    for _ in 0..GLOBAL {
        let anywhere: Vec<f64> = space.parameters.iter().map(|_| random.symmetric()).collect();
        candidates.push(space.snapped(&anywhere));
    }
    candidates
}
