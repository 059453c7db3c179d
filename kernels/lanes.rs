//! Vectors of f32 as wide as the processor's, and the choice among them at run time.
//!
//! A kernel is one generic function over [`Lanes`]; [`best_lanes!`] compiles it once for each width and calls
//! the widest that the processor has. The functions here are `inline(always)`, since an intrinsic is an
//! instruction only inside a function that was compiled for its instruction set.

/// Some f32 side by side in a register.
///
/// # Safety
/// The methods may be called only inside a function compiled for the instruction set of the implementation.
pub unsafe trait Lanes: Copy {
    const WIDTH: usize;
    /// Registers that hold such vectors.
    const REGISTERS: usize;

    unsafe fn splat(value: f32) -> Self;
    /// Reads [`Lanes::WIDTH`] numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes [`Lanes::WIDTH`] numbers.
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// The smaller number of each lane, or `other`'s where one is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// The larger number of each lane, or `other`'s where one is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where `test` is above zero, else zero.
    unsafe fn where_positive(self, test: Self) -> Self;
    /// The sum of all lanes.
    unsafe fn sum(self) -> f32;
    /// The two bf16 of which each lane's bits are made, as f32: the lower and the higher half.
    unsafe fn halves(self) -> [Self; 2];
    /// Writes `first + i` and the number itself for each lane `i` that is not zero, in order, to the two lists, and
    /// returns how many there are. May write [`Lanes::WIDTH`] elements in any case.
    unsafe fn compress_non_zero(self, first: u32, indices: *mut u32, values: *mut f32) -> usize;
    /// Writes those of the [`Lanes::WIDTH`] numbers at `from` whose bit is set, in order, and returns how many there are. May
    /// write [`Lanes::WIDTH`] numbers in any case. Higher bits mean nothing.
    unsafe fn compress(bits: u32, from: *const u32, to: *mut u32) -> usize;
}

/// Any processor: the compiler chooses the instructions.
#[derive(Clone, Copy)]
pub struct Portable([f32; 8]);

