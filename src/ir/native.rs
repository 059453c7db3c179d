//! The functions of a native environment as ops.
//!
//! A function is written for one environment; vmap gives its arrays further axes, in front or behind, in any number. In memory the axis
//! of an environment's own numbers is always the innermost one, so that the library finds environment after environment, however the axes
//! are numbered: the lowering asks XLA for that layout, and nothing is ever transposed.

use crate::array::{ArrayType, DType};
use crate::runtime::native::{Facts, Library};

/// A function of a library, for environments that lie on axes in front of and behind their own numbers.
#[derive(Clone, Copy, Debug)]
pub struct Native {
    pub library: &'static Library,
    pub function: NativeFunction,
    /// Axes in front.
    pub lead: usize,
}

/// What is computed. `[..]` stands for the axes of environments; S, O, A, M, P are the numbers of the library. Parameters are an input
/// only if it has some: a row for each environment, or f32`[P]` for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NativeFunction {
    /// (states u8`[.. S]`, chosen bool`[..]`, the words of the seeds u32`[..]` twice, parameters) -> the states, where the chosen ones are
    /// first states now.
    Reset,
    /// (states, actions i32`[..]`, if steps are random the words of the seeds, parameters) -> (states, rewards f32`[..]`, terminated
    /// bool`[..]`, if the library cuts off truncated bool`[..]`, if it has metrics f32`[.. M]`).
    Step,
    /// (states, parameters) -> f32`[.. O]`.
    Observe,
    /// (states, parameters) -> bool`[.. A]`.
    Mask,
}

impl NativeFunction {
    pub fn name(self) -> &'static str {
        match self {
            NativeFunction::Reset => "native_reset",
            NativeFunction::Step => "native_step",
            NativeFunction::Observe => "native_observe",
            NativeFunction::Mask => "native_mask",
        }
    }

    /// Whether the first result is the first input, changed in place.
    pub fn is_in_place(self) -> bool {
        matches!(self, NativeFunction::Reset | NativeFunction::Step)
    }
}

impl Native {
    pub fn facts(&self) -> &'static Facts {
        &self.library.facts
    }

    /// Whether an input is the parameters, which may be one row for all environments.
    pub fn is_params(&self, input: usize) -> bool {
        let others = match self.function {
            NativeFunction::Reset => 4,
            NativeFunction::Step => 2 + 2 * usize::from(self.facts().random_steps),
            NativeFunction::Observe | NativeFunction::Mask => 1,
        };
        input == others && !self.facts().params.is_empty()
    }

    /// What comes out for inputs of these types.
    ///
    /// # Errors
    /// What does not fit.
    pub fn infer(&self, inputs: &[&ArrayType]) -> Result<Vec<ArrayType>, String> {
        let (name, facts) = (self.function.name(), self.facts());
        let Some(states) = inputs.first() else { return Err(format!("{name} without states")) };
        if states.rank() <= self.lead || states.dtype != DType::U8 {
            return Err(format!("{name} of the states {states}"));
        }
        let of = |dtype, numbers: Option<usize>| {
            let mut shape = states.shape.clone();
            shape.splice(self.lead..=self.lead, numbers);
            ArrayType::new(dtype, shape)
        };
        let states = of(DType::U8, Some(facts.state_size));
        let (flag, word) = (of(DType::Bool, None), of(DType::U32, None));
        let mut expected = vec![states.clone()];
        match self.function {
            NativeFunction::Reset => expected.extend([flag.clone(), word.clone(), word]),
            NativeFunction::Step => {
                expected.push(of(DType::I32, None));
                expected.extend(facts.random_steps.then(|| [word.clone(), word]).into_iter().flatten());
            }
            NativeFunction::Observe | NativeFunction::Mask => {}
        }
        if !facts.params.is_empty() {
            let count = facts.params.len();
            let shared = ArrayType::new(DType::F32, [count]);
            let is_shared = inputs.last().is_some_and(|last| **last == shared);
            expected.push(if is_shared { shared } else { of(DType::F32, Some(count)) });
        }
        if expected.len() != inputs.len() || expected.iter().zip(inputs).any(|(a, b)| a != *b) {
            let list = |types: Vec<String>| types.join(", ");
            let found = list(inputs.iter().map(|input| input.to_string()).collect());
            let wanted = list(expected.iter().map(ArrayType::to_string).collect());
            return Err(format!("{name} takes {wanted}, not {found}"));
        }
        Ok(match self.function {
            NativeFunction::Reset => vec![states],
            NativeFunction::Step => {
                let mut results = vec![states, of(DType::F32, None), flag.clone()];
                results.extend(facts.truncates.then_some(flag));
                let metrics = facts.metrics.len();
                results.extend((metrics > 0).then(|| of(DType::F32, Some(metrics))));
                results
            }
            NativeFunction::Observe => vec![of(DType::F32, Some(facts.obs_size()))],
            NativeFunction::Mask => vec![of(DType::Bool, Some(facts.num_actions))],
        })
    }

    /// The axes of an array of this rank from the outermost to the innermost in memory; `has_own` says whether it has an axis of an
    /// environment's own numbers.
    pub fn order(&self, rank: usize, has_own: bool) -> Vec<usize> {
        match has_own {
            false => (0..rank).collect(),
            true => (0..rank).filter(|axis| *axis != self.lead).chain([self.lead]).collect(),
        }
    }

    /// The same for each input, of these types.
    pub fn input_orders(&self, inputs: &[ArrayType]) -> Vec<Vec<usize>> {
        let rank = inputs[0].rank();
        let order = |(i, input): (usize, &ArrayType)| {
            let is_shared = self.is_params(i) && input.rank() == 1;
            if is_shared { vec![0] } else { self.order(input.rank(), input.rank() == rank) }
        };
        inputs.iter().enumerate().map(order).collect()
    }

    /// The same for each result, of these types.
    pub fn output_orders(&self, inputs: &[ArrayType], outputs: &[ArrayType]) -> Vec<Vec<usize>> {
        let rank = inputs[0].rank();
        outputs.iter().map(|output| self.order(output.rank(), output.rank() == rank)).collect()
    }
}
