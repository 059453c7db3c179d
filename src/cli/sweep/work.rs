//! A worker: takes trials from the journal, trains them, and writes down what came of them, until there are no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use toml::Table;

use super::points::{curve, downsampled, logged, mean};
use super::referee::{Referee, Running};
use super::setup::{Setup, program_of};
use super::show::{described, score};
use crate::cli::train::train_trials;
use crate::config::Config;
use crate::output::tell;
use crate::runtime::plugin::{self, PluginFile};
use crate::sweep::journal::{Claim, Event, Journal, State, Status, Trial};
use crate::sweep::{COST, Curve, Stopping};
use crate::trainer::status::State as RunState;
use crate::trainer::{Outcome, Signals};

/// How often a worker that has nothing to do looks whether there is something.
const PAUSE: Duration = Duration::from_secs(1);
/// If so many trials failed and none did not, something is wrong with all of them.
const ALL_FAILED: usize = 5;

/// Somebody who works on a sweep.
pub struct Worker<'a> {
    pub program: &'static str,
    pub setup: &'a Setup<'a>,
    pub journal: Journal,
    /// Who it is among the workers.
    pub name: String,
    /// Where its runs are.
    pub directory: PathBuf,
}

/// A claimed trial with the configuration of each of its runs, of which there is at least one.
struct Ready {
    claim: Claim,
    configs: Vec<Config>,
}

impl Ready {
    /// The first run.
    fn config(&self) -> &Config {
        &self.configs[0]
    }

    fn run_name(&self) -> String {
        self.config().run.run_name.clone().unwrap_or_default()
    }
}