// SAFETY: needs no instruction set.
unsafe impl Lanes for Portable {
    const WIDTH: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Portable([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: by contract.
        Portable(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: by contract.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * factor.0[i] + sum.0[i]))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] * other.0[i]))
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| self.0[i] / other.0[i]))
    }

    #[inline(always)]
    unsafe fn min(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| if self.0[i] < other.0[i] { self.0[i] } else { other.0[i] }))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        Portable(std::array::from_fn(|i| if self.0[i] > other.0[i] { self.0[i] } else { other.0[i] }))
    }

    #[inline(always)]
    unsafe fn where_positive(self, test: Self) -> Self {
        Portable(std::array::from_fn(|i| if test.0[i] > 0.0 { self.0[i] } else { 0.0 }))
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }

    #[inline(always)]
    unsafe fn halves(self) -> [Self; 2] {
        let of = |half: fn(u32) -> u32| Portable(self.0.map(|lane| f32::from_bits(half(lane.to_bits()))));
        [of(|bits| bits << 16), of(|bits| bits & 0xFFFF_0000)]
    }

    #[inline(always)]
    unsafe fn compress_non_zero(self, first: u32, indices: *mut u32, values: *mut f32) -> usize {
        let mut count = 0;
        for (i, &value) in self.0.iter().enumerate() {
            // SAFETY: by contract.
            unsafe {
                *indices.add(count) = first + i as u32;
                *values.add(count) = value;
            }
            count += usize::from(value != 0.0);
        }
        count
    }

    #[inline(always)]
    unsafe fn compress(bits: u32, from: *const u32, to: *mut u32) -> usize {
        let mut count = 0;
        for lane in 0..Self::WIDTH {
            // SAFETY: by contract.
            unsafe { *to.add(count) = *from.add(lane) };
            count += (bits >> lane & 1) as usize;
        }
        count
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    // SAFETY: AVX2 and FMA.
    unsafe impl Lanes for __m256 {
        const WIDTH: usize = 8;
        const REGISTERS: usize = 16;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, factor, sum) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm256_sub_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { _mm256_div_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { _mm256_min_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { _mm256_max_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn where_positive(self, test: Self) -> Self {
            unsafe { _mm256_and_ps(self, _mm256_cmp_ps::<_CMP_GT_OQ>(test, _mm256_setzero_ps())) }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe {
                let four = _mm_add_ps(_mm256_castps256_ps128(self), _mm256_extractf128_ps::<1>(self));
                let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
                _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
            }
        }

        #[inline(always)]
        unsafe fn halves(self) -> [Self; 2] {
            unsafe {
                let bits = _mm256_castps_si256(self);
                let high = _mm256_and_si256(bits, _mm256_set1_epi32(0xFFFF_0000u32 as i32));
                [_mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits)), _mm256_castsi256_ps(high)]
            }
        }

        #[inline(always)]
        unsafe fn compress_non_zero(self, first: u32, indices: *mut u32, values: *mut f32) -> usize {
            unsafe {
                let non_zero = _mm256_cmp_ps::<_CMP_NEQ_UQ>(self, _mm256_setzero_ps());
                let mut mask = _mm256_movemask_ps(non_zero) as u32;
                let mut lanes = [0.0; 8];
                self.store(lanes.as_mut_ptr());
                let mut count = 0;
                while mask != 0 {
                    let lane = mask.trailing_zeros();
                    *indices.add(count) = first + lane;
                    *values.add(count) = lanes[lane as usize & 7];
                    mask &= mask - 1;
                    count += 1;
                }
                count
            }
        }

        #[inline(always)]
        unsafe fn compress(bits: u32, from: *const u32, to: *mut u32) -> usize {
            let mut rest = bits & 0xFF;
            let mut count = 0;
            while rest != 0 {
                unsafe { *to.add(count) = *from.add(rest.trailing_zeros() as usize) };
                rest &= rest - 1;
                count += 1;
            }
            count
        }
    }

    // SAFETY: AVX-512F.
    unsafe impl Lanes for __m512 {
        const WIDTH: usize = 16;
        const REGISTERS: usize = 32;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm512_set1_ps(value) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm512_loadu_ps(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self) }
        }

        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, sum: Self) -> Self {
            unsafe { _mm512_fmadd_ps(self, factor, sum) }
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm512_add_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm512_sub_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm512_mul_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { _mm512_div_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { _mm512_min_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { _mm512_max_ps(self, other) }
        }

        #[inline(always)]
        unsafe fn where_positive(self, test: Self) -> Self {
            unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GT_OQ>(test, _mm512_setzero_ps()), self) }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            unsafe { _mm512_reduce_add_ps(self) }
        }

        #[inline(always)]
        unsafe fn halves(self) -> [Self; 2] {
            unsafe {
                let bits = _mm512_castps_si512(self);
                let high = _mm512_and_si512(bits, _mm512_set1_epi32(0xFFFF_0000u32 as i32));
                [_mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits)), _mm512_castsi512_ps(high)]
            }
        }

        #[inline(always)]
        unsafe fn compress_non_zero(self, first: u32, indices: *mut u32, values: *mut f32) -> usize {
            unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(self, _mm512_setzero_ps());
                let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
                let places = _mm512_add_epi32(lanes, _mm512_set1_epi32(first as i32));
                _mm512_storeu_si512(indices.cast(), _mm512_maskz_compress_epi32(mask, places));
                _mm512_maskz_compress_ps(mask, self).store(values);
                mask.count_ones() as usize
            }
        }

        #[inline(always)]
        unsafe fn compress(bits: u32, from: *const u32, to: *mut u32) -> usize {
            let mask = bits as u16;
            unsafe {
                let numbers = _mm512_loadu_si512(from.cast());
                _mm512_storeu_si512(to.cast(), _mm512_maskz_compress_epi32(mask, numbers));
            }
            mask.count_ones() as usize
        }
    }
}

