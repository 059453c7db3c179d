//! A convolution with kernels of 3 x 3 by Winograd's algorithm (Lavin & Gray 2016, "Fast algorithms for convolutional neural
//! networks"), forwards and for the gradient of the kernel.
//!
//! An image is cut into tiles of 4 x 4 outputs, each of which depends on a patch of 6 x 6 inputs. Patches and kernel are
//! transformed, along both axes, into 36 numbers each; the transformed outputs are their products, summed over the channels. These
//! are 36 matrix products which together multiply a quarter as often as the convolution itself does. The transformation is the
//! evaluation of polynomials at the points 0, A, -A, B, -B and infinity; with A = 1/B their powers stay near 1, so that little is
//! lost by rounding.

use super::lanes::{Lanes, best_lanes};
use super::matrices::{Memory, Right};
use super::product::{Left, Numbers, Start, panel, product};

/// Rows and columns of the kernel.
pub const TAPS: usize = 3;
/// Rows and columns of the outputs of a tile.
const TILE: usize = 4;
/// Rows and columns of the inputs of a tile, and of its transformation.
const PATCH: usize = TILE + TAPS - 1;
/// Numbers of a transformed tile.
const PLACES: usize = PATCH * PATCH;
/// Tiles that are worked on together, a multiple of the rows of a tile of the matrix products.
const BLOCK: usize = 36;
/// Channels and filters come in multiples of so many.
pub const WIDTH: usize = 16;

const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
const B: f32 = std::f32::consts::SQRT_2;
/// What divides the kernel's values at A and -A, and at B and -B: the product of the differences to the other points.
const OF_A: f32 = 2.0 * (A * A) * (A * A - B * B);
const OF_B: f32 = 2.0 * (B * B) * (B * B - A * A);

/// Images f32`[N, height, width, channels]` and kernels f32`[3, 3, channels, filters]`, with a zero all around the images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    pub filters: usize,
}

impl Shape {
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Tiles of an image along its rows and its columns.
    fn tiles(&self) -> [usize; 2] {
        [self.height.div_ceil(TILE), self.width.div_ceil(TILE)]
    }

    /// Which image a tile belongs to, and the row and the column of its first output.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let [rows, columns] = self.tiles();
        let (image, tile) = (tile / (rows * columns), tile % (rows * columns));
        (image, tile / columns * TILE, tile % columns * TILE)
    }
}

best_lanes! {
    /// The convolution of the images.
    pub fn forward = forward_with(shape: Shape, images: &[f32], kernel: &[f32], output: &mut [f32])
}

