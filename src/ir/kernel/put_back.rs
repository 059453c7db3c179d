//! What became of a group of columns, put back where they came from: the types of the kernel and its twin.

use crate::array::{ArrayType, DType};

use super::super::{Build, Var};

/// The types of the arrays that columns are put back into, if everything fits them.
pub fn infer(name: &str, inputs: &[&ArrayType], arrays: usize) -> Result<Vec<ArrayType>, String> {
    let (rows, (all, groups)) = (&inputs[..2], inputs[2..].split_at(arrays));
    for (&array, &group) in all.iter().zip(groups) {
        let Some((&count, shape)) = array.shape.split_last() else {
            return Err(format!("{name} into {array}, which has no columns"));
        };
        let fits =
            group.dtype == array.dtype && group.rank() > 0 && group.shape[..group.rank() - 1] == *shape;
        if !fits
            || *rows[0] != ArrayType::new(DType::Bool, [count])
            || *rows[1] != ArrayType::new(DType::I32, [count])
        {
            return Err(format!("{name}: {group} into {array} by {} and {}", rows[0], rows[1]));
        }
    }
    Ok(all.iter().map(|&array| array.clone()).collect())
}

/// The twin.
pub fn put_back(b: &mut Build, arrays: usize, inputs: &[Var]) -> Vec<Var> {
    let (chosen, places) = (inputs[0], inputs[1]);
    let (all, groups) = inputs[2..].split_at(arrays);
    let one = |(&array, &group): (&Var, &Var)| {
        let shape = b.array_type(array).shape;
        let axis = shape.len() - 1;
        let moved = b.gather(group, places, axis);
        let chosen = b.broadcast(chosen, &shape, &[axis]);
        b.select(chosen, moved, array)
    };
    all.iter().zip(groups).map(one).collect()
}
