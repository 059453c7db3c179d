//! The calls of a convolution: which operands and results they have, and how threads share the images.
//!
//! The mathematics is in `conv.rs`. The gradient of the kernel is a sum over all images: each thread adds up its own, and the parts are
//! added in their order, so that the same number of threads gives the same bits.

use super::call::{Array, Call};
use super::conv::{self, Shape, TAPS, WIDTH};
use super::{in_threads, part_of, threads};

/// Outputs, at least, for which a thread more pays: each transforms the kernel for itself.
const MIN_OUTPUTS: usize = 1 << 10;

pub fn conv(call: &mut Call) -> Result<(), String> {
    let (images, kernel) = (call.operand::<f32>(0)?, call.operand::<f32>(1)?);
    let threads = threads(call)?;
    let (output, result) = call.result::<f32>()?;
    let shape = fit(images, result, kernel.shape)?;
    let part = part(shape, images, threads);
    let parts = images.data.chunks(part * shape.pixels() * shape.channels);
    let parts = parts.zip(output.chunks_mut(part * shape.pixels() * shape.filters));
    in_threads(parts, |(images, output)| conv::forward(shape, images, kernel.data, output));
    Ok(())
}

pub fn conv_gradient(call: &mut Call) -> Result<(), String> {
    let (images, cotangent) = (call.operand::<f32>(0)?, call.operand::<f32>(1)?);
    let threads = threads(call)?;
    let (gradient, result) = call.result::<f32>()?;
    let shape = fit(images, cotangent.shape, result)?;
    let part = part(shape, images, threads);
    let images = images.data.chunks(part * shape.pixels() * shape.channels);
    let cotangents = cotangent.data.chunks(part * shape.pixels() * shape.filters);
    // The first part is written into the result, the others into memory that is added up.
    let mut others = vec![vec![0.0; gradient.len()]; images.len() - 1];
    let gradients = std::iter::once(&mut *gradient).chain(others.iter_mut().map(Vec::as_mut_slice));
    in_threads(images.zip(cotangents).zip(gradients), |((images, cotangents), gradient)| {
        conv::kernel_gradient(shape, images, cotangents, gradient);
    });
    for other in &others {
        gradient.iter_mut().zip(other).for_each(|(sum, part)| *sum += part);
    }
    Ok(())
}

/// Images of a part.
fn part(shape: Shape, images: Array<f32>, threads: usize) -> usize {
    part_of(images.shape[0] as usize, threads, MIN_OUTPUTS.div_ceil(shape.pixels()))
}

/// What the calls are about, if images, their convolution and the kernel fit each other.
fn fit(images: Array<f32>, convolution: &[i64], kernel: &[i64]) -> Result<Shape, String> {
    const SIDE: i64 = TAPS as i64;
    let fits = |count: i64| count > 0 && (count as usize).is_multiple_of(WIDTH);
    match (images.shape, convolution, kernel) {
        (&[count, height, width, channels], &[n, h, w, filters], &[SIDE, SIDE, inputs, outputs])
            if [count, height, width] == [n, h, w]
                && [channels, filters] == [inputs, outputs]
                && fits(channels)
                && fits(filters)
                && !images.data.is_empty() =>
        {
            let [height, width, channels, filters] =
                [height, width, channels, filters].map(|size| size as usize);
            Ok(Shape { height, width, channels, filters })
        }
        _ => {
            Err(format!("images {:?}, their convolution {convolution:?}, a kernel {kernel:?}", images.shape))
        }
    }
}
