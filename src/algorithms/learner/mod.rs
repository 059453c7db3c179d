//! From an algorithm to a learner: what every algorithm gets for free.
//!
//! An [`Algorithm`] is written for one agent as pure functions over arrays: its first state, one update. This folder makes the
//! rest of it. `programs` traces what is compiled of it, `device` keeps the state on the devices: `init` makes the state from a
//! seed, `chunk` runs any number of updates up to a compiled maximum as one XLA computation and returns one row of metrics per
//! update. [`One`] is a single agent, whose environments the devices share. [`Group`] is many agents in one program, mapped over
//! their states and over those numbers (hyperparameters, parameters of the environment) in which they differ; each device
//! holds its share of them. [`Staged`] is an algorithm whose numbers change from stage to stage of a run. [`UpdateTrace`] is an
//! update laid open, to find where a value is first not finite.

mod agents;
mod device;
mod group;
mod one;
mod programs;
mod staged;
mod update_trace;

pub use device::{Timing, metadata};
pub use group::{Group, Member};
pub use one::One;
pub use programs::{AgentState, MOST_UPDATES, Start, metrics, modules, update_flops};
pub use staged::Staged;
pub use update_trace::{NonFinite, Place, UpdateTrace};

use std::rc::Rc;

use anyhow::Result;

use crate::array::HostArray;
use crate::envs::AnyEnv;
use crate::lang::{Float, Int, Key, Leaves, Tree, int, positions, replica_id};
use crate::lower::Precision;

use super::curriculum::Schedule;
use super::metrics::Recorder;
use super::policy::Actor;
use super::recording::Record;
use super::schedule::Rates;
use super::self_play::Faced;

/// A learning algorithm on an environment: pure functions over the arrays of one agent.
///
/// With several devices, each runs the same functions on its share of the environments, and they meet where the algorithm
/// says so ([`all_reduce`](crate::lang::all_reduce), [`Recorder`]).
pub trait Algorithm {
    /// Everything that an update changes.
    type State: Tree;
    /// Settings that are inputs of the programs: changing one compiles nothing.
    type Hyper: Tree;
    /// What is exported, and acts.
    type Params: Tree;

    /// As in `--algo`.
    fn name(&self) -> &'static str;

    fn env(&self) -> &dyn AnyEnv;

    /// Environment steps of most updates, over all environments.
    fn timesteps_per_update(&self) -> u64;

    /// The values of the traced settings. It is called in a trace: `float(0.99)`.
    fn hyper(&self) -> Self::Hyper;

    /// When the phases of a curriculum begin, if there is one. Those of the environment are the parameters of [`Algorithm::env`]'s.
    fn schedule(&self) -> Option<Schedule> {
        None
    }

    /// The values of the traced settings in a phase of the curriculum, from 0; the same in all by default. It is called in a trace.
    fn hyper_in(&self, phase: usize) -> Self::Hyper {
        let _ = phase;
        self.hyper()
    }

