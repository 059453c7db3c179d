//! Products with a matrix that is mostly zeros: the first layer of a network that reads a board.
//!
//! An observation of HackMatrix has 1545 numbers, of which about 73 are not zero. Forwards, each row of x is
//! squeezed to its numbers that are not zero, and the rows of the weights that they name are added up in
//! registers. For the gradient of the weights, a block of rows is squeezed and sorted by column, so that each
//! row of the gradient is added up in registers as well and written once per block. What bounds both is reading
//! the weights, or the cotangents, from the second level of the cache.
//!
//! A row that is read in several products is squeezed once, in its own memory ([`squeeze`]), so that later only
//! its beginning is fetched.
//!
//! Any x gives the right result: a zero contributes nothing, everything else is multiplied, and rows that are
//! dense are multiplied as they are. (A zero times a weight that is infinite or not a number is nothing, where
//! the plain product gives NaN.)

use std::ops::Range;

use super::lanes::{Lanes, best_lanes, prefetch};

/// How many numbers of the next row are fetched while one is worked on.
const PREFETCHED: usize = 256;

/// Rows of which one in this many numbers is not zero are multiplied as they are.
const DENSE: usize = 3;

/// Rows of the result that are computed together.
const GROUP: usize = 4;

/// Rows of a matrix, row-major, or some of its rows in some order.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub numbers: &'a [f32],
    pub height: usize,
    pub width: usize,
    /// Which rows; numbers out of range mean the nearest. `None`: all, in order.
    pub chosen: Option<&'a [i32]>,
}

impl<'a> Rows<'a> {
    pub fn count(&self) -> usize {
        match self.chosen {
            Some(chosen) => chosen.len(),
            None => self.height,
        }
    }

    /// Asks for the beginning of a row: all that counts of one that is squeezed.
    #[inline(always)]
    fn prefetch(&self, row: usize) {
        let row = self.row(row);
        prefetch(&row[..row.len().min(PREFETCHED)]);
    }

    /// Whether the plain product is faster for some rows, of which `count` numbers in some `columns` are not zero.
    #[inline(always)]
    fn are_dense(&self, rows: Range<usize>, count: usize, columns: usize) -> bool {
        DENSE * count > rows.len() * columns
            && rows.into_iter().all(|row| unsqueezed(self.row(row)).is_none())
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        let row = match self.chosen {
            Some(chosen) => usize::try_from(chosen[row]).unwrap_or(0).min(self.height - 1),
            None => row,
        };
        &self.numbers[row * self.width..][..self.width]
    }
}

