//! A row of each example's table, written where it lies.
//!
//! The examples lie side by side, on the last axis. XLA would write the whole table of every example, after a choice for each
//! number; this touches the rows alone, and nothing where an example writes none.

use super::call::{Call, Untyped};
use super::of_width;

pub fn put_row(call: &mut Call) -> Result<(), String> {
    let tables = call.untyped_in_place(0, 0)?;
    let places = call.operand::<i32>(1)?.data;
    let rows = call.untyped_operand(2)?;
    let widths = (tables.width()?, rows.width()?);
    // SAFETY: the widths are those of the elements, and XLA's buffers are apart.
    unsafe { of_width!(widths, T => write_rows::<T>(tables, places, rows)) }
}

/// Writes row `places[b]` of the table of each example b; nothing where there is no such row.
///
/// # Safety
/// As for [`Untyped::elements`].
unsafe fn write_rows<T: Copy + 'static>(
    mut tables: Untyped,
    places: &[i32],
    rows: Untyped,
) -> Result<(), String> {
    let Some((&size, shape)) = tables.shape.split_first() else {
        return Err("a table has no rows".into());
    };
    let examples = places.len();
    if shape != rows.shape || shape.last() != Some(&(examples as i64)) {
        return Err(format!("{examples} rows of {:?} do not fit {:?}", rows.shape, tables.shape));
    }
    // SAFETY: by contract.
    let (tables, rows) = unsafe { (tables.elements_mut::<T>(), rows.elements::<T>()) };
    let written = |(_, place): &(usize, &i32)| (0..size).contains(&i64::from(**place));
    for (example, &place) in places.iter().enumerate().filter(written) {
        let table = &mut tables[place as usize * rows.len()..][..rows.len()];
        for number in (example..rows.len()).step_by(examples) {
            table[number] = rows[number];
        }
    }
    Ok(())
}
