//! The transposition of a large matrix.
//!
//! Environments run with the batch on the last axis, networks read it on the first, so each step's observations are
//! turned once. XLA's loop reads or writes one number per line of the cache; here squares of 8 x 8 are turned in registers.

use super::call::Call;

/// The side of a square.
const SIDE: usize = 8;

pub fn transpose(call: &mut Call) -> Result<(), String> {
    let x = call.operand::<f32>(0)?;
    let (y, shape) = call.result::<f32>()?;
    match (x.shape, shape) {
        (&[height, width], &[a, b]) if (a, b) == (width, height) => {
            turn(x.data, height as usize, width as usize, y);
            Ok(())
        }
        _ => Err(format!("x has the shape {:?}, the result {shape:?}", x.shape)),
    }
}

/// `y[j, i] = x[i, j]`; x is `[height, width]`.
pub fn turn(x: &[f32], height: usize, width: usize, y: &mut [f32]) {
    turn_apart(x, height, width, y, height);
}

/// The same, with rows of y that are `y_width` numbers apart.
pub fn turn_apart(x: &[f32], height: usize, width: usize, y: &mut [f32], y_width: usize) {
    assert!(x.len() == height * width && height <= y_width && y.len() == width * y_width);
    let (squares_high, squares_wide) = (height - height % SIDE, width - width % SIDE);
    let turn_square = square();
    // As many rows of x at a time as a line of the cache has numbers: each line of y is written once, and what is read lies in rows.
    for first in (0..squares_high).step_by(2 * SIDE) {
        for j in (0..squares_wide).step_by(SIDE) {
            for i in (first..squares_high.min(first + 2 * SIDE)).step_by(SIDE) {
                // SAFETY: the square lies in x, the turned one in y; `square` chose what the processor has.
                unsafe {
                    let to = y.as_mut_ptr().add(j * y_width + i);
                    turn_square(x.as_ptr().add(i * width + j), width, to, y_width)
                };
            }
        }
    }
    // The edges below and to the right of the squares.
    for i in 0..height {
        for j in if i < squares_high { squares_wide } else { 0 }..width {
            y[j * y_width + i] = x[i * width + j];
        }
    }
}

/// Turns one square: from where, how far apart its rows are, and the same of where it goes.
type Square = unsafe fn(*const f32, usize, *mut f32, usize);

fn square() -> Square {
    #[cfg(target_arch = "x86_64")]
    if super::lanes::has_avx2() {
        return avx2;
    }
    portable
}

unsafe fn portable(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    for i in 0..SIDE {
        for j in 0..SIDE {
            // SAFETY: by contract.
            unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
        }
    }
}

/// Three rounds that exchange numbers between rows at distance 1, 2 and 4.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn avx2(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: by contract.
    let rows: [__m256; SIDE] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * from_stride)) });
    let mut pairs = [_mm256_setzero_ps(); SIDE];
    for i in (0..SIDE).step_by(2) {
        pairs[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
    }
    let mut fours = [_mm256_setzero_ps(); SIDE];
    for i in [0, 4] {
        fours[i] = _mm256_shuffle_ps::<0x44>(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm256_shuffle_ps::<0xEE>(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm256_shuffle_ps::<0x44>(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm256_shuffle_ps::<0xEE>(pairs[i + 1], pairs[i + 3]);
    }
    for i in 0..4 {
        let low = _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]);
        let high = _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]);
        // SAFETY: by contract.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_stride), low);
            _mm256_storeu_ps(to.add((i + 4) * to_stride), high);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_goes_to_its_place() {
        for (height, width) in [(8, 8), (16, 24), (17, 9), (3, 40), (40, 7), (1, 1), (129, 33)] {
            let x: Vec<f32> = (0..height * width).map(|i| i as f32).collect();
            let mut y = vec![f32::NAN; x.len()];
            turn(&x, height, width, &mut y);
            let place = |k: usize| x[(k % height) * width + k / height];
            assert!((0..x.len()).all(|k| y[k] == place(k)), "{height} x {width}");
            let wide = height + 3;
            let mut apart = vec![-1.0; width * wide];
            turn_apart(&x, height, width, &mut apart, wide);
            for (row, apart) in y.chunks(height).zip(apart.chunks(wide)) {
                assert_eq!(apart, [row, &[-1.0; 3]].concat(), "{height} x {width}");
            }
        }
    }

    #[test]
    fn the_portable_square_is_the_same() {
        let x: Vec<f32> = (0..100).map(|i| i as f32).collect();
        let turned = |square: Square| {
            let mut y = [0.0; 100];
            // SAFETY: both are 10 x 10, and `square` gives what the processor has.
            unsafe { square(x.as_ptr(), 10, y.as_mut_ptr(), 10) };
            y
        };
        assert_eq!(turned(portable), turned(square()));
        assert_eq!(turned(portable)[10], 1.0);
    }
}