best_lanes! {
    /// The gradient of the kernel, of the images and the cotangent of the output.
    pub fn kernel_gradient = kernel_gradient_with(shape: Shape, images: &[f32], cotangent: &[f32], gradient: &mut [f32])
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(shape: Shape, images: &[f32], kernel: &[f32], output: &mut [f32]) {
    let Shape { channels, filters, .. } = shape;
    let count = check(shape, images, kernel, output);
    let panels = Panels::new::<L>(channels, filters);
    let (inputs, sums) = (Places::of(BLOCK * channels), Places::of(BLOCK * filters));
    let mut memory = Memory::of(PLACES * panels.size() + inputs.size() + sums.size() + channels + filters);
    let mut scratch = memory.scratch();
    let kernels = scratch.take(PLACES * panels.size());
    let (v, m) = (scratch.take(inputs.size()), scratch.take(sums.size()));
    let (zeros, nowhere) = (scratch.take(channels), scratch.take(filters));
    zeros.fill(0.0);
    // SAFETY: the caller's instruction set is that of `L`; the pointers lie in the arrays, whose sizes were checked.
    unsafe {
        for c in 0..channels {
            for (from, to, numbers) in panels.parts() {
                let taps = |i| kernel.as_ptr().add((i * channels + c) * filters + from);
                let taps = square(taps);
                let places = square(|p| kernels.as_mut_ptr().add(p * panels.size() + to + c * panels.step));
                transform::<L, Taps, TAPS, PATCH>(&taps, &places, numbers);
            }
        }
        for first in (0..count).step_by(BLOCK) {
            let tiles = BLOCK.min(count - first);
            for t in 0..tiles {
                let pixels = patch(shape, images.as_ptr(), zeros.as_ptr(), first + t);
                let places = square(|p| v.as_mut_ptr().add(p * inputs.step + t * channels));
                transform::<L, Inputs, PATCH, PATCH>(&pixels, &places, channels);
            }
            for p in 0..PLACES {
                let left = Left { numbers: &v[p * inputs.step..], row_step: channels, inner_step: 1 };
                let right = panels.right(&kernels[p * panels.size()..][..panels.size()]);
                product::<L, Numbers>(left, tiles, channels, right, Start::Zero, &mut m[p * sums.step..]);
            }
            for t in 0..tiles {
                let places = square(|p| m.as_ptr().add(p * sums.step + t * filters));
                let pixels = outputs(shape, output.as_mut_ptr(), nowhere.as_mut_ptr(), first + t);
                transform::<L, Sums, PATCH, TILE>(&places, &pixels, filters);
            }
        }
    }
}

#[inline(always)]
unsafe fn kernel_gradient_with<L: Lanes>(
    shape: Shape,
    images: &[f32],
    cotangent: &[f32],
    gradient: &mut [f32],
) {
    let Shape { channels, filters, .. } = shape;
    let count = check(shape, images, gradient, cotangent);
    let panels = Panels::new::<L>(BLOCK, filters);
    let (inputs, sums) = (Places::of(BLOCK * channels), Places::of(channels * filters));
    let mut memory = Memory::of(PLACES * panels.size() + inputs.size() + sums.size() + channels + filters);
    let mut scratch = memory.scratch();
    let cotangents = scratch.take(PLACES * panels.size());
    let (v, m) = (scratch.take(inputs.size()), scratch.take(sums.size()));
    let zeros = scratch.take(channels.max(filters));
    zeros.fill(0.0);
    m.fill(0.0);
    // SAFETY: as in `forward_with`.
    unsafe {
        for first in (0..count).step_by(BLOCK) {
            let tiles = BLOCK.min(count - first);
            for t in 0..tiles {
                let pixels = patch(shape, images.as_ptr(), zeros.as_ptr(), first + t);
                let places = square(|p| v.as_mut_ptr().add(p * inputs.step + t * channels));
                transform::<L, Inputs, PATCH, PATCH>(&pixels, &places, channels);
                // Outputs beyond the image have no cotangent. They are only read.
                let pixels = outputs(shape, cotangent.as_ptr().cast_mut(), zeros.as_mut_ptr(), first + t);
                for (from, to, numbers) in panels.parts() {
                    let pixels = square(|i| pixels[i / TILE][i % TILE].add(from).cast_const());
                    let places =
                        square(|p| cotangents.as_mut_ptr().add(p * panels.size() + to + t * panels.step));
                    transform::<L, Cotangents, TILE, PATCH>(&pixels, &places, numbers);
                }
            }
            for p in 0..PLACES {
                let left = Left { numbers: &v[p * inputs.step..], row_step: 1, inner_step: channels };
                let right = panels.right(&cotangents[p * panels.size()..][..panels.size()]);
                product::<L, Numbers>(left, channels, tiles, right, Start::Sum, &mut m[p * sums.step..]);
            }
        }
        for c in 0..channels {
            let places = square(|p| m.as_ptr().add(p * sums.step + c * filters));
            let taps = square(|i| gradient.as_mut_ptr().add((i * channels + c) * filters));
            transform::<L, TapGradients, PATCH, TAPS>(&places, &taps, filters);
        }
    }
}

/// The number of tiles, if the arrays have their sizes.
fn check(shape: Shape, images: &[f32], kernel: &[f32], output: &[f32]) -> usize {
    let Shape { channels, filters, .. } = shape;
    let numbers = shape.pixels() * channels;
    let count = images.len() / numbers.max(1);
    assert!(channels % WIDTH == 0 && filters % WIDTH == 0 && numbers > 0);
    assert!(images.len() == count * numbers && output.len() == count * shape.pixels() * filters);
    assert!(kernel.len() == TAPS * TAPS * channels * filters);
    let [rows, columns] = shape.tiles();
    count * rows * columns
}

/// Where a transformed array lies: 36 matrices, a step apart.
struct Places {
    step: usize,
}

impl Places {
    /// Matrices of that many numbers, with a line of the cache between them: with a power of two as their distance, few places of
    /// the cache would serve all of them.
    fn of(numbers: usize) -> Places {
        Places { step: numbers + WIDTH }
    }

    fn size(&self) -> usize {
        PLACES * self.step
    }
}

/// The right factor of a product: rows of `width` numbers in panels, of `step` columns each.
struct Panels {
    rows: usize,
    width: usize,
    step: usize,
}

impl Panels {
    fn new<L: Lanes>(rows: usize, width: usize) -> Panels {
        Panels { rows, width, step: width.min(panel::<L>()) }
    }

    fn size(&self) -> usize {
        self.width.div_ceil(self.step) * self.rows * self.step
    }

    /// Of each panel: its first column, where it begins, and its columns.
    fn parts(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        (0..self.width)
            .step_by(self.step)
            .map(|first| (first, first * self.rows, self.step.min(self.width - first)))
    }

    fn right<'a>(&self, numbers: &'a [f32]) -> Right<'a> {
        Right { numbers, width: self.width, row_step: self.step, panel_step: self.rows * self.step }
    }
}

