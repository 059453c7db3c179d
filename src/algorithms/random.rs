//! The random policy: a uniform choice among the valid actions. The yardstick of `eval`, and the driver of
//! `bench` for an environment without a network.

use anyhow::Result;

use crate::array::{DType, HostArray};
use crate::envs::{AnyEnv, random_action_by, vector};
use crate::lang::{
    Features, Float, Int, Jit, Key, Leaves, OnDevice, Tree, int, leaves, replica_id, vmap_last, while_loop,
};
use crate::lower;
use crate::runtime::Client;

use super::evaluation::params_of;

/// Environments that step under the random policy, with automatic reset, shared evenly by all devices of a client.
pub struct RandomRollout {
    run: Jit<(State, Leaves, Int), State>,
    state: Option<OnDevice<State>>,
    params: OnDevice<Leaves>,
}

/// The states of the environments, a key, and sums f32`[B]` of all that a step gives.
type State = (Leaves, Key, Float);

impl RandomRollout {
    /// Compiles the program and resets `num_envs` environments, a multiple of the number of devices. With
    /// `observe`, every step computes the observations too.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn new(client: &Client, env: &dyn AnyEnv, num_envs: usize, seed: u64, observe: bool) -> Result<Self> {
        let devices = client.devices();
        let num_envs = num_envs / devices;
        let (structure, values) = params_of(env);
        let plain = lower::Options { num_replicas: devices, ..Default::default() };
        let init = Jit::new(client, "init", &plain, &structure, |params| {
            let [reset, key] = Key::new(seed).fold_in(replica_id()).split();
            (vector::reset(env, &params, reset.split_last(num_envs)), key, Float::full([num_envs], 0.0))
        })?;
        let donated = (0..leaves(init.output()).len()).map(|i| (i, i)).collect();
        let options = lower::Options { donated, ..plain };
        let input = (init.output().duplicate(), structure.clone(), Int::placeholder(DType::I32, []));
        let run = Jit::new(client, "random rollout", &options, &input, |(state, params, steps)| {
            let (state, key, sums): State = state;
            let (_, state, key, sums) = while_loop(
                (int(0), state, key, sums),
                |(done, ..)| done.lt(steps),
                |(done, state, key, sums)| {
                    let (state, key, sums) = step(env, &params, state, key, sums, observe);
                    (done + 1, state, key, sums)
                },
            );
            (state, key, sums)
        })?;
        let params = OnDevice::new(client, &structure, &vec![values; devices])?;
        let state = Some(init.call([params.lend()])?);
        Ok(RandomRollout { run, state, params })
    }

    /// Runs `steps` steps of every environment and waits for the end.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn run(&mut self, steps: usize) -> Result<()> {
        let steps = self.run.upload([&HostArray::scalar(steps as i32)])?;
        let state = self.state.take().expect("a rollout that fails is not run again");
        let state = self.run.call([state.give(), self.params.lend(), steps])?;
        state.wait()?;
        self.state = Some(state);
        Ok(())
    }
}

/// One step; `sums` adds up rewards and observations, so that nothing is left out.
fn step(
    env: &dyn AnyEnv,
    params: &Leaves,
    state: Leaves,
    key: Key,
    sums: Float,
    observe: bool,
) -> (Leaves, Key, Float) {
    let [action_key, step_key, key] = key.split();
    let num_envs = sums.size();
    let num_actions = env.spec().num_actions;
    let bits = action_key.bits([num_envs]); // a key for each would take as long again
    let actions = vmap_last((bits, state.clone()), |(bits, state)| {
        random_action_by(bits, env.action_mask(params, &state), num_actions)
    });
    let step = vector::step(env, params, step_key.split_last(num_envs), state, actions, None);
    let mut sums = (0..env.spec().players).fold(sums, |sums, player| sums + step.reward_of(player));
    if observe {
        sums = sums
            + match vector::view(env, params, &step.state).obs {
                Features::Plain(obs) => obs.sum([1]),
                Features::Packed { numbers, flags } => numbers.sum([1]) + flags.as_f32().sum([1]),
            };
    }
    (step.state, key, sums)
}
