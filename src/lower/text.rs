//! Pieces of MLIR text: types, lists, constants, locations.

use crate::array::{ArrayType, DType, HostArray};
use crate::ir::Location;

/// `tensor<4x2xf32>`.
pub(super) fn tensor(array_type: &ArrayType) -> String {
    let mut text = String::from("tensor<");
    for size in &array_type.shape {
        text.push_str(&format!("{size}x"));
    }
    text + dtype_name(array_type.dtype) + ">"
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool => "i1",
        DType::U8 => "ui8",
        DType::I32 => "i32",
        DType::U32 => "ui32",
        DType::U64 => "ui64",
        DType::BF16 => "bf16",
        DType::F32 => "f32",
        DType::F64 => "f64",
    }
}

/// `[0, 1]`.
pub(super) fn list(values: &[usize]) -> String {
    format!("{values:?}")
}

/// `[0:4:1, 2:3:1]`: where slices begin and end, and their steps.
pub(super) fn ranges(start: &[usize], limit: &[usize], stride: &[usize]) -> String {
    let ranges: Vec<String> =
        (0..start.len()).map(|i| format!("{}:{}:{}", start[i], limit[i], stride[i])).collect();
    format!("[{}]", ranges.join(", "))
}

/// `loc("src/envs/cartpole.rs":12:3)`.
pub(super) fn location(location: Location) -> String {
    format!("loc(\"{}\":{}:{})", location.file().escape_default(), location.line(), location.column())
}

/// `dense<...>`, exact: floats are written as their bits.
pub(super) fn constant(value: &HostArray) -> String {
    let elements = elements(value);
    match value.shape() {
        [] => format!("dense<{}>", elements[0]),
        shape if shape.contains(&0) => "dense<>".into(),
        shape => format!("dense<{}>", nested(&elements, shape)),
    }
}

/// Row-major elements as nested lists.
fn nested(elements: &[String], shape: &[usize]) -> String {
    match shape {
        [] => elements[0].clone(),
        [_, rest @ ..] => {
            let row: usize = rest.iter().product();
            let rows: Vec<String> = elements.chunks(row).map(|chunk| nested(chunk, rest)).collect();
            format!("[{}]", rows.join(", "))
        }
    }
}

fn elements(value: &HostArray) -> Vec<String> {
    match value {
        HostArray::Bool(v) => v.iter().map(|x| x.to_string()).collect(),
        HostArray::U8(v) => v.iter().map(|x| x.to_string()).collect(),
        HostArray::I32(v) => v.iter().map(|x| x.to_string()).collect(),
        HostArray::U32(v) => v.iter().map(|x| x.to_string()).collect(),
        HostArray::U64(v) => v.iter().map(|x| x.to_string()).collect(),
        HostArray::BF16(v) => v.iter().map(|x| format!("0x{:04X}", x.to_bits())).collect(),
        HostArray::F32(v) => v.iter().map(|x| format!("0x{:08X}", x.to_bits())).collect(),
        HostArray::F64(v) => v.iter().map(|x| format!("0x{:016X}", x.to_bits())).collect(),
    }
}
