//! Products with a matrix that is mostly zeros: the first layer of a network that reads a board.
//!
//! An observation of HackMatrix has 1545 numbers, of which about 73 are not zero. Forwards, the numbers of a row of x
//! that are not zero are listed, and the rows of the weights that they name are added up in registers. For the
//! gradient of the weights, those of a block of rows are listed and sorted by column, so that each row of the
//! gradient is added up in registers as well and written once per block. What bounds both is reading the weights,
//! or the cotangents, from the second level of the cache.
//!
//! The rows of x are plain or packed (see `rows`).
//!
//! Any x gives the right result: a zero contributes nothing, everything else is multiplied, and rows that are
//! dense are multiplied as they are. (A zero times a weight that is infinite or not a number is nothing, where
//! the plain product gives NaN.)

use std::ops::Range;

mod rows;

use super::lanes::{Lanes, best_lanes};
use rows::NonZeros;
pub use rows::{Matrix, Rows, check_packed};

/// Rows of which one in this many numbers is not zero are multiplied as they are.
const DENSE: usize = 3;

/// Rows of the result that are computed together.
const GROUP: usize = 4;

best_lanes! {
    /// `y = x w` for some rows of x: `w` is `[x.width(), width]`, `y` has the rows `rows` of the product.
    pub fn forward = forward_with(
        x: Rows, rows: Range<usize>, w: &[f32], width: usize, y: &mut [f32], scratch: &mut Scratch,
    )
}

best_lanes! {
    /// Adds some rows of `x^T g` to `out`: `g` is `[x.count(), width]`, `out` has the rows `columns` of the product, that is,
    /// one for each of these columns of x.
    pub fn transposed = transposed_with(
        x: Rows, columns: Range<usize>, g: &[f32], width: usize, out: &mut [f32], scratch: &mut Scratch,
    )
}

/// Whether the plain product is faster for some rows and columns, of which these are the numbers that are not zero.
fn is_dense(rows: &Range<usize>, columns: Range<usize>, non_zeros: &NonZeros) -> bool {
    DENSE * non_zeros.indices.len() > rows.len() * columns.len()
}

/// Memory that a thread uses again and again.
#[derive(Default)]
pub struct Scratch {
    non_zeros: NonZeros,
    /// Where each row of a block ends in `non_zeros`.
    row_ends: Vec<usize>,
    /// Where each column of a block ends in `by_column`.
    column_ends: Vec<usize>,
    /// Rows and values.
    by_column: NonZeros,
}

#[inline(always)]
unsafe fn forward_with<L: Lanes>(
    x: Rows,
    rows: Range<usize>,
    w: &[f32],
    width: usize,
    y: &mut [f32],
    scratch: &mut Scratch,
) {
    assert!(w.len() == x.width() * width && y.len() == rows.len() * width);
    let non_zeros = &mut scratch.non_zeros;
    let mut first = rows.start;
    for y in y.chunks_mut((GROUP * width).max(1)) {
        let group = first..(first + GROUP).min(rows.end);
        first = group.end;
        non_zeros.clear();
        scratch.row_ends.clear();
        for row in group.clone() {
            if row + GROUP < rows.end {
                x.prefetch(row + GROUP);
            }
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { non_zeros.add_row::<L>(&x, row, 0..x.width()) };
            scratch.row_ends.push(non_zeros.indices.len());
        }
        y.fill(0.0);
        if group.len() == GROUP && is_dense(&group, 0..x.width(), non_zeros) && x.is_plain() {
            let dense: [&[f32]; GROUP] = std::array::from_fn(|i| x.plain_row(group.start + i));
            // SAFETY: the caller's instruction set is that of `L`; all rows are as wide as w is high.
            unsafe { add_dense::<L>(x.width(), |i, step| *dense[i].get_unchecked(step), w, width, y) };
            continue;
        }
        let mut start = 0;
        for (&end, y) in scratch.row_ends.iter().zip(y.chunks_exact_mut(width)) {
            let (indices, values) = (&non_zeros.indices[start..end], &non_zeros.values[start..end]);
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { add_rows::<L>(w, width, indices, values, y) };
            start = end;
        }
    }
}

