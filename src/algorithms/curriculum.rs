//! A curriculum: the parameters of the environment change in the course of training, from an easy game to the full one.
//!
//! The phases are the environment's own ([`AnyEnv::phases`]); a [`Schedule`] says when each begins: at its timestep, or when
//! the one before it is mastered. The parameters of all phases are inputs of the programs, side by side, and an update takes
//! those of its phase. So a new phase compiles nothing. Which phase an update is in follows from its number, or from the
//! [`PhaseProgress`], a part of the training state: all devices begin a phase with the same update, and so does a run that is
//! resumed, however the updates are divided into chunks. Episodes that are running go on under the new parameters.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::algorithms::{NamedArrays, count};
use crate::array::{ArrayType, HostArray};
use crate::envs::{AnyEnv, default_params, phases};
use crate::lang::{Float, Int, Leaves, int, select, take_tree};

/// The metric that says in which phase an update was, from 1.
pub const METRIC: &str = "curriculum/phase";

/// A phase is mastered after so many updates in a row with a mean return that is good enough (rules, section 11).
const GOOD_UPDATES: i32 = 20;

/// A phase that is not mastered ends after so many updates.
const MOST_UPDATES: i32 = 300;

/// A phase that is mastered ends with an update whose number is a multiple of this: there chunks end, so that the state at
/// the end of a phase can be kept.
const ENDS: u64 = 10;

/// The setting: whether there is a curriculum, and when its phases begin. As text `off`, `return`, or timesteps with commas
/// between; in a file the timesteps are a list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Value", try_from = "Value")]
pub enum Curriculum {
    #[default]
    Off,
    /// A phase begins when the one before it is mastered.
    Return,
    /// The timesteps at which each phase but the first begins.
    At(Vec<u64>),
}

/// A [`Curriculum`] in a file.
#[derive(Clone, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"off\", \"return\" or a list of timesteps")]
enum Value {
    Word(String),
    Timesteps(Vec<u64>),
}

impl From<Curriculum> for Value {
    fn from(curriculum: Curriculum) -> Value {
        match curriculum {
            Curriculum::At(timesteps) => Value::Timesteps(timesteps),
            Curriculum::Off | Curriculum::Return => Value::Word(curriculum.to_string()),
        }
    }
}

impl TryFrom<Value> for Curriculum {
    type Error = String;

    fn try_from(value: Value) -> Result<Curriculum, String> {
        match value {
            Value::Word(word) => word.parse(),
            Value::Timesteps(timesteps) if timesteps.is_empty() => Ok(Curriculum::Off),
            Value::Timesteps(timesteps) => Ok(Curriculum::At(timesteps)),
        }
    }
}

impl FromStr for Curriculum {
    type Err = String;

    fn from_str(text: &str) -> Result<Curriculum, String> {
        match text {
            "off" => Ok(Curriculum::Off),
            "return" => Ok(Curriculum::Return),
            _ => match text.split(',').map(count::parse).collect() {
                Ok(timesteps) => Ok(Curriculum::At(timesteps)),
                Err(_) => Err("expected return, off or timesteps such as 10000000,20000000".into()),
            },
        }
    }
}

