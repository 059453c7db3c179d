//! The numbers and names of HackMatrix that are data: what the observation holds and how it is scaled,
//! what the actions and programs are called and cost, what each part of the reward pays.
//!
//! They stand in `jax_env_spec/hackmatrix/layout.json`, which is compiled in and read once, so that the
//! description of the environment and the program cannot disagree.

use std::ops::Range;
use std::sync::OnceLock;

use serde::Deserialize;

/// Features of the player at the start of an observation.
pub const PLAYER_FEATURES: usize = 10;
/// Features of each cell.
pub const CELL_FEATURES: usize = 42;
/// Programs, and ownership flags in an observation.
pub const PROGRAMS: usize = 23;
/// Actions: four directions, siphon, and the programs.
pub const ACTIONS: usize = 5 + PROGRAMS;
/// The action that siphons.
pub const SIPHON: usize = 4;
/// The action that runs program 0.
pub const FIRST_PROGRAM: usize = 5;
/// Where the cells begin in an observation.
pub const GRID_START: usize = PLAYER_FEATURES + PROGRAMS;
/// Length of an observation.
pub const OBS: usize = GRID_START + 36 * CELL_FEATURES;
/// Parts of the reward.
pub const REWARDS: usize = 15;
/// Stages of a full game.
pub const STAGES: i32 = 8;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    pub player: [Feature; PLAYER_FEATURES],
    /// The features of one cell, in order (42).
    pub cell: Vec<Feature>,
    moves: [String; 5],
    pub programs: [Program; PROGRAMS],
    pub rewards: [Reward; REWARDS],
    /// What completing stage 1, 2, ... pays.
    pub stage_completion: [f32; STAGES as usize],
    /// What a victory pays whatever the score.
    pub victory_bonus: f32,
    /// The full game.
    pub params: EnvParams,
    pub curriculum: [Phase; 3],
}

/// One number of the observation: `min((value + offset) / divisor, cap)`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    pub name: String,
    #[serde(default)]
    pub offset: f32,
    #[serde(default = "one")]
    pub divisor: f32,
    /// The largest value, for those that are limited.
    pub cap: Option<f32>,
}

fn one() -> f32 {
    1.0
}

impl Feature {
    /// The observed value. It divides: a product with the reciprocal has other bits.
    pub fn scale(&self, value: i32) -> f32 {
        let scaled = (value as f32 + self.offset) / self.divisor;
        self.cap.map_or(scaled, |cap| scaled.min(cap))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub name: String,
    /// The name in the JSON protocol and in metrics.
    pub raw: String,
    /// Costs.
    pub credits: i32,
    pub energy: i32,
    /// Transmissions that siphoning a block with this program queues.
    pub spawn: i32,
    /// The effect in a few words, for people.
    pub does: String,
}

/// One part of the reward.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reward {
    pub name: String,
    /// The name in the JSON protocol.
    pub key: String,
    pub coefficient: Coefficient,
    /// What the coefficient is paid for, for people.
    pub per: String,
}

