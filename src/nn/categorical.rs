//! The policy's distribution over discrete actions, with invalid actions masked out.
//!
//! An invalid action has probability 0 exactly: its logit becomes -1e9, whose exponential vanishes. A mask that
//! allows nothing is treated as allowing everything.

use crate::array::DType;
use crate::lang::{Bool, Float, Int, Key, iota, select, vmap};

const MASKED_LOGIT: f64 = -1e9;

/// Log-probabilities `[N, A]` of the actions, and which are valid.
#[derive(Clone, Copy)]
pub struct Categorical {
    log_probs: Float,
    mask: Option<Bool>,
}

impl Categorical {
    /// From logits `[N, A]` and the mask of valid actions `[N, A]`.
    #[track_caller]
    pub fn new(logits: Float, mask: Option<Bool>) -> Self {
        let mask = mask.map(|mask| {
            let nothing = !mask.any([1]);
            mask | nothing.broadcast(1, mask.shape()[1])
        });
        let logits = match mask {
            Some(mask) => select(mask, logits, MASKED_LOGIT),
            None => logits,
        };
        Categorical { log_probs: logits.log_softmax(1), mask }
    }

    /// One action i32`[N]` per row, by the Gumbel-max trick; `keys` is an array of keys `[N, 2]`.
    #[track_caller]
    pub fn sample(&self, keys: Key) -> Int {
        let num_actions = self.log_probs.shape()[1];
        let noise = vmap(keys, |key| key.gumbel([num_actions]));
        (self.log_probs + noise).argmax(1)
    }

    /// The most probable action i32`[N]` of each row.
    #[track_caller]
    pub fn mode(&self) -> Int {
        self.log_probs.argmax(1)
    }

    /// Log-probabilities `[N]` of actions i32`[N]`.
    #[track_caller]
    pub fn log_prob(&self, actions: Int) -> Float {
        let shape = self.log_probs.shape();
        let chosen = iota(DType::I32, &shape, 1).eq(actions.broadcast(1, shape[1]));
        select(chosen, self.log_probs, 0.0).sum([1])
    }

    /// Probabilities `[N, A]`.
    #[track_caller]
    pub fn probs(&self) -> Float {
        self.log_probs.exp()
    }

    /// Entropies `[N]` in nats, over the valid actions.
    #[track_caller]
    pub fn entropy(&self) -> Float {
        let terms = self.probs() * self.log_probs;
        let terms = match self.mask {
            Some(mask) => select(mask, terms, 0.0),
            None => terms,
        };
        -terms.sum([1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    #[test]
    fn masks_are_exact_and_an_empty_mask_allows_everything() {
        let traced = trace(&(), |()| {
            let logits = constant([1.0f32, 2.0, 3.0, 1.0, 2.0, 3.0]).reshape([2, 3]);
            let mask = constant([true, false, true, false, false, false]).reshape([2, 3]);
            let policy = Categorical::new(logits, Some(mask));
            (policy.probs(), policy.entropy())
        });
        let results = interpret(&traced.graph, &[]);
        let probs = results[0].to_f64();
        assert_eq!(probs[1], 0.0);
        let p = 1.0 / (1.0 + 2f64.exp());
        assert!((probs[0] - p).abs() < 1e-6);
        assert!((probs[3..].iter().sum::<f64>() - 1.0).abs() < 1e-6 && probs[4] > 0.2);
        let entropy = -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert!((results[1].to_f64()[0] - entropy).abs() < 1e-6);
    }

    #[test]
    fn uniform_logits_have_the_known_entropies() {
        let traced = trace(&(), |()| {
            let logits = Float::full([1, 28], 0.0);
            let two = crate::lang::arange(28).lt(2).expand_dims(0);
            (Categorical::new(logits, None).entropy(), Categorical::new(logits, Some(two)).entropy())
        });
        let results = interpret(&traced.graph, &[]);
        assert!((results[0].to_f64()[0] - 28f64.ln()).abs() < 1e-6);
        assert!((results[1].to_f64()[0] - 2f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn samples_follow_the_probabilities_and_never_the_mask() {
        const N: usize = 4000;
        let traced = trace(&(), |()| {
            let logits = constant([0.0f32, 1.0, 5.0, -1.0]).broadcast(0, N);
            let mask = constant([true, true, false, true]).broadcast(0, N);
            Categorical::new(logits, Some(mask)).sample(Key::new(3).split_many(N))
        });
        let actions = interpret(&traced.graph, &[])[0].to_f64();
        let share = |a: f64| actions.iter().filter(|&&x| x == a).count() as f64 / N as f64;
        assert_eq!(share(2.0), 0.0);
        let total = 1.0 + 1f64.exp() + (-1f64).exp();
        for (action, weight) in [(0.0, 1.0), (1.0, 1f64.exp()), (3.0, (-1f64).exp())] {
            let p = weight / total;
            assert!((share(action) - p).abs() < 4.0 * (p * (1.0 - p) / N as f64).sqrt());
        }
    }
}
