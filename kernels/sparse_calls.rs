//! The calls of the sparse products: which operands and results they have, and how threads share the rows.
//!
//! The sparse operand is one array or, packed, three; a list of rows may follow it. The mathematics is in `sparse_dot.rs`. Each thread has rows of the result of its own, for the transposed product those of some
//! columns of x, so that no sum is in two threads.

use std::cell::RefCell;
use std::ops::Range;

use super::call::{Array, Call};
use super::sparse_dot::{self, Matrix, Rows, Scratch};
use super::{in_threads, part_of, threads};

/// Rows of the result, at least, for which a thread more pays.
const MIN_ROWS: usize = 64;
/// The same where each row of the result belongs to a column of x.
const MIN_COLUMNS: usize = 256;

pub fn sparse_dot(call: &mut Call) -> Result<(), String> {
    let (x, w) = sparse_operands(call, call.num_operands())?;
    let threads = threads(call)?;
    let (y, shape) = call.result::<f32>()?;
    let width = fit(shape, x.count(), w, x.width())?;
    share(threads, x.count(), MIN_ROWS, width, y, |rows, y, scratch| {
        sparse_dot::forward(x, rows, w.data, width, y, scratch)
    });
    Ok(())
}

pub fn sparse_dot_transposed(call: &mut Call) -> Result<(), String> {
    let (x, g) = sparse_operands(call, call.num_operands())?;
    let threads = threads(call)?;
    let (out, shape) = call.result::<f32>()?;
    out.fill(0.0);
    add_transposed(threads, x, g, out, shape)
}

pub fn sparse_dot_transposed_add(call: &mut Call) -> Result<(), String> {
    let sum = call.num_operands() - 1;
    let (x, g) = sparse_operands(call, sum)?;
    let threads = threads(call)?;
    let (out, shape) = call.result_in_place::<f32>(sum)?;
    add_transposed(threads, x, g, out, shape)
}

fn add_transposed(
    threads: usize,
    x: Rows,
    g: Array<f32>,
    out: &mut [f32],
    shape: &[i64],
) -> Result<(), String> {
    let width = fit(shape, x.width(), g, x.count())?;
    share(threads, x.width(), MIN_COLUMNS, width, out, |columns, out, scratch| {
        sparse_dot::transposed(x, columns, g.data, width, out, scratch)
    });
    Ok(())
}

/// The sparse operand, some of its rows if an operand says so, and the other factor, of the first `count` operands.
fn sparse_operands<'a>(call: &Call<'a>, count: usize) -> Result<(Rows<'a>, Array<'a, f32>), String> {
    let x = call.operand::<f32>(0)?;
    let &[height, width] = x.shape else { return Err(format!("x has the shape {:?}", x.shape)) };
    let (height, width) = (height as usize, width as usize);
    let (matrix, parts) = match count {
        2 | 3 => (Matrix::Plain { numbers: x.data, width }, 1),
        _ => {
            let (flags, order) = (call.operand::<u32>(1)?, call.operand::<i32>(2)?);
            (Matrix::packed(height, x.data, flags.data, order.data)?, 3)
        }
    };
    let chosen = if count == parts + 2 { Some(call.operand::<i32>(parts)?.data) } else { None };
    if height == 0 && chosen.is_some() {
        return Err("x has no rows to choose from".into());
    }
    Ok((Rows { matrix, height, chosen }, call.operand(count - 1)?))
}

/// The width of the result, if `shape` is `[height, width]` and the other operand `[other_height, width]`.
fn fit(shape: &[i64], height: usize, other: Array<f32>, other_height: usize) -> Result<usize, String> {
    match (shape, other.shape) {
        (&[h, w], &[o, v]) if (h as usize, o as usize, w) == (height, other_height, v) => Ok(w as usize),
        _ => Err(format!("the shapes {shape:?} and {:?} do not fit x", other.shape)),
    }
}

/// Runs `work` on parts of the `count` rows of `out`, each `width` wide, in up to `threads` threads with at least `least` rows
/// each.
fn share(
    threads: usize,
    count: usize,
    least: usize,
    width: usize,
    out: &mut [f32],
    work: impl Fn(Range<usize>, &mut [f32], &mut Scratch) + Sync,
) {
    thread_local! {
        static SCRATCH: RefCell<Scratch> = RefCell::default();
    }
    if out.is_empty() {
        return;
    }
    let part = part_of(count, threads, least);
    let work = |(i, out): (usize, &mut [f32])| {
        let range = i * part..((i + 1) * part).min(count);
        SCRATCH.with_borrow_mut(|scratch| work(range, out, scratch));
    };
    in_threads(out.chunks_mut(part * width).enumerate(), work);
}
