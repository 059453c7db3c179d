//! What an algorithm needs of a network, and the check that arrays are its parameters.

use crate::array::ArrayType;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Float, Key, Leaves, Tree, leaf_paths, leaf_types, merge_first_axes, scan, structure_of,
};

use super::{Dense, PopArt};

/// A policy and a value function, with what they remember.
///
/// `N` rows belong to `N` environments. What is remembered, the *carry*, is a list of arrays `[N, ...]`; a network that remembers
/// nothing has none.
pub trait Network {
    type Params: Tree + Clone;

    /// Fresh parameters.
    fn init(&self, key: Key) -> Self::Params;

    /// What is remembered before the first step of `rows` episodes.
    fn begin(&self, rows: usize) -> Leaves {
        let _ = rows;
        Leaves::default()
    }

    /// One step. Where an episode begins (`starts`, bool`[N]`; `None`: nowhere), nothing of `carry` is remembered.
    fn apply(
        &self,
        params: &Self::Params,
        carry: Leaves,
        view: &View,
        starts: Option<Bool>,
    ) -> (Leaves, Outputs);

    /// One step outside of training, in the middle of an episode: what is remembered, the logits f32`[N, A]`, and the values
    /// f32`[N]` where they can be had. A network whose value function reads privileged observations acts without them.
    fn act(&self, params: &Self::Params, carry: Leaves, view: &View) -> (Leaves, Float, Option<Float>) {
        let (carry, Outputs { logits, value }) = self.apply(params, carry, view, None);
        (carry, logits, Some(value))
    }

    /// The values f32`[N]` alone, of a view that needs no masks.
    fn value(&self, params: &Self::Params, carry: Leaves, view: &View, starts: Option<Bool>) -> Float {
        self.apply(params, carry, view, starts).1.value
    }

    /// The part of the parameters that is the critic's alone; nothing if the network does not tell it apart.
    fn critic<'a>(&self, params: &'a mut Self::Params) -> Option<Critic<'a>> {
        let _ = params;
        None
    }

    /// What normalizes the values, if anything does: then [`Outputs::value`] and [`Network::value`] are normalized, and those of
    /// [`Network::act`] are not.
    fn popart(&self, params: &Self::Params) -> Option<PopArt> {
        self.critic(&mut params.clone()).and_then(|critic| critic.popart.copied())
    }

    /// What a reader of a parameter file needs to know to build the network again, by name.
    fn metadata(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    /// Floats of activations that a row takes on its way, about: by that, rows are put together so that they fit a cache. For
    /// layers that take each weight once it is the number of their inputs and outputs.
    fn activations(&self, params: &Self::Params) -> usize {
        leaf_types(params).iter().map(|array_type| array_type.shape[0]).sum()
    }

    /// What each layer on the way to the logits makes of a view, by name, the logits themselves last: f32`[N, ...]`, images
    /// `[N, height, width, channels]`. Nothing by default: a network need not have layers.
    fn layer_outputs(&self, params: &Self::Params, carry: Leaves, view: &View) -> LayerOutputs {
        let _ = (params, carry, view);
        Vec::new()
    }

    /// `T` steps of `B` environments, whose views are `[T, B, ...]` and starts `[T, B]`: the outputs for all rows, `[T x B, ...]`.
    fn unroll(&self, params: &Self::Params, carry: Leaves, views: View, starts: Bool) -> Outputs {
        let (_, outputs) = scan(carry, (views, starts), |carry, (view, starts)| {
            self.apply(params, carry, &view, Some(starts))
        });
        merge_first_axes(outputs)
    }
}

/// Layers by name, in their order, each with what it makes of its inputs, f32`[N, ...]`.
pub type LayerOutputs = Vec<(String, Float)>;

/// The part of a network's parameters that is the critic's alone.
pub struct Critic<'a> {
    /// The last of them gives the value.
    pub layers: &'a mut Vec<Dense>,
    /// Where values are normalized.
    pub popart: Option<&'a mut PopArt>,
}

/// What a network says of `N` views.
#[derive(Clone, Copy)]
pub struct Outputs {
    /// f32`[N, A]`: unnormalized log-probabilities of the actions.
    pub logits: Float,
    /// f32`[N]`, normalized if the network does that.
    pub value: Float,
}
crate::tree!(Outputs { logits, value });

/// Arrays that are not the parameters of a network.
#[derive(Debug, thiserror::Error)]
#[error("these arrays are no network: {0}")]
pub struct NotANetwork(pub String);

/// The structure of the network's parameters, whose arrays in a file have these names (`params.actor.0.kernel`, ...) and types, in
/// any order.
///
/// # Errors
/// One line that names the array which is missing, left over or of another shape.
pub fn check_params<N: Network>(
    network: &N,
    types: &[(String, ArrayType)],
) -> Result<N::Params, NotANetwork> {
    let structure = structure_of(|| network.init(Key::new(0)));
    check_arrays(&structure, types)?;
    Ok(structure)
}

/// Checks that arrays with these names (`params.actor.0.kernel`, ...) and types, in any order, are the leaves of `structure`.
///
/// # Errors
/// As [`check_params`].
pub fn check_arrays<P: Tree>(structure: &P, types: &[(String, ArrayType)]) -> Result<(), NotANetwork> {
    let names: Vec<String> = leaf_paths(structure).iter().map(|path| format!("params.{path}")).collect();
    for (name, expected) in names.iter().zip(leaf_types(structure)) {
        match types.iter().find(|(other, _)| other == name) {
            None => return Err(NotANetwork(format!("there is no {name}"))),
            Some((_, found)) if *found != expected => {
                return Err(NotANetwork(format!("{name} is {found}, not {expected}")));
            }
            Some(_) => {}
        }
    }
    match types.iter().find(|(name, _)| !names.contains(name)) {
        Some((name, _)) => Err(NotANetwork(format!("{name} belongs to no layer"))),
        None => Ok(()),
    }
}
