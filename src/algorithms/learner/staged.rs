//! An algorithm whose numbers change from stage to stage of a run.
//!
//! A stage is the same algorithm with other traced settings, and a phase of its environment. So it is a curriculum like any other to
//! the programs, and works for every algorithm.

use std::rc::Rc;

use anyhow::Result;

use crate::algorithms::curriculum::{Schedule, Stages};
use crate::algorithms::policy::Actor;
use crate::algorithms::schedule::Rates;
use crate::algorithms::self_play::Faced;
use crate::envs::AnyEnv;
use crate::lang::Key;
use crate::lower::Precision;

use super::{Algorithm, Fetch, Inputs, Shared, Updated};

/// An algorithm, and what it is in each stage of a run, if that has some.
pub struct Staged<A> {
    whole: A,
    /// One for each stage.
    stages: Vec<A>,
    schedule: Option<Schedule>,
}

impl<A: Algorithm> Staged<A> {
    /// The algorithm alone.
    pub fn plain(whole: A) -> Staged<A> {
        Staged { schedule: whole.schedule(), whole, stages: Vec::new() }
    }

    /// `whole` is the algorithm as its run has it, `stages` as each of them has it, all on an environment that has a phase for each.
    pub fn new(whole: A, stages: Vec<A>, plan: &Stages) -> Staged<A> {
        Staged { schedule: plan.schedule(whole.timesteps_per_update()), whole, stages }
    }
}

impl<A: Algorithm> Algorithm for Staged<A> {
    type State = A::State;
    type Hyper = A::Hyper;
    type Params = A::Params;

    fn name(&self) -> &'static str {
        self.whole.name()
    }

    fn env(&self) -> &dyn AnyEnv {
        self.whole.env()
    }

    fn timesteps_per_update(&self) -> u64 {
        self.whole.timesteps_per_update()
    }

    fn hyper(&self) -> A::Hyper {
        self.whole.hyper()
    }

    fn schedule(&self) -> Option<Schedule> {
        self.schedule.clone()
    }

    fn hyper_in(&self, phase: usize) -> A::Hyper {
        self.stages.get(phase).map_or_else(|| self.whole.hyper_in(phase), A::hyper)
    }

    fn precision(&self) -> Precision {
        self.whole.precision()
    }

    /// Nothing in stages, which the host does not follow.
    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        if self.stages.is_empty() { self.whole.rates(timesteps, episodes) } else { Rates::default() }
    }

    fn faced(&self, state: &A::State, fetch: Fetch) -> Result<Option<Vec<Faced>>> {
        self.whole.faced(state, fetch)
    }

    fn freeze_every(&self) -> Option<u64> {
        self.whole.freeze_every()
    }

    fn check_devices(&self, num_devices: usize) -> Result<()> {
        self.whole.check_devices(num_devices)
    }

    fn agents_at_once(&self) -> usize {
        self.whole.agents_at_once()
    }

    fn init(&self, inputs: &Inputs<A::Hyper>, key: Key) -> A::State {
        self.whole.init(inputs, key)
    }

    fn update(&self, inputs: &Inputs<A::Hyper>, state: A::State) -> Updated<A::State> {
        self.whole.update(inputs, state)
    }

    fn params<'a>(&self, state: &'a A::State) -> &'a A::Params {
        self.whole.params(state)
    }

    fn copies<'a>(&self, state: &'a A::State) -> Vec<&'a A::Params> {
        self.whole.copies(state)
    }

    fn key<'a>(&self, state: &'a A::State) -> &'a Key {
        self.whole.key(state)
    }

    fn share(&self, state: &A::State, shared: &mut Shared) {
        self.whole.share(state, shared);
    }

    fn actor(&self) -> Rc<dyn Actor> {
        self.whole.actor()
    }

    fn metadata(&self) -> Vec<(String, String)> {
        self.whole.metadata()
    }
}
