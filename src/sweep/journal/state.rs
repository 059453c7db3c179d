//! The state of a sweep: what its events have come to.

use anyhow::{Result, bail, ensure};
use toml::{Table, Value};

use super::event::{Event, Point};
use crate::sweep::evidence::{Evidence, Failure, Observation};
use crate::sweep::{Outcome, Plan};

/// What became of a trial.
#[derive(Clone, Debug, PartialEq)]
pub enum Status {
    Running,
    /// Nobody works on it; it is to be begun once more.
    Released,
    Done {
        points: Vec<Point>,
        stopped: bool,
    },
    Failed {
        error: String,
        cost: f64,
    },
}

/// A trial of a sweep.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    /// From 1.
    pub number: u64,
    pub values: Table,
    /// Added to the seed of the settings.
    pub seed: u64,
    pub expected: Option<[f64; 2]>,
    /// From 1.
    pub attempt: u32,
    pub worker: String,
    pub status: Status,
    /// Its run, once it has ended.
    pub run: Option<String>,
}

impl Trial {
    /// What it came to in the end, if it has a score.
    pub fn last(&self) -> Option<Point> {
        match &self.status {
            Status::Done { points, .. } => points.last().copied(),
            _ => None,
        }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.status, Status::Done { .. } | Status::Failed { .. })
    }
}

/// A trial that a worker is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub trial: u64,
    pub attempt: u32,
    pub values: Table,
    pub seed: u64,
}

/// The state of a sweep.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Empty before it began.
    pub name: String,
    /// Settings that all trials have in common.
    pub settings: Table,
    /// The table `[sweep]`.
    pub sweep: Table,
    /// Number n at place n - 1.
    pub trials: Vec<Trial>,
}

impl State {
    /// Takes in an event.
    ///
    /// # Errors
    /// One line: it cannot follow on those before.
    pub fn apply(&mut self, event: Event) -> Result<()> {
        ensure!(
            self.name.is_empty() == matches!(event, Event::Began { .. }),
            "the first event says how the sweep began, and no other one"
        );
        match event {
            Event::Began { name, settings, sweep, .. } => {
                (self.name, self.settings, self.sweep) = (name, settings, sweep)
            }
            Event::Suggested { trial, values, seed, worker, expected, .. } => {
                let number = self.trials.len() as u64 + 1;
                ensure!(trial == number, "trial {trial} where {number} was to come");
                let status = Status::Running;
                self.trials.push(Trial {
                    number,
                    values,
                    seed,
                    expected,
                    attempt: 1,
                    worker,
                    status,
                    run: None,
                });
            }
            Event::Claimed { trial, attempt, worker, .. } => {
                let trial = self.trial(trial)?;
                if !trial.has_ended() {
                    (trial.attempt, trial.worker, trial.status) = (attempt, worker, Status::Running);
                }
            }
            Event::Observed { trial, run, points, stopped, .. } => {
                if points.is_empty() {
                    bail!("trial {trial} was observed and came to nothing");
                }
                self.trial(trial)?.end(run, Status::Done { points, stopped });
            }
            Event::Failed { trial, run, error, cost, .. } => {
                self.trial(trial)?.end(run, Status::Failed { error, cost })
            }
            Event::Released { trial, attempt, .. } => {
                let trial = self.trial(trial)?;
                if !trial.has_ended() && trial.attempt == attempt {
                    trial.status = Status::Released;
                }
            }
        }
        Ok(())
    }

    fn trial(&mut self, number: u64) -> Result<&mut Trial> {
        let place = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match place.and_then(|place| self.trials.get_mut(place)) {
            Some(trial) => Ok(trial),
            None => bail!("there is no trial {number}"),
        }
    }

    /// What `worker` is to run next, at most as many trials as the plan runs side by side: those that nobody works on any more, then new ones.
    /// Gives the events that say so, and the trials; none if none is left to begin.
    pub fn claim(&self, plan: &Plan, worker: &str, gone: &[String]) -> (Vec<Event>, Vec<Claim>) {
        let (mut events, mut claims) = (Vec::new(), Vec::new());
        let is_free = |trial: &&Trial| match trial.status {
            Status::Released => true,
            Status::Running => gone.contains(&trial.worker),
            _ => false,
        };
        for trial in self.trials.iter().filter(is_free).take(plan.parallel) {
            let attempt = trial.attempt + 1;
            events.push(Event::claimed(trial.number, attempt, worker));
            let Trial { number, ref values, seed, .. } = *trial;
            claims.push(Claim { trial: number, attempt, values: values.clone(), seed });
        }
        let (first, room) = (self.trials.len(), plan.parallel - claims.len());
        let mut known: Vec<&Table> = self.trials.iter().map(|trial| &trial.values).collect();
        let suggestions = plan.suggest(&self.evidence(plan), first, room);
        let values: Vec<Table> =
            suggestions.iter().map(|suggestion| plan.space.values(&suggestion.at)).collect();
        for (suggestion, values) in suggestions.iter().zip(&values) {
            // A point that is tried once more is tried with the seed that follows.
            let before = known.iter().filter(|other| **other == values).count() as u64;
            let seed = if suggestion.repeats { before } else { 0 };
            known.push(values);
            let trial = known.len() as u64;
            let expected = suggestion.expected.map(|(worth, cost)| [plan.score(worth), cost]);
            events.push(Event::suggested(trial, values.clone(), seed, worker, expected));
            claims.push(Claim { trial, attempt: 1, values: values.clone(), seed });
        }
        (events, claims)
    }

    /// What the methods know.
    pub fn evidence(&self, plan: &Plan) -> Evidence {
        let mut evidence = Evidence::default();
        for trial in &self.trials {
            let Some(at) = plan.space.point(&trial.values) else { continue };
            match &trial.status {
                Status::Running | Status::Released => evidence.running.push(at),
                Status::Failed { cost, .. } => evidence.failed.push(Failure { at, cost: *cost }),
                Status::Done { points, .. } => {
                    // Where the steps vary, a trial also says what one with fewer steps would have come to.
                    let own =
                        if plan.space.cost().is_some() { &points[..] } else { &points[points.len() - 1..] };
                    evidence.done.extend(own.iter().map(|point| observation(plan, &at, point)));
                }
            }
        }
        evidence
    }
}

fn observation(plan: &Plan, at: &[f64], point: &Point) -> Observation {
    let mut at = at.to_vec();
    if let Some(place) = plan.space.cost() {
        let steps = Value::Integer(point.steps as i64);
        at[place] = plan.space.parameters[place].place(&steps).unwrap_or(at[place]);
    }
    Observation { at, outcome: Outcome { score: plan.worth(point.score), cost: point.cost } }
}

impl Trial {
    /// Of two results the first one stays: a worker that was thought dead may come back.
    fn end(&mut self, run: String, status: Status) {
        if !self.has_ended() {
            (self.run, self.status) = (Some(run), status);
        }
    }
}
