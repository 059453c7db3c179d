//! The statistics of an episode under the uniform policy.

use super::board::DIGITS;
use super::estimate::Unit;
use crate::envs::hackmatrix::host::Game;
use crate::envs::hackmatrix::host::layout::{
    ACTIONS, CELL_FEATURES, GRID_START, PLAYER_FEATURES, REWARDS, layout,
};
use crate::envs::hackmatrix::host::step_result::StepResult;

/// One episode under the uniform policy, step by step.
#[derive(Clone, Debug)]
pub struct Episode {
    length: f64,
    rewards: [f64; REWARDS],
    actions: [f64; ACTIONS],
    valid_actions: f64,
    enemies: f64,
    transmissions: f64,
    /// Sums over steps; those of cell features are means over the 36 cells.
    player: [f64; PLAYER_FEATURES],
    programs_owned: f64,
    cells: [f64; CELL_FEATURES],
    end: &'static str,
    final_stage: i32,
    final_score: i32,
}

impl Default for Episode {
    fn default() -> Episode {
        Episode {
            length: 0.0,
            rewards: [0.0; REWARDS],
            actions: [0.0; ACTIONS],
            valid_actions: 0.0,
            enemies: 0.0,
            transmissions: 0.0,
            player: [0.0; PLAYER_FEATURES],
            programs_owned: 0.0,
            cells: [0.0; CELL_FEATURES],
            end: "",
            final_stage: 1,
            final_score: 0,
        }
    }
}

impl Episode {
    /// Adds a step: the game, its observation and mask, the action chosen from them, and the result.
    pub fn add_step(
        &mut self,
        game: &Game,
        obs: &[f32],
        mask: &[bool; ACTIONS],
        action: usize,
        result: &StepResult,
    ) {
        self.length += 1.0;
        self.actions[action] += 1.0;
        self.valid_actions += mask.iter().filter(|&&valid| valid).count() as f64;
        self.enemies += game.enemies.len() as f64;
        self.transmissions += game.transmissions.len() as f64;
        let parts = self.rewards.iter_mut().zip(result.rewards);
        parts.for_each(|(sum, paid)| *sum += paid as f64);
        let player = self.player.iter_mut().zip(obs);
        player.for_each(|(sum, &value)| *sum += value as f64);
        self.programs_owned += obs[PLAYER_FEATURES..GRID_START].iter().sum::<f32>() as f64;
        for cell in obs[GRID_START..].chunks(CELL_FEATURES) {
            let features = self.cells.iter_mut().zip(cell);
            features.for_each(|(sum, &value)| *sum += value as f64 / 36.0);
        }
        self.final_stage = result.stage;
        self.final_score = result.score;
        self.end = match (result.victory, result.rewards[10] != 0.0) {
            (true, _) => "victory",
            (_, true) => "siphon_death",
            _ => "other_death",
        };
    }

    pub(super) fn unit(&self) -> Unit {
        let mut unit = Unit::default();
        let names = layout().reward_names();
        let total: f64 = self.rewards.iter().sum();
        unit.mean("random_policy/episode/length".into(), self.length);
        unit.mean("random_policy/episode/length_squared".into(), self.length * self.length);
        unit.mean("random_policy/episode/return".into(), total);
        unit.mean("random_policy/episode/final_score".into(), self.final_score as f64);
        let stage = self.final_stage.to_string();
        unit.share("random_policy/episode/final_stage", &DIGITS[1..=8], &stage);
        let ends = ["victory", "siphon_death", "other_death"];
        unit.share("random_policy/episode/end", &ends, self.end);

        let mut per_step = |name: String, sum: f64| {
            unit.ratio(format!("random_policy/step/{name}"), sum, self.length);
        };
        names.iter().zip(self.rewards).for_each(|(name, sum)| per_step(format!("reward/{name}"), sum));
        per_step("reward/total".into(), total);
        let actions = layout().action_names().into_iter().zip(self.actions);
        actions.for_each(|(name, sum)| per_step(format!("action_share/{name}"), sum));
        per_step("before_action/valid_actions".into(), self.valid_actions);
        per_step("before_action/enemies".into(), self.enemies);
        per_step("before_action/transmissions".into(), self.transmissions);
        let player = self.player.iter().enumerate();
        player.for_each(|(index, &sum)| per_step(format!("observation_mean/player/{index}"), sum));
        per_step("observation_mean/programs_owned".into(), self.programs_owned);
        let cells = self.cells.iter().enumerate();
        cells.for_each(|(index, &sum)| per_step(format!("observation_mean/grid/{index}"), sum));
        unit
    }
}
