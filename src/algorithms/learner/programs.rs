//! The programs of an algorithm: its functions for one agent, traced, and what is compiled of them for one or many.

use anyhow::Result;

use crate::algorithms::curriculum::{self, Begins, PhaseProgress};
use crate::algorithms::gradient::divisor_at_most;
use crate::algorithms::metrics::{EPISODE_RETURN, EPISODES, Metric, Metrics};
use crate::algorithms::recording::Record;
use crate::array::{ArrayType, DType, HostArray};
use crate::lang::{
    Float, Handle, Int, Key, Lowered, Path, Signature, Tree, inline, int, leaf_paths, leaf_types, leaves,
    merge_first_axes, numbered, scan, split_first_axis, take_tree, trace, traced_for, vmap, while_loop,
};
use crate::lower;
use crate::runtime::{DeviceKind, Target};

use super::agents::{Agents, Given, for_devices, given, part, typed_as, with_part};
use super::{Algorithm, Along, Inputs, Shared, UpdateTrace, Updated};

/// The most updates of a run: the number of an update is an i32 on the device.
pub const MOST_UPDATES: u64 = i32::MAX as u64;

/// How a learner starts.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub seed: u64,
    /// Updates of the whole run, at most [`MOST_UPDATES`]: the horizon of the learning-rate schedule.
    pub total_updates: u64,
    /// The most updates that one call of `run` can do.
    pub max_updates: usize,
    /// Devices that share the environments of an agent, or the agents of a group.
    pub num_devices: usize,
    pub record: Record,
}

/// How an update is traced, apart from the algorithm.
#[derive(Clone, Copy)]
pub(super) struct How {
    /// Devices that share the environments.
    pub num_devices: usize,
    pub record: Record,
}

/// What an update tells.
pub(super) struct Row {
    /// f32 `[M]`
    pub metrics: Float,
    /// f32 `[T, K]`
    pub steps: Option<Float>,
    /// f32 `[T, K, B]`
    pub episodes: Option<Float>,
}
crate::tree!(Row { metrics, steps, episodes });

/// Everything that an update changes: the algorithm's own state, and what every agent has.
pub struct AgentState<S> {
    pub own: S,
    /// Updates done, i32.
    pub update: Int,
    /// With a curriculum whose phases end by goals.
    pub curriculum: Option<PhaseProgress>,
}

/// The algorithm's own leaves are those of the whole, under the same names.
impl<S: Tree> Tree for AgentState<S> {
    fn walk(&mut self, path: &Path, visit: &mut dyn FnMut(&Path, &mut Handle)) {
        self.own.walk(path, visit);
        self.update.walk(&path.join("update"), visit);
        self.curriculum.walk(&path.join("curriculum"), visit);
    }
    fn duplicate(&self) -> Self {
        AgentState { own: self.own.duplicate(), update: self.update, curriculum: self.curriculum.duplicate() }
    }
}

/// One array of the state.
pub(super) struct Leaf {
    pub name: String,
    /// On one device.
    pub array_type: ArrayType,
    /// The axis along which the devices' parts follow each other; `None` for copies.
    pub split: Option<usize>,
}

impl Leaf {
    /// The type of the whole, over all devices.
    pub fn whole(&self, devices: usize) -> ArrayType {
        let mut whole = self.array_type.clone();
        if let Some(axis) = self.split {
            whole.shape[axis] *= devices;
        }
        whole
    }
}

pub(super) type InitInput<A> = (Int, Given<<A as Algorithm>::Hyper>);
pub(super) type ChunkInput<A> = (AgentState<<A as Algorithm>::State>, Given<<A as Algorithm>::Hyper>, Int);
pub(super) type ChunkOutput<A> = (AgentState<<A as Algorithm>::State>, Row);
pub(super) type TraceInput<A> = (AgentState<<A as Algorithm>::State>, Given<<A as Algorithm>::Hyper>);

/// One agent's functions, traced.
struct Functions<A: Algorithm> {
    /// The state before the first update.
    state: AgentState<A::State>,
    /// State and inputs to the next state, the row of metrics and what is computed on the way.
    update: Signature<(AgentState<A::State>, Row, UpdateTrace)>,
    metrics: Vec<Metric>,
}

impl<A: Algorithm> Functions<A> {
    fn new(algorithm: &A, given: &Given<A::Hyper>, how: How) -> Functions<A> {
        let state =
            trace(&(key_words(), given.duplicate()), |(words, given)| init(algorithm, how, &given, words));
        let mut metrics = Vec::new();
        let update = trace(&(state.output.duplicate(), given.duplicate()), |(state, given)| {
            let (state, recorded, trace) = update(algorithm, how, &given, state);
            metrics = recorded.list;
            let row = Row { metrics: recorded.row, steps: recorded.steps, episodes: recorded.episodes };
            (state, row, trace)
        });
        Functions { state: state.output, update, metrics }
    }
}

fn key_words() -> Int {
    Int::placeholder(DType::U32, [2])
}

