//! Signs that training goes wrong, checked at each logged row, with what to do about them.
//!
//! A check speaks when its metric has been in a bad range for some rows on end, and is quiet from then on until the
//! metric has been well again. All that it remembers follows from the rows, so a resumed run, which shows it the
//! logged rows again, warns as an uninterrupted one does.

use std::collections::VecDeque;

/// A warning with its advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong, without numbers: the same words for the same trouble.
    pub title: &'static str,
    /// What is wrong with which number, and what to do, in one line.
    pub text: String,
}

/// The values of a row by name.
type Get<'a> = &'a dyn Fn(&str) -> Option<f64>;

struct Check {
    title: &'static str,
    /// The metric that is named.
    metric: &'static str,
    /// Whether a row is bad; `None` where the metrics for it are missing.
    is_bad: fn(Get) -> Option<bool>,
    /// Rows on end that must be bad.
    rows: u32,
    /// Whether the metric must have been well once: a range that some environments never reach.
    after_health: bool,
    advice: &'static str,
}

const COLLAPSE_ADVICE: &str = "stop at once, raise --ent-coef (0.15 or 0.2) and start afresh, for a collapsed model does \
    not recover; --ent-coef of at least 0.1 prevents it";
const RATE_ADVICE: &str =
    "lower --lr, --update-epochs or the gradient steps (twice the epochs, half the rate)";

const CHECKS: [Check; 7] = [
    Check {
        title: "entropy collapse",
        metric: "entropy",
        is_bad: |get| {
            Some(get("entropy")? < 0.02 && get("approx_kl")?.abs() < 1e-5 && get("clip_frac")? < 1e-4)
        },
        rows: 1,
        after_health: false,
        advice: COLLAPSE_ADVICE,
    },
    Check {
        title: "entropy is low",
        metric: "entropy",
        is_bad: |get| Some(get("entropy")? < 1.0),
        rows: 1,
        after_health: true,
        advice: "above 1.0 is healthy; if it goes on falling, start afresh with a higher --ent-coef (0.15 or 0.2)",
    },
    Check {
        title: "the policy changes too fast",
        metric: "approx_kl",
        is_bad: |get| Some(get("approx_kl")? > 0.06),
        rows: 1,
        after_health: false,
        advice: RATE_ADVICE,
    },
    Check {
        title: "too much is clipped",
        metric: "clip_frac",
        is_bad: |get| Some(get("clip_frac")? > 0.30),
        rows: 1,
        after_health: false,
        advice: RATE_ADVICE,
    },
    Check {
        title: "nothing is learned",
        metric: "pg_loss",
        is_bad: |get| Some(get("pg_loss")?.abs() < 1e-7),
        rows: 5,
        after_health: false,
        advice: "a policy loss of zero means no advantage: look at the rewards, or raise --ent-coef and start afresh",
    },
    Check {
        title: "the value function is dead",
        metric: "vf_loss",
        is_bad: |get| Some(get("vf_loss")?.abs() < 1e-9),
        rows: 5,
        after_health: false,
        advice: "it has nothing to predict: look at the rewards",
    },
    Check {
        title: "the step penalty is wrong",
        metric: "reward/step_penalty",
        is_bad: |get| Some((get("reward/step_penalty")? + 0.01).abs() > 0.002),
        rows: 1,
        after_health: false,
        advice: "it should be about -0.01 in each step: the rewards of the environment are wrong",
    },
];

/// Rows over which the return must not stay the same.
const FLAT_ROWS: usize = 50;

/// What is remembered of the rows so far.
#[derive(Debug, Default)]
pub struct Health {
    checks: [Memory; CHECKS.len()],
    returns: VecDeque<f64>,
    flat: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    bad_rows: u32,
    was_well: bool,
}

