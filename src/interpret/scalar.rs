//! Elements widened for arithmetic and narrowed again: the only place that knows the eight dtypes apart.

use half::bf16;

use crate::array::Element;

/// An element without loss: integers (and bool) as i128, floats as f64.
#[derive(Clone, Copy)]
pub enum Wide {
    Int(i128),
    Float(f64),
}

/// An element type that can be widened and narrowed.
pub trait Scalar: Element {
    /// Width of the two's complement representation (bool: 1); the width of the storage for floats.
    const BITS: u32;
    fn widen(self) -> Wide;
    /// Integers keep the low bits; floats round.
    fn from_int(value: i128) -> Self;
    /// Floats round to nearest even; integers truncate and saturate, NaN gives 0.
    fn from_float(value: f64) -> Self;

    fn narrow(wide: Wide) -> Self {
        match wide {
            Wide::Int(value) => Self::from_int(value),
            Wide::Float(value) => Self::from_float(value),
        }
    }
}

macro_rules! scalar {
    ($type:ty, $wide:ident, $widened:ty) => {
        impl Scalar for $type {
            const BITS: u32 = 8 * size_of::<$type>() as u32;
            fn widen(self) -> Wide {
                Wide::$wide(self as $widened)
            }
            fn from_int(value: i128) -> Self {
                value as Self
            }
            fn from_float(value: f64) -> Self {
                value as Self
            }
        }
    };
}
scalar!(u8, Int, i128);
scalar!(i32, Int, i128);
scalar!(u32, Int, i128);
scalar!(u64, Int, i128);
scalar!(f32, Float, f64);
scalar!(f64, Float, f64);

impl Scalar for bool {
    const BITS: u32 = 1;
    fn widen(self) -> Wide {
        Wide::Int(self as i128)
    }
    fn from_int(value: i128) -> Self {
        value & 1 == 1
    }
    fn from_float(value: f64) -> Self {
        value != 0.0
    }
}

/// bf16 by way of f32, as the device does.
impl Scalar for bf16 {
    const BITS: u32 = 16;
    fn widen(self) -> Wide {
        Wide::Float(self.to_f64())
    }
    fn from_int(value: i128) -> Self {
        bf16::from_f32(value as f32)
    }
    fn from_float(value: f64) -> Self {
        bf16::from_f32(value as f32)
    }
}
