//! A curriculum: numbers change in the course of training, such as the parameters of the environment from an easy game to the full
//! one.
//!
//! The phases are the environment's own ([`AnyEnv::phases`]), or the [`Stages`] that a configuration file lists, which may change traced
//! settings of the algorithm, too. A [`Schedule`] says when each begins: with its update, or when the one before it is mastered. The
//! numbers of all phases are inputs of the programs, side by side, and an update takes those of its phase. So a new phase compiles
//! nothing. Which phase an update is in follows from its number, or from the [`PhaseProgress`], a part of the training state: all
//! devices begin a phase with the same update, and so does a run that is resumed, however the updates are divided into chunks.
//! Episodes that are running go on under the new parameters.

mod setting;
mod stage;
#[cfg(test)]
mod tests;

pub use setting::Curriculum;
pub use stage::{Length, Stage, Stages, Until};

use anyhow::{Result, ensure};

use crate::algorithms::NamedArrays;
use crate::algorithms::metrics::{Metric, Recorder};
use crate::array::{ArrayType, HostArray};
use crate::envs::{AnyEnv, default_params, phases};
use crate::lang::{Float, Int, Leaves, float, int, select, take_tree, trace};

/// The metric that says in which phase an update was, from 1.
pub const METRIC: &str = "curriculum/phase";

/// Adds that metric of an update in the phase with this number, from 0.
#[track_caller]
pub fn record(recorder: &mut Recorder, number: Int) {
    let metric = recorder.largest(METRIC, (number + 1).as_f32());
    metric.describe("", "phase of the curriculum, or stage of the run, from 1");
}

/// What is known of it.
pub fn metric() -> Metric {
    let mut list = Vec::new();
    trace(&(), |()| {
        let mut recorder = Recorder::new(float(1.0));
        record(&mut recorder, int(0));
        list = recorder.gather(1).list;
    });
    list.pop().expect("it was just recorded")
}

/// A phase is mastered after so many updates in a row with a mean return that is good enough (rules, section 11).
const GOOD_UPDATES: u64 = 20;

/// A phase of an environment's own that is not mastered ends after so many updates.
const MOST_UPDATES: u64 = 300;

/// A phase that is mastered ends with an update whose number is a multiple of this: there chunks end, so that the state at
/// the end of a phase can be kept.
const ENDS: u64 = 10;

/// When the phases of a run begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// The phase that the run begins in, from 1.
    pub first: usize,
    pub begins: Begins,
}

/// When each phase but the first begins.
#[derive(Clone, Debug, PartialEq)]
pub enum Begins {
    /// With these updates, numbered from 0.
    Updates(Vec<u64>),
    /// When the one before it has come to its end.
    Goals(Vec<Goal>),
}

/// How a phase ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The mean return of the episodes of an update above which it is good; without one, only `most_updates` ends the phase.
    pub above: Option<f64>,
    /// So many good updates in a row end it.
    pub in_a_row: u64,
    /// So many updates end it, good or not; `None` for any number.
    pub most_updates: Option<u64>,
}

impl Goal {
    /// That of an environment's own phase: a return that is reached for some time, or many updates.
    pub fn mastering(above: f64) -> Goal {
        Goal { above: Some(above), in_a_row: GOOD_UPDATES, most_updates: Some(MOST_UPDATES) }
    }

    /// Updates of whose multiples one ends the phase.
    fn every(&self) -> u64 {
        if self.above.is_some() { ENDS } else { 1 }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The phase of the next update, from 0.
    pub phase: usize,
    /// Updates that were in it.
    pub updates: u64,
}

impl Schedule {
    /// Checks that the schedule fits the phases of `env`.
    ///
    /// # Errors
    /// One line: the environment has no curriculum, or another number of phases.
    pub fn check(&self, env: &dyn AnyEnv) -> Result<()> {
        let (name, count) = (env.spec().name, phases(env).len());
        ensure!(count > 0, "{name} has no curriculum; leave out --curriculum");
        let (given, what, meaning) = match &self.begins {
            Begins::Updates(updates) => (updates.len(), "curriculum names", "timesteps"),
            Begins::Goals(goals) => (goals.len(), "curriculum_returns names", "returns"),
        };
        let wanted = count - 1;
        ensure!(
            given == wanted,
            "{what} {given} {meaning}, but {name} has {count} phases, so it takes {wanted}: when each of them but the \
             first begins"
        );
        let first = self.first;
        ensure!(
            (1..=count).contains(&first),
            "curriculum_start_phase is {first}, but {name} has the phases 1 to {count}"
        );
        Ok(())
    }

