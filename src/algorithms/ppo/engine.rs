//! The compiled programs of PPO with their state on the devices.
//!
//! Two programs: `init` makes the state from a seed, `chunk` runs any number of updates up to a compiled maximum
//! as one XLA computation and returns one row of metrics per update. The state never leaves the devices
//! except to be saved. The same programs serve one agent, whose environments the devices share, and a group of
//! agents, mapped over: each device holds its share of them, and none needs to hear of another.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::algorithms::curriculum::{self, Schedule};
use crate::algorithms::{Metric, NamedArrays};
use crate::array::{ArrayType, DType, HostArray};
use crate::envs::{AnyEnv, EnvSpec};
use crate::lang::{
    Float, Handle, Int, Key, Leaves, Signature, leaf_paths, merge_first_axes, scan, split_first_axis,
    structure, trace, traced_for, vmap, while_loop,
};
use crate::lower::{self, lower};
use crate::nn::Activation;
use crate::runtime::{Arg, Buffer, CacheOutcome, Client, CompileOptions, DeviceKind, Program};

use super::{Hyper, Ppo, Settings, State, divisor_at_most};

/// How a learner starts.
pub struct Start<'a> {
    pub settings: &'a Settings,
    pub env: &'a dyn AnyEnv,
    pub seed: u64,
    /// Updates of the whole run: the horizon of the learning-rate schedule.
    pub total_updates: u64,
    /// The most updates that one call of `run` can do.
    pub max_updates: usize,
    /// Devices that share the environments of an agent, or the agents of a group.
    pub num_devices: usize,
}

/// What starting cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timing {
    /// Tracing and lowering.
    pub trace_seconds: f64,
    /// Compiling, or loading from the cache.
    pub compile_seconds: f64,
    /// Whether all programs came from the cache.
    pub cached: bool,
}

/// Who is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agents {
    /// One agent, with the state as it is.
    One,
    /// So many agents with seeds that follow each other, along a first axis of everything in the state.
    Group(usize),
}

impl Agents {
    /// The seeds that each device begins with: u32`[2]`, or `[agents per device, 2]`.
    fn seeds(self, first: u64, num_devices: usize) -> Vec<HostArray> {
        let words = |seed: u64| [(seed >> 32) as u32, seed as u32];
        match self {
            Agents::One => vec![HostArray::new(&[2], words(first).to_vec()); num_devices],
            Agents::Group(count) => {
                let part = (count / num_devices) as u64;
                let starts = (0..num_devices as u64).map(|device| first + device * part);
                let part_of = |start: u64| (start..start + part).flat_map(words).collect();
                starts.map(|start| HostArray::new(&[part as usize, 2], part_of(start))).collect()
            }
        }
    }
}

/// One array of the state.
pub struct Leaf {
    pub name: String,
    /// On one device.
    pub array_type: ArrayType,
    /// The axis along which the devices' parts follow each other; `None` for copies.
    split: Option<usize>,
}

impl Leaf {
    /// The type of the whole, over all devices.
    fn whole(&self, devices: usize) -> ArrayType {
        let mut whole = self.array_type.clone();
        if let Some(axis) = self.split {
            whole.shape[axis] *= devices;
        }
        whole
    }
}

/// The programs before they are compiled.
struct Traced {
    init: String,
    chunk: String,
    leaves: Vec<Leaf>,
    metrics: Vec<Metric>,
    env_params: Vec<HostArray>,
}

