//! Adam and the global-norm clip.

use crate::lang::{self, Float, Int, Tree, concatenate, float, int, map2};
use crate::runtime::kernels::{BETA1, BETA2};

/// Adam's state (Kingma and Ba 2015): running means of the gradient and of its square, and the number of
/// steps so far (i32), which stays at the largest number there is: long before, it makes no difference any more.
#[derive(Clone)]
pub struct Adam<P> {
    pub mean: P,
    pub square: P,
    pub count: Int,
}
crate::tree!(Adam<P> { mean, square, count });

impl<P: Tree> Adam<P> {
    pub fn new(params: &P) -> Self {
        let zeros = map2(params, params, |p, _| p.full_like(0.0));
        Adam { mean: zeros.duplicate(), square: zeros, count: int(0) }
    }

    /// One step: the new parameters and state. `lr` and `epsilon` are f32 scalars.
    pub fn step(self, params: &P, gradient: &P, lr: Float, epsilon: Float) -> (P, Self) {
        let (count, [mean_scale, square_scale]) = self.counted();
        let mean = map2(&self.mean, gradient, |m, g| m * BETA1 + g * (1.0 - BETA1));
        let square = map2(&self.square, gradient, |v, g| v * BETA2 + g.square() * (1.0 - BETA2));
        let update =
            map2(&mean, &square, |m, v| lr * (m * mean_scale) / ((v * square_scale).sqrt() + epsilon));
        (map2(params, &update, |p, u| p - u), Adam { mean, square, count })
    }

    /// The number of steps with the next one, and what makes up for the beginnings of the means.
    fn counted(&self) -> (Int, [Float; 2]) {
        let count = self.count + self.count.lt(i32::MAX).as_i32();
        let steps = count.as_f32();
        (count, [BETA1, BETA2].map(|beta| 1.0 / (1.0 - float(beta).pow(steps))))
    }
}

impl Adam<Float> {
    /// [`Adam::step`] along a gradient that is clipped to a norm of at most `max_norm`, and its norm before.
    #[track_caller]
    pub fn clipped_step(
        self,
        params: Float,
        gradient: Float,
        lr: Float,
        epsilon: Float,
        max_norm: Float,
    ) -> (Float, Self, Float) {
        let (count, [mean_scale, square_scale]) = self.counted();
        let vectors = [params, self.mean, self.square, gradient];
        let [params, mean, square, norm] =
            lang::adam(vectors, [max_norm, lr, mean_scale, square_scale, epsilon]);
        (params, Adam { mean, square, count }, norm)
    }
}

/// The gradient, as one vector, scaled so that its norm is at most `max_norm`, and the norm before.
pub fn clip_by_global_norm(gradient: Float, max_norm: Float) -> (Float, Float) {
    let norm = gradient.square().sum_all().sqrt();
    (gradient * (max_norm / norm).minimum(1.0), norm)
}

