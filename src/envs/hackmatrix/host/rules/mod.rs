//! The rules of HackMatrix in their plainest form: one game, one step at a time, lists and loops.
//!
//! This is the oracle. The compiled environment plays thousands of games at once with bit masks and
//! branch-free arithmetic; these modules say the same thing slowly and obviously, so that a reader can
//! compare them with the prose in `jax_env_spec/hackmatrix/README.md`, and tests can compare the two
//! implementations. Every random draw goes through [`Dice`], so a test can also dictate it.
//!
//! The oracle stays in the library, not under `cfg(test)`: tests outside the crate compare with it,
//! and it answers for `verify` and the JSON protocol where nothing is compiled.
//!
//! In the order of a step: [`step`](Rules::step) here, the player's [`action`], the [`enemy_turn`],
//! the next [`stage`], the [`reward`] and the [`observation`].

mod action;
mod board;
mod dice;
mod enemy_turn;
mod explain;
mod observation;
mod programs;
mod reward;
mod stage;
#[cfg(test)]
mod tests;

use super::cell::neighbours;
use super::golden;
use super::layout::{ACTIONS, EnvParams, PROGRAMS};
use super::step_result::StepResult;
use super::{Cell, Game};

pub use super::cell::DIRECTIONS;
pub use action::action_mask;
pub use board::Site;
pub use dice::{Bonus, Dice, Seeded};
pub use explain::explain;
pub use observation::observe;
pub use reward::walking_distance;

/// The up to eight cells around a cell, in row-major order.
fn surroundings(cell: Cell) -> impl Iterator<Item = Cell> {
    let offsets = (-1..=1).flat_map(|rows| (-1..=1).map(move |cols| (rows, cols)));
    offsets.filter(|&offset| offset != (0, 0)).filter_map(move |(rows, cols)| cell.offset(rows, cols))
}

/// What can be set about the game. The default is the full game.
#[derive(Clone, Debug)]
pub struct Rules {
    pub params: EnvParams,
    /// Whether a new game begins with 10 credits, 11 energy or a data siphon.
    pub starting_bonus: bool,
    /// The programs that generated blocks may hold.
    pub pool: Vec<usize>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { params: EnvParams::default(), starting_bonus: true, pool: (0..PROGRAMS).collect() }
    }
}

/// What the player's action did, besides changing the game.
#[derive(Clone, Debug, Default)]
struct Deed {
    ends_turn: bool,
    exit_reached: bool,
    /// Enemies and transmissions removed, without scheduled ones.
    kills: i32,
    /// A data siphon was walked onto.
    pickup: bool,
}

impl Rules {
    /// A new game.
    pub fn reset(&self, dice: &mut dyn Dice) -> Game {
        let player = dice.start_corner();
        let mut game = Game::empty(player, player);
        game.data_siphons = self.params.starting_data_siphons;
        game.credits = self.params.starting_credits;
        game.energy = self.params.starting_energy;
        if self.starting_bonus {
            match dice.bonus() {
                Bonus::Credits => game.credits += 10,
                Bonus::Energy => game.energy += 11,
                Bonus::DataSiphon => game.data_siphons += 1,
            }
        }
        stage::enter(self, &mut game, dice);
        game
    }

    /// Plays one action (0..28). The result is not reset when it is done.
    pub fn step(&self, before: &Game, action: i32, dice: &mut dyn Dice) -> StepResult {
        let mut game = before.clone();
        let Some(deed) = action::perform(&mut game, action, dice) else {
            return invalid(before);
        };
        let mut enemies_acted = false;
        let mut victory = false;
        if deed.exit_reached {
            victory = stage::complete(self, &mut game, dice);
        } else if deed.ends_turn {
            enemies_acted = enemy_turn::run(&mut game, dice);
        }
        let rewards = reward::parts(
            &self.params,
            &reward::Transition { before, after: &game, action, deed: &deed, enemies_acted, victory },
        );
        StepResult {
            obs: observe(&game),
            rewards,
            done: game.hp == 0 || victory,
            invalid_action: false,
            stage_complete: deed.exit_reached,
            victory,
            stage: game.stage,
            score: game.score,
            hp: game.hp,
            state: game,
        }
    }
}

/// The result of an action that cannot be done: nothing changes, nothing is paid, the episode ends.
fn invalid(before: &Game) -> StepResult {
    StepResult {
        state: before.clone(),
        obs: observe(before),
        rewards: [0.0; 15],
        done: true,
        invalid_action: true,
        stage_complete: false,
        victory: false,
        stage: before.stage,
        score: before.score,
        hp: before.hp,
    }
}

/// The oracle as a [`golden::Player`].
#[derive(Default)]
pub struct Oracle {
    pub rules: Rules,
}

impl golden::Player for Oracle {
    fn observe(&mut self, states: &[Game]) -> anyhow::Result<Vec<(Vec<f32>, [bool; ACTIONS])>> {
        Ok(states.iter().map(|state| (observe(state), action_mask(state))).collect())
    }

    fn step(&mut self, states: &[Game], actions: &[i32], seed: u64) -> anyhow::Result<Vec<StepResult>> {
        let mut dice = Seeded::new(seed);
        let results =
            states.iter().zip(actions).map(|(state, &action)| self.rules.step(state, action, &mut dice));
        Ok(results.collect())
    }

    fn keeps_hints(&self) -> bool {
        true
    }
}
