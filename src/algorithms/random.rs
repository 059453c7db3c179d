//! The random policy: a uniform choice among the valid actions. The yardstick of `eval`, and the driver of
//! `bench` for an environment without a network.

use anyhow::{Context, Result};

use crate::array::{ArrayType, DType, HostArray};
use crate::envs::{AnyEnv, default_params, random_action, vector};
use crate::lang::{
    Features, Float, Handle, Int, Key, Leaves, int, replica_id, trace, traced_for, vmap_last, while_loop,
};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Buffer, Client, CompileOptions, Program};

/// Environments that step under the random policy, with automatic reset, shared evenly by all devices of a client.
pub struct RandomRollout {
    program: Program,
    /// For each device.
    state: Vec<Vec<Buffer>>,
    params: Vec<Vec<Buffer>>,
    client: Client,
}

impl RandomRollout {
    /// Compiles the program and resets `num_envs` environments, a multiple of the number of devices. With
    /// `observe`, every step computes the observations too.
    pub fn new(client: &Client, env: &dyn AnyEnv, num_envs: usize, seed: u64, observe: bool) -> Result<Self> {
        traced_for(client.kind(), || Self::compiled(client, env, num_envs, seed, observe))
    }

    fn compiled(
        client: &Client,
        env: &dyn AnyEnv,
        num_envs: usize,
        seed: u64,
        observe: bool,
    ) -> Result<Self> {
        let devices = client.devices();
        let num_envs = num_envs / devices;
        let params = default_params(env);
        let structure = Leaves::placeholders(&params);
        let init = trace(&structure, |params| {
            let [reset, key] = Key::new(seed).fold_in(replica_id()).split();
            (vector::reset(env, &params, reset.split_last(num_envs)), key, Float::full([num_envs], 0.0))
        });
        let steps_structure = Int::from_handle(Handle::placeholder(&ArrayType::scalar(DType::I32)));
        let run = trace(
            &(init.output, structure, steps_structure),
            |((state, key, sums), params, steps): ((Leaves, Key, Float), Leaves, Int)| {
                let (_, state, key, sums) = while_loop(
                    (int(0), state, key, sums),
                    |(done, ..)| done.lt(steps),
                    |(done, state, key, sums)| {
                        let (state, key, sums) = step(env, &params, state, key, sums, observe);
                        (done + 1, state, key, sums)
                    },
                );
                (state, key, sums)
            },
        );
        let count = run.output_names.len();
        let donated = (0..count).map(|i| (i, i)).collect();
        let options = CompileOptions { num_replicas: devices, ..Default::default() };
        let plain =
            lower::Options { num_replicas: devices, kernels: client.has_kernels(), ..Default::default() };
        let init = client.compile(&lower(&init.graph, &plain), &options)?;
        let text = lower(&run.graph, &lower::Options { donated, ..plain });
        let program = client.compile(&text, &options).context("compiling the random rollout")?;
        let upload = |device| params.iter().map(|(_, value)| client.to_device(value, device)).collect();
        let params = (0..devices).map(upload).collect::<Result<Vec<Vec<Buffer>>, _>>()?;
        let args = params.iter().map(|params| params.iter().map(Arg::Borrow).collect()).collect();
        let state = init.run_replicas(args)?;
        Ok(RandomRollout { program, state, params, client: client.clone() })
    }

    /// Runs `steps` steps of every environment and waits for the end.
    pub fn run(&mut self, steps: usize) -> Result<()> {
        let steps = HostArray::scalar(steps as i32);
        let mut args = Vec::new();
        let states = std::mem::take(&mut self.state);
        for (device, (state, params)) in states.into_iter().zip(&self.params).enumerate() {
            let mut device_args: Vec<Arg> = state.into_iter().map(Arg::Donate).collect();
            device_args.extend(params.iter().map(Arg::Borrow));
            device_args.push(Arg::Donate(self.client.to_device(&steps, device)?));
            args.push(device_args);
        }
        self.state = self.program.run_replicas(args)?;
        for state in &self.state {
            state.last().expect("the sums").wait()?;
        }
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
    let actions = vmap_last((action_key.split_last(num_envs), state.clone()), |(key, state)| {
        random_action(key, env.action_mask(params, &state), num_actions)
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
