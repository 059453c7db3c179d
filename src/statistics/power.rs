//! The power of a comparison of two groups: how many numbers it takes to see an effect, and how likely those that there are show it.
//!
//! Effects are in standard deviations (Cohen's d). Sizes for an effect follow from the normal distribution, the power of given sizes
//! from the noncentral t distribution.

use anyhow::{Result, ensure};
use statrs::distribution::ContinuousCDF;

use super::{normal, t_quantile};

/// What is asked of a comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Demand {
    /// The probability to see an effect where there is none.
    pub alpha: f64,
    /// The probability to see the effect that there is.
    pub power: f64,
    /// Whether only one direction counts.
    pub one_sided: bool,
}

impl Demand {
    /// # Errors
    /// One line: a probability is not between 0 and 1.
    pub fn check(&self) -> Result<()> {
        for (name, share) in [("alpha", self.alpha), ("power", self.power)] {
            ensure!(share > 0.0 && share < 1.0, "{name} is {share}; it must be between 0 and 1");
        }
        Ok(())
    }

    /// Standard errors by which the effect must differ from 0.
    fn distance(&self) -> f64 {
        let tail = if self.one_sided { self.alpha } else { self.alpha / 2.0 };
        normal().inverse_cdf(1.0 - tail) + normal().inverse_cdf(self.power)
    }

    /// How many numbers each group needs for an effect.
    ///
    /// # Errors
    /// One line: the effect is not above 0, or what is asked for is out of range.
    pub fn sample_size(&self, effect: f64) -> Result<f64> {
        self.check()?;
        ensure!(effect > 0.0 && effect.is_finite(), "the effect size is {effect}; it must be above 0");
        Ok((2.0 * (self.distance() / effect).powi(2)).ceil().max(1.0))
    }

    /// The smallest effect that groups of a size show; infinite for a size below 2.
    ///
    /// # Errors
    /// One line: what is asked for is out of range.
    pub fn detectable(&self, size: f64) -> Result<f64> {
        self.check()?;
        Ok(if size <= 1.0 { f64::INFINITY } else { self.distance() * (2.0 / size).sqrt() })
    }
}

/// Steps in which so many die, at so many deaths per 1000 steps.
///
/// # Errors
/// One line: nobody dies.
pub fn steps(size: f64, deaths_per_1k: f64) -> Result<f64> {
    ensure!(
        deaths_per_1k > 0.0 && deaths_per_1k.is_finite(),
        "there are {deaths_per_1k} deaths per 1000 steps; it must be a number above 0"
    );
    Ok(size * 1000.0 / deaths_per_1k)
}

/// The probability that a two-sided t test of groups of these sizes shows an effect.
///
/// # Errors
/// One line: `alpha` is not between 0 and 1.
pub fn achieved(effect: f64, sizes: [u64; 2], alpha: f64) -> Result<f64> {
    ensure!(alpha > 0.0 && alpha < 1.0, "alpha is {alpha}; it must be between 0 and 1");
    if sizes.iter().any(|&size| size <= 1) {
        return Ok(0.0);
    }
    if effect <= 0.0 {
        return Ok(alpha);
    }
    let [a, b] = sizes.map(|size| size as f64);
    let (degrees, shift) = (a + b - 2.0, effect * (a * b / (a + b)).sqrt());
    let critical = t_quantile(degrees, 1.0 - alpha / 2.0);
    let beyond = 1.0 - noncentral_t(critical, degrees, shift) + noncentral_t(-critical, degrees, shift);
    Ok(beyond.clamp(0.0, 1.0))
}

/// The probability that a noncentral t variable is at most `t`.
///
/// Such a variable is (Z + shift) / S with a standard normal Z and S the root of a chi-squared variable over its degrees of freedom,
/// so this is the mean of the normal distribution function at `t` S - shift, over the density of S. The integral is taken by Simpson's
/// rule around the peak of the density, which also gives what the density integrates to.
fn noncentral_t(t: f64, degrees: f64, shift: f64) -> f64 {
    const STEPS: usize = 2000;
    let peak = ((degrees - 1.0) / degrees).sqrt();
    let reach = (60.0 / degrees).sqrt();
    let (low, high) = ((peak - reach).max(0.0), peak + reach);
    // The logarithm of the density, 0 at the peak.
    let density = |s: f64| {
        let rise = if degrees > 1.0 { (degrees - 1.0) * (s / peak).ln() } else { 0.0 };
        (rise - degrees * (s - peak) * (s + peak) / 2.0).exp()
    };
    let (mut mean, mut total) = (0.0, 0.0);
    for step in 0..=STEPS {
        let s = low + (high - low) * step as f64 / STEPS as f64;
        let weight = match step {
            0 | STEPS => 1.0,
            _ if step % 2 == 1 => 4.0,
            _ => 2.0,
        } * density(s);
        mean += weight * normal().cdf(t * s - shift);
        total += weight;
    }
    mean / total
}

