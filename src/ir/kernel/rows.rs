//! A row of each example's table, written or read: the types of the two kernels and their twins.

use crate::array::{ArrayType, DType};

use super::super::{Binary, Build, Comparison, Op, Var};

/// The types of (tables, places, rows), if they fit each other.
///
/// # Errors
/// What does not fit.
pub fn check(name: &str, inputs: &[&ArrayType]) -> Result<(), String> {
    let [tables, places, rows] = inputs else { unreachable!("the inputs were counted") };
    let fits = tables.rank() > 1
        && rows.dtype == tables.dtype
        && rows.shape == tables.shape[1..]
        && **places == ArrayType::new(DType::I32, &tables.shape[tables.rank() - 1..]);
    match fits {
        true => Ok(()),
        false => Err(format!("{name}: {rows}, {tables} and {places}")),
    }
}

/// Which numbers of tables of this shape belong to the row of each example.
pub fn of_rows(b: &mut Build, shape: &[usize], places: Var) -> Var {
    let row = b.iota(DType::I32, shape, 0);
    let place = b.broadcast(places, shape, &[shape.len() - 1]);
    b.compare(Comparison::Eq, row, place)
}

/// Rows as tables in which every row is the same.
pub fn as_tables(b: &mut Build, rows: Var, shape: &[usize]) -> Var {
    let axes: Vec<usize> = (1..shape.len()).collect();
    b.one(Op::Broadcast { axes, shape: shape.to_vec() }, &[rows])
}

/// Which examples have a row in tables of this shape, for each number of a row.
pub fn have_rows(b: &mut Build, shape: &[usize], places: Var) -> Var {
    let (zero, size) = (b.full_like(places, 0.0), b.full_like(places, shape[0] as f64));
    let above = b.compare(Comparison::Ge, places, zero);
    let below = b.compare(Comparison::Lt, places, size);
    let both = b.binary(Binary::And, above, below);
    b.broadcast(both, &shape[1..], &[shape.len() - 2])
}

/// The twin of writing.
pub fn put(b: &mut Build, inputs: &[Var]) -> Var {
    let &[tables, places, rows] = inputs else { unreachable!("the inputs were counted") };
    let shape = b.array_type(tables).shape;
    let (written, rows) = (of_rows(b, &shape, places), as_tables(b, rows, &shape));
    b.select(written, rows, tables)
}

/// The twin of reading.
pub fn take(b: &mut Build, inputs: &[Var]) -> Var {
    let &[tables, places, rows] = inputs else { unreachable!("the inputs were counted") };
    let shape = b.array_type(tables).shape;
    let row = &shape[1..];
    let numbers: usize = row.iter().product();
    let flat = b.reshape(tables, &[shape[0] * numbers]);
    let (zero, last) = (b.full_like(places, 0.0), b.full_like(places, shape[0] as f64 - 1.0));
    let place = b.binary(Binary::Max, places, zero);
    let place = b.binary(Binary::Min, place, last);
    let stride = b.full_like(place, numbers as f64);
    let start = b.mul(place, stride);
    let start = b.broadcast(start, row, &[row.len() - 1]);
    let number = b.iota(DType::I32, &[numbers], 0);
    let number = b.reshape(number, row);
    let number = b.add(start, number);
    let taken = b.gather(flat, number, 0);
    let there = have_rows(b, &shape, places);
    b.select(there, taken, rows)
}
