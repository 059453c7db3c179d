//! Statistics of the random part of the game, and their comparison with the recorded ones.
//!
//! Golden transitions cannot say how often something random happens. For that,
//! `jax_env_spec/hackmatrix/stats.json` holds a few thousand statistics of new games, generated stages
//! and whole episodes under the uniform policy, each with its standard error. [`Statistics`] gathers
//! the same from any implementation, and [`Statistics::compare`] tells which of them are too far off.
//!
//! Every statistic is a ratio of two sums over independent units: a new game, a generated stage, or an
//! episode. Its standard error is therefore that of a ratio estimate over units, not over steps, which
//! depend on each other within an episode. That arithmetic is in `estimate`, what is counted
//! in `board` and `episode`.

mod board;
mod episode;
mod estimate;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::rules::DIRECTIONS;
use super::{Cell, Game};
use board::{describe_board, describe_reset};
use estimate::{Sums, Unit};

pub use episode::Episode;
pub use estimate::Estimate;

/// The recorded statistics, by path: `reset/start_corner/(0, 0)`, ...
pub fn reference() -> &'static BTreeMap<String, Estimate> {
    const TEXT: &str = include_str!("../../../../../jax_env_spec/hackmatrix/stats.json");
    static REFERENCE: OnceLock<BTreeMap<String, Estimate>> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let file: Value = serde_json::from_str(TEXT).expect("stats.json is part of the program");
        let mut leaves = BTreeMap::new();
        for group in ["reset", "stage_transition", "random_policy"] {
            collect_leaves(group, &file[group], &mut leaves);
        }
        leaves
    })
}

fn collect_leaves(path: &str, value: &Value, leaves: &mut BTreeMap<String, Estimate>) {
    match Estimate::deserialize(value) {
        Ok(leaf) => drop(leaves.insert(path.to_string(), leaf)),
        Err(_) => {
            let branches = value.as_object().expect("stats.json is a tree of estimates");
            branches
                .iter()
                .for_each(|(name, branch)| collect_leaves(&format!("{path}/{name}"), branch, leaves));
        }
    }
}

/// Statistics of an implementation. Units are added one by one.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    sums: BTreeMap<String, Sums>,
}

impl Statistics {
    /// Adds a new game under the default parameters and the number of its valid actions.
    pub fn add_reset(&mut self, game: &Game, valid_actions: usize) {
        let mut unit = Unit::default();
        describe_reset(&mut unit, game, valid_actions);
        self.add(unit);
    }

    /// Adds a stage that was entered on a board without enemies and transmissions, as after playing
    /// [`before_stage`] under the default parameters.
    pub fn add_stage(&mut self, game: &Game) {
        let mut unit = Unit::default();
        describe_board(&mut unit, &format!("stage_transition/stage {}", game.stage), game);
        self.add(unit);
    }

    /// Adds a whole episode under the uniform policy, from reset to its end.
    pub fn add_episode(&mut self, episode: &Episode) {
        self.add(episode.unit());
    }

    fn add(&mut self, unit: Unit) {
        for (path, counted) in unit.0 {
            self.sums.entry(path).or_default().add(counted);
        }
    }

    /// All statistics so far.
    pub fn estimates(&self) -> BTreeMap<String, Estimate> {
        self.sums.iter().map(|(path, sums)| (path.clone(), sums.estimate())).collect()
    }

    /// The recorded statistics from which these are more than `limit` standard errors away, the
    /// farthest first. Compared is every recorded statistic of a kind of unit that was added.
    pub fn compare(&self, limit: f64) -> Vec<Deviation> {
        let own = self.estimates();
        let sampled = |path: &str| {
            let unit = unit_of(path);
            own.keys().any(|known| unit_of(known) == unit)
        };
        let mut deviations: Vec<Deviation> = reference()
            .iter()
            .filter(|(path, _)| sampled(path))
            .map(|(path, expected)| Deviation::new(path, *expected, own.get(path).copied()))
            .filter(|deviation| deviation.z.abs() > limit)
            .collect();
        deviations.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()));
        deviations
    }
}

/// The part of a path that tells to which kind of unit it belongs.
fn unit_of(path: &str) -> &str {
    let parts = if path.starts_with("stage_transition") { 2 } else { 1 };
    let end = path.match_indices('/').nth(parts - 1).map_or(path.len(), |(index, _)| index);
    &path[..end]
}

/// A game on an empty board and an action that completes the stage before `stage` (2..=8) in a corner.
pub fn before_stage(stage: i32, corner: Cell) -> (Game, i32) {
    // The last direction that leads from some cell into the corner.
    let arrival = |(rows, cols): (i32, i32)| corner.offset(-rows, -cols);
    let action = DIRECTIONS.iter().rposition(|&direction| arrival(direction).is_some());
    let action = action.expect("a corner has neighbours");
    let start = arrival(DIRECTIONS[action]).expect("it was just found");
    let mut game = Game::empty(start, corner);
    game.stage = stage - 1;
    (game, action as i32)
}