impl Reward {
    /// The coefficient as text: a number or the name of a parameter.
    pub fn pays(&self) -> String {
        match &self.coefficient {
            Coefficient::Fixed(value) => value.to_string(),
            Coefficient::Param(name) => name.clone(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Coefficient {
    Fixed(f32),
    /// The field of [`EnvParams`] that holds it.
    Param(String),
}

/// What a curriculum changes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvParams {
    pub starting_data_siphons: i32,
    pub starting_credits: i32,
    pub starting_energy: i32,
    /// Factor on the number of transmissions at the start of a stage.
    pub transmission_scale: f32,
    pub siphon_death_penalty: f32,
    pub distance_shaping_coef: f32,
    pub data_siphon_reward: f32,
}

impl Default for EnvParams {
    fn default() -> EnvParams {
        layout().params.clone()
    }
}

impl EnvParams {
    /// Transmissions at the start of a stage: the stage times the scale, a half rounded to even.
    pub fn stage_transmissions(&self, stage: i32) -> i32 {
        (stage as f32 * self.transmission_scale).round_ties_even() as i32
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub params: EnvParams,
    /// When the next phase begins; the last phase has none.
    pub advance: Option<Advance>,
}

/// The next phase begins after `checks` mean returns in a row above `above`, or `max_updates` updates.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Advance {
    pub above: f32,
    pub checks: i32,
    pub max_updates: i32,
}

impl Layout {
    /// The names of all actions, in order.
    pub fn action_names(&self) -> Vec<&str> {
        let programs = self.programs.iter().map(|program| program.raw.as_str());
        self.moves.iter().map(String::as_str).chain(programs).collect()
    }

    /// The names of the parts of the reward, in order.
    pub fn reward_names(&self) -> Vec<&str> {
        self.rewards.iter().map(|reward| reward.name.as_str()).collect()
    }

    /// The features of an observation that are only ever 0 or 1: what has no scale, and the ownership flags.
    pub fn flags(&self) -> Vec<Range<usize>> {
        let flags_from = |start: usize, features: &[Feature]| -> Vec<Range<usize>> {
            let flags = features.iter().enumerate().filter(|(_, feature)| feature.divisor == 1.0);
            flags.map(|(i, _)| start + i..start + i + 1).collect()
        };
        let owned = PLAYER_FEATURES..GRID_START;
        let cells = (GRID_START..OBS).step_by(CELL_FEATURES).flat_map(|cell| flags_from(cell, &self.cell));
        flags_from(0, &self.player).into_iter().chain([owned]).chain(cells).collect()
    }

    /// The coefficient of each part of the reward under `params`.
    pub fn coefficients(&self, params: &EnvParams) -> [f32; REWARDS] {
        std::array::from_fn(|index| match &self.rewards[index].coefficient {
            Coefficient::Fixed(value) => *value,
            Coefficient::Param(name) => match name.as_str() {
                "siphon_death_penalty" => params.siphon_death_penalty,
                "distance_shaping_coef" => params.distance_shaping_coef,
                "data_siphon_reward" => params.data_siphon_reward,
                other => panic!("layout.json: {other} is no coefficient of the parameters"),
            },
        })
    }

    /// The index of the program with this exact protocol name.
    pub fn program_named(&self, raw: &str) -> Option<usize> {
        self.programs.iter().position(|program| program.raw == raw)
    }
}

/// The layout, read once from the file compiled in.
pub fn layout() -> &'static Layout {
    const TEXT: &str = include_str!("../../../../jax_env_spec/hackmatrix/layout.json");
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    LAYOUT.get_or_init(|| serde_json::from_str(TEXT).expect("layout.json is part of the program"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_describes_1545_numbers_28_actions_and_15_rewards() {
        let layout = layout();
        assert_eq!(layout.cell.len(), CELL_FEATURES);
        assert_eq!(OBS, 1545);
        assert_eq!(layout.action_names().len(), ACTIONS);
        assert_eq!(layout.action_names()[FIRST_PROGRAM + 9], "undo");
        assert_eq!(layout.reward_names()[14], "siphon_quality");
    }

    #[test]
    fn the_readme_tells_the_same_costs() {
        let readme = include_str!("../../../../jax_env_spec/hackmatrix/README.md");
        for (index, program) in layout().programs.iter().enumerate() {
            let Program { name, credits, energy, spawn, .. } = program;
            let row = format!("| {index} | {name} | {credits} | {energy} | {spawn} |");
            assert!(readme.contains(&row), "the README has no row {row}");
        }
    }

    #[test]
    fn features_are_scaled_by_division() {
        let stage = &layout().player[5];
        assert_eq!(stage.scale(4).to_bits(), (3.0f32 / 7.0).to_bits());
        let credits = &layout().player[3];
        assert_eq!((credits.scale(25), credits.scale(80)), (0.5, 1.0));
    }

    #[test]
    fn the_curriculum_scales_the_transmissions() {
        let counts = |phase: usize| -> Vec<i32> {
            (1..=8).map(|stage| layout().curriculum[phase].params.stage_transmissions(stage)).collect()
        };
        assert_eq!(counts(0), [0, 1, 1, 2, 2, 2, 3, 3]);
        assert_eq!(counts(1), [1, 1, 2, 2, 3, 4, 4, 5]);
        assert_eq!(counts(2), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(layout().curriculum[2].params, EnvParams::default());
    }

    #[test]
    fn coefficients_follow_the_parameters() {
        let phase = &layout().curriculum[0].params;
        let coefficients = layout().coefficients(phase);
        assert_eq!((coefficients[4], coefficients[5], coefficients[10]), (2.0, 0.025, -2.0));
        assert_eq!(layout().coefficients(&EnvParams::default())[0], -0.01);
    }
}
