//! What an environment returns, against what its spec says.
//!
//! A contradiction is a mistake of the environment's author. It is found while tracing, at the first call, whatever command runs,
//! and told with the environment's name, the function, and both sides.

use std::fmt::Debug;

use crate::array::{ArrayType, DType};
use crate::lang::{Bool, Int, Leaves, leaf_types};

use super::{EnvSpec, Observation, Step};

/// The results of one environment's functions, which must be as its spec says.
pub(super) struct Boundary<'a>(pub &'a EnvSpec);

impl Boundary<'_> {
    #[track_caller]
    pub fn observation(&self, seen: &Observation) {
        let EnvSpec { obs_shape, privileged_shape, .. } = self.0;
        let numbers = |shape: &[usize]| ArrayType::new(DType::F32, shape);
        let found = seen.actor.array_type();
        self.shaped("observe() gives", found, "obs_shape", obs_shape, numbers(obs_shape));
        match (&seen.privileged, privileged_shape) {
            (None, None) => {}
            (Some(privileged), Some(shape)) => {
                let found = privileged.array_type();
                let gives = "observe() gives privileged";
                self.shaped(gives, found, "privileged_shape", shape, numbers(shape));
            }
            (None, Some(shape)) => {
                let says = format!("spec().privileged_shape says {shape:?}");
                self.fail(format!("observe() gives no privileged observation, {says}"))
            }
            (Some(privileged), None) => {
                let found = privileged.array_type();
                self.fail(format!("observe() gives privileged {found}, spec().privileged_shape is None"))
            }
        }
    }

    /// What comes with the state of a step.
    #[track_caller]
    pub fn step(&self, step: &Step<Leaves>) {
        let EnvSpec { players, metrics, .. } = self.0;
        let reward = step.reward.array_type();
        match players {
            1 => self.exactly("step() gives a reward", reward, &ArrayType::scalar(DType::F32)),
            _ => {
                let each = ArrayType::new(DType::F32, [*players]);
                self.shaped("step() gives rewards", reward, "players", players, each);
            }
        }
        let flag = ArrayType::scalar(DType::Bool);
        self.exactly("step() gives terminated", step.terminated.array_type(), &flag);
        if let Some(truncated) = step.truncated {
            self.exactly("step() gives truncated", truncated.array_type(), &flag);
        }
        if step.metrics.len() != metrics.len() {
            let names: Vec<&str> = metrics.iter().map(|metric| metric.name.as_str()).collect();
            let says = format!("spec().metrics names {}: {names:?}", names.len());
            self.fail(format!("step() gives {} metrics, {says}", step.metrics.len()));
        }
        for (metric, value) in metrics.iter().zip(&step.metrics) {
            let gives = format!("step() gives the metric `{}`", metric.name);
            self.exactly(&gives, value.array_type(), &ArrayType::scalar(DType::F32));
        }
    }

    /// The state that `function` gives, which must have the leaves that [`Env::reset`](super::Env::reset) gives.
    #[track_caller]
    pub fn state(&self, function: &str, first: &Leaves, state: &Leaves) {
        for (((name, _), expected), found) in first.0.iter().zip(leaf_types(first)).zip(leaf_types(state)) {
            if found != expected {
                self.fail(format!(
                    "{function} gives a state whose `{name}` is {found}; reset() gives {expected}"
                ));
            }
        }
        let [first, found] = [first, state].map(|state| state.0.len());
        if first != found {
            self.fail(format!("{function} gives a state of {found} arrays; reset() gives {first}"));
        }
    }

    #[track_caller]
    pub fn mask(&self, mask: Bool) {
        let actions = self.0.num_actions;
        let expected = ArrayType::new(DType::Bool, [actions]);
        self.shaped("action_mask() gives", mask.array_type(), "num_actions", actions, expected);
    }

    #[track_caller]
    pub fn to_move(&self, player: Int) {
        self.exactly("to_move() gives", player.array_type(), &ArrayType::scalar(DType::I32));
    }

    /// `field` of the spec, as it is written there, asks for the shape of `expected`.
    #[track_caller]
    fn shaped(&self, gives: &str, found: ArrayType, field: &str, says: impl Debug, expected: ArrayType) {
        if found.shape != expected.shape {
            self.fail(format!("{gives} {found}, spec().{field} says {says:?}"));
        }
        self.exactly(gives, found, &expected);
    }

    #[track_caller]
    fn exactly(&self, gives: &str, found: ArrayType, expected: &ArrayType) {
        if found != *expected {
            self.fail(format!("{gives} {found}; it must be {expected}"));
        }
    }

    #[track_caller]
    fn fail(&self, contradiction: String) -> ! {
        panic!("{}: {contradiction}", self.0.name)
    }
}
