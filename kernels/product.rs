//! The product of two small matrices: a tile of sums is held in registers while the inner index runs.

use super::lanes::Lanes;
use super::matrices::Right;

/// The left factor of a product: the number of a row and an inner index stands at `row * row_step + inner * inner_step`.
#[derive(Clone, Copy)]
pub struct Left<'a> {
    pub numbers: &'a [f32],
    pub row_step: usize,
    pub inner_step: usize,
}

/// What a product is added to.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    Zero,
    /// The same row for all.
    Row(&'a [f32]),
    /// What is there.
    Sum,
}

/// What the numbers of the factors are, 32 bits each.
///
/// # Safety
/// The method may be called only inside a function compiled for the instruction set of the implementation and of `L`.
pub unsafe trait Terms<L> {
    /// The product of two numbers and a sum.
    unsafe fn add_product(factor: L, numbers: L, sum: L) -> L;
}

/// A number of f32.
pub struct Numbers;

// SAFETY: needs the instruction set of `L` alone.
unsafe impl<L: Lanes> Terms<L> for Numbers {
    #[inline(always)]
    unsafe fn add_product(factor: L, numbers: L, sum: L) -> L {
        // SAFETY: by contract.
        unsafe { factor.mul_add(numbers, sum) }
    }
}

/// `out = start + left right`, with `rows` rows and `inner` numbers to sum for each.
#[inline(always)]
pub unsafe fn product<L: Lanes, T: Terms<L>>(
    left: Left,
    rows: usize,
    inner: usize,
    right: Right,
    start: Start,
    out: &mut [f32],
) {
    let width = right.width;
    let last_panel = (width - 1) / panel::<L>() * right.panel_step;
    let rest = width - (width - 1) / panel::<L>() * panel::<L>();
    assert!(rows * width <= out.len());
    assert!(inner == 0 || last_panel + (inner - 1) * right.row_step + rest <= right.numbers.len());
    assert!(
        rows == 0
            || inner == 0
            || (rows - 1) * left.row_step + (inner - 1) * left.inner_step < left.numbers.len()
    );
    // Where there are few registers, tiles are pairs of vectors.
    let is_narrow = is_narrow::<L>();
    assert!(!is_narrow || width.is_multiple_of(2 * L::WIDTH));
    let mut column = 0;
    // SAFETY: rows, columns and inner indices are in range, as was just checked.
    unsafe {
        while column < width {
            let vectors = ((width - column) / L::WIDTH).min(panel::<L>() / L::WIDTH);
            let mut row = 0;
            while row < rows {
                let tile = Tile { left, inner, right, start, out: out.as_mut_ptr(), row, column };
                row += if is_narrow {
                    tile.run_in_16::<L, T>(rows - row)
                } else {
                    tile.run_in_32::<L, T>(vectors, rows - row)
                };
            }
            column += vectors * L::WIDTH;
        }
    }
}

/// The product of a matrix with so few columns that a tile would be mostly padding: each number of `out`, rows of `start.len()`, is that of
/// `start` plus the dot product of a row with a column. Rows and columns have `width` numbers each, a multiple of [`Lanes::WIDTH`].
#[inline(always)]
pub unsafe fn dots<L: Lanes>(rows: &[f32], columns: &[f32], width: usize, start: &[f32], out: &mut [f32]) {
    for (row, out) in rows.chunks_exact(width).zip(out.chunks_exact_mut(start.len())) {
        for ((column, start), out) in columns.chunks_exact(width).zip(start).zip(out) {
            // SAFETY: each part is one vector; the caller's instruction set is that of `L`.
            unsafe {
                let mut sum = L::splat(0.0);
                for (row, column) in row.chunks_exact(L::WIDTH).zip(column.chunks_exact(L::WIDTH)) {
                    sum = L::load(row.as_ptr()).mul_add(L::load(column.as_ptr()), sum);
                }
                *out = start + sum.sum();
            }
        }
    }
}

const fn is_narrow<L: Lanes>() -> bool {
    L::REGISTERS < 32
}

