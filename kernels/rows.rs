//! A row of each example's table, written or read where it lies.
//!
//! The examples lie side by side, on the last axis. XLA would write the whole table of every example, after a choice for each
//! number, or find the place of each number that is read; this touches the rows alone, and nothing where an example has none.

use std::ops::Range;

use super::call::{Call, Untyped};
use super::of_width;

/// Row `places[b]` of the table of example b becomes row b.
pub fn put_row(call: &mut Call) -> Result<(), String> {
    let (mut tables, rows) = (call.untyped_in_place(0, 0)?, call.untyped_operand(2)?);
    let moves = moves(&tables, call.operand::<i32>(1)?.data, &rows)?;
    let widths = (tables.width()?, rows.width()?);
    // SAFETY: the widths are those of the elements, and XLA's buffers are apart.
    unsafe {
        of_width!(widths, T => {
            let (tables, rows) = (tables.elements_mut::<T>(), rows.elements::<T>());
            moves.for_each(|(example, table)| column(&mut tables[table], example, rows));
            Ok(())
        })
    }
}

/// Row b becomes row `places[b]` of the table of example b.
pub fn take_row(call: &mut Call) -> Result<(), String> {
    let (tables, mut rows) = (call.untyped_operand(0)?, call.untyped_in_place(0, 2)?);
    let moves = moves(&tables, call.operand::<i32>(1)?.data, &rows)?;
    let widths = (tables.width()?, rows.width()?);
    // SAFETY: as above.
    unsafe {
        of_width!(widths, T => {
            let (tables, rows) = (tables.elements::<T>(), rows.elements_mut::<T>());
            moves.for_each(|(example, table)| column(rows, example, &tables[table]));
            Ok(())
        })
    }
}

/// The examples whose place is a row, and where the rows of that place are in the tables of all examples.
fn moves<'a>(
    tables: &Untyped,
    places: &'a [i32],
    rows: &Untyped,
) -> Result<impl Iterator<Item = ([usize; 2], Range<usize>)> + 'a, String> {
    let Some((&size, shape)) = tables.shape.split_first() else {
        return Err("a table has no rows".into());
    };
    let examples = places.len();
    if shape != rows.shape || shape.last() != Some(&(examples as i64)) {
        return Err(format!("{examples} rows of {:?} do not fit {:?}", rows.shape, tables.shape));
    }
    let numbers = shape.iter().product::<i64>() as usize;
    let is_there = move |(_, place): &(usize, &i32)| (0..size).contains(&i64::from(**place));
    let range = move |(example, &place): (usize, &i32)| {
        let start = place as usize * numbers;
        ([example, examples], start..start + numbers)
    };
    Ok(places.iter().enumerate().filter(is_there).map(range))
}

/// Copies the numbers of one of so many examples.
fn column<T: Copy>(to: &mut [T], [example, examples]: [usize; 2], from: &[T]) {
    for number in (example..from.len()).step_by(examples) {
        to[number] = from[number];
    }
}
