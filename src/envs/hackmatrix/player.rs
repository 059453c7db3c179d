//! Plays games that come from the host: what `verify` and the tests step the traced game with.

use anyhow::Result;

use crate::array::{ArrayType, DType, HostArray};
use crate::lang::{
    Backend, Bool, Float, Handle, HostFunction, Int, Key, Tree, leaf_types, rebuild, structure, structure_of,
    vmap_last,
};

use super::convert::Converter;
use super::host::layout::{ACTIONS, OBS};
use super::host::{Game, StepResult, golden};
use super::{Env, HackMatrix, Turn};

/// The outputs of the program `observe`, with the games on the last axis.
struct Seen {
    obs: Float,
    mask: Bool,
}
crate::tree!(Seen { obs, mask });

/// The outputs of the program `step`, with the games on the last axis.
struct Stepped {
    turn: Turn,
    /// After the step.
    obs: Float,
}
crate::tree!(Stepped { turn, obs });

/// The traced game as a [`golden::Player`], for groups of `width` games.
pub struct CompiledPlayer {
    width: usize,
    converter: Converter,
    observe: HostFunction,
    step: HostFunction,
}

impl CompiledPlayer {
    /// The game for `width` games at once, to be played there.
    ///
    /// # Errors
    /// Whatever the compiler says.
    pub fn new(width: usize, backend: &Backend) -> Result<CompiledPlayer> {
        CompiledPlayer::of(HackMatrix::default(), width, backend)
    }

    /// As [`CompiledPlayer::new`], of a game with other switches.
    ///
    /// # Errors
    /// Whatever the compiler says.
    pub fn of(env: HackMatrix, width: usize, backend: &Backend) -> Result<CompiledPlayer> {
        let state = structure_of(|| env.reset(&env.default_params(), Key::new(0)));
        let state = batch(state, width);
        let observe = HostFunction::new(backend, "observe", &state, |state| {
            let params = env.default_params();
            vmap_last(state, |state| {
                let mask = env.action_mask(&params, &state).expect("the game has a mask");
                Seen { obs: env.observe(&params, &state).actor, mask }
            })
        })?;
        let (actions, seed) = (Int::placeholder(DType::I32, [width]), Int::placeholder(DType::U32, [2]));
        let step = HostFunction::new(backend, "step", &(state, actions, seed), |(state, actions, seed)| {
            let params = env.default_params();
            let keys = Key::from_words(seed).split_last(width);
            vmap_last((state, actions, keys), |(state, action, key)| {
                let turn = env.play(&params, key, state, action);
                let obs = env.observe(&params, &turn.state).actor;
                Stepped { turn, obs }
            })
        })?;
        Ok(CompiledPlayer { width, converter: Converter::new(), observe, step })
    }

    /// Steps at most `width` games.
    fn step_group(&self, games: &[Game], actions: &[i32], seed: [u32; 2]) -> Result<Vec<StepResult>> {
        let count = games.len();
        let mut inputs = self.converter.to_arrays(&self.filled(games))?;
        let mut actions = actions.to_vec();
        actions.resize(self.width, 0);
        inputs.push(HostArray::new(&[self.width], actions));
        inputs.push(HostArray::new(&[2], seed.to_vec()));
        let mut outputs = self.step.call(&inputs)?;
        let obs = columns::<f32>(&outputs.take("obs"));
        let games = self.converter.from_arrays(outputs.take_below("turn.state"));
        let rewards = outputs.take_below("turn.rewards");
        let [done, invalid_action, stage_complete, victory] =
            ["done", "invalid_action", "stage_complete", "victory"]
                .map(|flag| outputs.take(&format!("turn.{flag}")));
        let is = |flags: &HostArray, index: usize| flags.as_slice::<bool>()[index];
        let results = games.into_iter().zip(obs).enumerate().map(|(index, (state, obs))| StepResult {
            obs,
            rewards: std::array::from_fn(|part| rewards[part].1.as_slice::<f32>()[index]),
            done: is(&done, index),
            invalid_action: is(&invalid_action, index),
            stage_complete: is(&stage_complete, index),
            victory: is(&victory, index),
            stage: state.stage,
            score: state.score,
            hp: state.hp,
            state,
        });
        Ok(results.take(count).collect())
    }

    /// The games, and the last one again and again up to the width.
    fn filled(&self, games: &[Game]) -> Vec<Game> {
        let last = games.last().expect("a group is not empty");
        games.iter().chain(std::iter::repeat(last)).take(self.width).cloned().collect()
    }
}

impl golden::Player for CompiledPlayer {
    fn observe(&mut self, states: &[Game]) -> Result<Vec<(Vec<f32>, [bool; ACTIONS])>> {
        let mut results = Vec::new();
        for group in states.chunks(self.width) {
            let mut outputs = self.observe.call(&self.converter.to_arrays(&self.filled(group))?)?;
            let masks = columns::<bool>(&outputs.take("mask")).into_iter();
            let masks = masks.map(|mask| <[bool; ACTIONS]>::try_from(mask).expect("one flag per action"));
            results.extend(columns::<f32>(&outputs.take("obs")).into_iter().zip(masks).take(group.len()));
        }
        debug_assert!(results.iter().all(|(obs, _)| obs.len() == OBS));
        Ok(results)
    }

    fn step(&mut self, states: &[Game], actions: &[i32], seed: u64) -> Result<Vec<StepResult>> {
        let mut results = Vec::new();
        for (group, (states, actions)) in
            states.chunks(self.width).zip(actions.chunks(self.width)).enumerate()
        {
            results.extend(self.step_group(states, actions, [seed as u32, group as u32])?);
        }
        Ok(results)
    }
}

/// The structure of `width` examples side by side.
fn batch<T: Tree>(one: T, width: usize) -> T {
    let types = leaf_types(&one);
    let beside =
        |t: &ArrayType| Handle::placeholder(&ArrayType::new(t.dtype, [&t.shape[..], &[width]].concat()));
    let handles: Vec<Handle> = types.iter().map(beside).collect();
    structure(rebuild(one, &handles))
}

/// The columns of a matrix.
fn columns<T: crate::array::Element>(matrix: &HostArray) -> Vec<Vec<T>> {
    let count = matrix.shape()[1];
    let values = matrix.as_slice::<T>();
    (0..count).map(|column| values.iter().skip(column).step_by(count).copied().collect()).collect()
}
