//! The parts of PPO's loss and what is reported of them.

use crate::algorithms::metrics::{Check, Recorder, Values};
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

const ENTROPY: &str = "train/entropy";
const MAX_ENTROPY: &str = "train/max_entropy";
const PG_LOSS: &str = "train/pg_loss";
const VF_LOSS: &str = "train/vf_loss";
const APPROX_KL: &str = "train/approx_kl";
const CLIP_FRAC: &str = "train/clip_frac";

/// The entropy as a share of that of random play, which chooses among the valid actions alike.
fn relative_entropy(row: Values) -> Option<f64> {
    let most = row(MAX_ENTROPY).filter(|most| *most > 0.0)?;
    Some(row(ENTROPY)? / most)
}

const COLLAPSE: Check = Check {
    title: "entropy collapse",
    rule: "",
    is_bad: |row| {
        let still = row(APPROX_KL)?.abs() < 1e-5 && row(CLIP_FRAC)? < 1e-4;
        Some(relative_entropy(row)? < 0.02 && still)
    },
    rows: 1,
    advice: "stop at once, raise --ent-coef (0.15 or 0.2) and start afresh, for a collapsed model does not recover; --ent-coef of at \
             least 0.1 prevents it",
};

const LOW_ENTROPY: Check = Check {
    title: "entropy is low",
    rule: "at least a tenth of `train/max_entropy`",
    is_bad: |row| Some(relative_entropy(row)? < 0.1),
    rows: 5,
    advice: "that is less than a tenth of random play's (train/max_entropy); if the return does not rise, start afresh with a higher \
             --ent-coef",
};

const NO_ADVANTAGE: Check = Check {
    title: "nothing is learned",
    rule: "not 0",
    is_bad: |row| Some(row(PG_LOSS)?.abs() < 1e-7),
    rows: 5,
    advice: "a policy loss of zero means no advantage: look at the rewards, or raise --ent-coef and start afresh",
};

const NO_VALUE: Check = Check {
    title: "the value function is dead",
    rule: "not 0",
    is_bad: |row| Some(row(VF_LOSS)?.abs() < 1e-9),
    rows: 5,
    advice: "it has nothing to predict: look at the rewards",
};

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
        m.value(PG_LOSS, self.pg_loss)
            .describe("", "policy loss: the clipped surrogate objective, negated")
            .check(NO_ADVANTAGE);
        m.value(VF_LOSS, self.vf_loss)
            .describe("", "value loss: half the mean squared error of the value")
            .check(NO_VALUE);
        m.value("train/ent_loss", -self.entropy)
            .describe("nats", "the entropy negated, as it enters the loss");
        m.value(ENTROPY, self.entropy)
            .describe("nats", "mean entropy of the policy over the actions")
            .check(COLLAPSE)
            .check(LOW_ENTROPY);
        m.mean(MAX_ENTROPY, max_entropy, steps)
            .describe("nats", "mean logarithm of the number of valid actions: the entropy of random play");
        m.value("train/total_loss", total_loss(hyper, self))
            .describe("", "pg_loss + vf_coef * vf_loss + ent_coef * ent_loss: what is minimized");
        m.value(APPROX_KL, self.approx_kl)
            .describe("nats", "estimate of the KL divergence from the policy that collected the experience")
            .healthy(Range::new(f64::NEG_INFINITY, 0.06, "the policy changes too fast", RATE_ADVICE));
        m.value(CLIP_FRAC, self.clip_frac)
            .describe("share", "samples whose probability ratio is further from 1 than clip_eps")
            .healthy(Range::new(f64::NEG_INFINITY, 0.30, "too much is clipped", RATE_ADVICE));
    }
}
