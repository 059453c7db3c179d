//! The calls of a recurrent cell over a sequence: which operands and results they have, and how threads share its rows.
//!
//! The mathematics is in `recurrent.rs`. A row goes through all steps in one thread. The gradient of a weight is a sum over all rows:
//! each thread adds up its own, and the parts are added in their order, so that the same number of threads gives the same bits.

use std::ops::Range;

use super::call::Call;
use super::recurrent::{self, Cell, CellKind, Gradient, Sequence};
use super::{CELL, in_threads, part_of, threads};

/// Products of numbers, at least, for which a thread more pays.
const MIN_WORK: usize = 1 << 22;

/// Operands before those of what is remembered: what is read, starts, kernel, bias.
const BEFORE_REMEMBERED: usize = 4;

pub fn recurrent(call: &mut Call) -> Result<(), String> {
    let (cell, sequence) = operands(call)?;
    let threads = threads(call)?;
    let mut results = call.results::<f32>()?;
    let widths = widths(&cell);
    if !results.iter().map(|result| result.len()).eq(widths.iter().map(|width| sequence.size(*width))) {
        return Err("the results do not fit the sequence".into());
    }
    let ranges = ranges(&cell, &sequence, threads);
    let mut parts: Vec<Vec<Vec<&mut [f32]>>> = ranges.iter().map(|_| Vec::new()).collect();
    for (result, width) in results.iter_mut().zip(widths) {
        for (part, steps) in parts.iter_mut().zip(by_part(result, &sequence, width, &ranges)) {
            part.push(steps);
        }
    }
    in_threads(ranges.into_iter().zip(parts), |(rows, mut outputs)| {
        recurrent::forward(&cell, &sequence, rows, &mut outputs);
    });
    Ok(())
}

pub fn recurrent_gradient(call: &mut Call) -> Result<(), String> {
    let (cell, sequence) = operands(call)?;
    let threads = threads(call)?;
    let remembered = sequence.begin.len();
    let arrays = (BEFORE_REMEMBERED + remembered..).take(2 * remembered + 1);
    let arrays: Vec<&[f32]> =
        arrays.map(|i| Ok(call.operand::<f32>(i)?.data)).collect::<Result<_, String>>()?;
    let (outputs, cotangents) = arrays.split_at(remembered + 1);
    let mut results = call.results::<f32>()?;
    let expected = [sequence.read.len(), cell.kernel.len(), cell.bias.len()];
    let expected = expected.into_iter().chain(sequence.begin.iter().map(|begin| begin.len()));
    let sizes =
        widths(&cell).into_iter().chain(vec![cell.units; remembered]).map(|width| sequence.size(width));
    let fit = arrays.iter().map(|array| array.len()).eq(sizes);
    if !fit || !results.iter().map(|result| result.len()).eq(expected) {
        return Err("the outputs or the results do not fit the sequence".into());
    }
    let ranges = ranges(&cell, &sequence, threads);
    let (read, rest) = results.split_at_mut(1);
    let (weights, begin) = rest.split_at_mut(2);
    // The first part is written into the results, the others into memory that is added up.
    let mut others: Vec<[Vec<f32>; 2]> = ranges
        .iter()
        .skip(1)
        .map(|_| [cell.kernel, cell.bias].map(|weights| vec![0.0; weights.len()]))
        .collect();
    let own = weights.iter_mut().map(|weights| &mut **weights).collect();
    let sums = std::iter::once(own)
        .chain(others.iter_mut().map(|part| part.iter_mut().map(Vec::as_mut_slice).collect()));
    let mut begin: Vec<_> =
        begin.iter_mut().map(|begin| rows_of(begin, cell.units, &ranges).into_iter()).collect();
    let gates = cell.kind.gates() * cell.units;
    let parts: Vec<Gradient> = by_part(read[0], &sequence, gates, &ranges)
        .into_iter()
        .zip(sums)
        .map(|(read, sums): (_, Vec<&mut [f32]>)| {
            let mut sums = sums.into_iter();
            let mut next = || sums.next().expect("a kernel and a bias");
            let begin = begin.iter_mut().map(|begin| begin.next().expect("a part of each")).collect();
            Gradient { read, kernel: next(), bias: next(), begin }
        })
        .collect();
    in_threads(ranges.into_iter().zip(parts), |(rows, mut gradient)| {
        recurrent::backward(&cell, &sequence, outputs, cotangents, rows, &mut gradient);
    });
    for other in &others {
        for (sums, part) in results[1..3].iter_mut().zip(other) {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
    }
    Ok(())
}

/// The cell and what it reads, if their shapes fit each other.
fn operands<'a>(call: &Call<'a>) -> Result<(Cell<'a>, Sequence<'a>), String> {
    let kind = match call.attribute(CELL)? {
        number if number == CellKind::Lstm as i32 => CellKind::Lstm,
        number if number == CellKind::Gru as i32 => CellKind::Gru,
        number => return Err(format!("there is no cell {number}")),
    };
    let (read, starts) = (call.operand::<f32>(0)?, call.operand(1)?);
    let (kernel, bias) = (call.operand::<f32>(2)?, call.operand::<f32>(3)?);
    let begin = (0..kind.remembered()).map(|i| call.operand::<f32>(BEFORE_REMEMBERED + i));
    let begin = begin.collect::<Result<Vec<_>, String>>()?;
    let &[steps, rows, columns] = read.shape else { return Err(format!("what is read is {:?}", read.shape)) };
    let units = columns / kind.gates() as i64;
    if units == 0
        || kernel.shape != [units, columns]
        || bias.shape != [columns]
        || starts.shape != [steps, rows]
        || begin.iter().any(|begin| begin.shape != [rows, units])
    {
        return Err(format!("{kind:?} of {:?} with weights {:?}", read.shape, kernel.shape));
    }
    let cell = Cell { kind, units: units as usize, kernel: kernel.data, bias: bias.data };
    let sequence = Sequence {
        steps: steps as usize,
        rows: rows as usize,
        read: read.data,
        starts: starts.data,
        begin: begin.into_iter().map(|begin| begin.data).collect(),
    };
    Ok((cell, sequence))
}

