//! A linear recurrence over the first axis of arrays: what follows from what came before, as in returns and advantages.
//!
//! XLA runs a loop over the steps and starts its kernels again in each of them; a step of a few environments is less work than that.

use super::call::Call;
use super::{
    REVERSE,
    lanes::{Lanes, best_lanes},
};

pub fn linear_recurrence(call: &mut Call) -> Result<(), String> {
    let reverse = call.attribute(REVERSE)? != 0;
    let (factors, terms, begin) = (call.operand::<f32>(0)?, call.operand::<f32>(1)?, call.operand::<f32>(2)?);
    let (result, shape) = call.result::<f32>()?;
    if factors.shape != shape
        || terms.shape != shape
        || shape.split_first().map(|(_, step)| step) != Some(begin.shape)
    {
        return Err(format!(
            "factors {:?}, terms {:?} and a beginning {:?}",
            factors.shape, terms.shape, begin.shape
        ));
    }
    run(factors.data, terms.data, begin.data, reverse, result);
    Ok(())
}

best_lanes! {
    /// In `result`, each step is its factors times the step before (first `begin`) plus its terms; from the last step to the first if
    /// `reverse`.
    fn run = run_with(factors: &[f32], terms: &[f32], begin: &[f32], reverse: bool, result: &mut [f32])
}

#[inline(always)]
unsafe fn run_with<L: Lanes>(
    factors: &[f32],
    terms: &[f32],
    begin: &[f32],
    reverse: bool,
    result: &mut [f32],
) {
    let width = begin.len();
    let steps = result.len().checked_div(width).unwrap_or(0);
    for i in 0..steps {
        let at = if reverse { steps - 1 - i } else { i } * width;
        let (before, now): (&[f32], &mut [f32]) = match (i, reverse) {
            (0, _) => (begin, &mut result[at..at + width]),
            (_, false) => {
                let (before, now) = result.split_at_mut(at);
                (&before[at - width..], &mut now[..width])
            }
            (_, true) => {
                let (now, before) = result.split_at_mut(at + width);
                (&before[..width], &mut now[at..])
            }
        };
        let (factors, terms) = (&factors[at..at + width], &terms[at..at + width]);
        let whole = width - width % L::WIDTH;
        for at in (0..whole).step_by(L::WIDTH) {
            // SAFETY: `at` and what follows it are inside all rows.
            unsafe {
                let [factors, before, terms] =
                    [factors, before, terms].map(|row| L::load(row.as_ptr().add(at)));
                factors.mul_add(before, terms).store(now.as_mut_ptr().add(at));
            }
        }
        for at in whole..width {
            now[at] = factors[at].mul_add(before[at], terms[at]);
        }
    }
}
