//! Statistics of samples: means with their confidence intervals, the comparison of two groups, and the power of such a comparison.
//!
//! A sample is known by its [`Moments`] alone, which come from sums that are exact, so that nobody has to keep millions of numbers.
//! The distributions are those of the crate `statrs`; the noncentral t distribution, which it lacks, is in [`power`].

mod comparison;
pub mod power;

pub use comparison::{Comparison, cohen_d, hedges_g, magnitude, p_text, stars};

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// The share of the intervals that hold the true value.
pub const CONFIDENCE: f64 = 0.95;

/// How many numbers a sample has, their mean, and the sum of the squares of their distances from it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    pub count: u64,
    pub mean: f64,
    squares: f64,
}

/// Two bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

impl Moments {
    /// Of some numbers.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Moments {
        let one = |mean| Moments { count: 1, mean, squares: 0.0 };
        values.into_iter().map(one).fold(Moments::default(), Moments::merge)
    }

    /// Of `count` whole numbers, by their sum and that of their squares, without any rounding before the end.
    ///
    /// # Panics
    /// The sums are so large that they cannot be those of numbers that were counted: their products need more than 128 bits.
    pub fn from_sums(count: u64, sum: i128, squares: u128) -> Moments {
        if count == 0 {
            return Moments::default();
        }
        let square = sum.unsigned_abs().checked_pow(2).expect("a sum of this many numbers");
        let all = u128::from(count).checked_mul(squares).expect("squares of this many numbers");
        let count_f64 = count as f64;
        let squares = all.saturating_sub(square) as f64 / count_f64;
        Moments { count, mean: sum as f64 / count_f64, squares }
    }

    /// Of a sample whose standard deviation is known, that with its own size as the divisor.
    pub fn from_std(count: u64, mean: f64, std: f64) -> Moments {
        Moments { count, mean, squares: std * std * count as f64 }
    }

    /// Of both samples together.
    pub fn merge(self, other: Moments) -> Moments {
        let count = self.count + other.count;
        if count == 0 {
            return self;
        }
        let (a, b, all) = (self.count as f64, other.count as f64, count as f64);
        let apart = other.mean - self.mean;
        let mean = (self.mean * a + other.mean * b) / all;
        Moments { count, mean, squares: self.squares + other.squares + apart * apart * a * b / all }
    }

    /// Of all numbers times a factor.
    pub fn scaled(self, factor: f64) -> Moments {
        Moments { mean: self.mean * factor, squares: self.squares * factor * factor, ..self }
    }

    /// The variance that is expected of other samples (divisor n - 1); 0 of fewer than two numbers.
    pub fn variance(&self) -> f64 {
        if self.count < 2 { 0.0 } else { self.squares / (self.count - 1) as f64 }
    }

    /// The root of [`Moments::variance`].
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The standard deviation of the numbers themselves (divisor n); 0 of none.
    pub fn population_std(&self) -> f64 {
        if self.count == 0 { 0.0 } else { (self.squares / self.count as f64).sqrt() }
    }

    /// Where the mean of all such numbers is; one number gives an interval without width, none gives zeros.
    pub fn interval(&self) -> Interval {
        if self.count < 2 {
            return Interval { low: self.mean, high: self.mean };
        }
        let degrees = (self.count - 1) as f64;
        let half =
            t_quantile(degrees, (1.0 + CONFIDENCE) / 2.0) * (self.variance() / self.count as f64).sqrt();
        Interval { low: self.mean - half, high: self.mean + half }
    }
}

/// Degrees of freedom from which on the t distribution is taken from the normal one: `statrs` loses its precision for millions of them.
/// What is left out is below 1e-8.
const MANY: f64 = 1e4;

/// The number below which a share of a t distribution lies.
fn t_quantile(degrees: f64, share: f64) -> f64 {
    if degrees < MANY {
        return student(degrees).inverse_cdf(share);
    }
    // Fisher and Cornish (1960), the first two terms.
    let z = normal().inverse_cdf(share);
    let terms = [z.powi(3) + z, 5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z];
    z + terms[0] / (4.0 * degrees) + terms[1] / (96.0 * degrees * degrees)
}

