//! Numbers that change in the course of a run.
//!
//! A schedule is a function of what has happened so far, not a number that is carried along, so that one step of it can be as
//! many events as happen at once, and rounding does not add up.

use crate::lang::{Float, Int, int_u64, select};

/// What the schedules of a learner say, in the last step and in the next one; `None` if it has no such schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// The probability of a random action.
    pub exploration: Option<[f64; 2]>,
    pub learning_rate: Option<[f64; 2]>,
}

/// [`exponential`] on the host.
pub fn decayed(start: f64, factor: f64, least: f64, count: u64) -> f64 {
    let value = start * (factor.ln() * count as f64).exp();
    if start > least { value.max(least) } else { start }
}

/// On the line from `start` to `end`, of which this `share` is done; f32 scalars.
#[track_caller]
pub fn linear(start: Float, end: Float, share: Float) -> Float {
    start * (1.0 - share) + end * share
}

/// `start` multiplied by a factor once per event, but not below `least`. All are f32 scalars but `count`, the number of events (u64);
/// `ln_factor` is the factor's logarithm, in which a factor next to 1 keeps its digits.
#[track_caller]
pub fn exponential(start: Float, ln_factor: Float, least: Float, count: Int) -> Float {
    let value = start * (ln_factor * count.as_f32()).exp();
    // What starts below the least value stays where it is.
    select(start.gt(least), value.maximum(least), start)
}

/// How many multiples of `interval` a count (u64) reaches on its way from `before` to `after`; none if the interval is 0.
#[track_caller]
pub fn crossed(before: Int, after: Int, interval: u64) -> Int {
    if interval == 0 { int_u64(0) } else { after / interval - before / interval }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, float, trace, vmap};

    #[test]
    fn a_factor_next_to_one_keeps_its_digits() {
        let counts = [0u64, 1, 1000, 100_000, 149_786, 1 << 40];
        let traced = trace(&(), |()| {
            vmap(constant(counts), |count: Int| {
                let value =
                    |factor: f64, least| exponential(float(0.9), float(factor.ln()), float(least), count);
                (value(0.99998, 0.05), exponential(float(0.01), float(-1.0), float(0.05), count))
            })
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        for (i, count) in counts.into_iter().enumerate() {
            let expected = (0.9 * 0.99998f64.powf(count as f64)).max(0.05);
            assert!((found[0][i] - expected).abs() < 1e-6, "{count}: {}", found[0][i]);
            assert!((found[1][i] - 0.01).abs() < 1e-8);
        }
    }

    #[test]
    fn multiples_are_counted_where_they_are_reached() {
        let found = trace(&(), |()| {
            [(0u64, 9u64, 10u64), (9, 10, 10), (10, 19, 10), (9, 31, 10), (5, 6, 0)]
                .map(|(before, after, interval)| crossed(int_u64(before), int_u64(after), interval))
        });
        let found: Vec<f64> = interpret(&found.graph, &[]).iter().map(|array| array.to_f64()[0]).collect();
        assert_eq!(found, [0.0, 1.0, 0.0, 3.0, 0.0]);
    }
}
