//! A small multilayer perceptron in one call: forwards through all layers, and backwards through them.
//!
//! Between the layers of a small network a general matrix product spends more time on packing its operands, on
//! launches and on passes over the activations than on arithmetic. Here a block of rows goes through all
//! layers while it is in the first level of the core's cache. A small matrix of weights is read from that cache too, in the
//! order in which it lies; only a larger one is copied into panels first (`product`, `matrices`).

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::lanes::{Lanes, best_lanes};
use super::matrices::{Memory, Padded, Right, Scratch, add_up_rows, copy_rows, is_large, padded};
use super::product::{Left, Numbers, Start, dots, panel, product};
use super::tanh::tanh;

/// Activation of the hidden layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    Relu,
    Tanh,
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Activation::Relu => "relu",
            Activation::Tanh => "tanh",
        })
    }
}

/// A layer `x -> x kernel + bias`: `kernel` is `[inputs, outputs]`.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: &'a [f32],
    pub bias: &'a [f32],
}

/// The gradient of a layer, to be written.
pub struct LayerGradient<'a> {
    pub kernel: &'a mut [f32],
    pub bias: &'a mut [f32],
}

best_lanes! {
    /// Runs the rows of `x` through the layers, with the activation after each but the last. `outputs` gets the
    /// activations `[rows, layer.outputs]` of each layer.
    pub fn forward = forward_with(layers: &[Layer], activation: Activation, x: &[f32], outputs: &mut [&mut [f32]])
}

best_lanes! {
    /// The gradients of the layers, and of `x` if wanted, from the cotangent of the last output. `hidden` are the
    /// outputs of all layers but the last.
    pub fn backward = backward_with(
        layers: &[Layer],
        activation: Activation,
        x: &[f32],
        hidden: &[&[f32]],
        cotangent: &[f32],
        gradients: &mut [LayerGradient],
        x_gradient: Option<&mut [f32]>,
    )
}

/// Rows that go through the layers together.
const BLOCK: usize = 48;
/// So many rows of x, at least, pay for a copy of large weights.
const MANY_ROWS: usize = 48;
/// Outputs of a last layer that are numbers of their own rather than a part of a vector: probabilities of two actions, a value.
const FEW: usize = 4;

