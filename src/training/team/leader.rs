//! The learner of rank 0, which stands for those of all processes; and what the others do meanwhile.
//!
//! Parameters, optimizer and counters are the same everywhere, so rank 0 gives its own. What belongs to environments lies where they are:
//! a state is put together from the parts of all ranks, in their order, and taken apart again.

use anyhow::{Context, Result, anyhow, bail, ensure};

use super::Team;
use super::wire::{Answer, Order, Word, arrays_of, types_of};
use crate::algorithms::evaluation::{Episode, Plan};
use crate::algorithms::learner::{NonFinite, Timing};
use crate::algorithms::policy::Choice;
use crate::algorithms::recording::Ended;
use crate::algorithms::reel;
use crate::algorithms::schedule::Rates;
use crate::algorithms::self_play::Faced;
use crate::algorithms::{Learner, Metric, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;
use crate::trainer::Signals;

/// The learner of rank 0, and through it those of all others.
pub struct Leader<'a> {
    own: Box<dyn Learner>,
    team: &'a Team,
}

impl<'a> Leader<'a> {
    pub fn new(own: Box<dyn Learner>, team: &'a Team) -> Leader<'a> {
        Leader { own, team }
    }

    /// Has all others do something, and does it.
    fn together<T>(&self, order: Order, own: impl FnOnce(&dyn Learner) -> Result<T>) -> Result<T> {
        self.team.tell(&Word::Order(order))?;
        own(&*self.own).map_err(|error| self.team.explain(error))
    }

    /// The answers of the other ranks, in their order.
    fn answers(&self) -> Result<Vec<(Answer, Vec<u8>)>> {
        let mut answers: Vec<Option<(Answer, Vec<u8>)>> = (1..self.team.place.size).map(|_| None).collect();
        while answers.iter().any(Option::is_none) {
            if let Some((rank, Word::Answer(answer), arrays)) = self.team.hear()? {
                answers[rank - 1] = Some((answer, arrays));
            }
        }
        Ok(answers.into_iter().flatten().collect())
    }

    /// Sends each other rank its part of some arrays, by an order that goes with it.
    fn send_parts(
        &self,
        arrays: &[(String, HostArray)],
        order: impl Fn(Vec<(String, ArrayType)>) -> Order,
        part: impl Fn(&[(String, HostArray)], usize) -> NamedArrays,
    ) -> Result<()> {
        for (line, hello) in &self.team.shared.lines {
            let own = part(arrays, hello.rank);
            let said = line.say_with(&Word::Order(order(types_of(&own))), &own);
            said.map_err(|error| self.team.explain(error.into()))?;
        }
        Ok(())
    }

    /// What of a whole state is on the devices of a rank.
    fn part_of(&self, state: &[(String, HostArray)], rank: usize) -> NamedArrays {
        let part = |((name, array), axis): (&(String, HostArray), Option<usize>)| {
            let array = match axis {
                None => array.clone(),
                Some(axis) => {
                    let size = array.shape()[axis] / self.team.place.size;
                    array.slice(axis, rank * size..(rank + 1) * size)
                }
            };
            (name.clone(), array)
        };
        state.iter().zip(self.own.environment_axes()).map(part).collect()
    }
}

impl Learner for Leader<'_> {
    fn metrics(&self) -> &[Metric] {
        self.own.metrics()
    }

    fn max_updates(&self) -> usize {
        self.own.max_updates()
    }

    fn timesteps_per_update(&self) -> u64 {
        self.own.timesteps_per_update()
    }

    fn timing(&self) -> Option<Timing> {
        self.own.timing()
    }

    fn run(&mut self, updates: usize) -> Result<Vec<Vec<f32>>> {
        self.team.tell(&Word::Order(Order::Run { updates }))?;
        self.own.run(updates).map_err(|error| self.team.explain(error))
    }

    fn steps(&self) -> Option<&[f32]> {
        self.own.steps()
    }

    fn episodes(&self) -> Option<Vec<Vec<Ended>>> {
        self.own.episodes()
    }

    fn reel(&self, choice: Choice, unseen: &[&str]) -> Result<reel::Plan> {
        self.own.reel(choice, unseen)
    }

    fn state(&self) -> Result<NamedArrays> {
        let own = self.together(Order::State, |learner| learner.state())?;
        let mut parts = vec![own];
        for (answer, bytes) in self.answers()? {
            let Answer::State(types) = answer else { bail!(OUT_OF_TURN) };
            parts.push(arrays_of(&types, &bytes).context(OUT_OF_TURN)?);
        }
        ensure!(parts.iter().all(|part| part.len() == parts[0].len()), OUT_OF_TURN);
        let whole = |(leaf, axis): (usize, Option<usize>)| {
            let (name, first) = &parts[0][leaf];
            let array = match axis {
                None => first.clone(),
                Some(axis) => {
                    let arrays: Vec<HostArray> = parts.iter().map(|part| part[leaf].1.clone()).collect();
                    HostArray::concatenate(axis, &arrays)
                }
            };
            (name.clone(), array)
        };
        Ok(self.own.environment_axes().into_iter().enumerate().map(whole).collect())
    }