    /// How the products of an update are computed.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// What its schedules say after so many timesteps and episodes; nothing by default.
    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        let _ = (timesteps, episodes);
        Rates::default()
    }

    /// What has come of the games against each opponent of a pool, if there is one; `fetch` gives the values of an array of
    /// the state.
    ///
    /// # Errors
    /// Whatever `fetch` reports.
    fn faced(&self, state: &Self::State, fetch: Fetch) -> Result<Option<Vec<Faced>>> {
        let _ = (state, fetch);
        Ok(None)
    }

    /// After how many timesteps the agent joins a pool of opponents each time, if there is one.
    fn freeze_every(&self) -> Option<u64> {
        None
    }

    /// Checks that so many devices can share the environments, beside what the recipe checks.
    ///
    /// # Errors
    /// One line that says what would fit.
    fn check_devices(&self, num_devices: usize) -> Result<()> {
        let _ = num_devices;
        Ok(())
    }

    /// Most agents of a group that are worked on at once. More do not make better use of a core, and what they compute on the way
    /// leaves its cache.
    fn agents_at_once(&self) -> usize {
        1
    }

    /// The state before the first update.
    fn init(&self, inputs: &Inputs<Self::Hyper>, key: Key) -> Self::State;

    /// One update.
    fn update(&self, inputs: &Inputs<Self::Hyper>, state: Self::State) -> Updated<Self::State>;

    fn params<'a>(&self, state: &'a Self::State) -> &'a Self::Params;

    /// Where else in the state a new agent has its parameters, such as a target network.
    fn copies<'a>(&self, state: &'a Self::State) -> Vec<&'a Self::Params> {
        let _ = state;
        Vec::new()
    }

    /// The key from which the next update draws.
    fn key<'a>(&self, state: &'a Self::State) -> &'a Key;

    /// Says which parts of the state belong to environments, which the devices share; they have copies of the rest.
    fn share(&self, state: &Self::State, shared: &mut Shared);

    /// What acts with the parameters.
    fn actor(&self) -> Rc<dyn Actor>;

    /// What a reader of a parameter file needs to know of the network, by name.
    fn metadata(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Gives the values of an array of a state on the device.
pub type Fetch<'a> = &'a mut dyn FnMut(&Int) -> Result<HostArray>;

/// What an update is given beside the state.
pub struct Inputs<H> {
    pub hyper: H,
    /// The environment's parameters, those of the phase if there is a curriculum.
    pub env: Leaves,
    /// Updates done, i32.
    pub update: Int,
    /// Updates of the whole run, f32.
    pub total_updates: Float,
    /// Devices that share the environments.
    pub num_devices: usize,
    pub record: Record,
}

impl<H> Inputs<H> {
    /// The number of this device among those that share the environments, i32. A device that shares agents has all
    /// environments of each.
    #[track_caller]
    pub fn device(&self) -> Int {
        if self.num_devices == 1 { int(0) } else { replica_id() }
    }

    /// The share of the run that is done, from 0 to 1.
    #[track_caller]
    pub fn done_share(&self) -> Float {
        self.update.as_f32() / self.total_updates
    }

    /// The share of the run that is done when this update is.
    #[track_caller]
    pub fn share_after(&self) -> Float {
        (self.update + 1).as_f32() / self.total_updates
    }
}

/// What an update gives.
pub struct Updated<S> {
    pub state: S,
    pub metrics: Recorder,
    /// What was computed on the way.
    pub trace: UpdateTrace,
}

/// Collects which leaves of a state belong to environments, and along which axis the devices' parts follow each other.
pub struct Shared {
    axes: Vec<Option<Along>>,
}

#[derive(Clone, Copy)]
enum Along {
    First,
    Last,
}

impl Shared {
    fn new(leaves: usize) -> Shared {
        Shared { axes: vec![None; leaves] }
    }

    /// Arrays that have the environments first, as networks do.
    pub fn first<T: Tree>(&mut self, part: &T) {
        self.mark(part, Along::First);
    }

    /// Arrays that have the environments last, as states of environments do.
    pub fn last<T: Tree>(&mut self, part: &T) {
        self.mark(part, Along::Last);
    }

    fn mark<T: Tree>(&mut self, part: &T, along: Along) {
        positions(part).into_iter().for_each(|leaf| self.axes[leaf] = Some(along));
    }
}

/// Declares the traced settings of an algorithm: a tree of f32 scalars with the fields of that name of a struct of settings, which
/// are numbers or switches. `traced!(Hyper of Settings { lr, gamma })` makes `Hyper` and `Settings::hyper(&self) -> Hyper`. Trees of
/// further numbers, which a run may have or not, are what methods of the settings give: `and { floor: Option<Floor> }` calls
/// `Settings::floor(&self)`.
#[macro_export]
macro_rules! traced {
    (
        $(#[$about:meta])* $name:ident of $settings:ident { $($field:ident),* $(,)? }
        $(and { $($part:ident: $tree:ty),* $(,)? })?
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy)]
        pub struct $name {
            $(pub $field: $crate::lang::Float,)*
            $($(pub $part: $tree,)*)?
        }
        $crate::tree!($name { $($field,)* $($($part),*)? });

        impl $settings {
            /// The values of the traced settings, in a trace.
            #[track_caller]
            pub fn hyper(&self) -> $name {
                $name {
                    $($field: $crate::lang::float(f64::from(self.$field)),)*
                    $($($part: self.$part(),)*)?
                }
            }

            /// The names of the settings that are traced: two agents that differ in them alone share a program.
            pub const TRACED: &'static [&'static str] = &[$(stringify!($field)),*];
        }
    };
}