/// How the weights of a layer lie.
enum Weights<'a> {
    Tiles(Right<'a>),
    /// One column after the other, padded.
    Columns(&'a [f32]),
}

/// Whether number `l` of the layers, which is the last one, has few outputs of many inputs.
fn has_few_outputs(layers: &[Layer], l: usize) -> bool {
    l > 0 && l + 1 == layers.len() && layers[l].outputs <= FEW
}

/// The columns of a matrix as rows of `padded(inputs)` numbers.
#[inline(always)]
fn columns<'a>(layer: &Layer, scratch: &mut Scratch<'a>) -> &'a [f32] {
    let width = padded(layer.inputs);
    let copy = scratch.take(layer.outputs * width);
    for (output, column) in copy.chunks_exact_mut(width).enumerate() {
        for (to, row) in column.iter_mut().zip(layer.kernel.chunks_exact(layer.outputs)) {
            *to = row[output];
        }
        column[layer.inputs..].fill(0.0);
    }
    copy
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(
    layers: &[Layer],
    activation: Activation,
    x: &[f32],
    outputs: &mut [&mut [f32]],
) {
    let rows = x.len() / layers[0].inputs;
    let widest = layers.iter().map(|layer| padded(layer.outputs)).max().unwrap_or(0);
    let panel = panel::<L>();
    let room = |layer: &Layer| (padded(layer.inputs) + 1) * layer.outputs.next_multiple_of(panel);
    let room: usize = layers.iter().map(room).sum();
    let mut memory = Memory::of(room + 2 * BLOCK * widest);
    let mut scratch = memory.scratch();
    {
        // A loop and no closure, which would not be compiled for the instruction set.
        let mut kernels = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate() {
            let kernel = if has_few_outputs(layers, l) {
                Weights::Columns(columns(layer, &mut scratch))
            } else if rows >= MANY_ROWS && is_large(layer.kernel.len()) {
                Weights::Tiles(Right::panels(layer.kernel, layer.outputs, panel, &mut scratch))
            } else {
                Weights::Tiles(Right::plain(Padded::new(layer.kernel, layer.outputs, &mut scratch), panel))
            };
            kernels.push((kernel, Padded::new(layer.bias, layer.outputs, &mut scratch)));
        }
        let (mut from, mut to) = (scratch.take(BLOCK * widest), scratch.take(BLOCK * widest));
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            for (l, (layer, (kernel, bias))) in layers.iter().zip(&kernels).enumerate() {
                let (before, output) = outputs.split_at_mut(l);
                let output = &mut output[0][first * layer.outputs..][..count * layer.outputs];
                let (a, a_width) = match l {
                    0 => (&x[first * layer.inputs..][..count * layer.inputs], layer.inputs),
                    // Rows of whole vectors were written where they belong.
                    _ if padded(layer.inputs) == layer.inputs => {
                        (&before[l - 1][first * layer.inputs..][..count * layer.inputs], layer.inputs)
                    }
                    _ => (&from[..count * padded(layer.inputs)], padded(layer.inputs)),
                };
                let kernel = match kernel {
                    // SAFETY: the caller's instruction set is that of `L`.
                    Weights::Columns(columns) => unsafe {
                        dots::<L>(a, columns, a_width, layer.bias, output);
                        continue;
                    },
                    Weights::Tiles(kernel) => *kernel,
                };
                let in_place = kernel.width == layer.outputs;
                let z = if in_place { &mut *output } else { &mut to[..count * kernel.width] };
                let left = Left { numbers: a, row_step: a_width, inner_step: 1 };
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe {
                    product::<L, Numbers>(left, count, layer.inputs, kernel, Start::Row(bias.numbers), z);
                    if l + 1 < layers.len() {
                        activate::<L>(activation, z);
                    }
                }
                if !in_place {
                    copy_rows(&to[..count * kernel.width], kernel.width, output, layer.outputs);
                    (from, to) = (to, from);
                }
            }
        }
    }
}

/// How the gradient of a layer's kernel is summed.
enum Sums {
    /// Where it belongs.
    InPlace,
    /// With padded rows.
    Padded,
    /// Column by column.
    Columns,
}