/// The first state of an agent with the two words of a seed.
fn init<A: Algorithm>(algorithm: &A, how: How, given: &Given<A::Hyper>, words: Int) -> AgentState<A::State> {
    let by_goals = algorithm.schedule().is_some_and(|schedule| matches!(schedule.begins, Begins::Goals(_)));
    let curriculum = by_goals.then(|| PhaseProgress::begin(&given.env));
    let (inputs, _) = inputs(algorithm, how, given, int(0), curriculum);
    let own = algorithm.init(&inputs, Key::from_words(words));
    AgentState { own, update: int(0), curriculum }
}

/// What an update is given, and the number of its phase in a curriculum.
fn inputs<A: Algorithm>(
    algorithm: &A,
    how: How,
    given: &Given<A::Hyper>,
    update: Int,
    progress: Option<PhaseProgress>,
) -> (Inputs<A::Hyper>, Option<Int>) {
    let (hyper, env, phase) = match algorithm.schedule() {
        None => (given.hyper.duplicate(), given.env.clone(), None),
        Some(_) => {
            let curriculum::Phase { number, params } = curriculum::phase(&given.env, update, progress);
            (take_tree(&given.hyper, number), params, Some(number))
        }
    };
    let total_updates = given.total_updates;
    let How { num_devices, record } = how;
    (Inputs { hyper, env, update, total_updates, num_devices, record }, phase)
}

/// One update of an agent: its state, its metrics, and what was computed on the way.
pub(super) fn update<A: Algorithm>(
    algorithm: &A,
    how: How,
    given: &Given<A::Hyper>,
    state: AgentState<A::State>,
) -> (AgentState<A::State>, Metrics, UpdateTrace) {
    let (inputs, phase) = inputs(algorithm, how, given, state.update, state.curriculum);
    let Updated { state: own, metrics: mut recorder, trace } = algorithm.update(&inputs, state.own);
    if let Some(number) = phase {
        curriculum::record(&mut recorder, number);
    }
    let metrics = recorder.gather(how.num_devices);
    let update = state.update + 1;
    let after = |progress: PhaseProgress| {
        let [episodes, mean_return] = [EPISODES, EPISODE_RETURN].map(|name| metrics.get(name));
        progress.after(&given.env, update, episodes, mean_return)
    };
    let curriculum = state.curriculum.map(after);
    (AgentState { own, update, curriculum }, metrics, trace)
}

/// The programs before they are compiled.
pub(super) struct Programs<A: Algorithm> {
    pub init: Lowered<InitInput<A>, AgentState<A::State>>,
    pub chunk: Lowered<ChunkInput<A>, ChunkOutput<A>>,
    /// The structure of the state on one device, with the agents if there are several.
    pub state: AgentState<A::State>,
    pub leaves: Vec<Leaf>,
    pub metrics: Vec<Metric>,
    /// The structure of the inputs, and their values for each device.
    pub given: Given<A::Hyper>,
    pub values: Vec<Vec<HostArray>>,
}

/// The metrics of an algorithm, from tracing one update.
///
/// # Errors
/// A curriculum that does not fit the environment.
pub fn metrics<A: Algorithm>(algorithm: &A) -> Result<Vec<Metric>> {
    let (given, _) = given(algorithm, 1)?;
    let how = How { num_devices: 1, record: Default::default() };
    Ok(Functions::<A>::new(algorithm, &given, how).metrics)
}