/// How far a statistic is from the recorded one.
#[derive(Clone, Debug, PartialEq)]
pub struct Deviation {
    pub path: String,
    pub expected: Estimate,
    /// Nothing if no unit had anything to count.
    pub got: Option<Estimate>,
    /// The difference in standard errors.
    pub z: f64,
}

impl Deviation {
    /// Recorded values are rounded to this.
    const ROUNDING: f64 = 1e-7;

    fn new(path: &str, expected: Estimate, got: Option<Estimate>) -> Deviation {
        let z = got.map_or(f64::INFINITY, |got| {
            // A sample that missed a rare event has no spread: then the recorded spread counts.
            let se = got.se.max(expected.se * (expected.n / got.n).sqrt());
            (got.value - expected.value) / (expected.se.powi(2) + se.powi(2) + Self::ROUNDING.powi(2)).sqrt()
        });
        Deviation { path: path.to_string(), expected, got, z }
    }
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Deviation { path, expected, got, z } = self;
        match got {
            Some(got) => {
                write!(
                    f,
                    "{path}: expected {} +- {}, got {:.7} +- {:.7}",
                    expected.value, expected.se, got.value, got.se
                )?;
                write!(f, " ({z:+.1} standard errors)")
            }
            None => write!(f, "{path}: expected {} +- {}, got nothing to count", expected.value, expected.se),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envs::hackmatrix::host::layout::ACTIONS;
    use crate::envs::hackmatrix::host::rules::{Dice, Rules, Seeded, action_mask, observe};

    /// The deviations as text, for messages.
    fn list(deviations: &[Deviation]) -> String {
        deviations.iter().map(|deviation| format!("{deviation}\n")).collect()
    }

    #[test]
    fn new_games_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(11));
        let mut statistics = Statistics::default();
        for _ in 0..4000 {
            let game = rules.reset(&mut dice);
            let valid = action_mask(&game).iter().filter(|&&valid| valid).count();
            statistics.add_reset(&game, valid);
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn stages_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(12));
        let mut statistics = Statistics::default();
        for stage in 2..=8 {
            for _ in 0..400 {
                let (game, action) = before_stage(stage, dice.start_corner());
                let result = rules.step(&game, action, &mut dice);
                assert!(result.stage_complete && result.stage == stage);
                statistics.add_stage(&result.state);
            }
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn random_episodes_of_the_oracle_are_distributed_as_recorded() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(13));
        let mut statistics = Statistics::default();
        for _ in 0..1000 {
            let mut game = rules.reset(&mut dice);
            let mut episode = Episode::default();
            loop {
                let mask = action_mask(&game);
                let valid: Vec<usize> = (0..ACTIONS).filter(|&action| mask[action]).collect();
                let action = valid[dice.below(valid.len())];
                let result = rules.step(&game, action as i32, &mut dice);
                episode.add_step(&game, &observe(&game), &mask, action, &result);
                if result.done {
                    break;
                }
                game = result.state;
            }
            statistics.add_episode(&episode);
        }
        let deviations = statistics.compare(4.0);
        assert!(deviations.is_empty(), "{}", list(&deviations));
    }

    #[test]
    fn every_recorded_statistic_is_compared() {
        let (rules, mut dice) = (Rules::default(), Seeded::new(14));
        let mut statistics = Statistics::default();
        let game = rules.reset(&mut dice);
        statistics.add_reset(&game, 3);
        for stage in 2..=8 {
            let (game, action) = before_stage(stage, Cell::new(0, 0));
            statistics.add_stage(&rules.step(&game, action, &mut dice).state);
        }
        let mut episode = Episode::default();
        let result = rules.step(&game, 0, &mut dice);
        episode.add_step(&game, &observe(&game), &action_mask(&game), 0, &result);
        statistics.add_episode(&episode);
        assert_eq!(statistics.compare(-1.0).len(), reference().len());
    }

    #[test]
    fn a_biased_generator_is_found() {
        // One resource in twenty is worth 3, instead of one in ten.
        let (rules, mut dice) = (Rules::default(), Seeded::new(15));
        let mut statistics = Statistics::default();
        for _ in 0..1000 {
            let mut game = rules.reset(&mut dice);
            for cell in Cell::all() {
                if game.board.res_credits[cell] == 3 {
                    game.board.res_credits[cell] = 1;
                }
            }
            statistics.add_reset(&game, 3);
        }
        let found = list(&statistics.compare(4.0));
        assert!(found.contains("reset/resource_amount/3"), "{found}");
    }

    #[test]
    fn a_ratio_has_the_standard_error_of_its_units() {
        let mut sums = Sums::default();
        [(1.0, 2.0), (3.0, 2.0), (2.0, 2.0), (2.0, 2.0)].into_iter().for_each(|unit| sums.add(unit));
        let estimate = sums.estimate();
        // The mean of 0.5, 1.5, 1, 1: variance 1/6, divided by 4 units.
        assert_eq!((estimate.value, estimate.n), (1.0, 8.0));
        assert!((estimate.se - (1.0f64 / 24.0).sqrt()).abs() < 1e-12);
    }
}
