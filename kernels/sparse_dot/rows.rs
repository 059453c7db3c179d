//! The rows of a sparse matrix, plain or packed, and the list of what is not zero in them.
//!
//! In a packed matrix the columns that hold only 0 and 1 are bits, 32 to a word, and the others are f32, so that a row
//! of an observation takes a sixth of its memory.

use std::ops::Range;

use crate::runtime::kernels::lanes::{Lanes, prefetch};

/// How many numbers of the next row are fetched while one is worked on.
const PREFETCHED: usize = 256;

/// Bits in a word.
const WORD: usize = u32::BITS as usize;

/// Rows of a matrix, or some of its rows in some order.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub matrix: Matrix<'a>,
    pub height: usize,
    /// Which rows; numbers out of range mean the nearest. `None`: all, in order.
    pub chosen: Option<&'a [i32]>,
}

/// Where the numbers of a matrix are, row-major.
#[derive(Clone, Copy)]
pub enum Matrix<'a> {
    Plain {
        numbers: &'a [f32],
        width: usize,
    },
    Packed {
        /// `[height, num_numbers]`
        numbers: &'a [f32],
        num_numbers: usize,
        /// `[height, num_words]`, the lowest bit of a word first.
        flags: &'a [u32],
        num_words: usize,
        /// The column of each of the numbers, then that of each of the bits: a permutation.
        order: &'a [u32],
    },
}

/// Checks that so many numbers and words of bits are a row of the columns in `order`, each of which exists.
pub fn check_packed(num_numbers: usize, num_words: usize, order: &[i32]) -> Result<(), String> {
    let columns = order.len();
    let fits = num_words == columns.saturating_sub(num_numbers).div_ceil(WORD);
    if !fits || order.iter().any(|&column| column as usize >= columns) {
        return Err(format!("{num_numbers} numbers and {num_words} words do not make {columns} columns"));
    }
    Ok(())
}

impl<'a> Matrix<'a> {
    /// A packed matrix of `height` rows.
    ///
    /// # Errors
    /// If the parts do not fit each other.
    pub fn packed(
        height: usize,
        numbers: &'a [f32],
        flags: &'a [u32],
        order: &'a [i32],
    ) -> Result<Matrix<'a>, String> {
        let (num_numbers, num_words) = match height {
            0 => (order.len(), 0), // no row says
            _ => (numbers.len() / height, flags.len() / height),
        };
        check_packed(num_numbers, num_words, order)?;
        // SAFETY: the types have one size and alignment, and any bits are a u32.
        let order = unsafe { std::slice::from_raw_parts(order.as_ptr().cast::<u32>(), order.len()) };
        Ok(Matrix::Packed { numbers, num_numbers, flags, num_words, order })
    }
}

impl<'a> Rows<'a> {
    pub fn count(&self) -> usize {
        match self.chosen {
            Some(chosen) => chosen.len(),
            None => self.height,
        }
    }

    pub fn width(&self) -> usize {
        match self.matrix {
            Matrix::Plain { width, .. } => width,
            Matrix::Packed { order, .. } => order.len(),
        }
    }

    pub fn is_plain(&self) -> bool {
        matches!(self.matrix, Matrix::Plain { .. })
    }

    /// A row of a matrix that is plain.
    #[inline(always)]
    pub fn plain_row(&self, row: usize) -> &'a [f32] {
        match self.matrix {
            Matrix::Plain { numbers, width } => &numbers[self.place(row) * width..][..width],
            Matrix::Packed { .. } => panic!("the matrix is packed"),
        }
    }

    /// The numbers of a row of a packed matrix and its words.
    #[inline(always)]
    fn packed_row(&self, row: usize) -> Option<(&'a [f32], &'a [u32])> {
        let Matrix::Packed { numbers, num_numbers, flags, num_words, .. } = self.matrix else { return None };
        let place = self.place(row);
        Some((&numbers[place * num_numbers..][..num_numbers], &flags[place * num_words..][..num_words]))
    }

    /// Where a row stands in the matrix.
    #[inline(always)]
    fn place(&self, row: usize) -> usize {
        match self.chosen {
            Some(chosen) => usize::try_from(chosen[row]).unwrap_or(0).min(self.height - 1),
            None => row,
        }
    }

    /// Asks for a row, or the beginning of a long one.
    #[inline(always)]
    pub fn prefetch(&self, row: usize) {
        match self.packed_row(row) {
            Some((numbers, words)) => {
                prefetch(numbers);
                prefetch(words);
            }
            None => prefetch(&self.plain_row(row)[..self.width().min(PREFETCHED)]),
        }
    }
}

/// Numbers that are not zero and where they stand.
#[derive(Default)]
pub struct NonZeros {
    pub indices: Vec<u32>,
    pub values: Vec<f32>,
}

impl NonZeros {
    pub fn clear(&mut self) {
        self.indices.clear();
        self.values.clear();
    }

    /// Adds those of some columns of a row. Columns count from the first of them; they are in order only in a plain row.
    ///
    /// # Safety
    /// The caller is compiled for the instruction set of `L`.
    #[inline(always)]
    pub unsafe fn add_row<L: Lanes>(&mut self, x: &Rows, row: usize, columns: Range<usize>) {
        let (Some((numbers, words)), Matrix::Packed { order, .. }) = (x.packed_row(row), x.matrix) else {
            // SAFETY: by contract.
            return unsafe { self.add_numbers::<L>(&x.plain_row(row)[columns]) };
        };
        let first = self.indices.len();
        // SAFETY: by contract.
        unsafe {
            self.add_numbers::<L>(numbers);
            for index in &mut self.indices[first..] {
                *index = order[*index as usize];
            }
            self.add_flags::<L>(words, &order[numbers.len()..]);
        }
        if columns.len() < order.len() {
            self.keep(first, columns);
        }
    }

    /// Of those after the first ones keeps only some columns.
    fn keep(&mut self, first: usize, columns: Range<usize>) {
        let mut count = first;
        for i in first..self.indices.len() {
            if columns.contains(&(self.indices[i] as usize)) {
                self.indices[count] = self.indices[i] - columns.start as u32;
                self.values[count] = self.values[i];
                count += 1;
            }
        }
        self.indices.truncate(count);
        self.values.truncate(count);
    }

    /// Adds those of `numbers` that are not zero.
    #[inline(always)]
    unsafe fn add_numbers<L: Lanes>(&mut self, numbers: &[f32]) {
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

    /// Adds a one for each bit that is set, in the column that `columns` has for the bit.
    #[inline(always)]
    unsafe fn add_flags<L: Lanes>(&mut self, words: &[u32], columns: &[u32]) {
        let room = columns.len() + L::WIDTH;
        self.indices.reserve(room);
        let mut count = self.indices.len();
        let whole = columns.len() - columns.len() % L::WIDTH;
        // SAFETY: there is room for all columns and one more vector; a word has a whole number of vectors.
        unsafe {
            let indices = self.indices.as_mut_ptr();
            for at in (0..whole).step_by(L::WIDTH) {
                let bits = words[at / WORD] >> (at % WORD);
                count += L::compress(bits, columns.as_ptr().add(at), indices.add(count));
            }
            for (at, &column) in columns.iter().enumerate().skip(whole) {
                *indices.add(count) = column;
                count += (words[at / WORD] >> (at % WORD) & 1) as usize;
            }
            self.indices.set_len(count);
        }
        self.values.resize(count, 1.0);
    }
}
