//! Acting by what actions are worth.

use crate::algorithms::policy::{Actor, Choice, Decision};
use crate::envs::vector::View;
use crate::lang::{Bool, Float, Int, Key, Leaves, Tree, arange, leaves, rebuild, select, structure_of};
use crate::nn::{Categorical, LayerOutputs, QNetwork, QParams};

/// The valid action i32`[N]` of the highest value `[N, A]`, the first of equals. A mask that allows nothing is read as one that allows
/// the first action.
#[track_caller]
pub fn greedy(values: Float, mask: Option<Bool>) -> Int {
    match mask {
        None => values.argmax(1),
        Some(mask) => select(mask, values, f64::from(f32::MIN)).argmax(1),
    }
}

/// A Q-network that takes the best action, however it is asked to choose.
pub struct QActor {
    network: QNetwork,
    structure: QParams,
}

impl QActor {
    pub fn new(network: QNetwork) -> QActor {
        QActor { structure: structure_of(|| network.init(Key::new(0))), network }
    }
}

impl Actor for QActor {
    fn params(&self) -> Leaves {
        Leaves::of(&self.structure)
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
        let values = self.network.values(&params, view.obs, view.mask);
        let actions = values.shape()[1];
        let best = greedy(values, view.mask);
        let chosen = arange(actions).broadcast(0, values.shape()[0]).eq(best.broadcast(1, actions));
        let certain = Categorical::new(select(chosen, Float::full(values.shape(), 0.0), -1e9), view.mask);
        let value = select(chosen, values, 0.0).sum([1]);
        let decision = Decision::of(&certain, Some(value), keys, choice);
        (carry, Decision { action_values: Some(values), ..decision })
    }

    #[track_caller]
    fn layer_outputs(&self, params: &Leaves, _carry: Leaves, view: &View) -> LayerOutputs {
        let params = rebuild(self.structure.duplicate(), &leaves(params));
        self.network.layer_outputs(&params, view.obs, view.mask)
    }
}
