//! Observations made small: of columns that hold only 0 and 1 a bit is kept, of the others the number.
//!
//! Environments run with the batch on the last axis, so an observation is a column of x here and a row of what comes out.
//! A block of observations at a time goes through the first level of the cache: numbers are gathered and bits put
//! together for all of them at once, side by side as they stand in x, and then turned as matrices are (`transpose.rs`).

use super::call::Call;
use super::lanes::{Lanes, best_lanes};
use super::sparse_dot::check_packed;
use super::transpose::turn;

/// Observations that are packed together.
const BLOCK: usize = 16;
/// Bits in a word.
const WORD: usize = u32::BITS as usize;

pub fn pack(call: &mut Call) -> Result<(), String> {
    let x = call.operand::<f32>(0)?;
    let order = call.operand::<i32>(1)?.data;
    let (numbers, flags) = call.two_results::<f32, u32>()?;
    let &[columns, count] = x.shape else { return Err(format!("x has the shape {:?}", x.shape)) };
    let (columns, count) = (columns as usize, count as usize);
    if count == 0 {
        return Ok(());
    }
    let (num_numbers, num_words) = (numbers.len() / count, flags.len() / count);
    if order.len() != columns {
        return Err(format!("an order of {} for {columns} columns", order.len()));
    }
    check_packed(num_numbers, num_words, order)?;
    pack_rows(x.data, count, order, numbers, flags);
    Ok(())
}

best_lanes! {
    /// `x` is `[order.len(), count]`; `numbers` `[count, _]` and `flags` `[count, _]` together have a place for each column.
    fn pack_rows = pack_with(x: &[f32], count: usize, order: &[i32], numbers: &mut [f32], flags: &mut [u32])
}

#[inline(always)]
unsafe fn pack_with<L: Lanes>(
    x: &[f32],
    count: usize,
    order: &[i32],
    numbers: &mut [f32],
    flags: &mut [u32],
) {
    let (num_numbers, num_words) = (numbers.len() / count, flags.len() / count);
    let mut turned = vec![0f32; BLOCK * num_numbers.max(num_words)];
    for first in (0..count).step_by(BLOCK) {
        let height = BLOCK.min(count - first);
        let column = |column: i32| &x[column as usize * count + first..][..height];

        for (to, &from) in turned.chunks_exact_mut(height).zip(&order[..num_numbers]) {
            to.copy_from_slice(column(from));
        }
        let block = first * num_numbers..(first + height) * num_numbers;
        turn(&turned[..block.len()], num_numbers, height, &mut numbers[block]);

        for (to, columns) in turned.chunks_exact_mut(height).zip(order[num_numbers..].chunks(WORD)) {
            let mut words = [0u32; BLOCK];
            for (bit, &from) in columns.iter().enumerate() {
                let column = column(from);
                match <&[f32; BLOCK]>::try_from(column) {
                    Ok(column) => add_bit(&mut words, column, bit),
                    Err(_) => add_bit(&mut words, column, bit),
                }
            }
            for (to, word) in to.iter_mut().zip(words) {
                *to = f32::from_bits(word);
            }
        }
        let block = first * num_words..(first + height) * num_words;
        // SAFETY: the types have one size and alignment, and any bits are an f32.
        let words =
            unsafe { std::slice::from_raw_parts_mut(flags[block].as_mut_ptr().cast(), height * num_words) };
        turn(&turned[..words.len()], num_words, height, words);
    }
}

/// Sets a bit of each word whose number is not zero.
#[inline(always)]
fn add_bit(words: &mut [u32; BLOCK], numbers: &[f32], bit: usize) {
    for (word, &number) in words.iter_mut().zip(numbers) {
        *word |= u32::from(number != 0.0) << bit;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::kernels::lanes::every_lanes;

    struct Case {
        count: usize,
        order: Vec<i32>,
        num_numbers: usize,
    }

    impl Case {
        /// The number of observation `row` in a column.
        fn number(&self, column: usize, row: usize) -> f32 {
            let number = (column * 31 + row * 17) % 5;
            let is_number = self.order[..self.num_numbers].contains(&(column as i32));
            if is_number { number as f32 - 1.5 } else { (number / 4) as f32 }
        }
    }

    #[inline(always)]
    unsafe fn run<L: Lanes>(case: &Case) -> (Vec<f32>, Vec<u32>) {
        let Case { count, ref order, num_numbers } = *case;
        let x: Vec<f32> = (0..order.len() * count).map(|i| case.number(i / count, i % count)).collect();
        let mut numbers = vec![f32::NAN; count * num_numbers];
        let mut flags = vec![u32::MAX; count * (order.len() - num_numbers).div_ceil(WORD)];
        // SAFETY: the caller's instruction set is that of `L`.
        unsafe { pack_with::<L>(&x, count, order, &mut numbers, &mut flags) };
        (numbers, flags)
    }

    every_lanes!(fn run_with_every = run(case: &Case) -> (Vec<f32>, Vec<u32>));

    #[test]
    fn every_number_and_every_bit_is_in_its_place() {
        for (columns, count, num_numbers) in
            [(71, 33, 5), (96, 16, 0), (40, 7, 40), (1545, 50, 226), (33, 1, 1)]
        {
            // 7 has no factor in common with the numbers of columns: a permutation.
            let order: Vec<i32> = (0..columns).map(|i| i * 7 % columns).collect();
            let case = Case { count, order, num_numbers };
            for (kind, (numbers, flags)) in run_with_every(&case) {
                let words = flags.len() / count;
                for row in 0..count {
                    for (place, &column) in case.order.iter().enumerate() {
                        let found = match place.checked_sub(num_numbers) {
                            None => numbers[row * num_numbers + place],
                            Some(bit) => (flags[row * words + bit / WORD] >> (bit % WORD) & 1) as f32,
                        };
                        let what = format!("{kind}: row {row}, column {column} of {columns} x {count}");
                        assert_eq!(found, case.number(column as usize, row), "{what}");
                    }
                }
            }
        }
    }
}
