//! Environments without their types: what algorithms and commands hold.
//!
//! An algorithm is compiled by rustc once, not once per environment, so it sees states and parameters as
//! [`Leaves`]: named arrays in order. [`Erased`] turns them back into the environment's own structs.

use std::cell::OnceCell;

use crate::lang::{Bool, Float, Int, Key, Leaves, Tree, leaves, rebuild, structure_of};

use super::{Env, EnvSpec, Step};

/// [`Env`] as a trait object; see there.
pub trait AnyEnv {
    fn spec(&self) -> EnvSpec;
    fn default_params(&self) -> Leaves;
    fn phases(&self) -> Vec<Leaves>;
    fn reset(&self, params: &Leaves, key: Key) -> Leaves;
    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves;
    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves>;
    fn observe(&self, params: &Leaves, state: &Leaves) -> Float;
    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool>;
}

/// An environment together with the structure of its state and parameters.
pub struct Erased<E: Env> {
    env: E,
    state: OnceCell<E::State>,
    params: OnceCell<E::Params>,
}

impl<E: Env> Erased<E> {
    pub fn new(env: E) -> Self {
        Erased { env, state: OnceCell::new(), params: OnceCell::new() }
    }

    fn params(&self, erased: &Leaves) -> E::Params {
        let shape = self.params.get_or_init(|| structure_of(|| self.env.default_params()));
        rebuild(shape.duplicate(), &leaves(erased))
    }

    fn state(&self, erased: &Leaves) -> E::State {
        let shape = self
            .state
            .get_or_init(|| structure_of(|| self.env.reset(&self.env.default_params(), Key::new(0))));
        rebuild(shape.duplicate(), &leaves(erased))
    }
}

impl<E: Env> AnyEnv for Erased<E> {
    fn spec(&self) -> EnvSpec {
        self.env.spec()
    }

    fn default_params(&self) -> Leaves {
        Leaves::of(&self.env.default_params())
    }

    fn phases(&self) -> Vec<Leaves> {
        self.env.phases().iter().map(Leaves::of).collect()
    }

    fn reset(&self, params: &Leaves, key: Key) -> Leaves {
        Leaves::of(&self.env.reset(&self.params(params), key))
    }

    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves {
        Leaves::of(&self.env.restart(&self.params(params), key, self.state(&ended)))
    }

    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves> {
        let step = self.env.step(&self.params(params), key, self.state(&state), action);
        Step {
            state: Leaves::of(&step.state),
            reward: step.reward,
            terminated: step.terminated,
            truncated: step.truncated,
            metrics: step.metrics,
        }
    }

    fn observe(&self, params: &Leaves, state: &Leaves) -> Float {
        self.env.observe(&self.params(params), &self.state(state))
    }

    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool> {
        self.env.action_mask(&self.params(params), &self.state(state))
    }
}
