//! Attribution: which parts of an observation an action hangs on.
//!
//! The gradient of what the chosen action is weighed by (its logit, or what it is worth) says what a small change of the observation
//! would do. Integrated gradients (Sundararajan et al. 2017, "Axiomatic attribution for deep networks") say how much each number
//! contributes in comparison with a baseline, here an observation of zeros: they sum to the difference of both logits.

use anyhow::{Result, ensure};

use crate::array::{DType, HostArray};
use crate::envs::EnvSpec;
use crate::envs::vector::View;
use crate::lang::{
    Bool, Features, Float, Int, Jit, Leaves, OnDevice, arange, constant, leaves, select, structure_of,
    value_and_grad,
};
use crate::lower;
use crate::nn::Categorical;
use crate::runtime::Client;

use super::policy::Policy;

/// Points between the baseline and the observation at which gradients are taken.
pub const POINTS: usize = 50;

/// What an observation does to the action that is chosen for it.
#[derive(Clone, Debug)]
pub struct Attribution {
    pub action: usize,
    /// What the action is weighed by, and the same for the baseline.
    pub logit: f32,
    pub baseline_logit: f32,
    /// The derivative of the logit by each number of the observation.
    pub gradient: Vec<f32>,
    pub integrated: Vec<f32>,
}

impl Attribution {
    /// How far the sum of the integrated gradients is from the difference of both logits, as a share of all of them together.
    pub fn error(&self) -> f64 {
        let parts = || self.integrated.iter().map(|&part| f64::from(part));
        let expected = f64::from(self.logit) - f64::from(self.baseline_logit);
        let size = parts().map(f64::abs).sum::<f64>().max(expected.abs());
        (parts().sum::<f64>() - expected).abs() / size.max(1e-6)
    }
}

/// A policy compiled to explain itself.
pub struct Attributor {
    program: Jit<(Leaves, Float, Bool), Explained>,
    params: OnDevice<Leaves>,
}

/// What the program gives.
struct Explained {
    action: Int,
    /// f32`[2]`: of the observation and of the baseline.
    logits: Float,
    /// f32`[I]` both.
    gradient: Float,
    integrated: Float,
}
crate::tree!(Explained { action, logits, gradient, integrated });

impl Attributor {
    /// Compiles a policy that was made for plain observations ([`plain`]).
    ///
    /// # Errors
    /// One line: the policy is no network, or one that remembers; or whatever the compiler reports.
    pub fn new(client: &Client, spec: &EnvSpec, policy: &Policy) -> Result<Attributor> {
        ensure!(
            leaves(&structure_of(|| policy.begin(1))).is_empty(),
            "a policy that remembers chooses by more than what it sees, which is all that saliency explains"
        );
        let input = (
            policy.structure(),
            Float::placeholder(DType::F32, [spec.obs_size()]),
            Bool::placeholder(DType::Bool, [spec.num_actions]),
        );
        let mut has_layers = true;
        let program =
            Jit::new(client, "attribution", &lower::Options::default(), &input, |(params, obs, mask)| {
                explain(policy, &params, obs, mask).unwrap_or_else(|| {
                    has_layers = false;
                    let zero = obs * 0.0;
                    Explained {
                        action: mask.as_i32().argmax(0),
                        logits: zero,
                        gradient: zero,
                        integrated: zero,
                    }
                })
            })?;
        ensure!(has_layers, "this player is no network, so there is nothing to differentiate");
        let params = OnDevice::new(client, &policy.structure(), &[policy.params().to_vec()])?;
        Ok(Attributor { program, params })
    }

    /// Explains the action that is best for an observation among those of a mask, if there is one.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn explain(&self, obs: &[f32], mask: &[bool]) -> Result<Attribution> {
        let (obs, mask) =
            (HostArray::new(&[obs.len()], obs.to_vec()), HostArray::new(&[mask.len()], mask.to_vec()));
        let given = self.program.upload([&obs, &mask])?;
        let mut explained = self.program.call([self.params.lend(), given])?.fetch_all()?;
        let mut floats = |name: &str| explained.take(name).as_slice::<f32>().to_vec();
        let (logits, gradient, integrated) = (floats("logits"), floats("gradient"), floats("integrated"));
        let action = explained.take("action").to_f64()[0] as usize;
        Ok(Attribution { action, logit: logits[0], baseline_logit: logits[1], gradient, integrated })
    }
}

/// The environment's numbers as a network reads them that can be differentiated by them: neither packed nor skipped where they are 0.
pub fn plain(spec: &EnvSpec) -> EnvSpec {
    EnvSpec { flags: Vec::new(), sparse_obs: false, ..spec.clone() }
}

