//! Arrays on the host: one `ndarray` per dtype behind one enum.

use std::borrow::Cow;

use half::bf16;
use ndarray::{ArrayD, Axis, IxDyn, Slice};

use super::{ArrayType, DType};

/// An array on the host, always in row-major (standard) layout.
#[derive(Clone, Debug, PartialEq)]
pub enum HostArray {
    Bool(ArrayD<bool>),
    U8(ArrayD<u8>),
    I32(ArrayD<i32>),
    U32(ArrayD<u32>),
    U64(ArrayD<u64>),
    BF16(ArrayD<bf16>),
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

/// A Rust type that is the element of some dtype.
pub trait Element: Copy + Default + 'static {
    const DTYPE: DType;
    fn wrap(array: ArrayD<Self>) -> HostArray;
    fn unwrap(array: &HostArray) -> Option<&ArrayD<Self>>;
    fn unwrap_mut(array: &mut HostArray) -> Option<&mut ArrayD<Self>>;
    fn to_le(self, out: &mut Vec<u8>);
    /// `bytes` holds exactly `DTYPE.size()` bytes.
    fn from_le(bytes: &[u8]) -> Self;
}

macro_rules! element {
    ($type:ty, $variant:ident) => {
        impl Element for $type {
            const DTYPE: DType = DType::$variant;
            fn wrap(array: ArrayD<Self>) -> HostArray {
                HostArray::$variant(array)
            }
            fn unwrap(array: &HostArray) -> Option<&ArrayD<Self>> {
                match array {
                    HostArray::$variant(values) => Some(values),
                    _ => None,
                }
            }
            fn unwrap_mut(array: &mut HostArray) -> Option<&mut ArrayD<Self>> {
                match array {
                    HostArray::$variant(values) => Some(values),
                    _ => None,
                }
            }
            fn to_le(self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn from_le(bytes: &[u8]) -> Self {
                <$type>::from_le_bytes(bytes.try_into().expect("one element"))
            }
        }
    };
}
element!(u8, U8);
element!(i32, I32);
element!(u32, U32);
element!(u64, U64);
element!(bf16, BF16);
element!(f32, F32);
element!(f64, F64);

impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn wrap(array: ArrayD<Self>) -> HostArray {
        HostArray::Bool(array)
    }
    fn unwrap(array: &HostArray) -> Option<&ArrayD<Self>> {
        match array {
            HostArray::Bool(values) => Some(values),
            _ => None,
        }
    }
    fn unwrap_mut(array: &mut HostArray) -> Option<&mut ArrayD<Self>> {
        match array {
            HostArray::Bool(values) => Some(values),
            _ => None,
        }
    }
    fn to_le(self, out: &mut Vec<u8>) {
        out.push(self as u8);
    }
    fn from_le(bytes: &[u8]) -> Self {
        bytes[0] != 0
    }
}

/// Runs `$body` with `$values` bound to the typed `ndarray` inside `$array` (`HostArray` must be in scope).
macro_rules! with_values {
    ($array:expr, $values:ident => $body:expr) => {
        match $array {
            HostArray::Bool($values) => $body,
            HostArray::U8($values) => $body,
            HostArray::I32($values) => $body,
            HostArray::U32($values) => $body,
            HostArray::U64($values) => $body,
            HostArray::BF16($values) => $body,
            HostArray::F32($values) => $body,
            HostArray::F64($values) => $body,
        }
    };
}

/// Runs `$body` with the type alias `$T` set to the element type of `$dtype` (`DType` must be in scope).
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            DType::Bool => {
                type $T = bool;
                $body
            }
            DType::U8 => {
                type $T = u8;
                $body
            }
            DType::I32 => {
                type $T = i32;
                $body
            }
            DType::U32 => {
                type $T = u32;
                $body
            }
            DType::U64 => {
                type $T = u64;
                $body
            }
            DType::BF16 => {
                type $T = ::half::bf16;
                $body
            }
            DType::F32 => {
                type $T = f32;
                $body
            }
            DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

pub(crate) use {with_element, with_values};

impl HostArray {
    /// An array of the given shape from row-major `values`; panics if their number does not fit.
    #[track_caller]
    pub fn new<T: Element>(shape: &[usize], values: Vec<T>) -> Self {
        let count = values.len();
        match ArrayD::from_shape_vec(IxDyn(shape), values) {
            Ok(array) => T::wrap(array),
            Err(_) => panic!("{count} values do not fill an array of shape {shape:?}"),
        }
    }

