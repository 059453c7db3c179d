//! Two-dimensional convolution: how its window moves, and the windows of its gradients.
//!
//! The general form, as in XLA: strides, padding (negative padding cuts), and dilation of the images as well as of the kernel.
//! With both dilations the gradients by the images and by the kernel are convolutions again, so one op is enough for all orders
//! of derivative.
//!
//! Images are `[N, H, W, C]` and kernels `[KH, KW, C, O]`. That is the layout of the routine that XLA's compiler for cpu calls;
//! it transposes arrays of any other layout before and after (`[N, C, H, W]` took up to twice as long). Compilers for other
//! devices choose a layout by themselves.

/// How the window moves along one axis of the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// Places from one output to the next.
    pub stride: usize,
    /// Zeros before and after the dilated images; a negative number cuts off elements instead.
    pub padding: [i64; 2],
    /// Places from one element of the images to the next: zeros stand between them.
    pub input_dilation: usize,
    /// Places from one element of the kernel to the next.
    pub kernel_dilation: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window { stride: 1, padding: [0, 0], input_dilation: 1, kernel_dilation: 1 }
    }
}

impl Window {
    /// The number of outputs for `size` elements and a kernel of `taps`; none if the window does not fit.
    pub fn outputs(self, size: usize, taps: usize) -> usize {
        let padded = self.padding[0] + span(size, self.input_dilation) + self.padding[1];
        let room = padded - span(taps, self.kernel_dilation);
        if room < 0 { 0 } else { room as usize / self.stride + 1 }
    }

    /// The element of the images, of which there are `size`, that output `i` reads through element `tap` of the kernel; none in
    /// the padding and between dilated elements.
    pub fn source(self, i: usize, tap: usize, size: usize) -> Option<usize> {
        let place = (i * self.stride + tap * self.kernel_dilation) as i64 - self.padding[0];
        let place = usize::try_from(place).ok()?;
        let element = place / self.input_dilation;
        (place % self.input_dilation == 0 && element < size).then_some(element)
    }

    /// The window of the convolution of the output's cotangent with the reversed kernel, which gives the cotangent of the images.
    pub fn of_images(self, size: usize, taps: usize) -> Window {
        let last = (self.outputs(size, taps) as i64 - 1) * self.stride as i64;
        Window {
            stride: self.input_dilation,
            padding: [
                span(taps, self.kernel_dilation) - 1 - self.padding[0],
                span(size, self.input_dilation) - 1 + self.padding[0] - last,
            ],
            input_dilation: self.stride,
            kernel_dilation: self.kernel_dilation,
        }
    }

    /// The window of the convolution of the images with the output's cotangent as a kernel, which gives the cotangent of the
    /// kernel.
    pub fn of_kernel(self, size: usize, taps: usize) -> Window {
        let last = (self.outputs(size, taps) as i64 - 1) * self.stride as i64;
        let after =
            span(taps, self.kernel_dilation) + last - self.padding[0] - span(size, self.input_dilation);
        Window {
            stride: self.kernel_dilation,
            padding: [self.padding[0], after],
            input_dilation: self.input_dilation,
            kernel_dilation: self.stride,
        }
    }
}

/// Places from the first of `count` elements to the last, both included.
fn span(count: usize, dilation: usize) -> i64 {
    ((count - 1) * dilation + 1) as i64
}
