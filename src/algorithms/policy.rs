//! Policies outside their training: what `eval`, `watch`, replays and frozen opponents run.
//!
//! An [`Actor`] is the acting half of an algorithm: from what is seen and remembered to an action. A [`Policy`] is an actor with
//! parameters and a way to choose. The parameters stay inputs of the programs, so that one program serves all files of one
//! network.

use std::rc::Rc;

use anyhow::{Result, ensure};

use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{Float, Int, Key, Leaves, Tree, leaf_paths, leaves, rebuild, structure_of};
use crate::nn::{ActorCritic, Categorical, LayerOutputs, Network, check_arrays};

use super::NamedArrays;

/// What a reader of parameters needs to know, by name.
pub type Metadata = std::collections::BTreeMap<String, String>;

/// How an action follows from the probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The most probable one.
    Greedy,
    /// One drawn with its probability.
    Sample,
}

impl Choice {
    /// The other way.
    #[must_use]
    pub fn other(self) -> Choice {
        match self {
            Choice::Greedy => Choice::Sample,
            Choice::Sample => Choice::Greedy,
        }
    }
}

/// What a policy thinks of some observations.
#[derive(Clone, Copy)]
pub struct Decision {
    /// The action taken, i32`[N]`.
    pub action: Int,
    /// f32`[N, A]`, 0 for invalid actions.
    pub probs: Float,
    /// f32`[N]`, if the policy has a value function and the view what it reads.
    pub value: Option<Float>,
    /// What each action is worth, f32`[N, A]`, if the policy tells it.
    pub action_values: Option<Float>,
}
crate::tree!(Decision { action, probs, value, action_values });

impl Decision {
    /// An action of a distribution; `keys` is an array of keys `[2, N]`.
    #[track_caller]
    pub fn of(distribution: &Categorical, value: Option<Float>, keys: Key, choice: Choice) -> Decision {
        let action = match choice {
            Choice::Greedy => distribution.mode(),
            Choice::Sample => distribution.sample(Key::from_words(keys.into_words().transpose([1, 0]))),
        };
        Decision { action, probs: distribution.probs(), value, action_values: None }
    }
}

/// What acts with some parameters.
pub trait Actor {
    /// The structure of the parameters.
    fn params(&self) -> Leaves;

    /// What it remembers before the first step of `rows` episodes, `[N, ...]` each; nothing by default.
    fn begin(&self, rows: usize) -> Leaves {
        let _ = rows;
        Leaves::default()
    }

    /// What to do in each of `N` environments, and what to remember of it; `keys` is an array of keys `[2, N]`.
    fn act(
        &self,
        params: &Leaves,
        carry: Leaves,
        view: &View,
        keys: Key,
        choice: Choice,
    ) -> (Leaves, Decision);

    /// What each layer makes of what is seen, by name, what actions are weighed by last (logits, or what they are worth), f32`[N, A]`.
    /// Nothing by default: not every actor is a network.
    fn layer_outputs(&self, params: &Leaves, carry: Leaves, view: &View) -> LayerOutputs {
        let _ = (params, carry, view);
        Vec::new()
    }
}

/// A network that acts by the probabilities that it gives.
pub struct NetworkActor<N: Network> {
    network: N,
    structure: N::Params,
}

impl<N: Network> NetworkActor<N> {
    pub fn of(network: N) -> Self {
        NetworkActor { structure: structure_of(|| network.init(Key::new(0))), network }
    }
}

impl<N: Network> Actor for NetworkActor<N> {
    fn params(&self) -> Leaves {
        Leaves::of(&self.structure)
    }

    #[track_caller]
    fn begin(&self, rows: usize) -> Leaves {
        self.network.begin(rows)
    }

    #[track_caller]
    fn act(
        &self,
        params: &Leaves,
        carry: Leaves,
        view: &View,
        keys: Key,
        choice: Choice,
    ) -> (Leaves, Decision) {
        let params = rebuild(self.structure.duplicate(), &leaves(params));
        let (carry, logits, value) = self.network.act(&params, carry, view);
        (carry, Decision::of(&Categorical::new(logits, view.mask), value, keys, choice))
    }

    #[track_caller]
    fn layer_outputs(&self, params: &Leaves, carry: Leaves, view: &View) -> LayerOutputs {
        let params = rebuild(self.structure.duplicate(), &leaves(params));
        self.network.layer_outputs(&params, carry, view)
    }
}

/// Checks that a network with this metadata is one for what the environment shows and takes.
///
/// # Errors
/// One line with both numbers.
pub fn check_sizes(metadata: &Metadata, spec: &EnvSpec) -> Result<()> {
    for (key, what, size) in
        [("obs_size", "numbers", spec.obs_size()), ("num_actions", "actions", spec.num_actions)]
    {
        let trained = metadata.get(key);
        ensure!(
            trained.is_none_or(|trained| *trained == size.to_string()),
            "the network is one for {} {what}, but {} has {size}",
            trained.map_or("", String::as_str),
            spec.name
        );
    }
    Ok(())
}

