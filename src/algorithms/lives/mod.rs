//! Evaluation by lives: agents that live on and on, and what became of each life.
//!
//! An agent that is done goes on as its environment says, in the same step, so the number of steps is fixed and that of lives is not.
//! A life is told by its steps and by how often two things happened in it, one good for it and one bad. There can be millions of
//! lives, so the device adds them up as they end ([`evaluator`]) and the host gets sums, counts and histograms ([`Lives`]). All sums
//! are of whole numbers: they are exact, and the same however the steps were divided into calls.

pub mod bins;
mod evaluator;

pub use evaluator::{Counted, Evaluator, Living, MAX_ENVS, MAX_STEPS};

use crate::statistics::Moments;
use bins::{num_shares, share_bin, steps_bin};

/// Units of the efficiency of a life: 1 is this many.
const UNIT_BITS: u64 = 30;
const UNIT: u64 = 1 << UNIT_BITS;

/// A sum of whole numbers and that of their squares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub sum: u128,
    pub squares: u128,
}

impl Sums {
    fn add(&mut self, value: u64) {
        self.sum += u128::from(value);
        self.squares += u128::from(value) * u128::from(value);
    }

    fn merge(&mut self, other: &Sums) {
        self.sum += other.sum;
        self.squares += other.squares;
    }

    fn moments(&self, count: u64) -> Moments {
        Moments::from_sums(count, self.sum as i128, self.squares)
    }
}

/// What became of some lives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    pub count: u64,
    pub steps: Sums,
    /// The steps of the shortest and of the longest life, 0 of none.
    pub shortest: u64,
    pub longest: u64,
    /// How often the good and the bad thing happened in a life.
    pub good: Sums,
    pub bad: Sums,
    /// The sum over the lives of one times the other.
    product: u128,
    /// In units, rounded down; the squares as well.
    efficiency: Sums,
    /// How many lives had steps of each of the [`bins`], and efficiencies of each of them.
    pub steps_histogram: Vec<u64>,
    pub efficiency_histogram: Vec<u64>,
}

/// The share of the good in all that happened, in units and as a bin; all of it if nothing happened.
fn efficiency(good: u64, bad: u64) -> (u64, usize) {
    match good + bad {
        0 => (UNIT, num_shares() - 1),
        all => ((good << UNIT_BITS) / all, share_bin(good, all)),
    }
}

impl Lives {
    /// One more life.
    pub fn add(&mut self, steps: u64, good: u64, bad: u64) {
        self.shortest = if self.count == 0 { steps } else { self.shortest.min(steps) };
        self.longest = self.longest.max(steps);
        self.count += 1;
        self.steps.add(steps);
        self.good.add(good);
        self.bad.add(bad);
        self.product += u128::from(good) * u128::from(bad);
        let (share, bin) = efficiency(good, bad);
        self.efficiency.sum += u128::from(share);
        self.efficiency.squares += u128::from((share * share) >> UNIT_BITS);
        count_in(&mut self.steps_histogram, steps_bin(steps));
        count_in(&mut self.efficiency_histogram, bin);
    }

    /// These and others together.
    #[must_use]
    pub fn merge(mut self, other: &Lives) -> Lives {
        match (self.count, other.count) {
            (_, 0) => return self,
            (0, _) => return other.clone(),
            _ => {}
        }
        self.shortest = self.shortest.min(other.shortest);
        self.longest = self.longest.max(other.longest);
        self.count += other.count;
        self.product += other.product;
        let mine = [&mut self.steps, &mut self.good, &mut self.bad, &mut self.efficiency];
        for (mine, others) in mine.into_iter().zip([&other.steps, &other.good, &other.bad, &other.efficiency])
        {
            mine.merge(others);
        }
        let mine = [&mut self.steps_histogram, &mut self.efficiency_histogram];
        for (mine, others) in mine.into_iter().zip([&other.steps_histogram, &other.efficiency_histogram]) {
            mine.resize(mine.len().max(others.len()), 0);
            mine.iter_mut().zip(others).for_each(|(mine, other)| *mine += other);
        }
        self
    }

    /// The steps of a life.
    pub fn survival(&self) -> Moments {
        self.steps.moments(self.count)
    }

    /// The share of the good in all that happened in a life, 1 if nothing did.
    pub fn efficiency(&self) -> Moments {
        let units =
            Moments::from_sums(self.count, self.efficiency.sum as i128, self.efficiency.squares << UNIT_BITS);
        units.scaled(1.0 / UNIT as f64)
    }

    /// How often the good thing happened in a life, and the bad one.
    pub fn happened(&self) -> [Moments; 2] {
        [self.good.moments(self.count), self.bad.moments(self.count)]
    }

    /// By how much the good thing happened more often in a life than the bad one.
    pub fn balance(&self) -> Moments {
        let sum = self.good.sum as i128 - self.bad.sum as i128;
        let squares = self.good.squares + self.bad.squares - 2 * self.product;
        Moments::from_sums(self.count, sum, squares)
    }
}

fn count_in(histogram: &mut Vec<u64>, bin: usize) {
    if histogram.len() <= bin {
        histogram.resize(bin + 1, 0);
    }
    histogram[bin] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(all: &[(u64, u64, u64)]) -> Lives {
        let mut lives = Lives::default();
        all.iter().for_each(|&(steps, good, bad)| lives.add(steps, good, bad));
        lives
    }

    /// The example by which the two meanings of efficiency are told apart.
    #[test]
    fn a_life_counts_once_whatever_happened_in_it() {
        let two = lives(&[(900, 100, 0), (20, 1, 1)]);
        assert_eq!(two.efficiency().mean, 0.75);
        let (good, bad) = (two.good.sum as f64, two.bad.sum as f64);
        assert_eq!(format!("{:.2}", good / (good + bad)), "0.99");
        assert_eq!(two.efficiency_histogram[num_shares() - 1], 1);
        assert_eq!(two.efficiency_histogram.iter().sum::<u64>(), 2);
        assert_eq!(lives(&[(101, 0, 0)]).efficiency().mean, 1.0, "what eats nothing wastes nothing");
    }

    #[test]
    fn sums_are_those_of_the_numbers() {
        let all = [(101, 0, 0), (7, 2, 1), (1500, 40, 3), (101, 0, 5), (33, 1, 2)];
        let whole = lives(&all);
        let parts = lives(&all[..2]).merge(&Lives::default()).merge(&lives(&all[2..]));
        assert_eq!(parts, whole);
        assert_eq!(Lives::default().merge(&whole), whole);
        assert_eq!((whole.count, whole.shortest, whole.longest), (5, 7, 1500));
        let same = |found: Moments, number: &dyn Fn(f64, f64, f64) -> f64| {
            let expected =
                Moments::of(all.map(|(steps, good, bad)| number(steps as f64, good as f64, bad as f64)));
            assert_eq!(found.count, expected.count);
            assert!((found.mean - expected.mean).abs() < 1e-8, "{found:?} {expected:?}");
            assert!((found.std() - expected.std()).abs() < 1e-4, "{found:?} {expected:?}");
        };
        same(whole.survival(), &|steps, _, _| steps);
        same(whole.happened()[0], &|_, good, _| good);
        same(whole.happened()[1], &|_, _, bad| bad);
        same(whole.balance(), &|_, good, bad| good - bad);
        same(whole.efficiency(), &|_, good, bad| if good + bad > 0.0 { good / (good + bad) } else { 1.0 });
    }
}
