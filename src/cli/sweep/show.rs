//! `sweep show` and `sweep best`: what a sweep has come to.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use toml::Table;

use super::setup::Setup;
use crate::cli::table::table;
use crate::sweep::journal::{State, Status, Trial};
use crate::sweep::{Goal, Method, Outcome, Plan, Random, Surrogate, front};
use crate::trainer::readable::{ABSENT, significant};

/// Trials that are listed.
const MOST_LISTED: usize = 20;

/// Values in a line.
pub fn described(values: &Table) -> String {
    values.iter().map(|(name, value)| format!("{name} = {}", short(value))).collect::<Vec<_>>().join(", ")
}

fn short(value: &toml::Value) -> String {
    value.as_float().map_or_else(|| value.to_string(), |number| significant(number, 4))
}

/// A score as people read it.
pub fn score(score: f64) -> String {
    significant(score, 5)
}

/// What is to be said of a sweep.
pub struct Overview<'a> {
    pub state: &'a State,
    pub plan: &'a Plan,
    /// The trials of the Pareto front, from the cheapest to the best.
    pub front: Vec<&'a Trial>,
    pub best: Option<&'a Trial>,
    /// Settings and the share of the score's variance that each explains, the largest first; none before there are trials to learn from.
    pub importance: Vec<(String, f64)>,
}

impl<'a> Overview<'a> {
    pub fn new(state: &'a State, plan: &'a Plan) -> Overview<'a> {
        let ended: Vec<(&Trial, Outcome)> = state
            .trials
            .iter()
            .filter_map(|trial| trial.last().map(|last| (trial, last)))
            .map(|(trial, last)| (trial, Outcome { score: plan.worth(last.score), cost: last.cost }))
            .collect();
        let outcomes: Vec<Outcome> = ended.iter().map(|(_, outcome)| *outcome).collect();
        let front = front(&outcomes).into_iter().map(|place| ended[place].0).collect();
        let best = best(&ended);
        Overview { state, plan, front, best, importance: importance(state, plan) }
    }

    fn to_json(&self) -> Value {
        let State { name, trials, .. } = self.state;
        let goal = if self.plan.goal == Goal::Minimize { "minimize" } else { "maximize" };
        json!({
            "name": name,
            "method": method(self.plan),
            "metric": self.plan.metric,
            "goal": goal,
            "max_runs": self.plan.max_runs,
            "trials": trials.iter().map(trial_json).collect::<Vec<_>>(),
            "front": self.front.iter().map(|trial| trial.number).collect::<Vec<_>>(),
            "best": self.best.map(|trial| trial.number),
            "importance": self.importance.iter().map(|(name, share)| (name.clone(), json!(share))).collect::<serde_json::Map<_, _>>(),
        })
    }

    fn to_text(&self) -> String {
        let State { name, trials, .. } = self.state;
        let count = |is: fn(&Trial) -> bool| trials.iter().filter(|trial| is(trial)).count();
        let ended = count(|trial| trial.last().is_some());
        let mut parts = vec![format!("{ended} of {} trials done", self.plan.max_runs)];
        for (count, what) in [
            (count(|trial| matches!(trial.status, Status::Failed { .. })), "failed"),
            (count(|trial| matches!(trial.status, Status::Done { stopped: true, .. })), "ended early"),
            (count(|trial| !trial.has_ended()), "running or to be run again"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        let goal = if self.plan.goal == Goal::Minimize { "small" } else { "large" };
        let mut text = format!(
            "{name}: {}; {} by {}, to be {goal}\n",
            parts.join(", "),
            self.plan.metric,
            method(self.plan)
        );
        if !self.front.is_empty() {
            text += &format!("\nPareto front, score against cost\n{}", self.trials_table(&self.front));
        }
        let mut others: Vec<&Trial> = trials.iter().filter(|trial| trial.last().is_some()).collect();
        others.sort_by(|a, b| self.worth(b).total_cmp(&self.worth(a)));
        let shown = &others[..others.len().min(MOST_LISTED)];
        if !shown.is_empty() {
            text += &format!("\nBest trials\n{}", self.trials_table(shown));
        }
        if !self.importance.is_empty() {
            let rows: Vec<Vec<String>> = self
                .importance
                .iter()
                .map(|(name, share)| vec![name.clone(), format!("{:.0} %", 100.0 * share)])
                .collect();
            text += "\nImportance: the share of the score's variance that a setting explains alone\n";
            text += &table(&["setting", ">share"], &rows);
        }
        if let Some(Trial { status: Status::Failed { error, .. }, number, .. }) =
            trials.iter().rfind(|trial| matches!(trial.status, Status::Failed { .. }))
        {
            text += &format!("\nLast failure: trial {number}: {error}\n");
        }
        if let (Some(best), Some(last)) = (self.best, self.best.and_then(Trial::last)) {
            let run = best.run.as_deref().unwrap_or(ABSENT);
            text += &format!(
                "\nBest: trial {} with {} ({run}); {}\n",
                best.number,
                score(last.score),
                described(&best.values)
            );
        }
        text
    }

    fn worth(&self, trial: &Trial) -> f64 {
        trial.last().map_or(f64::NEG_INFINITY, |last| self.plan.worth(last.score))
    }

    fn trials_table(&self, trials: &[&Trial]) -> String {
        let names: Vec<&str> =
            self.plan.space.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        let titles: Vec<String> = names.iter().map(|name| format!(">{name}")).collect();
        let mut head = vec![">trial", ">score", ">seconds", ">steps"];
        head.extend(titles.iter().map(String::as_str));
        let row = |trial: &&Trial| {
            let last = trial.last();
            let cell = |text: Option<String>| text.unwrap_or_else(|| ABSENT.to_owned());
            let mut row = vec![
                trial.number.to_string(),
                cell(last.map(|last| score(last.score))),
                cell(last.map(|last| format!("{:.1}", last.cost))),
                cell(last.map(|last| last.steps.to_string())),
            ];
            row.extend(names.iter().map(|name| cell(trial.values.get(*name).map(short))));
            row
        };
        table(&head, &trials.iter().map(row).collect::<Vec<_>>())
    }
}

fn method(plan: &Plan) -> &'static str {
    match plan.method {
        Method::Protein(_) => "protein",
        Method::Random => "random",
        Method::Sobol => "sobol",
        Method::Grid => "grid",
    }
}

