//! The compiled game of one ship, told on the host after every step.

use anyhow::Result;

use crate::array::{DType, HostArray};
use crate::envs::Env;
use crate::lang::{
    Backend, Float, HostFunction, Int, arange, constant, leaf_paths, select_tree, stack, structure_of,
    take_tree, vmap, vmap_last,
};

use super::super::chart::NODES;
use super::super::site::{Marks, Site};
use super::super::{Asteroid, Params, State, observation};

/// A state and what is seen of it.
struct Seen {
    state: State,
    obs: Float,
}
crate::tree!(Seen { state, obs });

/// A step and what it tells.
struct Told {
    state: State,
    obs: Float,
    reward: Float,
    /// Action, ticks, and whether it was invalid, terminated and truncated: i32\[5\].
    told: Int,
    stats: Float,
}
crate::tree!(Told { state, obs, reward, told, stats });

/// All nodes of a world as they are now, \[NODES, ...\].
#[track_caller]
fn world(state: &State) -> Site {
    vmap(arange(NODES), |node| {
        let new = Site::new(&state.chart, node);
        let kept = take_tree(&state.store.marks, node);
        let marks: Marks = select_tree(state.store.holds(node), kept, new.marks);
        let here = node.eq(state.site.node);
        Site { marks: select_tree(here, state.site.marks, marks), ..new }
    })
}

fn params(time_max: Float) -> Params {
    Params { time_max, ..Asteroid::default().default_params() }
}

/// Leaves by name.
pub struct Named(Vec<(String, HostArray)>);

impl Named {
    fn array(&self, name: &str) -> &HostArray {
        let found = self.0.iter().find(|(other, _)| other == name);
        &found.unwrap_or_else(|| panic!("there is no leaf `{name}`")).1
    }

    pub fn numbers(&self, name: &str) -> Vec<f64> {
        self.array(name).to_f64()
    }

    pub fn word(&self, name: &str) -> u64 {
        self.array(name).as_slice::<u64>()[0]
    }
}

/// The compiled game.
pub struct Game {
    begin: HostFunction,
    step: HostFunction,
    world: HostFunction,
    leaves: usize,
}

impl Game {
    pub fn new(backend: &Backend) -> Result<Game> {
        let word = || Int::placeholder(DType::U64, [1]);
        let time = || Float::placeholder(DType::F32, [1]);
        let game = Asteroid::default();
        let first = |(seed, time): (Int, Float)| {
            vmap_last((seed, time), |(seed, time)| {
                let state = game.begin(&params(time), seed);
                Seen { obs: observation::observe(&state, time), state }
            })
        };
        let seen = structure_of(|| first((constant([0u64]), constant([1.0f32]))));
        let state = || seen.state;
        let begin = HostFunction::new(backend, "begin", &(word(), time()), first)?;
        let action = Int::placeholder(DType::I32, [1]);
        let step = HostFunction::new(backend, "step", &(state(), action, time()), |asked| {
            vmap_last(asked, |(state, action, time): (State, Int, Float)| {
                let turn = game.play(&params(time), state, action);
                let flags = [turn.invalid, turn.terminated, turn.truncated].map(|flag| flag.as_i32());
                Told {
                    obs: observation::observe(&turn.state, time),
                    reward: turn.rewards.into_iter().reduce(|sum, part| sum + part).expect("parts"),
                    told: stack([turn.action, turn.ticks, flags[0], flags[1], flags[2]]),
                    stats: stack(turn.stats),
                    state: turn.state,
                }
            })
        })?;
        let world = HostFunction::new(backend, "world", &state(), |states: State| {
            vmap_last(states, |state| world(&state))
        })?;
        Ok(Game { begin, step, world, leaves: leaf_paths(&seen.state).len() })
    }

    pub fn begin(&self, seed: u64, time: f32) -> Result<Named> {
        let inputs = [HostArray::new(&[1], vec![seed]), HostArray::new(&[1], vec![time])];
        Ok(Named(self.begin.call(&inputs)?.into_named()))
    }

    /// The leaves of the state, which come first.
    fn state(&self, from: &Named) -> Vec<HostArray> {
        from.0[..self.leaves].iter().map(|(_, value)| value.clone()).collect()
    }

    pub fn step(&self, before: &Named, action: i32, time: f32) -> Result<Named> {
        let more = [HostArray::new(&[1], vec![action]), HostArray::new(&[1], vec![time])];
        Ok(Named(self.step.call(&[self.state(before), more.to_vec()].concat())?.into_named()))
    }

    pub fn world(&self, of: &Named) -> Result<Named> {
        Ok(Named(self.world.call(&self.state(of))?.into_named()))
    }
}
