//! Convolution over images.

use crate::ir::{Kernel, Op, Window, is_usual_conv};

use super::array::{Array, Float};
use super::trace::emit;

/// How the kernel of [`conv2d`] moves over the images; by default one place at a time, without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// Rows and columns from one output to the next.
    pub strides: [usize; 2],
    pub padding: Padding,
    /// Rows and columns from one element of the kernel to the next.
    pub dilation: [usize; 2],
}

/// The zeros around the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// None: the output is smaller than the images.
    #[default]
    Valid,
    /// So many that an output is as large as the images, divided by the stride and rounded up; the odd one at the end.
    Same,
    /// Before the first and after the last row, before the first and after the last column.
    Explicit([[usize; 2]; 2]),
}

impl Default for Conv2d {
    fn default() -> Self {
        Conv2d { strides: [1, 1], padding: Padding::Valid, dilation: [1, 1] }
    }
}

/// Convolves images `[N, height, width, channels]` with a kernel `[height, width, channels, filters]`; the output is
/// `[N, height', width', filters]`. The kernel is not reversed (as in all libraries for networks: it is a correlation).
///
/// Panics at the caller's line if the shapes do not fit, or if the kernel does not fit into the padded images.
#[track_caller]
pub fn conv2d(images: Float, kernel: Float, options: Conv2d) -> Float {
    let (image, taps) = (images.shape(), kernel.shape());
    assert!(image.len() == 4, "conv2d: images are [N, height, width, channels], not {}", images.array_type());
    assert!(
        taps.len() == 4,
        "conv2d: a kernel is [height, width, channels, filters], not {}",
        kernel.array_type()
    );
    let mut windows = [Window::default(); 2];
    for (axis, window) in windows.iter_mut().enumerate() {
        *window = options.window(axis, image[axis + 1], taps[axis]);
    }
    let op = match is_usual_conv(&windows, &kernel.array_type()) {
        true => Op::Kernel(Kernel::Conv),
        false => Op::Conv { windows },
    };
    Array::from_handle(emit(op, &[images.handle, kernel.handle])[0])
}

impl Conv2d {
    /// The window along one axis of the images, which have `size` elements along it, the kernel `taps`.
    #[track_caller]
    fn window(self, axis: usize, size: usize, taps: usize) -> Window {
        let (stride, kernel_dilation) = (self.strides[axis], self.dilation[axis]);
        assert!(
            stride > 0 && kernel_dilation > 0,
            "conv2d: strides {:?} and dilation {:?} must be at least 1",
            self.strides,
            self.dilation
        );
        let padding = match self.padding {
            Padding::Valid => [0, 0],
            Padding::Explicit(padding) => padding[axis],
            Padding::Same => {
                let outputs = size.div_ceil(stride);
                let needed =
                    outputs.saturating_sub(1) * stride + taps.saturating_sub(1) * kernel_dilation + 1;
                let missing = needed.saturating_sub(size);
                [missing / 2, missing - missing / 2]
            }
        };
        Window { stride, padding: padding.map(|count| count as i64), input_dilation: 1, kernel_dilation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::{ArrayType, DType};
    use crate::lang::{Handle, trace};

    fn shape(images: [usize; 4], kernel: &[usize], options: Conv2d) -> Vec<usize> {
        let float =
            |shape: &[usize]| Float::from_handle(Handle::placeholder(&ArrayType::new(DType::F32, shape)));
        let inputs = (float(&images), float(kernel));
        trace(&inputs, |(images, kernel)| conv2d(images, kernel, options)).output.shape()
    }

    #[test]
    fn padding_and_strides_give_the_usual_sizes() {
        let strided = |padding| Conv2d { strides: [2, 3], padding, ..Conv2d::default() };
        assert_eq!(shape([8, 10, 12, 3], &[3, 3, 3, 16], Conv2d::default()), [8, 8, 10, 16]);
        assert_eq!(shape([8, 10, 12, 3], &[3, 4, 3, 16], strided(Padding::Valid)), [8, 4, 3, 16]);
        assert_eq!(shape([8, 11, 12, 3], &[3, 4, 3, 16], strided(Padding::Same)), [8, 6, 4, 16]);
        let explicit = strided(Padding::Explicit([[0, 1], [2, 0]]));
        assert_eq!(shape([8, 10, 12, 3], &[3, 4, 3, 16], explicit), [8, 5, 4, 16]);
        let wide = Conv2d { padding: Padding::Same, dilation: [3, 2], ..Conv2d::default() };
        assert_eq!(shape([1, 5, 4, 1], &[3, 3, 1, 1], wide), [1, 5, 4, 1]);
    }

    #[test]
    #[should_panic(expected = "is for images of 4 channels, f32[8,10,12,3] has 3")]
    fn channels_must_be_equal() {
        shape([8, 10, 12, 3], &[3, 3, 4, 16], Conv2d::default());
    }

    #[test]
    #[should_panic(
        expected = "5 rows with padding [0, 0] are too few for a kernel of 6 rows with dilation 1"
    )]
    fn the_kernel_must_fit() {
        shape([8, 5, 12, 3], &[6, 3, 3, 16], Conv2d::default());
    }

    #[test]
    #[should_panic(expected = "a kernel is [height, width, channels, filters], not f32[3,3]")]
    fn a_kernel_has_four_axes() {
        shape([8, 5, 12, 3], &[3, 3], Conv2d::default());
    }
}
