//! Generalized advantage estimation (Schulman et al. 2016), and the moments by which advantages are normalized.

use crate::lang::{Bool, Float, all_gather, concatenate, linear_recurrence_reverse, select, stack};

/// Advantages and returns `[T, B]` from rewards, values and ends `[T, B]` and the values `[B]` after the
/// last step. A step that was cut off counts as an end whose reward already contains the
/// discounted value of what would have followed.
#[track_caller]
pub fn gae(
    rewards: Float,
    values: Float,
    dones: Bool,
    last_value: Float,
    gamma: Float,
    lambda: Float,
) -> (Float, Float) {
    let (goes_on, delta) = differences(rewards, values, dones, last_value, gamma);
    let advantages = linear_recurrence_reverse(gamma * lambda * goes_on, delta, last_value.full_like(0.0));
    (advantages, advantages + values)
}

/// As [`gae`], with V-trace's clips (Espeholt et al. 2018): an action that has become `ratio` times as probable, `[T, B]`, counts so much,
/// but no more than the first clip; and what comes after it no more than the second one. With ratios of 1 and clips of at least 1 the two
/// are the same.
#[track_caller]
pub fn vtrace(
    rewards: Float,
    values: Float,
    dones: Bool,
    ratios: Float,
    last_value: Float,
    (gamma, lambda): (Float, Float),
    [rho_clip, c_clip]: [f64; 2],
) -> (Float, Float) {
    let (goes_on, delta) = differences(rewards, values, dones, last_value, gamma);
    let factors = gamma * lambda * ratios.minimum(c_clip) * goes_on;
    let advantages =
        linear_recurrence_reverse(factors, ratios.minimum(rho_clip) * delta, last_value.full_like(0.0));
    (advantages, advantages + values)
}

/// 1 where the episode goes on after a step and 0 where it ends, and the temporal differences, all `[T, B]`.
#[track_caller]
fn differences(
    rewards: Float,
    values: Float,
    dones: Bool,
    last_value: Float,
    gamma: Float,
) -> (Float, Float) {
    let goes_on = select(dones, values.full_like(0.0), values.full_like(1.0));
    let later = values.slice(0, 1..values.shape()[0]);
    let next_values = concatenate(0, [later, last_value.expand_dims(0)]);
    (goes_on, rewards + gamma * next_values * goes_on - values)
}

/// Mean and population standard deviation, `[M]` each, of the rows of x `[M, N]` and those of the other devices.
#[track_caller]
pub fn mean_and_std(x: Float, num_devices: usize) -> (Float, Float) {
    let size = x.shape()[1];
    let own_mean = x.mean([1]);
    let own_variance = (x - own_mean.broadcast(1, size)).square().mean([1]);
    let all = all_gather(stack([own_mean, own_variance]), num_devices);
    pooled(all.index(1, 0), all.index(1, 1))
}

/// Mean and unbiased standard deviation, f32 scalars, of all numbers of `x` and of those of the other devices.
#[track_caller]
pub fn mean_and_unbiased_std(x: Float, num_devices: usize) -> (Float, Float) {
    let count = x.size() * num_devices;
    let (mean, std) = mean_and_std(x.reshape([1, x.size()]), num_devices);
    let correction = (count as f64 / (count.max(2) - 1) as f64).sqrt();
    (mean.squeeze(0), std.squeeze(0) * correction)
}

/// How much of the variance of targets their estimates explain, an f32 scalar: 1 if all of it, 0 if no more than their mean would.
#[track_caller]
pub fn explained_variance(target: Float, value: Float, num_devices: usize) -> Float {
    let variance = |x: Float| mean_and_unbiased_std(x, num_devices).1.square();
    1.0 - variance(target - value) / variance(target).maximum(1e-8)
}

/// Mean and standard deviation, `[M]` each, of samples of equal size that have these means and variances, `[D, M]` each.
fn pooled(means: Float, variances: Float) -> (Float, Float) {
    let mean = means.mean([0]);
    let between = (means - mean.broadcast(0, means.shape()[0])).square();
    (mean, (variances + between).mean([0]).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, float, trace};

    fn advantages(
        rewards: [f32; 3],
        values: [f32; 3],
        dones: [bool; 3],
        last: f32,
        gl: [f64; 2],
    ) -> Vec<f64> {
        let traced = trace(&(), |()| {
            let column = |x: [f32; 3]| -> Float { constant(x).reshape([3, 1]) };
            gae(
                column(rewards),
                column(values),
                constant(dones).reshape([3, 1]),
                constant([last]),
                float(gl[0]),
                float(gl[1]),
            )
        });
        interpret(&traced.graph, &[])[0].to_f64()
    }

    fn assert_near(found: Vec<f64>, expected: [f64; 3]) {
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < 1e-5, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn the_worked_example_of_the_specification() {
        let found = advantages([1.0, 2.0, 3.0], [0.0; 3], [false; 3], 0.0, [0.9, 0.8]);
        assert_near(found, [3.9952, 4.16, 3.0]);
    }

    #[test]
    fn without_discount_it_is_reward_minus_value() {
        let found = advantages([1.0, 2.0, 3.0], [0.5, 1.0, -1.0], [false; 3], 9.0, [0.0, 0.95]);
        assert_near(found, [0.5, 1.0, 4.0]);
    }

    /// The numbers of PufferLib's own code, which stores a reward and an end with the observation that they came with: one step later. Its
    /// last step has no advantage, as one here that ends with its value for a reward.
    #[test]
    fn clips_of_vtrace_bound_what_an_action_counts() {
        let found = |ratios: [f32; 5]| {
            let traced = trace(&(), |()| {
                let column = |x: [f32; 5]| -> Float { constant(x).reshape([5, 1]) };
                vtrace(
                    column([1.0, 0.0, -1.0, 0.5, 0.1]),
                    column([0.5, 0.4, 0.3, 0.2, 0.1]),
                    constant([false, true, false, false, true]).reshape([5, 1]),
                    column(ratios),
                    constant([7.0f32]),
                    (float(0.9), float(0.8)),
                    [1.0, 1.0],
                )
            });
            interpret(&traced.graph, &[])[0].to_f64()
        };
        let near = |found: Vec<f64>, expected: [f64; 5]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
        };
        near(found([1.0; 5]), [0.572, -0.4, -0.8392, 0.39, 0.0]);
        near(found([1.2, 0.8, 1.0, 0.5, 1.0]), [0.6296, -0.32, -0.9796, 0.195, 0.0]);
    }

    #[test]
    fn moments_of_parts_make_those_of_the_whole() {
        // 1, 3 and 4, 8: means 2 and 6, variances 1 and 4; together the mean 4 and the variance 26 / 4.
        let parts = |values: [f32; 2]| constant(values).reshape([2, 1]);
        let traced = trace(&(), |()| pooled(parts([2.0, 6.0]), parts([1.0, 4.0])));
        let moments = interpret(&traced.graph, &[]);
        assert_eq!(moments[0].to_f64(), [4.0]);
        assert!((moments[1].to_f64()[0] - 6.5f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn nothing_flows_through_an_end() {
        let found = advantages([1.0, 2.0, 3.0], [0.0; 3], [false, true, false], 10.0, [0.5, 1.0]);
        assert_near(found, [2.0, 2.0, 8.0]);
    }
}
