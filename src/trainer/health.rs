//! Signs that training goes wrong, checked at each logged row, with what to do about them.
//!
//! The ranges come with the metrics of the algorithm and with the environment. A check speaks once in a run, when its
//! metric has been bad for some rows on end, and never while the run is solved, or has learned and holds what it
//! learned: a policy that has found the best actions has little entropy, small steps and nothing left to predict. All that
//! is remembered follows from the rows, so a resumed run, which shows the logged rows again, warns as an
//! uninterrupted one does.

use std::collections::VecDeque;

use crate::algorithms::Metric;
use crate::algorithms::metrics::{Check, EPISODE_RETURN, Values};
use crate::envs::health::{self, Range};

/// A warning with its advice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is wrong, without numbers: the same words for the same trouble.
    pub title: &'static str,
    /// What is wrong with which number, and what to do, in one line.
    pub text: String,
}

/// What is asked of the values of each row.
struct Rule {
    /// The metric that is named.
    metric: String,
    title: &'static str,
    is_bad: Condition,
    /// Rows on end that must be bad.
    rows: u32,
    advice: &'static str,
}

enum Condition {
    Outside(Range),
    /// Whether a row is bad; None where the metrics for it are missing.
    When(fn(Values) -> Option<bool>),
}

impl Rule {
    fn of_range(metric: &str, range: Range) -> Self {
        let Range { title, advice, .. } = range;
        Self { title, metric: metric.into(), is_bad: Condition::Outside(range), rows: 1, advice }
    }

    fn of_check(metric: &str, check: Check) -> Self {
        let Check { title, is_bad, rows, advice, .. } = check;
        Self { title, metric: metric.into(), is_bad: Condition::When(is_bad), rows, advice }
    }

    fn is_bad(&self, value: f64, get: Values) -> Option<bool> {
        match self.is_bad {
            Condition::Outside(range) => Some(!range.holds(value)),
            Condition::When(condition) => condition(get),
        }
    }
}

/// What the trend of the return asks of a metric, in words.
pub fn rule(metric: &str) -> Option<&'static str> {
    (metric == EPISODE_RETURN).then_some("rising, then steady")
}

/// Rows over which the return must not stay the same.
const FLAT_ROWS: usize = 50;

/// What is remembered of the rows so far.
pub struct Health {
    rules: Vec<(Rule, Memory)>,
    trend: Trend,
    flat_is_said: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Memory {
    bad_rows: u32,
    is_said: bool,
}

impl Health {
    /// For a learner with these metrics in an environment of which so much is known.
    pub fn new(metrics: &[Metric], env: health::Health) -> Self {
        let checks = metrics
            .iter()
            .flat_map(|metric| metric.checks.iter().map(|check| Rule::of_check(&metric.name, *check)));
        let own = metrics.iter().filter_map(|metric| Some(Rule::of_range(&metric.name, metric.healthy?)));
        let of_env = env.ranges.iter().map(|(metric, range)| Rule::of_range(metric, *range));
        let rules = checks.chain(own).chain(of_env);
        Self {
            rules: rules.map(|rule| (rule, Memory::default())).collect(),
            trend: Trend { solved_return: env.solved_return, ..Trend::default() },
            flat_is_said: false,
        }
    }