/// The gradient, as one vector, with each of its parts scaled so that the norm of the part is at most `max_norm`, and the norm of
/// each part before. `parts` says of the runs of the vector, in order, how long they are and which of the `N` parts they belong to.
pub fn clip_parts_by_norm<const N: usize>(
    gradient: Float,
    parts: &[(usize, usize)],
    max_norm: Float,
) -> (Float, [Float; N]) {
    let mut start = 0;
    let runs: Vec<(Float, usize)> = (parts.iter())
        .map(|&(size, part)| {
            start += size;
            (gradient.slice(0, start - size..start), part)
        })
        .collect();
    let norms = std::array::from_fn(|part| {
        let own = runs.iter().filter(|(_, other)| *other == part);
        own.fold(float(0.0), |sum, (run, _)| sum + run.square().sum_all()).sqrt()
    });
    let scaled = runs.iter().map(|&(run, part)| run * (max_norm / norms[part]).minimum(1.0));
    (concatenate(0, scaled.collect::<Vec<_>>()), norms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace};

    #[test]
    fn adam_moves_by_lr_first_and_follows_the_formula_then() {
        let traced = trace(&(), |()| {
            let p: Float = constant([1.0f32, 2.0]);
            let g1: Float = constant([0.5f32, -4.0]);
            let g2: Float = constant([0.25f32, 4.0]);
            let (p1, adam) = Adam::new(&p).step(&p, &g1, float(0.1), float(1e-8));
            let (p2, _) = adam.step(&p1, &g2, float(0.1), float(1e-8));
            (p1, p2)
        });
        let results = interpret(&traced.graph, &[]);
        let p1 = results[0].to_f64();
        assert!((p1[0] - 0.9).abs() < 1e-6 && (p1[1] - 2.1).abs() < 1e-6, "{p1:?}");
        let second = |p: f64, g1: f64, g2: f64| {
            let m = (0.9 * 0.1 * g1 + 0.1 * g2) / (1.0 - 0.81);
            let v: f64 = (0.999 * 0.001 * g1 * g1 + 0.001 * g2 * g2) / (1.0 - 0.999 * 0.999);
            p - 0.1 * m / v.sqrt()
        };
        let p2 = results[1].to_f64();
        assert!((p2[0] - second(0.9, 0.5, 0.25)).abs() < 1e-4, "{p2:?}");
        assert!((p2[1] - second(2.1, -4.0, 4.0)).abs() < 1e-4, "{p2:?}");
    }

    #[test]
    fn adam_moves_on_when_its_steps_cannot_be_counted_any_more() {
        let traced = trace(&(), |()| {
            let p: Float = constant([1.0f32]);
            let g: Float = constant([0.5f32]);
            let old = Adam { mean: g, square: g.square(), count: int(i32::MAX - 1) };
            let (p1, adam) = old.step(&p, &g, float(0.1), float(1e-8));
            let (p2, adam) = adam.step(&p1, &g, float(0.1), float(1e-8));
            (p2, adam.count)
        });
        let results = interpret(&traced.graph, &[]);
        assert!((results[0].to_f64()[0] - 0.8).abs() < 1e-6, "{:?}", results[0]);
        assert_eq!(results[1].to_f64(), [f64::from(i32::MAX)]);
    }

    #[test]
    fn each_part_is_clipped_by_its_own_norm() {
        let traced = trace(&(), |()| {
            let gradient: Float = constant([3.0f32, 30.0, 4.0, 40.0, 0.1]);
            clip_parts_by_norm::<2>(gradient, &[(1, 0), (1, 1), (1, 0), (1, 1), (1, 0)], float(100.0))
        });
        let untouched = interpret(&traced.graph, &[]);
        assert_eq!(untouched[0].to_f64(), [3.0f32, 30.0, 4.0, 40.0, 0.1].map(f64::from));
        assert!((untouched[2].to_f64()[0] - 50.0).abs() < 1e-4);
        let traced = trace(&(), |()| {
            let gradient: Float = constant([3.0f32, 30.0, 4.0, 40.0]);
            clip_parts_by_norm::<2>(gradient, &[(1, 0), (1, 1), (1, 0), (1, 1)], float(10.0)).0
        });
        let found = interpret(&traced.graph, &[])[0].to_f64();
        assert!(found.iter().zip([3.0, 6.0, 4.0, 8.0]).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn the_clip_only_shortens() {
        for (limit, expected) in [(1.0, [0.6, 0.8]), (10.0, [3.0, 4.0]), (f64::INFINITY, [3.0, 4.0])] {
            let traced = trace(&(), |()| {
                let gradient: Float = constant([3.0f32, 4.0]);
                clip_by_global_norm(gradient, float(limit))
            });
            let results = interpret(&traced.graph, &[]);
            let clipped = results[0].to_f64();
            assert!((clipped[0] - expected[0]).abs() < 1e-6 && (clipped[1] - expected[1]).abs() < 1e-6);
            assert!((results[1].to_f64()[0] - 5.0).abs() < 1e-6);
        }
    }
}
