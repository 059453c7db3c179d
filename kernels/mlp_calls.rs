//! The calls of a small network: which operands and results they have, and how threads share the rows of its input.
//!
//! The mathematics is in `mlp.rs`. The gradient of a weight is a sum over all rows: each thread adds up its own, and the
//! parts are added in their order, so that the same number of threads gives the same bits.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::call::{Array, Call, Kernel};
use super::mlp::{self, Activation, Layer, LayerGradient};
use super::{ACTIVATION, in_threads, part_of, threads};

/// Products of numbers, at least, for which a thread more pays: a few microseconds of work, where to offer them takes a part of one.
const MIN_WORK: usize = 1 << 18;

/// Several networks.
pub fn mlps(call: &mut Call) -> Result<(), String> {
    each(call, mlp, num_layers)
}

/// The gradients of several networks.
pub fn mlp_gradients(call: &mut Call) -> Result<(), String> {
    each(call, mlp_gradient, num_layers_backwards)
}

/// Makes each of the calls that a call is. Each network has threads of its own if that leaves none without work: its weights stay in the
/// caches of their cores then. Otherwise all threads share the rows of one network after the other.
fn each(call: &mut Call, kernel: Kernel, num_layers: fn(&Call) -> usize) -> Result<(), String> {
    let threads = threads(call)?;
    let parts = call.parts(1)?;
    let work = || parts.iter().map(|part| work(&part.call(), num_layers(&part.call()))).sum::<usize>();
    let is_even = parts.len() <= threads || parts.len().is_multiple_of(threads);
    if threads == 1 || !is_even || work() < 2 * MIN_WORK {
        return parts.iter().try_for_each(|part| kernel(&mut part.call()));
    }
    let parts = call.parts(threads)?;
    let outcomes: Vec<Mutex<Result<(), String>>> = parts.iter().map(|_| Mutex::new(Ok(()))).collect();
    in_threads(parts.into_iter().zip(&outcomes), |(part, outcome)| {
        let found = kernel(&mut part.call());
        *outcome.lock().unwrap_or_else(PoisonError::into_inner) = found;
    });
    outcomes.into_iter().try_for_each(|outcome| outcome.into_inner().unwrap_or_else(PoisonError::into_inner))
}

pub fn mlp(call: &mut Call) -> Result<(), String> {
    let count = num_layers(call);
    let (x, layers) = mlp_operands(call, count)?;
    let (activation, threads) = (activation(call)?, threads(call)?);
    let mut results = call.results::<f32>()?;
    let rows = check_mlp(x, &layers, &results)?;
    let part = part_of(rows, threads, min_rows(&layers));
    if rows <= part {
        mlp::forward(&layers, activation, x.data, &mut results);
        return Ok(());
    }
    let mut parts: Vec<Vec<&mut [f32]>> = (0..rows.div_ceil(part)).map(|_| Vec::new()).collect();
    for (layer, result) in layers.iter().zip(&mut results) {
        for (parts, result) in parts.iter_mut().zip(result.chunks_mut(part * layer.outputs)) {
            parts.push(result);
        }
    }
    let work =
        |(x, mut outputs): (&[f32], Vec<&mut [f32]>)| mlp::forward(&layers, activation, x, &mut outputs);
    in_threads(x.data.chunks(part * layers[0].inputs).zip(parts), work);
    Ok(())
}

pub fn mlp_gradient(call: &mut Call) -> Result<(), String> {
    let count = num_layers_backwards(call);
    let (x, layers) = mlp_operands(call, count)?;
    let hidden = (0..count - 1).map(|l| Ok(call.operand::<f32>(1 + 2 * count + l)?.data));
    let hidden: Vec<&[f32]> = hidden.collect::<Result<_, String>>()?;
    let cotangent = call.operand::<f32>(3 * count)?;
    let (activation, threads) = (activation(call)?, threads(call)?);
    let mut results = call.results::<f32>()?;
    let rows = check_mlp(x, &layers, &[&hidden[..], &[cotangent.data]].concat())?;
    let mut x_gradient = (results.len() > 2 * count).then(|| results.remove(0));
    let sizes: Vec<usize> = results.iter().map(|result| result.len()).collect();
    let expected = layers.iter().flat_map(|layer| [layer.kernel.len(), layer.bias.len()]);
    if !sizes.iter().copied().eq(expected) {
        return Err("the results do not fit the layers".into());
    }
    let part = part_of(rows, threads, min_rows(&layers));
    // The first part is written into the results, the others into memory that is added up.
    let num_parts = rows.div_ceil(part).max(1);
    let mut others: Vec<Vec<Vec<f32>>> =
        (1..num_parts).map(|_| sizes.iter().map(|&size| vec![0.0; size]).collect()).collect();
    let mut x_parts =
        x_gradient.iter_mut().flat_map(|gradient| gradient.chunks_mut((part * layers[0].inputs).max(1)));
    let own: Vec<&mut [f32]> = results.iter_mut().map(|result| &mut **result).collect();
    let others_own = others.iter_mut().map(|part| part.iter_mut().map(Vec::as_mut_slice).collect());
    let parts = std::iter::once(own).chain(others_own).enumerate().map(|(i, weights)| GradientPart {
        rows: (i * part).min(rows)..((i + 1) * part).min(rows),
        weights,
        x: x_parts.next(),
    });
    let work = |part: GradientPart| {
        let of = |width: usize| part.rows.start * width..part.rows.end * width;
        let hidden: Vec<&[f32]> =
            hidden.iter().zip(&layers).map(|(all, layer)| &all[of(layer.outputs)]).collect();
        let mut weights = part.weights.into_iter();
        let mut gradients = Vec::with_capacity(count);
        while let (Some(kernel), Some(bias)) = (weights.next(), weights.next()) {
            gradients.push(LayerGradient { kernel, bias });
        }
        let x = &x.data[of(layers[0].inputs)];
        let cotangent = &cotangent.data[of(layers[count - 1].outputs)];
        mlp::backward(&layers, activation, x, &hidden, cotangent, &mut gradients, part.x);
    };
    in_threads(parts.collect::<Vec<_>>().into_iter(), work);
    for (i, result) in results.iter_mut().enumerate() {
        for other in &others {
            result.iter_mut().zip(&other[i]).for_each(|(sum, part)| *sum += part);
        }
    }
    Ok(())
}