    fn load_state(&mut self, state: &[(String, HostArray)]) -> Result<()> {
        let types = self.state_types();
        ensure!(types_of(state) == types, "these arrays are no state of this learner");
        self.send_parts(state, Order::Load, |state, rank| self.part_of(state, rank))?;
        let own = self.part_of(state, 0);
        self.own.load_state(&own)
    }

    fn state_types(&self) -> Vec<(String, ArrayType)> {
        let whole = |((name, mut array_type), axis): ((String, ArrayType), Option<usize>)| {
            axis.into_iter().for_each(|axis| array_type.shape[axis] *= self.team.place.size);
            (name, array_type)
        };
        self.own.state_types().into_iter().zip(self.own.environment_axes()).map(whole).collect()
    }

    fn environment_axes(&self) -> Vec<Option<usize>> {
        self.own.environment_axes()
    }

    fn reseed(&mut self, attempt: u32) -> Result<()> {
        self.team.tell(&Word::Order(Order::Reseed { attempt }))?;
        self.own.reseed(attempt)
    }

    fn params(&self) -> Result<NamedArrays> {
        self.own.params()
    }

    fn load_params(&mut self, params: &[(String, HostArray)]) -> Result<()> {
        self.own.load_params(params)?; // first, for it says what does not fit
        self.send_parts(params, Order::LoadParams, |params, _| params.to_vec())
    }

    fn params_metadata(&self) -> Vec<(String, String)> {
        self.own.params_metadata()
    }

    fn updates_to_phase_end(&self, update: u64) -> Result<u64> {
        self.own.updates_to_phase_end(update)
    }

    fn phase(&self, update: u64) -> Result<Option<usize>> {
        self.own.phase(update)
    }

    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        self.own.rates(timesteps, episodes)
    }

    fn faced(&self) -> Result<Option<Vec<Faced>>> {
        self.own.faced()
    }

    fn freeze_every(&self) -> Option<u64> {
        self.own.freeze_every()
    }

    fn device_memory(&self) -> Option<u64> {
        self.own.device_memory()
    }

    fn spec(&self) -> &EnvSpec {
        self.own.spec()
    }

    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> Result<()> {
        self.own.prepare_evaluation(choice, episodes)
    }

    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Vec<Episode>>> {
        self.own.evaluate(plan, go_on)
    }

    fn diagnose(&self) -> Result<Option<NonFinite>> {
        let own = self.together(Order::Diagnose, |learner| learner.diagnose())?;
        for (rank, (answer, _)) in (1..).zip(self.answers()?) {
            if let (None, Answer::Diagnosis(Some(found))) = (&own, answer) {
                bail!("it is on the devices of rank {rank}: {found}");
            }
        }
        Ok(own)
    }
}

const OUT_OF_TURN: &str = "another rank speaks out of turn, which is a fault of lockstep";

impl Team {
    /// Does what rank 0 says until it says that all is done.
    ///
    /// # Errors
    /// One line: the device failed, or another process is lost.
    pub fn follow(&self, learner: &mut dyn Learner) -> Result<()> {
        let signals = Signals::begin(true)?;
        let (mut stop_is_told, mut saves) = (false, signals.saves_asked());
        loop {
            if signals.stop_is_asked() && !std::mem::replace(&mut stop_is_told, true) {
                self.tell(&Word::Stop)?;
            }
            if signals.saves_asked() > saves {
                saves = signals.saves_asked();
                self.tell(&Word::Save)?;
            }
            match self.hear()? {
                None => {}
                Some((_, Word::End, _)) => return Ok(()),
                Some((_, Word::Order(order), arrays)) => {
                    self.obey(learner, order, &arrays).map_err(|error| self.explain(error))?;
                }
                Some(_) => bail!(OUT_OF_TURN),
            }
        }
    }

    fn obey(&self, learner: &mut dyn Learner, order: Order, bytes: &[u8]) -> Result<()> {
        let arrays = |types: &[(String, ArrayType)]| arrays_of(types, bytes).context(OUT_OF_TURN);
        match order {
            Order::Run { updates } => learner.run(updates).map(drop),
            Order::Load(types) => learner.load_state(&arrays(&types)?),
            Order::LoadParams(types) => learner.load_params(&arrays(&types)?),
            Order::Reseed { attempt } => learner.reseed(attempt),
            Order::State => {
                let state = learner.state()?;
                self.answer(Answer::State(types_of(&state)), &state)
            }
            Order::Diagnose => {
                let found = learner.diagnose()?;
                self.answer(Answer::Diagnosis(found.map(|found| found.to_string())), &[])
            }
        }
    }

    fn answer(&self, answer: Answer, arrays: &[(String, HostArray)]) -> Result<()> {
        let (line, _) = &self.shared.lines[0];
        line.say_with(&Word::Answer(answer), arrays).map_err(|error| self.explain(anyhow!(error)))
    }
}
