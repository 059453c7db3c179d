//! PPO as compiled programs with their state on the devices.
//!
//! Two programs: `init` makes the state from a seed, `chunk` runs any number of updates up to a compiled maximum
//! as one XLA computation and returns one row of metrics per update. The state never leaves the devices
//! except to be saved. With several devices each holds its share of the environments and a copy of the rest.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::algorithms::evaluation::{Episode, Evaluator, Plan};
use crate::algorithms::policy::{Choice, Policy};
use crate::algorithms::{Learner, NamedArrays};
use crate::array::{ArrayType, DType, HostArray};
use crate::envs::{Aggregate, AnyEnv, EnvSpec, default_params};
use crate::lang::{Float, Handle, Int, Key, Leaves, Signature, leaf_paths, structure, trace, while_loop};
use crate::lower::{self, lower};
use crate::nn::Activation;
use crate::runtime::{Arg, Buffer, CacheOutcome, Client, CompileOptions, Program};

use super::{Course, Hyper, Ppo, Settings, State};

/// How a learner starts.
pub struct Start<'a> {
    pub settings: &'a Settings,
    pub env: &'a dyn AnyEnv,
    pub seed: u64,
    /// Updates of the whole run: the horizon of the learning-rate schedule.
    pub total_updates: u64,
    /// The most updates that one call of `run` can do.
    pub max_updates: usize,
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

/// PPO on the devices of a client.
pub struct PpoLearner {
    client: Client,
    chunk: Program,
    leaves: Vec<Leaf>,
    /// The state: for each device, one buffer per leaf.
    state: Vec<Vec<Buffer>>,
    /// Hyperparameters and environment parameters, for each device.
    inputs: Vec<Vec<Buffer>>,
    metrics: Vec<(String, Aggregate)>,
    metric_names: Vec<String>,
    max_updates: usize,
    timesteps_per_update: u64,
    metadata: Vec<(String, String)>,
    spec: EnvSpec,
    activation: Activation,
    evaluator: Option<Evaluator>,
    timing: Timing,
}