    /// The phase, from 1, of the update that follows `update` others, where its number says so.
    pub fn phase_at(&self, update: u64) -> Option<usize> {
        match &self.begins {
            Begins::Updates(updates) => {
                Some(self.first.max(1 + updates.iter().filter(|&&start| start <= update).count()))
            }
            Begins::Goals(_) => None,
        }
    }

    /// How many updates follow the first `update` ones until a phase may end. `reached` says how far the run has come, where its state
    /// has to be asked.
    ///
    /// # Errors
    /// Whatever `reached` reports.
    pub fn updates_to_an_end(&self, update: u64, reached: impl FnOnce() -> Result<Reached>) -> Result<u64> {
        let goals = match &self.begins {
            Begins::Updates(updates) => {
                let left = updates.iter().filter(|&&start| start > update).map(|start| start - update);
                return Ok(left.min().unwrap_or(u64::MAX));
            }
            Begins::Goals(goals) => goals,
        };
        let to_multiple = ENDS - update % ENDS;
        if goals.iter().all(|goal| goal.above.is_some()) {
            return Ok(to_multiple);
        }
        let Reached { phase, updates } = reached()?;
        Ok(match goals.get(phase) {
            Some(Goal { above: Some(_), .. }) => to_multiple,
            Some(goal) => goal.most_updates.map_or(u64::MAX, |most| most.saturating_sub(updates).max(1)),
            None => u64::MAX,
        })
    }
}

/// What programs are given as the parameters of `env`: its default ones, or, with a schedule, that and then the parameters of
/// all phases along a first axis.
///
/// # Errors
/// As [`Schedule::check`].
pub fn inputs(env: &dyn AnyEnv, schedule: Option<&Schedule>) -> Result<NamedArrays> {
    let Some(schedule) = schedule else { return Ok(default_params(env)) };
    schedule.check(env)?;
    let mut inputs = vec![("first".to_owned(), HostArray::scalar(schedule.first as i32 - 1))];
    inputs.extend(schedule.begins.inputs());
    let phases = phases(env);
    let names = phases[0].iter().map(|(name, _)| name.clone());
    let values = |phase: &NamedArrays| phase.iter().map(|(_, value)| value.clone()).collect();
    inputs.extend(names.zip(side_by_side(&phases.iter().map(values).collect::<Vec<_>>())));
    Ok(inputs)
}

impl Begins {
    /// What programs are compiled for: whether phases end by goals, and how many there are but the last.
    pub fn kind(&self) -> (bool, usize) {
        match self {
            Begins::Updates(updates) => (false, updates.len()),
            Begins::Goals(goals) => (true, goals.len()),
        }
    }

    /// How many arrays [`Begins::inputs`] gives.
    fn num_inputs(by_goals: bool) -> usize {
        if by_goals { 4 } else { 1 }
    }

