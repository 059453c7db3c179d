//! A row of each example's table, read where it lies: the reverse of `put_row`.

use super::call::{Call, Untyped};
use super::of_width;

pub fn take_row(call: &mut Call) -> Result<(), String> {
    let tables = call.untyped_operand(0)?;
    let places = call.operand::<i32>(1)?.data;
    let rows = call.untyped_in_place(0, 2)?;
    let widths = (tables.width()?, rows.width()?);
    // SAFETY: the widths are those of the elements, and XLA's buffers are apart.
    unsafe { of_width!(widths, T => read_rows::<T>(tables, places, rows)) }
}

/// Row b becomes row `places[b]` of the table of example b; it stays where there is no such row.
///
/// # Safety
/// As for [`Untyped::elements`].
unsafe fn read_rows<T: Copy + 'static>(
    tables: Untyped,
    places: &[i32],
    mut rows: Untyped,
) -> Result<(), String> {
    let Some((&size, shape)) = tables.shape.split_first() else {
        return Err("a table has no rows".into());
    };
    let examples = places.len();
    if shape != rows.shape || shape.last() != Some(&(examples as i64)) {
        return Err(format!("{examples} rows of {:?} do not fit {:?}", rows.shape, tables.shape));
    }
    // SAFETY: by contract.
    let (tables, rows) = unsafe { (tables.elements::<T>(), rows.elements_mut::<T>()) };
    let is_there = |(_, place): &(usize, &i32)| (0..size).contains(&i64::from(**place));
    for (example, &place) in places.iter().enumerate().filter(is_there) {
        let table = &tables[place as usize * rows.len()..][..rows.len()];
        for number in (example..rows.len()).step_by(examples) {
            rows[number] = table[number];
        }
    }
    Ok(())
}
