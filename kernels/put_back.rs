//! The results of a group of columns, put back where they came from.
//!
//! A branch that few environments take runs on groups of them (`transforms::batch::rare`). This writes the columns of one group; all
//! others stay as they lie. XLA would write every column, after a choice for each, and then copy them into what the loop carries.

use super::call::{Call, Flag, Untyped};
use super::of_width;

/// A chosen column and its place in the group.
type Move = (usize, usize);

pub fn put_back(call: &mut Call) -> Result<(), String> {
    let chosen = call.operand::<Flag>(0)?.data;
    let places = call.operand::<i32>(1)?.data;
    let arrays = (call.num_operands() - 2) / 2;
    let moves: Vec<Move> = (chosen.iter().zip(places).enumerate())
        .filter(|(_, (flag, _))| flag.holds())
        .map(|(column, (_, &place))| (column, place.max(0) as usize))
        .collect();
    for array in 0..arrays {
        let all = call.untyped_in_place(array, 2 + array)?;
        let group = call.untyped_operand(2 + arrays + array)?;
        // SAFETY: the widths are those of the elements, and XLA's buffers are apart.
        unsafe {
            of_width!((all.width()?, group.width()?), T => move_columns::<T>(all, group, &moves))?;
        }
    }
    Ok(())
}

/// Writes some columns of `all`; a place behind the last means the last.
///
/// # Safety
/// As for [`Untyped::elements`].
unsafe fn move_columns<T: Copy + 'static>(
    mut all: Untyped,
    group: Untyped,
    moves: &[Move],
) -> Result<(), String> {
    let (Some((&columns, rows)), Some((&width, group_rows))) =
        (all.shape.split_last(), group.shape.split_last())
    else {
        return Err("an array has no columns".into());
    };
    if rows != group_rows || (width == 0 && !moves.is_empty()) {
        return Err(format!("columns of {:?} do not fit {:?}", group.shape, all.shape));
    }
    // SAFETY: by contract.
    let (all, group) = unsafe { (all.elements_mut::<T>(), group.elements::<T>()) };
    let rows = all.chunks_exact_mut(columns.max(1) as usize).zip(group.chunks_exact(width.max(1) as usize));
    for (all, group) in rows {
        for &(column, place) in moves {
            all[column] = group[place.min(group.len() - 1)];
        }
    }
    Ok(())
}
