//! Environments without their types: what algorithms and commands hold.
//!
//! An algorithm is compiled by rustc once, not once per environment, so it sees states and parameters as
//! [`Leaves`]: named arrays in order. [`Erased`] turns them back into the environment's own structs, and requires that what
//! the environment returns is what its spec says.

use std::cell::OnceCell;

use crate::lang::{Bool, Int, Key, Leaves, Tree, leaves, rebuild, structure_of};

use super::boundary::Boundary;
use super::{Env, EnvSpec, Mirror, Observation, Player, Step};

/// [`Env`] as a trait object; see there.
pub trait AnyEnv {
    fn spec(&self) -> EnvSpec;
    fn default_params(&self) -> Leaves;
    fn phases(&self) -> Vec<Leaves>;
    fn reset(&self, params: &Leaves, key: Key) -> Leaves;
    fn world(&self, params: &Leaves, number: Int) -> Option<Leaves>;
    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves;
    fn restart_where(&self, done: Bool, params: &Leaves, key: Key, state: Leaves) -> Leaves;
    fn step_keys(&self, key: Key) -> [Key; 2];
    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves>;
    fn observe(&self, params: &Leaves, state: &Leaves) -> Observation;
    fn to_move(&self, params: &Leaves, state: &Leaves) -> Int;
    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool>;
    fn players(&self) -> Vec<Player>;
    fn mirror(&self) -> Option<Mirror>;
}

/// An environment together with the structure of its state and parameters.
pub struct Erased<E: Env> {
    env: E,
    spec: OnceCell<EnvSpec>,
    state: OnceCell<E::State>,
    params: OnceCell<E::Params>,
}

impl<E: Env> Erased<E> {
    pub fn new(env: E) -> Self {
        Erased { env, spec: OnceCell::new(), state: OnceCell::new(), params: OnceCell::new() }
    }

    /// The spec, which is checked where the first result is.
    #[track_caller]
    fn checked_spec(&self) -> &EnvSpec {
        self.spec.get_or_init(|| {
            let spec = self.env.spec();
            spec.check().unwrap_or_else(|problem| panic!("{problem}"));
            spec
        })
    }

    fn boundary(&self) -> Boundary<'_> {
        Boundary(self.checked_spec())
    }

    /// The structure of the state.
    fn first(&self) -> &E::State {
        self.state.get_or_init(|| structure_of(|| self.env.reset(&self.env.default_params(), Key::new(0))))
    }

    fn params(&self, erased: &Leaves) -> E::Params {
        let shape = self.params.get_or_init(|| structure_of(|| self.env.default_params()));
        rebuild(shape.duplicate(), &leaves(erased))
    }

    fn state(&self, erased: &Leaves) -> E::State {
        rebuild(self.first().duplicate(), &leaves(erased))
    }

    /// The leaves of a state that `function` gave.
    #[track_caller]
    fn erased(&self, function: &str, state: &E::State) -> Leaves {
        let state = Leaves::of(state);
        self.boundary().state(function, &Leaves::of(self.first()), &state);
        state
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

    fn world(&self, params: &Leaves, number: Int) -> Option<Leaves> {
        let state = self.env.world(&self.params(params), number);
        state.map(|state| self.erased("world()", &state))
    }

    fn restart(&self, params: &Leaves, key: Key, ended: Leaves) -> Leaves {
        self.erased("restart()", &self.env.restart(&self.params(params), key, self.state(&ended)))
    }

    fn restart_where(&self, done: Bool, params: &Leaves, key: Key, state: Leaves) -> Leaves {
        let state = self.env.restart_where(done, &self.params(params), key, self.state(&state));
        self.erased("restart()", &state)
    }

    fn step_keys(&self, key: Key) -> [Key; 2] {
        self.env.step_keys(key)
    }

    fn step(&self, params: &Leaves, key: Key, state: Leaves, action: Int) -> Step<Leaves> {
        let step = self.env.step(&self.params(params), key, self.state(&state), action);
        let step = Step {
            state: self.erased("step()", &step.state),
            reward: step.reward,
            terminated: step.terminated,
            truncated: step.truncated,
            metrics: step.metrics,
        };
        self.boundary().step(&step);
        step
    }

    fn observe(&self, params: &Leaves, state: &Leaves) -> Observation {
        let seen = self.env.observe(&self.params(params), &self.state(state));
        self.boundary().observation(&seen);
        seen
    }

    fn to_move(&self, params: &Leaves, state: &Leaves) -> Int {
        let player = self.env.to_move(&self.params(params), &self.state(state));
        self.boundary().to_move(player);
        player
    }

    fn action_mask(&self, params: &Leaves, state: &Leaves) -> Option<Bool> {
        let mask = self.env.action_mask(&self.params(params), &self.state(state));
        mask.inspect(|&mask| self.boundary().mask(mask))
    }

    fn players(&self) -> Vec<Player> {
        self.env.players()
    }

    fn mirror(&self) -> Option<Mirror> {
        self.env.mirror()
    }
}
