//! Plays games that come from the host: what `verify` and the tests step the traced game with.

use anyhow::Result;

use crate::array::{ArrayType, DType, HostArray};
use crate::interpret::interpret;
use crate::ir::Graph;
use crate::lang::{Handle, Key, Tree, leaf_types, rebuild, structure, structure_of, trace, vmap_last};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Client, CompileOptions, Program};

use super::convert::Converter;
use super::host::layout::{ACTIONS, OBS};
use super::host::{Game, StepResult, golden};
use super::{Env, HackMatrix};

/// Where a graph runs.
enum Runner {
    Device(Client, Program),
    Oracle(Graph),
}

impl Runner {
    fn new(graph: Graph, client: Option<&Client>) -> Result<Runner> {
        let Some(client) = client else { return Ok(Runner::Oracle(graph)) };
        let module = lower(&graph, &lower::Options::default());
        Ok(Runner::Device(client.clone(), client.compile(&module, &CompileOptions::default())?))
    }

    fn run(&self, inputs: Vec<HostArray>) -> Result<Vec<HostArray>> {
        let (client, program) = match self {
            Runner::Device(client, program) => (client, program),
            Runner::Oracle(graph) => return Ok(interpret(graph, &inputs)),
        };
        let buffers = inputs.iter().map(|array| client.to_device(array, 0)).collect::<Result<Vec<_>, _>>()?;
        let outputs = program.run(buffers.into_iter().map(Arg::from).collect())?;
        Ok(outputs.iter().map(|buffer| buffer.to_host()).collect::<Result<_, _>>()?)
    }
}

/// The traced game as a [`golden::Player`], for groups of `width` games.
pub struct CompiledPlayer {
    width: usize,
    converter: Converter,
    observe: Runner,
    step: Runner,
}

impl CompiledPlayer {
    /// Traces the game for `width` games at once and compiles it for the client's device; without a client, runs it in the
    /// interpreter.
    pub fn new(width: usize, client: Option<&Client>) -> Result<CompiledPlayer> {
        let env = HackMatrix;
        let state = structure_of(|| env.reset(&env.default_params(), Key::new(0)));
        let state = batch(state, width);
        let observe = trace(&state, |state| {
            let params = env.default_params();
            vmap_last(state, |state| {
                let mask = env.action_mask(&params, &state).expect("the game has a mask");
                (env.observe(&params, &state), mask)
            })
        });
        let actions = crate::lang::Int::from_handle(placeholder(DType::I32, &[width]));
        let seed = crate::lang::Int::from_handle(placeholder(DType::U32, &[2]));
        let step = trace(&(state, actions, seed), |(state, actions, seed)| {
            let params = env.default_params();
            let keys = Key::from_words(seed).split_last(width);
            vmap_last((state, actions, keys), |(state, action, key)| {
                let turn = env.play(&params, key, state, action);
                let obs = env.observe(&params, &turn.state);
                (turn, obs)
            })
        });
        Ok(CompiledPlayer {
            width,
            converter: Converter::new(),
            observe: Runner::new(observe.graph, client)?,
            step: Runner::new(step.graph, client)?,
        })
    }

    /// Steps at most `width` games.
    fn step_group(&self, games: &[Game], actions: &[i32], seed: [u32; 2]) -> Result<Vec<StepResult>> {
        let count = games.len();
        let mut inputs = self.converter.to_arrays(&self.filled(games))?;
        let mut actions = actions.to_vec();
        actions.resize(self.width, 0);
        inputs.push(HostArray::new(&[self.width], actions));
        inputs.push(HostArray::new(&[2], seed.to_vec()));
        let outputs = self.step.run(inputs)?;
        let (state, rest) = outputs.split_at(self.converter.num_leaves());
        let (rewards, rest) = rest.split_at(15);
        let flags: Vec<&[bool]> = rest[..4].iter().map(|array| array.as_slice::<bool>()).collect();
        let obs = columns::<f32>(&rest[4]);
        let games = self.converter.from_arrays(state);
        let results = games.into_iter().zip(obs).enumerate().map(|(index, (state, obs))| StepResult {
            obs,
            rewards: std::array::from_fn(|part| rewards[part].as_slice::<f32>()[index]),
            done: flags[0][index],
            invalid_action: flags[1][index],
            stage_complete: flags[2][index],
            victory: flags[3][index],
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
            let outputs = self.observe.run(self.converter.to_arrays(&self.filled(group))?)?;
            let masks = columns::<bool>(&outputs[1]).into_iter();
            let masks = masks.map(|mask| <[bool; ACTIONS]>::try_from(mask).expect("one flag per action"));
            results.extend(columns::<f32>(&outputs[0]).into_iter().zip(masks).take(group.len()));
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
    let handles: Vec<Handle> =
        types.iter().map(|t| placeholder(t.dtype, &[&t.shape[..], &[width]].concat())).collect();
    structure(rebuild(one, &handles))
}

fn placeholder(dtype: DType, shape: &[usize]) -> Handle {
    Handle::placeholder(&ArrayType::new(dtype, shape))
}

/// The columns of a matrix.
fn columns<T: crate::array::Element>(matrix: &HostArray) -> Vec<Vec<T>> {
    let count = matrix.shape()[1];
    let values = matrix.as_slice::<T>();
    (0..count).map(|column| values.iter().skip(column).step_by(count).copied().collect()).collect()
}
