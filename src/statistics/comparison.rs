//! Two groups of numbers: whether their means differ, and by how much for their spread.

use super::{CONFIDENCE, Interval, Moments, t_quantile, t_two_sided};

/// The test of Welch (1947) of whether two means are the same, which does not take the variances for equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The mean of the first group minus that of the second.
    pub difference: f64,
    /// Where the difference of all such numbers is.
    pub interval: Interval,
    pub t: f64,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub degrees: f64,
    /// The probability of such a difference or a larger one, in either direction, if there is none.
    pub p: f64,
    /// See [`cohen_d`] and [`hedges_g`].
    pub cohen_d: f64,
    pub hedges_g: f64,
}

impl Comparison {
    /// Nothing if a group has fewer than two numbers, of which no spread is known.
    pub fn of(a: &Moments, b: &Moments) -> Option<Comparison> {
        if a.count.min(b.count) < 2 {
            return None;
        }
        let difference = a.mean - b.mean;
        let parts = [a, b].map(|group| group.variance() / group.count as f64);
        let error = (parts[0] + parts[1]).sqrt();
        let d = cohen_d(a, b);
        let effect = |t, degrees, p, half| Comparison {
            difference,
            interval: Interval { low: difference - half, high: difference + half },
            t,
            degrees,
            p,
            cohen_d: d,
            hedges_g: hedges_g(d, a.count, b.count),
        };
        if error == 0.0 {
            // Groups without any spread: they are the same, or surely are not.
            let degrees = (a.count + b.count - 2) as f64;
            let same = difference == 0.0;
            let t = if same { 0.0 } else { f64::INFINITY.copysign(difference) };
            return Some(effect(t, degrees, f64::from(u8::from(same)), 0.0));
        }
        let [of_a, of_b] =
            [(parts[0], a.count), (parts[1], b.count)].map(|(part, count)| part * part / (count - 1) as f64);
        let degrees = (parts[0] + parts[1]).powi(2) / (of_a + of_b);
        let t = difference / error;
        let half = t_quantile(degrees, (1.0 + CONFIDENCE) / 2.0) * error;
        Some(effect(t, degrees, t_two_sided(degrees, t), half))
    }
}

/// The difference of two means in standard deviations of both groups together; 0 if there is no spread.
pub fn cohen_d(a: &Moments, b: &Moments) -> f64 {
    let freedom = (a.count + b.count) as f64 - 2.0;
    let squares = |group: &Moments| group.variance() * (group.count as f64 - 1.0).max(0.0);
    let pooled = (squares(a) + squares(b)) / freedom;
    if freedom > 0.0 && pooled > 0.0 { (a.mean - b.mean) / pooled.sqrt() } else { 0.0 }
}

/// [`cohen_d`] of groups of these sizes without the bias that small groups have.
pub fn hedges_g(d: f64, a: u64, b: u64) -> f64 {
    d * (1.0 - 3.0 / (4.0 * (a + b) as f64 - 9.0))
}

/// An effect in words, by its size in standard deviations.
pub fn magnitude(d: f64) -> &'static str {
    match d.abs() {
        size if size < 0.2 => "negligible",
        size if size < 0.5 => "small",
        size if size < 0.8 => "medium",
        size if size < 2.0 => "large",
        size if size < 10.0 => "very large",
        _ => "near-complete separation",
    }
}

/// A probability as reports write it.
pub fn p_text(p: f64) -> String {
    match p {
        p if p < 0.001 => "< 0.001".into(),
        p if p < 0.01 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

/// How far a probability is below the usual bounds.
pub fn stars(p: f64) -> &'static str {
    match p {
        p if p < 0.001 => "***",
        p if p < 0.01 => "**",
        p if p < 0.05 => "*",
        _ => "ns",
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::near;
    use super::*;

    #[test]
    fn the_test_of_welch() {
        let a = Moments::of([
            27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4,
        ]);
        let b = Moments::of([
            27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.1, 27.6,
        ]);
        let found = Comparison::of(&a, &b).unwrap();
        near(found.t, -2.975_694_420, 1e-9);
        near(found.degrees, 27.990_485_024, 1e-9);
        near(found.p, 0.005_966_219_119, 1e-10);
        near(found.interval.low, -5.098_938_035, 1e-8);
        near(found.interval.high, -0.941_061_965, 1e-8);
        near(found.cohen_d, -1.086_569_972, 1e-9);
        near(found.hedges_g, -1.057_203_216, 1e-9);
    }

    #[test]
    fn groups_without_spread_or_size() {
        let (ones, twos) = (Moments::of([1.0; 3]), Moments::of([2.0; 3]));
        let apart = Comparison::of(&ones, &twos).unwrap();
        assert_eq!((apart.t, apart.p, apart.cohen_d), (f64::NEG_INFINITY, 0.0, 0.0));
        assert_eq!(apart.interval, Interval { low: -1.0, high: -1.0 });
        let same = Comparison::of(&ones, &ones).unwrap();
        assert_eq!((same.t, same.p), (0.0, 1.0));
        assert_eq!(Comparison::of(&ones, &Moments::of([2.0])), None);
    }

    #[test]
    fn numbers_in_words() {
        let words = [0.1, -0.3, 0.5, 0.8, -2.0, 10.0].map(magnitude);
        assert_eq!(
            words,
            ["negligible", "small", "medium", "large", "very large", "near-complete separation"]
        );
        assert_eq!([0.0004, 0.0042, 0.2].map(p_text), ["< 0.001", "0.004", "0.20"]);
        assert_eq!([0.0004, 0.004, 0.04, 0.4].map(stars), ["***", "**", "*", "ns"]);
    }
}
