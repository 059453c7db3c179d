//! A linear recurrence over the first axis: the types of the kernel and its twin, which needs about as many passes over the arrays as the
//! number of steps has bits.

use crate::array::ArrayType;

use super::super::{Build, Op, Var};

/// The type of the result.
///
/// # Errors
/// What does not fit.
pub fn infer(name: &str, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
    let [factors, terms, begin] = inputs else { unreachable!("the inputs were counted") };
    match factors.shape.split_first() {
        Some((&steps, step)) if steps > 0 && step == begin.shape && factors == terms => {
            Ok(vec![(*factors).clone()])
        }
        _ => Err(format!("{name} of {factors}, {terms} and {begin}")),
    }
}

/// The twin. A step is a linear function of any step before it; joining each with the one `distance` steps before doubles that distance
/// (Hillis and Steele 1986), until all are functions of the beginning.
pub fn linear_recurrence(b: &mut Build, inputs: &[Var], reverse: bool) -> Var {
    let &[mut factors, mut terms, begin] = inputs else { unreachable!("the inputs were counted") };
    let array_type = b.array_type(factors);
    let steps = array_type.shape[0];
    let mut distance = 1;
    while distance < steps {
        let [factors_before, terms_before] =
            [(factors, 1.0), (terms, 0.0)].map(|(x, none)| shifted(b, x, distance, none, reverse));
        let through = b.mul(factors, terms_before);
        terms = b.add(through, terms);
        factors = b.mul(factors, factors_before);
        distance *= 2;
    }
    let axes: Vec<usize> = (1..array_type.rank()).collect();
    let begin = b.one(Op::Broadcast { shape: array_type.shape, axes }, &[begin]);
    let through = b.mul(factors, begin);
    b.add(through, terms)
}

/// For each step of `x` the one `distance` steps before it (after it if `reverse`), and `none` where there is no such step.
pub fn shifted(b: &mut Build, x: Var, distance: usize, none: f64, reverse: bool) -> Var {
    let array_type = b.array_type(x);
    let steps = array_type.shape[0];
    let filling = ArrayType::new(array_type.dtype, [&[distance], &array_type.shape[1..]].concat());
    let filling = b.full(&filling, none);
    let parts = match reverse {
        false => [filling, b.slice_axis(x, 0, 0..steps - distance)],
        true => [b.slice_axis(x, 0, distance..steps), filling],
    };
    b.one(Op::Concatenate { axis: 0 }, &parts)
}