impl Health {
    /// Takes in the values of the next row; gives the ranges that are crossed with it.
    pub fn check(&mut self, get: Get) -> Vec<Warning> {
        let checks = CHECKS.iter().zip(&mut self.checks);
        let mut warnings: Vec<_> = checks.filter_map(|(check, memory)| memory.take(check, get)).collect();
        warnings.extend(get("mean_episode_return").and_then(|value| self.check_return(value)));
        warnings
    }

    fn check_return(&mut self, value: f64) -> Option<Warning> {
        self.returns.push_back(value);
        if self.returns.len() > FLAT_ROWS {
            self.returns.pop_front();
        }
        let least = self.returns.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.returns.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let scale = least.abs().max(most.abs()).max(1e-6);
        let was_flat = self.flat;
        self.flat = self.returns.len() == FLAT_ROWS && most - least < 1e-3 * scale;
        (self.flat && !was_flat).then(|| Warning {
            title: "the return is flat",
            text: format!(
                "mean_episode_return has been {value:.4} for {FLAT_ROWS} rows; if the task is not solved, raise \
                 --ent-coef and start afresh"
            ),
        })
    }
}

impl Memory {
    fn take(&mut self, check: &Check, get: Get) -> Option<Warning> {
        let value = get(check.metric)?;
        if !(check.is_bad)(get)? {
            *self = Self { bad_rows: 0, was_well: true };
            return None;
        }
        self.bad_rows += 1;
        let due = self.bad_rows == check.rows && (self.was_well || !check.after_health);
        due.then(|| Warning {
            title: check.title,
            text: format!("{}: {} is {value:.4}; {}", check.title, check.metric, check.advice),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The titles of the warnings for rows of the given metrics, row by row.
    fn titles(rows: &[&[(&str, f64)]]) -> Vec<Vec<&'static str>> {
        let mut health = Health::default();
        let check = |row: &&[(&str, f64)]| {
            let get = |name: &str| row.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            health.check(&get).iter().map(|warning| warning.title).collect()
        };
        rows.iter().map(check).collect()
    }

    #[test]
    fn a_crossing_is_told_once_and_again_after_recovery() {
        let kl = |value| vec![("approx_kl", value)];
        let rows = [kl(0.05), kl(0.07), kl(0.08), kl(0.01), kl(0.07)];
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        let fast = "the policy changes too fast";
        assert_eq!(titles(&rows), [vec![], vec![fast], vec![], vec![], vec![fast]]);
    }

    #[test]
    fn entropy_below_one_is_a_warning_only_where_it_was_above() {
        let low = "entropy is low";
        let (high, falling, binary) = ([("entropy", 3.0)], [("entropy", 0.9)], [("entropy", 0.69)]);
        assert_eq!(titles(&[&high, &falling, &falling]), [vec![], vec![low], vec![]]);
        assert_eq!(titles(&[&binary, &binary]), [Vec::<&str>::new(), vec![]]);
    }

    #[test]
    fn a_collapse_is_all_signs_together() {
        let row = |entropy, kl| vec![("entropy", entropy), ("approx_kl", kl), ("clip_frac", 0.0)];
        let (falling, collapsed) = (row(0.01, 0.02), row(0.0, 0.0));
        assert_eq!(titles(&[&falling, &collapsed]), [vec![], vec!["entropy collapse"]]);
        let mut health = Health::default();
        let get = |name: &str| collapsed.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        let text = health.check(&get)[0].text.clone();
        assert!(
            text.starts_with("entropy collapse: entropy is 0.0000; stop at once, raise --ent-coef"),
            "{text}"
        );
    }

    #[test]
    fn some_things_must_last() {
        let zero = [("pg_loss", 0.0)];
        let told = titles(&[&zero[..]; 7]);
        assert_eq!(told.iter().position(|titles| titles == &["nothing is learned"]), Some(4));
        assert_eq!(told.concat().len(), 1);
        let flat = [("mean_episode_return", -3.0)];
        let told = titles(&[&flat[..]; 60]);
        assert_eq!(told.iter().position(|titles| titles == &["the return is flat"]), Some(49));
        assert_eq!(told.concat().len(), 1);
    }
}
