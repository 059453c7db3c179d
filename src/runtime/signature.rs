//! Reads the argument types of `@main` from StableHLO text, so that a wrong argument is a clear error and
//! never memory read under the wrong type. (PJRT tells the types of results, but not those of arguments.)

use super::error::{Error, Result};
use crate::array::{ArrayType, DType};

/// The types of the arguments of the module's `@main`.
pub fn input_types(module: &str) -> Result<Vec<ArrayType>> {
    let fail = |reason: String| Error::Signature { reason };
    let (_, rest) = module.split_once("@main(").ok_or_else(|| fail("there is no function @main".into()))?;
    let mut types = Vec::new();
    let mut depth = 1;
    let mut in_text = false;
    for (at, symbol) in rest.char_indices() {
        match symbol {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '{' => depth += 1,
            ')' | '}' => depth -= 1,
            // An argument is `%name: tensor<...>`; attributes, in braces, may hold types too.
            '<' if depth == 1 && rest[..at].ends_with("tensor") => {
                let inside = rest[at + 1..].split('>').next().unwrap_or_default();
                types.push(
                    tensor_type(inside).ok_or_else(|| fail(format!("tensor<{inside}> is no known type")))?,
                );
            }
            _ => {}
        }
        if depth == 0 {
            return Ok(types);
        }
    }
    Err(fail("its list of arguments does not end".into()))
}

/// `2x3xf32` -> f32[2,3]; `f32` is a scalar.
fn tensor_type(inside: &str) -> Option<ArrayType> {
    let mut parts = inside.split('x').rev();
    let dtype = match parts.next()? {
        "i1" => DType::Bool,
        "ui8" => DType::U8,
        "i32" => DType::I32,
        "ui32" => DType::U32,
        "ui64" => DType::U64,
        "bf16" => DType::BF16,
        "f32" => DType::F32,
        "f64" => DType::F64,
        _ => return None,
    };
    let shape: Option<Vec<usize>> = parts.rev().map(|size| size.parse().ok()).collect();
    Some(ArrayType::new(dtype, shape?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_types_and_passes_over_attributes_and_locations() {
        let module = r#"
            func.func public @main(%a: tensor<2x3xf32> {tf.aliasing_output = 0 : i32, note = "odd ) tensor<4xf32>"}
                loc("src/x.rs":3:1), %b: tensor<i1>, %c: tensor<0x7xui64>) -> (tensor<2x3xf32>) {"#;
        let types: Vec<String> = input_types(module).unwrap().iter().map(|t| t.to_string()).collect();
        assert_eq!(types, ["f32[2,3]", "bool[]", "u64[0,7]"]);
        assert_eq!(input_types("func.func @main() -> tensor<f32>").unwrap(), []);
    }

    #[test]
    fn says_what_it_cannot_read() {
        let message = |module| input_types(module).unwrap_err().to_string();
        assert_eq!(message("module {}"), "the module's @main cannot be read: there is no function @main");
        assert!(message("@main(%a: tensor<2xi64>)").contains("tensor<2xi64> is no known type"));
        assert!(message("@main(%a: tensor<?xf32>)").contains("tensor<?xf32>"));
        assert!(message("@main(%a: tensor<f32>").contains("does not end"));
    }
}