/// The trial whose values have the best mean score, over all trials that have them.
fn best<'a>(ended: &[(&'a Trial, Outcome)]) -> Option<&'a Trial> {
    let mean = |trial: &Trial| {
        let same = ended.iter().filter(|(other, _)| other.values == trial.values);
        let scores: Vec<f64> = same.map(|(_, outcome)| outcome.score).collect();
        scores.iter().sum::<f64>() / scores.len() as f64
    };
    // Of equal ones the first.
    let (trial, _) = ended.iter().rev().max_by(|(a, _), (b, _)| mean(a).total_cmp(&mean(b)))?;
    Some(trial)
}

fn importance(state: &State, plan: &Plan) -> Vec<(String, f64)> {
    let (evidence, mut random) = (state.evidence(plan), Random::new(plan.seed, u64::MAX));
    const MOST_POINTS: usize = 300;
    let enough = evidence.done.len() > plan.space.parameters.len();
    let surrogate =
        enough.then(|| Surrogate::fit(&plan.space, &evidence, MOST_POINTS, &mut random)).flatten();
    let Some(surrogate) = surrogate else { return Vec::new() };
    let shares = surrogate.importance(&plan.space, &mut random);
    let names = plan.space.parameters.iter().map(|parameter| parameter.name.clone());
    let mut importance: Vec<(String, f64)> = names.zip(shares).collect();
    importance.sort_by(|a, b| b.1.total_cmp(&a.1));
    importance
}

/// A trial as programs read it.
pub fn trial_json(trial: &Trial) -> Value {
    let (status, error) = match &trial.status {
        Status::Running => ("running", None),
        Status::Released => ("released", None),
        Status::Done { stopped: false, .. } => ("completed", None),
        Status::Done { stopped: true, .. } => ("stopped", None),
        Status::Failed { error, .. } => ("failed", Some(error)),
    };
    let last = trial.last();
    json!({
        "trial": trial.number,
        "status": status,
        "score": last.map(|last| last.score),
        "cost": last.map(|last| last.cost),
        "steps": last.map(|last| last.steps),
        "expected": trial.expected,
        "attempt": trial.attempt,
        "worker": trial.worker,
        "run": trial.run,
        "seed": trial.seed,
        "values": trial.values,
        "error": error,
    })
}

/// Prints what a sweep has come to.
///
/// # Errors
/// One line.
pub fn show(overview: &Overview, as_json: bool) -> Result<()> {
    match as_json {
        true => crate::cli::print_line(overview.to_json()),
        false => crate::cli::print(&overview.to_text()),
    }
}

/// Prints the best configuration as a file for `train --config`.
///
/// # Errors
/// One line: no trial has a score.
pub fn best_file(overview: &Overview, setup: &Setup) -> Result<()> {
    let name = &overview.state.name;
    let best = overview.best.with_context(|| format!("no trial of {name} has a score yet"))?;
    let last = best.last().context("the best trial has a score")?;
    let head = format!(
        "# The best of the sweep {name}: trial {} with {} = {} after {:.1} s.",
        best.number,
        overview.plan.metric,
        score(last.score),
        last.cost
    );
    crate::cli::print(&format!("{head}\n\n{}", toml::to_string(&setup.settings(&best.values))?))
}
