//! Fully connected layers.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::lang::Float;

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

    /// [`Dense::apply`] for an `x` that is expected to be mostly zeros.
    #[track_caller]
    pub fn apply_sparse(&self, x: Float) -> Float {
        x.sparse_matmul(self.kernel) + self.bias.broadcast(0, x.shape()[0])
    }
}

/// Activation of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    Relu,
    Tanh,
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

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Relu => "relu",
            Activation::Tanh => "tanh",
        })
    }
}
