//! One run while a process works on it.
//!
//! A [`Session`] owns the run directory, the logs and the progress of one run, and borrows its learner. [`train`] is its
//! whole life; a group gives the chunks to several sessions itself. What a session does stands in rooms of their own:
//!
//! - `begin`: a new run, or one that goes on from a checkpoint
//! - `chunks`: how long a chunk is, and what follows each
//! - `by_hand`: the same for a program that says itself what is done next
//! - `follow`: windows of environment steps, and replays
//! - `opponents`: the pool of those that an agent meets
//! - `report`: evaluations, logs, alerts and the status, for those who follow the run
//! - `save`: checkpoints and parameters, on the way and at the end
//! - `rollback`: what happens when a value is no finite number
//! - `end`: the last save, and what became of the run

mod begin;
mod by_hand;
mod chunks;
mod end;
mod follow;
mod opponents;
mod report;
mod rollback;
mod save;

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

pub use chunks::CHUNK_SECONDS;
pub use end::Outcome;
pub use end::{Ended, SENDING};

use super::console::Console;
use super::evaluation::Best;
use super::health::Health;
use super::journal::Journal;
use super::live::Live;
use super::logs::Logs;
use super::metrics::Row;
use super::pool::Pool;
use super::progress::Progress;
use super::recent::RecentEpisodes;
use super::recovery::Snapshot;
use super::resumed::Resumed;
use super::run_dir::RunDir;
use super::settings::{ENV_SET, Settings};
use super::signals::Signals;
use super::status::{self, Machine, Phases};
use super::trackers::Trackers;
use super::utilisation::Watcher;
use super::windows::Windows;
use crate::algorithms::Learner;

/// Trains until `total_timesteps`, or until a signal or a file `stop` asks to end early.
///
/// `config` is the resolved configuration as text, kept in the run directory and in each checkpoint. `facts` go into
/// `meta.json`: device, versions, program hash. A resumed run continues in the directory of its checkpoint.
///
/// # Errors
/// One line: the run directory cannot be used, the checkpoint does not fit, the device failed, or the final save
/// failed. A periodic save that fails is a warning; the checkpoint before it stays.
///
/// With `live`, a screen in this process says what there is to say, and the second signal is its business.
pub fn train(
    settings: &Settings,
    config: &str,
    facts: &[(String, Value)],
    learner: &mut dyn Learner,
    resumed: Option<Resumed>,
    live: Option<Live>,
) -> Result<Outcome> {
    let job = Job { settings, config, facts, learner: Lent::Borrowed(learner) };
    let mut session = Session::start(job, resumed, live)?;
    let result = session.open().and_then(|()| session.run_chunks());
    session.close(result).wait(Instant::now() + SENDING)
}

/// What a session is to do.
pub struct Job<'a, 'l> {
    pub settings: &'a Settings,
    /// The resolved configuration as text.
    pub config: &'a str,
    /// What `meta.json` says of this process.
    pub facts: &'a [(String, Value)],
    pub learner: Lent<'l>,
}

/// A learner that is somebody else's, or the session's own.
pub enum Lent<'a> {
    Borrowed(&'a mut dyn Learner),
    Own(Box<dyn Learner>),
}

impl<'a> Deref for Lent<'a> {
    type Target = dyn Learner + 'a;

    fn deref(&self) -> &(dyn Learner + 'a) {
        match self {
            Lent::Borrowed(learner) => &**learner,
            Lent::Own(learner) => &**learner,
        }
    }
}

impl<'a> DerefMut for Lent<'a> {
    fn deref_mut(&mut self) -> &mut (dyn Learner + 'a) {
        match self {
            Lent::Borrowed(learner) => &mut **learner,
            Lent::Own(learner) => &mut **learner,
        }
    }
}

/// Through what a run and people hear of each other while it runs.
pub(super) struct Ears {
    pub console: Console,
    pub signals: Rc<Signals>,
}

