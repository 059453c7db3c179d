//! Native kernels: Rust functions that XLA programs call on cpu, where they are faster than what XLA makes of the
//! same mathematics.
//!
//! The module is compiled into the crate as `runtime::kernels` (README.md beside it says how the parts meet). Each
//! kernel has a plain twin, a few ops that every device computes: `ir::Kernel` names it, and the tests hold the
//! two against each other.

mod call;
mod lanes;
mod mlp;
mod sparse_dot;

use std::cell::RefCell;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::OnceLock;

pub use call::Handler;
use call::{Array, Call, Frame};
pub use mlp::Activation;
use mlp::{Layer, LayerGradient};
use sparse_dot::{Rows, Scratch};

/// The name under which XLA programs call a kernel, and the function.
pub struct Entry {
    pub name: &'static str,
    pub handler: Handler,
}

/// Defines the names and [`KERNELS`], the list of all kernels: each name stands for the function after it.
macro_rules! kernels {
    ($($(#[$doc:meta])* $NAME:ident = $name:literal => $kernel:ident;)*) => {
        $($(#[$doc])* pub const $NAME: &str = $name;)*

        /// All kernels.
        pub const KERNELS: &[Entry] = &[$({
            unsafe extern "C" fn handler(frame: *mut Frame) -> *mut c_void {
                // SAFETY: XLA calls it.
                unsafe { call::answer(frame, $kernel) }
            }
            Entry { name: $NAME, handler }
        }),*];
    };
}

kernels! {
    /// (x f32`[R, I]`, w f32`[I, W]`) or (x, rows i32`[N]`, w) -> f32`[N, W]`: the product of (those rows of) x and w.
    SPARSE_DOT = "lockstep_sparse_dot" => sparse_dot;
    /// (x f32`[R, I]`, g f32`[N, W]`) or (x, rows i32`[N]`, g) -> f32`[I, W]`: the product of (those rows of) x, transposed,
    /// and g.
    SPARSE_DOT_TRANSPOSED = "lockstep_sparse_dot_transposed" => sparse_dot_transposed;
    /// The operands of the kernel before, then sum f32`[I, W]` -> f32`[I, W]`, in the place of the sum: the product and the sum
    /// added.
    SPARSE_DOT_TRANSPOSED_ADD = "lockstep_sparse_dot_transposed_add" => sparse_dot_transposed_add;
    /// (x f32`[N, I]`) -> f32`[N, I]`, in place: x for the products above only, in which each row is replaced by its numbers
    /// that are not zero.
    SQUEEZE = "lockstep_squeeze" => squeeze;
    /// (x f32`[N, I]`, then for each layer its kernel and its bias) -> the output f32`[N, W]` of each layer, the last one without
    /// activation.
    MLP = "lockstep_mlp" => mlp;
    /// (x, kernels and biases as above, the outputs of all layers but the last, the cotangent of the last) -> the gradient of x
    /// if there is one result more than kernels and biases, then those of each kernel and bias.
    MLP_GRADIENT = "lockstep_mlp_gradient" => mlp_gradient;
}

/// The i32 attribute of the calls of an MLP: which activation stands between the layers, as [`Activation`] numbers them.
pub const ACTIVATION: &str = "activation";

/// The i32 attribute of every call: how many devices share the processor's cores.
pub const DEVICES: &str = "devices";

fn squeeze(call: &mut Call) -> Result<(), String> {
    let threads = threads(call)?;
    let (x, shape) = call.result_in_place::<f32>(0)?;
    let &[height, width] = shape else { return Err(format!("x has the shape {shape:?}")) };
    let (height, width) = (height as usize, width as usize);
    share(threads, height, MIN_ROWS, width, x, |_, x, scratch| sparse_dot::squeeze(x, width, scratch));
    Ok(())
}

fn sparse_dot(call: &mut Call) -> Result<(), String> {
    let (x, w) = sparse_operands(call, call.num_operands())?;
    let threads = threads(call)?;
    let (y, shape) = call.result::<f32>()?;
    let width = fit(shape, x.count(), w, x.width)?;
    share(threads, x.count(), MIN_ROWS, width, y, |rows, y, scratch| {
        sparse_dot::forward(x, rows, w.data, width, y, scratch)
    });
    Ok(())
}

fn sparse_dot_transposed(call: &mut Call) -> Result<(), String> {
    let (x, g) = sparse_operands(call, call.num_operands())?;
    let threads = threads(call)?;
    let (out, shape) = call.result::<f32>()?;
    out.fill(0.0);
    add_transposed(threads, x, g, out, shape)
}

fn sparse_dot_transposed_add(call: &mut Call) -> Result<(), String> {
    let sum = call.num_operands() - 1;
    let (x, g) = sparse_operands(call, sum)?;
    let threads = threads(call)?;
    let (out, shape) = call.result_in_place::<f32>(sum)?;
    add_transposed(threads, x, g, out, shape)
}

fn mlp(call: &mut Call) -> Result<(), String> {
    let count = (call.num_operands() - 1) / 2;
    let (x, layers) = mlp_operands(call, count)?;
    let (activation, threads) = (activation(call)?, threads(call)?);
    let mut results = call.results::<f32>()?;
    let rows = check_mlp(x, &layers, &results)?;
    let part = part_of(rows, threads, MIN_MLP_ROWS);
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

fn mlp_gradient(call: &mut Call) -> Result<(), String> {
    let count = call.num_operands() / 3;
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
    let part = part_of(rows, threads, MIN_MLP_ROWS);
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

/// Rows of a part, of `count` rows that up to `threads` threads share with at least `least` each.
fn part_of(count: usize, threads: usize, least: usize) -> usize {
    count.div_ceil(threads.clamp(1, count.div_ceil(least).max(1))).max(1)
}

/// Works on each part in a thread of its own, the first in this one.
fn in_threads<T: Send>(mut parts: impl Iterator<Item = T>, work: impl Fn(T) + Sync) {
    let own = parts.next();
    std::thread::scope(|scope| {
        let work = &work;
        for part in parts {
            scope.spawn(move || work(part));
        }
        own.into_iter().for_each(work);
    });
}

fn add_transposed(
    threads: usize,
    x: Rows,
    g: Array<f32>,
    out: &mut [f32],
    shape: &[i64],
) -> Result<(), String> {
    let width = fit(shape, x.width, g, x.count())?;
    share(threads, x.width, MIN_COLUMNS, width, out, |columns, out, scratch| {
        sparse_dot::transposed(x, columns, g.data, width, out, scratch)
    });
    Ok(())
}

/// The sparse operand, some of its rows if the second operand says so, and the other factor, of the first `count` operands.
fn sparse_operands<'a>(call: &Call<'a>, count: usize) -> Result<(Rows<'a>, Array<'a, f32>), String> {
    let x = call.operand::<f32>(0)?;
    let chosen = if count == 3 { Some(call.operand::<i32>(1)?.data) } else { None };
    let &[height, width] = x.shape else { return Err(format!("x has the shape {:?}", x.shape)) };
    if height == 0 && chosen.is_some() {
        return Err("x has no rows to choose from".into());
    }
    let rows = Rows { numbers: x.data, height: height as usize, width: width as usize, chosen };
    Ok((rows, call.operand(count - 1)?))
}

/// The width of the result, if `shape` is `[height, width]` and the other operand `[other_height, width]`.
fn fit(shape: &[i64], height: usize, other: Array<f32>, other_height: usize) -> Result<usize, String> {
    match (shape, other.shape) {
        (&[h, w], &[o, v]) if (h as usize, o as usize, w) == (height, other_height, v) => Ok(w as usize),
        _ => Err(format!("the shapes {shape:?} and {:?} do not fit x", other.shape)),
    }
}

/// Rows of the result, at least, for which a thread more pays.
const MIN_ROWS: usize = 64;
const MIN_COLUMNS: usize = 256;
/// Rows of an MLP, at least, for which a thread more pays.
const MIN_MLP_ROWS: usize = 256;

/// How many threads a call may use: the cores of its device.
fn threads(call: &Call) -> Result<usize, String> {
    static CORES: OnceLock<usize> = OnceLock::new();
    let cores = CORES.get_or_init(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()));
    let devices = call.attribute(DEVICES)?.max(1) as usize;
    Ok((cores / devices).max(1))
}

/// Runs `work` on parts of the `count` rows of `out`, each `width` wide, in up to `threads` threads with at least `least` rows
/// each.
fn share(
    threads: usize,
    count: usize,
    least: usize,
    width: usize,
    out: &mut [f32],
    work: impl Fn(Range<usize>, &mut [f32], &mut Scratch) + Sync,
) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    if out.is_empty() {
        return;
    }
    let part = part_of(count, threads, least);
    let work = |(i, out): (usize, &mut [f32])| {
        let range = i * part..((i + 1) * part).min(count);
        SCRATCH.with_borrow_mut(|scratch| work(range, out, scratch));
    };
    in_threads(out.chunks_mut(part * width).enumerate(), work);
}