    pub fn scalar<T: Element>(value: T) -> Self {
        T::wrap(ArrayD::from_elem(IxDyn(&[]), value))
    }

    /// All zeros (`false` for bool).
    pub fn zeros(array_type: &ArrayType) -> Self {
        with_element!(array_type.dtype, T => {
            T::wrap(ArrayD::from_elem(IxDyn(&array_type.shape), T::default()))
        })
    }

    pub fn dtype(&self) -> DType {
        match self {
            HostArray::Bool(_) => DType::Bool,
            HostArray::U8(_) => DType::U8,
            HostArray::I32(_) => DType::I32,
            HostArray::U32(_) => DType::U32,
            HostArray::U64(_) => DType::U64,
            HostArray::BF16(_) => DType::BF16,
            HostArray::F32(_) => DType::F32,
            HostArray::F64(_) => DType::F64,
        }
    }

    pub fn shape(&self) -> &[usize] {
        with_values!(self, values => values.shape())
    }

    pub fn array_type(&self) -> ArrayType {
        ArrayType::new(self.dtype(), self.shape())
    }

    /// Whether no element is infinite or not a number.
    pub fn is_finite(&self) -> bool {
        match self.dtype() {
            DType::F32 => self.as_slice::<f32>().iter().all(|value| value.is_finite()),
            DType::F64 => self.as_slice::<f64>().iter().all(|value| value.is_finite()),
            DType::BF16 => self.as_slice::<half::bf16>().iter().all(|value| value.is_finite()),
            DType::Bool | DType::U8 | DType::I32 | DType::U32 | DType::U64 => true,
        }
    }

    /// The index of the element at `position` in row-major order.
    pub fn index_of(&self, mut position: usize) -> Vec<usize> {
        let mut index = vec![0; self.shape().len()];
        for (axis, size) in self.shape().iter().enumerate().rev() {
            index[axis] = position % size;
            position /= size;
        }
        index
    }

    /// Arrays of one type, except for the size of `axis`, joined along it.
    #[track_caller]
    pub fn concatenate(axis: usize, parts: &[HostArray]) -> Self {
        if let [only] = parts {
            return only.clone();
        }
        with_element!(parts[0].dtype(), T => {
            let views: Vec<_> =
                parts.iter().map(|part| part.get::<T>().expect("parts have one dtype").view()).collect();
            let joined = ndarray::concatenate(Axis(axis), &views).expect("parts fit");
            T::wrap(joined.as_standard_layout().into_owned())
        })
    }

    /// The elements `range` of one axis.
    #[track_caller]
    pub fn slice(&self, axis: usize, range: std::ops::Range<usize>) -> Self {
        with_values!(self, values => {
            let part = values.slice_axis(Axis(axis), Slice::from(range));
            Element::wrap(part.as_standard_layout().into_owned())
        })
    }

    /// The entry `row` of the first axis.
    #[track_caller]
    pub fn row(&self, row: usize) -> Self {
        with_values!(self, values => Element::wrap(values.index_axis(Axis(0), row).to_owned()))
    }

    /// Becomes the entry `row` of the first axis of another array, which has the type of this one with an axis before it.
    #[track_caller]
    pub fn copy_row(&mut self, of: &HostArray, row: usize) {
        with_element!(self.dtype(), T => {
            let own = self.as_slice_mut::<T>();
            own.copy_from_slice(&of.as_slice::<T>()[row * own.len()..][..own.len()]);
        });
    }

    /// The typed array inside, if the dtype is `T`'s.
    pub fn get<T: Element>(&self) -> Option<&ArrayD<T>> {
        T::unwrap(self)
    }

    /// The elements in row-major order; panics if the dtype is not `T`'s.
    #[track_caller]
    pub fn as_slice<T: Element>(&self) -> &[T] {
        match T::unwrap(self) {
            Some(values) => values.as_slice().expect("host arrays are in standard layout"),
            None => panic!("an array of {} was read as {}", self.dtype(), T::DTYPE),
        }
    }

