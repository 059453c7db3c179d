//! What one step gives back, in the form in which every implementation reports it on the host.

use super::Game;
use super::layout::REWARDS;

#[derive(Clone, Debug, PartialEq)]
pub struct StepResult {
    /// The state after the step, never reset by it.
    pub state: Game,
    /// The observation of `state`, f32 `[1545]`.
    pub obs: Vec<f32>,
    /// The parts of the reward, in the order of the layout.
    pub rewards: [f32; REWARDS],
    pub done: bool,
    pub invalid_action: bool,
    pub stage_complete: bool,
    pub victory: bool,
    pub stage: i32,
    pub score: i32,
    pub hp: i32,
}

impl StepResult {
    /// The reward: the sum of its parts, in order.
    pub fn reward(&self) -> f32 {
        self.rewards.iter().sum()
    }
}