/// The pixels that a tile depends on; those outside the image are `zeros`.
#[inline(always)]
unsafe fn patch(
    shape: Shape,
    images: *const f32,
    zeros: *const f32,
    tile: usize,
) -> [[*const f32; PATCH]; PATCH] {
    let (image, row, column) = shape.place(tile);
    square(|i| {
        // The patch begins a pixel before the outputs; before the first pixel, the numbers wrap and are too large.
        let (y, x) = ((row + i / PATCH).wrapping_sub(1), (column + i % PATCH).wrapping_sub(1));
        match y < shape.height && x < shape.width {
            // SAFETY: the pixel is one of the image.
            true => unsafe { images.add((image * shape.pixels() + y * shape.width + x) * shape.channels) },
            false => zeros,
        }
    })
}

/// The outputs of a tile; those outside the image are `nowhere`.
#[inline(always)]
unsafe fn outputs(
    shape: Shape,
    output: *mut f32,
    nowhere: *mut f32,
    tile: usize,
) -> [[*mut f32; TILE]; TILE] {
    let (image, row, column) = shape.place(tile);
    square(|i| {
        let (y, x) = (row + i / TILE, column + i % TILE);
        match y < shape.height && x < shape.width {
            // SAFETY: the pixel is one of the image.
            true => unsafe { output.add((image * shape.pixels() + y * shape.width + x) * shape.filters) },
            false => nowhere,
        }
    })
}

/// `S` rows of `S` values each, of their numbers.
#[inline(always)]
fn square<T, const S: usize>(mut value: impl FnMut(usize) -> T) -> [[T; S]; S] {
    std::array::from_fn(|row| std::array::from_fn(|column| value(row * S + column)))
}

/// A linear map from `I` numbers to `O`.
trait Map<const I: usize, const O: usize> {
    unsafe fn apply<L: Lanes>(x: [L; I]) -> [L; O];
}

/// Maps squares of arrays along both axes: the first `numbers` numbers of each array.
#[inline(always)]
unsafe fn transform<L: Lanes, M: Map<I, O>, const I: usize, const O: usize>(
    from: &[[*const f32; I]; I],
    to: &[[*mut f32; O]; O],
    numbers: usize,
) {
    for at in (0..numbers).step_by(L::WIDTH) {
        // SAFETY: the caller's instruction set is that of `L`, and each array has that many numbers.
        unsafe {
            let mut half = [[L::splat(0.0); I]; O];
            for column in 0..I {
                let mut x = [L::splat(0.0); I];
                for row in 0..I {
                    x[row] = L::load(from[row][column].add(at));
                }
                let y = M::apply::<L>(x);
                for row in 0..O {
                    half[row][column] = y[row];
                }
            }
            for (row, to) in half.into_iter().zip(to) {
                let y = M::apply::<L>(row);
                for (y, to) in y.into_iter().zip(to) {
                    y.store(to.add(at));
                }
            }
        }
    }
}

