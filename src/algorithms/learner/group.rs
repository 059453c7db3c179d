//! Many agents in one program, mapped over in blocks that suit a core's cache.
//!
//! A small network leaves most of a machine idle; many of them side by side do not. The group does the updates
//! of all its agents at once. They may differ in their seeds and in all numbers that are inputs of the program: traced settings, as
//! in a sweep, and the parameters of their environments. Each [`Member`] is one of them, as the trainer sees it: its
//! state has the names and shapes of an agent that is trained alone, so that it can be continued as one.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use crate::algorithms::curriculum::Reached;
use crate::algorithms::evaluation::{Episode, Evaluator, Plan};
use crate::algorithms::metrics::Metric;
use crate::algorithms::policy::{Choice, Policy};
use crate::algorithms::recording::{Ended, ended_of};
use crate::algorithms::schedule::Rates;
use crate::algorithms::self_play::Faced;
use crate::algorithms::{self, Learner, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::lang::{Input, Int, positions};
use crate::runtime::{Buffer, Client};

use super::agents::Agents;
use super::device::{Engine, LearnerInfo, reseed};
use super::{Algorithm, Start, Timing};

/// Agents on the devices of a client, which share them evenly.
pub struct Group<A: Algorithm>(Rc<Common<A>>);

/// One agent of a group.
pub struct Member<A: Algorithm> {
    group: Rc<Common<A>>,
    index: usize,
}

struct Common<A: Algorithm> {
    agents: Vec<A>,
    info: LearnerInfo,
    evaluator: RefCell<Option<Evaluator>>,
    state: RefCell<GroupState<A>>,
}

/// The states of all agents, `[num_agents, ...]`.
struct GroupState<A: Algorithm> {
    engine: Engine<A>,
    /// The leaves that were fetched since the state last changed: members ask for the same ones in turn.
    fetched: Vec<Option<HostArray>>,
    /// Of each agent the episodes that ended in each update of the last chunk, if they are recorded.
    episodes: Vec<Vec<Vec<Ended>>>,
}

impl<A: Algorithm> GroupState<A> {
    /// Metrics as `[agent][update][metric]`.
    fn run(&mut self, updates: usize, info: &LearnerInfo) -> Result<Vec<Vec<Vec<f32>>>> {
        info.check_updates(updates)?;
        self.forget();
        let told = self.engine.run(updates)?;
        let (width, mut agents) = (info.metrics.len(), Vec::new());
        self.episodes.clear();
        for device in 0..told.num_devices() {
            let table = told.metrics(device)?;
            let part = table.shape()[1]; // [updates, agents of this device, metrics]
            let rows: Vec<&[f32]> = table.as_slice().chunks(width).collect();
            let episodes = told.episodes(device)?; // [updates, agents of this device, steps, columns, environments]
            for agent in 0..part {
                agents.push(rows.iter().skip(agent).step_by(part).map(|row| row.to_vec()).collect());
                self.episodes.extend(episodes.as_ref().map(|all| ended_of(&without_axis(all, 1, agent))));
            }
        }
        Ok(agents)
    }

    fn forget(&mut self) {
        self.fetched.iter_mut().for_each(|leaf| *leaf = None);
    }

    /// A leaf of all agents.
    fn fetch(&mut self, leaf: usize) -> Result<&HostArray> {
        if self.fetched[leaf].is_none() {
            self.fetched[leaf] = Some(self.engine.fetch(leaf)?);
        }
        Ok(self.fetched[leaf].as_ref().expect("it was just fetched"))
    }

    /// A leaf of one agent.
    fn fetch_of(&mut self, index: usize, leaf: usize) -> Result<HostArray> {
        Ok(without_axis(self.fetch(leaf)?, 0, index))
    }

    /// The state of one agent.
    fn state_of(&mut self, index: usize) -> Result<NamedArrays> {
        let types = self.agent_types().into_iter().enumerate();
        types.map(|(leaf, (name, _))| Ok((name, self.fetch_of(index, leaf)?))).collect()
    }

    /// Replaces the state of one agent.
    fn load_agent(&mut self, index: usize, state: &[(String, HostArray)]) -> Result<()> {
        let mut whole = NamedArrays::new();
        for (leaf, ((name, array_type), (given, array))) in
            self.agent_types().into_iter().zip(state).enumerate()
        {
            ensure!(
                name == *given && array_type == array.array_type(),
                "the array `{given}` does not fit `{name}`"
            );
            let all = self.fetch(leaf)?;
            let mut bytes = all.to_bytes().into_owned();
            let own = array.to_bytes();
            bytes[index * own.len()..(index + 1) * own.len()].copy_from_slice(&own);
            whole.push((name, HostArray::from_bytes(&all.array_type(), &bytes).expect("as many as before")));
        }
        self.forget();
        self.engine.load(&whole)
    }

    /// Names and types of the state of one agent.
    fn agent_types(&self) -> Vec<(String, ArrayType)> {
        let without_agents = |whole: ArrayType| ArrayType::new(whole.dtype, &whole.shape[1..]);
        self.engine.types().into_iter().map(|(name, whole)| (name, without_agents(whole))).collect()
    }
}

/// What is at one place along an axis.
fn without_axis(all: &HostArray, axis: usize, place: usize) -> HostArray {
    let own = all.slice(axis, place..place + 1);
    let mut shape = own.shape().to_vec();
    shape.remove(axis);
    let array_type = ArrayType::new(own.dtype(), shape);
    HostArray::from_bytes(&array_type, &own.to_bytes()).expect("a part has the size")
}

impl<A: Algorithm> Common<A> {
    fn params(&self, index: usize) -> Result<NamedArrays> {
        let mut state = self.state.borrow_mut();
        let params = state.engine.params(&self.agents[0]).into_iter();
        params.map(|(leaf, name)| Ok((name, state.fetch_of(index, leaf)?))).collect()
    }

    fn prepare_evaluation(&self, choice: Choice, episodes: usize) -> Result<()> {
        let params = self.params(0)?.into_iter().map(|(_, array)| array).collect();
        let policy = Policy::new(self.agents[0].actor(), params, choice);
        let client = self.state.borrow().engine.client.clone();
        let evaluator = Evaluator::new(&client, self.agents[0].env(), &policy, episodes)?;
        *self.evaluator.borrow_mut() = Some(evaluator);
        Ok(())
    }
}

impl<A: Algorithm> Group<A> {
    /// Agents with the seeds `start.seed`, `start.seed + 1`, ...
    ///
    /// # Errors
    /// As [`Group::with_seeds`].
    pub fn new(client: &Client, agents: Vec<A>, start: &Start) -> Result<Group<A>> {
        let seeds: Vec<u64> = (start.seed..).take(agents.len()).collect();
        Group::with_seeds(client, agents, &seeds, start)
    }

    /// Traces and compiles the programs and makes the first states. The agents differ only in their seeds and in numbers that are inputs
    /// of the programs, which are compiled from the first of them. The seed in `start` has no meaning.
    ///
    /// # Errors
    /// One line: the devices do not divide the agents, or whatever the compiler or the device reports.
    pub fn with_seeds(client: &Client, agents: Vec<A>, seeds: &[u64], start: &Start) -> Result<Group<A>> {
        ensure!(agents.len() == seeds.len(), "{} agents have {} seeds", agents.len(), seeds.len());
        let (engine, info) = Engine::new(client, &Agents::Group(&agents, seeds), start)?;
        let state = GroupState { fetched: vec![None; engine.types().len()], episodes: Vec::new(), engine };
        let (evaluator, state) = (RefCell::new(None), RefCell::new(state));
        Ok(Group(Rc::new(Common { agents, info, evaluator, state })))
    }
}

impl<A: Algorithm + 'static> algorithms::Group for Group<A> {
    fn members(&self) -> Vec<Box<dyn Learner>> {
        let member = |index| Box::new(Member { group: self.0.clone(), index }) as Box<dyn Learner>;
        (0..self.0.agents.len()).map(member).collect()
    }

    fn timing(&self) -> Option<Timing> {
        Some(self.0.info.timing)
    }

    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> Result<()> {
        self.0.prepare_evaluation(choice, episodes)
    }

    fn run(&mut self, updates: usize) -> Result<Vec<Vec<Vec<f32>>>> {
        self.0.state.borrow_mut().run(updates, &self.0.info)
    }
}

