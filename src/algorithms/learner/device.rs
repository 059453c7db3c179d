//! The state of a learner on the devices, and the program that changes it.
//!
//! The state never leaves the devices except to be saved. The same programs serve one agent, whose environments the devices
//! share, and a group of agents, mapped over: each device holds its share of them, and none needs to hear of another.

use std::ops::Range;
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail, ensure};
use sha2::{Digest, Sha256};

use crate::algorithms::NamedArrays;
use crate::algorithms::curriculum::{Reached, Schedule};
use crate::algorithms::metrics::Metric;
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::lang::{
    Handle, Int, Jit, OnDevice, Tree, compile_both, leaf_paths, numbered, positions, structure,
};
use crate::lower;
use crate::runtime::{CacheOutcome, Client, World};

use super::agents::{Agents, Given, given};
use super::programs::{
    AgentState, ChunkInput, ChunkOutput, How, Leaf, Programs, Row, Start, TraceInput, update,
};
use super::{Algorithm, NonFinite, UpdateTrace};

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

/// What there is to know of an agent beside its state.
pub(super) struct LearnerInfo {
    pub metrics: Vec<Metric>,
    pub max_updates: usize,
    pub timesteps_per_update: u64,
    pub metadata: Vec<(String, String)>,
    pub spec: EnvSpec,
    pub schedule: Option<Schedule>,
    pub timing: Timing,
}

/// Which of the devices of all processes are those of this one.
fn own_devices(client: &Client, num_devices: usize) -> Range<usize> {
    let (rank, own) = (client.world().map_or(0, World::rank), num_devices / client.target().processes.total);
    rank * own..(rank + 1) * own
}

/// Makes sure that all processes have the same programs before they run them together.
fn same_everywhere(world: &World, modules: [&str; 2]) -> Result<()> {
    let digest = modules.iter().fold(Sha256::new(), |digest, module| digest.chain_update(module)).finalize();
    let all = world.gather(&digest).map_err(|error| anyhow!(error))?;
    let other = all.iter().position(|other| other[..] != digest[..]);
    ensure!(
        other.is_none(),
        "rank {} has other programs than rank {}: start all of them with the same command line, the same version of \
         lockstep, and the same number of cores",
        other.unwrap_or(0),
        world.rank()
    );
    Ok(())
}

/// A shape as text: `10x10`.
fn by(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    sizes.join("x")
}

/// What files of the parameters of an algorithm say of themselves.
pub fn metadata<A: Algorithm>(algorithm: &A) -> Vec<(String, String)> {
    let spec = algorithm.env().spec();
    let sizes = [
        ("env", spec.name.to_owned()),
        ("algorithm", algorithm.name().to_owned()),
        ("obs_size", spec.obs_size().to_string()),
        ("obs_shape", by(&spec.obs_shape)),
        ("num_actions", spec.num_actions.to_string()),
    ];
    sizes.into_iter().map(|(key, value)| (key.to_owned(), value)).chain(algorithm.metadata()).collect()
}

impl LearnerInfo {
    fn new<A: Algorithm>(algorithm: &A, start: &Start, metrics: Vec<Metric>, timing: Timing) -> LearnerInfo {
        LearnerInfo {
            metrics,
            max_updates: start.max_updates,
            timesteps_per_update: algorithm.timesteps_per_update(),
            metadata: metadata(algorithm),
            spec: algorithm.env().spec(),
            schedule: algorithm.schedule(),
            timing,
        }
    }

    pub fn check_updates(&self, updates: usize) -> Result<()> {
        ensure!((1..=self.max_updates).contains(&updates), "a chunk of {updates} updates");
        Ok(())
    }

    /// How many updates follow the first `update` ones until a phase of the curriculum may end. `reached` asks the state how far the
    /// run has come.
    pub fn updates_to_phase_end(
        &self,
        update: u64,
        reached: impl FnOnce() -> Result<Reached>,
    ) -> Result<u64> {
        self.schedule.as_ref().map_or(Ok(u64::MAX), |schedule| schedule.updates_to_an_end(update, reached))
    }

    /// The phase, from 1, of the update that follows `update` others. `reached` as above.
    pub fn phase(&self, update: u64, reached: impl FnOnce() -> Result<Reached>) -> Result<Option<usize>> {
        let Some(schedule) = &self.schedule else { return Ok(None) };
        if let Some(phase) = schedule.phase_at(update) {
            return Ok(Some(phase));
        }
        Ok(Some(reached()?.phase + 1))
    }
}

/// The program `chunk` and the state that it changes.
pub(super) struct Engine<A: Algorithm> {
    pub client: Client,
    chunk: Jit<ChunkInput<A>, ChunkOutput<A>>,
    leaves: Vec<Leaf>,
    /// The structure of the state on one device; its leaves are numbered.
    pub structure: Rc<AgentState<A::State>>,
    state: Option<OnDevice<AgentState<A::State>>>,
    given: OnDevice<Given<A::Hyper>>,
    /// Those of all processes.
    num_devices: usize,
}

