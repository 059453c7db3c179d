//! Muon (Jordan et al. 2024): momentum, of which each matrix is replaced by one that is nearly orthogonal, so that all directions in it move
//! alike. This is the form that PufferLib trains with: five Newton-Schulz steps, each with coefficients of its own.

use crate::lang::{Float, Tree, map2, ravel, unravel};

use super::optimizer::Adam;

/// The coefficients of X, S X and S S X in each step, where S is X times X transposed.
const STEPS: [[f64; 3]; 5] = [
    [4.0848, -6.8946, 2.9270],
    [3.9505, -6.3029, 2.6377],
    [3.7418, -5.5913, 2.3037],
    [2.8769, -3.1427, 1.2046],
    [2.8366, -3.0525, 1.2012],
];

/// One step for the parameters `vector` with the structure of `like`, all of which are one vector: the new ones, and the new state. The
/// momentum is the mean of the state; its square stays as it is.
#[track_caller]
pub fn step<P: Tree>(
    like: &P,
    state: Adam<Float>,
    vector: Float,
    gradient: Float,
    lr: Float,
    momentum: f64,
) -> (Float, Adam<Float>) {
    let mean = state.mean * momentum + gradient;
    let ahead = unravel(like, gradient + mean * momentum); // as Nesterov
    let update = ravel(&map2(&ahead, &ahead, |array, _| direction(array)));
    let count = state.count + state.count.lt(i32::MAX).as_i32();
    (vector - update * lr, Adam { mean, count, ..state })
}

/// The direction of a step: of a matrix, or of what has more axes, whose last one are the outputs, the nearly orthogonal one; of a vector
/// itself.
#[track_caller]
fn direction(array: Float) -> Float {
    let shape = array.shape();
    if shape.len() < 2 {
        return array;
    }
    let outputs = shape[shape.len() - 1];
    let inputs = array.size() / outputs;
    let longer = (outputs as f64 / inputs as f64).max(1.0).sqrt();
    (orthogonal(array.reshape([inputs, outputs])) * longer).reshape(shape)
}

/// A matrix of any size with the singular vectors of `matrix` and singular values near 1.
#[track_caller]
fn orthogonal(matrix: Float) -> Float {
    let is_tall = matrix.shape()[0] > matrix.shape()[1];
    let turn = |x: Float| if is_tall { x.transpose([1, 0]) } else { x };
    let mut x = turn(matrix / matrix.square().sum_all().sqrt().maximum(1e-7));
    for [a, b, c] in STEPS {
        let s = x.matmul(x.transpose([1, 0]));
        x = x * a + (s * b + s.matmul(s) * c).matmul(x);
    }
    turn(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, float, trace};

    fn near(found: &[f64], expected: &[f64], tolerance: f64) {
        let pairs = found.iter().zip(expected);
        assert_eq!(found.len(), expected.len());
        assert!(pairs.clone().all(|(a, b)| (a - b).abs() < tolerance), "{found:?} {expected:?}");
    }

    /// The numbers of PufferLib's own code.
    #[test]
    fn matrices_become_nearly_orthogonal() {
        let traced = trace(&(), |()| {
            let square: Float = constant([3.0f32, 0.0, 0.0, 1.0]);
            let wide: Float = constant([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]);
            let wide = wide.reshape([2, 3]);
            [orthogonal(square.reshape([2, 2])), orthogonal(wide), orthogonal(wide.transpose([1, 0]))]
        });
        let found = interpret(&traced.graph, &[]);
        near(&found[0].to_f64(), &[1.00197, 0.0, 0.0, 1.01887], 2e-5);
        near(&found[1].to_f64(), &[-0.59152, 0.11100, 0.81351, 0.70726, 0.56056, 0.41387], 2e-5);
        near(&found[2].to_f64(), &[-0.59152, 0.70726, 0.11100, 0.56056, 0.81351, 0.41387], 2e-5);
    }

    #[test]
    fn vectors_have_momentum_and_matrices_with_more_outputs_move_more() {
        let traced = trace(&(), |()| {
            let bias: Float = constant([1.0f32, -2.0]);
            let weights: Float = constant([3.0f32, 4.0]);
            let like = (bias, weights.reshape([1, 2]));
            let gradient: Float = constant([0.5f32, 1.0, 3.0, 4.0]);
            let state = Adam::new(&ravel(&like));
            let (first, state) = step(&like, state, ravel(&like), gradient, float(0.1), 0.5);
            let (second, state) = step(&like, state, first, gradient, float(0.1), 0.5);
            (first, second, state.mean, direction(like.1))
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        // The momentum is g, then 1.5 g; what is stepped by g + 0.5 g, then g + 0.75 g.
        near(&found[0][..2], &[1.0 - 0.1 * 0.75, -2.0 - 0.1 * 1.5], 1e-6);
        near(&found[1][..2], &[1.0 - 0.1 * (0.75 + 0.875), -2.0 - 0.1 * (1.5 + 1.75)], 1e-6);
        near(&found[2], &[0.75, 1.5, 4.5, 6.0], 1e-6);
        // A row of norm 5 becomes one of a norm near 1, times the root of 2 outputs per input.
        let norm = found[3].iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!((norm / 2f64.sqrt() - 1.0).abs() < 0.03, "{norm}");
        near(&[found[3][0] / found[3][1]], &[0.75], 1e-5);
        let moved = [3.0 - found[0][2], 4.0 - found[0][3]];
        near(&moved, &[0.1 * found[3][0], 0.1 * found[3][1]], 1e-5);
    }
}
