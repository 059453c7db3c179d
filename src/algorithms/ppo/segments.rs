//! Gradient steps that look at the rollout anew: before each of them the advantages of all segments are estimated again, with what earlier
//! steps have found out since, and some segments are drawn more often than others.
//!
//! This is how PufferLib trains. A segment is an environment with all its steps of the rollout. Its buffers say by how much its actions have
//! become more probable than in the rollout (for V-trace, Espeholt et al. 2018), and what its states are worth, when a gradient step last
//! read it. Unlike there, the last step of a segment has an advantage, too, by the value of what follows on it.

use crate::algorithms::advantage::{mean_and_unbiased_std, vtrace};
use crate::algorithms::learner::Inputs;
use crate::algorithms::minibatch::Permutation;
use crate::algorithms::rollout::{Memory, Transition};
use crate::lang::{Bool, Float, Int, Key, arange, float, put_tree, scan, select, swap_first_axes, vmap};
use crate::nn::Network;

use super::samples::Sample;
use super::{Hyper, Learned, Near, Ppo, Settings, Sides};

/// A rollout in segments.
pub struct Segments {
    /// `[S, T, ...]`; its advantages and targets are those of the rollout.
    pub sample: Sample,
    /// `[T, S]` each.
    reward: Float,
    done: Bool,
    /// `[S]`, after the last step.
    last_value: Float,
}

/// What gradient steps have found out, `[S, T]` each.
#[derive(Clone, Copy)]
struct Buffers {
    ratio: Float,
    value: Float,
}
crate::tree!(Buffers { ratio, value });

impl Segments {
    /// Those of a rollout that began with this memory.
    pub fn of(
        t: Transition,
        advantage: Float,
        target: Float,
        memory: Option<Memory>,
        last_value: Float,
    ) -> Segments {
        let Transition { reward, done, .. } = t;
        Segments { sample: Sample::segments(t, advantage, target, memory), reward, done, last_value }
    }
}