/// Asks for `numbers` to be in the cache soon.
#[inline(always)]
pub fn prefetch<T>(numbers: &[T]) {
    #[cfg(target_arch = "x86_64")]
    for line in numbers.chunks(64 / size_of::<T>()) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = numbers;
}

/// Whether the processor has what kernels for AVX-512 are compiled for.
#[cfg(target_arch = "x86_64")]
pub fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("popcnt")
}

/// Whether the processor has what kernels for AVX2 are compiled for.
#[cfg(target_arch = "x86_64")]
pub fn has_avx2() -> bool {
    let has_fma = is_x86_feature_detected!("fma") && is_x86_feature_detected!("bmi1");
    has_fma && is_x86_feature_detected!("avx2")
}

/// `best_lanes!(fn name = kernel(a: A, b: B))` defines `name(a, b)`, which runs `kernel::<L>(a, b)` for the widest `L` that
/// the processor has. `kernel` is `inline(always)`.
macro_rules! best_lanes {
    ($(#[$doc:meta])* $vis:vis fn $name:ident = $kernel:ident($($arg:ident: $Type:ty),* $(,)?)) => {
        $(#[$doc])*
        $vis fn $name($($arg: $Type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,popcnt")]
                fn avx512($($arg: $Type),*) {
                    // SAFETY: compiled for the instruction set.
                    unsafe { $kernel::<std::arch::x86_64::__m512>($($arg),*) }
                }
                #[target_feature(enable = "avx2,fma,bmi1")]
                fn avx2($($arg: $Type),*) {
                    // SAFETY: compiled for the instruction set.
                    unsafe { $kernel::<std::arch::x86_64::__m256>($($arg),*) }
                }
                if super::lanes::has_avx512() {
                    // SAFETY: the processor has it.
                    return unsafe { avx512($($arg),*) };
                }
                if super::lanes::has_avx2() {
                    // SAFETY: the processor has it.
                    return unsafe { avx2($($arg),*) };
                }
            }
            // SAFETY: needs no instruction set.
            unsafe { $kernel::<super::lanes::Portable>($($arg),*) }
        }
    };
}
pub(crate) use best_lanes;

/// `every_lanes!(fn name = kernel(a: A) -> R)` defines `name(a)`: what `kernel::<L>(a)` gives for each `L` that the processor
/// has, under its name. `kernel` is `inline(always)`.
#[cfg(test)]
macro_rules! every_lanes {
    (fn $name:ident = $kernel:ident($arg:ident: $Type:ty) -> $Out:ty) => {
        fn $name($arg: $Type) -> Vec<(&'static str, $Out)> {
            // SAFETY: needs no instruction set.
            let mut results =
                vec![("portable", unsafe { $kernel::<crate::runtime::kernels::lanes::Portable>($arg) })];
            #[cfg(target_arch = "x86_64")]
            {
                use crate::runtime::kernels::lanes::{has_avx2, has_avx512};

                #[target_feature(enable = "avx512f,popcnt")]
                fn avx512($arg: $Type) -> $Out {
                    // SAFETY: compiled for the instruction set.
                    unsafe { $kernel::<std::arch::x86_64::__m512>($arg) }
                }
                #[target_feature(enable = "avx2,fma,bmi1")]
                fn avx2($arg: $Type) -> $Out {
                    // SAFETY: compiled for the instruction set.
                    unsafe { $kernel::<std::arch::x86_64::__m256>($arg) }
                }
                if has_avx2() {
                    // SAFETY: the processor has it.
                    results.push(("avx2", unsafe { avx2($arg) }));
                }
                if has_avx512() {
                    // SAFETY: the processor has it.
                    results.push(("avx512", unsafe { avx512($arg) }));
                }
            }
            results
        }
    };
}
#[cfg(test)]
pub(crate) use every_lanes;