/// `x + factor * y`
#[inline(always)]
unsafe fn plus<L: Lanes>(x: L, factor: f32, y: L) -> L {
    // SAFETY: by contract.
    unsafe { L::splat(factor).mul_add(y, x) }
}

/// `factor * x`
#[inline(always)]
unsafe fn times<L: Lanes>(factor: f32, x: L) -> L {
    // SAFETY: by contract.
    unsafe { x.mul(L::splat(factor)) }
}

/// A polynomial of an even and an odd part at a point and at its opposite: `even + factor * odd` and `even - factor * odd`.
#[inline(always)]
unsafe fn at_both<L: Lanes>(even: L, factor: f32, odd: L) -> [L; 2] {
    // SAFETY: by contract.
    unsafe { [plus(even, factor, odd), plus(even, -factor, odd)] }
}

/// Of values at A and -A, and at B and -B, their sum and their difference.
#[inline(always)]
unsafe fn even_and_odd<L: Lanes>(x: [L; PATCH]) -> [L; 4] {
    // SAFETY: by contract.
    unsafe { [x[1].add(x[2]), x[1].sub(x[2]), x[3].add(x[4]), x[3].sub(x[4])] }
}

/// Of a patch: its inputs, taken by the polynomials that are zero at all points but one.
struct Inputs;

impl Map<PATCH, PATCH> for Inputs {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(x: [L; PATCH]) -> [L; PATCH] {
        // SAFETY: by contract.
        unsafe {
            let [a, minus_a] = at_both(plus(x[4], -B * B, x[2]), A, plus(x[3], -B * B, x[1]));
            let [b, minus_b] = at_both(plus(x[4], -A * A, x[2]), B, plus(x[3], -A * A, x[1]));
            let (sum, product) = (A * A + B * B, A * A * (B * B));
            let zero = plus(plus(x[4], -sum, x[2]), product, x[0]);
            let infinity = plus(plus(x[5], -sum, x[3]), product, x[1]);
            [zero, a, minus_a, b, minus_b, infinity]
        }
    }
}

/// Of a kernel: its values at the points, divided by the products of their differences.
struct Taps;

impl Map<TAPS, PATCH> for Taps {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(x: [L; TAPS]) -> [L; PATCH] {
        // SAFETY: by contract.
        unsafe {
            let even_a = plus(times(1.0 / OF_A, x[0]), A * A / OF_A, x[2]);
            let even_b = plus(times(1.0 / OF_B, x[0]), B * B / OF_B, x[2]);
            let [a, minus_a] = at_both(even_a, A / OF_A, x[1]);
            let [b, minus_b] = at_both(even_b, B / OF_B, x[1]);
            [times(1.0 / (A * A * (B * B)), x[0]), a, minus_a, b, minus_b, x[2]]
        }
    }
}

/// Transformed outputs back to the outputs.
struct Sums;

impl Map<PATCH, TILE> for Sums {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(x: [L; PATCH]) -> [L; TILE] {
        // SAFETY: by contract.
        unsafe {
            let [even_a, odd_a, even_b, odd_b] = even_and_odd(x);
            [
                x[0].add(even_a).add(even_b),
                plus(times(A, odd_a), B, odd_b),
                plus(times(A * A, even_a), B * B, even_b),
                plus(plus(x[5], A * A * A, odd_a), B * B * B, odd_b),
            ]
        }
    }
}

/// The transposed map of [`Sums`].
struct Cotangents;

impl Map<TILE, PATCH> for Cotangents {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(x: [L; TILE]) -> [L; PATCH] {
        // SAFETY: by contract.
        unsafe {
            let [a, minus_a] = at_both(plus(x[0], A * A, x[2]), A, plus(x[1], A * A, x[3]));
            let [b, minus_b] = at_both(plus(x[0], B * B, x[2]), B, plus(x[1], B * B, x[3]));
            [x[0], a, minus_a, b, minus_b, x[3]]
        }
    }
}

/// The transposed map of [`Taps`].
struct TapGradients;

