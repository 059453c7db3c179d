//! The parts of PPO's loss and what is reported of them.

use crate::algorithms::metrics::{Check, Recorder, Values};
use crate::envs::health::Range;
use crate::lang::{Bool, Float, boolean, float, select};

use super::{Hyper, Settings};

/// Means over the samples of a minibatch.
#[derive(Clone, Copy)]
pub struct Losses {
    pub pg_loss: Float,
    pub vf_loss: Float,
    pub entropy: Float,
    pub approx_kl: Float,
    pub clip_frac: Float,
    /// The probability ratio.
    pub importance: Float,
    /// The value loss with clipped values, where the larger one of the two means counts.
    pub clipped_vf_loss: Option<Float>,
}
crate::tree!(Losses { pg_loss, vf_loss, entropy, approx_kl, clip_frac, importance, clipped_vf_loss });

/// Their names, in order; the last one is seldom there.
pub const LOSSES: [&str; 7] =
    ["pg_loss", "vf_loss", "entropy", "approx_kl", "clip_frac", "importance", "clipped_vf_loss"];

/// Which side of its kinks the loss of a minibatch is on, where it has any: two of its terms are not means over samples but maxima of
/// such means, so what a sample contributes is known when the means are.
#[derive(Clone, Copy)]
pub struct Sides {
    /// The mean entropy is below the floor.
    below_floor: Option<Bool>,
    /// Of the value losses the one with clipped values is larger.
    clipped: Option<Bool>,
}
crate::tree!(Sides { below_floor, clipped });

impl Sides {
    /// A guess, before anything is known.
    pub fn guess(settings: &Settings) -> Sides {
        let no = |has_kink: bool| has_kink.then(|| boolean(false));
        Sides { below_floor: no(settings.entropy_floor.is_some()), clipped: no(settings.clip_vloss_of_means) }
    }

    /// The sides that follow from the means over the whole minibatch.
    pub fn of(hyper: &Hyper, losses: &Losses) -> Sides {
        Sides {
            below_floor: hyper.floor.map(|floor| losses.entropy.lt(floor.entropy)),
            clipped: losses.clipped_vf_loss.map(|clipped| clipped.gt(losses.vf_loss)),
        }
    }

    /// Whether there are no kinks.
    pub fn is_plain(&self) -> bool {
        self.below_floor.is_none() && self.clipped.is_none()
    }

    /// Whether the two are different sides.
    pub fn differ(&self, other: &Sides) -> Bool {
        let differ = |a: Option<Bool>, b: Option<Bool>| a.zip(b).map_or(boolean(false), |(a, b)| a ^ b);
        differ(self.below_floor, other.below_floor) | differ(self.clipped, other.clipped)
    }

    /// What part of a minibatch contributes to the loss, but for a constant.
    pub fn contribution(&self, hyper: &Hyper, losses: &Losses) -> Float {
        let loss = plain_loss(hyper, &self.chosen(losses));
        match (self.below_floor, hyper.floor) {
            (Some(below), Some(floor)) => loss - select(below, floor.penalty, 0.0) * losses.entropy,
            _ => loss,
        }
    }

    /// The losses of which the value loss is the larger one.
    pub fn chosen(&self, losses: &Losses) -> Losses {
        let larger = |(clipped, vf_loss): (Bool, Float)| select(clipped, vf_loss, losses.vf_loss);
        Losses { vf_loss: self.clipped.zip(losses.clipped_vf_loss).map_or(losses.vf_loss, larger), ..*losses }
    }
}

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
pub fn no_losses(settings: &Settings) -> Losses {
    let zero = float(0.0);
    let clipped_vf_loss = settings.clip_vloss_of_means.then_some(zero);
    Losses {
        pg_loss: zero,
        vf_loss: zero,
        entropy: zero,
        approx_kl: zero,
        clip_frac: zero,
        importance: zero,
        clipped_vf_loss,
    }
}

/// What is minimized.
pub fn total_loss(hyper: &Hyper, losses: &Losses) -> Float {
    let loss = plain_loss(hyper, losses);
    match hyper.floor {
        None => loss,
        Some(floor) => loss + floor.penalty * (floor.entropy - losses.entropy).maximum(0.0),
    }
}

/// Without what is paid for an entropy below the floor.
fn plain_loss(hyper: &Hyper, losses: &Losses) -> Float {
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
            .describe("", "pg_loss + vf_coef * vf_loss + ent_coef * ent_loss, and the penalty of an entropy floor: what is minimized");
        m.value(APPROX_KL, self.approx_kl)
            .describe("nats", "estimate of the KL divergence from the policy that collected the experience")
            .healthy(Range::new(f64::NEG_INFINITY, 0.06, "the policy changes too fast", RATE_ADVICE));
        m.value(CLIP_FRAC, self.clip_frac)
            .describe("share", "samples whose probability ratio is further from 1 than clip_eps")
            .healthy(Range::new(f64::NEG_INFINITY, 0.30, "too much is clipped", RATE_ADVICE));
        m.value("train/importance", self.importance)
            .describe("", "mean probability ratio of the actions, now to when they were taken");
    }

    /// The numbers of this update that change over the run, beside the learning rate.
    pub fn record_scheduled(m: &mut Recorder, hyper: &Hyper) {
        if hyper.ends.clip_eps.is_some() {
            m.value("train/clip_eps", hyper.clip_eps)
                .describe("", "how far the probability ratio may move before its gradient is clipped");
        }
        if hyper.ends.ent_coef.is_some() {
            m.value("train/ent_coef", hyper.ent_coef).describe("", "weight of the entropy bonus");
        }
        if let Some(floor) = hyper.floor {
            m.value("train/entropy_floor", floor.entropy)
                .describe("nats", "mean entropy below which the loss has a penalty");
        }
    }
}