    /// Takes in the values of the next row; gives the warnings that it is time for.
    pub fn check(&mut self, get: Values) -> Vec<Warning> {
        self.trend.add(get(EPISODE_RETURN));
        let is_excused = self.trend.is_good();
        let rules = self.rules.iter_mut();
        let mut warnings: Vec<_> =
            rules.filter_map(|(rule, memory)| memory.take(rule, get, is_excused)).collect();
        if !is_excused && !self.flat_is_said {
            let flat = self.trend.flat_return().map(Warning::of_flat_return);
            self.flat_is_said = flat.is_some();
            warnings.extend(flat);
        }
        warnings
    }
}

impl Warning {
    fn of_flat_return(value: f64) -> Self {
        Self {
            title: "the return is flat",
            text: format!(
                "{EPISODE_RETURN} has been {value:.4} for {FLAT_ROWS} rows; if the task is not solved, start \
                 afresh with more exploration"
            ),
        }
    }
}

impl Memory {
    fn take(&mut self, rule: &Rule, get: Values, is_excused: bool) -> Option<Warning> {
        let value = get(&rule.metric)?;
        if !rule.is_bad(value, get)? {
            self.bad_rows = 0;
            return None;
        }
        self.bad_rows += 1;
        let is_due = self.bad_rows >= rule.rows && !is_excused && !self.is_said;
        self.is_said |= is_due;
        is_due.then(|| Warning {
            title: rule.title,
            text: format!("{}: {} is {value:.4}; {}", rule.title, rule.metric, rule.advice),
        })
    }
}

/// How the return has gone.
#[derive(Debug, Default)]
struct Trend {
    solved_return: Option<f64>,
    rows: usize,
    first: Option<f64>,
    /// The last [`FLAT_ROWS`] returns.
    last: VecDeque<f64>,
    /// The highest mean over [`WINDOW`] rows.
    best: Option<f64>,
}

/// Rows whose mean is the return of the moment; before so many nothing is judged.
const WINDOW: usize = 5;

impl Trend {
    /// Adds the mean return of a row, if episodes ended in it.
    fn add(&mut self, mean_return: Option<f64>) {
        self.rows += 1;
        let Some(value) = mean_return else { return };
        self.first.get_or_insert(value);
        self.last.push_back(value);
        if self.last.len() > FLAT_ROWS {
            self.last.pop_front();
        }
        if let Some((now, _)) = self.now() {
            self.best = Some(self.best.map_or(now, |best| best.max(now)));
        }
    }

    /// Mean of the last returns, and the standard deviation around their trend, by the differences from one to the next.
    fn now(&self) -> Option<(f64, f64)> {
        let window: Vec<f64> = self.last.iter().rev().take(WINDOW).copied().collect();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let steps: Vec<f64> = window.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let slope = mean(&steps);
        let squares: Vec<f64> = steps.iter().map(|step| (step - slope).powi(2)).collect();
        (window.len() == WINDOW).then(|| (mean(&window), (mean(&squares) / 2.0).sqrt()))
    }

    /// Whether there is no reason to worry: the run has just begun, is solved, or has become better than it was at first
    /// by more than chance, and has not lost half of that again.
    fn is_good(&self) -> bool {
        if self.rows < WINDOW {
            return true;
        }
        let (Some((now, spread)), Some(first), Some(best)) = (self.now(), self.first, self.best) else {
            return false;
        };
        let is_solved = self.solved_return.is_some_and(|solved| now >= solved);
        let has_learned = best - first > (3.0 * spread).max(0.01 * first.abs()).max(1e-6);
        is_solved || has_learned && now >= (first + best) / 2.0
    }

