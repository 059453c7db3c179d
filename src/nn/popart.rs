//! PopArt: a value function whose numbers are about 1, however large returns are (van Hasselt et al. 2016, "Learning values across
//! many orders of magnitude").
//!
//! The network learns targets from which their mean is subtracted and which are divided by their standard deviation. Both follow
//! the targets; whenever they change, the last layer changes with them, so that every value stays what it was.

use crate::lang::{Float, float};

use super::Dense;

/// Statistics of the targets: f32 scalars.
#[derive(Clone, Copy, Debug)]
pub struct PopArt {
    pub mean: Float,
    pub std: Float,
    /// How often they have followed the targets.
    pub count: Float,
}
crate::tree!(PopArt { mean, std, count });

/// The least standard deviation.
const LEAST_STD: f64 = 1e-4;
/// What is added to a standard deviation before something is divided by it.
const EPSILON: f64 = 1e-8;

impl PopArt {
    /// Before there were any targets: values stay as they are.
    #[track_caller]
    pub fn begin() -> PopArt {
        PopArt { mean: float(0.0), std: float(1.0), count: float(0.0) }
    }

    /// Values as the network is taught them.
    #[track_caller]
    pub fn normalize(&self, values: Float) -> Float {
        (values - self.mean) / (self.std + EPSILON)
    }

    /// Values in the unit of rewards, of those that the network gives.
    #[track_caller]
    pub fn denormalize(&self, values: Float) -> Float {
        self.mean + self.std * values
    }

    /// The statistics after targets with this mean and standard deviation, f32 scalars. All targets so far count alike, but the
    /// latest ones never for less than `beta_min`.
    #[track_caller]
    pub fn follow(&self, mean: Float, std: Float, beta_min: f64) -> PopArt {
        let count: Float = self.count + 1.0;
        let beta: Float = 1.0 / count;
        let beta = beta.maximum(beta_min);
        let mix = |before: Float, now: Float| (1.0 - beta) * before + beta * now;
        let square = mix(self.std.square(), std.maximum(LEAST_STD).square());
        PopArt { mean: mix(self.mean, mean), std: square.sqrt().maximum(LEAST_STD), count }
    }

    /// The last layer that gives with these statistics the values that `layer` gave with those of `before`.
    #[track_caller]
    pub fn rescale(&self, before: &PopArt, layer: Dense) -> Dense {
        let Dense { kernel, bias } = layer.times(self.factor(before));
        Dense { kernel, bias: bias + (before.mean - self.mean) / (self.std + EPSILON) }
    }

    /// By what the last layer is multiplied when `before` becomes this, and with it the mean of its gradients.
    #[track_caller]
    pub fn factor(&self, before: &PopArt) -> Float {
        before.std / (self.std + EPSILON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    #[test]
    fn values_stay_what_they_were() {
        let traced = trace(&(), |()| {
            let kernel: Float = constant([0.5f32, -2.0]).reshape([2, 1]);
            let layer = Dense { kernel, bias: constant([0.25f32]) };
            let features: Float = constant([1.0f32, 2.0, -3.0, 0.5]).reshape([2, 2]);
            let before = PopArt::begin().follow(float(3.0), float(20.0), 0.1);
            let after = before.follow(float(-100.0), float(0.5), 0.1);
            let rescaled = after.rescale(&before, layer);
            let values = |popart: PopArt, layer: Dense| popart.denormalize(layer.apply(features));
            (
                values(before, layer),
                values(after, rescaled),
                [after.mean, after.std],
                after.normalize(after.mean),
            )
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        let pairs = found[0].iter().zip(&found[1]);
        assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-3), "{found:?}");
        // The second targets count for a half: (3 - 100) / 2, and the root of (400 + 0.25) / 2.
        assert!(
            (found[2][0] + 48.5).abs() < 1e-4 && (found[3][0] - 200.125f64.sqrt()).abs() < 1e-4,
            "{found:?}"
        );
        assert_eq!(found[4], [0.0]);
    }
}
