//! What gradient steps learn from: the transitions of a rollout, with what was estimated of them.

use crate::algorithms::rollout::{Envs, Memory, Transition};
use crate::envs::vector::View;
use crate::lang::{Bool, Features, Float, Int, concatenate, merge_first_axes, swap_first_axes};
use crate::nn::PopArt;

use super::choices::ObsStorage;
use super::settings::Settings;

/// What the loss needs, `[N, ...]`: of `N` transitions, or of the `T` transitions of `N` environments, `[N, T, ...]`.
#[derive(Clone)]
pub struct Sample {
    pub view: View,
    pub action: Int,
    pub log_prob: Float,
    pub value: Float,
    pub advantage: Float,
    pub target: Float,
    /// Of environments: what was remembered before the first step `[N, ...]`, and where episodes began `[N, T]`.
    pub memory: Option<Memory>,
}
crate::tree!(Sample { view, action, log_prob, value, advantage, target, memory });

impl Sample {
    /// One row per transition, or one per environment if there was something to remember. Values are as the network is taught them.
    pub fn of(
        t: Transition,
        advantage: Float,
        target: Float,
        memory: Option<Memory>,
        popart: Option<PopArt>,
    ) -> Sample {
        let Transition { view, action, log_prob, value, starts, .. } = t;
        let [value, target] = [value, target].map(|x| popart.map_or(x, |popart| popart.normalize(x)));
        let sample = Sample { view, action, log_prob, value, advantage, target, memory: None };
        match memory.zip(starts) {
            None => merge_first_axes(sample),
            Some((Memory { carry, .. }, starts)) => {
                let (sample, starts): (Sample, Bool) = swap_first_axes((sample, starts));
                Sample { memory: Some(Memory { carry, starts }), ..sample }
            }
        }
    }

    /// One row per environment, with or without something to remember.
    pub fn segments(t: Transition, advantage: Float, target: Float, memory: Option<Memory>) -> Sample {
        let Transition { view, action, log_prob, value, starts, .. } = t;
        let sample = Sample { view, action, log_prob, value, advantage, target, memory: None };
        let (sample, starts) = swap_first_axes((sample, starts));
        let memory = memory.zip(starts).map(|(Memory { carry, .. }, starts)| Memory { carry, starts });
        Sample { memory, ..sample }
    }

    /// Transitions in a row.
    pub fn steps(&self) -> usize {
        self.action.shape().get(1).copied().unwrap_or(1)
    }
}

/// Transitions as gradient steps read them, before `envs`.
pub fn as_stored(settings: &Settings, t: Transition, envs: &Envs) -> Transition {
    let Settings { privileged_critic, aux_shift, obs_storage, .. } = *settings;
    let late = |now: Float, end: Float| {
        concatenate(0, [now.slice(0, aux_shift..now.shape()[0]), end.expand_dims(0)])
    };
    let privileged = t.view.privileged.filter(|_| privileged_critic);
    let privileged = match (privileged, envs.view.privileged) {
        (Some(now), Some(end)) if aux_shift == 1 => Some(late(now, end)),
        (privileged, _) => privileged,
    };
    let obs = match (obs_storage, t.view.obs) {
        (ObsStorage::Exact, obs) => obs,
        (ObsStorage::Uint8Compat, Features::Plain(x)) => Features::Plain(x.floor()),
        (ObsStorage::Uint8Compat, Features::Packed { numbers, flags }) => {
            Features::Packed { numbers: numbers.floor(), flags }
        }
    };
    Transition { view: View { obs, privileged, ..t.view }, ..t }
}
