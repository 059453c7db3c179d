//! Playback: one episode step by step, with all that there is to see of it.
//!
//! What `eval` computes in one program is cut into three here (begin, look, step), so that the host holds the state
//! between them. Keys are derived in the same way: episode `n` of a seed is the same in both.

use anyhow::{Context, Result};

use crate::array::{ArrayType, DType, HostArray};
use crate::envs::vector::{self, View};
use crate::envs::{AnyEnv, default_params};
use crate::lang::{Bool, Float, Handle, Int, Key, Leaves, trace, traced_for, vmap_last};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Buffer, Client, CompileOptions, Program};

use super::NamedArrays;
use super::evaluation::{episode_keys, step_keys};
use super::policy::{Decision, Policy};

/// An environment and a policy on a device, and an episode that is being played.
pub struct Playback {
    client: Client,
    begin: Program,
    look: Program,
    step: Program,
    /// Parameters of the policy, and of the environment.
    policy_params: Vec<Buffer>,
    env_params: Vec<Buffer>,
    /// Names of the leaves of the environment's state.
    names: Vec<String>,
    has_mask: bool,
    has_value: bool,
    num_metrics: usize,
    state: Vec<Buffer>,
    keys: Option<Buffer>,
    steps: usize,
    action: usize,
}

/// What there is to see before a step.
#[derive(Clone, Debug)]
pub struct Moment {
    /// The environment's state, one environment on the last axis.
    pub state: NamedArrays,
    pub obs: Vec<f32>,
    /// Which actions are valid; `None` if all always are.
    pub mask: Option<Vec<bool>>,
    /// Probabilities of the actions.
    pub probs: Vec<f32>,
    /// What the policy expects of the rest of the episode, if it has a value function.
    pub value: Option<f32>,
    /// The action that the next step will take.
    pub action: usize,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub reward: f32,
    pub terminated: bool,
    pub truncated: bool,
    /// In the order of the spec.
    pub metrics: Vec<f32>,
}

/// The outputs of the program `step`, one environment on the last axis.
struct Stepped {
    state: Leaves,
    reward: Float,
    terminated: Bool,
    truncated: Bool,
    metrics: Vec<Float>,
}
crate::tree!(Stepped { state, reward, terminated, truncated, metrics });

