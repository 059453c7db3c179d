//! Some columns of many arrays: what a group of environments has, for a branch that few of them take (`transforms::batch::rare`).
//!
//! XLA would find the place of every number by itself; here the numbers of a row are read one after the other.

use super::call::{Call, Untyped};
use super::of_width;

pub fn take_columns(call: &mut Call) -> Result<(), String> {
    let places = call.operand::<i32>(0)?.data;
    for array in 0..call.num_operands() - 1 {
        let (all, group) = (call.untyped_operand(1 + array)?, call.untyped_result(array)?);
        let widths = (all.width()?, group.width()?);
        // SAFETY: the widths are those of the elements, and XLA's buffers are apart.
        unsafe {
            of_width!(widths, T => copy_columns::<T>(all, group, places))?;
        }
    }
    Ok(())
}

/// Copies columns of `all`; a place outside means the nearest one.
///
/// # Safety
/// As for [`Untyped::elements`].
unsafe fn copy_columns<T: Copy + 'static>(
    all: Untyped,
    mut group: Untyped,
    places: &[i32],
) -> Result<(), String> {
    let (Some((&columns, rows)), Some((&width, group_rows))) =
        (all.shape.split_last(), group.shape.split_last())
    else {
        return Err("an array has no columns".into());
    };
    if rows != group_rows || width != places.len() as i64 || columns == 0 {
        return Err(format!("columns of {:?} do not fit {:?}", group.shape, all.shape));
    }
    // SAFETY: by contract.
    let (all, group) = unsafe { (all.elements::<T>(), group.elements_mut::<T>()) };
    let last = columns as i32 - 1;
    for (all, group) in all.chunks_exact(columns as usize).zip(group.chunks_exact_mut(places.len().max(1))) {
        for (number, &place) in group.iter_mut().zip(places) {
            *number = all[place.clamp(0, last) as usize];
        }
    }
    Ok(())
}
