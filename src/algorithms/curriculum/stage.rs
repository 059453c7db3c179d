//! Stages of a run, as a configuration file lists them: what each sets, and when it ends.
//!
//! ```toml
//! [[stages]]
//! env = { max_steps = 100 }
//! lr = 1e-3
//! until = { return = 80, steps = 2_000_000 }
//!
//! [[stages]]
//! until = { updates = 200 }
//!
//! [[stages]]
//! ent_coef = 0.0
//! ```
//!
//! What a stage does not set is as the run has it. A number of steps or updates is that of the stage, and a return is the mean over
//! episodes, which must be above it in [`in_a_row`](Until::in_a_row) updates; of both the first one counts.

use std::fmt;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::algorithms::count;

use super::{Begins, GOOD_UPDATES, Goal, Schedule};

/// The stages of a run; none, or at least two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "Vec<Table>", try_from = "Vec<Table>")]
pub struct Stages(Vec<Stage>);

/// What a stage sets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stage {
    /// Parameters of the environment.
    pub env: Table,
    /// Traced settings of the algorithm.
    pub settings: Table,
    /// When it ends; the last one lasts until the run does.
    pub until: Option<Until>,
}

/// When a stage ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Until {
    /// After so much training in it, if it says so.
    pub length: Option<Length>,
    /// When the mean return of the episodes is above this, if it says so.
    pub mean_return: Option<f64>,
    /// The updates in a row in which that must be so.
    pub in_a_row: u64,
}

/// How long a stage lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Environment steps, as many updates as hold them.
    Steps(u64),
    Updates(u64),
}

impl Stages {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn all(&self) -> &[Stage] {
        &self.0
    }

    /// When each stage but the first begins, if there are some, where an update has so many timesteps.
    pub fn schedule(&self, timesteps_per_update: u64) -> Option<Schedule> {
        let ends: Vec<Until> = self.0.iter().filter_map(|stage| stage.until).collect();
        let updates = |length: Length| match length {
            Length::Steps(steps) => steps.div_ceil(timesteps_per_update),
            Length::Updates(updates) => updates,
        };
        let goal = |until: &Until| Goal {
            above: until.mean_return,
            in_a_row: until.in_a_row,
            most_updates: until.length.map(updates),
        };
        let goals: Vec<Goal> = ends.iter().map(goal).collect();
        let lengths = goals.iter().map(|goal| goal.most_updates.filter(|_| goal.above.is_none()));
        let begins = match lengths.collect::<Option<Vec<u64>>>() {
            Some(lengths) => {
                let sums = lengths.into_iter().scan(0u64, |sum, length| {
                    *sum = sum.saturating_add(length);
                    Some(*sum)
                });
                Begins::Updates(sums.collect())
            }
            None => Begins::Goals(goals),
        };
        (!self.is_empty()).then_some(Schedule { first: 1, begins })
    }
}

impl From<Stages> for Vec<Table> {
    fn from(stages: Stages) -> Vec<Table> {
        stages.0.into_iter().map(Table::from).collect()
    }
}

impl TryFrom<Vec<Table>> for Stages {
    type Error = String;

    fn try_from(tables: Vec<Table>) -> Result<Stages, String> {
        let count = tables.len();
        if count == 1 {
            return Err(
                "there is one stage; what it sets can be set for the whole run, and stages are at least two"
                    .into(),
            );
        }
        let mut stages = Vec::new();
        for (table, number) in tables.into_iter().zip(1..) {
            let about = |problem: String| format!("stage {number}: {problem}");
            let stage = Stage::try_from(table).map_err(about)?;
            match (&stage.until, number == count) {
                (None, false) => {
                    let problem = "it has no until, such as until = { steps = 1000000 }; only the last stage may lack it";
                    return Err(about(problem.into()));
                }
                (Some(_), true) => {
                    return Err(about(
                        "it is the last stage, which lasts until the run ends; leave out until".into(),
                    ));
                }
                _ => stages.push(stage),
            }
        }
        Ok(Stages(stages))
    }
}