/// A run while a process works on it.
pub struct Session<'a> {
    settings: Settings,
    config: String,
    facts: Vec<(String, Value)>,
    learner: Lent<'a>,
    run: RunDir,
    /// The names of all columns of the logs.
    columns: Vec<String>,
    logs: Logs,
    windows: Option<Windows>,
    journal: Option<Journal>,
    pool: Option<Pool>,
    trackers: Trackers,
    console: Console,
    signals: Rc<Signals>,
    /// The checkpoints that signals had asked for when one was last saved for them.
    saves_asked: u64,

    progress: Progress,
    best: Option<Best>,
    num_updates: u64,
    /// Timesteps that were there when this process began.
    timesteps_before: u64,
    start: Instant,
    start_time: String,
    /// When the last chunk ended.
    chunk_end: Instant,
    /// How long an update takes, once one was run.
    seconds_per_update: Option<f64>,
    last_save: Instant,
    /// The update of the newest checkpoint, and its file.
    saved: Option<(u64, PathBuf)>,
    /// Timesteps when the last chunk began.
    chunk_begin: u64,
    timings: Timings,
    /// The same when the last row was logged, and when that was.
    at_last_row: Timings,
    last_row_told: Instant,
    last_heartbeat: Option<Instant>,
    watcher: Watcher,
    /// How busy the machine was at the last look.
    machine: Machine,
    /// When trackers were last told of it.
    machine_told: Instant,
    last_row: Option<Row>,
    /// Whether points of the curves wait to be written.
    curves_wait: bool,
    recent: RecentEpisodes,
    /// The phase of the curriculum that the last update was in.
    last_phase: Option<usize>,
    health: Health,
    snapshot: Option<Snapshot>,
    rollbacks: u32,
}

/// Where the time of this process went, as far as it is no rest.
#[derive(Clone, Copy, Debug, Default)]
struct Timings {
    /// In the learner's updates.
    updates: Duration,
    /// In evaluations and replays.
    evaluations: Duration,
    saves: Duration,
    logs: Duration,
}

impl Timings {
    /// What has come to these since others.
    fn since(self, before: Timings) -> Timings {
        Timings {
            updates: self.updates - before.updates,
            evaluations: self.evaluations - before.evaluations,
            saves: self.saves - before.saves,
            logs: self.logs - before.logs,
        }
    }

    /// The same in seconds, with the rest of a time.
    fn phases(self, total: Duration) -> Phases {
        let Timings { updates, evaluations, saves, logs } = self;
        let other = total.saturating_sub(updates + evaluations + saves + logs);
        let [train, evaluate, save, log, other] =
            [updates, evaluations, saves, logs, other].map(|time| time.as_secs_f64());
        Phases { train, evaluate, save, log, other }
    }
}

impl<'l> Session<'l> {
    /// Begins a new run or takes one up again, as [`train`] does.
    pub fn start(job: Job<'_, 'l>, resumed: Option<Resumed>, live: Option<Live>) -> Result<Session<'l>> {
        let signals = Rc::new(Signals::begin(live.is_none())?);
        let ears = |goal| Ears { console: Console::new(goal, live), signals };
        match resumed {
            None => Session::begin(job, ears),
            Some(resumed) => Session::resume(job, ears, resumed),
        }
    }
}

impl Session<'_> {
    pub fn name(&self) -> String {
        self.run.name()
    }

    /// Where it is kept.
    pub fn directory(&self) -> &Path {
        self.run.path()
    }

    pub fn update(&self) -> u64 {
        self.progress.update
    }

    /// The mean return of the last episodes.
    pub fn mean_return(&self) -> Option<f64> {
        self.recent.mean_return()
    }

    /// What files of parameters say of themselves.
    fn params_metadata(&self) -> Vec<(String, String)> {
        params_metadata(&self.settings, &*self.learner, &self.facts)
    }

    /// Environment steps per second since this process began to train.
    fn steps_per_second(&self) -> f64 {
        let steps = self.progress.timesteps.saturating_sub(self.timesteps_before);
        steps as f64 / self.start.elapsed().as_secs_f64().max(1e-9)
    }
}

/// What files of parameters say of themselves: what the learner knows, the program that plays them, and the options of the
/// environment; and what the settings add.
fn params_metadata(
    settings: &Settings,
    learner: &dyn Learner,
    facts: &[(String, Value)],
) -> Vec<(String, String)> {
    let told = facts.iter().filter(|(key, _)| [status::PROGRAM, ENV_SET].contains(&key.as_str()));
    let told = told.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    learner.params_metadata().into_iter().chain(told).chain(settings.metadata()).collect()
}