/// What a chunk of updates tells, on the devices.
pub(super) struct Told {
    rows: OnDevice<Row>,
    updates: usize,
    has_steps: bool,
    has_episodes: bool,
}

impl Told {
    pub fn num_devices(&self) -> usize {
        self.rows.shards().len()
    }

    /// The metrics as a device has them: a row for each update, for each of its agents if there are several.
    pub fn metrics(&self, device: usize) -> Result<HostArray> {
        self.table(device, 0)
    }

    /// What each step came to over all devices, if that is recorded.
    pub fn steps(&self, device: usize) -> Result<Option<HostArray>> {
        self.has_steps.then(|| self.table(device, 1)).transpose()
    }

    /// The episodes of each update as [`recording`](crate::algorithms::recording) has them, if they are recorded.
    pub fn episodes(&self, device: usize) -> Result<Option<HostArray>> {
        self.has_episodes.then(|| self.table(device, 1 + usize::from(self.has_steps))).transpose()
    }

    /// A table without the rows of updates that were not run.
    fn table(&self, device: usize, leaf: usize) -> Result<HostArray> {
        Ok(self.rows.shards()[device][leaf].to_host()?.slice(0, 0..self.updates))
    }
}

const PRESENT: &str = "a chunk that fails leaves no state";

impl<A: Algorithm> Engine<A> {
    /// Traces and compiles the programs and makes the first state.
    pub fn new(client: &Client, agents: &Agents<A>, start: &Start) -> Result<(Engine<A>, LearnerInfo)> {
        let tracing = Instant::now();
        let Programs { init, chunk, state: structure, leaves, metrics, given, values } =
            Programs::new(agents, start, client.target())?;
        let trace_seconds = tracing.elapsed().as_secs_f64();
        if let Some(world) = client.world() {
            same_everywhere(world, [&init.module, &chunk.module])?;
        }

        let compiling = Instant::now();
        let (init, chunk) = compile_both(client, (init, "init"), (chunk, "chunk"))?;
        let timing = Timing {
            trace_seconds,
            compile_seconds: compiling.elapsed().as_secs_f64(),
            cached: [init.cache(), chunk.cache()].iter().all(|cache| *cache == CacheOutcome::Hit),
        };
        let own = own_devices(client, start.num_devices);
        let seeds = agents.seeds(start.seed, start.num_devices);
        let seeds: Vec<Vec<HostArray>> = seeds[own.clone()].iter().map(|seeds| vec![seeds.clone()]).collect();
        let words = Int::from_handle(Handle::placeholder(&seeds[0][0].array_type()));
        let seeds = OnDevice::new(client, &words, &seeds)?;
        let given = OnDevice::new(client, &given, &values[own])?;
        let state = init.call([seeds.give(), given.lend()])?;
        let engine = Engine {
            client: client.clone(),
            chunk,
            leaves,
            structure: Rc::new(numbered(structure)),
            state: Some(state),
            given,
            num_devices: start.num_devices,
        };
        Ok((engine, LearnerInfo::new(agents.first(), start, metrics, timing)))
    }

    /// Runs `updates` updates.
    pub fn run(&mut self, updates: usize) -> Result<Told> {
        let count = self.chunk.upload([&HostArray::scalar(updates as i32)])?;
        let state = self.state.take().expect(PRESENT);
        let (state, rows) = self.chunk.call([state.give(), self.given.lend(), count])?.unzip();
        self.state = Some(state);
        let (_, Row { steps, episodes, .. }) = self.chunk.output();
        Ok(Told { rows, updates, has_steps: steps.is_some(), has_episodes: episodes.is_some() })
    }

    pub fn state(&self) -> &OnDevice<AgentState<A::State>> {
        self.state.as_ref().expect(PRESENT)
    }

    /// Devices of this process.
    fn num_own(&self) -> usize {
        own_devices(&self.client, self.num_devices).len()
    }

    /// A leaf of the state, whole as far as it is on the devices of this process.
    pub fn fetch(&self, leaf: usize) -> Result<HostArray> {
        let shards = self.state().shards();
        let parts = match self.leaves[leaf].split {
            None => vec![shards[0][leaf].to_host()?],
            Some(_) => shards.iter().map(|shard| shard[leaf].to_host()).collect::<Result<_, _>>()?,
        };
        Ok(HostArray::concatenate(self.leaves[leaf].split.unwrap_or(0), &parts))
    }

    /// Replaces the state of the devices of this process by whole arrays with the names and types of the leaves.
    pub fn load(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        ensure!(state.len() == self.leaves.len(), "{} arrays are no state of this learner", state.len());
        let num_own = self.num_own();
        let mut shards: Vec<Vec<HostArray>> = vec![Vec::new(); num_own];
        for (leaf, (name, array)) in self.leaves.iter().zip(state) {
            if leaf.name != *name || leaf.whole(num_own) != array.array_type() {
                bail!("the array `{name}` does not fit `{}`", leaf.name);
            }
            for (device, shard) in shards.iter_mut().enumerate() {
                shard.push(match leaf.split {
                    None => array.clone(),
                    Some(axis) => {
                        let size = leaf.array_type.shape[axis];
                        array.slice(axis, device * size..(device + 1) * size)
                    }
                });
            }
        }
        self.state = Some(OnDevice::new(&self.client, &*self.structure, &shards)?);
        Ok(())
    }

