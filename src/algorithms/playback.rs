//! Playback: one episode step by step, with all that there is to see of it.
//!
//! What `eval` computes in one program is cut into three here (begin, look, step), so that the host holds the state
//! between them. Keys are derived in the same way: episode `n` of a seed is the same in both.

use anyhow::{Context, Result};

use crate::array::{ArrayType, DType, HostArray};
use crate::envs::painter::Frame;
use crate::envs::{AnyEnv, default_params, vector};
use crate::lang::{Bool, Float, Handle, Int, Key, Leaves, Outputs, Signature, trace, traced_for, vmap_last};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Buffer, Client, CompileOptions, Program};

use super::NamedArrays;
use super::evaluation::{episode_keys, step_keys};
use super::policy::{Decision, Policy};

/// An environment and a policy on a device, and an episode that is being played.
pub struct Playback {
    client: Client,
    begin: Named,
    look: Named,
    step: Named,
    /// Parameters of the policy, and of the environment.
    policy_params: Vec<Buffer>,
    env_params: Vec<Buffer>,
    /// The environment's state.
    state: Vec<(String, Buffer)>,
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

impl Moment {
    /// What a painter sees of it.
    pub fn frame(&self) -> Frame<'_> {
        Frame { state: &self.state, obs: &self.obs }
    }
}

/// What came of a step.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// With several players, that of player 0.
    pub reward: f32,
    pub terminated: bool,
    pub truncated: bool,
    /// In the order of the spec.
    pub metrics: Vec<f32>,
}

/// A program whose outputs are read by name.
struct Named {
    program: Program,
    outputs: Vec<String>,
}

/// The outputs of the program `begin`.
struct Begun {
    keys: Key,
    state: Leaves,
}
crate::tree!(Begun { keys, state });

/// The outputs of the program `look`.
struct Look {
    /// f32`[O, 1]`: as the environment shows it, whatever the network reads.
    obs: Float,
    mask: Option<Bool>,
    decision: Decision,
}
crate::tree!(Look { obs, mask, decision });

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
            Begun { keys, state: vector::reset(env, &params, reset) }
        });
        let state = begin.output.state.clone();
        let input = (policy.structure(), structure.clone(), state.clone(), keys, number);
        let look = trace(&input, |(weights, params, state, keys, step)| {
            let view = vector::view(env, &params, &state);
            let [action_keys, _] = step_keys(keys, step);
            let obs = vmap_last(state, |state| env.observe(&params, &state).actor.flatten());
            Look {
                obs,
                mask: view.mask,
                decision: policy.decide(&weights, &view, spec.num_actions, action_keys),
            }
        });
        let step = trace(&(structure, state, keys, number, int(DType::I32, &[1])), |input| {
            let (params, state, keys, number, action) = input;
            let [_, keys] = step_keys(keys, number);
            vmap_last((keys, state, action), |(key, state, action)| {
                one_step(env, &params, key, state, action)
            })
        });
        let upload = |values: Vec<&HostArray>| -> Result<Vec<Buffer>> {
            values.into_iter().map(|value| Ok(client.to_device(value, 0)?)).collect()
        };
        Ok(Playback {
            client: client.clone(),
            begin: Named::compile(client, begin)?,
            look: Named::compile(client, look)?,
            step: Named::compile(client, step)?,
            policy_params: upload(policy.params().iter().collect())?,
            env_params: upload(params.iter().map(|(_, value)| value).collect())?,
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
        self.state = outputs.take_below("state");
        self.keys = Some(outputs.take("keys"));
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
        args.extend(self.state.iter().map(|(_, buffer)| Arg::Borrow(buffer)));
        args.extend(self.keys.iter().map(Arg::Borrow));
        args.extend([Arg::Donate(step), Arg::Donate(action)]);
        let mut outputs = self.step.run(args)?;
        self.state = outputs.take_below("state");
        self.steps += 1;
        let outcome = Outcome {
            reward: number(&outputs.take("reward"))? as f32,
            terminated: number(&outputs.take("terminated"))? != 0.0,
            truncated: number(&outputs.take("truncated"))? != 0.0,
            metrics: (outputs.take_below("metrics").iter())
                .map(|(_, buffer)| Ok(number(buffer)? as f32))
                .collect::<Result<_>>()?,
        };
        Ok((outcome, self.moment()?))
    }

    fn moment(&mut self) -> Result<Moment> {
        let step = self.upload(&HostArray::scalar(self.steps as i32))?;
        let mut args = borrow(&self.policy_params);
        args.extend(borrow(&self.env_params));
        args.extend(self.state.iter().map(|(_, buffer)| Arg::Borrow(buffer)));
        args.extend(self.keys.iter().map(Arg::Borrow));
        args.push(Arg::Donate(step));
        let mut outputs = self.look.run(args)?;
        let floats = |buffer: Buffer| -> Result<Vec<f32>> { Ok(buffer.to_host()?.as_slice().to_vec()) };
        let flags = |buffer: Buffer| -> Result<Vec<bool>> { Ok(buffer.to_host()?.as_slice().to_vec()) };
        let value = outputs.take_if_any("decision.value");
        self.action = number(&outputs.take("decision.action"))? as usize;
        let mut state = NamedArrays::new();
        for (name, buffer) in &self.state {
            state.push((name.clone(), buffer.to_host()?));
        }
        Ok(Moment {
            state,
            obs: floats(outputs.take("obs"))?,
            mask: outputs.take_if_any("mask").map(flags).transpose()?,
            probs: floats(outputs.take("decision.probs"))?,
            value: value.map(|value| number(&value)).transpose()?.map(|value| value as f32),
            action: self.action,
        })
    }

    fn upload(&self, value: &HostArray) -> Result<Buffer> {
        Ok(self.client.to_device(value, 0)?)
    }
}

fn one_step(env: &dyn AnyEnv, params: &Leaves, key: Key, state: Leaves, action: Int) -> Stepped {
    let step = env.step(params, key, state, action);
    let truncated = step.truncated.unwrap_or_else(|| step.terminated.full_like(false));
    Stepped {
        reward: step.reward_of(0),
        state: step.state,
        terminated: step.terminated,
        truncated: truncated & !step.terminated,
        metrics: step.metrics,
    }
}

impl Named {
    fn compile<Y>(client: &Client, traced: Signature<Y>) -> Result<Named> {
        let options = lower::Options { kernels: client.has_kernels(), ..Default::default() };
        let text = lower(&traced.graph, &options);
        let program = client.compile(&text, &CompileOptions::default()).context("compiling the playback")?;
        Ok(Named { program, outputs: traced.output_names })
    }

    fn run(&self, args: Vec<Arg>) -> Result<Outputs<Buffer>> {
        Ok(Outputs::new(&self.outputs, self.program.run(args)?))
    }
}

/// The only number in a buffer.
fn number(buffer: &Buffer) -> Result<f64> {
    Ok(buffer.to_host()?.to_f64()[0])
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