#[cfg(test)]
mod tests {
    use super::super::tests::near;
    use super::*;

    fn demand(power: f64) -> Demand {
        Demand { alpha: 0.05, power, one_sided: false }
    }

    #[test]
    fn the_table_of_sample_sizes() {
        let table = [
            (0.5, [63.0, 85.0, 104.0]),
            (0.8, [25.0, 33.0, 41.0]),
            (1.0, [16.0, 22.0, 26.0]),
            (1.5, [7.0, 10.0, 12.0]),
            (2.0, [4.0, 6.0, 7.0]),
            (2.5, [3.0, 4.0, 5.0]),
            (3.0, [2.0, 3.0, 3.0]),
        ];
        for (effect, sizes) in table {
            let found = [0.8, 0.9, 0.95].map(|power| demand(power).sample_size(effect).unwrap());
            assert_eq!(found, sizes, "{effect}");
        }
        let one_sided = Demand { one_sided: true, ..demand(0.8) };
        assert_eq!(one_sided.sample_size(0.5).unwrap(), 50.0);
    }

    #[test]
    fn the_power_of_given_sizes() {
        let known = [
            (0.5, [64, 64], 0.05, 0.801_459_558),
            (0.5, [20, 20], 0.05, 0.337_939_029),
            (0.8, [26, 26], 0.05, 0.807_486_615),
            (2.0, [3, 3], 0.05, 0.462_640_812),
            (3.0, [2, 2], 0.05, 0.387_400_129),
            (1.0, [5, 17], 0.01, 0.220_617_312),
            (0.2, [1000, 300], 0.05, 0.859_037_880),
        ];
        for (effect, sizes, alpha, power) in known {
            near(achieved(effect, sizes, alpha).unwrap(), power, 1e-8);
        }
        // A difference that groups of millions cannot miss, and one that they cannot see.
        near(achieved(3.0, [4_600_000, 8192], 0.05).unwrap(), 1.0, 1e-12);
        near(achieved(1e-9, [1_000_000_000, 1_000_000_000], 0.05).unwrap(), 0.05, 1e-6);
        assert_eq!(achieved(1.0, [1, 50], 0.05).unwrap(), 0.0);
        assert_eq!(achieved(-0.5, [50, 50], 0.05).unwrap(), 0.05);
    }

    #[test]
    fn the_noncentral_distribution() {
        let known = [
            (1.0, 3.0, 0.5, 0.651_528_333_010),
            (-1.0, 10.0, 1.0, 0.026_801_856_769),
            (2.5, 25.0, 2.0, 0.672_744_646_245),
            (0.0, 2.0, 1.0, 0.158_655_253_931),
            (40.0, 50.0, 39.0, 0.571_218_678_956),
            (5.0, 2.0, 3.0, 0.689_490_596_212),
        ];
        for (t, degrees, shift, probability) in known {
            near(noncentral_t(t, degrees, shift), probability, 1e-9);
        }
    }

    #[test]
    fn effects_that_can_be_seen() {
        near(demand(0.8).detectable(63.0).unwrap(), 0.499_16, 1e-4);
        assert_eq!(steps(63.0, 3.0).unwrap(), 21_000.0);
        assert_eq!(demand(0.8).detectable(1.0).unwrap(), f64::INFINITY);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let complaint = |result: Result<f64>| result.unwrap_err().to_string();
        assert_eq!(complaint(demand(0.8).sample_size(0.0)), "the effect size is 0; it must be above 0");
        assert_eq!(complaint(demand(1.0).sample_size(1.0)), "power is 1; it must be between 0 and 1");
        let none = Demand { alpha: 0.0, ..demand(0.8) };
        assert_eq!(complaint(none.detectable(5.0)), "alpha is 0; it must be between 0 and 1");
        assert!(complaint(steps(5.0, 0.0)).starts_with("there are 0 deaths per 1000 steps"));
        assert_eq!(complaint(achieved(1.0, [5, 5], f64::NAN)), "alpha is NaN; it must be between 0 and 1");
    }
}
