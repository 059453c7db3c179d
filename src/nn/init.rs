//! Initializers of weights.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::lang::{Float, Key, scan_range};

use super::Dense;

/// Initialization of the weights; biases start at zero, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Truncated normal of variance 1 / fan_in
    Lecun,
    /// Orthogonal; gain sqrt(2) in hidden layers, 0.01 in the actor's head, 1 in the critic's
    Orthogonal,
    /// Uniform within 1 / sqrt(fan_in) of 0, biases too
    Uniform,
}

impl fmt::Display for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Init::Lecun => "lecun",
            Init::Orthogonal => "orthogonal",
            Init::Uniform => "uniform",
        })
    }
}

/// The size of a layer, and the gain of its orthogonal weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerSpec {
    pub inputs: usize,
    pub outputs: usize,
    pub gain: f64,
}

impl Init {
    /// The layers, from one random draw for all.
    #[track_caller]
    pub fn layers(self, key: Key, specs: &[LayerSpec]) -> Vec<Dense> {
        let total: usize = specs.iter().map(|spec| spec.inputs * spec.outputs).sum();
        let (draws, biases) = match self {
            Init::Lecun => (key.truncated_normal([total]), None),
            Init::Orthogonal => (key.normal([total]), None),
            Init::Uniform => {
                let [weights, biases] = key.split();
                let outputs = specs.iter().map(|spec| spec.outputs).sum::<usize>();
                let within_one = |key: Key, count: usize| key.uniform([count], -1.0..1.0);
                (within_one(weights, total), Some(within_one(biases, outputs)))
            }
        };
        let (mut start, mut outputs) = (0, 0);
        let mut layers = Vec::new();
        for spec in specs {
            let end = start + spec.inputs * spec.outputs;
            let draw = draws.slice(0, start..end);
            let kernel = match self {
                Init::Lecun => lecun_normal(draw.reshape([spec.inputs, spec.outputs])),
                Init::Orthogonal => orthogonal(draw, spec.inputs, spec.outputs) * spec.gain,
                Init::Uniform => draw.reshape([spec.inputs, spec.outputs]) / (spec.inputs as f64).sqrt(),
            };
            let bias = match biases {
                None => Float::full([spec.outputs], 0.0),
                Some(biases) => {
                    biases.slice(0, outputs..outputs + spec.outputs) / (spec.inputs as f64).sqrt()
                }
            };
            layers.push(Dense { kernel, bias });
            (start, outputs) = (end, outputs + spec.outputs);
        }
        layers
    }
}

/// Weights `[inputs, outputs]` of variance 1 / inputs (LeCun et al. 1998, "Efficient backprop") from a standard normal
/// restricted to [-2, 2].
#[track_caller]
fn lecun_normal(truncated_normal: Float) -> Float {
    // The standard deviation of that distribution.
    const TRUNCATED_STD: f64 = 0.879_625_661_034_239_8;
    let inputs = truncated_normal.shape()[0];
    truncated_normal / (TRUNCATED_STD * (inputs as f64).sqrt())
}

/// A matrix `[inputs, outputs]` whose shorter side is orthonormal (Saxe et al. 2014): Gram-Schmidt over the
/// normal vectors in `normal`, each projected twice so that rounding does not add up.
#[track_caller]
fn orthogonal(normal: Float, inputs: usize, outputs: usize) -> Float {
    let (count, length) = (inputs.min(outputs), inputs.max(outputs));
    let normal = normal.reshape([count, length]);
    let (rows, ()) = scan_range(count, Float::full([count, length], 0.0), |rows, i| {
        let mut row = normal.at(i).get();
        for _ in 0..2 {
            row = row - rows.matmul(row).matmul(rows);
        }
        let row = row * row.square().sum_all().rsqrt();
        (rows.at(i).set(row), ())
    });
    if inputs <= outputs { rows } else { rows.transpose([1, 0]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::trace;

    #[test]
    fn orthogonal_rows_and_columns() {
        for (inputs, outputs) in [(3, 8), (8, 3), (5, 5)] {
            let traced = trace(&(), |()| {
                let w = orthogonal(Key::new(1).normal([inputs * outputs]), inputs, outputs);
                if inputs <= outputs { w.matmul(w.transpose([1, 0])) } else { w.transpose([1, 0]).matmul(w) }
            });
            let product = interpret(&traced.graph, &[])[0].to_f64();
            let n = inputs.min(outputs);
            for (i, value) in product.iter().enumerate() {
                let expected = if i / n == i % n { 1.0 } else { 0.0 };
                assert!((value - expected).abs() < 1e-5, "{inputs}x{outputs}: {product:?}");
            }
        }
    }

    #[test]
    fn lecun_normal_has_variance_one_over_inputs_and_no_tails() {
        let traced = trace(&(), |()| lecun_normal(Key::new(2).truncated_normal([50, 200])));
        let values = interpret(&traced.graph, &[])[0].to_f64();
        let variance = values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64;
        assert!((variance * 50.0 - 1.0).abs() < 0.05, "{variance}");
        let limit = 2.0 / (0.8796 * 50f64.sqrt()) + 1e-4;
        assert!(values.iter().all(|v| v.abs() < limit));
    }
}