#[inline(always)]
unsafe fn backward_with<L: Lanes>(
    layers: &[Layer],
    activation: Activation,
    x: &[f32],
    hidden: &[&[f32]],
    cotangent: &[f32],
    gradients: &mut [LayerGradient],
    mut x_gradient: Option<&mut [f32]>,
) {
    let rows = x.len() / layers[0].inputs;
    let widest = layers.iter().map(|layer| padded(layer.outputs.max(layer.inputs))).max().unwrap_or(0);
    let panel = panel::<L>();
    let room = |layer: &Layer| {
        let outputs = padded(layer.outputs);
        (layer.inputs + 1) * outputs + layer.outputs * layer.inputs.next_multiple_of(panel)
    };
    let room: usize = layers.iter().map(room).sum();
    let mut memory = Memory::of(room + BLOCK * (2 * widest + widest.next_multiple_of(panel)));
    let mut scratch = memory.scratch();
    {
        // The gradient of x takes the first layer; nothing else does.
        let taken = &layers[usize::from(x_gradient.is_none())..];
        let mut transposed = Vec::with_capacity(taken.len());
        for layer in taken {
            transposed.push(Right::transposed(layer.kernel, layer.outputs, panel, &mut scratch));
        }
        let mut sums = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate() {
            let width = padded(layer.outputs);
            let (kind, size) = if width == layer.outputs {
                (Sums::InPlace, 0)
            } else if has_few_outputs(layers, l) && padded(layer.inputs) == layer.inputs {
                (Sums::Columns, layer.outputs * layer.inputs)
            } else {
                (Sums::Padded, layer.inputs * width)
            };
            let bias = scratch.take(width);
            bias.fill(0.0);
            sums.push((kind, scratch.take(size), bias));
        }
        let (mut dz, mut dx) = (scratch.take(BLOCK * widest), scratch.take(BLOCK * widest));
        let mut panels = scratch; // what is left has room for the panels of one cotangent
        for first in (0..rows).step_by(BLOCK) {
            let count = BLOCK.min(rows - first);
            let last = layers[layers.len() - 1].outputs;
            copy_rows(
                &cotangent[first * last..][..count * last],
                last,
                &mut dz[..count * padded(last)],
                padded(last),
            );
            for (l, layer) in layers.iter().enumerate().rev() {
                let width = padded(layer.outputs);
                let input = if l == 0 { x } else { hidden[l - 1] };
                let input = &input[first * layer.inputs..][..count * layer.inputs];
                let cotangent = Padded { numbers: &dz[..count * width], width };
                let (kind, kernel, bias) = &mut sums[l];
                let start = if first == 0 { Start::Zero } else { Start::Sum };
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe {
                    add_up_rows::<L>(cotangent, bias);
                    match kind {
                        Sums::Columns => {
                            let left = Left { numbers: cotangent.numbers, row_step: 1, inner_step: width };
                            let right = Right::plain(Padded { numbers: input, width: layer.inputs }, panel);
                            product::<L, Numbers>(left, layer.outputs, count, right, start, kernel);
                        }
                        Sums::InPlace | Sums::Padded => {
                            let in_place = matches!(kind, Sums::InPlace);
                            let kernel = if in_place { &mut *gradients[l].kernel } else { kernel };
                            let left = Left { numbers: input, row_step: 1, inner_step: layer.inputs };
                            let right = if is_large(count * width) {
                                Right::panels(cotangent.numbers, width, panel, &mut panels.part())
                            } else {
                                Right::plain(cotangent, panel)
                            };
                            product::<L, Numbers>(left, layer.inputs, count, right, start, kernel);
                        }
                    }
                }
                let Some(taken) = (l + taken.len()).checked_sub(layers.len()) else { break };
                let (kernel, wide) = (transposed[taken], transposed[taken].width);
                let left = Left { numbers: cotangent.numbers, row_step: width, inner_step: 1 };
                let result = &mut dx[..count * wide];
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe {
                    product::<L, Numbers>(left, count, layer.outputs, kernel, Start::Zero, result);
                    if l > 0 {
                        through_activation::<L>(activation, input, layer.inputs, result, wide);
                    }
                }
                if l == 0
                    && let Some(x_gradient) = &mut x_gradient
                {
                    let part = &mut x_gradient[first * layer.inputs..][..count * layer.inputs];
                    copy_rows(result, wide, part, layer.inputs);
                }
                (dz, dx) = (dx, dz);
            }
        }
        for ((layer, gradient), (kind, kernel, bias)) in layers.iter().zip(gradients).zip(sums) {
            copy_rows(bias, padded(layer.outputs), gradient.bias, layer.outputs);
            match kind {
                _ if rows == 0 => gradient.kernel.fill(0.0),
                Sums::InPlace => {}
                Sums::Padded => copy_rows(kernel, padded(layer.outputs), gradient.kernel, layer.outputs),
                Sums::Columns => {
                    for (output, column) in kernel.chunks_exact(layer.inputs).enumerate() {
                        let to = gradient.kernel[output..].iter_mut().step_by(layer.outputs);
                        to.zip(column).for_each(|(to, sum)| *to = *sum);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn activate<L: Lanes>(activation: Activation, z: &mut [f32]) {
    for part in z.chunks_exact_mut(L::WIDTH) {
        // SAFETY: the part is one vector.
        unsafe {
            let z = L::load(part.as_ptr());
            let y = match activation {
                // A number that is none stays so: it is the second operand.
                Activation::Relu => L::splat(0.0).max(z),
                Activation::Tanh => tanh(z),
            };
            y.store(part.as_mut_ptr());
        }
    }
}

/// Multiplies the cotangents, rows of `wide`, with the derivative of the activation that had the results `y`.
#[inline(always)]
unsafe fn through_activation<L: Lanes>(
    activation: Activation,
    y: &[f32],
    width: usize,
    cotangents: &mut [f32],
    wide: usize,
) {
    let derivative_of = |y: f32| match activation {
        Activation::Relu => f32::from(y > 0.0),
        Activation::Tanh => 1.0 - y * y,
    };
    let whole = width - width % L::WIDTH;
    for (y, cotangents) in y.chunks_exact(width).zip(cotangents.chunks_exact_mut(wide)) {
        for at in (0..whole).step_by(L::WIDTH) {
            // SAFETY: `at` and what follows it are inside both rows.
            unsafe {
                let (y, at) = (L::load(y.as_ptr().add(at)), cotangents.as_mut_ptr().add(at));
                let cotangent = L::load(at);
                let product = match activation {
                    Activation::Relu => cotangent.where_positive(y),
                    Activation::Tanh => {
                        let derivative = y.mul(L::splat(-1.0)).mul_add(y, L::splat(1.0));
                        cotangent.mul(derivative)
                    }
                };
                product.store(at);
            }
        }
        for (y, cotangent) in y.iter().zip(cotangents).skip(whole) {
            *cotangent *= derivative_of(*y);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::every_lanes;
    use super::*;

    /// Outputs and gradients of two MLPs, the smaller one, which needs the least memory, first.
    #[inline(always)]
    unsafe fn run<L: Lanes>(activation: Activation) -> Vec<f32> {
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe { [run_one::<L>(activation, &[2, 1, 4]), run_one::<L>(activation, &[5, 19, 64, 3])].concat() }
    }

    /// Outputs and gradients of an MLP, one after the other.
    #[inline(always)]
    unsafe fn run_one<L: Lanes>(activation: Activation, widths: &[usize]) -> Vec<f32> {
        const ROWS: usize = 53;
        let (inputs, outputs, hidden) = (widths[0], widths[widths.len() - 1], widths.len() - 2);
        let numbers = |size: usize, seed: f32| -> Vec<f32> {
            (0..size).map(|i| ((i as f32 * 0.7 + seed).sin() * 43.7).fract()).collect()
        };
        let weights: Vec<[Vec<f32>; 2]> =
            widths.windows(2).map(|w| [numbers(w[0] * w[1], 1.0), numbers(w[1], 2.0)]).collect();
        let layers: Vec<Layer> = (widths.windows(2).zip(&weights))
            .map(|(w, [kernel, bias])| Layer { inputs: w[0], outputs: w[1], kernel, bias })
            .collect();
        let (x, cotangent) = (numbers(ROWS * inputs, 3.0), numbers(ROWS * outputs, 4.0));
        let mut outputs: Vec<Vec<f32>> = widths[1..].iter().map(|width| vec![0.0; ROWS * width]).collect();
        let mut gradients = weights.clone();
        let mut x_gradient = vec![0.0; x.len()];
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe {
            let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            forward_with::<L>(&layers, activation, &x, &mut slices);
            let hidden: Vec<&[f32]> = outputs[..hidden].iter().map(Vec::as_slice).collect();
            let mut parts: Vec<LayerGradient> =
                (gradients.iter_mut()).map(|[kernel, bias]| LayerGradient { kernel, bias }).collect();
            backward_with::<L>(
                &layers,
                activation,
                &x,
                &hidden,
                &cotangent,
                &mut parts,
                Some(&mut x_gradient),
            );
        }
        [outputs.concat(), gradients.into_iter().flatten().flatten().collect(), x_gradient].concat()
    }

    every_lanes!(fn run_with_every = run(activation: Activation) -> Vec<f32>);

    #[test]
    fn every_kind_of_vector_gives_the_same() {
        for activation in [Activation::Relu, Activation::Tanh] {
            let results = run_with_every(activation);
            let (_, portable) = &results[0];
            assert!(portable.iter().all(|x| x.is_finite()) && portable.iter().any(|x| *x != 0.0));
            for (kind, found) in &results {
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + a.abs());
                assert!(portable.iter().zip(found).all(near), "{kind}, {activation}");
            }
        }
    }
}
