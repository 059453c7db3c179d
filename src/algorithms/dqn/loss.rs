//! Targets, loss, and what is reported of them.

use crate::algorithms::metrics::Recorder;
use crate::array::DType;
use crate::lang::{
    Bool, Float, Int, all_reduce, arange, float, iota, rare, ravel, select, unravel, value_and_grad,
};
use crate::nn::{QNetwork, QParams};

use super::Networks;
use super::actor::greedy;
use super::experience::{Experience, Seen};

/// What is told of a gradient step, f32 scalars.
#[derive(Clone, Copy)]
pub struct Losses {
    /// What is minimized.
    pub loss: Float,
    pub grad_norm: Float,
    /// Of the actions taken.
    pub q_mean: Float,
    pub q_max: Float,
    pub q_min: Float,
    pub target_mean: Float,
    /// The mean distance from the targets.
    pub td_error: Float,
}
crate::tree!(Losses { loss, grad_norm, q_mean, q_max, q_min, target_mean, td_error });

/// What is fixed about how the worth of actions is learned.
pub struct Estimator {
    pub network: QNetwork,
    pub num_actions: usize,
    pub target_q_clip: Option<f64>,
}

/// The numbers of the loss that may change without compiling again, f32 scalars.
#[derive(Clone, Copy)]
pub struct Scale {
    pub gamma: Float,
    /// Errors above it count in proportion, not by their square.
    pub huber_delta: Float,
}

impl Estimator {
    fn values(&self, params: &QParams, seen: &Seen) -> Float {
        self.network.values(params, seen.obs, seen.mask(self.num_actions))
    }

    /// The gradient of the loss on a batch by all online parameters, as one vector, what is told of it, and the errors f32`[N]` of
    /// the first network. `weights` are those of the transitions, f32`[N]`, all 1 if there are none.
    pub fn gradient(
        &self,
        scale: Scale,
        online: &Networks,
        target: &Networks,
        batch: &Experience,
        weights: Option<Float>,
    ) -> (Float, Losses, Float) {
        let targets = self.targets(scale.gamma, online, target, batch);
        let (_, (losses, error), gradient) =
            value_and_grad(online, |online| self.loss(scale.huber_delta, &online, batch, targets, weights));
        (ravel(&gradient), losses, error)
    }

    /// What the actions of a batch should be worth, f32`[N]`: the reward and, discounted, what the target networks say that the
    /// action is worth which the online network would take next.
    pub fn targets(&self, gamma: Float, online: &Networks, target: &Networks, batch: &Experience) -> Float {
        let next = &batch.next;
        let choice = greedy(self.values(&online.first, next), next.mask(self.num_actions));
        let worth = |params: &QParams| of(self.values(params, next), choice);
        let bootstrap = worth(&target.first);
        let bootstrap = match &target.second {
            Some(second) => bootstrap.minimum(worth(second)),
            None => bootstrap,
        };
        let steps = batch.steps.as_f32();
        let discount = select(steps.gt(0.0), gamma.fill(&steps.shape()).pow(steps), 0.0);
        let targets = batch.reward + discount * bootstrap;
        match self.target_q_clip {
            Some(limit) => targets.clamp(-limit, limit),
            None => targets,
        }
    }

    /// The loss, with what is told of it, and the errors f32`[N]` of the first network. Each network has its own mean over the batch.
    fn loss(
        &self,
        huber_delta: Float,
        online: &Networks,
        batch: &Experience,
        targets: Float,
        weights: Option<Float>,
    ) -> (Float, (Losses, Float)) {
        let loss = |params: &QParams| {
            let worth = of(self.values(params, &batch.seen), batch.action.as_i32());
            let error = worth - targets;
            let each = huber(error, huber_delta);
            (weights.map_or(each, |weights| each * weights).mean_all(), worth, error.abs())
        };
        let (first, worth, error) = loss(&online.first);
        let total = online.second.as_ref().map_or(first, |second| first + loss(second).0);
        let losses = Losses {
            loss: total,
            grad_norm: float(0.0),
            q_mean: worth.mean_all(),
            q_max: worth.max_all(),
            q_min: worth.min_all(),
            target_mean: targets.mean_all(),
            td_error: error.mean_all(),
        };
        (total, (losses, error))
    }
}

/// The target parameters, as one vector, after a step: where it is `due`, the online ones, or, with `tau`, so far on the way to them.
#[track_caller]
pub fn follow(target: Float, online: Float, tau: Option<Float>, due: Bool) -> Float {
    rare(due, target, |target| match tau {
        None => online,
        Some(tau) => target + tau * (online - target),
    })
}

/// The value of one action in each row `[N, A]`.
fn of(values: Float, action: Int) -> Float {
    let shape = values.shape();
    let chosen = iota(DType::I32, &shape, 1).eq(action.broadcast(1, shape[1]));
    select(chosen, values, 0.0).sum([1])
}

/// Half the square of errors up to `delta`, on from there a line (Huber 1964). An infinite `delta` leaves half the square.
fn huber(error: Float, delta: Float) -> Float {
    let distance = error.abs();
    let curved = distance.minimum(delta.fill(&distance.shape()));
    curved * (distance - curved * 0.5)
}

impl Losses {
    /// The gradient and what is told of it over the equal batches of all devices, from those of this one, number `device`: in one sum, for
    /// each costs a meeting of all.
    pub fn over_devices(self, gradient: Float, num_devices: usize, device: Int) -> (Float, Losses) {
        if num_devices == 1 {
            return (gradient, self);
        }
        let own = arange(num_devices).eq(device);
        let in_own_place = |x: Float| select(own, x.fill(&[num_devices]), 0.0);
        let part = |x: Float| x / num_devices as f64;
        let means = [self.loss, self.q_mean, self.target_mean, self.td_error].map(part);
        let own = (part(gradient), means, [self.q_max, self.q_min].map(in_own_place));
        let (gradient, [loss, q_mean, target_mean, td_error], [q_max, q_min]) =
            unravel(&own, all_reduce(ravel(&own)));
        let (q_max, q_min) = (q_max.max_all(), q_min.min_all());
        (gradient, Losses { loss, q_mean, target_mean, td_error, q_max, q_min, ..self })
    }

    /// Where there was no gradient step.
    pub fn none() -> Losses {
        let zero = float(0.0);
        Losses {
            loss: zero,
            grad_norm: zero,
            q_mean: zero,
            q_max: zero,
            q_min: zero,
            target_mean: zero,
            td_error: zero,
        }
    }

    /// Records the means over the gradient steps, `[T, U]`, of those steps of the environments that have `learned`, `[T]`.
    pub fn record(&self, m: &mut Recorder, learned: Float) {
        let updates = self.loss.shape()[1];
        let count = (learned.sum_all() * updates as f64).maximum(1.0);
        for (name, x, about) in [
            ("train/loss", self.loss, "the loss of what actions are worth, which is minimized"),
            ("train/grad_norm", self.grad_norm, "norm of the gradient before it is clipped"),
            ("train/q_mean", self.q_mean, "mean of what the actions of a batch are worth by the network"),
            ("train/q_max", self.q_max, "the largest of these in a batch"),
            ("train/q_min", self.q_min, "the smallest of these in a batch"),
            ("train/target_mean", self.target_mean, "mean of what they should be worth"),
            ("train/td_error", self.td_error, "mean distance between the two"),
        ] {
            m.value(name, x.sum_all() / count).describe("", about);
        }
    }
}