impl Playback {
    /// Compiles the programs.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(client: &Client, env: &dyn AnyEnv, policy: &Policy) -> Result<Playback> {
        traced_for(client.kind(), || Self::compiled(client, env, policy))
    }

    fn compiled(client: &Client, env: &dyn AnyEnv, policy: &Policy) -> Result<Playback> {
        let spec = env.spec();
        let params = default_params(env);
        let int =
            |dtype, shape: &[usize]| Int::from_handle(Handle::placeholder(&ArrayType::new(dtype, shape)));
        let (words, keys, number) = (int(DType::U32, &[2]), int(DType::U32, &[2, 1]), int(DType::I32, &[]));
        let structure = Leaves::placeholders(&params);

        let begin = trace(&(structure.clone(), words, number), |(params, seed, number)| {
            let [reset, keys] = episode_keys(Key::from_words(seed), number, 1);
            (keys, vector::reset(env, &params, reset))
        });
        let state = begin.output.1.clone();
        let input = (policy.structure(), structure.clone(), state.clone(), keys, number);
        let look = trace(&input, |(weights, params, state, keys, step)| {
            let view = vector::view(env, &params, &state);
            let [action_keys, _] = step_keys(keys, step);
            (view, policy.decide(&weights, &view, spec.num_actions, action_keys))
        });
        let step = trace(&(structure, state.clone(), keys, number, int(DType::I32, &[1])), |input| {
            let (params, state, keys, number, action) = input;
            let [_, keys] = step_keys(keys, number);
            vmap_last((keys, state, action), |(key, state, action)| {
                one_step(env, &params, key, state, action)
            })
        });
        let (View { mask, .. }, Decision { value, .. }) = &look.output;
        let compile = |graph| -> Result<Program> {
            let text = lower(graph, &lower::Options { kernels: client.has_kernels(), ..Default::default() });
            client.compile(&text, &CompileOptions::default()).context("compiling the playback")
        };
        let upload = |values: Vec<&HostArray>| -> Result<Vec<Buffer>> {
            values.into_iter().map(|value| Ok(client.to_device(value, 0)?)).collect()
        };
        Ok(Playback {
            client: client.clone(),
            begin: compile(&begin.graph)?,
            look: compile(&look.graph)?,
            step: compile(&step.graph)?,
            policy_params: upload(policy.params().iter().collect())?,
            env_params: upload(params.iter().map(|(_, value)| value).collect())?,
            names: state.0.into_iter().map(|(name, _)| name).collect(),
            has_mask: mask.is_some(),
            has_value: value.is_some(),
            num_metrics: spec.metrics.len(),
            state: Vec::new(),
            keys: None,
            steps: 0,
            action: 0,
        })
    }

    /// Begins episode `number` of a seed.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn begin(&mut self, seed: u64, number: usize) -> Result<Moment> {
        let words = HostArray::new(&[2], vec![(seed >> 32) as u32, seed as u32]);
        let (words, number) = (self.upload(&words)?, self.upload(&HostArray::scalar(number as i32))?);
        let mut args = borrow(&self.env_params);
        args.extend([Arg::Donate(words), Arg::Donate(number)]);
        let mut outputs = self.begin.run(args)?;
        self.state = outputs.split_off(1);
        self.keys = outputs.pop();
        self.steps = 0;
        self.moment()
    }

    /// Takes the action of the last moment.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn step(&mut self) -> Result<(Outcome, Moment)> {
        let step = self.upload(&HostArray::scalar(self.steps as i32))?;
        let action = self.upload(&HostArray::new(&[1], vec![self.action as i32]))?;
        let mut args = borrow(&self.env_params);
        args.extend(borrow(&self.state));
        args.extend(self.keys.iter().map(Arg::Borrow));
        args.extend([Arg::Donate(step), Arg::Donate(action)]);
        let mut outputs = self.step.run(args)?;
        let rest = outputs.split_off(self.names.len());
        self.state = outputs;
        self.steps += 1;
        let rest: Vec<f32> =
            rest.iter().map(|buffer| Ok(buffer.to_host()?.to_f64()[0] as f32)).collect::<Result<_>>()?;
        let outcome = Outcome {
            reward: rest[0],
            terminated: rest[1] != 0.0,
            truncated: rest[2] != 0.0,
            metrics: rest[3..][..self.num_metrics].to_vec(),
        };
        Ok((outcome, self.moment()?))
    }

    fn moment(&mut self) -> Result<Moment> {
        let step = self.upload(&HostArray::scalar(self.steps as i32))?;
        let mut args = borrow(&self.policy_params);
        args.extend(borrow(&self.env_params));
        args.extend(borrow(&self.state));
        args.extend(self.keys.iter().map(Arg::Borrow));
        args.push(Arg::Donate(step));
        let outputs = self.look.run(args)?;
        let values = outputs.iter().map(|buffer| Ok(buffer.to_host()?.to_f64()));
        let mut values = values.collect::<Result<Vec<Vec<f64>>>>()?.into_iter();
        let mut next = || values.next().expect("the leaves of the view and the decision");
        let floats = |values: Vec<f64>| values.into_iter().map(|value| value as f32).collect::<Vec<f32>>();
        let obs = floats(next());
        let mask = if self.has_mask { Some(next().iter().map(|&flag| flag != 0.0).collect()) } else { None };
        self.action = next()[0] as usize;
        let probs = floats(next());
        let value = if self.has_value { Some(next()[0] as f32) } else { None };
        let mut state = NamedArrays::new();
        for (name, buffer) in self.names.iter().zip(&self.state) {
            state.push((name.clone(), buffer.to_host()?));
        }
        Ok(Moment { state, obs, mask, probs, value, action: self.action })
    }

    fn upload(&self, value: &HostArray) -> Result<Buffer> {
        Ok(self.client.to_device(value, 0)?)
    }
}

fn one_step(env: &dyn AnyEnv, params: &Leaves, key: Key, state: Leaves, action: Int) -> Stepped {
    let step = env.step(params, key, state, action);
    let truncated = step.truncated.unwrap_or_else(|| step.terminated.full_like(false));
    Stepped {
        state: step.state,
        reward: step.reward,
        terminated: step.terminated,
        truncated: truncated & !step.terminated,
        metrics: step.metrics,
    }
}

fn borrow(buffers: &[Buffer]) -> Vec<Arg<'_>> {
    buffers.iter().map(Arg::Borrow).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algorithms::evaluation::{Evaluator, Plan};
    use crate::envs::{CartPole, Erased};
    use crate::runtime::plugin;

    #[test]
    fn an_episode_is_the_one_that_is_evaluated() {
        let client = Client::open(&plugin::find(None, None).unwrap(), 1).unwrap();
        let (env, policy) = (Erased::new(CartPole), Policy::random());
        let plan = Plan { episodes: 3, max_steps: 1000, seed: 7 };
        let episodes = Evaluator::new(&client, &env, &policy, 3).unwrap().run(&plan).unwrap();
        let mut playback = Playback::new(&client, &env, &policy).unwrap();
        for (number, expected) in episodes.iter().enumerate() {
            let mut moment = playback.begin(7, number).unwrap();
            let mut length = 0;
            loop {
                assert_eq!((moment.obs.len(), moment.probs.as_slice()), (4, &[0.5, 0.5][..]));
                assert_eq!((moment.value, &moment.mask), (None, &None));
                let x = &moment.state.iter().find(|(name, _)| name == "x").unwrap().1;
                assert_eq!((x.shape(), x.to_f64()[0] as f32), (&[1][..], moment.obs[0]));
                let (outcome, next) = playback.step().unwrap();
                moment = next;
                length += 1;
                if outcome.terminated || outcome.truncated {
                    break;
                }
            }
            assert_eq!(length, expected.episode_length, "episode {number}");
        }
    }
}