impl fmt::Display for Curriculum {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Curriculum::Off => f.write_str("off"),
            Curriculum::Return => f.write_str("return"),
            Curriculum::At(timesteps) => {
                let numbers: Vec<String> = timesteps.iter().map(u64::to_string).collect();
                f.write_str(&numbers.join(","))
            }
        }
    }
}

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
    /// When the mean return of the episodes has been above these values for some time, or after many updates.
    Returns(Vec<f64>),
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
            Begins::Returns(returns) => (returns.len(), "curriculum_returns names", "returns"),
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
            Begins::Returns(_) => None,
        }
    }

    /// How many updates follow the first `update` ones until a phase may end.
    pub fn updates_to_an_end(&self, update: u64) -> u64 {
        match &self.begins {
            Begins::Updates(updates) => updates
                .iter()
                .filter(|&&start| start > update)
                .map(|start| start - update)
                .min()
                .unwrap_or(u64::MAX),
            Begins::Returns(_) => ENDS - update % ENDS,
        }
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
    let begins = match &schedule.begins {
        Begins::Updates(updates) => {
            let updates = updates.iter().map(|&update| i32::try_from(update).unwrap_or(i32::MAX)).collect();
            HostArray::new(&[phases(env).len() - 1], updates)
        }
        Begins::Returns(returns) => {
            HostArray::new(&[returns.len()], returns.iter().map(|&value| value as f32).collect())
        }
    };
    let first = HostArray::scalar(schedule.first as i32 - 1);
    let mut inputs = vec![("first".to_owned(), first), ("begins".to_owned(), begins)];
    inputs.extend(side_by_side(&phases(env)));
    Ok(inputs)
}

/// The parameters of the phases along a first axis.
fn side_by_side(phases: &[NamedArrays]) -> impl Iterator<Item = (String, HostArray)> {
    phases[0].iter().enumerate().map(|(i, (name, first))| {
        let of_one = first.array_type();
        let whole = ArrayType::new(of_one.dtype, [&[phases.len()], &of_one.shape[..]].concat());
        let bytes: Vec<u8> = phases.iter().flat_map(|phase| phase[i].1.to_bytes().into_owned()).collect();
        (name.clone(), HostArray::from_bytes(&whole, &bytes).expect("the phases have the same parameters"))
    })
}

/// The environment's parameters in one update, and the number of their phase from 0.
pub struct Phase {
    pub number: Int,
    pub params: Leaves,
}

/// The phase of the update with the number `update` (from 0) among [`inputs`] with a schedule. `progress` is that of the state,
/// if phases end by return.
#[track_caller]
pub fn phase(inputs: &Leaves, update: Int, progress: Option<PhaseProgress>) -> Phase {
    let (first, begins, params) = split(inputs);
    let number = match progress {
        Some(progress) => progress.phase,
        None => Int::from_handle(begins).le(update).as_i32().sum([0]).maximum(first),
    };
    Phase { number, params: take_tree(&params, number) }
}

/// The first phase, when the others begin, and the parameters.
#[track_caller]
fn split(inputs: &Leaves) -> (Int, crate::lang::Handle, Leaves) {
    let [first, begins, params @ ..] = &inputs.0[..] else { panic!("these are no inputs of a curriculum") };
    (Int::from_handle(first.1), begins.1, Leaves(params.to_vec()))
}

