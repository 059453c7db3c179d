//! The hyperbolic tangent and the sigmoid of vectors, which networks pass their sums through.

use super::lanes::Lanes;

/// The hyperbolic tangent to 5e-7 relative: x p(x^2) / q(x^2), fitted to [0, 8], beyond which it is 1 in f32.
#[inline(always)]
pub unsafe fn tanh<L: Lanes>(x: L) -> L {
    const P: [f32; 4] = [0.999_999_8, 0.129_256_65, 0.002_951_025_3, 1.142_843_8e-5];
    const Q: [f32; 5] = [1.0, 0.462_588_8, 0.023_815_56, 2.386_693_7e-4, 2.459_215_4e-7];
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        let horner = |coefficients: &[f32], u: L| {
            let mut sum = L::splat(coefficients[coefficients.len() - 1]);
            for &c in coefficients.iter().rev().skip(1) {
                sum = sum.mul_add(u, L::splat(c));
            }
            sum
        };
        // A number that is none stays so: it is the second operand.
        let x = L::splat(8.0).min(x);
        let x = L::splat(-8.0).max(x);
        let u = x.mul(x);
        x.mul(horner(&P, u)).div(horner(&Q, u))
    }
}

/// The sigmoid `1 / (1 + exp(-x))`, to 3e-7 absolute: a hyperbolic tangent, shifted and scaled.
#[inline(always)]
pub unsafe fn sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's instruction set is that of `L`.
    unsafe {
        let half = L::splat(0.5);
        tanh(x.mul(half)).mul_add(half, half)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Portable;
    use super::*;

    #[test]
    fn tanh_is_that_of_the_library() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.006;
            let mut y = [0.0; 8];
            // SAFETY: needs no instruction set.
            unsafe { tanh(Portable::splat(x)).store(y.as_mut_ptr()) };
            let expected = f64::from(x).tanh();
            assert!((f64::from(y[0]) - expected).abs() <= 5e-7 * expected.abs(), "{x}: {} {expected}", y[0]);
        }
    }

    #[test]
    fn the_sigmoid_is_that_of_the_library() {
        for i in -2000..=2000 {
            let x = i as f32 * 0.01;
            let mut y = [0.0; 8];
            // SAFETY: needs no instruction set.
            unsafe { sigmoid(Portable::splat(x)).store(y.as_mut_ptr()) };
            let expected = 1.0 / (1.0 + (-f64::from(x)).exp());
            assert!((f64::from(y[0]) - expected).abs() <= 3e-7, "{x}: {} {expected}", y[0]);
        }
    }
}