impl<N: Network + Clone + 'static> Ppo<N> {
    /// As [`Ppo::improve`], with segments.
    pub(super) fn improve_segments(
        &self,
        inputs: &Inputs<Hyper>,
        hyper: &Hyper,
        like: &N::Params,
        start: (Learned<Float>, Sides, Near),
        segments: &Segments,
        key: Key,
    ) -> (Learned<Float>, Float, Float) {
        let [shuffle_key, draw_key] = key.fold_in(inputs.device()).split();
        let (count, steps) = (self.settings.gradient_steps(), segments.sample.steps());
        let rows = segments.sample.action.shape()[0];
        let size = rows / self.settings.num_minibatches;
        let shuffled = self.shuffled(shuffle_key, rows).reshape([self.settings.passes() * rows / size, size]);
        let buffers = Buffers {
            ratio: Float::full([rows, steps], 1.0),
            value: segments.sample.value.reshape([rows, steps]),
        };
        let xs = (shuffled.slice(0, 0..count), arange(count));
        let ((learned, ..), outputs) = scan((start, buffers), xs, |(now, buffers), (shuffled, number)| {
            let (advantage, target) = self.advantages(hyper, segments, &buffers);
            let draw = self.settings.options.prio_alpha.map(|alpha| {
                let share = inputs.done_share();
                self.draw(advantage, alpha, share, size, draw_key.fold_in(number))
            });
            let (chosen, weight) = draw.unwrap_or_else(|| (shuffled, Float::full([rows], 1.0)));
            let (mean, std) = mean_and_unbiased_std(advantage.take(chosen, 0), inputs.num_devices);
            let normal = (advantage - mean) / (std + 1e-8) * weight.broadcast(1, steps);
            let sample =
                Sample { advantage: normal, target, value: buffers.value, ..segments.sample.clone() };
            let buffers = self.refresh(like, &now.0, &sample, chosen, buffers);
            let moments = (float(0.0), float(1.0));
            let (now, outputs) =
                self.descend_while_near(inputs, hyper, like, now, (&sample, chosen), moments);
            ((now, buffers), outputs)
        });
        let (losses, norms) = outputs;
        (learned.0, losses, norms)
    }

    /// Advantages and targets `[S, T]` by the buffers.
    fn advantages(&self, hyper: &Hyper, segments: &Segments, buffers: &Buffers) -> (Float, Float) {
        let Segments { reward, done, last_value, .. } = *segments;
        let Buffers { ratio, value } = swap_first_axes(*buffers);
        let Settings { ref options, .. } = self.settings;
        let clips = [options.vtrace_rho, options.vtrace_c].map(|clip| clip.unwrap_or(f64::INFINITY));
        let ratio = if options.has_vtrace() { ratio } else { ratio.full_like(1.0) };
        let Hyper { gamma, gae_lambda, .. } = *hyper;
        swap_first_axes(vtrace(reward, value, done, ratio, last_value, (gamma, gae_lambda), clips))
    }

    /// Draws `size` segments, each with a probability that grows with its advantages `[S, T]`, and gives all the weights `[S]` by which
    /// that is made good for, the more the larger the share of the run that is done.
    fn draw(&self, advantage: Float, alpha: f64, share: Float, size: usize, key: Key) -> (Int, Float) {
        let probability = priorities(advantage, alpha);
        let beta = self.settings.options.prio_beta;
        let beta = share * ((1.0 - beta) * alpha) + beta;
        let weight = (probability * probability.shape()[0] as f64).pow(-beta.fill(&probability.shape()));
        (choose(probability, key.uniform([size], 0.0..1.0)), weight)
    }

    /// The buffers after a look at the `chosen` segments with parameters as they are.
    fn refresh(
        &self,
        like: &N::Params,
        learned: &Learned<Float>,
        sample: &Sample,
        chosen: Int,
        old: Buffers,
    ) -> Buffers {
        let options = &self.settings.options;
        if !options.has_vtrace() && !options.value_update {
            return old;
        }
        let params = crate::lang::unravel(like, learned.params);
        let own = crate::lang::take_tree(sample, chosen);
        let has_memory = own.memory.is_some();
        let (rows, steps) = (chosen.shape()[0], own.steps());
        let (distribution, value, own) = self.evaluate(&params, own);
        let ratio = (distribution.log_prob(own.action) - own.log_prob).exp();
        // What is remembered is unrolled step by step, so the steps come first.
        let segments = |x: Float| match has_memory {
            true => x.reshape([steps, rows]).transpose([1, 0]),
            false => x.reshape([rows, steps]),
        };
        let value = if options.value_update { segments(value) } else { old.value.take(chosen, 0) };
        put_tree(old, chosen, &Buffers { ratio: segments(ratio), value })
    }

    /// The rows in an order of their own for each pass, `[passes, rows]`.
    pub(super) fn shuffled(&self, key: Key, rows: usize) -> Int {
        vmap(arange(self.settings.passes()), |epoch: Int| {
            Permutation::new(key.fold_in(epoch), rows).apply(arange(rows))
        })
    }
}

/// The probabilities `[S]` by which segments with these advantages `[S, T]` are drawn.
#[track_caller]
fn priorities(advantage: Float, alpha: f64) -> Float {
    let weight = advantage.abs().sum([1]).pow(float(alpha).fill(&[advantage.shape()[0]]));
    let weight = select(weight.is_finite(), weight, 0.0);
    (weight + 1e-6) / (weight.sum_all() + 1e-6)
}

/// The numbers (i32) that fall to uniform draws from 0 to 1 `[M]`, each with its probability `[S]`.
#[track_caller]
fn choose(probability: Float, draws: Float) -> Int {
    let count = probability.shape()[0];
    let sums = probability.cumsum(0);
    let draws = draws * sums.index(0, count - 1);
    let passed = sums.broadcast(0, draws.shape()[0]).le(draws.broadcast(1, count));
    passed.as_i32().sum([1]).minimum(count as i32 - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    #[test]
    fn segments_are_drawn_by_their_advantages() {
        let traced = trace(&(), |()| {
            let advantage: Float = constant([1.0f32, -3.0, 0.0, 0.0, 2.0, 14.0]);
            let p = priorities(advantage.reshape([3, 2]), 0.5);
            (p, choose(p, constant([0.0f32, 0.3, 0.34, 0.99999])))
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        // The roots of 4, 0 and 16.
        for (p, expected) in found[0].iter().zip([1.0 / 3.0, 1e-6 / 6.0, 2.0 / 3.0]) {
            assert!((p - expected).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(found[1], [0.0, 0.0, 2.0, 2.0]);
    }
}