    /// The return, if it has been the same for many rows.
    fn flat_return(&self) -> Option<f64> {
        let least = self.last.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let scale = least.abs().max(most.abs()).max(1e-6);
        let is_flat = self.last.len() == FLAT_ROWS && most - least < 1e-3 * scale;
        self.last.back().copied().filter(|_| is_flat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = Vec<(&'static str, f64)>;

    /// Those of an algorithm that has checks.
    fn metrics() -> Vec<Metric> {
        let env = crate::envs::registry::find("cartpole").unwrap().build();
        (crate::algorithms::builtin()[0].metrics)(env.into()).unwrap()
    }

    const ENV: health::Health = health::Health {
        solved_return: Some(475.0),
        ranges: &[("reward/step", Range::new(-0.012, -0.008, "the step penalty is wrong", "look at it"))],
    };

    /// All warnings for these rows, each with the number of its row.
    fn warnings(env: health::Health, rows: impl IntoIterator<Item = Row>) -> Vec<(usize, Warning)> {
        let mut health = Health::new(&metrics(), env);
        let mut check = |(number, row): (usize, Row)| {
            let get = |name: &str| row.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
            health.check(&get).into_iter().map(|warning| (number, warning)).collect::<Vec<_>>()
        };
        rows.into_iter().enumerate().flat_map(&mut check).collect()
    }

    fn titles(rows: impl IntoIterator<Item = Row>) -> Vec<(usize, &'static str)> {
        warnings(ENV, rows).into_iter().map(|(number, warning)| (number, warning.title)).collect()
    }

    #[test]
    fn a_crossing_is_told_once_in_a_run() {
        let kl = [0.0, 0.0, 0.0, 0.0, 0.05, 0.07, 0.08, 0.01, 0.07];
        let told = warnings(ENV, kl.map(|kl| vec![("train/approx_kl", kl)]));
        let text = "the policy changes too fast: train/approx_kl is 0.0700; lower --lr, --update-epochs or the gradient steps (twice \
                    the epochs, half the rate)";
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].1.text.as_str()), (5, text));
        // While a run has just begun nothing is told; what is still bad then is.
        assert_eq!(titles((0..9).map(|_| vec![("reward/step", 0.0)])), [(4, "the step penalty is wrong")]);
        assert_eq!(titles((0..9).map(|_| vec![("reward/step", -0.01)])), []);
    }

    /// A policy that has settled, with this return in each row.
    fn settled(mean_return: f64) -> Row {
        vec![
            ("train/entropy", 0.0),
            ("train/max_entropy", 2f64.ln()),
            ("train/approx_kl", 0.0),
            ("train/clip_frac", 0.0),
            ("train/pg_loss", 0.0),
            ("train/vf_loss", 0.0),
            (EPISODE_RETURN, mean_return),
        ]
    }

    #[test]
    fn nothing_is_told_of_a_solved_or_improving_run() {
        assert_eq!(titles((0..100).map(|_| settled(500.0))), [], "solved from the start");
        assert_eq!(
            titles((0..100).map(|row| settled(f64::from(row).min(60.0)))),
            [],
            "improved, then at its best"
        );
        let learned_at_once = [-1.0, 0.5].into_iter().chain([0.95; 100]);
        assert_eq!(titles(learned_at_once.map(settled)), [], "the best there is, of which nobody said so");
    }

    #[test]
    fn a_run_that_settles_on_nothing_or_loses_what_it_learned_is_told_all() {
        let all = ["nothing is learned", "the value function is dead", "entropy collapse", "entropy is low"];
        let told = titles((0..100).map(|_| settled(10.0)));
        let expected: Vec<_> =
            all.map(|title| (4, title)).into_iter().chain([(49, "the return is flat")]).collect();
        assert_eq!(told, expected);
        let lost = (0..40).map(f64::from).chain([0.0; 20]);
        let told = titles(lost.map(settled));
        assert_eq!(told.iter().map(|(_, title)| *title).collect::<Vec<_>>(), all);
        assert!(told.iter().all(|(row, _)| (41..46).contains(row)), "{told:?}");
    }

    #[test]
    fn chance_is_no_improvement() {
        let noise = |row: u32| f64::from((row * row * 37 + row * 11 + 5) % 13) - 6.0;
        let told = titles((0..100).map(|row| settled(10.0 + noise(row))));
        assert!(told.iter().any(|(_, title)| *title == "entropy collapse"), "{told:?}");
    }

    #[test]
    fn entropy_is_judged_by_what_random_play_has() {
        let row = |entropy: f64, most: f64| -> Row {
            vec![("train/entropy", entropy), ("train/max_entropy", most)]
        };
        assert_eq!(titles((0..9).map(|_| row(0.5, 2f64.ln()))), [], "two actions have no more than 0.69");
        assert_eq!(titles((0..9).map(|_| row(0.3, 28f64.ln()))), [(4, "entropy is low")]);
        assert_eq!(titles((0..9).map(|_| row(0.0, 0.0))), [], "one valid action leaves nothing to choose");
    }
}
