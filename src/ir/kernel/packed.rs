//! Matrices whose columns are numbers or, where they hold only 0 and 1, bits: the types of their kernels and the twins.

use crate::array::{ArrayType, DType};

use super::super::{Binary, Build, Comparison, Op, Reduction, ScatterKind, Var};
use super::matrix;

/// Bits in a word.
const WORD: usize = u32::BITS as usize;

pub fn infer_pack(numbers: usize, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let [columns, rows] = matrix("pack", inputs[0])?;
    let order = inputs[1];
    if *order != ArrayType::new(DType::I32, [columns]) || numbers > columns {
        return Err(format!("pack of {} in the order {order} with {numbers} numbers", inputs[0]));
    }
    let words = (columns - numbers).div_ceil(WORD);
    let numbers = ArrayType::new(inputs[0].dtype, [rows, numbers]);
    Ok(vec![numbers, ArrayType::new(DType::U32, [rows, words])])
}

pub fn infer_dot(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let [rows, columns] = packed_matrix(name, inputs)?;
    match matrix(name, inputs[3])? {
        [height, width] if height == columns => Ok(vec![ArrayType::new(inputs[0].dtype, [rows, width])]),
        _ => Err(format!("{name} of {columns} columns and {}", inputs[3])),
    }
}

pub fn infer_dot_transposed(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let [rows, columns] = packed_matrix(name, inputs)?;
    match matrix(name, inputs[3])? {
        [height, width] if height == rows => Ok(vec![ArrayType::new(inputs[0].dtype, [columns, width])]),
        _ => Err(format!("{name} of {rows} rows and {}", inputs[3])),
    }
}

/// The height and the width of what was packed into these numbers and flags in this order.
fn packed_matrix(name: &str, inputs: &[&ArrayType]) -> Result<[usize; 2], String> {
    let (flags, order) = (inputs[1], inputs[2]);
    let [rows, numbers] = matrix(name, inputs[0])?;
    let columns = order.size();
    let words = columns.saturating_sub(numbers).div_ceil(WORD);
    let fits = *flags == ArrayType::new(DType::U32, [rows, words]);
    match fits && *order == ArrayType::new(DType::I32, [columns]) && numbers <= columns {
        true => Ok([rows, columns]),
        false => Err(format!("{name} of {}, {flags} in the order {order}", inputs[0])),
    }
}

pub fn pack(b: &mut Build, numbers: usize, inputs: &[Var]) -> Vec<Var> {
    let &[x, order] = inputs else { unreachable!("checked") };
    let [columns, rows] = b.array_type(x).shape[..] else { unreachable!("a matrix") };
    let words = (columns - numbers).div_ceil(WORD);
    let ordered = b.gather(x, order, 0);
    let kept = b.slice_axis(ordered, 0, 0..numbers);

    let rest = b.slice_axis(ordered, 0, numbers..columns);
    let zero = b.full_like(rest, 0.0);
    let set = b.compare(Comparison::Ne, rest, zero);
    let set = b.convert(set, DType::U32);
    let whole = b.pad_axis(set, 0, 0, words * WORD - (columns - numbers));
    let bits = b.reshape(whole, &[words, WORD, rows]);
    let shifts = b.iota(DType::U32, &[words, WORD, rows], 1);
    let shifted = b.binary(Binary::ShiftLeft, bits, shifts);
    let flags = b.reduce(Reduction::Sum, shifted, &[1]);
    vec![b.transpose(kept, &[1, 0]), b.transpose(flags, &[1, 0])]
}

/// The numbers times their rows of w and the bits times theirs.
pub fn dot(b: &mut Build, inputs: &[Var]) -> Var {
    let Packed { numbers, flags, of_numbers, of_flags } = unpack(b, inputs);
    let (w_numbers, w_flags) = (b.gather(inputs[3], of_numbers, 0), b.gather(inputs[3], of_flags, 0));
    let (products, counts) = (super::dot(b, numbers, w_numbers, 1, 0), super::dot(b, flags, w_flags, 1, 0));
    b.add(products, counts)
}

/// The rows for the numbers and those for the bits, each put where its column stands.
pub fn dot_transposed(b: &mut Build, inputs: &[Var]) -> Var {
    let (order, g) = (inputs[2], inputs[3]);
    let Packed { numbers, flags, .. } = unpack(b, inputs);
    let (first, rest) = (super::dot(b, numbers, g, 0, 0), super::dot(b, flags, g, 0, 0));
    let rows = b.one(Op::Concatenate { axis: 0 }, &[first, rest]);
    let zeros = b.full_like(rows, 0.0);
    b.scatter(ScatterKind::Set, zeros, order, rows, 0)
}

struct Packed {
    /// `[N, F]`
    numbers: Var,
    /// 0 and 1, `[N, I - F]`, of the dtype of the numbers.
    flags: Var,
    /// i32`[F]`, i32`[I - F]`: their columns.
    of_numbers: Var,
    of_flags: Var,
}

fn unpack(b: &mut Build, inputs: &[Var]) -> Packed {
    let (numbers, words, order) = (inputs[0], inputs[1], inputs[2]);
    let (columns, dtype) = (b.array_type(order).size(), b.array_type(numbers).dtype);
    let [rows, num_numbers] = b.array_type(numbers).shape[..] else { unreachable!("a matrix") };
    let num_words = b.array_type(words).shape[1];
    let shape = [rows, num_words, WORD];
    let words = b.broadcast(words, &shape, &[0, 1]);
    let shifts = b.iota(DType::U32, &shape, 2);
    let shifted = b.binary(Binary::ShiftRight, words, shifts);
    let one = b.full_like(shifted, 1.0);
    let bits = b.binary(Binary::And, shifted, one);
    let bits = b.convert(bits, dtype);
    let bits = b.reshape(bits, &[rows, num_words * WORD]);
    Packed {
        numbers,
        flags: b.slice_axis(bits, 1, 0..columns - num_numbers),
        of_numbers: b.slice_axis(order, 0, 0..num_numbers),
        of_flags: b.slice_axis(order, 0, num_numbers..columns),
    }
}