/// The columns of a tile.
pub const fn panel<L: Lanes>() -> usize {
    if is_narrow::<L>() { 2 * L::WIDTH } else { 4 * L::WIDTH }
}

/// A part of a product whose sums fit the registers.
struct Tile<'a> {
    left: Left<'a>,
    inner: usize,
    right: Right<'a>,
    start: Start<'a>,
    out: *mut f32,
    row: usize,
    column: usize,
}

impl Tile<'_> {
    /// Computes as many of the `rows` as 32 registers hold the sums of, with a row of the right factor and a number of the left
    /// one; returns their number.
    #[inline(always)]
    unsafe fn run_in_32<L: Lanes, T: Terms<L>>(self, vectors: usize, rows: usize) -> usize {
        // SAFETY: the caller has checked that the tile lies inside the matrices.
        unsafe {
            match (vectors, rows) {
                (4, 6..) => self.run::<L, T, 6, 4>(),
                (4, 4..) => self.run::<L, T, 4, 4>(),
                (4, 2..) => self.run::<L, T, 2, 4>(),
                (4, _) => self.run::<L, T, 1, 4>(),
                (3, 8..) => self.run::<L, T, 8, 3>(),
                (3, 2..) => self.run::<L, T, 2, 3>(),
                (3, _) => self.run::<L, T, 1, 3>(),
                (2, 12..) => self.run::<L, T, 12, 2>(),
                (2, 4..) => self.run::<L, T, 4, 2>(),
                (2, _) => self.run::<L, T, 1, 2>(),
                (_, 16..) => self.run::<L, T, 16, 1>(),
                (_, 4..) => self.run::<L, T, 4, 1>(),
                (_, _) => self.run::<L, T, 1, 1>(),
            }
        }
    }

    /// The same for 16 registers, of two vectors.
    #[inline(always)]
    unsafe fn run_in_16<L: Lanes, T: Terms<L>>(self, rows: usize) -> usize {
        // SAFETY: the caller has checked that the tile lies inside the matrices.
        unsafe {
            match rows {
                6.. => self.run::<L, T, 6, 2>(),
                4.. => self.run::<L, T, 4, 2>(),
                _ => self.run::<L, T, 1, 2>(),
            }
        }
    }

    /// Computes `R` rows of `V` vectors; returns `R`.
    #[inline(always)]
    unsafe fn run<L: Lanes, T: Terms<L>, const R: usize, const V: usize>(self) -> usize {
        // SAFETY: the caller has checked that the tile lies inside the matrices.
        unsafe {
            let width = self.right.width;
            let out = self.out.add(self.row * width + self.column);
            let mut sums = [[L::splat(0.0); V]; R];
            for (r, sums) in sums.iter_mut().enumerate() {
                for (v, sum) in sums.iter_mut().enumerate() {
                    match self.start {
                        Start::Zero => {}
                        Start::Row(row) => *sum = L::load(row.as_ptr().add(self.column + v * L::WIDTH)),
                        Start::Sum => *sum = L::load(out.add(r * width + v * L::WIDTH)),
                    }
                }
            }
            let mut left = self.left.numbers.as_ptr().add(self.row * self.left.row_step);
            let mut right =
                self.right.numbers.as_ptr().add(self.column / panel::<L>() * self.right.panel_step);
            for _ in 0..self.inner {
                let mut vectors = [L::splat(0.0); V];
                for (v, vector) in vectors.iter_mut().enumerate() {
                    *vector = L::load(right.add(v * L::WIDTH));
                }
                for (r, sums) in sums.iter_mut().enumerate() {
                    let factor = L::splat(*left.add(r * self.left.row_step));
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = T::add_product(factor, vectors[v], *sum);
                    }
                }
                left = left.wrapping_add(self.left.inner_step);
                right = right.wrapping_add(self.right.row_step);
            }
            for (r, sums) in sums.into_iter().enumerate() {
                for (v, sum) in sums.into_iter().enumerate() {
                    sum.store(out.add(r * width + v * L::WIDTH));
                }
            }
        }
        R
    }
}
