//! Convolution, as its definition says: each output is the sum over the window of image times kernel.

use ndarray::{ArrayD, IxDyn};

use crate::array::{HostArray, with_values};
use crate::ir::{Binary, Window};

use super::elementwise::{typed, wide_binary};
use super::scalar::Scalar;

/// `shape` is the shape of the result.
pub fn conv(windows: &[Window; 2], images: &HostArray, kernel: &HostArray, shape: &[usize]) -> HostArray {
    with_values!(images, images => {
        let kernel = typed(kernel);
        let output = |at: IxDyn| element(windows, images, kernel, [at[0], at[1], at[2], at[3]]);
        crate::array::Element::wrap(ArrayD::from_shape_fn(shape, output))
    })
}

/// Output `[n, i, j, o]`, summed in the wide type and rounded once.
fn element<T: Scalar>(windows: &[Window; 2], images: &ArrayD<T>, kernel: &ArrayD<T>, at: [usize; 4]) -> T {
    let [n, i, j, o] = at;
    let (image, taps) = (images.shape(), kernel.shape());
    let mut sum = T::default().widen();
    for (u, v) in (0..taps[0]).flat_map(|u| (0..taps[1]).map(move |v| (u, v))) {
        let row = windows[0].source(i, u, image[1]);
        let column = windows[1].source(j, v, image[2]);
        let (Some(row), Some(column)) = (row, column) else { continue };
        for c in 0..taps[2] {
            let (x, w) = (images[[n, row, column, c].as_slice()], kernel[[u, v, c, o].as_slice()]);
            let product = wide_binary::<T>(Binary::Mul, x.widen(), w.widen());
            sum = wide_binary::<T>(Binary::Add, sum, product);
        }
    }
    T::narrow(sum)
}
