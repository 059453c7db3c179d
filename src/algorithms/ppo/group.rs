//! Many PPO agents in one program: the same settings, one seed each, mapped over in blocks that suit a core's cache.
//!
//! A small network leaves most of a machine idle; many of them side by side do not. The group does the updates
//! of all its agents at once ([`PpoGroup::run`]). Each [`Member`] is one of them, as the trainer sees it: its
//! state has the names and shapes of an agent that is trained alone, so that it can be continued as one.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use crate::algorithms::evaluation::{Episode, Evaluator, Plan};
use crate::algorithms::policy::{Choice, Policy};
use crate::algorithms::{Group, Learner, Metric, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::{AnyEnv, EnvSpec};
use crate::runtime::{Buffer, Client};

use super::engine::{Agents, Engine, Facts, Start, Timing};

/// Agents with the seeds `start.seed`, `start.seed + 1`, ... on the devices of a client, which share them evenly.
pub struct PpoGroup {
    shared: Rc<Shared>,
    num_agents: usize,
}

/// One agent of a group.
pub struct Member {
    shared: Rc<Shared>,
    index: usize,
}

struct Shared {
    facts: Facts,
    evaluator: RefCell<Option<Evaluator>>,
    lanes: RefCell<Lanes>,
}

/// The states of all agents, `[num_agents, ...]`.
struct Lanes {
    engine: Engine,
    /// The leaves that were fetched since the state last changed: members ask for the same ones in turn.
    fetched: Vec<Option<HostArray>>,
}

impl Lanes {
    /// Metrics as `[agent][update][metric]`.
    fn run(&mut self, updates: usize, facts: &Facts) -> Result<Vec<Vec<Vec<f32>>>> {
        ensure!((1..=facts.max_updates).contains(&updates), "a chunk of {updates} updates");
        self.forget();
        let width = facts.metrics.len();
        let mut agents = Vec::new();
        for table in self.engine.run(updates)? {
            let part = table.shape()[1]; // [max_updates, agents of this device, metrics]
            let rows: Vec<&[f32]> = table.as_slice().chunks(width).take(updates * part).collect();
            for agent in 0..part {
                agents.push(rows.iter().skip(agent).step_by(part).map(|row| row.to_vec()).collect());
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

    /// The leaves of one agent with names that are wanted.
    fn lane(&mut self, index: usize, wanted: impl Fn(&str) -> bool) -> Result<NamedArrays> {
        let types = self.lane_types();
        let mut arrays = NamedArrays::new();
        for (leaf, (name, array_type)) in types.into_iter().enumerate().filter(|(_, (name, _))| wanted(name))
        {
            let lane = self.fetch(leaf)?.slice(0, index..index + 1);
            let bytes = lane.to_bytes();
            arrays.push((name, HostArray::from_bytes(&array_type, &bytes).expect("a lane has the size")));
        }
        Ok(arrays)
    }

    /// Replaces the state of one agent.
    fn load_lane(&mut self, index: usize, state: &[(String, HostArray)]) -> Result<()> {
        let mut whole = NamedArrays::new();
        for (leaf, ((name, array_type), (given, array))) in
            self.lane_types().into_iter().zip(state).enumerate()
        {
            ensure!(
                name == *given && array_type == array.array_type(),
                "the array `{given}` does not fit `{name}`"
            );
            let all = self.fetch(leaf)?;
            let mut bytes = all.to_bytes().into_owned();
            let lane = array.to_bytes();
            bytes[index * lane.len()..(index + 1) * lane.len()].copy_from_slice(&lane);
            whole.push((name, HostArray::from_bytes(&all.array_type(), &bytes).expect("as many as before")));
        }
        self.forget();
        self.engine.load(&whole)
    }

    /// Names and types of the state of one agent.
    fn lane_types(&self) -> Vec<(String, ArrayType)> {
        let without_agents = |whole: ArrayType| ArrayType::new(whole.dtype, &whole.shape[1..]);
        self.engine.types().into_iter().map(|(name, whole)| (name, without_agents(whole))).collect()
    }
}

impl PpoGroup {
    /// Traces and compiles the programs and makes the first states of `num_agents` agents.
    ///
    /// # Errors
    /// One line: the devices do not divide the agents, or whatever the compiler or the device reports.
    pub fn new(client: &Client, start: &Start, num_agents: usize) -> Result<PpoGroup> {
        let (engine, facts) = Engine::new(client, start, Agents::Group(num_agents))?;
        let lanes = Lanes { fetched: vec![None; engine.leaves.len()], engine };
        let shared = Shared { facts, evaluator: RefCell::new(None), lanes: RefCell::new(lanes) };
        Ok(PpoGroup { shared: Rc::new(shared), num_agents })
    }

    /// The agents, in the order of their seeds.
    pub fn members(&self) -> Vec<Member> {
        (0..self.num_agents).map(|index| Member { shared: self.shared.clone(), index }).collect()
    }

    /// Compiles what [`Learner::evaluate`] runs: `episodes` episodes in `env`, the agents' environment.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    pub fn prepare_evaluation(&self, env: &dyn AnyEnv, choice: Choice, episodes: usize) -> Result<()> {
        let Facts { activation, spec, .. } = &self.shared.facts;
        let params = self.shared.lanes.borrow_mut().lane(0, is_param)?;
        let policy = Policy::of_network(params, *activation, choice, spec)?;
        let client = &self.shared.lanes.borrow().engine.client;
        let evaluator = Evaluator::new(client, env, &policy, episodes)?;
        *self.shared.evaluator.borrow_mut() = Some(evaluator);
        Ok(())
    }

    pub fn timing(&self) -> Timing {
        self.shared.facts.timing
    }
}

impl Group for PpoGroup {
    fn run(&mut self, updates: usize) -> Result<Vec<Vec<Vec<f32>>>> {
        self.shared.lanes.borrow_mut().run(updates, &self.shared.facts)
    }
}

fn is_param(name: &str) -> bool {
    name.starts_with("params.")
}

impl Learner for Member {
    fn metrics(&self) -> &[Metric] {
        &self.shared.facts.metrics
    }

    fn max_updates(&self) -> usize {
        self.shared.facts.max_updates
    }

    fn timesteps_per_update(&self) -> u64 {
        self.shared.facts.timesteps_per_update
    }

    /// Runs this agent alone. That is seldom, so it may cost as much as for all: the others are put back afterwards.
    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        let lanes = &mut *self.shared.lanes.borrow_mut();
        let leaves: Vec<String> = lanes.engine.leaves.iter().map(|leaf| leaf.name.clone()).collect();
        let mut before = NamedArrays::new();
        for (leaf, name) in leaves.into_iter().enumerate() {
            before.push((name, lanes.fetch(leaf)?.clone()));
        }
        let mut rows = lanes.run(updates, &self.shared.facts)?;
        let own = lanes.lane(self.index, |_| true)?;
        lanes.forget();
        lanes.engine.load(&before)?;
        lanes.load_lane(self.index, &own)?;
        Ok(rows.swap_remove(self.index))
    }

    fn state(&self) -> Result<NamedArrays> {
        self.shared.lanes.borrow_mut().lane(self.index, |_| true)
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        self.shared.lanes.borrow_mut().load_lane(self.index, state)
    }

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.shared.lanes.borrow().lane_types()
    }

    fn params(&self) -> Result<NamedArrays> {
        self.shared.lanes.borrow_mut().lane(self.index, is_param)
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.shared.facts.metadata.clone()
    }

    fn updates_to_phase_end(&self, update: u64) -> u64 {
        self.shared.facts.updates_to_phase_end(update)
    }

    fn phase(&self, update: u64) -> Result<Option<usize>> {
        let fetch = |wanted: &str| self.shared.lanes.borrow_mut().lane(self.index, |name| name == wanted);
        self.shared.facts.phase(update, fetch)
    }

    fn device_memory(&self) -> Option<u64> {
        self.shared.lanes.borrow().engine.client.memory_in_use(0)
    }

    fn spec(&self) -> &EnvSpec {
        &self.shared.facts.spec
    }

    fn evaluate(&self, plan: &Plan) -> Result<Vec<Episode>> {
        let params = self.params()?;
        let client = &self.shared.lanes.borrow().engine.client;
        let evaluator = self.shared.evaluator.borrow();
        let evaluator = evaluator.as_ref().context("the evaluation was not prepared")?;
        let upload = |(_, array): &(String, HostArray)| client.to_device(array, 0);
        let buffers = params.iter().map(upload).collect::<Result<Vec<Buffer>, _>>()?;
        evaluator.run_with(&buffers.iter().collect::<Vec<_>>(), plan)
    }
}
