//! A small network: the types of its kernels and their twins.

use crate::array::ArrayType;

use super::super::{Activation, Binary, Build, Comparison, Reduction, Unary, Var};
use super::{dot, matrix};

pub fn infer(name: &str, inputs: &[&ArrayType], layers: usize) -> Result<Vec<ArrayType>, String> {
    let [rows, _] = matrix(name, inputs[0])?;
    let outputs = layer_outputs(name, inputs, layers)?;
    Ok(outputs.iter().map(|&width| ArrayType::new(inputs[0].dtype, [rows, width])).collect())
}

pub fn infer_gradient(
    name: &str,
    inputs: &[&ArrayType],
    layers: usize,
    input: bool,
) -> Result<Vec<ArrayType>, String> {
    let [rows, _] = matrix(name, inputs[0])?;
    let outputs = layer_outputs(name, inputs, layers)?;
    for (&width, output) in outputs.iter().zip(&inputs[1 + 2 * layers..]) {
        if output.shape != [rows, width] {
            return Err(format!("{name}: {output} where {rows} rows of {width} are expected"));
        }
    }
    let first = if input { 0 } else { 1 };
    Ok(inputs[first..1 + 2 * layers].iter().map(|&part| part.clone()).collect())
}

/// The widths of the outputs of an MLP's layers, if they fit each other.
fn layer_outputs(name: &str, inputs: &[&ArrayType], layers: usize) -> Result<Vec<usize>, String> {
    let mut width = inputs[0].shape[1];
    let mut outputs = Vec::new();
    for (l, layer) in inputs[1..1 + 2 * layers].chunks(2).enumerate() {
        match (&layer[0].shape[..], &layer[1].shape[..]) {
            (&[i, o], &[b]) if i == width && o == b => width = o,
            _ => {
                return Err(format!(
                    "{name}: layer {l} is {} and {}, its input {width} wide",
                    layer[0], layer[1]
                ));
            }
        }
        outputs.push(width);
    }
    Ok(outputs)
}

/// The twin of the layers.
pub fn mlp(b: &mut Build, activation: Activation, inputs: &[Var]) -> Vec<Var> {
    let mut outputs = Vec::new();
    let mut x = inputs[0];
    let layers: Vec<&[Var]> = inputs[1..].chunks(2).collect();
    for (l, layer) in layers.iter().enumerate() {
        let product = dot(b, x, layer[0], 1, 0);
        let shape = b.array_type(product).shape;
        let bias = b.broadcast(layer[1], &shape, &[1]);
        x = b.add(product, bias);
        if l + 1 < layers.len() {
            x = match activation {
                Activation::Tanh => b.unary(Unary::Tanh, x),
                Activation::Relu => {
                    let zero = b.full_like(x, 0.0);
                    b.binary(Binary::Max, x, zero)
                }
            };
        }
        outputs.push(x);
    }
    outputs
}

/// The twin of their gradient.
pub fn gradient(
    b: &mut Build,
    activation: Activation,
    layers: usize,
    input: bool,
    inputs: &[Var],
) -> Vec<Var> {
    let (given, rest) = inputs.split_at(1 + 2 * layers);
    let (hidden, cotangent) = rest.split_at(layers - 1);
    let mut cotangent = cotangent[0];
    let mut gradients = Vec::new();
    for l in (0..layers).rev() {
        let x = if l == 0 { given[0] } else { hidden[l - 1] };
        gradients.push(b.reduce(Reduction::Sum, cotangent, &[0]));
        gradients.push(dot(b, x, cotangent, 0, 0));
        if l == 0 && !input {
            break;
        }
        cotangent = dot(b, cotangent, given[1 + 2 * l], 1, 1);
        if l > 0 {
            cotangent = match activation {
                Activation::Tanh => {
                    let (one, square) = (b.full_like(x, 1.0), b.mul(x, x));
                    let derivative = b.sub(one, square);
                    b.mul(cotangent, derivative)
                }
                Activation::Relu => {
                    let zero = b.full_like(x, 0.0);
                    let passes = b.compare(Comparison::Gt, x, zero);
                    b.select(passes, cotangent, zero)
                }
            };
        }
    }
    if input {
        gradients.push(cotangent);
    }
    gradients.reverse();
    gradients
}
