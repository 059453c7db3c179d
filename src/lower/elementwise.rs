//! Ops that compute each element by itself: what StableHLO calls them.

use super::text::tensor;
use super::writer::{operands, signature};
use super::{Lowering, Value};
use crate::array::{ArrayType, DType};
use crate::ir::{Binary, Comparison, Location, Unary};

impl Lowering<'_> {
    pub(super) fn unary(
        &mut self,
        unary: Unary,
        inputs: &[Value],
        output: &ArrayType,
        at: Location,
    ) -> String {
        let name = match unary {
            Unary::Neg => "negate",
            Unary::Abs => "abs",
            Unary::Sign => "sign",
            Unary::Exp => "exponential",
            Unary::Log => "log",
            Unary::Log1p => "log_plus_one",
            Unary::Expm1 => "exponential_minus_one",
            Unary::Tanh => "tanh",
            Unary::Sin => "sine",
            Unary::Cos => "cosine",
            Unary::Sqrt => "sqrt",
            Unary::Rsqrt => "rsqrt",
            Unary::Floor => "floor",
            Unary::Ceil => "ceil",
            Unary::Round => "round_nearest_even",
            Unary::Logistic => "logistic",
            Unary::IsFinite => {
                return self.simple("is_finite", "", inputs, std::slice::from_ref(output), at);
            }
            Unary::Not => "not",
            Unary::PopulationCount => "popcnt",
            Unary::CountLeadingZeros => "count_leading_zeros",
        };
        self.plain(name, inputs, at)
    }

    pub(super) fn binary(
        &mut self,
        binary: Binary,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let in_place = if binary == Binary::Add { self.add_in_place(inputs, outputs, at) } else { None };
        in_place.unwrap_or_else(|| self.plain(binary_name(binary), inputs, at))
    }

    pub(super) fn select(&mut self, inputs: &[Value], output: &ArrayType, at: Location) -> String {
        let [condition, result] = [&inputs[0].array_type, output].map(tensor);
        self.line(&format!("stablehlo.select {} : {condition}, {result}", operands(inputs)), at)
    }

    pub(super) fn compare(
        &mut self,
        comparison: Comparison,
        inputs: &[Value],
        outputs: &[ArrayType],
        at: Location,
    ) -> String {
        let text = format!(
            "stablehlo.compare {}, {}, {}, {} : {}",
            comparison_name(comparison),
            inputs[0].name,
            inputs[1].name,
            comparison_type(inputs[0].array_type.dtype),
            signature(inputs, outputs)
        );
        self.line(&text, at)
    }
}

fn binary_name(binary: Binary) -> &'static str {
    match binary {
        Binary::Add => "add",
        Binary::Sub => "subtract",
        Binary::Mul => "multiply",
        Binary::Div => "divide",
        Binary::Rem => "remainder",
        Binary::Pow => "power",
        Binary::Max => "maximum",
        Binary::Min => "minimum",
        Binary::And => "and",
        Binary::Or => "or",
        Binary::Xor => "xor",
        Binary::ShiftLeft => "shift_left",
        Binary::ShiftRight => "shift_right_logical",
    }
}

fn comparison_name(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => "EQ",
        Comparison::Ne => "NE",
        Comparison::Lt => "LT",
        Comparison::Le => "LE",
        Comparison::Gt => "GT",
        Comparison::Ge => "GE",
    }
}

fn comparison_type(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 | DType::F32 | DType::F64 => "FLOAT",
        DType::I32 => "SIGNED",
        DType::Bool | DType::U8 | DType::U32 | DType::U64 => "UNSIGNED",
    }
}