/// Rows of an MLP's input and where their share of the gradients goes.
struct GradientPart<'a> {
    rows: Range<usize>,
    /// The kernel and the bias of each layer.
    weights: Vec<&'a mut [f32]>,
    x: Option<&'a mut [f32]>,
}

/// Rows that a thread takes at least.
fn min_rows(layers: &[Layer]) -> usize {
    MIN_WORK.div_ceil(weights(layers))
}

/// The numbers in all kernels.
fn weights(layers: &[Layer]) -> usize {
    layers.iter().map(|layer| layer.kernel.len()).sum()
}

/// The products of numbers in a network forwards.
fn work(call: &Call, num_layers: usize) -> usize {
    let size = |operand| call.untyped_operand(operand).map_or(0, |found| found.shape.iter().product::<i64>());
    let rows = call.untyped_operand(0).map_or(0, |x| x.shape.first().copied().unwrap_or(0));
    (rows * (0..num_layers).map(|l| size(1 + 2 * l)).sum::<i64>()) as usize
}

/// The layers of a network: its operands are x, and a kernel and a bias of each.
fn num_layers(call: &Call) -> usize {
    (call.num_operands() - 1) / 2
}

/// The same backwards, where the outputs of all layers but the last follow, and a cotangent.
fn num_layers_backwards(call: &Call) -> usize {
    call.num_operands() / 3
}

/// The operand x and the layers, which are the `2 * count` operands after it.
fn mlp_operands<'a>(call: &Call<'a>, count: usize) -> Result<(Array<'a, f32>, Vec<Layer<'a>>), String> {
    let x = call.operand::<f32>(0)?;
    let layer = |l| {
        let (kernel, bias) = (call.operand::<f32>(1 + 2 * l)?, call.operand::<f32>(2 + 2 * l)?);
        match kernel.shape {
            &[inputs, outputs] if bias.shape == [outputs] && outputs > 0 && inputs > 0 => {
                let (inputs, outputs) = (inputs as usize, outputs as usize);
                Ok(Layer { inputs, outputs, kernel: kernel.data, bias: bias.data })
            }
            shape => Err(format!("layer {l} has the shapes {shape:?} and {:?}", bias.shape)),
        }
    };
    Ok((x, (0..count).map(layer).collect::<Result<_, String>>()?))
}

/// The rows of x, if the layers fit it, each other and their outputs.
fn check_mlp<T: AsRef<[f32]>>(x: Array<f32>, layers: &[Layer], outputs: &[T]) -> Result<usize, String> {
    let &[rows, width] = x.shape else { return Err(format!("x has the shape {:?}", x.shape)) };
    let mut inputs = width as usize;
    for (layer, output) in layers.iter().zip(outputs) {
        if layer.inputs != inputs || output.as_ref().len() != rows as usize * layer.outputs {
            return Err(format!("a layer reads {inputs} numbers, not {}", layer.inputs));
        }
        inputs = layer.outputs;
    }
    match layers.len() == outputs.len() && !layers.is_empty() {
        true => Ok(rows as usize),
        false => Err(format!("{} layers, {} outputs", layers.len(), outputs.len())),
    }
}

fn activation(call: &Call) -> Result<Activation, String> {
    match call.attribute(ACTIVATION)? {
        number if number == Activation::Relu as i32 => Ok(Activation::Relu),
        number if number == Activation::Tanh as i32 => Ok(Activation::Tanh),
        number => Err(format!("there is no activation {number}")),
    }
}
