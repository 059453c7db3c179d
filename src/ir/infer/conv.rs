//! Convolutions: images and kernel meet in their channels, and the kernel fits into the padded images.

use crate::array::ArrayType;
use crate::ir::Window;

use super::ensure;

/// The type of the output for images and a kernel of these types.
pub fn conv(windows: &[Window; 2], images: &ArrayType, kernel: &ArrayType) -> Result<ArrayType, String> {
    let [batch, height, width, channels] = images.shape[..] else {
        return Err(format!("conv2d: images are [N, height, width, channels], not {images}"));
    };
    let [kernel_height, kernel_width, kernel_channels, filters] = kernel.shape[..] else {
        return Err(format!("conv2d: a kernel is [height, width, channels, filters], not {kernel}"));
    };
    ensure(images.dtype.is_float() && images.dtype == kernel.dtype, || {
        format!("conv2d: images {images} and kernel {kernel} must be of one float dtype")
    })?;
    ensure(channels == kernel_channels, || {
        format!(
            "conv2d: the kernel {kernel} is for images of {kernel_channels} channels, {images} has {channels}"
        )
    })?;
    let rows = outputs("rows", windows[0], height, kernel_height)?;
    let columns = outputs("columns", windows[1], width, kernel_width)?;
    Ok(ArrayType::new(images.dtype, [batch, rows, columns, filters]))
}

/// The number of outputs along one axis, whose elements are called `name`.
fn outputs(name: &str, window: Window, size: usize, taps: usize) -> Result<usize, String> {
    let Window { stride, padding, input_dilation, kernel_dilation } = window;
    ensure(stride > 0 && input_dilation > 0 && kernel_dilation > 0, || {
        format!("conv2d: strides and dilations are at least 1, not as in {window:?}")
    })?;
    ensure(size > 0 && taps > 0, || format!("conv2d: the images or the kernel have no {name}"))?;
    let outputs = window.outputs(size, taps);
    ensure(outputs > 0, || {
        format!(
            "conv2d: {size} {name} with padding {padding:?} are too few for a kernel of {taps} {name} with dilation \
             {kernel_dilation}"
        )
    })?;
    Ok(outputs)
}