impl<A: Algorithm> Member<A> {
    /// How far it has come in a curriculum.
    fn reached(&self) -> Result<Reached> {
        let structure = self.group.state.borrow().engine.structure.clone();
        Engine::<A>::reached(&structure, |leaf| self.group.state.borrow_mut().fetch_of(self.index, leaf))
    }
}

impl<A: Algorithm> Learner for Member<A> {
    fn metrics(&self) -> &[Metric] {
        &self.group.info.metrics
    }

    fn max_updates(&self) -> usize {
        self.group.info.max_updates
    }

    fn timesteps_per_update(&self) -> u64 {
        self.group.info.timesteps_per_update
    }

    fn timing(&self) -> Option<Timing> {
        Some(self.group.info.timing)
    }

    fn episodes(&self) -> Option<Vec<Vec<Ended>>> {
        self.group.state.borrow().episodes.get(self.index).cloned()
    }

    /// Runs this agent alone. That is seldom, so it may cost as much as for all: the others are put back afterwards.
    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        let state = &mut *self.group.state.borrow_mut();
        let mut before = NamedArrays::new();
        for (leaf, (name, _)) in state.engine.types().into_iter().enumerate() {
            before.push((name, state.fetch(leaf)?.clone()));
        }
        let mut rows = state.run(updates, &self.group.info)?;
        let own = state.state_of(self.index)?;
        state.forget();
        state.engine.load(&before)?;
        state.load_agent(self.index, &own)?;
        Ok(rows.swap_remove(self.index))
    }

    fn state(&self) -> Result<NamedArrays> {
        self.group.state.borrow_mut().state_of(self.index)
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        self.group.state.borrow_mut().load_agent(self.index, state)
    }

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.group.state.borrow().agent_types()
    }

    fn reseed(&mut self, attempt: u32) -> Result<()> {
        let mut state = self.state()?;
        let key = {
            let shared = self.group.state.borrow();
            positions(self.group.agents[0].key(&shared.engine.structure.own))
        };
        for leaf in key {
            state[leaf].1 = reseed(&state[leaf].1, attempt);
        }
        self.load_state(&state)
    }

    fn params(&self) -> Result<NamedArrays> {
        self.group.params(self.index)
    }

    /// An agent of a group has the arrays of one that is trained alone.
    fn load_params(&mut self, params: &[(String, HostArray)]) -> Result<()> {
        let before = self.state()?;
        let agent = &self.group.agents[self.index];
        let state = self.group.state.borrow().engine.with_params(agent, before, params)?;
        self.load_state(&state)
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.group.info.metadata.clone()
    }

    fn updates_to_phase_end(&self, update: u64) -> Result<u64> {
        self.group.info.updates_to_phase_end(update, || self.reached())
    }

    fn phase(&self, update: u64) -> Result<Option<usize>> {
        self.group.info.phase(update, || self.reached())
    }

    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        self.group.agents[self.index].rates(timesteps, episodes)
    }

    fn freeze_every(&self) -> Option<u64> {
        self.group.agents[self.index].freeze_every()
    }

    fn faced(&self) -> Result<Option<Vec<Faced>>> {
        let (agent, state) = (&self.group.agents[self.index], &self.group.state);
        let structure = state.borrow().engine.structure.clone();
        let mut fetch = |array: &Int| state.borrow_mut().fetch_of(self.index, positions(array)[0]);
        agent.faced(&structure.own, &mut fetch)
    }

    fn device_memory(&self) -> Option<u64> {
        self.group.state.borrow().engine.client.memory_in_use(0)
    }

    fn spec(&self) -> &EnvSpec {
        &self.group.info.spec
    }

    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> Result<()> {
        self.group.prepare_evaluation(choice, episodes)
    }

    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Vec<Episode>>> {
        let params = self.params()?;
        let state = self.group.state.borrow();
        let mut evaluator = self.group.evaluator.borrow_mut();
        let evaluator = evaluator.as_mut().context("the evaluation was not prepared")?;
        evaluator.set_env(&state.engine.client, self.group.agents[self.index].env())?;
        let upload = |(_, array): &(String, HostArray)| state.engine.client.to_device(array, 0);
        let buffers = params.iter().map(upload).collect::<Result<Vec<Buffer>, _>>()?;
        evaluator.run_with(&|| Input::Lend(vec![buffers.iter().collect()]), plan, go_on)
    }
}