best_lanes! {
    /// `y = x w` for some rows of x: `w` is `[x.width, width]`, `y` has the rows `rows` of the product.
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

best_lanes! {
    /// Squeezes rows of `width` numbers in place.
    pub fn squeeze = squeeze_with(rows: &mut [f32], width: usize, scratch: &mut Scratch)
}

/// Memory that a thread uses again and again.
#[derive(Default)]
pub struct Scratch {
    squeezed: Squeezed,
    /// Where each row of a block ends in `squeezed`.
    row_ends: Vec<usize>,
    /// Where each column of a block ends in `by_column`.
    column_ends: Vec<usize>,
    /// Rows and values.
    by_column: Squeezed,
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
    assert!(w.len() == x.width * width && y.len() == rows.len() * width);
    let squeezed = &mut scratch.squeezed;
    let mut first = rows.start;
    for y in y.chunks_mut((GROUP * width).max(1)) {
        let group = first..(first + GROUP).min(rows.end);
        first = group.end;
        squeezed.clear();
        scratch.row_ends.clear();
        for row in group.clone() {
            if row + GROUP < rows.end {
                x.prefetch(row + GROUP);
            }
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { squeezed.add_row::<L>(x.row(row), 0..x.width) };
            scratch.row_ends.push(squeezed.indices.len());
        }
        y.fill(0.0);
        if group.len() == GROUP && x.are_dense(group.clone(), squeezed.indices.len(), x.width) {
            let dense: [&[f32]; GROUP] = std::array::from_fn(|i| x.row(group.start + i));
            // SAFETY: the caller's instruction set is that of `L`; all rows are as wide as w is high.
            unsafe { add_dense::<L>(x.width, |i, step| *dense[i].get_unchecked(step), w, width, y) };
            continue;
        }
        let mut start = 0;
        for (&end, y) in scratch.row_ends.iter().zip(y.chunks_exact_mut(width)) {
            let (indices, values) = (&squeezed.indices[start..end], &squeezed.values[start..end]);
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { add_rows::<L>(w, width, indices, values, y) };
            start = end;
        }
    }
}

/// Rows of x that are squeezed and sorted at once in [`transposed`]: as many as have their rows of g in the second
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
        scratch.squeezed.clear();
        scratch.row_ends.clear();
        for row in rows.clone() {
            if row + 1 < rows.end {
                x.prefetch(row + 1);
            }
            // SAFETY: the caller's instruction set is that of `L`.
            unsafe { scratch.squeezed.add_row::<L>(x.row(row), columns.clone()) };
            scratch.row_ends.push(scratch.squeezed.indices.len());
        }
        let g = &g[rows.start * width..rows.end * width];
        if x.are_dense(rows.clone(), scratch.squeezed.indices.len(), columns.len()) {
            let mut column = columns.start;
            for out in out.chunks_mut((GROUP * width).max(1)) {
                let height = out.len() / width;
                let number = |i: usize, step: usize| x.row(rows.start + step)[column + i.min(height - 1)];
                // SAFETY: the caller's instruction set is that of `L`.
                unsafe { add_dense::<L>(rows.len(), number, g, width, out) };
                column += height;
            }
            continue;
        }
        scratch.sort_by_column(columns.len());
        let Squeezed { indices, values } = &scratch.by_column;
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
    /// Fills `by_column` and `column_ends` from `squeezed` and `row_ends`: counts, adds up, distributes.
    #[inline(always)]
    fn sort_by_column(&mut self, columns: usize) {
        let count = self.squeezed.indices.len();
        self.by_column.indices.resize(count, 0);
        self.by_column.values.resize(count, 0.0);
        self.column_ends.clear();
        self.column_ends.resize(columns + 1, 0);
        let (columns_in, values_in) = (&self.squeezed.indices[..count], &self.squeezed.values[..count]);
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

/// The first word of a squeezed row is a NaN with this in the upper half and the number of its values in the lower. (The
/// NaNs of arithmetic have other bits.) Then follow their columns, then the values, then nothing that counts. A row
/// with too many values stays as it is.
const SQUEEZED: u32 = 0x7FE5_0000;

#[inline(always)]
unsafe fn squeeze_with<L: Lanes>(rows: &mut [f32], width: usize, scratch: &mut Scratch) {
    let squeezed = &mut scratch.squeezed;
    for row in rows.chunks_exact_mut(width.max(1)) {
        if unsqueezed(row).is_some() {
            continue;
        }
        squeezed.clear();
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe { squeezed.add::<L>(row) };
        let count = squeezed.indices.len();
        if 2 * count < width && count <= 0xFFFF {
            row[0] = f32::from_bits(SQUEEZED | count as u32);
            for (place, &index) in row[1..].iter_mut().zip(&squeezed.indices) {
                *place = f32::from_bits(index);
            }
            row[1 + count..][..count].copy_from_slice(&squeezed.values);
        }
    }
}

/// The columns and the values of a squeezed row; `None` if it is as it was.
#[inline(always)]
fn unsqueezed(row: &[f32]) -> Option<(&[u32], &[f32])> {
    let first = row.first()?.to_bits();
    if first & 0xFFFF_0000 != SQUEEZED {
        return None;
    }
    let count = (first & 0xFFFF) as usize;
    if 2 * count >= row.len() {
        return None;
    }
    let (columns, values) = row[1..1 + 2 * count].split_at(count);
    // SAFETY: the types have one size and alignment, and any bits are a u32.
    let columns = unsafe { std::slice::from_raw_parts(columns.as_ptr().cast::<u32>(), count) };
    let widest = columns.iter().fold(0, |widest, &column| widest.max(column));
    ((widest as usize) < row.len()).then_some((columns, values))
}

/// Numbers that are not zero and where they stand.
#[derive(Default)]
struct Squeezed {
    indices: Vec<u32>,
    values: Vec<f32>,
}

impl Squeezed {
    fn clear(&mut self) {
        self.indices.clear();
        self.values.clear();
    }

    /// Adds the numbers of some columns of a row, which may be squeezed. Columns count from the first of them.
    #[inline(always)]
    unsafe fn add_row<L: Lanes>(&mut self, row: &[f32], columns: Range<usize>) {
        let Some((indices, values)) = unsqueezed(row) else {
            // SAFETY: by contract.
            return unsafe { self.add::<L>(&row[columns]) };
        };
        if columns.len() == row.len() {
            self.indices.extend_from_slice(indices);
            self.values.extend_from_slice(values);
            return;
        }
        for (&index, &value) in indices.iter().zip(values) {
            if columns.contains(&(index as usize)) {
                self.indices.push(index - columns.start as u32);
                self.values.push(value);
            }
        }
    }

    /// Adds those of `numbers` that are not zero.
    #[inline(always)]
    unsafe fn add<L: Lanes>(&mut self, numbers: &[f32]) {
        let room = numbers.len() + L::WIDTH;
        self.indices.reserve(room);
        self.values.reserve(room);
        let mut count = self.indices.len();
        let whole = numbers.len() - numbers.len() % L::WIDTH;
        // SAFETY: there is room for all numbers and one more vector.
        unsafe {
            let (indices, values) = (self.indices.as_mut_ptr(), self.values.as_mut_ptr());
            for at in (0..whole).step_by(L::WIDTH) {
                let lanes = L::load(numbers.as_ptr().add(at));
                count += lanes.compress_non_zero(at as u32, indices.add(count), values.add(count));
            }
            for (at, &value) in numbers.iter().enumerate().skip(whole) {
                *indices.add(count) = at as u32;
                *values.add(count) = value;
                count += usize::from(value != 0.0);
            }
            self.indices.set_len(count);
            self.values.set_len(count);
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
        while width - at >= 16 * L::WIDTH {
            add_parts::<L, 16>(m, width, at, indices, values, y);
            at += 16 * L::WIDTH;
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
    const PARTS: usize = 4;
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
