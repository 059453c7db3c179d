//! The functions of native environments: from XLA's call to the library's.
//!
//! The arrays lie as the library wants them, the numbers of an environment side by side: the program asks for that layout. The states are
//! changed in place. What the library complains of does not end the program (`failure` says why), what does not fit does.

use super::call::{Call, Flag, Untyped};
use super::failure::{has_failed, is_failure};
use super::threads;
use crate::runtime::native::{Library, Stepped, Threads};

/// The i32 attribute of these calls: the number of the library.
pub const LIBRARY: &str = "library";

/// (states, chosen, words of the seeds twice, parameters) -> the states.
pub fn reset(call: &mut Call) -> Result<(), String> {
    let library = library(call)?;
    let words = [call.operand::<u32>(2)?.data, call.operand::<u32>(3)?.data];
    let (chosen, params) = (call.untyped_operand(1)?, params(call, library, 4)?);
    let mut states = call.untyped_in_place(0, 0)?;
    // SAFETY: both have elements of a byte, and XLA's buffers are apart.
    let (states, chosen) = unsafe { (bytes_mut(&mut states)?, bytes(&chosen)?) };
    fits(library, states, &[chosen.len(), words[0].len(), words[1].len()])?;
    let _ = has_failed() || is_failure(library.reset(states, chosen, words, params));
    Ok(())
}

/// (states, actions, if steps are random the words of the seeds, parameters) -> (states, rewards, terminated, truncated if there are any,
/// metrics if there are any).
pub fn step(call: &mut Call) -> Result<(), String> {
    let library = library(call)?;
    let facts = &library.facts;
    let actions = call.operand::<i32>(1)?.data;
    let words = match facts.random_steps {
        true => Some([call.operand::<u32>(2)?.data, call.operand::<u32>(3)?.data]),
        false => None,
    };
    let params = params(call, library, if words.is_some() { 4 } else { 2 })?;
    let threads = Threads(threads(call)?);
    let mut states = call.untyped_in_place(0, 0)?;
    let (mut rewards, mut terminated) = (call.untyped_result(1)?, call.untyped_result(2)?);
    let mut truncated = facts.truncates.then(|| call.untyped_result(3)).transpose()?;
    let has_metrics = !facts.metrics.is_empty();
    let metrics = 3 + usize::from(facts.truncates);
    let mut metrics = has_metrics.then(|| call.untyped_result(metrics)).transpose()?;
    // SAFETY: the program gives arrays of these types, whose widths are checked, and XLA's buffers are apart.
    unsafe {
        let states = bytes_mut(&mut states)?;
        let mut stepped = Stepped {
            rewards: floats_mut(&mut rewards)?,
            terminated: bytes_mut(&mut terminated)?,
            truncated: truncated.as_mut().map_or(Ok(&mut [][..]), |flags| bytes_mut(flags))?,
            metrics: metrics.as_mut().map_or(Ok(&mut [][..]), |metrics| floats_mut(metrics))?,
        };
        let lengths = [actions.len(), stepped.rewards.len(), stepped.terminated.len()];
        let words_fit = words.is_none_or(|words| words.iter().all(|words| words.len() == actions.len()));
        let results_fit = stepped.metrics.len() == facts.metrics.len() * actions.len()
            && stepped.truncated.len() == if facts.truncates { actions.len() } else { 0 };
        if !words_fit || !results_fit {
            return Err("the arrays of a native step do not fit each other".into());
        }
        fits(library, states, &lengths)?;
        if has_failed() || is_failure(library.step(states, actions, words, params, stepped.lend(), threads)) {
            stepped.end();
        }
        Ok(())
    }
}

/// (states, parameters) -> observations.
pub fn observe(call: &mut Call) -> Result<(), String> {
    let library = library(call)?;
    let (states, params) = (call.untyped_operand(0)?, params(call, library, 1)?);
    let threads = Threads(threads(call)?);
    let mut obs = call.untyped_result(0)?;
    // SAFETY: as above.
    unsafe {
        let (states, obs) = (bytes(&states)?, floats_mut(&mut obs)?);
        fits(library, states, &[obs.len() / library.facts.obs_size()])?;
        if has_failed() || is_failure(library.observe(states, params, obs, threads)) {
            obs.fill(0.0);
        }
        Ok(())
    }
}

/// (states, parameters) -> which actions are allowed.
pub fn mask(call: &mut Call) -> Result<(), String> {
    let library = library(call)?;
    let (states, params) = (call.untyped_operand(0)?, params(call, library, 1)?);
    let threads = Threads(threads(call)?);
    let mut allowed = call.untyped_result(0)?;
    // SAFETY: as above.
    unsafe {
        let (states, allowed) = (bytes(&states)?, bytes_mut(&mut allowed)?);
        fits(library, states, &[allowed.len() / library.facts.num_actions])?;
        if has_failed() || is_failure(library.mask(states, params, allowed, threads)) {
            allowed.fill(1);
        }
        Ok(())
    }
}

fn library(call: &Call) -> Result<&'static Library, String> {
    Library::of_id(call.attribute(LIBRARY)?)
}

/// The parameters, operand number `index` if there are some: a row for all environments, or one for each.
fn params<'a>(call: &Call<'a>, library: &Library, index: usize) -> Result<&'a [f32], String> {
    if library.facts.params.is_empty() { Ok(&[]) } else { Ok(call.operand::<f32>(index)?.data) }
}

/// Checks that arrays have as many rows as there are states.
fn fits(library: &Library, states: &[u8], lengths: &[usize]) -> Result<(), String> {
    let (size, bytes) = (library.facts.state_size, states.len());
    match bytes % size == 0 && lengths.iter().all(|length| *length == bytes / size) {
        true => Ok(()),
        false => Err(format!(
            "{bytes} bytes of states of {size} do not fit {lengths:?} rows; the library has changed"
        )),
    }
}

/// # Safety
/// Nobody writes this array.
unsafe fn bytes<'a>(array: &Untyped<'a>) -> Result<&'a [u8], String> {
    wide(array, size_of::<Flag>())?;
    // SAFETY: by contract, and any bits are a byte.
    Ok(unsafe { array.elements() })
}

/// # Safety
/// Nobody else has this array.
unsafe fn bytes_mut<'a>(array: &mut Untyped<'a>) -> Result<&'a mut [u8], String> {
    wide(array, size_of::<Flag>())?;
    // SAFETY: as above.
    Ok(unsafe { array.elements_mut() })
}

/// # Safety
/// Nobody else has this array.
unsafe fn floats_mut<'a>(array: &mut Untyped<'a>) -> Result<&'a mut [f32], String> {
    wide(array, size_of::<f32>())?;
    // SAFETY: as above, and any bits are a number.
    Ok(unsafe { array.elements_mut() })
}

fn wide(array: &Untyped, width: usize) -> Result<(), String> {
    match array.width()? == width {
        true => Ok(()),
        false => Err(format!("an array has elements of {} bytes, not {width}", array.width()?)),
    }
}