/// Rows of x that are non_zeros and sorted at once in [`transposed`]: as many as have their rows of g in the second
/// level of a core's cache.
const BLOCK: usize = 512;

#[inline(always)]
unsafe fn transposed_with<L: Lanes>(
    x: Rows,
    columns: Range<usize>,
    g: &[f32],
    width: usize,
    out: &mut [f32],
    scratch: &mut Scratch,
) {
    assert!(g.len() == x.count() * width && out.len() == columns.len() * width);
    for first in (0..x.count()).step_by(BLOCK) {
        let rows = first..(first + BLOCK).min(x.count());
        scratch.non_zeros.clear();
        scratch.row_ends.clear();
        for row in rows.clone() {
            if row + 1 < rows.end {
                x.prefetch(row + 1);
            }
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { scratch.non_zeros.add_row::<L>(&x, row, columns.clone()) };
            scratch.row_ends.push(scratch.non_zeros.indices.len());
        }
        let g = &g[rows.start * width..rows.end * width];
        if is_dense(&rows, columns.clone(), &scratch.non_zeros) && x.is_plain() {
            let mut column = columns.start;
            for out in out.chunks_mut((GROUP * width).max(1)) {
                let height = out.len() / width;
                let number =
                    |i: usize, step: usize| x.plain_row(rows.start + step)[column + i.min(height - 1)];
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe { add_dense::<L>(rows.len(), number, g, width, out) };
                column += height;
            }
            continue;
        }
        scratch.sort_by_column(columns.len());
        let NonZeros { indices, values } = &scratch.by_column;
        let mut start = 0;
        for (&end, out) in scratch.column_ends.iter().zip(out.chunks_exact_mut(width.max(1))) {
            if start < end {
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe { add_rows::<L>(g, width, &indices[start..end], &values[start..end], out) };
            }
            start = end;
        }
    }
}

impl Scratch {
    /// Fills `by_column` and `column_ends` from `non_zeros` and `row_ends`: counts, adds up, distributes.
    #[inline(always)]
    fn sort_by_column(&mut self, columns: usize) {
        let count = self.non_zeros.indices.len();
        self.by_column.indices.resize(count, 0);
        self.by_column.values.resize(count, 0.0);
        self.column_ends.clear();
        self.column_ends.resize(columns + 1, 0);
        let (columns_in, values_in) = (&self.non_zeros.indices[..count], &self.non_zeros.values[..count]);
        let (rows_out, values_out) =
            (&mut self.by_column.indices[..count], &mut self.by_column.values[..count]);
        let places = &mut self.column_ends[..];
        for &column in columns_in {
            places[column as usize + 1] += 1;
        }
        for column in 0..columns {
            places[column + 1] += places[column];
        }
        // Each column's start moves on to its end, the start of the next.
        let mut start = 0;
        for (row, &end) in self.row_ends.iter().enumerate() {
            for (&column, &value) in columns_in[start..end].iter().zip(&values_in[start..end]) {
                let place = &mut places[column as usize];
                rows_out[*place] = row as u32;
                values_out[*place] = value;
                *place += 1;
            }
            start = end;
        }
    }
}

