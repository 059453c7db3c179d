//! What healthy training looks like: ranges of metrics, and from which return on an environment is solved.
//!
//! An algorithm names ranges with its metrics; an environment has its own in its entry of the registry.

use std::fmt;

/// A range that a metric should be in, with what it means to be outside and what to do then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    pub low: f64,
    pub high: f64,
    /// What is wrong outside of it, in a few words.
    pub title: &'static str,
    /// What to do, in one phrase.
    pub advice: &'static str,
}

impl Range {
    pub const fn new(low: f64, high: f64, title: &'static str, advice: &'static str) -> Range {
        Range { low, high, title, advice }
    }

    /// Whether a value is in the range.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }
}

/// `at most 0.06`, `at least 1`, `-0.012 to -0.008`.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Range { low, high, .. } = self;
        match (low.is_finite(), high.is_finite()) {
            (true, true) => write!(f, "{low} to {high}"),
            (true, false) => write!(f, "at least {low}"),
            (false, _) => write!(f, "at most {high}"),
        }
    }
}

/// What is known of healthy training in one environment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// From this mean return on the environment counts as solved: nothing is warned of any more.
    pub solved_return: Option<f64>,
    /// Metrics and their ranges.
    pub ranges: &'static [(&'static str, Range)],
}

impl Health {
    /// Nothing is known.
    pub const UNKNOWN: Health = Health { solved_return: None, ranges: &[] };
}

impl Default for Health {
    fn default() -> Self {
        Self::UNKNOWN
    }
}
