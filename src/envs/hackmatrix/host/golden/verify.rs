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

#[cfg(test)]
mod tests {
    use super::super::built_in;
    use super::*;
    use crate::envs::hackmatrix::host::rules::Oracle;
    use crate::envs::hackmatrix::host::{Cell, EnemyType, block};

    /// The oracle, with one thing wrong.
    struct Spoiled<F> {
        oracle: Oracle,
        spoil: F,
    }

    impl<F: Fn(&Game, &mut StepResult)> Player for Spoiled<F> {
        fn observe(&mut self, states: &[Game]) -> Result<Vec<(Vec<f32>, [bool; 28])>> {
            self.oracle.observe(states)
        }

        fn step(&mut self, states: &[Game], actions: &[i32], seed: u64) -> Result<Vec<StepResult>> {
            let mut results = self.oracle.step(states, actions, seed)?;
            results.iter_mut().zip(states).for_each(|(result, before)| (self.spoil)(before, result));
            Ok(results)
        }
    }

    /// What the message has to name, and the mistake.
    type Spoil<T> = (&'static str, fn(&mut T));

    /// How many of the records fail, and what is printed.
    fn play(records: &[Record], spoil: impl Fn(&Game, &mut StepResult)) -> (usize, String) {
        let mut out = Vec::new();
        let mut player = Spoiled { oracle: Oracle::default(), spoil };
        let report = verify(records, &mut player, 1, &mut out).unwrap();
        (report.failed, String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_field_is_compared() {
        let records = &built_in().unwrap()[..200];
        assert_eq!(play(records, |_, _| {}).0, 0);
        let spoils: [Spoil<StepResult>; 24] = [
            ("player", |result| result.state.player.row = (result.state.player.row + 1) % 6),
            ("hp", |result| result.state.hp += 1),
            ("credits", |result| result.state.credits += 1),
            ("attack", |result| result.state.attack += 1),
            ("turn", |result| result.state.turn += 1),
            ("step_active", |result| result.state.step_active ^= true),
            ("scheduled_interval", |result| result.state.scheduled_interval += 1),
            ("next_scheduled_turn", |result| result.state.next_scheduled_turn += 1),
            ("pending_siphon", |result| result.state.pending_siphon += 1),
            ("owned", |result| {
                result.state.owned = (0..23).filter(|p| !result.state.owned.contains(p)).collect()
            }),
            ("number of enemies", |result| result.state.enemies.extend(result.state.enemies.last().cloned())),
            ("block_spawn (2, 3)", |result| result.state.board.block_spawn[Cell::new(2, 3)] += 1),
            ("siphoned (0, 5)", |result| result.state.board.siphoned[Cell::new(0, 5)] ^= true),
            ("res_energy", |result| result.state.board.res_energy[Cell::new(1, 1)] += 4),
            ("number of snapshots", |result| result.state.history.clear()),
            ("snapshot 0 from the newest: credits", |result| {
                result.state.history.iter_mut().for_each(|snapshot| snapshot.credits += 1)
            }),
            ("reward kills", |result| result.rewards[3] += 3e-4),
            ("reward siphon_quality", |result| result.rewards[14] = f32::NAN),
            ("done", |result| result.done ^= true),
            ("stage_complete", |result| result.stage_complete ^= true),
            ("info score", |result| result.score += 1),
            ("obs[2] hp", |result| result.obs[2] += f32::EPSILON),
            ("expected 1545 numbers", |result| result.obs.truncate(1544)),
            ("obs[37] enemy_hp of cell (0, 0)", |result| result.obs[37] += 0.1),
        ];
        for (name, spoil) in spoils {
            let (failed, text) = play(records, |_, result| spoil(result));
            assert!(failed > 0, "{name} is not compared");
            assert!(text.contains(name), "{name} is not named in\n{text}");
            assert!(text.ends_with(&format!("{} passed, {failed} failed\n", 200 - failed)));
        }
    }

    #[test]
    fn new_transmissions_are_checked_although_they_are_random() {
        let records = built_in().unwrap();
        let spawning = |record: &&Record| record.outcomes.iter().any(|outcome| outcome.spawn.is_some());
        let records: Vec<Record> = records.iter().filter(spawning).take(60).cloned().collect();
        assert_eq!(play(&records, |_, _| {}).0, 0);
        let spoils: [fn(&Game, &mut StepResult); 4] = [
            |_, result| result.state.transmissions.last_mut().unwrap().turns = 2,
            |_, result| result.state.transmissions.last_mut().unwrap().from_scheduled ^= true,
            |before, result| result.state.transmissions.last_mut().unwrap().at = before.player,
            |before, result| result.state.transmissions.truncate(before.transmissions.len()),
        ];
        for (number, spoil) in spoils.into_iter().enumerate() {
            let (failed, text) = play(&records, |before, result| {
                if result.state.transmissions.len() > before.transmissions.len() {
                    spoil(before, result);
                }
            });
            assert!(failed > 20, "spoil {number} of the new transmissions passes: {text}");
        }
        let (failed, _) = play(&records, |_, result| {
            let new = result.state.transmissions.iter_mut();
            new.for_each(|new| new.kind = EnemyType::ALL[(new.kind as usize + 1) % 4]);
        });
        assert!(failed > 20, "the type is free, but it must be the same in the snapshot");
    }

    #[test]
    fn generated_stages_have_to_follow_the_rules() {
        let records = built_in().unwrap();
        let generated = |record: &&Record| record.outcomes.iter().all(|outcome| outcome.stage_generated);
        let records: Vec<Record> = records.iter().filter(generated).take(40).cloned().collect();
        assert_eq!(play(&records, |_, _| {}).0, 0);
        let spoils: [Spoil<Game>; 5] = [
            ("exit", |game| game.exit = Cell::new(2, 2)),
            ("data_siphon", |game| game.board.data_siphon[Cell::new(2, 2)] = true),
            ("data block", |game| {
                game.board
                    .block_type
                    .0
                    .iter_mut()
                    .filter(|kind| **kind == block::PROGRAM)
                    .for_each(|kind| *kind = 1)
            }),
            ("resource", |game| game.board.res_credits = Default::default()),
            ("layout", |game| {
                Cell::all().filter(|cell| !Cell::CORNERS.contains(cell)).for_each(|cell| {
                    game.board.block_type[cell] = block::DATA;
                })
            }),
        ];
        for (name, spoil) in spoils {
            let (failed, text) = play(&records, |_, result| spoil(&mut result.state));
            assert!(failed > 20 && text.contains(name), "{name} is not checked: {failed}\n{text}");
        }
    }
}