    /// Names and types of the whole arrays of the state, as far as it is on the devices of this process.
    pub fn types(&self) -> Vec<(String, ArrayType)> {
        let num_own = self.num_own();
        self.leaves.iter().map(|leaf| (leaf.name.clone(), leaf.whole(num_own))).collect()
    }

    /// The axis of the environments of one agent in a leaf, if it belongs to them.
    pub fn environment_axis(&self, leaf: usize) -> Option<usize> {
        self.leaves[leaf].split
    }

    /// The leaves of the parameters, and their names in a file.
    pub fn params(&self, algorithm: &A) -> Vec<(usize, String)> {
        let params = algorithm.params(&self.structure.own);
        let names = leaf_paths(params).into_iter().map(|path| format!("params.{path}"));
        positions(params).into_iter().zip(names).collect()
    }

    /// The leaves that begin as the parameters do, beside those, in the order of the parameters, one list for each copy.
    pub fn copies(&self, algorithm: &A) -> Vec<Vec<usize>> {
        algorithm.copies(&self.structure.own).into_iter().map(positions).collect()
    }

    /// A state with other parameters.
    ///
    /// # Errors
    /// One line that names the first array that does not fit.
    pub fn with_params(
        &self,
        algorithm: &A,
        mut state: NamedArrays,
        params: &[(String, HostArray)],
    ) -> Result<NamedArrays> {
        let places = self.params(algorithm);
        if let Some((name, _)) = params.iter().find(|(name, _)| places.iter().all(|(_, own)| own != name)) {
            bail!("they have an array {name}, and the network of this run has none of that name");
        }
        for (place, (leaf, name)) in places.iter().enumerate() {
            let given = params.iter().find(|(other, _)| other == name);
            let Some((_, array)) = given else { bail!("they have no array {name}, which this run needs") };
            let (own, found) = (state[*leaf].1.array_type(), array.array_type());
            ensure!(own == found, "{name} is {found} in them, and {own} in this run");
            for leaf in self.copies(algorithm).iter().map(|copy| copy[place]).chain([*leaf]) {
                state[leaf].1 = array.clone();
            }
        }
        Ok(state)
    }

    /// How far the run has come in a curriculum whose phases end by goals; `fetch` gives a leaf of the state.
    pub fn reached(
        structure: &AgentState<A::State>,
        mut fetch: impl FnMut(usize) -> Result<HostArray>,
    ) -> Result<Reached> {
        let progress = structure.curriculum.as_ref().expect("the phases end by goals");
        let mut number = |leaf: &Int| Ok::<i32, anyhow::Error>(fetch(positions(leaf)[0])?.as_slice()[0]);
        let [phase, updates] = progress.reached();
        Ok(Reached { phase: number(phase)? as usize, updates: number(updates)? as u64 })
    }

    /// What the next update will compute on its way, and the first value in it that is not finite. The state stays as it is.
    pub fn diagnose(&self, algorithm: &A) -> Result<Option<NonFinite>> {
        let (client, num_devices) = (&self.client, self.num_devices);
        let options = lower::Options {
            num_replicas: num_devices,
            precision: algorithm.precision(),
            ..Default::default()
        };
        let (given, _) = given(algorithm, 1)?;
        let input = (structure(self.structure.duplicate()), given);
        let program: Jit<TraceInput<A>, UpdateTrace> =
            Jit::new(client, "update trace", &options, &input, |(state, given)| {
                update(algorithm, How { num_devices, record: Default::default() }, &given, state).2
            })?;
        let outputs = program.call([self.state().lend(), self.given.lend()])?;
        let trace = program.output();
        let mut values = Vec::new();
        for (leaf, axis) in trace.environment_axes().into_iter().enumerate() {
            let mut parts = outputs.shards().iter().map(|shard| shard[leaf].to_host());
            values.push(match axis {
                None => parts.next().expect("there is a device")?,
                Some(axis) => HostArray::concatenate(axis, &parts.collect::<Result<Vec<_>, _>>()?),
            });
        }
        Ok(trace.first_non_finite(&values))
    }
}

/// Another key (or keys) in place of one, the same for the same `attempt`.
pub(super) fn reseed(key: &HostArray, attempt: u32) -> HostArray {
    let words: &[u32] = key.as_slice();
    let mut words = words.to_vec();
    words.iter_mut().skip(1).step_by(2).for_each(|word| *word ^= attempt.wrapping_mul(0x9e37_79b9));
    HostArray::new(key.shape(), words)
}
