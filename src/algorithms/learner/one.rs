//! One agent, as the trainer sees it. With several devices each holds its share of the environments and a copy of the rest.

use anyhow::{Context, Result};

use crate::algorithms::curriculum::Reached;
use crate::algorithms::evaluation::{Episode, Evaluator, Plan};
use crate::algorithms::metrics::Metric;
use crate::algorithms::policy::{Choice, Policy};
use crate::algorithms::recording::{Ended, ended_of};
use crate::algorithms::reel;
use crate::algorithms::schedule::Rates;
use crate::algorithms::self_play::Faced;
use crate::algorithms::{Learner, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::lang::positions;
use crate::runtime::Client;

use super::agents::Agents;
use super::device::{Engine, LearnerInfo, reseed};
use super::{Algorithm, NonFinite, Start, Timing};

/// An agent of an algorithm on the devices of a client.
pub struct One<A: Algorithm> {
    algorithm: A,
    engine: Engine<A>,
    info: LearnerInfo,
    evaluator: Option<Evaluator>,
    /// What the steps of the last chunk came to, if that is recorded.
    steps: Option<Vec<f32>>,
    /// The episodes that ended in each of its updates, if they are recorded.
    episodes: Option<Vec<Vec<Ended>>>,
}

impl<A: Algorithm> One<A> {
    /// Traces and compiles the programs and makes the first state.
    ///
    /// # Errors
    /// One line: sizes that do not divide, or whatever the compiler or the device reports.
    pub fn new(client: &Client, algorithm: A, start: &Start) -> Result<One<A>> {
        let (engine, info) = Engine::new(client, &Agents::One(&algorithm), start)?;
        Ok(One { algorithm, engine, info, evaluator: None, steps: None, episodes: None })
    }

    /// How far it has come in a curriculum.
    fn reached(&self) -> Result<Reached> {
        Engine::<A>::reached(&self.engine.structure, |leaf| self.engine.fetch(leaf))
    }

    /// What acts with the parameters as they are.
    fn policy(&self, choice: Choice) -> Result<Policy> {
        let params = Learner::params(self)?.into_iter().map(|(_, array)| array).collect();
        Ok(Policy::new(self.algorithm.actor(), params, choice))
    }
}

impl<A: Algorithm> Learner for One<A> {
    fn metrics(&self) -> &[Metric] {
        &self.info.metrics
    }

    fn max_updates(&self) -> usize {
        self.info.max_updates
    }

    fn timesteps_per_update(&self) -> u64 {
        self.info.timesteps_per_update
    }

    fn timing(&self) -> Option<Timing> {
        Some(self.info.timing)
    }

    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        self.info.check_updates(updates)?;
        let told = self.engine.run(updates)?;
        self.steps = told.steps(0)?.map(|steps| steps.as_slice().to_vec());
        self.episodes = told.episodes(0)?.map(|table| ended_of(&table));
        let metrics = told.metrics(0)?;
        let rows = metrics.as_slice::<f32>().chunks(self.info.metrics.len());
        Ok(rows.map(<[f32]>::to_vec).collect())
    }

    fn steps(&self) -> Option<&[f32]> {
        self.steps.as_deref()
    }

    fn episodes(&self) -> Option<Vec<Vec<Ended>>> {
        self.episodes.clone()
    }

    fn reel(&self, choice: Choice, unseen: &[&str]) -> Result<reel::Plan> {
        Ok(reel::Plan::new(&self.engine.client, self.algorithm.env(), &self.policy(choice)?, unseen))
    }

    fn state(&self) -> Result<NamedArrays> {
        let types = self.engine.types().into_iter().enumerate();
        types.map(|(leaf, (name, _))| Ok((name, self.engine.fetch(leaf)?))).collect()
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        self.engine.load(state)
    }

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.engine.types()
    }

    fn environment_axes(&self) -> Vec<Option<usize>> {
        (0..self.engine.types().len()).map(|leaf| self.engine.environment_axis(leaf)).collect()
    }

    fn reseed(&mut self, attempt: u32) -> Result<()> {
        let mut state = self.state()?;
        for leaf in positions(self.algorithm.key(&self.engine.structure.own)) {
            state[leaf].1 = reseed(&state[leaf].1, attempt);
        }
        self.load_state(&state)
    }

    fn params(&self) -> Result<NamedArrays> {
        let params = self.engine.params(&self.algorithm).into_iter();
        params.map(|(leaf, name)| Ok((name, self.engine.fetch(leaf)?))).collect()
    }

    fn load_params(&mut self, params: &[(String, HostArray)]) -> Result<()> {
        let state = self.engine.with_params(&self.algorithm, self.state()?, params)?;
        self.engine.load(&state)
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.info.metadata.clone()
    }

    fn updates_to_phase_end(&self, update: u64) -> Result<u64> {
        self.info.updates_to_phase_end(update, || self.reached())
    }

    fn phase(&self, update: u64) -> Result<Option<usize>> {
        self.info.phase(update, || self.reached())
    }

    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        self.algorithm.rates(timesteps, episodes)
    }

    fn freeze_every(&self) -> Option<u64> {
        self.algorithm.freeze_every()
    }

    fn faced(&self) -> Result<Option<Vec<Faced>>> {
        let Engine { structure, .. } = &self.engine;
        self.algorithm.faced(&structure.own, &mut |array| self.engine.fetch(positions(array)[0]))
    }

    fn device_memory(&self) -> Option<u64> {
        self.engine.client.memory_in_use(0)
    }

    fn spec(&self) -> &EnvSpec {
        &self.info.spec
    }

    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> Result<()> {
        let policy = self.policy(choice)?;
        let env = self.algorithm.env();
        self.evaluator = Some(Evaluator::new(&self.engine.client, env, &policy, episodes)?);
        Ok(())
    }

    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Vec<Episode>>> {
        let evaluator = self.evaluator.as_ref().context("the evaluation was not prepared")?;
        let state = self.engine.state();
        evaluator.run_with(&|| state.lend_part(|state| self.algorithm.params(&state.own)), plan, go_on)
    }

    fn diagnose(&self) -> Result<Option<NonFinite>> {
        self.engine.diagnose(&self.algorithm)
    }
}
