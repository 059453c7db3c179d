//! Several runs that are trained in lockstep: one program does a chunk of updates for all of their learners.
//!
//! Each run has a session of its own, with its directory, logs and checkpoints, as if it were trained alone; the group
//! gives them the chunks and tells how all of them are. A run that fails leaves the group, the others go on.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Result, anyhow, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::console::{Console, Goal, Pulse};
use super::live::Live;
use super::open_files;
use super::run_dir;
use super::session::{Ears, Ended, Job, Lent, Outcome, SENDING, Session};
use super::settings::Settings;
use super::signals::Signals;
use super::status::State;
use crate::algorithms::{Group, Learner};

/// One run of a group: its settings, its configuration as text, and what goes into its `meta.json`.
pub struct Member {
    pub settings: Settings,
    pub config: String,
    pub facts: Vec<(String, Value)>,
}

/// What became of a group; `train --json` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct GroupOutcome {
    pub group: String,
    pub num_seeds: usize,
    /// Environment steps of all runs in this process.
    pub timesteps: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Environment steps per second of all runs together.
    pub steps_per_second: f64,
    /// The runs that did not fail.
    pub runs: Vec<Outcome>,
    pub failures: Vec<Failure>,
}

/// Why a run left its group.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    pub run: String,
    pub error: String,
}

/// Checks that these runs can begin together, before anything is made or compiled.
///
/// # Errors
/// One line: a name is taken or too long, or so many runs need more open files than the system allows.
pub fn check_group(members: &[Member]) -> Result<()> {
    for Member { settings, .. } in members {
        settings.check()?;
        run_dir::check_is_new(settings)?;
    }
    open_files::reserve(members.len())
}

/// Trains the runs of the group `name`, each until its `total_timesteps`, or until a signal, a file `stop` or the screen at the other
/// end of `live` asks it to end early. The learners are those of `group`, in the order of `members`.
///
/// # Errors
/// One line: there is a run of one of the names, a run directory cannot be used, or the device failed. What happens to
/// one run is told, and is among the failures of the outcome.
pub fn train_group(
    name: &str,
    members: &[Member],
    group: &mut dyn Group,
    learners: &mut [Box<dyn Learner>],
    live: Option<Live>,
) -> Result<GroupOutcome> {
    check_group(members)?;
    let Some((first, learner)) = members.first().zip(learners.first()) else { bail!("a group of no agents") };
    let batch = learner.timesteps_per_update();
    let num_updates = first.settings.num_updates(batch);
    let format = first.settings.log_format;
    let goal = Goal { num_updates, first_update: 0, timesteps_per_update: batch, format };
    let signals = Rc::new(Signals::begin(live.is_none())?);
    let console = Console::new(goal, live);
    let mut going = Vec::new();
    for (index, (Member { settings, config, facts }, learner)) in members.iter().zip(learners).enumerate() {
        let learner = Lent::Borrowed(&mut **learner);
        let name = settings.run_name.clone().unwrap_or_default();
        let ears = |_| Ears { console: console.of_member(name), signals: signals.clone() };
        going.push((index, Session::begin(Job { settings, config, facts, learner }, ears)?));
    }
    let (count, plan) = (going.len(), first.settings.describe_updates(batch));
    console.say(&format!("group {name}: {count} agents, each {plan}"));
    going.iter_mut().try_for_each(|(_, session)| session.open())?;
    console.begin_first_update();
    let outcome = GroupOutcome {
        group: name.into(),
        num_seeds: count,
        timesteps: 0,
        seconds: 0.0,
        steps_per_second: 0.0,
        runs: Vec::new(),
        failures: Vec::new(),
    };
    let log_interval = first.settings.log_interval;
    let start = Instant::now();
    let mut training = Training { console, going, ended: Vec::new(), outcome, batch, log_interval, start };
    let worked = training.work(group);
    training.wait();
    worked.map(|()| training.outcome)
}

/// A group at work.
struct Training<'a> {
    console: Console,
    /// The runs that have not ended, each with its place in the group.
    going: Vec<(usize, Session<'a>)>,
    /// Those that have, in this order, each with its name.
    ended: Vec<(String, Ended)>,
    outcome: GroupOutcome,
    /// Timesteps of one update of one run.
    batch: u64,
    log_interval: u64,
    start: Instant,
}

impl<'a> Training<'a> {
    fn work(&mut self, group: &mut dyn Group) -> Result<()> {
        loop {
            self.end_where(|_, session| session.ending().map(Ok));
            self.end_where(|_, session| session.prepare().err().map(Err));
            let sizes = self.going.iter().map(|(_, session)| session.chunk_size());
            let Some(updates) = sizes.collect::<Result<Vec<_>>>()?.into_iter().min() else { break };
            let begin = Instant::now();
            let rows = match group.run(updates) {
                Ok(rows) => rows,
                Err(error) => {
                    self.end_where(|_, _| Some(Err(anyhow!("{error:#}"))));
                    return Err(error);
                }
            };
            let count = self.outcome.num_seeds;
            ensure!(rows.len() == count, "the program gave metrics of {} agents, not of {count}", rows.len());
            let elapsed = begin.elapsed();
            self.outcome.timesteps += updates as u64 * self.batch * self.going.len() as u64;
            self.end_where(|index, session| session.take(&rows[index], updates, elapsed).err().map(Err));
            self.tell();
        }
        self.console.finish();
        Ok(())
    }

    /// Closes the runs for which `ending` says how they end. None waits for a server, so all are saved soon.
    fn end_where(&mut self, mut ending: impl FnMut(usize, &mut Session<'a>) -> Option<Result<State>>) {
        for (index, mut session) in std::mem::take(&mut self.going) {
            let Some(result) = ending(index, &mut session) else {
                self.going.push((index, session));
                continue;
            };
            let run = session.name();
            let ended = session.close(result);
            if let Some(error) = ended.error() {
                self.console.warn(&format!("{run} has failed: {error:#}"));
            }
            self.ended.push((run, ended));
        }
    }

    /// Waits for what the runs that have ended still send, all of them together: every run is saved by now.
    fn wait(&mut self) {
        let deadline = Instant::now() + SENDING;
        for (run, ended) in self.ended.drain(..) {
            match ended.wait(deadline) {
                Ok(outcome) => self.outcome.runs.push(outcome),
                Err(error) => self.outcome.failures.push(Failure { run, error: format!("{error:#}") }),
            }
        }
    }

    /// Tells how the runs are that have not ended.
    fn tell(&mut self) {
        let outcome = &mut self.outcome;
        outcome.seconds = self.start.elapsed().as_secs_f64();
        outcome.steps_per_second = outcome.timesteps as f64 / outcome.seconds.max(1e-9);
        let Some(update) = self.going.iter().map(|(_, session)| session.update()).max() else { return };
        let mut returns: Vec<f64> =
            self.going.iter().filter_map(|(_, session)| session.mean_return()).collect();
        returns.sort_by(f64::total_cmp);
        let episode_return = returns.get(returns.len() / 2).copied();
        let pulse =
            Pulse { update, steps_per_second: outcome.steps_per_second, episode_return, entropy: None };
        self.console.progress(&pulse);
        if update.is_multiple_of(self.log_interval) {
            let range = returns.first().copied().zip(returns.last().copied());
            self.console.group_row(&pulse, range);
        }
    }
}
