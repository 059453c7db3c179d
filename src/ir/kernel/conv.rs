//! The usual convolution of networks over images, 3 x 3 with a zero all around, so that the image keeps its size: types and twins;
//! and the gradients of convolutions, usual or not.

use crate::array::{ArrayType, DType};

use super::super::{Build, Op, Var, Window};
use crate::runtime::kernels::{CONV_TAPS, CONV_WIDTH};

/// How the kernel moves over the images, along both axes.
pub const WINDOWS: [Window; 2] =
    [Window { stride: 1, padding: [1, 1], input_dilation: 1, kernel_dilation: 1 }; 2];

/// Whether a convolution is this one.
pub fn is_usual_conv(windows: &[Window; 2], kernel: &ArrayType) -> bool {
    *windows == WINDOWS && kernel.shape[..2] == [CONV_TAPS; 2]
}

/// Whether the native function is for images, and what it is given with them, of these types.
pub fn is_native_for(inputs: &[ArrayType]) -> bool {
    let channels =
        |array: &ArrayType| array.shape.last().is_some_and(|&count| count > 0 && count % CONV_WIDTH == 0);
    inputs.iter().all(|input| input.dtype == DType::F32 && input.size() > 0 && channels(input))
}

/// The type of the output.
///
/// # Errors
/// What does not fit.
pub fn infer(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    match (&inputs[0].shape[..], &inputs[1].shape[..]) {
        (&[count, height, width, channels], &[CONV_TAPS, CONV_TAPS, others, filters])
            if channels == others =>
        {
            Ok(vec![ArrayType::new(inputs[0].dtype, [count, height, width, filters])])
        }
        _ => Err(format!("{name} of {} with {}", inputs[0], inputs[1])),
    }
}

/// The type of the gradient of the kernel.
///
/// # Errors
/// What does not fit.
pub fn infer_gradient(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    match (&inputs[0].shape[..], &inputs[1].shape[..]) {
        (&[ref pixels @ .., channels], &[ref others @ .., filters])
            if pixels.len() == 3 && pixels == others =>
        {
            Ok(vec![ArrayType::new(inputs[0].dtype, [CONV_TAPS, CONV_TAPS, channels, filters])])
        }
        _ => Err(format!("{name} of {} and {}", inputs[0], inputs[1])),
    }
}

/// The twin.
pub fn conv(b: &mut Build, inputs: &[Var]) -> Var {
    b.one(Op::Conv { windows: WINDOWS }, inputs)
}

/// The twin of the gradient.
pub fn gradient(b: &mut Build, inputs: &[Var]) -> Var {
    let &[images, cotangent] = inputs else { unreachable!("the inputs were counted") };
    kernel_gradient(b, images, cotangent, WINDOWS, [CONV_TAPS; 2])
}

/// A kernel for the images of the cotangent of a convolution's output: reversed, its channels and filters exchanged.
pub fn reversed_kernel(b: &mut Build, kernel: Var) -> Var {
    let reversed = b.one(Op::Reverse { axes: vec![0, 1] }, &[kernel]);
    b.transpose(reversed, &[0, 1, 3, 2])
}

/// The cotangent of the kernel, which has so many rows and columns: a convolution of the images, examples and channels exchanged, with
/// the cotangent of the output as the kernel.
pub fn kernel_gradient(
    b: &mut Build,
    images: Var,
    cotangent: Var,
    windows: [Window; 2],
    taps: [usize; 2],
) -> Var {
    let sizes = b.array_type(images).shape;
    let windows = [0, 1].map(|i| windows[i].of_kernel(sizes[i + 1], taps[i]));
    let images = b.transpose(images, &[3, 1, 2, 0]);
    let cotangent = b.transpose(cotangent, &[1, 2, 0, 3]);
    let product = b.one(Op::Conv { windows }, &[images, cotangent]);
    b.transpose(product, &[1, 2, 0, 3])
}
