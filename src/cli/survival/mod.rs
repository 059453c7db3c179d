//! `lockstep eval` by lives: agents that live on in an environment which says how that is evaluated.
//!
//! What the flags mean stands with the environment (`envs::survival`). Here its protocol is carried out, for each kind of agent and
//! each run; the results are written as JSON files ([`results`]) and read back as a [`summary`] for the table and the report. While it goes
//! on a file beside them says how it stands ([`course`]).

pub mod course;
mod report;
mod results;
pub mod summary;

pub use report::{FIGURES, REPORT, REPORTS, RESULTS, command, run as run_report};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use crate::algorithms::lives::{Counted, Evaluator, MAX_ENVS, MAX_STEPS};
use crate::algorithms::policy::Choice;
use crate::config::{UsageError, usage};
use crate::envs::survival::{Protocol, Subject, Survival};
use crate::envs::{Entry, default_params, name_and_value};
use crate::output::tell;
use crate::trainer::run_dir::Process;
use crate::trainer::status::{State, now};
use crate::trainer::{Stage, thousands};

use super::device::Device;
use super::player::{Place, Player};
use super::{App, print, print_line};
use course::{Course, Recorder};
use results::{Energy, Outcome, Results};
use summary::Summary;

/// How often at most is told of a run how far it has come.
const TOLD: usize = 20;

/// An evaluation that was asked for.
pub struct Request<'a> {
    pub app: &'a App,
    pub entry: Entry,
    pub survival: Survival,
    pub protocol: Protocol,
    /// Where players are looked for, and the options of the environment that were given.
    pub place: Place,
    pub device: Device,
    /// Print the results as one JSON object.
    pub json: bool,
}

impl Request<'_> {
    /// Evaluates, writes the files and prints a table.
    ///
    /// # Errors
    /// One line; a [`UsageError`] if what is asked for makes no sense.
    pub fn run(&self) -> Result<()> {
        self.check().map_err(usage)?;
        let subjects = &self.protocol.subjects;
        let players = subjects.iter().map(|subject| self.player(subject)).collect::<Result<Vec<_>>>()?;
        let mut recorder = Recorder::begin(&self.protocol.output, self.course())?;
        let outcome = self.evaluate(&players, &mut recorder);
        recorder.end(&outcome);
        outcome
    }

    fn evaluate(&self, players: &[Player], recorder: &mut Recorder) -> Result<()> {
        let mut results = Results::new(self);
        let (client, stage) = self.device.open(&format!("tracing lives in {}", self.entry.name))?;
        for (subject, player) in self.protocol.subjects.iter().zip(players) {
            let env = player.env.build();
            let Protocol { envs, temperature, .. } = self.protocol;
            let column = |name| env.spec().metrics.iter().position(|metric| metric.name == name);
            let columns = [self.survival.good.metric, self.survival.bad.metric].map(column);
            let [Some(good), Some(bad)] = columns else {
                bail!("{} has no metric that counts what is eaten", self.entry.name)
            };
            let counted = Counted { good, bad };
            let evaluator = Evaluator::new(&client, &*env, &player.policy, counted, envs, temperature)?;
            let energy = Energy::of(&self.survival, &default_params(&*env));
            for (run, seed) in self.protocol.seeds.list().into_iter().enumerate() {
                let (begun, mut told) = (Instant::now(), 0);
                recorder.run(subject.kind, run + 1, seed);
                stage.change(&self.progress(subject.kind, run, 0));
                let living = evaluator.run(self.protocol.steps, seed, &mut |steps, living| {
                    recorder.add(subject.kind, steps, living);
                    let part = steps * TOLD / self.protocol.steps;
                    if part > told {
                        told = part;
                        stage.change(&self.progress(subject.kind, run, steps));
                    }
                })?;
                let seconds = begun.elapsed().as_secs_f64();
                let outcome = Outcome { kind: subject.kind, seed, living, energy, seconds };
                results.add(outcome, player)?;
            }
        }
        self.finish(&results, stage)
    }

    /// Where it stands before it has begun.
    fn course(&self) -> Course {
        let Protocol { subjects, envs, steps, seeds, .. } = &self.protocol;
        Course {
            env: self.entry.name.to_owned(),
            state: State::Running,
            error: None,
            start_time: now(),
            last_heartbeat: now(),
            process: Process::current(),
            runs: seeds.list().len(),
            envs: *envs,
            steps: *steps,
            modes: subjects.iter().map(|subject| subject.kind.to_owned()).collect(),
            curves: BTreeMap::new(),
        }
    }

    fn check(&self) -> Result<()> {
        let Protocol { envs, steps, .. } = self.protocol;
        ensure!(envs <= MAX_ENVS, "there are {envs} environments; there can be at most {MAX_ENVS}");
        ensure!(steps <= MAX_STEPS, "there are {steps} steps; there can be at most {MAX_STEPS}");
        // The squares of the steps of all lives are added up in 64 bits.
        let most = (u64::MAX / (steps as u64 * steps as u64)) as usize;
        ensure!(
            envs <= most,
            "there are {envs} environments; with {steps} steps there can be at most {most}"
        );
        Ok(())
    }

    /// Who lives as this subject, in the environment of the protocol.
    fn player(&self, subject: &Subject) -> Result<Player> {
        let Subject { kind, model, advice, options } = subject;
        let name_of = |option: &String| name_and_value(option).0.to_owned();
        for own in &self.place.env_set {
            if let Some(set) = options.iter().find(|option| name_of(option) == name_of(own)) {
                bail!(UsageError(format!(
                    "--env-set {own} contradicts {set}, which the evaluation says; leave it out"
                )));
            }
        }
        if model.ends_with(".safetensors") && !Path::new(model).exists() {
            bail!(UsageError(format!("there is no model {model}; {advice}")));
        }
        let place = Place {
            checkpoint_dir: self.place.checkpoint_dir.clone(),
            env: Some(self.entry.name.to_owned()),
            env_set: [&self.place.env_set[..], options].concat(),
        };
        let choice = if self.protocol.deterministic { Choice::Greedy } else { Choice::Sample };
        let player = Player::named(self.app, model, &place, choice)?;
        match (self.survival.kind_of)(&player.metadata).filter(|trained| trained != kind) {
            Some(trained) => bail!(UsageError(format!(
                "{model} is a model of {trained}, not of {kind}; evaluate it as what it is, or choose another one"
            ))),
            None => Ok(player),
        }
    }

    fn progress(&self, kind: &str, run: usize, steps: usize) -> String {
        let Protocol { seeds, steps: all, .. } = &self.protocol;
        let [steps, all] = [steps, *all].map(|steps| thousands(steps as u64));
        match seeds.list().len() {
            1 => format!("{kind}: {steps} of {all} steps"),
            runs => format!("{kind}, run {} of {runs}: {steps} of {all} steps", run + 1),
        }
    }

    fn finish(&self, results: &Results, stage: Stage) -> Result<()> {
        let document = results.document()?;
        let output = &self.protocol.output;
        results::write(output, &document)?;
        drop(stage);
        tell(&format!("the results are in {}", output.display()));
        let summary = Summary::read(self.app, &document)?;
        if let Some(directory) = &self.protocol.report {
            report::write_new(directory, &document, &summary)?;
        }
        match self.json {
            true => print_line(Value::to_string(&document)),
            false => print(&summary.table()),
        }
    }
}