/// The programs of one agent by name, as StableHLO text: what a learner compiles for devices of that kind where there are no
/// native kernels.
///
/// # Errors
/// One line: sizes that do not divide, a curriculum that does not fit.
pub fn modules<A: Algorithm>(
    algorithm: &A,
    start: &Start,
    kind: DeviceKind,
) -> Result<[(&'static str, String); 2]> {
    let programs = Programs::new(&Agents::One(algorithm), start, Target::plain(kind))?;
    Ok([("init", programs.init.module), ("chunk", programs.chunk.module)])
}

/// Floating-point operations of the products in one update, on all devices together, as [`flops`](crate::ir::flops) counts them.
///
/// # Errors
/// As [`modules`].
pub fn update_flops<A: Algorithm>(algorithm: &A, start: &Start, kind: DeviceKind) -> Result<u64> {
    let programs = Programs::new(&Agents::One(algorithm), start, Target::plain(kind))?;
    Ok(programs.chunk.flops() * start.num_devices as u64)
}

impl<A: Algorithm> Programs<A> {
    pub fn new(agents: &Agents<A>, start: &Start, target: Target) -> Result<Programs<A>> {
        traced_for(target.kind, || Programs::traced(agents, start, target))
    }

    fn traced(agents: &Agents<A>, start: &Start, target: Target) -> Result<Programs<A>> {
        let num_devices = start.num_devices;
        agents.check(num_devices)?;
        let (algorithm, sharers) = (agents.first(), agents.sharers(num_devices));
        let (single, values, varying) = agents.given(start.total_updates)?;
        let values = for_devices(&values, &varying, num_devices);
        let given = typed_as(single.duplicate(), &values[0]);
        let how = How { num_devices: sharers, record: start.record };
        let one = Functions::<A>::new(algorithm, &single, how);

        let exact = lower::Options { num_replicas: num_devices, ..Default::default() };
        let seeds = agents.seeds(0, num_devices)[0].array_type();
        let words = Int::from_handle(Handle::placeholder(&seeds));
        let init_input = (words, given.duplicate());
        let init = Lowered::new(target, &exact, &init_input, |(seeds, given)| {
            let init = |words, given: &Given<A::Hyper>| init(algorithm, how, given, words);
            match agents {
                Agents::One(_) => init(seeds, &given),
                Agents::Group(..) => {
                    let lanes = (seeds, part(&given, &varying));
                    vmap(lanes, |(words, own)| init(words, &with_part(&given, &varying, &own)))
                }
            }
        });

        let state = init.output.duplicate();
        let num_leaves = leaves(&state).len();
        let donated = (0..num_leaves).map(|i| (i, i)).collect();
        let as_set = lower::Options { donated, precision: algorithm.precision(), ..exact };
        let count = Int::placeholder(DType::I32, []);
        let input = (state.duplicate(), given.duplicate(), count);
        let chunk = Lowered::new(target, &as_set, &input, |(state, given, count)| {
            let update = |state, given: &Given<A::Hyper>| {
                let (state, row, _) = inline(&one.update, &(state, given.duplicate()));
                (state, row)
            };
            let axis = agents.axis(num_devices);
            let Row { metrics, steps, episodes } = &one.update.output.1;
            let table = |row: &Float| {
                let axes = [start.max_updates].into_iter().chain(axis).chain(row.shape());
                Float::full(axes.collect::<Vec<_>>(), 0.0)
            };
            let table = Row {
                metrics: table(metrics),
                steps: steps.as_ref().map(table),
                episodes: episodes.as_ref().map(table),
            };
            match axis {
                None => updates(state, table, count, |state| update(state, &given)),
                Some(size) => {
                    let own = part(&given, &varying);
                    let at_once = divisor_at_most(size, algorithm.agents_at_once().max(1));
                    updates(state, table, count, |state| {
                        update_all((state, own.clone()), size, at_once, &|(state, own)| {
                            update(state, &with_part(&given, &varying, &own))
                        })
                    })
                }
            }
        });
        let leaves = state_leaves(algorithm, &one.state, &state, agents);
        Ok(Programs { init, chunk, state, leaves, metrics: one.metrics, given, values })
    }
}

/// `count` updates: the new state, and the tables with their rows along axis 0.
fn updates<S: Tree>(state: S, table: Row, count: Int, update: impl Fn(S) -> (S, Row)) -> (S, Row) {
    let (_, state, table) = while_loop(
        (int(0), state, table),
        |(done, _, _)| done.lt(count),
        |(done, state, table)| {
            let (state, row) = update(state);
            let put = |table: Float, row: Float| table.dynamic_update(done, row.expand_dims(0));
            let put_both =
                |table: Option<Float>, row: Option<Float>| table.zip(row).map(|(table, row)| put(table, row));
            let table = Row {
                metrics: put(table.metrics, row.metrics),
                steps: put_both(table.steps, row.steps),
                episodes: put_both(table.episodes, row.episodes),
            };
            (done + 1, state, table)
        },
    );
    (state, table)
}

/// One update of each of `count` agents: `at_once` of them together, one block after the other.
fn update_all<X: Tree, S: Tree>(
    agents: X,
    count: usize,
    at_once: usize,
    update: &impl Fn(X) -> (S, Row),
) -> (S, Row) {
    if at_once == 1 {
        return scan((), agents, |(), agent| ((), update(agent))).1;
    }
    if at_once == count {
        return vmap(agents, update);
    }
    let blocks = split_first_axis(agents, count / at_once);
    merge_first_axes(scan((), blocks, |(), block| ((), vmap(block, update))).1)
}

/// The leaves of the state and how they are split over the devices. `one` is the state of a single agent.
fn state_leaves<A: Algorithm>(
    algorithm: &A,
    one: &AgentState<A::State>,
    state: &AgentState<A::State>,
    agents: &Agents<A>,
) -> Vec<Leaf> {
    let one = numbered(one.duplicate());
    let mut shared = Shared::new(leaves(&one).len());
    algorithm.share(&one.own, &mut shared);
    let named = leaf_paths(state).into_iter().zip(leaf_types(state));
    let leaf = |((name, array_type), along): ((String, ArrayType), Option<Along>)| {
        let split = match (agents, along) {
            (Agents::Group(..), _) | (Agents::One(_), Some(Along::First)) => Some(0),
            (Agents::One(_), Some(Along::Last)) => Some(array_type.rank() - 1),
            (Agents::One(_), None) => None,
        };
        Leaf { name, array_type, split }
    };
    named.zip(shared.axes).map(leaf).collect()
}