/// The probability that a t variable is farther from 0 than this.
fn t_two_sided(degrees: f64, t: f64) -> f64 {
    if degrees < MANY {
        return (2.0 * student(degrees).cdf(-t.abs())).min(1.0);
    }
    // Abramowitz and Stegun (1964), 26.7.8.
    let z = t.abs() * (1.0 - 1.0 / (4.0 * degrees)) / (1.0 + t * t / (2.0 * degrees)).sqrt();
    2.0 * normal().cdf(-z)
}

fn student(degrees: f64) -> StudentsT {
    StudentsT::new(0.0, 1.0, degrees).expect("degrees of freedom are above 0")
}

fn normal() -> Normal {
    Normal::standard()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    pub(super) fn near(found: f64, expected: f64, within: f64) {
        assert!((found - expected).abs() <= within, "{found} is not {expected}");
    }

    #[test]
    fn moments_are_the_same_from_numbers_sums_and_parts() {
        let values = [3, -1, 4, 1, 5, 9, 2, 6];
        let all = Moments::of(values.map(f64::from));
        near(all.mean, 3.625, 1e-12);
        near(all.variance(), 9.696_428_571_428_571, 1e-12);
        near(all.population_std().powi(2), 8.484_375, 1e-12);
        let (sum, squares) = (29, 173);
        let same = [
            Moments::from_sums(8, sum, squares),
            Moments::of(values[..3].iter().map(|&x| f64::from(x)))
                .merge(Moments::of(values[3..].iter().map(|&x| f64::from(x)))),
            Moments::from_std(8, 3.625, all.population_std()),
        ];
        for other in same {
            assert_eq!(other.count, 8);
            near(other.mean, all.mean, 1e-12);
            near(other.variance(), all.variance(), 1e-12);
        }
        near(all.scaled(-10.0).std(), 10.0 * all.std(), 1e-12);
    }

    #[test]
    fn sums_of_millions_lose_nothing() {
        // 10^8 numbers, of which half are 10^6 and half 10^6 + 1.
        let (count, base) = (100_000_000u64, 1_000_000u128);
        let half = u128::from(count) / 2;
        let sum = (half * base + half * (base + 1)) as i128;
        let squares = half * base * base + half * (base + 1) * (base + 1);
        let moments = Moments::from_sums(count, sum, squares);
        near(moments.population_std(), 0.5, 1e-12);
        assert_eq!(Moments::from_sums(0, 0, 0), Moments::default());
    }

    #[test]
    fn quantiles_and_probabilities_are_those_of_tables() {
        let quantiles = [
            (2.0, 4.302_652_729_7),
            (9.0, 2.262_157_162_8),
            (30.0, 2.042_272_456_3),
            (1000.0, 1.962_339_080_8),
            (9999.0, 1.960_201_263_6),
            (10000.0, 1.960_201_239_9),
            (1e5, 1.959_987_707_5),
            (1e7, 1.959_964_221_8),
            (1e12, 1.959_963_984_5),
        ];
        for (degrees, expected) in quantiles {
            near(t_quantile(degrees, 0.975), expected, 1e-8);
        }
        let probabilities = [
            (10.0, 2.228138852, 0.050_000_000_0),
            (9999.0, 1.0, 0.317_334_706_8),
            (10000.0, 1.0, 0.317_334_704_3),
            (10000.0, -3.5, 0.000_467_284_5),
            (5e6, 1.96, 0.049_995_845_8),
            (1e9, 0.1, 0.920_344_325_5),
        ];
        for (degrees, t, expected) in probabilities {
            near(t_two_sided(degrees, t), expected, 1e-8);
        }
    }

    #[test]
    fn the_interval_of_a_mean() {
        let Interval { low, high } = Moments::of([10.0, 12.0, 11.0]).interval();
        near(low, 8.515_862, 1e-6);
        near(high, 13.484_138, 1e-6);
        assert_eq!(Moments::of([4.0]).interval(), Interval { low: 4.0, high: 4.0 });
        assert_eq!(Moments::of([]).interval(), Interval::default());
    }
}
