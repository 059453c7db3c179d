//! The parts of PPO's loss and what is reported of them.

use crate::algorithms::metrics::Recorder;
use crate::envs::health::Range;
use crate::lang::{Float, float};

use super::Hyper;

/// Means over the samples of a minibatch.
#[derive(Clone, Copy)]
pub struct Losses {
    pub pg_loss: Float,
    pub vf_loss: Float,
    pub entropy: Float,
    pub approx_kl: Float,
    pub clip_frac: Float,
}
crate::tree!(Losses { pg_loss, vf_loss, entropy, approx_kl, clip_frac });

/// Their names, in order.
pub const LOSSES: [&str; 5] = ["pg_loss", "vf_loss", "entropy", "approx_kl", "clip_frac"];

/// What to do when the policy changes too fast.
const RATE_ADVICE: &str =
    "lower --lr, --update-epochs or the gradient steps (twice the epochs, half the rate)";

/// The sums of no samples.
pub fn no_losses() -> Losses {
    let zero = float(0.0);
    Losses { pg_loss: zero, vf_loss: zero, entropy: zero, approx_kl: zero, clip_frac: zero }
}

/// What is minimized.
pub fn total_loss(hyper: &Hyper, losses: &Losses) -> Float {
    losses.pg_loss + hyper.vf_coef * losses.vf_loss - hyper.ent_coef * losses.entropy
}

impl Losses {
    /// `max_entropy` is the sum of the largest entropies that the policy could have had in the `steps` steps.
    pub fn record(&self, m: &mut Recorder, hyper: &Hyper, max_entropy: Float, steps: usize) {
        m.value("train/pg_loss", self.pg_loss)
            .describe("", "policy loss: the clipped surrogate objective, negated");
        m.value("train/vf_loss", self.vf_loss)
            .describe("", "value loss: half the mean squared error of the value");
        m.value("train/ent_loss", -self.entropy)
            .describe("nats", "the entropy negated, as it enters the loss");
        m.value("train/entropy", self.entropy)
            .describe("nats", "mean entropy of the policy over the actions");
        m.mean("train/max_entropy", max_entropy, steps)
            .describe("nats", "mean logarithm of the number of valid actions: the entropy of random play");
        m.value("train/total_loss", total_loss(hyper, self))
            .describe("", "pg_loss + vf_coef * vf_loss + ent_coef * ent_loss: what is minimized");
        m.value("train/approx_kl", self.approx_kl)
            .describe("nats", "estimate of the KL divergence from the policy that collected the experience")
            .healthy(Range::new(f64::NEG_INFINITY, 0.06, "the policy changes too fast", RATE_ADVICE));
        m.value("train/clip_frac", self.clip_frac)
            .describe("share", "samples whose probability ratio is further from 1 than clip_eps")
            .healthy(Range::new(f64::NEG_INFINITY, 0.30, "too much is clipped", RATE_ADVICE));
    }
}
