//! A statistic as a ratio of two sums over independent units, with its standard error.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A statistic as it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    pub value: f64,
    /// The standard error of `value`.
    pub se: f64,
    /// What the ratio divides by: new games, blocks, steps, ...
    pub n: f64,
}

/// Sums over units, from which a ratio and its standard error follow.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    units: f64,
    amount: f64,
    count: f64,
    amount_squared: f64,
    count_squared: f64,
    product: f64,
}

impl Sums {
    pub(super) fn add(&mut self, (amount, count): (f64, f64)) {
        self.units += 1.0;
        self.amount += amount;
        self.count += count;
        self.amount_squared += amount * amount;
        self.count_squared += count * count;
        self.product += amount * count;
    }

    pub(super) fn estimate(&self) -> Estimate {
        let value = self.amount / self.count;
        // Sum over the units of (amount - value * count)^2; below zero only by rounding.
        let squares = self.amount_squared - 2.0 * value * self.product + value * value * self.count_squared;
        let correction = self.units / (self.units - 1.0).max(1.0);
        Estimate { value, se: (squares.max(0.0) * correction).sqrt() / self.count, n: self.count }
    }
}

/// Amount and count of each statistic in one unit.
#[derive(Default)]
pub(super) struct Unit(pub(super) BTreeMap<String, (f64, f64)>);

impl Unit {
    /// Adds one case to a mean.
    pub(super) fn mean(&mut self, path: String, amount: f64) {
        self.ratio(path, amount, 1.0);
    }

    pub(super) fn ratio(&mut self, path: String, amount: f64, count: f64) {
        let entry = self.0.entry(path).or_default();
        entry.0 += amount;
        entry.1 += count;
    }

    /// Adds one case to the shares of all `names`, one of which is `chosen`.
    pub(super) fn share(&mut self, path: &str, names: &[&str], chosen: &str) {
        for name in names {
            self.mean(format!("{path}/{name}"), (*name == chosen) as i32 as f64);
        }
    }
}