    /// The same as arrays with an entry for each phase but the last.
    fn inputs(&self) -> NamedArrays {
        let whole = |name: &str, values: Vec<u64>| {
            let values: Vec<i32> =
                values.into_iter().map(|value| value.try_into().unwrap_or(i32::MAX)).collect();
            (name.to_owned(), HostArray::new(&[values.len()], values))
        };
        let goals = match self {
            Begins::Updates(updates) => return vec![whole("begins", updates.clone())],
            Begins::Goals(goals) => goals,
        };
        let above = goals.iter().map(|goal| goal.above.map_or(f32::INFINITY, |value| value as f32)).collect();
        let of_each = |value: fn(&Goal) -> u64| goals.iter().map(value).collect();
        vec![
            ("above".to_owned(), HostArray::new(&[goals.len()], above)),
            whole("in_a_row", of_each(|goal| goal.in_a_row)),
            whole("most_updates", of_each(|goal| goal.most_updates.unwrap_or(u64::MAX))),
            whole("every", of_each(Goal::every)),
        ]
    }
}

/// The values of the phases, each along a first axis.
///
/// # Panics
/// If they are not the same arrays in each phase.
pub fn side_by_side(phases: &[Vec<HostArray>]) -> Vec<HostArray> {
    let joined = |(i, first): (usize, &HostArray)| {
        let of_one = first.array_type();
        let whole = ArrayType::new(of_one.dtype, [&[phases.len()], &of_one.shape[..]].concat());
        let bytes: Vec<u8> = phases.iter().flat_map(|phase| phase[i].to_bytes().into_owned()).collect();
        HostArray::from_bytes(&whole, &bytes).expect("the phases have the same parameters")
    };
    phases[0].iter().enumerate().map(joined).collect()
}

/// The environment's parameters in one update, and the number of their phase from 0.
pub struct Phase {
    pub number: Int,
    pub params: Leaves,
}

/// The phase of the update with the number `update` (from 0) among [`inputs`] with a schedule. `progress` is that of the state,
/// if phases end by goals.
#[track_caller]
pub fn phase(inputs: &Leaves, update: Int, progress: Option<PhaseProgress>) -> Phase {
    let (leading, params) = inputs.0.split_at(1 + Begins::num_inputs(progress.is_some()));
    let params = Leaves(params.to_vec());
    let number = match progress {
        Some(progress) => progress.phase,
        None => Int::from_handle(leading[1].1).le(update).as_i32().sum([0]).maximum(first(inputs)),
    };
    Phase { number, params: take_tree(&params, number) }
}

/// The first phase, from 0.
#[track_caller]
fn first(inputs: &Leaves) -> Int {
    Int::from_handle(inputs.0[0].1)
}

/// How far a run has come in a curriculum whose phases end by goals. All i32 scalars.
#[derive(Clone, Copy)]
pub struct PhaseProgress {
    /// From 0.
    phase: Int,
    /// Updates in a row whose return was good enough.
    good: Int,
    /// Updates in this phase.
    updates: Int,
}
crate::tree!(PhaseProgress { phase, good, updates });

impl PhaseProgress {
    /// The phase of the next update, from 0, and how many updates were in it: what [`Reached`] says.
    pub fn reached(&self) -> [&Int; 2] {
        [&self.phase, &self.updates]
    }

    /// Before the first update.
    #[track_caller]
    pub fn begin(inputs: &Leaves) -> PhaseProgress {
        PhaseProgress { phase: first(inputs), good: int(0), updates: int(0) }
    }

    /// After an update, with which `update` are done. `episodes` ended in it, with this mean return; without any, it counts
    /// neither for nor against the agent.
    #[track_caller]
    pub fn after(self, inputs: &Leaves, update: Int, episodes: Float, mean_return: Float) -> PhaseProgress {
        let [above, in_a_row, most, every] = [1, 2, 3, 4].map(|place| inputs.0[place].1);
        let above = Float::from_handle(above);
        let [in_a_row, most, every] =
            [in_a_row, most, every].map(|array| Int::from_handle(array).take(self.phase, 0));
        let is_good = mean_return.gt(above.take(self.phase, 0));
        let good = select(episodes.gt(0.0), select(is_good, self.good + 1, 0), self.good);
        let updates = self.updates + 1;
        let is_over = good.ge(in_a_row) | updates.ge(most);
        let may_end = (update % every).eq(0) & self.phase.lt(above.size());
        let ends = is_over & may_end;
        PhaseProgress {
            phase: self.phase + ends.as_i32(),
            good: select(ends, 0, good),
            updates: select(ends, 0, updates),
        }
    }
}