    /// The elements in row-major order, to write to; panics if the dtype is not `T`'s.
    #[track_caller]
    pub fn as_slice_mut<T: Element>(&mut self) -> &mut [T] {
        let dtype = self.dtype();
        match T::unwrap_mut(self) {
            Some(values) => values.as_slice_mut().expect("host arrays are in standard layout"),
            None => panic!("an array of {dtype} was written as {}", T::DTYPE),
        }
    }

    /// Where the elements lie in memory: in row-major order, each in the machine's byte order.
    pub fn as_ptr(&self) -> *const u8 {
        with_values!(self, values => {
            values.as_slice().expect("host arrays are in standard layout").as_ptr().cast()
        })
    }

    /// As [`HostArray::as_ptr`], to write to. What is written must be valid elements.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        with_values!(self, values => {
            values.as_slice_mut().expect("host arrays are in standard layout").as_mut_ptr().cast()
        })
    }

    /// The elements as little-endian bytes in row-major order.
    pub fn to_bytes(&self) -> Cow<'_, [u8]> {
        if let HostArray::U8(values) = self {
            return Cow::Borrowed(values.as_slice().expect("host arrays are in standard layout"));
        }
        with_values!(self, values => {
            let mut out = Vec::with_capacity(self.array_type().byte_size());
            for &value in values {
                Element::to_le(value, &mut out);
            }
            Cow::Owned(out)
        })
    }

    /// The inverse of [`HostArray::to_bytes`]; `None` if the number of bytes does not fit the type, which may come from a
    /// file.
    pub fn from_bytes(array_type: &ArrayType, bytes: &[u8]) -> Option<Self> {
        if Some(bytes.len()) != array_type.checked_byte_size() {
            return None;
        }
        Some(with_element!(array_type.dtype, T => {
            let values = bytes.chunks_exact(array_type.dtype.size()).map(<T as Element>::from_le).collect();
            HostArray::new::<T>(&array_type.shape, values)
        }))
    }

    /// Every element as f64, in row-major order (bool: 0 or 1). Exact except for large u64.
    pub fn to_f64(&self) -> Vec<f64> {
        fn all<T: Element>(values: &ArrayD<T>, to: impl Fn(T) -> f64) -> Vec<f64> {
            values.as_slice().expect("arrays are in standard layout").iter().map(|&value| to(value)).collect()
        }
        match self {
            HostArray::Bool(values) => all(values, |value| f64::from(u8::from(value))),
            HostArray::U8(values) => all(values, f64::from),
            HostArray::I32(values) => all(values, f64::from),
            HostArray::U32(values) => all(values, f64::from),
            HostArray::U64(values) => all(values, |value| value as f64),
            HostArray::BF16(values) => all(values, f64::from),
            HostArray::F32(values) => all(values, f64::from),
            HostArray::F64(values) => all(values, |value| value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_beyond_all_memory_are_no_arrays() {
        const HALF: usize = usize::MAX / 2;
        for shape in [vec![HALF, 4], vec![0, HALF, 4], vec![HALF, 4, 0], vec![1 << 62, 2], vec![HALF]] {
            let array_type = ArrayType::new(DType::F32, shape);
            assert_eq!(array_type.checked_byte_size(), None, "{array_type}");
            assert_eq!(HostArray::from_bytes(&array_type, &[]), None);
        }
        let empty = ArrayType::new(DType::F64, [3, 0, 5]);
        assert_eq!(empty.checked_byte_size(), Some(0));
        assert!(HostArray::from_bytes(&empty, &[]).is_some());
        assert_eq!(ArrayType::new(DType::F64, [3, 5]).checked_byte_size(), Some(120));
    }

    #[test]
    fn bytes_round_trip_for_every_dtype() {
        for dtype in DType::ALL {
            let array_type = ArrayType::new(dtype, [2, 3]);
            let mut bytes = vec![0u8; array_type.byte_size()];
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = if dtype == DType::Bool { (i % 2) as u8 } else { (i * 7 % 120) as u8 };
            }
            let array = HostArray::from_bytes(&array_type, &bytes).unwrap();
            assert_eq!(array.array_type(), array_type);
            assert_eq!(array.to_bytes().as_ref(), &bytes[..]);
            assert!(HostArray::from_bytes(&array_type, &bytes[1..]).is_none());
        }
    }
}
