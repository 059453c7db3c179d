//! Scripted players as policies: what an environment's own [`Player`]s do, for whoever runs a policy.

use std::rc::Rc;

use crate::envs::vector::View;
use crate::envs::{EnvSpec, Player};
use crate::lang::{Key, Leaves, Packing, arange, vmap_last};

use super::policy::{Actor, Choice, Decision, Policy};

/// A script has no parameters and remembers nothing.
struct ScriptedActor {
    player: Player,
    num_actions: usize,
    packing: Option<Packing>,
}

impl Actor for ScriptedActor {
    fn params(&self) -> Leaves {
        Leaves::default()
    }

    /// The action drawn has all the probability: a script does not tell what else it might have done.
    #[track_caller]
    fn act(
        &self,
        _params: &Leaves,
        carry: Leaves,
        view: &View,
        keys: Key,
        _choice: Choice,
    ) -> (Leaves, Decision) {
        let obs = view.obs.unpacked(self.packing.as_ref()).transpose([1, 0]);
        let action = vmap_last((obs, keys), |(obs, key)| (self.player.act)(obs, key));
        let (rows, actions) = (action.size(), self.num_actions);
        let chosen = arange(actions).broadcast(0, rows).eq(action.broadcast(1, actions));
        (carry, Decision { action, probs: chosen.as_f32(), value: None, action_values: None })
    }
}

/// The policy of a scripted player of the environment of `spec`.
pub fn policy(player: Player, spec: &EnvSpec) -> Policy {
    let actor = ScriptedActor { player, num_actions: spec.num_actions, packing: spec.packing() };
    Policy::new(Rc::new(actor), Vec::new(), Choice::Sample)
}
