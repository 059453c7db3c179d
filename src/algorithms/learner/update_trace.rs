//! One update laid open: what it computes on its way, and where in it a value is first not finite.
//!
//! Metrics are sums over everything, so they say that something went wrong, not where. `lockstep runs diagnose` runs
//! the update once more with all that lies between as results.

use std::fmt;

use crate::array::{DType, HostArray};
use crate::lang::{Float, Handle, Path, Tree};

/// What an update computes on its way, stage after stage.
#[derive(Clone, Default)]
pub struct UpdateTrace {
    stages: Vec<Stage>,
}

/// Arrays that are computed side by side.
#[derive(Clone)]
struct Stage {
    axes: Axes,
    /// With the names of the entries of the last axis if there are several.
    arrays: Vec<(Vec<&'static str>, Float)>,
}

/// What the first axes of the arrays of a stage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Axes {
    /// `[T, B, ...]`
    Rollout,
    /// `[B, ...]`
    End,
    /// `[G, ...]`
    Gradient,
}

impl UpdateTrace {
    pub fn new() -> Self {
        Self::default()
    }

    /// Arrays `[T, B, ...]`, of steps of the environments. Of equal steps the first array counts: an action follows from the
    /// observation, the reward from the action.
    pub fn rollout(self, arrays: &[(&'static str, Float)]) -> Self {
        self.with(Axes::Rollout, arrays.iter().map(|&(name, array)| (vec![name], array)).collect())
    }

    /// Arrays `[B, ...]`, of environments after the rollout.
    pub fn end(self, arrays: &[(&'static str, Float)]) -> Self {
        self.with(Axes::End, arrays.iter().map(|&(name, array)| (vec![name], array)).collect())
    }

    /// Arrays `[G]` of the gradient steps, or `[G, ...]` with the names of what stands side by side in the last axis.
    pub fn gradient(self, arrays: &[(&[&'static str], Float)]) -> Self {
        self.with(Axes::Gradient, arrays.iter().map(|&(names, array)| (names.to_vec(), array)).collect())
    }

    fn with(mut self, axes: Axes, arrays: Vec<(Vec<&'static str>, Float)>) -> Self {
        self.stages.push(Stage { axes, arrays });
        self
    }

    /// For each leaf the axis of the environments; `None` for what all environments share.
    pub(super) fn environment_axes(&self) -> Vec<Option<usize>> {
        let axis = |axes| match axes {
            Axes::Rollout => Some(1),
            Axes::End => Some(0),
            Axes::Gradient => None,
        };
        self.stages.iter().flat_map(|stage| vec![axis(stage.axes); stage.arrays.len()]).collect()
    }

    /// Looks for the first value that is not finite in the values of the leaves, in order.
    pub(super) fn first_non_finite(&self, values: &[HostArray]) -> Option<NonFinite> {
        let mut values = values.iter();
        let stages = self.stages.iter().map(|stage| {
            let found = stage.arrays.iter().zip(values.by_ref().take(stage.arrays.len()));
            let bad = found.filter_map(|((names, _), array)| stage.axes.first_bad(names, array));
            // Collected, since the next stage must find its own values.
            bad.collect::<Vec<NonFinite>>().into_iter().min_by_key(|bad| bad.place.step())
        });
        stages.collect::<Vec<_>>().into_iter().flatten().next()
    }
}

impl Tree for UpdateTrace {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        for (number, stage) in self.stages.iter_mut().enumerate() {
            for (names, array) in &mut stage.arrays {
                array.walk(&path.join(number).join(names[0]), visit);
            }
        }
    }
    fn duplicate(&self) -> Self {
        self.clone()
    }
}

/// The first value of an update that is not finite.
#[derive(Clone, Debug, PartialEq)]
pub struct NonFinite {
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

impl Place {
    fn step(self) -> usize {
        match self {
            Place::Rollout { step, .. } | Place::Gradient { step } => step,
            Place::End { .. } => 0,
        }
    }
}

impl Axes {
    fn first_bad(self, names: &[&'static str], array: &HostArray) -> Option<NonFinite> {
        let (index, value) = first_bad(array)?;
        let place = match self {
            Axes::Rollout => Place::Rollout { step: index[0], env: index[1] },
            Axes::End => Place::End { env: index[0] },
            Axes::Gradient => Place::Gradient { step: index[0] },
        };
        let tensor = if names.len() > 1 { names[index[index.len() - 1]] } else { names[0] };
        Some(NonFinite { tensor, value, place })
    }
}

impl fmt::Display for NonFinite {
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
    use crate::array::ArrayType;
    use crate::lang::leaf_types;

    /// An update of 3 steps in 2 environments, with 2 gradient steps.
    fn trace() -> UpdateTrace {
        let array = |shape: &[usize]| Float::placeholder(DType::F32, shape);
        let row = |name, shape| (name, array(shape));
        UpdateTrace::new()
            .rollout(&[row("obs", &[3, 2, 4]), row("value", &[3, 2]), row("reward", &[3, 2])])
            .end(&[row("last_value", &[2])])
            .rollout(&[row("advantage", &[3, 2])])
            .gradient(&[(&["pg_loss", "vf_loss"], array(&[2, 2])), (&["grad_norm"], array(&[2]))])
    }

    /// What is said of values that are healthy but for the given elements of the given leaves.
    fn first(bad: &[(usize, usize)]) -> Option<String> {
        let trace = trace();
        let values = |(leaf, array_type): (usize, ArrayType)| {
            let mut values = vec![0.5f32; array_type.size()];
            bad.iter().filter(|(other, _)| *other == leaf).for_each(|(_, at)| values[*at] = f32::NAN);
            HostArray::new(&array_type.shape, values)
        };
        let values: Vec<HostArray> = leaf_types(&trace).into_iter().enumerate().map(values).collect();
        trace.first_non_finite(&values).map(|bad| bad.to_string())
    }

    #[test]
    fn the_first_in_time_is_named() {
        const OBS: usize = 0;
        const REWARD: usize = 2;
        const LAST_VALUE: usize = 3;
        const ADVANTAGE: usize = 4;
        const LOSSES: usize = 5;
        const GRAD_NORM: usize = 6;
        assert_eq!(first(&[]), None);
        let spread = [(REWARD, 3), (OBS, 17), (ADVANTAGE, 0), (GRAD_NORM, 0)];
        assert_eq!(first(&spread).unwrap(), "reward is NaN at step 1 of environment 1");
        let same_step = [(REWARD, 2), (OBS, 13)];
        assert_eq!(first(&same_step).unwrap(), "obs is NaN at step 1 of environment 1");
        assert_eq!(
            first(&[(LAST_VALUE, 1)]).unwrap(),
            "last_value is NaN after the rollout of environment 1"
        );
        let gradients = [(LOSSES, 3), (GRAD_NORM, 0)];
        assert_eq!(first(&gradients).unwrap(), "grad_norm is NaN in gradient step 0, over all environments");
        assert_eq!(
            first(&[(LOSSES, 3), (GRAD_NORM, 1)]).unwrap(),
            "vf_loss is NaN in gradient step 1, over all environments"
        );
    }

    #[test]
    fn environments_have_their_axis() {
        assert_eq!(trace().environment_axes(), [Some(1), Some(1), Some(1), Some(0), Some(1), None, None]);
    }
}