/// Arrays named `params.PATH`, as files hold them, in the order of the leaves of `structure`.
///
/// # Errors
/// One line that names the array which is missing, left over or of another shape.
pub fn in_order<P: Tree>(structure: &P, params: NamedArrays) -> Result<Vec<HostArray>> {
    let types: Vec<(String, ArrayType)> =
        params.iter().map(|(name, array)| (name.clone(), array.array_type())).collect();
    check_arrays(structure, &types)?;
    let paths = leaf_paths(structure);
    let place = |name: &str| paths.iter().position(|path| name.strip_prefix("params.") == Some(path));
    let mut params = params;
    params.sort_by_cached_key(|(name, _)| place(name));
    Ok(params.into_iter().map(|(_, array)| array).collect())
}

/// All valid actions are equally probable.
pub(super) struct RandomActor {
    pub num_actions: usize,
}

impl Actor for RandomActor {
    fn params(&self) -> Leaves {
        Leaves::default()
    }

    #[track_caller]
    fn act(
        &self,
        _params: &Leaves,
        carry: Leaves,
        view: &View,
        keys: Key,
        choice: Choice,
    ) -> (Leaves, Decision) {
        let logits = Float::full([view.obs.num_rows(), self.num_actions], 0.0);
        (carry, Decision::of(&Categorical::new(logits, view.mask), None, keys, choice))
    }
}

/// An actor with its parameters.
#[derive(Clone)]
pub struct Policy {
    actor: Rc<dyn Actor>,
    /// In the order of the actor's.
    params: Vec<HostArray>,
    choice: Choice,
}

impl Policy {
    /// An actor with its parameters, in order.
    pub fn new(actor: Rc<dyn Actor>, params: Vec<HostArray>, choice: Choice) -> Policy {
        Policy { actor, params, choice }
    }

    /// A uniform choice among the valid actions.
    pub fn random(spec: &EnvSpec) -> Policy {
        let actor = RandomActor { num_actions: spec.num_actions };
        Policy::new(Rc::new(actor), Vec::new(), Choice::Sample)
    }

    /// The policy of an actor-critic with these parameters (`params.actor.0.kernel`, ...) and this metadata, as files hold them.
    ///
    /// # Errors
    /// One line that says why the arrays are no network for the environment.
    pub fn of_network(
        params: NamedArrays,
        metadata: &Metadata,
        choice: Choice,
        spec: &EnvSpec,
    ) -> Result<Policy> {
        let has_trunk = params.iter().any(|(name, _)| name.starts_with("params.trunk."));
        let network = ActorCritic::from_metadata(metadata, has_trunk, spec)?;
        check_sizes(metadata, spec)?;
        Policy::with_network(network, params, choice)
    }

    /// The policy of a network with these parameters, as files hold them.
    ///
    /// # Errors
    /// One line: the array that is missing, left over or of another shape.
    pub fn with_network<N: Network + 'static>(
        network: N,
        params: NamedArrays,
        choice: Choice,
    ) -> Result<Policy> {
        let structure = structure_of(|| network.init(Key::new(0)));
        let params = in_order(&structure, params)?;
        Ok(Policy::new(Rc::new(NetworkActor { network, structure }), params, choice))
    }

    /// The same policy with another way to choose.
    pub fn with_choice(self, choice: Choice) -> Policy {
        Policy { choice, ..self }
    }

    /// The structure of the parameters as an input of a program.
    pub fn structure(&self) -> Leaves {
        self.actor.params()
    }

    /// The parameters, in the order of the structure's leaves.
    pub fn params(&self) -> &[HostArray] {
        &self.params
    }

    /// What is remembered before the first step of `rows` episodes.
    #[track_caller]
    pub fn begin(&self, rows: usize) -> Leaves {
        self.actor.begin(rows)
    }

    /// What to do in each of `N` environments; `keys` is an array of keys `[2, N]`.
    #[track_caller]
    pub fn act(&self, params: &Leaves, carry: Leaves, view: &View, keys: Key) -> (Leaves, Decision) {
        self.actor.act(params, carry, view, keys, self.choice)
    }

    /// What each layer makes of what is seen: see [`Actor::layer_outputs`].
    #[track_caller]
    pub fn layer_outputs(&self, params: &Leaves, carry: Leaves, view: &View) -> LayerOutputs {
        self.actor.layer_outputs(params, carry, view)
    }

    /// How it chooses.
    pub fn choice(&self) -> Choice {
        self.choice
    }
}
