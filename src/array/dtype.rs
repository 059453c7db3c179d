//! Element types and array types.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The sizes of an array's axes, outermost first. A scalar has none.
pub type Shape = Vec<usize>;

/// The type of an array's elements. The set is closed: every table of the compiler covers all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    Bool,
    U8,
    I32,
    U32,
    U64,
    BF16,
    F32,
    F64,
}

impl DType {
    pub const ALL: [DType; 8] =
        [DType::Bool, DType::U8, DType::I32, DType::U32, DType::U64, DType::BF16, DType::F32, DType::F64];

    /// Bytes per element, on the host and on the device.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::BF16 => 2,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::U64 | DType::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, DType::BF16 | DType::F32 | DType::F64)
    }

    pub fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::I32 | DType::U32 | DType::U64)
    }

    pub fn is_signed(self) -> bool {
        self.is_float() || self == DType::I32
    }

    /// The name used in messages, files and graphs: `f32`, `u64`, `bool`, ...
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The dtype and shape of an array: all that is known of it while tracing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ArrayType {
    pub dtype: DType,
    pub shape: Shape,
}

impl ArrayType {
    pub fn new(dtype: DType, shape: impl Into<Shape>) -> Self {
        Self { dtype, shape: shape.into() }
    }

    pub fn scalar(dtype: DType) -> Self {
        Self { dtype, shape: Vec::new() }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn byte_size(&self) -> usize {
        self.size() * self.dtype.size()
    }

    /// As [`ArrayType::byte_size`]; nothing if no array can be so large, which happens only to a type that was read from a
    /// file.
    pub fn checked_byte_size(&self) -> Option<usize> {
        // An axis of size 0 does not make the others smaller: strides are computed from them.
        let axes = self.shape.iter().filter(|&&size| size > 0);
        let bytes = axes.copied().try_fold(self.dtype.size(), usize::checked_mul)?;
        (bytes <= isize::MAX as usize).then_some(if self.shape.contains(&0) { 0 } else { bytes })
    }
}

/// `f32[6,42]`; a scalar is `f32[]`.
impl fmt::Display for ArrayType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, size) in self.shape.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            write!(f, "{size}")?;
        }
        f.write_str("]")
    }
}
