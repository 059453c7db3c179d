//! Matrices whose rows are whole vectors or that lie in panels, and the memory that they lie in.

use std::cell::RefCell;

use super::lanes::Lanes;
use super::transpose::turn_apart;

/// Matrices of the kernel's own have rows of a multiple of so many numbers.
const PAD: usize = 16;

/// As many numbers as one line of the cache holds.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [f32; PAD]); // read as a slice of numbers

thread_local! {
    /// Kept from call to call, because fresh memory costs more than a small network.
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Parts of one piece of memory, cut off from its start.
pub struct Scratch<'a>(&'a mut [f32]);

/// Memory for [`Scratch`], which goes back to its thread at the end.
pub struct Memory(Vec<Line>);

impl Memory {
    /// Room for `size` numbers, of any value.
    pub fn of(size: usize) -> Self {
        let mut lines = SCRATCH.take();
        let count = size.div_ceil(PAD);
        if lines.len() < count {
            lines.resize(count, Line([0.0; PAD]));
        }
        Memory(lines)
    }

    pub fn scratch(&mut self) -> Scratch<'_> {
        // SAFETY: a line is its numbers.
        Scratch(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), self.0.len() * PAD) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        SCRATCH.set(std::mem::take(&mut self.0));
    }
}

impl<'a> Scratch<'a> {
    /// The same memory again, for a time.
    pub fn part(&mut self) -> Scratch<'_> {
        Scratch(self.0)
    }

    /// The next `size` numbers (a multiple of [`PAD`]).
    pub fn take(&mut self, size: usize) -> &'a mut [f32] {
        let (part, rest) = std::mem::take(&mut self.0).split_at_mut(size);
        self.0 = rest;
        part
    }
}

#[inline]
pub fn padded(width: usize) -> usize {
    width.next_multiple_of(PAD)
}

/// A matrix with rows of a multiple of [`PAD`] numbers, the last ones 0.
#[derive(Clone, Copy)]
pub struct Padded<'a> {
    pub numbers: &'a [f32],
    pub width: usize,
}

impl<'a> Padded<'a> {
    /// `matrix` itself if it is wide enough already, else a copy.
    #[inline(always)]
    pub fn new(matrix: &'a [f32], width: usize, scratch: &mut Scratch<'a>) -> Self {
        if width.is_multiple_of(PAD) {
            return Padded { numbers: matrix, width };
        }
        let copy = scratch.take(matrix.len() / width * padded(width));
        copy_rows(matrix, width, copy, padded(width));
        Padded { numbers: copy, width: padded(width) }
    }
}

/// A matrix of more numbers than this is read in panels, for it does not fit the first level of the cache.
const LARGE: usize = 1 << 13;

/// Whether a product reads a matrix of that many numbers faster in [`panels`](Right::panels).
pub fn is_large(numbers: usize) -> bool {
    numbers > LARGE
}

/// The right factor of a product: the number of an inner index and a column stands at
/// `column / panel * panel_step + inner * row_step + column % panel`, where a panel is as many columns as a tile has.
#[derive(Clone, Copy)]
pub struct Right<'a> {
    pub numbers: &'a [f32],
    pub width: usize,
    pub row_step: usize,
    pub panel_step: usize,
}

impl<'a> Right<'a> {
    /// A matrix as it lies.
    pub fn plain(matrix: Padded<'a>, panel: usize) -> Self {
        Right { numbers: matrix.numbers, width: matrix.width, row_step: matrix.width, panel_step: panel }
    }

    /// A copy in panels, each of whose rows follows on the one before. The rows of a wide matrix are far apart, often by a power of
    /// two, so that few places of a cache serve a whole column: a tile that went down it would wait for a slower cache at each row.
    #[inline(always)]
    pub fn panels(matrix: &[f32], width: usize, panel: usize, scratch: &mut Scratch<'a>) -> Self {
        let panel_step = matrix.len() / width * panel;
        let copy = scratch.take(width.div_ceil(panel) * panel_step);
        for (row, numbers) in matrix.chunks_exact(width).enumerate() {
            for (p, part) in numbers.chunks(panel).enumerate() {
                let to = &mut copy[p * panel_step + row * panel..][..panel];
                to[..part.len()].copy_from_slice(part);
                to[part.len()..].fill(0.0);
            }
        }
        Right { numbers: copy, width: padded(width), row_step: panel, panel_step }
    }

    /// A copy of the transposed matrix in panels.
    #[inline(always)]
    pub fn transposed(matrix: &[f32], width: usize, panel: usize, scratch: &mut Scratch<'a>) -> Self {
        let (rows, panel_step) = (matrix.len() / width, width * panel);
        let copy = scratch.take(rows.div_ceil(panel) * panel_step);
        for (to, rows) in copy.chunks_exact_mut(panel_step).zip(matrix.chunks(panel * width)) {
            if rows.len() < panel * width {
                to.fill(0.0);
            }
            turn_apart(rows, rows.len() / width, width, to, panel);
        }
        Right { numbers: copy, width: padded(rows), row_step: panel, panel_step }
    }
}

/// Copies rows of `from_width` into rows of `to_width`: cut off, or filled up with zeros.
#[inline(always)]
pub fn copy_rows(from: &[f32], from_width: usize, to: &mut [f32], to_width: usize) {
    if from_width == to_width {
        to.copy_from_slice(from);
        return;
    }
    let common = from_width.min(to_width);
    for (from, to) in from.chunks_exact(from_width).zip(to.chunks_exact_mut(to_width)) {
        to[..common].copy_from_slice(&from[..common]);
        to[common..].fill(0.0);
    }
}

/// `sums += ` the sum of the rows.
#[inline(always)]
pub unsafe fn add_up_rows<L: Lanes>(matrix: Padded, sums: &mut [f32]) {
    const TOGETHER: usize = 4;
    let whole = sums.len() - sums.len() % (TOGETHER * L::WIDTH);
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        for first in (0..whole).step_by(TOGETHER * L::WIDTH) {
            add_up_columns::<L, TOGETHER>(matrix, first, sums);
        }
        for first in (whole..sums.len()).step_by(L::WIDTH) {
            add_up_columns::<L, 1>(matrix, first, sums);
        }
    }
}

/// The same for the columns of `V` vectors.
#[inline(always)]
unsafe fn add_up_columns<L: Lanes, const V: usize>(matrix: Padded, first: usize, sums: &mut [f32]) {
    let sums = &mut sums[first..][..V * L::WIDTH];
    // SAFETY: each part is one vector; the caller's instruction set is that of `L`.
    unsafe {
        let mut vectors = [L::splat(0.0); V];
        for (v, vector) in vectors.iter_mut().enumerate() {
            *vector = L::load(sums[v * L::WIDTH..].as_ptr());
        }
        for row in matrix.numbers.chunks_exact(matrix.width) {
            let row = &row[first..][..V * L::WIDTH];
            for (v, vector) in vectors.iter_mut().enumerate() {
                *vector = vector.add(L::load(row.as_ptr().add(v * L::WIDTH)));
            }
        }
        for (v, vector) in vectors.into_iter().enumerate() {
            vector.store(sums[v * L::WIDTH..].as_mut_ptr());
        }
    }
}