/// One array of the state.
struct Leaf {
    name: String,
    /// On one device.
    array_type: ArrayType,
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

/// The programs of a learner before they are compiled.
struct Traced {
    init: String,
    chunk: String,
    leaves: Vec<Leaf>,
    metrics: Vec<(String, Aggregate)>,
    env_params: Vec<HostArray>,
}

/// The programs of a learner by name, as StableHLO text: what [`PpoLearner::new`] compiles where there are no native
/// kernels.
pub fn modules(start: &Start) -> Result<[(&'static str, String); 2]> {
    let traced = Traced::new(start, false)?;
    Ok([("init", traced.init), ("chunk", traced.chunk)])
}

impl Traced {
    fn new(start: &Start, kernels: bool) -> Result<Traced> {
        let Start { settings, env, num_devices, .. } = *start;
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
        let ppo = Ppo { settings, env, num_devices };
        let env_params = default_params(env);
        let params_structure = params_structure(&env_params);
        let init = trace_init(&ppo, &params_structure);
        let metrics = ppo.metric_names();
        let chunk = trace(
            &(init.output, hyper_structure(), params_structure, scalar_structure(DType::I32)),
            |(state, hyper, params, updates): (State, Hyper, Leaves, Int)| {
                chunk(&ppo, state, &hyper, &params, updates, start.max_updates, metrics.len())
            },
        );
        let leaves = state_leaves(&chunk.output.0);
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

impl PpoLearner {
    /// Traces and compiles the programs and makes the first state.
    pub fn new(client: &Client, start: &Start) -> Result<PpoLearner> {
        let Start { settings, env, num_devices, .. } = *start;
        let tracing = Instant::now();
        let Traced { init, chunk, leaves, metrics, env_params } = Traced::new(start, client.has_kernels())?;
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

        let seed = HostArray::new(&[2], vec![(start.seed >> 32) as u32, start.seed as u32]);
        let mut inputs = Vec::new();
        let mut seeds = Vec::new();
        for device in 0..num_devices {
            let hyper = hyper_values(settings, start.total_updates);
            inputs.push(upload(client, hyper.iter().chain(&env_params), device)?);
            seeds.push(upload(client, std::iter::once(&seed).chain(&env_params), device)?);
        }
        let args = seeds.into_iter().map(|buffers| buffers.into_iter().map(Arg::Donate).collect()).collect();
        let state = init.run_replicas(args).context("making the first state")?;
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
        Ok(PpoLearner {
            client: client.clone(),
            chunk,
            leaves,
            state,
            inputs,
            metric_names: metrics.iter().map(|(name, _)| name.clone()).collect(),
            metrics,
            max_updates: start.max_updates,
            timesteps_per_update: settings.batch_size() as u64,
            metadata: metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            spec,
            activation: settings.activation,
            evaluator: None,
            timing,
        })
    }

    /// What the next update will compute on its way. The state stays as it is; `start` is that of the learner.
    ///
    /// # Errors
    /// Whatever the device reports.
    pub fn course(&self, start: &Start) -> Result<NamedArrays> {
        let ppo = Ppo { settings: start.settings, env: start.env, num_devices: start.num_devices };
        let env_params = params_structure(&default_params(start.env));
        let init = trace_init(&ppo, &env_params);
        let course = trace(
            &(init.output, hyper_structure(), env_params),
            |(state, hyper, params): (State, Hyper, Leaves)| ppo.update(&hyper, &params, state).2,
        );
        // Without kernels, which keep observations in a form of their own.
        let Start { settings, num_devices: num_replicas, .. } = *start;
        let options = lower::Options { num_replicas, precision: settings.precision, ..Default::default() };
        let text = lower(&course.graph, &options);
        let options = CompileOptions { num_replicas: start.num_devices, ..Default::default() };
        let program = self.client.compile(&text, &options).context("compiling the program `course`")?;
        let borrowed = self.state.iter().zip(&self.inputs);
        let args = borrowed.map(|(state, inputs)| state.iter().chain(inputs).map(Arg::Borrow).collect());
        let outputs = program.run_replicas(args.collect()).context("running the program `course`")?;
        let fetch = |(leaf, name): (usize, String)| {
            let part = |device: &Vec<Buffer>| device[leaf].to_host();
            let array = match Course::environment_axis(&name) {
                None => part(&outputs[0])?,
                Some(axis) => {
                    HostArray::concatenate(axis, &outputs.iter().map(part).collect::<Result<Vec<_>, _>>()?)
                }
            };
            Ok((name, array))
        };
        leaf_paths(&course.output).into_iter().enumerate().map(fetch).collect()
    }

    /// Compiles what [`Learner::evaluate`] runs: `episodes` episodes in `env`, the learner's environment.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn prepare_evaluation(&mut self, env: &dyn AnyEnv, choice: Choice, episodes: usize) -> Result<()> {
        let policy = Policy::of_network(self.params()?, self.activation, choice, &self.spec)?;
        self.evaluator = Some(Evaluator::new(&self.client, env, &policy, episodes)?);
        Ok(())
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// How each metric is combined over updates.
    pub fn metrics(&self) -> &[(String, Aggregate)] {
        &self.metrics
    }

    fn fetch(&self, leaf: usize) -> Result<HostArray> {
        let parts = match self.leaves[leaf].split {
            None => vec![self.state[0][leaf].to_host()?],
            Some(_) => {
                self.state.iter().map(|device| device[leaf].to_host()).collect::<Result<Vec<_>, _>>()?
            }
        };
        Ok(HostArray::concatenate(self.leaves[leaf].split.unwrap_or(0), &parts))
    }

    fn fetch_all(&self, wanted: impl Fn(&str) -> bool) -> Result<NamedArrays> {
        let mut arrays = NamedArrays::new();
        for (i, leaf) in self.leaves.iter().enumerate() {
            if wanted(&leaf.name) {
                arrays.push((leaf.name.clone(), self.fetch(i)?));
            }
        }
        Ok(arrays)
    }
}

impl Learner for PpoLearner {
    fn metric_names(&self) -> &[String] {
        &self.metric_names
    }

    fn max_updates(&self) -> usize {
        self.max_updates
    }

    fn timesteps_per_update(&self) -> u64 {
        self.timesteps_per_update
    }

    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        ensure!((1..=self.max_updates).contains(&updates), "a chunk of {updates} updates");
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
        let table = outputs[0].pop().expect("the metrics are the last output").to_host()?;
        for device in &mut outputs[1..] {
            device.pop();
        }
        self.state = outputs;
        let width = self.metric_names.len();
        Ok(table.as_slice::<f32>().chunks(width).take(updates).map(<[f32]>::to_vec).collect())
    }

    fn state(&self) -> Result<NamedArrays> {
        self.fetch_all(|_| true)
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
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

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        let devices = self.inputs.len();
        self.leaves.iter().map(|leaf| (leaf.name.clone(), leaf.whole(devices))).collect()
    }

    fn params(&self) -> Result<NamedArrays> {
        self.fetch_all(|name| name.starts_with("params."))
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.metadata.clone()
    }

    fn device_memory(&self) -> Option<u64> {
        self.client.memory_in_use(0)
    }

    fn spec(&self) -> &EnvSpec {
        &self.spec
    }

    fn evaluate(&self, plan: &Plan) -> Result<Vec<Episode>> {
        let evaluator = self.evaluator.as_ref().context("the evaluation was not prepared")?;
        let leaves = self.leaves.iter().zip(&self.state[0]);
        let params: Vec<&Buffer> =
            leaves.filter(|(leaf, _)| leaf.name.starts_with("params.")).map(|(_, buffer)| buffer).collect();
        evaluator.run_with(&params, plan)
    }
}

/// The program that makes the first state from the two words of a seed.
fn trace_init(ppo: &Ppo, env_params: &Leaves) -> Signature<State> {
    let seed_words = Handle::placeholder(&ArrayType::new(DType::U32, [2]));
    trace(&(Int::from_handle(seed_words), env_params.clone()), |(seed, params)| {
        ppo.init(&params, Key::from_words(seed))
    })
}

fn params_structure(env_params: &[(String, HostArray)]) -> Leaves {
    let leaf = |(name, value): &(String, HostArray)| (name.clone(), Handle::placeholder(&value.array_type()));
    Leaves(env_params.iter().map(leaf).collect())
}

/// `updates` updates (at most `max_updates`): the new state and the metrics, f32`[max_updates, num_metrics]`.
fn chunk(
    ppo: &Ppo,
    state: State,
    hyper: &Hyper,
    env_params: &Leaves,
    updates: Int,
    max_updates: usize,
    num_metrics: usize,
) -> (State, Float) {
    let table = Float::full([max_updates, num_metrics], 0.0);
    let (_, state, table) = while_loop(
        (crate::lang::int(0), state, table),
        |(done, _, _)| done.lt(updates),
        |(done, state, table)| {
            let (state, row, _) = ppo.update(hyper, env_params, state);
            (done + 1, state, table.dynamic_update(done, row.expand_dims(0)))
        },
    );
    (state, table)
}

fn scalar_structure(dtype: DType) -> Int {
    Int::from_handle(Handle::placeholder(&ArrayType::scalar(dtype)))
}

fn hyper_structure() -> Hyper {
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

/// The leaves of the state and how they are split over the devices: states of environments along the last
/// axis, what belongs to environments otherwise along the first.
fn state_leaves(state: &State) -> Vec<Leaf> {
    let types = crate::lang::leaf_types(state);
    let leaf = |(name, array_type): (String, ArrayType)| {
        let split = if name.starts_with("envs.state.") {
            Some(array_type.rank() - 1)
        } else if name.starts_with("envs.") {
            Some(0)
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