/// How far a run has come in a curriculum whose phases end by return. All i32 scalars.
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
    /// The phase of the next update, from 0.
    pub fn phase(&self) -> &Int {
        &self.phase
    }

    /// Before the first update.
    #[track_caller]
    pub fn begin(inputs: &Leaves) -> PhaseProgress {
        let (first, ..) = split(inputs);
        PhaseProgress { phase: first, good: int(0), updates: int(0) }
    }

    /// After an update, with which `update` are done. `episodes` ended in it, with this mean return; without any, it counts
    /// neither for nor against the agent.
    #[track_caller]
    pub fn after(self, inputs: &Leaves, update: Int, episodes: Float, mean_return: Float) -> PhaseProgress {
        let (_, begins, _) = split(inputs);
        let returns = Float::from_handle(begins);
        let is_good = mean_return.gt(returns.take(self.phase, 0));
        let good = select(episodes.gt(0.0), select(is_good, self.good + 1, 0), self.good);
        let updates = self.updates + 1;
        let is_over = good.ge(GOOD_UPDATES) | updates.ge(MOST_UPDATES);
        let may_end = (update % ENDS as i32).eq(0) & self.phase.lt(returns.size());
        let ends = is_over & may_end;
        PhaseProgress {
            phase: self.phase + ends.as_i32(),
            good: select(ends, 0, good),
            updates: select(ends, 0, updates),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::DType;
    use crate::envs::hackmatrix::HackMatrix;
    use crate::envs::{CartPole, Erased};
    use crate::interpret::interpret;
    use crate::lang::{Handle, constant, scan, trace};

    fn schedule(first: usize, begins: Begins) -> Schedule {
        Schedule { first, begins }
    }

    #[test]
    fn a_phase_begins_with_its_update() {
        let env = Erased::new(HackMatrix);
        for (first, update, number) in
            [(1, 2, 0), (1, 3, 1), (1, 4, 1), (1, 5, 2), (1, 1000, 2), (2, 0, 1), (3, 4, 2)]
        {
            let schedule = schedule(first, Begins::Updates(vec![3, 5]));
            let inputs = inputs(&env, Some(&schedule)).unwrap();
            let traced =
                trace(&(Leaves::placeholders(&inputs), scalar()), |(inputs, update): (Leaves, Int)| {
                    let Phase { number, params } = phase(&inputs, update, None);
                    (number, params)
                });
            let mut values: Vec<HostArray> = inputs.into_iter().map(|(_, value)| value).collect();
            values.push(HostArray::scalar(update));
            let found = interpret(&traced.graph, &values);
            assert_eq!(found[0], HostArray::scalar(number as i32), "update {update}");
            assert_eq!(schedule.phase_at(update as u64), Some(number + 1));
            let expected: Vec<HostArray> =
                phases(&env)[number].iter().map(|(_, value)| value.clone()).collect();
            assert_eq!(found[1..], expected, "update {update}");
        }
        let all = phases(&env);
        assert_eq!(all[2], default_params(&env), "the last phase is the full game");
        assert_ne!(all[0], all[1]);
    }

    fn scalar() -> Int {
        Int::from_handle(Handle::placeholder(&ArrayType::scalar(DType::I32)))
    }

    /// The phase (from 0) after each of the updates with these returns; an update without one ends no episode.
    fn climb(first: usize, returns: &[Option<f32>]) -> Vec<i32> {
        let schedule = schedule(first, Begins::Returns(vec![-1.0, -1.2]));
        let inputs = inputs(&Erased::new(HackMatrix), Some(&schedule)).unwrap();
        let traced = trace(&Leaves::placeholders(&inputs), |inputs: Leaves| {
            let episodes = returns.iter().map(|x| x.is_some() as i32 as f32).collect::<Vec<f32>>();
            let values = returns.iter().map(|x| x.unwrap_or_default()).collect::<Vec<f32>>();
            let array = |values: Vec<f32>| -> Float { constant(values) };
            let xs = (array(episodes), array(values));
            scan((PhaseProgress::begin(&inputs), int(0)), xs, |(climb, update), (episodes, value)| {
                let climb = climb.after(&inputs, update + 1, episodes, value);
                ((climb, update + 1), climb.phase)
            })
            .1
        });
        let values: Vec<HostArray> = inputs.into_iter().map(|(_, value)| value).collect();
        interpret(&traced.graph, &values)[0].as_slice().to_vec()
    }

    /// After how many updates each new phase begins.
    fn changes(phases: &[i32]) -> Vec<usize> {
        (1..phases.len()).filter(|&i| phases[i] != phases[i - 1]).map(|i| i + 1).collect()
    }

    #[test]
    fn a_phase_ends_when_it_is_mastered_or_has_lasted_long() {
        // Good from update 5 on: 20 in a row are done with update 24, the phase ends with update 30; so does the next with 50.
        let good_from_5: Vec<_> = (1..=70).map(|update| Some(if update < 5 { -1.0 } else { -0.9 })).collect();
        assert_eq!(changes(&climb(1, &good_from_5)), [30, 50]);
        assert_eq!(changes(&climb(2, &good_from_5)), [20], "the last phase does not end");
        // One bad update begins the count again, one without an episode does not.
        let with = |update: usize, value| {
            let mut returns = vec![Some(-0.5); 60];
            returns[update - 1] = value;
            changes(&climb(1, &returns))
        };
        assert_eq!(with(15, Some(-1.0)), [40, 60]);
        assert_eq!(with(15, None), [30, 50]);
        assert_eq!(
            changes(&climb(1, &[Some(-1.1); 700])),
            [300, 320],
            "-1.1 is enough for the second phase only"
        );
    }

    #[test]
    fn chunks_end_where_phases_may_end() {
        let by_time = schedule(1, Begins::Updates(vec![3, 5]));
        assert_eq!([0, 2, 3, 5].map(|update| by_time.updates_to_an_end(update)), [3, 1, 2, u64::MAX]);
        let by_return = schedule(1, Begins::Returns(vec![1.0, 2.0]));
        assert_eq!([0, 9, 10, 11].map(|update| by_return.updates_to_an_end(update)), [10, 1, 10, 9]);
    }

    #[test]
    fn the_schedule_must_fit_the_phases() {
        let error =
            |env: &dyn AnyEnv, first, begins| schedule(first, begins).check(env).unwrap_err().to_string();
        let hackmatrix = Erased::new(HackMatrix);
        assert!(schedule(1, Begins::Updates(vec![0, 10])).check(&hackmatrix).is_ok());
        let found = error(&hackmatrix, 1, Begins::Updates(vec![5]));
        assert!(found.starts_with("curriculum names 1 timesteps, but hackmatrix has 3 phases"), "{found}");
        let found = error(&hackmatrix, 1, Begins::Returns(vec![]));
        assert!(
            found.starts_with("curriculum_returns names 0 returns, but hackmatrix has 3 phases"),
            "{found}"
        );
        let found = error(&hackmatrix, 4, Begins::Returns(vec![1.0, 2.0]));
        assert_eq!(found, "curriculum_start_phase is 4, but hackmatrix has the phases 1 to 3");
        let found = error(&Erased::new(CartPole), 1, Begins::Updates(vec![5]));
        assert_eq!(found, "cartpole has no curriculum; leave out --curriculum");
    }

    #[test]
    fn the_rules_of_hackmatrix_are_those_of_its_layout() {
        let layout = crate::envs::hackmatrix::host::layout::layout();
        let goals: Vec<_> = layout.curriculum.iter().filter_map(|phase| phase.advance.as_ref()).collect();
        let returns: Vec<f64> = goals.iter().map(|goal| (goal.above as f64 * 1e6).round() / 1e6).collect();
        assert_eq!(crate::algorithms::ppo::Settings::default().curriculum_returns, returns);
        assert!(goals.iter().all(|goal| (goal.checks, goal.max_updates) == (GOOD_UPDATES, MOST_UPDATES)));
    }

    #[test]
    fn the_setting_as_text_and_in_files() {
        #[derive(Serialize, Deserialize)]
        struct File {
            curriculum: Curriculum,
        }
        for (text, line, curriculum) in [
            ("off", "curriculum = \"off\"", Curriculum::Off),
            ("return", "curriculum = \"return\"", Curriculum::Return),
            ("10,20", "curriculum = [10, 20]", Curriculum::At(vec![10, 20])),
        ] {
            assert_eq!(text.parse(), Ok(curriculum.clone()));
            assert_eq!(curriculum.to_string(), text);
            assert_eq!(toml::to_string(&File { curriculum: curriculum.clone() }).unwrap().trim(), line);
            assert_eq!(toml::from_str::<File>(line).unwrap().curriculum, curriculum);
        }
        assert_eq!(toml::from_str::<File>("curriculum = []").unwrap().curriculum, Curriculum::Off);
        let found = "often".parse::<Curriculum>().unwrap_err();
        assert_eq!(found, "expected return, off or timesteps such as 10000000,20000000");
    }
}