/// Adds to `y` the rows `indices` of the matrix `m`, each `width` wide and times its value.
#[inline(always)]
unsafe fn add_rows<L: Lanes>(m: &[f32], width: usize, indices: &[u32], values: &[f32], y: &mut [f32]) {
    debug_assert!(indices.iter().all(|&index| (index as usize + 1) * width <= m.len()));
    let mut at = 0;
    // SAFETY: the parts lie inside a row.
    unsafe {
        while L::REGISTERS >= 32 && width - at >= 16 * L::WIDTH {
            add_parts::<L, 16>(m, width, at, indices, values, y);
            at += 16 * L::WIDTH;
        }
        while width - at >= 8 * L::WIDTH {
            add_parts::<L, 8>(m, width, at, indices, values, y);
            at += 8 * L::WIDTH;
        }
        while width - at >= 4 * L::WIDTH {
            add_parts::<L, 4>(m, width, at, indices, values, y);
            at += 4 * L::WIDTH;
        }
        while width - at >= L::WIDTH {
            add_parts::<L, 1>(m, width, at, indices, values, y);
            at += L::WIDTH;
        }
    }
    for at in at..width {
        for (&index, &value) in indices.iter().zip(values) {
            y[at] += value * m[index as usize * width + at];
        }
    }
}

/// [`add_rows`] for the `N` vectors from column `at`, which stay in registers.
#[inline(always)]
unsafe fn add_parts<L: Lanes, const N: usize>(
    m: &[f32],
    width: usize,
    at: usize,
    indices: &[u32],
    values: &[f32],
    y: &mut [f32],
) {
    // SAFETY: by contract, `at + N * L::WIDTH` is at most `width`, and the indices are rows of `m`.
    unsafe {
        let y = y.as_mut_ptr().add(at);
        let mut sums: [L; N] = std::array::from_fn(|i| L::load(y.add(i * L::WIDTH)));
        for (&index, &value) in indices.iter().zip(values) {
            let row = m.as_ptr().add(index as usize * width + at);
            let value = L::splat(value);
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = L::load(row.add(i * L::WIDTH)).mul_add(value, *sum);
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            sum.store(y.add(i * L::WIDTH));
        }
    }
}

/// Adds to up to [`GROUP`] rows of `y` the rows of `m`, each times the number that `number(row of y, row of m)` gives for it.
#[inline(always)]
unsafe fn add_dense<L: Lanes>(
    steps: usize,
    number: impl Fn(usize, usize) -> f32,
    m: &[f32],
    width: usize,
    y: &mut [f32],
) {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        if L::REGISTERS >= 32 {
            add_dense_in_parts::<L, 4>(steps, number, m, width, y);
        } else {
            add_dense_in_parts::<L, 2>(steps, number, m, width, y);
        }
    }
}

/// [`add_dense`] with the sums of `PARTS` vectors of each row in registers.
#[inline(always)]
unsafe fn add_dense_in_parts<L: Lanes, const PARTS: usize>(
    steps: usize,
    number: impl Fn(usize, usize) -> f32,
    m: &[f32],
    width: usize,
    y: &mut [f32],
) {
    assert!(m.len() == steps * width && y.len() <= GROUP * width);
    let height = y.len() / width;
    let whole = width - width % (PARTS * L::WIDTH);
    for at in (0..whole).step_by(PARTS * L::WIDTH) {
        // SAFETY: the parts lie inside the rows of `m` and `y`.
        unsafe {
            let mut sums = [[L::splat(0.0); PARTS]; GROUP];
            for step in 0..steps {
                let row = m.as_ptr().add(step * width + at);
                let parts: [L; PARTS] = std::array::from_fn(|part| L::load(row.add(part * L::WIDTH)));
                for (i, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(number(i, step));
                    for (sum, part) in sums.iter_mut().zip(parts) {
                        *sum = part.mul_add(factor, *sum);
                    }
                }
            }
            let one = L::splat(1.0);
            for (i, sums) in sums.into_iter().enumerate().take(height) {
                for (part, sum) in sums.into_iter().enumerate() {
                    let place = y.as_mut_ptr().add(i * width + at + part * L::WIDTH);
                    L::load(place).mul_add(one, sum).store(place);
                }
            }
        }
    }
    for (i, y) in y.chunks_exact_mut(width).enumerate() {
        for (at, y) in y.iter_mut().enumerate().skip(whole) {
            *y += (0..steps).map(|step| number(i, step) * m[step * width + at]).sum::<f32>();
        }
    }
}

#[cfg(test)]
mod tests;
