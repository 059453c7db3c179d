//! The course of one update, laid open: what it computes on its way, and where in it a value is first not finite.
//!
//! Metrics are sums over everything, so they say that something went wrong, not where. `lockstep runs diagnose` runs
//! the update once more with all that lies between as results.

use std::fmt;

use crate::algorithms::NamedArrays;
use crate::algorithms::rollout::Transition;
use crate::array::{DType, HostArray};
use crate::lang::Float;

/// What an update computes on its way, in this order. `G` is the number of its gradient steps.
pub struct Course {
    /// `[T, B, ...]`.
    pub rollout: Transition,
    /// `[B]`.
    pub last_value: Float,
    /// `[T, B]`.
    pub advantage: Float,
    /// `[T, B]`.
    pub target: Float,
    /// `[G, 5]`, in the order of [`LOSSES`].
    pub losses: Float,
    /// `[G]`, before it is clipped.
    pub grad_norm: Float,
}
crate::tree!(Course { rollout, last_value, advantage, target, losses, grad_norm });

const LOSSES: [&str; 5] = ["pg_loss", "vf_loss", "entropy", "approx_kl", "clip_frac"];

impl Course {
    /// The axis of the environments in the array of that name; `None` for what all environments share.
    pub fn environment_axis(name: &str) -> Option<usize> {
        match name {
            "last_value" => Some(0),
            "losses" | "grad_norm" => None,
            _ => Some(1),
        }
    }
}

/// The first value of an update that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// `obs`, `reward`, `pg_loss`, ...
    pub tensor: &'static str,
    pub value: f32,
    pub place: Place,
}

/// Where in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A step of the rollout in one environment.
    Rollout { step: usize, env: usize },
    /// After the rollout, still of one environment.
    End { env: usize },
    /// A gradient step, which all environments share.
    Gradient { step: usize },
}

impl Trouble {
    /// Looks for it in the arrays of a [`Course`].
    pub fn first_in(course: &NamedArrays) -> Option<Trouble> {
        let array = |name: &str| course.iter().find(|(other, _)| other == name).map(|(_, array)| array);
        let rollout = |tensor, name: &str| {
            let (index, value) = first_bad(array(name)?)?;
            Some(Trouble { tensor, value, place: Place::Rollout { step: index[0], env: index[1] } })
        };
        // Of equal steps the first one counts: an action follows from the observation, the reward from the action.
        let steps = ["obs", "value", "log_prob", "reward"].map(|tensor| {
            rollout(tensor, &format!("rollout.{}{tensor}", if tensor == "obs" { "view." } else { "" }))
        });
        let in_rollout = steps.into_iter().flatten().min_by_key(|trouble| match trouble.place {
            Place::Rollout { step, .. } | Place::Gradient { step } => step,
            Place::End { .. } => usize::MAX,
        });
        in_rollout
            .or_else(|| {
                let (index, value) = first_bad(array("last_value")?)?;
                Some(Trouble { tensor: "last_value", value, place: Place::End { env: index[0] } })
            })
            .or_else(|| rollout("advantage", "advantage"))
            .or_else(|| rollout("target", "target"))
            .or_else(|| first_of_gradients(array("losses")?, array("grad_norm")?))
    }
}

/// In each gradient step come first the losses, then the gradient.
fn first_of_gradients(losses: &HostArray, grad_norm: &HostArray) -> Option<Trouble> {
    let loss = first_bad(losses)
        .map(|(index, value)| (index[0], Trouble::of_gradient(LOSSES[index[1]], value, index[0])));
    let norm = first_bad(grad_norm)
        .map(|(index, value)| (index[0], Trouble::of_gradient("grad_norm", value, index[0])));
    loss.into_iter().chain(norm).min_by_key(|(step, _)| *step).map(|(_, trouble)| trouble)
}

impl Trouble {
    fn of_gradient(tensor: &'static str, value: f32, step: usize) -> Self {
        Self { tensor, value, place: Place::Gradient { step } }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { tensor, value, place } = self;
        match place {
            Place::Rollout { step, env } => {
                write!(f, "{tensor} is {value} at step {step} of environment {env}")
            }
            Place::End { env } => write!(f, "{tensor} is {value} after the rollout of environment {env}"),
            Place::Gradient { step } => {
                write!(f, "{tensor} is {value} in gradient step {step}, over all environments")
            }
        }
    }
}

/// Index and value of the first element that is not finite, the last axis running fastest.
fn first_bad(array: &HostArray) -> Option<(Vec<usize>, f32)> {
    if array.dtype() != DType::F32 {
        return None; // integers are finite
    }
    let values: &[f32] = array.as_slice();
    let position = values.iter().position(|value| !value.is_finite())?;
    Some((array.index_of(position), values[position]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A healthy course of 3 steps in 2 environments, with 2 gradient steps, but for the given elements.
    fn course(bad: &[(&str, usize)]) -> NamedArrays {
        let array = |name: &str, shape: &[usize]| {
            let mut values = vec![0.5f32; shape.iter().product()];
            bad.iter().filter(|(other, _)| *other == name).for_each(|(_, at)| values[*at] = f32::NAN);
            (name.to_string(), HostArray::new(shape, values))
        };
        vec![
            array("rollout.view.obs", &[3, 2, 4]),
            array("rollout.log_prob", &[3, 2]),
            array("rollout.value", &[3, 2]),
            array("rollout.reward", &[3, 2]),
            array("last_value", &[2]),
            array("advantage", &[3, 2]),
            array("target", &[3, 2]),
            array("losses", &[2, 5]),
            array("grad_norm", &[2]),
        ]
    }

    #[test]
    fn the_first_in_time_is_named() {
        let first =
            |bad: &[(&str, usize)]| Trouble::first_in(&course(bad)).map(|trouble| trouble.to_string());
        assert_eq!(first(&[]), None);
        let spread = [("rollout.reward", 3), ("rollout.view.obs", 17), ("advantage", 0), ("grad_norm", 0)];
        assert_eq!(first(&spread).unwrap(), "reward is NaN at step 1 of environment 1");
        let same_step = [("rollout.reward", 2), ("rollout.view.obs", 13)];
        assert_eq!(first(&same_step).unwrap(), "obs is NaN at step 1 of environment 1");
        assert_eq!(
            first(&[("last_value", 1)]).unwrap(),
            "last_value is NaN after the rollout of environment 1"
        );
        let gradients = [("losses", 6), ("grad_norm", 0)];
        assert_eq!(first(&gradients).unwrap(), "grad_norm is NaN in gradient step 0, over all environments");
        assert_eq!(
            first(&[("losses", 6), ("grad_norm", 1)]).unwrap(),
            "vf_loss is NaN in gradient step 1, over all environments"
        );
    }
}
