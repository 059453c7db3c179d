//! The random policy: a uniform choice among the valid actions. The yardstick of `eval`, and the driver of
//! `bench` for an environment without a network.

use anyhow::{Context, Result};

use crate::array::{ArrayType, DType, HostArray};
use crate::envs::{AnyEnv, default_params, vector};
use crate::lang::{
    Bool, Float, Handle, Int, Key, Leaves, below, concatenate, int, int_u64, iota, replica_id, select, trace,
    vmap_last, while_loop,
};
use crate::lower::{self, lower};
use crate::runtime::{Arg, Buffer, Client, CompileOptions, Program};

/// One uniformly drawn valid action (i32 scalar); `mask` is bool`[A]`.
#[track_caller]
pub fn random_action(key: Key, mask: Option<Bool>, num_actions: usize) -> Int {
    let Some(mask) = mask else { return key.integers([], 0..num_actions as i32) };
    let ranks = ranks(mask, num_actions);
    let count = ranks.index(0, num_actions - 1);
    // With nothing valid, anything is.
    let any = count.gt(0);
    let chosen = below(key.bits([]), select(any, count, num_actions));
    let hit = mask & ranks.eq(chosen + 1);
    let index = iota(DType::I32, [num_actions], 0);
    select(any, select(hit, index, 0).sum([0]), chosen)
}

/// How many of a bool`[size]` are set up to and including each place, i32`[size]`: bits of a word are counted at once.
#[track_caller]
fn ranks(flags: Bool, size: usize) -> Int {
    let mut before = int(0);
    let mut parts = Vec::new();
    for start in (0..size).step_by(64) {
        let width = 64.min(size - start);
        let place = iota(DType::U64, [width], 0);
        let word = (flags.slice(0, start..start + width).as_u64() << place).sum([0]);
        let up_to = (int_u64(2).fill(&[width]) << place) - 1;
        let ranks = before.fill(&[width]) + (word.fill(&[width]) & up_to).count_ones().as_i32();
        before = ranks.index(0, width - 1);
        parts.push(ranks);
    }
    concatenate(0, parts)
}

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
        let text = lower(&init.graph, &lower::Options { num_replicas: devices, ..Default::default() });
        let init = client.compile(&text, &options)?;
        let kernels = client.has_kernels();
        let lowering = lower::Options { donated, num_replicas: devices, kernels, ..Default::default() };
        let text = lower(&run.graph, &lowering);
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
    let mut sums = sums + step.reward;
    if observe {
        sums = sums + vmap_last(step.state.clone(), |state| env.observe(params, &state).flatten().sum([0]));
    }
    (step.state, key, sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpret::interpret;
    use crate::lang::constant;

    #[test]
    fn random_actions_are_valid_and_uniform() {
        const N: usize = 6000;
        let traced = trace(&(), |()| {
            vmap_last(Key::new(5).split_last(N), |key| {
                let [a, b, c] = key.split();
                let mask = constant([false, true, true, false, true]);
                let far = iota(DType::I32, [70], 0).ge(68);
                let any = random_action(b, Some(mask & !mask), 5);
                (random_action(a, Some(mask), 5), any, random_action(c, Some(far), 70))
            })
        });
        let results = interpret(&traced.graph, &[]);
        let valid = [vec![1.0, 2.0, 4.0], vec![0.0, 1.0, 2.0, 3.0, 4.0], vec![68.0, 69.0]];
        for (found, valid) in results.iter().zip(valid) {
            let p = 1.0 / valid.len() as f64;
            let mut total = 0;
            for action in &valid {
                let count = found.to_f64().iter().filter(|x| *x == action).count();
                assert!((count as f64 / N as f64 - p).abs() < 5.0 * (p * (1.0 - p) / N as f64).sqrt());
                total += count;
            }
            assert_eq!(total, N);
        }
    }
}
