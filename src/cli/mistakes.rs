//! Mistakes of an environment, a network or an algorithm: they panic while a program is traced, at the line that made them. Whoever
//! runs a command gets them as any other error: one line, exit status 1. Other panics are faults of lockstep and stay what they are.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

use anyhow::{Result, anyhow};

use crate::lang::is_tracing;

thread_local! {
    /// What the last panic while tracing said, and where.
    static MISTAKE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a command; a panic while tracing becomes its error.
///
/// # Errors
/// Those of the command; a mistake in code that was traced.
pub fn as_errors(command: impl FnOnce() -> Result<()>) -> Result<()> {
    static LISTENING: Once = Once::new();
    LISTENING.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| match is_tracing() {
            true => MISTAKE.set(Some(told(panic))),
            false => before(panic),
        }));
    });
    panic::catch_unwind(AssertUnwindSafe(command)).unwrap_or_else(|payload| match MISTAKE.take() {
        Some(mistake) => Err(anyhow!(mistake)),
        None => panic::resume_unwind(payload),
    })
}

fn told(panic: &PanicHookInfo) -> String {
    let payload = panic.payload();
    let message =
        payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    let message = message.unwrap_or("a mistake while tracing").replace('\n', " ");
    match panic.location() {
        Some(location) => format!("{message} (at {location})"),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::evaluation::Evaluator;
    use crate::algorithms::policy::Policy;
    use crate::envs::{Env, EnvSpec, Erased, Observation, Step};
    use crate::lang::{Int, Key, boolean, constant, float, int};
    use crate::runtime::{Client, plugin};

    /// Its observation is not what its spec says.
    struct Gridworld;

    impl Env for Gridworld {
        type State = Int;
        type Params = ();

        fn spec(&self) -> EnvSpec {
            EnvSpec::new("gridworld", [3], 2)
        }
        fn default_params(&self) {}
        fn reset(&self, _: &(), _: Key) -> Int {
            int(0)
        }
        fn step(&self, _: &(), _: Key, state: Int, _: Int) -> Step<Int> {
            Step { state, reward: float(0.0), terminated: boolean(true), truncated: None, metrics: vec![] }
        }
        fn observe(&self, _: &(), _: &Int) -> Observation {
            constant([0.0, 1.0]).into()
        }
    }

    #[test]
    fn a_mistake_in_an_environment_is_the_error_of_the_command() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let eval_random = || {
            Evaluator::new(&client, &Erased::new(Gridworld), &Policy::random(&Gridworld.spec()), 8)?;
            Ok(())
        };
        let error = as_errors(eval_random).unwrap_err().to_string();
        let expected = "gridworld: observe() gives f32[2], spec().obs_shape says [3] (at src/";
        assert!(error.starts_with(expected) && error.lines().count() == 1, "{error}");
        assert_eq!(
            as_errors(|| Err(anyhow!("the disk is full"))).unwrap_err().to_string(),
            "the disk is full"
        );
        as_errors(|| Ok(())).unwrap();
    }
}