/// Explains the best action for an observation f32`[I]` among those of a mask bool`[A]`; nothing for a policy without layers.
#[track_caller]
fn explain(policy: &Policy, params: &Leaves, obs: Float, mask: Bool) -> Option<Explained> {
    // The observation, the baseline, and the middles of equal parts of the line between them.
    let middles = (0..POINTS).map(|i| (i as f32 + 0.5) / POINTS as f32);
    let shares: Vec<f32> = [1.0, 0.0].into_iter().chain(middles).collect();
    let (rows, inputs) = (shares.len(), obs.size());
    let shares: Float = constant(shares);
    let points = shares.broadcast(1, inputs) * obs.broadcast(0, rows);
    let weights = |points: Float| -> Option<Float> {
        let view = View { obs: Features::Plain(points), mask: None, privileged: None, to_move: None };
        let layers = policy.layer_outputs(params, policy.begin(points.shape()[0]), &view);
        layers.last().map(|(_, logits)| *logits)
    };
    let at_obs = weights(obs.expand_dims(0))?;
    let action = Categorical::new(at_obs, Some(mask.expand_dims(0))).mode().index(0, 0);
    let (_, logits, gradients) = value_and_grad(&points, |points| {
        let logits = weights(points).expect("it has layers");
        let actions = logits.shape()[1];
        let chosen = arange(actions).eq(action.broadcast(0, actions)).broadcast(0, rows);
        let logits = select(chosen, logits, 0.0).sum([1]);
        (logits.sum_all(), logits)
    });
    let integrated = obs * gradients.slice(0, 2..rows).mean([0]);
    Some(Explained { action, logits: logits.slice(0, 0..2), gradient: gradients.index(0, 0), integrated })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::algorithms::policy::{Choice, NetworkActor};
    use crate::interpret::interpret;
    use crate::lang::{Key, Tree, leaf_types, trace};
    use crate::nn::{Activation, ActorCritic, Channels, Init, Network, Settings, ValueHead};

    /// A small policy over images of 2 x 4 x 4 with random weights; smooth, so that differences are derivatives.
    fn policy() -> Policy {
        let settings = Settings {
            hidden_dim: 8,
            num_layers: 1,
            activation: Activation::Tanh,
            separate_trunks: false,
            init: Init::Lecun,
            conv: vec!["4".parse().unwrap(), "3".parse().unwrap()],
            conv_channels: Channels::First,
            rnn: None,
            rnn_dim: 1,
            privileged_critic: false,
            value_head: ValueHead::Simple,
        };
        let network = ActorCritic::new(settings, &EnvSpec::new("image", [2, 4, 4], 3)).unwrap();
        let weights = interpret(&trace(&(), |()| network.init(Key::new(4))).graph, &[]);
        Policy::new(Rc::new(NetworkActor::of(network)), weights, Choice::Greedy)
    }

    fn explained(obs: &[f32]) -> Attribution {
        let policy = policy();
        let input =
            (policy.structure(), Float::placeholder(DType::F32, [32]), Bool::placeholder(DType::Bool, [3]));
        let traced = trace(&input, |(params, obs, mask)| explain(&policy, &params, obs, mask).unwrap());
        assert_eq!(leaf_types(&traced.output.duplicate()).len(), 4);
        let given = [HostArray::new(&[32], obs.to_vec()), HostArray::new(&[3], vec![true; 3])];
        let inputs: Vec<HostArray> = policy.params().iter().cloned().chain(given).collect();
        let outputs = interpret(&traced.graph, &inputs);
        let floats = |i: usize| outputs[i].as_slice::<f32>().to_vec();
        Attribution {
            action: outputs[0].to_f64()[0] as usize,
            logit: floats(1)[0],
            baseline_logit: floats(1)[1],
            gradient: floats(2),
            integrated: floats(3),
        }
    }

    fn obs() -> Vec<f32> {
        (0..32).map(|i| (i as f32 * 1.3).sin()).collect()
    }

    #[test]
    fn integrated_gradients_are_complete() {
        let found = explained(&obs());
        assert!((found.logit - found.baseline_logit).abs() > 0.01, "{found:?}");
        assert!(found.error() < 0.02, "{} of {found:?}", found.error());
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        let at = explained(&obs());
        let scale = at.gradient.iter().fold(0.0f32, |most, part| most.max(part.abs()));
        for place in [0, 5, 17, 31] {
            let moved = |by: f32| {
                let mut obs = obs();
                obs[place] += by;
                let found = explained(&obs);
                assert_eq!(found.action, at.action);
                found.logit
            };
            let difference = (moved(0.02) - moved(-0.02)) / 0.04;
            let gradient = at.gradient[place];
            assert!((difference - gradient).abs() < 0.02 * scale, "{place}: {difference} {gradient}");
        }
    }
}
