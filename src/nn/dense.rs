//! Fully connected layers.

pub use crate::ir::Activation;
use crate::lang::{Float, concatenate};

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
}

impl Activation {
    #[track_caller]
    pub fn apply(self, x: Float) -> Float {
        match self {
            Activation::Relu => x.relu(),
            Activation::Tanh => x.tanh(),
        }
    }
}

/// `[N, in]` -> `[N, out]` through all layers, with the activation after each but the last.
#[track_caller]
pub fn mlp(layers: &[Dense], activation: Activation, x: Float) -> Float {
    let weights: Vec<Float> = layers.iter().flat_map(|layer| [layer.kernel, layer.bias]).collect();
    x.mlp(&weights, activation)
}
