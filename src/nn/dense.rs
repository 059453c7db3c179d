//! Fully connected layers.

pub use crate::ir::Activation;
use crate::lang::{Float, concatenate, select};

/// `x -> x kernel + bias`.
#[derive(Clone, Copy, Debug)]
pub struct Dense {
    /// `[in, out]`
    pub kernel: Float,
    /// `[out]`
    pub bias: Float,
}
crate::tree!(Dense { kernel, bias });

impl Dense {
    /// `[N, in]` -> `[N, out]`.
    #[track_caller]
    pub fn apply(&self, x: Float) -> Float {
        x.matmul(self.kernel) + self.bias.broadcast(0, x.shape()[0])
    }

    /// With all numbers multiplied by an f32 scalar.
    #[track_caller]
    pub fn times(&self, factor: Float) -> Dense {
        Dense { kernel: self.kernel * factor, bias: self.bias * factor }
    }

    /// Both layers in one: the outputs of `other` follow those of this one.
    #[track_caller]
    pub fn beside(&self, other: &Dense) -> Dense {
        Dense {
            kernel: concatenate(1, [self.kernel, other.kernel]),
            bias: concatenate(0, [self.bias, other.bias]),
        }
    }

    /// Both layers in one that read inputs of their own: the inputs and outputs of `other` follow those of this one.
    #[track_caller]
    pub fn apart(&self, other: &Dense) -> Dense {
        let [ours, theirs] = [self, other].map(|layer| layer.bias.size());
        let kernels = [self.kernel.pad(1, 0, theirs, 0.0), other.kernel.pad(1, ours, 0, 0.0)];
        Dense { kernel: concatenate(0, kernels), bias: concatenate(0, [self.bias, other.bias]) }
    }
}

impl Activation {
    /// The derivative of relu is 0 at 0, as it is within [`mlp`].
    #[track_caller]
    pub fn apply(self, x: Float) -> Float {
        match self {
            Activation::Relu => select(x.le(0.0), 0.0, x), // NaN stays NaN
            Activation::Tanh => x.tanh(),
        }
    }
}

/// Two heads over the same numbers as one: the outputs of the second follow those of the first.
///
/// # Panics
/// If one has more layers than the other.
#[track_caller]
pub fn heads_beside(first: &[Dense], second: &[Dense]) -> Vec<Dense> {
    assert_eq!(first.len(), second.len(), "heads that are to be one have as many layers");
    let layers = first.iter().zip(second).enumerate();
    layers.map(|(i, (a, b))| if i == 0 { a.beside(b) } else { a.apart(b) }).collect()
}

/// `[N, in]` -> `[N, out]` through all layers, with the activation after each but the last.
#[track_caller]
pub fn mlp(layers: &[Dense], activation: Activation, x: Float) -> Float {
    let weights: Vec<Float> = layers.iter().flat_map(|layer| [layer.kernel, layer.bias]).collect();
    x.mlp(&weights, activation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::{constant, trace, value_and_grad};

    #[test]
    fn relu_passes_no_gradient_at_0() {
        let traced = trace(&(), |()| {
            let x: Float = constant([-1.0f32, 0.0, 2.0]);
            value_and_grad(&x, |x| (Activation::Relu.apply(x).sum_all(), Activation::Relu.apply(x)))
        });
        let found: Vec<Vec<f64>> = interpret(&traced.graph, &[]).iter().map(|array| array.to_f64()).collect();
        assert_eq!((&found[1], &found[2]), (&vec![0.0, 0.0, 2.0], &vec![0.0, 0.0, 1.0]));
        let nan = trace(&(), |()| Activation::Relu.apply(constant([f32::NAN])));
        assert!(interpret(&nan.graph, &[])[0].to_f64()[0].is_nan());
    }
}