impl Worker<'_> {
    /// Works until the sweep is done, or until a signal asks it to stop. Gives the journal back.
    ///
    /// # Errors
    /// One line: the journal cannot be read or written, the device cannot be used, or all trials fail.
    pub fn work(mut self) -> Result<Journal> {
        let signals = Signals::begin(true)?;
        let _here = self.journal.enlist(&self.name)?;
        let run = &self.setup.config(&Table::new(), 0, &self.directory, "trial")?.0.run;
        let plugin = plugin::find(run.device, run.plugin.as_deref())?;
        while !signals.stop_is_asked() {
            let (plan, name) = (&self.setup.plan, &self.name);
            let (claims, waits) = self.journal.update(|state, gone| {
                let (events, claims) = state.claim(plan, name, gone);
                let waits = state.trials.iter().any(|trial| !trial.has_ended());
                Ok((events, (claims, waits)))
            })?;
            if claims.is_empty() {
                if !waits {
                    break;
                }
                thread::sleep(PAUSE); // others are at work, and may die
                continue;
            }
            self.train(claims, &plugin, &signals)?;
        }
        self.journal.refresh()?;
        Ok(self.journal)
    }

    /// Trains trials, those in one group that can be.
    fn train(&mut self, claims: Vec<Claim>, plugin: &PluginFile, signals: &Signals) -> Result<()> {
        let mut groups: BTreeMap<String, Vec<Ready>> = BTreeMap::new();
        for claim in claims {
            match self.ready(&claim) {
                Ok((program, ready)) => groups.entry(program).or_default().push(ready),
                // The values of the trial do not fit together.
                Err(error) => self.fail(&claim, String::new(), &error, 0.0)?,
            }
        }
        for group in groups.into_values() {
            if signals.stop_is_asked() {
                let released =
                    group.iter().map(|ready| Event::released(ready.claim.trial, ready.claim.attempt));
                self.add(released.collect())?;
                continue;
            }
            self.train_group(group, plugin)?;
        }
        self.check_failures()
    }

    /// A claimed trial with its configurations, and the program that they need.
    fn ready(&self, claim: &Claim) -> Result<(String, Ready)> {
        let (name, seeds) = (run_name(&self.journal.state().name, claim), self.setup.plan.seeds as u64);
        let (mut configs, mut program) = (Vec::new(), String::new());
        for number in 0..seeds {
            let name = if seeds == 1 { name.clone() } else { format!("{name}-s{number}") };
            let seed = claim.seed * seeds + number;
            let (config, entry) = self.setup.config(&claim.values, seed, &self.directory, &name)?;
            program = program_of(&config, &entry)?; // the same for all seeds
            configs.push(config);
        }
        Ok((program, Ready { claim: claim.clone(), configs }))
    }

    fn train_group(&mut self, group: Vec<Ready>, plugin: &PluginFile) -> Result<()> {
        let of = self.setup.plan.max_runs;
        for Ready { claim, .. } in &group {
            tell(&format!("trial {} of {of}: {}", claim.trial, described(&claim.values)));
        }
        let configs: Vec<Config> = group.iter().flat_map(|ready| ready.configs.clone()).collect();
        let (count, seeds) = (configs.len(), self.setup.plan.seeds);
        let share = 1.0 / count as f64;
        let (begin, sweep) = (Instant::now(), self.journal.state().name.clone());
        let referee = self.referee(&group);
        let trained = train_trials(self.program, plugin, &sweep, configs);
        let stopped = referee.map(Referee::end).unwrap_or_default();
        let seconds = begin.elapsed().as_secs_f64() * share * seeds as f64;
        let mut outcomes = match trained {
            Ok(outcomes) => outcomes,
            Err(error) => (0..count).map(|_| Err(anyhow!("{error:#}"))).collect(),
        }
        .into_iter();
        for ready in &group {
            // One run that fails fails the trial.
            let own: Result<Vec<Outcome>> =
                outcomes.by_ref().take(seeds).collect::<Vec<_>>().into_iter().collect();
            match own {
                Ok(outcomes) => self.observe(ready, &outcomes, &stopped, share)?,
                Err(error) => self.fail(&ready.claim, ready.run_name(), &error, seconds)?,
            }
        }
        Ok(())
    }

    fn referee(&self, group: &[Ready]) -> Option<Referee> {
        let plan = &self.setup.plan;
        if plan.stopping == Stopping::Never {
            return None;
        }
        let running = group.iter().map(|ready| Running {
            run: self.directory.join(ready.run_name()),
            total: ready.config().run.total_timesteps,
            share: 1.0 / group.len() as f64,
        });
        let state = self.journal.state();
        let ended = state.trials.iter().filter_map(|trial| self.ended_curve(trial, group)).collect();
        Some(Referee::begin(plan, running.collect(), ended))
    }

    /// The curve of a trial that has ended. `group` has the steps of those that do not say how many.
    fn ended_curve(&self, trial: &Trial, group: &[Ready]) -> Option<Curve> {
        let Status::Done { points, .. } = &trial.status else { return None };
        let own = trial.values.get(COST).and_then(toml::Value::as_integer).map(|steps| steps as u64);
        let total = own.or(group.first().map(|ready| ready.config().run.total_timesteps))?;
        Some(curve(&self.setup.plan, points, total))
    }

    /// Writes down what the runs of a trial came to.
    fn observe(
        &mut self,
        ready: &Ready,
        outcomes: &[Outcome],
        stopped: &BTreeSet<PathBuf>,
        share: f64,
    ) -> Result<()> {
        let Claim { trial, attempt, ref values, .. } = ready.claim;
        let (plan, run) = (&self.setup.plan, ready.run_name());
        let is_stopped = stopped.contains(&self.directory.join(&run));
        let ended = outcomes.iter().any(|outcome| outcome.state == RunState::Stopped);
        if ended && !is_stopped {
            return self.add(vec![Event::released(trial, attempt)]); // a person wants it to end
        }
        let curves = outcomes.iter().map(|outcome| logged(&outcome.directory, &plan.metric, share));
        let points = downsampled(&mean(&curves.collect::<Result<Vec<_>>>()?), plan.downsample);
        let Some(last) = points.last().copied() else {
            let error = anyhow!("{} has no value in its run", plan.metric);
            let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
            return self.fail(&ready.claim, run, &error, seconds * share);
        };
        let early = if is_stopped { ", ended early" } else { "" };
        let line = format!(
            "trial {trial}: {} in {:.1} s{early} ({})",
            score(last.score),
            last.cost,
            described(values)
        );
        self.add(vec![Event::observed(trial, attempt, run, points, is_stopped)])?;
        tell(&line);
        Ok(())
    }

    fn fail(&mut self, claim: &Claim, run: String, error: &anyhow::Error, cost: f64) -> Result<()> {
        let error = format!("{error:#}");
        tell(&format!("trial {} failed: {error}", claim.trial));
        self.add(vec![Event::failed(claim.trial, claim.attempt, run, error, cost)])
    }

    fn add(&mut self, events: Vec<Event>) -> Result<()> {
        self.journal.update(|_, _| Ok((events, ())))
    }

    /// Refuses to go on where nothing works.
    fn check_failures(&self) -> Result<()> {
        let State { trials, .. } = self.journal.state();
        let failures: Vec<&String> = trials
            .iter()
            .filter_map(|trial| match &trial.status {
                Status::Failed { error, .. } => Some(error),
                _ => None,
            })
            .collect();
        let has_success = trials.iter().any(|trial| trial.last().is_some());
        match failures.last() {
            Some(error) if !has_success && failures.len() >= ALL_FAILED.min(self.setup.plan.max_runs) => {
                bail!("all {} trials failed, the last with: {error}", failures.len())
            }
            _ => Ok(()),
        }
    }
}

/// What the run of a trial is called.
fn run_name(sweep: &str, claim: &Claim) -> String {
    match claim.attempt {
        1 => format!("{sweep}-t{}", claim.trial),
        attempt => format!("{sweep}-t{}-{attempt}", claim.trial),
    }
}

/// Who this process is among the workers of a sweep.
pub fn worker_name() -> String {
    let process = crate::trainer::run_dir::Process::current();
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let host: String = process.host.chars().take(100).map(plain).collect();
    format!("{host}-{}", process.pid)
}
