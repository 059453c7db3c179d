//! A trained policy outside its training: what `eval` and `watch` run.
//!
//! A parameter file says by its names and shapes what the network is, so nothing else has to be remembered; the
//! file is checked against the environment before anything is compiled. The parameters stay inputs of the programs, so
//! that one program serves all files of one network.

use anyhow::{Result, ensure};

use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{Float, Int, Key, leaf_paths};
use crate::nn::{Activation, ActorCritic, Categorical, Style};

use super::NamedArrays;

/// How an action follows from the probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The most probable one.
    Greedy,
    /// One drawn with its probability.
    Sample,
}

/// What chooses actions.
pub struct Policy {
    /// `None`: all valid actions are equally probable, and their value is unknown.
    network: Option<Network>,
    choice: Choice,
}

struct Network {
    /// Placeholders.
    structure: ActorCritic,
    style: Style,
    /// In the order of the structure's leaves.
    params: Vec<HostArray>,
}

/// How networks for an environment read what it shows.
pub fn style(spec: &EnvSpec, activation: Activation) -> Style {
    Style { activation, sparse_obs: spec.sparse_obs, packing: spec.packing() }
}

/// What a policy thinks of some observations.
#[derive(Clone, Copy)]
pub struct Decision {
    /// The action taken, i32`[N]`.
    pub action: Int,
    /// f32`[N, A]`, 0 for invalid actions.
    pub probs: Float,
    /// f32`[N]`, if the policy has a value function.
    pub value: Option<Float>,
}
crate::tree!(Decision { action, probs, value });

impl Policy {
    /// A uniform choice among the valid actions.
    pub fn random() -> Policy {
        Policy { network: None, choice: Choice::Sample }
    }

    /// The policy of a network with these parameters (`params.actor.0.kernel`, ...), as files hold them.
    ///
    /// # Errors
    /// One line that says why the arrays are no network for the environment.
    pub fn of_network(
        params: NamedArrays,
        activation: Activation,
        choice: Choice,
        spec: &EnvSpec,
    ) -> Result<Policy> {
        let types: Vec<(String, ArrayType)> =
            params.iter().map(|(name, array)| (name.clone(), array.array_type())).collect();
        let structure = ActorCritic::from_types(&types)?;
        let (obs_size, num_actions) = structure.sizes();
        ensure!(
            (obs_size, num_actions) == (spec.obs_size(), spec.num_actions),
            "the network maps {obs_size} numbers to {num_actions} actions, but {} has {} and {}",
            spec.name,
            spec.obs_size(),
            spec.num_actions
        );
        let mut params = params;
        let paths = leaf_paths(&structure);
        params.sort_by_cached_key(|(name, _)| {
            paths.iter().position(|path| name.strip_prefix("params.") == Some(path))
        });
        let params = params.into_iter().map(|(_, array)| array).collect();
        let style = style(spec, activation);
        Ok(Policy { network: Some(Network { structure, style, params }), choice })
    }

    pub fn is_random(&self) -> bool {
        self.network.is_none()
    }

    /// The structure of the parameters as an input of a program.
    pub fn structure(&self) -> Option<ActorCritic> {
        self.network.as_ref().map(|network| network.structure.clone())
    }

    /// The parameters, in the order of the structure's leaves.
    pub fn params(&self) -> &[HostArray] {
        self.network.as_ref().map_or(&[], |network| &network.params)
    }

    /// What to do in each of `N` environments; `keys` is an array of keys `[2, N]`.
    #[track_caller]
    pub fn decide(
        &self,
        params: &Option<ActorCritic>,
        view: &View,
        num_actions: usize,
        keys: Key,
    ) -> Decision {
        let (logits, value) = match (&self.network, params) {
            (Some(network), Some(params)) => {
                let (logits, value) = params.apply(&network.style, view.obs);
                (logits, Some(value))
            }
            _ => (Float::full([view.obs.num_rows(), num_actions], 0.0), None),
        };
        let distribution = Categorical::new(logits, view.mask);
        let action = match self.choice {
            Choice::Greedy => distribution.mode(),
            Choice::Sample => distribution.sample(Key::from_words(keys.into_words().transpose([1, 0]))),
        };
        Decision { action, probs: distribution.probs(), value }
    }
}
