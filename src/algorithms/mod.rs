//! Learning algorithms, and what the trainer needs to know of one: the [`Learner`] trait.
//!
//! An algorithm is pure functions over arrays. Once compiled, all that is left of it on the host is a
//! `Learner`: programs, and their state in device buffers. The trainer drives it in chunks, reads one row of
//! metrics per update, and copies the state out when it saves. It never learns which algorithm it drives.

pub mod advantage;
pub mod attribution;
pub mod count;
pub mod curriculum;
pub mod dialect;
pub mod dqn;
pub mod duel;
pub mod evaluation;
pub mod golden;
pub mod gradient;
pub mod learner;
pub mod lives;
pub mod metrics;
pub mod minibatch;
mod muon;
pub mod opening;
pub mod opponents;
pub mod optimizer;
pub mod playback;
pub mod policy;
pub mod positions;
pub mod ppo;
pub mod random;
pub mod recipe;
pub mod recording;
pub mod reel;
pub mod registry;
pub mod replay;
pub mod report;
pub mod rollout;
pub mod schedule;
pub mod scripted;
pub mod self_play;
pub mod uniform;

use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;

use self::evaluation::{Episode, Plan};
use self::learner::{NonFinite, Timing};
pub use self::metrics::Metric;
use self::policy::Choice;
pub use self::recipe::{Agent, Entry, Recipe};
use self::recording::Ended;
pub use self::registry::{Registry, builtin};
use self::schedule::Rates;
use self::self_play::Faced;

/// Arrays with path-like names, such as `params.actor.0.weight`, in the order of the tree they come from.
pub type NamedArrays = Vec<(String, HostArray)>;

/// Compiled programs of an algorithm and their state on the device.
///
/// `run` must be deterministic: the same state and the same total number of updates give the same bits, however
/// the updates are divided into calls. Exact resuming rests on it.
pub trait Learner {
    /// The columns of [`Learner::run`]. [`metrics::TIMESTEPS`] is among them.
    fn metrics(&self) -> &[Metric];

    /// The most updates one call of [`Learner::run`] can do.
    fn max_updates(&self) -> usize;

    /// Environment steps of most updates, over all environments, by which a run is planned. Those that an update had
    /// are among its metrics.
    fn timesteps_per_update(&self) -> u64;

    /// What starting cost, if it was measured.
    fn timing(&self) -> Option<Timing> {
        None
    }

    /// Runs `updates` (1 to [`Learner::max_updates`]) and gives one row of metrics per update.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>>;

    /// What each step of the updates of the last [`Learner::run`] came to over all environments: a row of
    /// [`recording::step_columns`] for each, if that is recorded.
    fn steps(&self) -> Option<&[f32]> {
        None
    }

    /// The episodes that ended in each update of the last [`Learner::run`], or of that of its group, if they are recorded.
    fn episodes(&self) -> Option<Vec<Vec<Ended>>> {
        None
    }

    /// What plays and keeps single episodes with the parameters, those of this moment until it is given others.
    /// Leaves of the environment's state whose names begin with one of `unseen` are not kept.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn reel(&self, choice: Choice, unseen: &[&str]) -> anyhow::Result<reel::Plan> {
        let _ = (choice, unseen);
        anyhow::bail!("this learner plays no single episodes")
    }

    /// Everything needed to continue bit for bit.
    fn state(&self) -> anyhow::Result<NamedArrays>;

    /// Replaces the state. The arrays have the names, types and order of [`Learner::state_types`].
    fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()>;

    /// Names and types of the arrays of [`Learner::state`], in its order.
    fn state_types(&self) -> Vec<(String, ArrayType)>;

    /// For each array of the state, in its order, the axis of the environments; `None` for what belongs to no environment.
    fn environment_axes(&self) -> Vec<Option<usize>> {
        vec![None; self.state_types().len()]
    }

    /// Gives the state other random numbers than it had, the same ones for the same `attempt`.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn reseed(&mut self, attempt: u32) -> anyhow::Result<()>;

    /// The parameters of the networks alone.
    fn params(&self) -> anyhow::Result<NamedArrays>;

    /// Puts other parameters in the place of those of the networks, as a new run may begin with what another one has learned. The
    /// arrays have the names and types of [`Learner::params`], in any order; everything else in the state stays.
    ///
    /// # Errors
    /// One line that names the first array that does not fit; the state is as it was then.
    fn load_params(&mut self, params: &[(String, HostArray)]) -> anyhow::Result<()> {
        let _ = params;
        anyhow::bail!("this learner takes no parameters")
    }

    /// What a reader of the parameters needs to know: environment, network, sizes.
    fn params_metadata(&self) -> Vec<(String, String)>;

    /// How many updates follow the first `update` ones, those that were run, until a phase of a curriculum may end. There the host looks.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn updates_to_phase_end(&self, update: u64) -> anyhow::Result<u64> {
        let _ = update;
        Ok(u64::MAX)
    }

    /// The phase of the curriculum, from 1, that the update after the first `update` ones will be in, those that were run;
    /// `None` without a curriculum.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn phase(&self, update: u64) -> anyhow::Result<Option<usize>> {
        let _ = update;
        Ok(None)
    }

    /// What its schedules say after so many timesteps and episodes of the run.
    fn rates(&self, timesteps: u64, episodes: u64) -> Rates {
        let _ = (timesteps, episodes);
        Rates::default()
    }

    /// What has come of the games against each opponent, if the agent meets a pool of them.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn faced(&self) -> anyhow::Result<Option<Vec<Faced>>> {
        Ok(None)
    }

    /// After how many timesteps the agent joins that pool each time.
    fn freeze_every(&self) -> Option<u64> {
        None
    }

    /// Bytes in use on the first device, where its plugin says so.
    fn device_memory(&self) -> Option<u64> {
        None
    }

    /// The environment.
    fn spec(&self) -> &EnvSpec;

    /// Compiles what [`Learner::evaluate`] runs, for `episodes` episodes.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> anyhow::Result<()> {
        let _ = (choice, episodes);
        Ok(())
    }

    /// Plays whole episodes with the parameters as they are. It leaves no trace in the state, and depends on the
    /// parameters and the plan alone. About once a second it asks whether to `go_on`; nothing if not.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> anyhow::Result<Option<Vec<Episode>>>;

    /// The first value that is not finite among all that the next update will compute. The state stays as it is.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    fn diagnose(&self) -> anyhow::Result<Option<NonFinite>> {
        Ok(None)
    }
}

/// Learners whose updates one program does for all at once.
///
/// Each of them is a [`Learner`] of its own; its `run` goes on with it alone, which need not be fast.
pub trait Group {
    /// The learners, in the order of their seeds.
    fn members(&self) -> Vec<Box<dyn Learner>>;

    /// What starting cost, if it was measured.
    fn timing(&self) -> Option<Timing> {
        None
    }

    /// As [`Learner::prepare_evaluation`], for all of them.
    ///
    /// # Errors
    /// Whatever the compiler or the device reports.
    fn prepare_evaluation(&mut self, choice: Choice, episodes: usize) -> anyhow::Result<()>;

    /// Runs `updates` (1 to [`Learner::max_updates`]) of each learner and gives their rows of metrics, learner by learner.
    ///
    /// # Errors
    /// Whatever the device reports.
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<Vec<f32>>>>;
}
