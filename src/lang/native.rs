//! The functions of a native environment, on arrays of one environment.

use crate::array::{ArrayType, DType, HostArray};
use crate::ir::{Native, NativeFunction, Op};
use crate::runtime::native::Library;

use super::array::{Array, Bool, Float, Int};
use super::random::Key;
use super::shape::stack;
use super::trace::{Handle, emit};

/// A library and the parameters of its environment.
#[derive(Clone, Copy)]
pub struct NativeEnv<'a> {
    pub library: &'static Library,
    /// A scalar for each parameter.
    pub params: &'a [Float],
}

/// What a step gives.
pub struct NativeStep {
    /// u8`[S]`
    pub state: Int,
    /// f32
    pub reward: Float,
    pub terminated: Bool,
    /// If the library cuts episodes off.
    pub truncated: Option<Bool>,
    /// f32`[M]`, if it has metrics.
    pub metrics: Option<Float>,
}

impl NativeEnv<'_> {
    /// Where `chosen` holds, the first state of an episode; elsewhere the state stays.
    #[track_caller]
    pub fn reset(&self, state: Int, chosen: Bool, key: Key) -> Int {
        let [high, low] = words(key);
        let inputs = [state.handle(), chosen.handle(), high, low];
        Int::from_handle(self.call(NativeFunction::Reset, &inputs)[0])
    }

    /// An array for a state: zeros, u8`[S]`.
    #[track_caller]
    pub fn no_state(&self) -> Int {
        let bytes = ArrayType::new(DType::U8, [self.library.facts.state_size]);
        Int::constant(HostArray::zeros(&bytes))
    }

    /// One step with `action`, an i32 scalar.
    #[track_caller]
    pub fn step(&self, state: Int, key: Key, action: Int) -> NativeStep {
        let facts = &self.library.facts;
        let mut inputs = vec![state.handle(), action.handle()];
        if facts.random_steps {
            inputs.extend(words(key));
        }
        let mut results = self.call(NativeFunction::Step, &inputs).into_iter();
        let mut next = || results.next().expect("there are as many as were inferred");
        NativeStep {
            state: Array::from_handle(next()),
            reward: Array::from_handle(next()),
            terminated: Array::from_handle(next()),
            truncated: facts.truncates.then(|| Array::from_handle(next())),
            metrics: (!facts.metrics.is_empty()).then(|| Array::from_handle(next())),
        }
    }

    /// What is seen of a state, f32`[O]`.
    #[track_caller]
    pub fn observe(&self, state: Int) -> Float {
        Float::from_handle(self.call(NativeFunction::Observe, &[state.handle()])[0])
    }

    /// Which actions are allowed in a state, bool`[A]`.
    #[track_caller]
    pub fn mask(&self, state: Int) -> Bool {
        Bool::from_handle(self.call(NativeFunction::Mask, &[state.handle()])[0])
    }

    #[track_caller]
    fn call(&self, function: NativeFunction, inputs: &[Handle]) -> Vec<Handle> {
        let mut inputs = inputs.to_vec();
        if !self.params.is_empty() {
            inputs.push(stack(self.params).handle());
        }
        emit(Op::Native(Native { library: self.library, function, lead: 0 }), &inputs)
    }
}

/// The words of a key.
#[track_caller]
fn words(key: Key) -> [Handle; 2] {
    let [high, low] = key.into_words().unstack();
    [high.handle(), low.handle()]
}
