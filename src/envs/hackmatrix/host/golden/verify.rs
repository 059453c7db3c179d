//! Playing golden records and comparing what happened with what may happen.

use std::io::{self, Write};

use anyhow::{Result, ensure};

use super::compare::differences;
use super::record::Record;
use crate::envs::hackmatrix::host::{Game, StepResult};

/// An implementation of the game, as [`verify`] plays it: many games at once.
pub trait Player {
    /// Observation (f32 `[1545]`) and action mask of each state.
    fn observe(&mut self, states: &[Game]) -> Result<Vec<(Vec<f32>, [bool; 28])>>;

    /// Plays one action in each state, without resetting what is done. The same `seed` gives the same
    /// results. `verify` passes all records with the first seed and the random ones with the others.
    fn step(&mut self, states: &[Game], actions: &[i32], seed: u64) -> Result<Vec<StepResult>>;

    /// How many snapshots of the history the implementation keeps; more than 4 are not compared.
    fn history_capacity(&self) -> usize {
        4
    }

    /// Whether it keeps the hints of cryptogs, which no rule reads. They are compared only then.
    fn keeps_hints(&self) -> bool {
        false
    }
}

/// What [`verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records of which every result is an outcome.
    pub passed: usize,
    pub failed: usize,
    /// Outcomes that some result reached, and all that are listed.
    pub outcomes_reached: usize,
    pub outcomes_listed: usize,
}

/// How many failures are printed, and differences of each.
const PRINTED: usize = 10;

/// Plays every record: the deterministic ones once, the others with `seeds` seeds. Prints the first
/// failures field by field, how many outcomes were reached, and last `N passed, M failed`.
pub fn verify(
    records: &[Record],
    player: &mut dyn Player,
    seeds: usize,
    out: &mut dyn Write,
) -> Result<Report> {
    let mut tally = Tally::new(records, player.history_capacity(), player.keeps_hints());
    let states: Vec<Game> = records.iter().map(|record| record.before.clone()).collect();
    let observed = player.observe(&states)?;
    ensure!(observed.len() == records.len(), "{} observations of {} states", observed.len(), records.len());
    for (index, (obs, mask)) in observed.iter().enumerate() {
        tally.check_before(index, obs, mask, out)?;
    }
    let random: Vec<usize> = (0..records.len()).filter(|&index| !records[index].is_deterministic()).collect();
    for seed in 0..seeds.max(1) {
        let indices = if seed == 0 { (0..records.len()).collect() } else { random.clone() };
        let states: Vec<Game> = indices.iter().map(|&index| records[index].before.clone()).collect();
        let actions: Vec<i32> = indices.iter().map(|&index| records[index].action).collect();
        let results = player.step(&states, &actions, seed as u64)?;
        ensure!(results.len() == indices.len(), "{} results of {} steps", results.len(), indices.len());
        for (index, result) in indices.into_iter().zip(&results) {
            tally.check_result(index, result, seed, out)?;
        }
    }
    tally.finish(out)
}

struct Tally<'a> {
    records: &'a [Record],
    history_capacity: usize,
    keeps_hints: bool,
    failed: Vec<bool>,
    /// Per record and outcome.
    reached: Vec<Vec<bool>>,
    printed: usize,
}

impl<'a> Tally<'a> {
    fn new(records: &'a [Record], history_capacity: usize, keeps_hints: bool) -> Tally<'a> {
        Tally {
            records,
            history_capacity,
            keeps_hints,
            failed: vec![false; records.len()],
            reached: records.iter().map(|record| vec![false; record.outcomes.len()]).collect(),
            printed: 0,
        }
    }

    /// Compares mask and observation of the state before.
    fn check_before(
        &mut self,
        index: usize,
        obs: &[f32],
        mask: &[bool; 28],
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let record = &self.records[index];
        let mut found = Vec::new();
        for action in (0..28).filter(|&action| mask[action] != record.mask[action]) {
            found.push(format!("mask[{action}]: expected {}, got {}", record.mask[action], mask[action]));
        }
        found.extend(super::compare::obs_differences(&record.obs, obs));
        if found.is_empty() { Ok(()) } else { self.fail(index, "before the step", &found, out) }
    }

    /// Requires that the result is one of the outcomes.
    fn check_result(
        &mut self,
        index: usize,
        result: &StepResult,
        seed: usize,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let record = &self.records[index];
        let mut nearest: Option<Vec<String>> = None;
        for (number, outcome) in record.outcomes.iter().enumerate() {
            let found = differences(outcome, result, self.history_capacity, self.keeps_hints);
            if found.is_empty() {
                self.reached[index][number] = true;
                return Ok(());
            }
            if nearest.as_ref().is_none_or(|nearest| found.len() < nearest.len()) {
                nearest = Some(found);
            }
        }
        let listed = record.outcomes.len();
        let place = if listed == 1 {
            format!("seed {seed}")
        } else {
            format!("seed {seed}, none of {listed} outcomes, the nearest")
        };
        self.fail(index, &place, &nearest.unwrap_or_default(), out)
    }

    fn fail(&mut self, index: usize, place: &str, found: &[String], out: &mut dyn Write) -> io::Result<()> {
        let first_time = !std::mem::replace(&mut self.failed[index], true);
        if !first_time || self.printed == PRINTED {
            return Ok(());
        }
        self.printed += 1;
        let record = &self.records[index];
        writeln!(
            out,
            "record {}, action {} ({}): {place}",
            record.id,
            record.action,
            record.tags.join(", ")
        )?;
        for difference in found.iter().take(PRINTED) {
            writeln!(out, "  {difference}")?;
        }
        if found.len() > PRINTED {
            writeln!(out, "  and {} more differences", found.len() - PRINTED)?;
        }
        Ok(())
    }

    fn finish(self, out: &mut dyn Write) -> Result<Report> {
        let failed = self.failed.iter().filter(|&&failed| failed).count();
        let report = Report {
            passed: self.records.len() - failed,
            failed,
            outcomes_reached: self.reached.iter().flatten().filter(|&&reached| reached).count(),
            outcomes_listed: self.reached.iter().map(Vec::len).sum(),
        };
        if failed > self.printed {
            writeln!(out, "and {} more failed records", failed - self.printed)?;
        }
        writeln!(out, "{} of {} outcomes reached", report.outcomes_reached, report.outcomes_listed)?;
        writeln!(out, "{} passed, {} failed", report.passed, report.failed)?;
        Ok(report)
    }
}