/// The programs of a learner by name, as StableHLO text: what [`PpoLearner::new`](super::PpoLearner::new) compiles for
/// devices of that kind where there are no native kernels.
pub fn modules(start: &Start, kind: DeviceKind) -> Result<[(&'static str, String); 2]> {
    let traced = Traced::new(start, Agents::One, kind, false)?;
    Ok([("init", traced.init), ("chunk", traced.chunk)])
}

impl Traced {
    fn new(start: &Start, agents: Agents, kind: DeviceKind, kernels: bool) -> Result<Traced> {
        traced_for(kind, || Traced::trace(start, agents, kernels))
    }

    fn trace(start: &Start, agents: Agents, kernels: bool) -> Result<Traced> {
        let Start { settings, env, num_devices, .. } = *start;
        let sharers = match agents {
            Agents::One => num_devices,
            Agents::Group(_) => 1,
        };
        check_players(&env.spec())?;
        check_divisions(settings, agents, num_devices)?;
        let ppo = Ppo { settings, env, num_devices: sharers };
        let env_params = curriculum::inputs(env, settings.schedule().as_ref())?;
        let params_structure = Leaves::placeholders(&env_params);
        let seeds = agents.seeds(0, num_devices)[0].array_type();
        let init = trace_init(&ppo, &params_structure, &seeds);
        let metrics = ppo.metrics();
        let chunk = trace(
            &(init.output, hyper_structure(), params_structure, scalar_structure(DType::I32)),
            |(state, hyper, params, updates): (State, Hyper, Leaves, Int)| {
                let update = |state| {
                    let (state, metrics, _) = ppo.update(&hyper, &params, state);
                    (state, metrics.row)
                };
                let row_shape = [&seeds.shape[..seeds.rank() - 1], &[metrics.len()]].concat();
                let table = Float::full([&[start.max_updates], &row_shape[..]].concat(), 0.0);
                match agents {
                    Agents::One => chunk(state, table, updates, update),
                    Agents::Group(count) => {
                        let agents = count / num_devices;
                        chunk(state, table, updates, |state| {
                            update_all(state, agents, settings.num_envs, &update)
                        })
                    }
                }
            },
        );
        let leaves = state_leaves(&chunk.output.0, agents);
        let donated = (0..leaves.len()).map(|i| (i, i)).collect();
        let exact = lower::Options { num_replicas: num_devices, kernels, ..Default::default() };
        let as_set = lower::Options { donated, precision: settings.precision, ..exact.clone() };
        Ok(Traced {
            init: lower(&init.graph, &exact),
            chunk: lower(&chunk.graph, &as_set),
            leaves,
            metrics,
            env_params: env_params.into_iter().map(|(_, value)| value).collect(),
        })
    }
}

/// This algorithm plays for itself alone.
fn check_players(spec: &EnvSpec) -> Result<()> {
    let EnvSpec { name, players, .. } = spec;
    ensure!(*players == 1, "{name} is a game for {players} players; ppo learns environments for one");
    Ok(())
}

fn check_divisions(settings: &Settings, agents: Agents, num_devices: usize) -> Result<()> {
    if let Agents::Group(count) = agents {
        ensure!(
            count > 0 && count.is_multiple_of(num_devices),
            "{count} agents cannot be split evenly over {num_devices} devices"
        );
        return Ok(());
    }
    ensure!(
        settings.num_envs.is_multiple_of(num_devices),
        "num_envs = {} cannot be split evenly over {num_devices} devices",
        settings.num_envs
    );
    ensure!(
        (settings.batch_size() / num_devices).is_multiple_of(settings.num_minibatches),
        "num_minibatches = {} does not divide the {} steps of each of {num_devices} devices",
        settings.num_minibatches,
        settings.batch_size() / num_devices
    );
    Ok(())
}

/// What there is to know of an agent beside its state.
pub struct Facts {
    pub metrics: Vec<Metric>,
    pub max_updates: usize,
    pub timesteps_per_update: u64,
    pub metadata: Vec<(String, String)>,
    pub spec: EnvSpec,
    pub activation: Activation,
    pub schedule: Option<Schedule>,
    pub timing: Timing,
}

impl Facts {
    /// How many updates follow the first `update` ones until a phase of the curriculum may end.
    pub fn updates_to_phase_end(&self, update: u64) -> u64 {
        self.schedule.as_ref().map_or(u64::MAX, |schedule| schedule.updates_to_an_end(update))
    }

    /// The phase, from 1, of the update that follows `update` others. `fetch` gives the leaves of the state with a name.
    pub fn phase(
        &self,
        update: u64,
        fetch: impl FnOnce(&str) -> Result<NamedArrays>,
    ) -> Result<Option<usize>> {
        let Some(schedule) = &self.schedule else { return Ok(None) };
        if let Some(phase) = schedule.phase_at(update) {
            return Ok(Some(phase));
        }
        let (_, phase) = fetch(curriculum::PHASE_LEAF)?.swap_remove(0);
        Ok(Some(phase.as_slice::<i32>()[0] as usize + 1))
    }

    fn new(start: &Start, metrics: Vec<Metric>, timing: Timing) -> Facts {
        let Start { settings, env, max_updates, .. } = *start;
        let spec = env.spec();
        let metadata = [
            ("env", spec.name.to_owned()),
            ("algorithm", "ppo".to_owned()),
            ("activation", settings.activation.to_string()),
            ("obs_size", spec.obs_size().to_string()),
            ("num_actions", spec.num_actions.to_string()),
            ("hidden_dim", settings.hidden_dim.to_string()),
            ("num_layers", settings.num_layers.to_string()),
        ];
        Facts {
            metrics,
            max_updates,
            timesteps_per_update: settings.batch_size() as u64,
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            spec,
            activation: settings.activation,
            schedule: settings.schedule(),
            timing,
        }
    }
}

/// The program `chunk` and the state that it changes.
pub struct Engine {
    pub client: Client,
    chunk: Program,
    pub leaves: Vec<Leaf>,
    /// For each device, one buffer per leaf.
    pub state: Vec<Vec<Buffer>>,
    /// Hyperparameters and environment parameters, for each device.
    pub inputs: Vec<Vec<Buffer>>,
}

impl Engine {
    /// Traces and compiles the programs and makes the first state.
    pub fn new(client: &Client, start: &Start, agents: Agents) -> Result<(Engine, Facts)> {
        let Start { settings, num_devices, .. } = *start;
        let tracing = Instant::now();
        let Traced { init, chunk, leaves, metrics, env_params } =
            Traced::new(start, agents, client.kind(), client.has_kernels())?;
        let trace_seconds = tracing.elapsed().as_secs_f64();

        let compiled = Instant::now();
        let options = CompileOptions { num_replicas: num_devices, ..Default::default() };
        // At the same time: much of a compilation runs on one core.
        let (init, chunk) = std::thread::scope(|scope| {
            let init = scope.spawn(|| client.compile(&init, &options));
            let chunk = client.compile(&chunk, &options);
            (init.join().expect("compiling does not panic"), chunk)
        });
        let init = init.context("compiling the program `init`")?;
        let chunk = chunk.context("compiling the program `chunk`")?;
        let timing = Timing {
            trace_seconds,
            compile_seconds: compiled.elapsed().as_secs_f64(),
            cached: [&init, &chunk].iter().all(|program| program.cache() == CacheOutcome::Hit),
        };

        let mut inputs = Vec::new();
        let mut args = Vec::new();
        for (device, seed) in agents.seeds(start.seed, num_devices).iter().enumerate() {
            let hyper = hyper_values(settings, start.total_updates);
            inputs.push(upload(client, hyper.iter().chain(&env_params), device)?);
            let buffers = upload(client, std::iter::once(seed).chain(&env_params), device)?;
            args.push(buffers.into_iter().map(Arg::Donate).collect());
        }
        let state = init.run_replicas(args).context("making the first state")?;
        let engine = Engine { client: client.clone(), chunk, leaves, state, inputs };
        Ok((engine, Facts::new(start, metrics, timing)))
    }

    /// Runs `updates` updates. Gives each device's table of metrics, a row per update up to the compiled maximum.
    pub fn run(&mut self, updates: usize) -> Result<Vec<HostArray>> {
        let mut args = Vec::new();
        let mut counts = Vec::new();
        for device in 0..self.state.len() {
            counts.push(self.client.to_device(&HostArray::scalar(updates as i32), device)?);
        }
        let states = std::mem::take(&mut self.state);
        for ((state, inputs), count) in states.into_iter().zip(&self.inputs).zip(&counts) {
            let mut device_args: Vec<Arg> = state.into_iter().map(Arg::Donate).collect();
            device_args.extend(inputs.iter().map(Arg::Borrow));
            device_args.push(Arg::Borrow(count));
            args.push(device_args);
        }
        let mut outputs = self.chunk.run_replicas(args).context("running a chunk of updates")?;
        let tables: Vec<Buffer> =
            outputs.iter_mut().map(|device| device.pop().expect("the metrics are the last output")).collect();
        self.state = outputs;
        tables.iter().map(|table| Ok(table.to_host()?)).collect()
    }

    /// A leaf of the state, whole.
    pub fn fetch(&self, leaf: usize) -> Result<HostArray> {
        let parts = match self.leaves[leaf].split {
            None => vec![self.state[0][leaf].to_host()?],
            Some(_) => {
                self.state.iter().map(|device| device[leaf].to_host()).collect::<Result<Vec<_>, _>>()?
            }
        };
        Ok(HostArray::concatenate(self.leaves[leaf].split.unwrap_or(0), &parts))
    }

    /// Replaces the state by whole arrays with the names and types of the leaves.
    pub fn load(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        let devices = self.inputs.len();
        let mut loaded: Vec<Vec<Buffer>> = (0..devices).map(|_| Vec::new()).collect();
        for (leaf, (name, array)) in self.leaves.iter().zip(state) {
            if leaf.name != *name || leaf.whole(devices) != array.array_type() {
                bail!("the array `{name}` does not fit `{}`", leaf.name);
            }
            for (device, buffers) in loaded.iter_mut().enumerate() {
                let part = match leaf.split {
                    None => array.clone(),
                    Some(axis) => {
                        let size = leaf.array_type.shape[axis];
                        array.slice(axis, device * size..(device + 1) * size)
                    }
                };
                buffers.push(self.client.to_device(&part, device)?);
            }
        }
        self.state = loaded;
        Ok(())
    }

    /// Names and types of the whole arrays of the state.
    pub fn types(&self) -> Vec<(String, ArrayType)> {
        let devices = self.inputs.len();
        self.leaves.iter().map(|leaf| (leaf.name.clone(), leaf.whole(devices))).collect()
    }
}

/// The program that makes the first state from the two words of a seed, or from those of each agent.
pub fn trace_init(ppo: &Ppo, env_params: &Leaves, seeds: &ArrayType) -> Signature<State> {
    let words = Int::from_handle(Handle::placeholder(seeds));
    trace(&(words, env_params.clone()), |(seeds, params)| {
        let init = |seed| ppo.init(&params, Key::from_words(seed));
        if seeds.rank() == 1 { init(seeds) } else { vmap(seeds, init) }
    })
}

/// `updates` updates: the new state, and the table with their rows of metrics along axis 0.
fn chunk(
    state: State,
    table: Float,
    updates: Int,
    update: impl Fn(State) -> (State, Float),
) -> (State, Float) {
    let (_, state, table) = while_loop(
        (crate::lang::int(0), state, table),
        |(done, _, _)| done.lt(updates),
        |(done, state, table)| {
            let (state, row) = update(state);
            (done + 1, state, table.dynamic_update(done, row.expand_dims(0)))
        },
    );
    (state, table)
}

/// Most environments in a block of agents. More do not make better use of a core, and what they compute on the way leaves
/// its cache (measured on cartpole).
const ENVS_PER_BLOCK: usize = 64;

/// One update of each agent: a block of agents at once, one block after the other.
fn update_all(
    agents: State,
    num_agents: usize,
    num_envs: usize,
    update: &impl Fn(State) -> (State, Float),
) -> (State, Float) {
    let block_size = divisor_at_most(num_agents, (ENVS_PER_BLOCK / num_envs).max(1));
    if block_size == 1 {
        return scan((), agents, |(), agent| ((), update(agent))).1;
    }
    if block_size == num_agents {
        return vmap(agents, update);
    }
    let blocks = split_first_axis(agents, num_agents / block_size);
    merge_first_axes(scan((), blocks, |(), block| ((), vmap(block, update))).1)
}

fn scalar_structure(dtype: DType) -> Int {
    Int::from_handle(Handle::placeholder(&ArrayType::scalar(dtype)))
}

pub fn hyper_structure() -> Hyper {
    let scalar = Float::from_handle(Handle::placeholder(&ArrayType::scalar(DType::F32)));
    structure(Hyper {
        lr: scalar,
        anneal: scalar,
        total_updates: scalar,
        gamma: scalar,
        gae_lambda: scalar,
        clip_eps: scalar,
        vf_coef: scalar,
        ent_coef: scalar,
        max_grad_norm: scalar,
    })
}

/// In the order of [`Hyper`].
fn hyper_values(settings: &Settings, total_updates: u64) -> Vec<HostArray> {
    let values = [
        settings.lr,
        if settings.anneal_lr { 1.0 } else { 0.0 },
        total_updates as f64,
        settings.gamma,
        settings.gae_lambda,
        settings.clip_eps,
        settings.vf_coef,
        settings.ent_coef,
        settings.max_grad_norm,
    ];
    values.iter().map(|&value| HostArray::scalar(value as f32)).collect()
}

/// The leaves of the state and how they are split over the devices. Of one agent: states of environments along the last
/// axis, what belongs to environments otherwise along the first. Of a group: everything along its axis.
fn state_leaves(state: &State, agents: Agents) -> Vec<Leaf> {
    let types = crate::lang::leaf_types(state);
    let is_state = |name: &str| name.starts_with("envs.state.");
    let leaf = |(name, array_type): (String, ArrayType)| {
        let split = if matches!(agents, Agents::Group(_)) || name.starts_with("envs.") && !is_state(&name) {
            Some(0)
        } else if is_state(&name) {
            Some(array_type.rank() - 1)
        } else {
            None
        };
        Leaf { name, array_type, split }
    };
    leaf_paths(state).into_iter().zip(types).map(leaf).collect()
}

fn upload<'a>(
    client: &Client,
    arrays: impl Iterator<Item = &'a HostArray>,
    device: usize,
) -> Result<Vec<Buffer>> {
    arrays.map(|array| Ok(client.to_device(array, device)?)).collect()
}
