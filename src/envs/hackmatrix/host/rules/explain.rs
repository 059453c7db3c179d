//! Asking the oracle whether a result that another implementation gave is allowed.
//!
//! The draws of the other implementation can mostly be read off its result: where new transmissions
//! appeared, what a new board holds, where WARP went. [`explain`] dictates those to the oracle. Only the
//! order in which enemies acted leaves no trace, so it tries random orders until one gives the result.

use super::board::Site;
use super::dice::{Dice, Seeded};
use super::{Rules, observe};
use crate::envs::hackmatrix::host::golden::{Outcome, differences};
use crate::envs::hackmatrix::host::{Board, Cell, EnemyType, Game, is_valid_layout};
use crate::envs::hackmatrix::host::{Snapshot, StepResult};

/// Nothing if the oracle can come to the same result; else how the nearest of `tries` results differs.
///
/// Compares what golden records compare: all but hints and the order of owned programs, and the newest
/// four snapshots, or fewer if the implementation keeps fewer (`history_capacity`).
pub fn explain(
    rules: &Rules,
    before: &Game,
    action: i32,
    result: &StepResult,
    history_capacity: usize,
    tries: u64,
) -> Result<(), Vec<String>> {
    let mut nearest: Option<Vec<String>> = None;
    for seed in 0..tries {
        let mut dice = Dictated::new(before, &result.state, seed);
        let mut expected = rules.step(before, action, &mut dice);
        forget_oldest(&mut expected.state.history);
        let found = differences(&Outcome::from(expected), result, history_capacity, false);
        if found.is_empty() {
            return Ok(());
        }
        if nearest.as_ref().is_none_or(|nearest| found.len() < nearest.len()) {
            nearest = Some(found);
        }
    }
    Err(nearest.unwrap_or_default())
}

/// Golden outcomes hold the four newest snapshots.
fn forget_oldest(history: &mut Vec<Snapshot>) {
    history.drain(..history.len().saturating_sub(4));
}

impl From<StepResult> for Outcome {
    /// An outcome that leaves nothing open.
    fn from(result: StepResult) -> Outcome {
        Outcome {
            obs: observe(&result.state),
            after: result.state,
            pushes_snapshot: false,
            rewards: result.rewards,
            done: result.done,
            invalid_action: result.invalid_action,
            stage_complete: result.stage_complete,
            victory: result.victory,
            stage: result.stage,
            score: result.score,
            hp: result.hp,
            spawn: None,
            stage_generated: false,
        }
    }
}

/// Dice that fall as they must have fallen to give `after`.
struct Dictated<'a> {
    before: &'a Game,
    after: &'a Game,
    /// What leaves no trace is drawn.
    chance: Seeded,
    /// The type of the transmission placed last.
    spawned: EnemyType,
    /// How many enemies POLY has seen, and how many of them are in `after`.
    poly_seen: usize,
    poly_alive: usize,
}

impl<'a> Dictated<'a> {
    fn new(before: &'a Game, after: &'a Game, seed: u64) -> Dictated<'a> {
        let chance = Seeded::new(seed);
        Dictated { before, after, chance, spawned: EnemyType::Virus, poly_seen: 0, poly_alive: 0 }
    }
}

impl Dice for Dictated<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.chance.below(n)
    }

    /// The first transmission of the result on a free cell: older ones occupy theirs. With more than
    /// three sheltered cells it has to be one of those.
    fn spawn_cell(&mut self, sheltered: &[Cell], free: &[Cell]) -> Option<Cell> {
        let new = self.after.transmissions.iter().find(|transmission| free.contains(&transmission.at))?;
        self.spawned = new.kind;
        Some(new.at).filter(|at| sheltered.len() <= 3 || sheltered.contains(at))
    }

    fn spawn_type(&mut self) -> EnemyType {
        self.spawned
    }

    fn warp_target(&mut self, targets: usize) -> usize {
        let enemies = self.before.enemies.iter().map(|enemy| enemy.at);
        let cells = enemies.chain(self.before.transmissions.iter().map(|transmission| transmission.at));
        let there: Vec<usize> =
            cells.enumerate().filter(|&(_, at)| at == self.after.player).map(|(index, _)| index).collect();
        if there.is_empty() { self.below(targets) } else { there[self.below(there.len())] }
    }

    /// The type that the enemy has in the result; any if it died there.
    fn poly_type(&mut self, old: EnemyType) -> EnemyType {
        let enemy = &self.before.enemies[self.poly_seen];
        self.poly_seen += 1;
        match self.after.enemies.get(self.poly_alive) {
            Some(alive) if alive.at == enemy.at && alive.kind != old => {
                self.poly_alive += 1;
                alive.kind
            }
            _ => self.chance.poly_type(old),
        }
    }

    /// The board of the result if its layout is allowed, else one that differs from it.
    fn board(&mut self, site: &Site) -> Board {
        let exit = Cell::CORNERS.into_iter().find(|&corner| self.after.board.exit_cell[corner]);
        match exit {
            Some(exit) if is_valid_layout(&self.after.board, exit) => self.after.board.clone(),
            _ => self.chance.board(site),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::rules::action_mask;

    /// Plays random episodes with all programs and hands every step to `check`.
    fn play(seed: u64, steps: usize, mut check: impl FnMut(&Game, i32, StepResult)) {
        let (rules, mut dice) = (Rules::default(), Seeded::new(seed));
        let mut game = rules.reset(&mut dice);
        for _ in 0..steps {
            let mask = action_mask(&game);
            let valid: Vec<i32> = (0..28).filter(|&action| mask[action as usize]).collect();
            let action = valid[dice.below(valid.len())];
            let result = rules.step(&game, action, &mut dice);
            let next = if result.done {
                let mut rich = rules.reset(&mut dice);
                (rich.owned, rich.credits, rich.energy) = ((0..23).collect(), 30, 30);
                (rich.data_siphons, rich.stage) = (3, 1 + dice.below(7) as i32);
                rich
            } else {
                result.state.clone()
            };
            check(&game, action, result);
            game = next;
        }
    }

    #[test]
    fn the_oracle_explains_its_own_results() {
        let (mut explained, mut stages) = (0, 0);
        play(21, 1500, |before, action, result| {
            // The orders of many enemies are too many to try.
            if before.enemies.len() + before.transmissions.len() > 4 {
                return;
            }
            stages += result.stage_complete as i32;
            explained += 1;
            let found = explain(&Rules::default(), before, action, &result, 4, 3000);
            assert_eq!(found, Ok(()), "action {action} in {before:?}");
        });
        assert!(explained > 500 && stages > 10, "{explained} explained, {stages} stages");
    }

    #[test]
    fn impossible_results_are_not_explained() {
        play(22, 300, |before, action, mut result| {
            result.state.pending_siphon += 1;
            let found = explain(&Rules::default(), before, action, &result, 4, 3).unwrap_err();
            assert!(found[0].starts_with("pending_siphon"), "{found:?}");
        });
    }
}