impl From<Stage> for Table {
    fn from(Stage { env, mut settings, until }: Stage) -> Table {
        if !env.is_empty() {
            settings.insert("env".into(), env.into());
        }
        settings.extend(until.map(|until| ("until".to_owned(), Table::from(until).into())));
        settings
    }
}

impl TryFrom<Table> for Stage {
    type Error = String;

    fn try_from(mut settings: Table) -> Result<Stage, String> {
        let until = settings.remove("until").map(Until::try_from).transpose()?;
        let env = match settings.remove("env") {
            None => Table::new(),
            Some(Value::Table(env)) => env,
            Some(other) => {
                return Err(format!(
                    "env is {other}; write parameters of the environment as env = {{ NAME = VALUE }}"
                ));
            }
        };
        Ok(Stage { env, settings, until })
    }
}

impl Stage {
    /// The parameters of the environment, each as `NAME=VALUE`.
    pub fn env_options(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        self.env.iter().map(|(name, value)| format!("{name}={}", text(value))).collect()
    }
}

/// What it sets, and until when: `lr = 0.001, env.max_steps = 100, until return = 80.0 in 20 updates in a row`.
impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let own = self.settings.iter().map(|(name, value)| format!("{name} = {value}"));
        let env = self.env.iter().map(|(name, value)| format!("env.{name} = {value}"));
        let mut parts: Vec<String> = own.chain(env).collect();
        if parts.is_empty() {
            parts.push("everything as the run has it".into());
        }
        parts.extend(self.until.map(|until| format!("until {until}")));
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let goal = self
            .mean_return
            .map(|value| format!("the mean return is above {value} in {} updates in a row", self.in_a_row));
        let length = self.length.map(|length| match length {
            Length::Steps(steps) => format!("{} steps are done in it", count::thousands(steps)),
            Length::Updates(updates) => format!("{} updates are done in it", count::thousands(updates)),
        });
        f.write_str(&goal.into_iter().chain(length).collect::<Vec<_>>().join(" or "))
    }
}

