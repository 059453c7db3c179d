//! Many environments in lockstep, with automatic reset.
//!
//! All functions here take a batch whose examples stand on the last axis of every leaf of the state, so that
//! the arithmetic of the games runs over neighbouring memory. What leaves for the networks (observations, masks)
//! has the environments first: `[B, ...]`.

use crate::lang::{Bool, Float, Int, Key, Leaves, Tree, rare, vmap_last};

use super::AnyEnv;

/// What the agent needs to decide: observations `[B, O]` and, if actions can be invalid, masks bool`[B, A]`.
#[derive(Clone, Copy)]
pub struct View {
    pub obs: Float,
    pub mask: Option<Bool>,
}
crate::tree!(View { obs, mask });

/// One step of all environments.
pub struct VectorStep {
    /// After the reset of those that are done.
    pub state: Leaves,
    /// f32`[B]`.
    pub reward: Float,
    /// bool`[B]`: terminated or truncated.
    pub done: Bool,
    /// For environments that can be cut off: bool`[B]`, and the observations `[B, O]` before any reset.
    pub truncated: Option<(Bool, Float)>,
    /// f32`[B]` each, in the order of the spec.
    pub metrics: Vec<Float>,
}
crate::tree!(VectorStep { state, reward, done, truncated, metrics });

/// The first states; `keys` is an array of keys `[2, B]`.
#[track_caller]
pub fn reset(env: &dyn AnyEnv, params: &Leaves, keys: Key) -> Leaves {
    vmap_last(keys, |key| env.reset(params, key))
}

/// Observations and masks of all environments.
#[track_caller]
pub fn view(env: &dyn AnyEnv, params: &Leaves, state: &Leaves) -> View {
    let (obs, mask) = vmap_last(state.duplicate(), |state| {
        (env.observe(params, &state).flatten(), env.action_mask(params, &state))
    });
    View { obs: obs.transpose([1, 0]), mask: mask.map(|mask| mask.transpose([1, 0])) }
}

/// Steps all environments with actions i32`[B]`, then resets those that are done. The reset costs what the
/// environments that are done cost.
#[track_caller]
pub fn step(env: &dyn AnyEnv, params: &Leaves, keys: Key, state: Leaves, actions: Int) -> VectorStep {
    let mut stepped = vmap_last((keys, state, actions), |(key, state, action)| {
        let [step_key, reset_key] = key.split();
        let step = env.step(params, step_key, state, action);
        let done = match step.truncated {
            Some(truncated) => step.terminated | truncated,
            None => step.terminated,
        };
        let truncated = step
            .truncated
            .map(|truncated| (truncated & !step.terminated, env.observe(params, &step.state).flatten()));
        let state = rare(done, step.state, |_| env.reset(params, reset_key.fold_in(0)));
        VectorStep { state, reward: step.reward, done, truncated, metrics: step.metrics }
    });
    stepped.truncated = stepped.truncated.map(|(cut, obs)| (cut, obs.transpose([1, 0])));
    stepped
}