impl Map<PATCH, TAPS> for TapGradients {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(x: [L; PATCH]) -> [L; TAPS] {
        // SAFETY: by contract.
        unsafe {
            let [even_a, odd_a, even_b, odd_b] = even_and_odd(x);
            let scaled = times(1.0 / (A * A * (B * B)), x[0]);
            [
                plus(plus(scaled, 1.0 / OF_A, even_a), 1.0 / OF_B, even_b),
                plus(times(A / OF_A, odd_a), B / OF_B, odd_b),
                plus(plus(x[5], A * A / OF_A, even_a), B * B / OF_B, even_b),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kernels::lanes::every_lanes;

    const COUNT: usize = 5;

    fn numbers(size: usize, seed: f32) -> Vec<f32> {
        (0..size).map(|i| ((i as f32 * 0.7 + seed).sin() * 43.7).fract()).collect()
    }

    /// Calls `with` with the indices of an output, of a tap and of the pixel under it, for all that lie in the image.
    fn each(shape: Shape, mut with: impl FnMut(usize, usize, usize)) {
        let Shape { height, width, .. } = shape;
        for image in 0..COUNT {
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for tap in 0..TAPS * TAPS {
                    let (from_y, from_x) =
                        ((y + tap / TAPS).wrapping_sub(1), (x + tap % TAPS).wrapping_sub(1));
                    if from_y < height && from_x < width {
                        let pixel = |y, x| (image * height + y) * width + x;
                        with(pixel(y, x), tap, pixel(from_y, from_x));
                    }
                }
            }
        }
    }

    /// The output and the gradient of the kernel by their definitions, in f64.
    fn expected(shape: Shape, images: &[f32], kernel: &[f32], cotangent: &[f32]) -> [Vec<f64>; 2] {
        let Shape { channels, filters, .. } = shape;
        let (mut output, mut gradient) = (vec![0.0; cotangent.len()], vec![0.0; kernel.len()]);
        each(shape, |to, tap, from| {
            for (c, f) in (0..channels).flat_map(|c| (0..filters).map(move |f| (c, f))) {
                let (weight, x) =
                    ((tap * channels + c) * filters + f, f64::from(images[from * channels + c]));
                output[to * filters + f] += x * f64::from(kernel[weight]);
                gradient[weight] += x * f64::from(cotangent[to * filters + f]);
            }
        });
        [output, gradient]
    }

    #[inline(always)]
    unsafe fn run<L: Lanes>(case: &(Shape, [Vec<f32>; 3])) -> [Vec<f32>; 2] {
        let (shape, [images, kernel, cotangent]) = case;
        let (mut output, mut gradient) = (vec![0.0; cotangent.len()], vec![0.0; kernel.len()]);
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe {
            forward_with::<L>(*shape, images, kernel, &mut output);
            kernel_gradient_with::<L>(*shape, images, cotangent, &mut gradient);
        }
        [output, gradient]
    }

    every_lanes!(fn run_with_every = run(case: &(Shape, [Vec<f32>; 3])) -> [Vec<f32>; 2]);

    #[test]
    fn it_is_the_convolution_for_every_kind_of_vector() {
        for (height, width, channels, filters) in
            [(11, 11, 32, 64), (6, 7, 16, 32), (4, 4, 64, 16), (1, 3, 16, 80), (9, 2, 48, 144)]
        {
            let shape = Shape { height, width, channels, filters };
            let sizes =
                [COUNT * shape.pixels() * channels, 9 * channels * filters, COUNT * shape.pixels() * filters];
            let case = (shape, [0, 1, 2].map(|i| numbers(sizes[i], i as f32)));
            let expected = expected(shape, &case.1[0], &case.1[1], &case.1[2]);
            for (kind, found) in run_with_every(&case) {
                for (found, expected) in found.iter().zip(&expected) {
                    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
                    let off = |(a, b): (&f32, &f64)| (f64::from(*a) - b).abs() / largest;
                    let worst = found.iter().zip(expected).map(off).fold(0.0, f64::max);
                    assert!(worst < 5e-6, "{kind}, {shape:?}: {worst}");
                }
            }
        }
    }
}