impl From<Until> for Table {
    fn from(Until { length, mean_return, in_a_row }: Until) -> Table {
        let whole = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
        let length = length.map(|length| match length {
            Length::Steps(steps) => ("steps", whole(steps)),
            Length::Updates(updates) => ("updates", whole(updates)),
        });
        let goal = mean_return.map(|value| [("return", value.into()), ("in_a_row", whole(in_a_row))]);
        let parts = length.into_iter().chain(goal.into_iter().flatten());
        parts.map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl TryFrom<Value> for Until {
    type Error = String;

    fn try_from(value: Value) -> Result<Until, String> {
        const KINDS: &str = "until takes steps, updates or return, such as { steps = 1000000 }";
        let Value::Table(mut table) = value else { return Err(format!("until is {value}; {KINDS}")) };
        let mut take = |key: &str| table.remove(key).map(|value| whole(key, value)).transpose();
        let (steps, updates, in_a_row) = (take("steps")?, take("updates")?, take("in_a_row")?);
        let mean_return = table.remove("return").map(number).transpose()?;
        if let Some(key) = table.keys().next() {
            return Err(format!("until has no {key}; {KINDS}"));
        }
        let length = match (steps, updates) {
            (Some(_), Some(_)) => return Err("until has steps and updates; leave out one of them".into()),
            (steps, updates) => steps.map(Length::Steps).or(updates.map(Length::Updates)),
        };
        match (length, mean_return, in_a_row) {
            (None, None, _) => Err(format!("until says nothing; {KINDS}")),
            (_, None, Some(_)) => Err("until has in_a_row, which belongs to a return".into()),
            _ => Ok(Until { length, mean_return, in_a_row: in_a_row.unwrap_or(GOOD_UPDATES) }),
        }
    }
}

/// A whole number, at least 1, as a file may write it.
fn whole(key: &str, value: Value) -> Result<u64, String> {
    let wrong = format!("until.{key} is {value}; it must be a whole number from 1 to {}", i64::MAX);
    let number = count::deserialize(value).ok().filter(|number| (1..=i64::MAX as u64).contains(number));
    number.ok_or(wrong)
}

/// A finite number.
fn number(value: Value) -> Result<f64, String> {
    let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
    number
        .filter(|number| number.is_finite())
        .ok_or(format!("until.return is {value}; it must be a finite number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct File {
        stages: Stages,
    }

    fn read(text: &str) -> Result<Stages, String> {
        toml::from_str::<File>(text).map(|file| file.stages).map_err(|error| error.message().to_owned())
    }

    const THREE: &str = "[[stages]]\nlr = 0.01\nenv.max_steps = 100\nuntil = { return = 80, steps = \"2M\" }\n\
                         [[stages]]\nuntil.updates = 200\n[[stages]]\nent_coef = 0.0\n";

    #[test]
    fn stages_are_read_and_written() {
        let stages = read(THREE).unwrap();
        let [first, second, last] = stages.all() else { panic!("{stages:?}") };
        assert_eq!(first.env_options(), ["max_steps=100"]);
        assert_eq!(first.settings, Table::from_iter([("lr".to_owned(), 0.01.into())]));
        let until = Until { length: Some(Length::Steps(2_000_000)), mean_return: Some(80.0), in_a_row: 20 };
        assert_eq!(first.until, Some(until));
        assert_eq!(second.until.unwrap().length, Some(Length::Updates(200)));
        assert_eq!(last.until, None);
        let again = toml::to_string(&File { stages: stages.clone() }).unwrap();
        assert_eq!(read(&again), Ok(stages.clone()), "{again}");
        let said = "lr = 0.01, env.max_steps = 100, until the mean return is above 80 in 20 updates in a row or 2,000,000 steps \
                    are done in it";
        assert_eq!(first.to_string(), said);
        assert_eq!(second.to_string(), "everything as the run has it, until 200 updates are done in it");
    }

    #[test]
    fn lengths_add_up_where_no_return_matters() {
        let begins = |text: &str| read(text).unwrap().schedule(64).unwrap().begins;
        let lengths = "[[stages]]\nuntil.steps = 100\n[[stages]]\nuntil.updates = 3\n[[stages]]\n";
        assert_eq!(begins(lengths), Begins::Updates(vec![2, 5]));
        let Begins::Goals(goals) = begins(THREE) else { panic!("a return was wanted") };
        let first = Goal { above: Some(80.0), in_a_row: 20, most_updates: Some(31_250) };
        assert_eq!(goals, [first, Goal { above: None, in_a_row: 20, most_updates: Some(200) }]);
        assert_eq!(Stages::default().schedule(64), None);
    }

    #[test]
    fn mistakes_are_named() {
        let two = |first: &str, last: &str| {
            read(&format!("[[stages]]\n{first}\n[[stages]]\n{last}\n")).unwrap_err()
        };
        let wrong = |first: &str| two(first, "");
        assert!(read("[[stages]]\nlr = 1\n").unwrap_err().starts_with("there is one stage"));
        assert!(wrong("lr = 1").starts_with("stage 1: it has no until, such as"));
        assert!(two("until.steps = 5", "until.steps = 5").starts_with("stage 2: it is the last stage"));
        assert_eq!(
            wrong("until = 5"),
            "stage 1: until is 5; until takes steps, updates or return, such as { steps = 1000000 }"
        );
        assert!(wrong("until.hours = 5").starts_with("stage 1: until has no hours; until takes steps"));
        assert!(wrong("until = {}").starts_with("stage 1: until says nothing"));
        assert!(
            wrong("until.steps = 0")
                .starts_with("stage 1: until.steps is 0; it must be a whole number from 1")
        );
        assert!(wrong("until.updates = 1.5").starts_with("stage 1: until.updates is 1.5"));
        assert!(wrong("until = { steps = 1, updates = 1 }").contains("leave out one of them"));
        assert!(wrong("until.return = nan").starts_with("stage 1: until.return is nan"));
        assert!(wrong("until = { steps = 1, in_a_row = 2 }").contains("belongs to a return"));
        assert!(wrong("env = 3\nuntil.steps = 1").starts_with("stage 1: env is 3; write parameters"));
    }
}
