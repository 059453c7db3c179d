//! Each kind of vector against the sums that the products stand for, since a machine runs only the widest that it has.

use super::super::lanes::every_lanes;
use super::*;

/// What is multiplied. The sizes leave every remainder of the vectors and of the blocks.
#[derive(Debug)]
struct Case {
    height: usize,
    width: usize,
    /// Width of the result.
    out: usize,
    /// One number of x in so many is not zero.
    one_in: usize,
    /// Rows of x in another order, and some that are not there.
    chooses: bool,
    packed: bool,
}

impl Case {
    fn x(&self) -> Vec<f32> {
        let mut x = numbers(self.height * self.width, 1.0);
        for (i, number) in x.iter_mut().enumerate() {
            let draw = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            if !draw.is_multiple_of(self.one_in as u64) {
                *number = if i % 2 == 0 { 0.0 } else { -0.0 };
            }
        }
        x[self.width / 2] = f32::NAN; // which is not zero
        if self.packed {
            let order = self.order();
            for &column in &order[self.num_numbers()..] {
                let numbers = x.iter_mut().skip(column as usize).step_by(self.width);
                numbers.for_each(|number| *number = f32::from(*number != 0.0));
            }
        }
        x
    }

    /// Columns of a packed matrix that are not flags.
    fn num_numbers(&self) -> usize {
        self.width / 6
    }

    /// The columns of a packed matrix, the numbers first.
    fn order(&self) -> Vec<i32> {
        (0..self.width).map(|i| ((i * 11 + 5) % self.width) as i32).collect()
    }

    /// The numbers and the flags of a packed matrix.
    fn parts_of(&self, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let order = self.order();
        let (numbers, flags) = order.split_at(self.num_numbers());
        let rows = || x.chunks(self.width);
        let word = |row: &[f32], columns: &[i32]| {
            columns.iter().rev().fold(0, |word, &column| word << 1 | u32::from(row[column as usize] != 0.0))
        };
        (
            rows().flat_map(|row| numbers.iter().map(|&column| row[column as usize])).collect(),
            rows().flat_map(|row| flags.chunks(32).map(|columns| word(row, columns))).collect(),
        )
    }

    fn chosen(&self) -> Option<Vec<i32>> {
        let height = self.height as i32;
        self.chooses.then(|| (0..height + 5).map(|row| row * 7 % (height + 4) - 2).collect())
    }

    /// Which rows of the product and which of the transposed product are computed: all but some at the ends.
    fn parts(&self, count: usize) -> [Range<usize>; 2] {
        [1..count, 2..self.width - 1]
    }

    /// What [`run`] should give, to the precision of f64.
    fn expected(&self) -> [Vec<f64>; 2] {
        let (x, chosen) = (self.x(), self.chosen());
        let count = chosen.as_ref().map_or(self.height, Vec::len);
        let row = |row: usize| match &chosen {
            Some(chosen) => chosen[row].clamp(0, self.height as i32 - 1) as usize,
            None => row,
        };
        let x = |r: usize, column: usize| x[row(r) * self.width + column];
        // A zero times anything is nothing.
        let product = |x: f32, other: f32| if x == 0.0 { 0.0 } else { f64::from(x) * f64::from(other) };
        let (w, g) = (numbers(self.width * self.out, 2.0), numbers(count * self.out, 3.0));
        let [rows, columns] = self.parts(count);
        let each = |rows: Range<usize>| rows.flat_map(|row| (0..self.out).map(move |at| (row, at)));
        let forward = |(row, at)| (0..self.width).map(|i| product(x(row, i), w[i * self.out + at])).sum();
        let transposed = |(column, at)| (0..count).map(|i| product(x(i, column), g[i * self.out + at])).sum();
        [each(rows).map(forward).collect(), each(columns).map(transposed).collect()]
    }
}

/// Numbers from -1 to 1, none of them 0.
fn numbers(size: usize, seed: f32) -> Vec<f32> {
    (0..size).map(|i| ((i as f32 * 0.7 + seed).sin() * 43.7).fract() + 1e-9).collect()
}

/// Parts of the product and of the transposed product.
#[inline(always)]
unsafe fn run<L: Lanes>(case: &Case) -> [Vec<f32>; 2] {
    let (x, chosen, mut scratch) = (case.x(), case.chosen(), Scratch::default());
    let (height, width, order) = (case.height, case.width, case.order());
    let (own_numbers, flags) = case.parts_of(&x);
    let matrix = match case.packed {
        true => Matrix::packed(height, &own_numbers, &flags, &order).unwrap(),
        false => Matrix::Plain { numbers: &x, width },
    };
    let x = Rows { matrix, height, chosen: chosen.as_deref() };
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        let (w, g) = (numbers(width * case.out, 2.0), numbers(x.count() * case.out, 3.0));
        let [rows, columns] = case.parts(x.count());
        let mut y = vec![f32::NAN; rows.len() * case.out];
        forward_with::<L>(x, rows, &w, case.out, &mut y, &mut scratch);
        let mut sums = vec![0.0; columns.len() * case.out];
        transposed_with::<L>(x, columns, &g, case.out, &mut sums, &mut scratch);
        [y, sums]
    }
}

every_lanes!(fn run_with_every = run(case: &Case) -> [Vec<f32>; 2]);

#[test]
fn every_kind_of_vector_gives_the_sums() {
    for (height, width, out) in [(13, 37, 3), (9, 100, 67), (514, 23, 18), (30, 64, 300)] {
        for one_in in [1, 2, 6, 40] {
            for (chooses, packed) in [(false, false), (false, true), (true, false), (true, true)] {
                let case = Case { height, width, out, one_in, chooses, packed };
                let expected = case.expected();
                for (kind, found) in run_with_every(&case) {
                    for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
                        let found = f64::from(*found);
                        let near = (found - expected).abs() <= 1e-5 * (1.0 + expected.abs());
                        assert!(
                            near || found.is_nan() && expected.is_nan(),
                            "{kind}, {case:?}: {found} instead of {expected}"
                        );
                    }
                }
            }
        }
    }
}