/// The numbers in a row of each output: of what is remembered, and of what was mixed.
fn widths(cell: &Cell) -> Vec<usize> {
    let mut widths = vec![cell.units; cell.kind.remembered()];
    widths.push(cell.bias.len());
    widths
}

/// The rows of each thread.
fn ranges(cell: &Cell, sequence: &Sequence, threads: usize) -> Vec<Range<usize>> {
    let of_a_row = (sequence.steps * cell.kernel.len()).max(1);
    let part = part_of(sequence.rows, threads, MIN_WORK.div_ceil(of_a_row));
    (0..sequence.rows.max(1)).step_by(part).map(|first| first..(first + part).min(sequence.rows)).collect()
}

/// The rows of each range in a matrix `[N, width]`.
fn rows_of<'a>(matrix: &'a mut [f32], width: usize, ranges: &[Range<usize>]) -> Vec<&'a mut [f32]> {
    let mut rest = matrix;
    let take = |rows: &Range<usize>| {
        let (part, others) = std::mem::take(&mut rest).split_at_mut(rows.len() * width);
        rest = others;
        part
    };
    ranges.iter().map(take).collect()
}

/// For each range its rows of each step, of an array `[T, N, width]`.
fn by_part<'a>(
    array: &'a mut [f32],
    sequence: &Sequence,
    width: usize,
    ranges: &[Range<usize>],
) -> Vec<Vec<&'a mut [f32]>> {
    let mut parts: Vec<Vec<&mut [f32]>> = ranges.iter().map(|_| Vec::with_capacity(sequence.steps)).collect();
    let mut rest = array;
    for _ in 0..sequence.steps {
        let (step, others) = std::mem::take(&mut rest).split_at_mut(sequence.rows * width);
        rest = others;
        for (part, rows) in parts.iter_mut().zip(rows_of(step, width, ranges)) {
            part.push(rows);
        }
    }
    parts
}
