//! Runs that are trained together.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::algorithms::evaluation::{Episode, Plan};
use crate::algorithms::policy::Choice;
use crate::algorithms::{Group, Metric, NamedArrays};
use crate::array::{ArrayType, HostArray};
use crate::envs::EnvSpec;

/// A learner whose updates a group does.
struct Seat {
    metrics: Vec<Metric>,
    spec: EnvSpec,
    fake: Rc<RefCell<Fake>>,
}

impl Learner for Seat {
    fn metrics(&self) -> &[Metric] {
        &self.metrics
    }
    fn max_updates(&self) -> usize {
        self.fake.borrow().max_updates()
    }
    fn timesteps_per_update(&self) -> u64 {
        100
    }
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<f32>>> {
        self.fake.borrow_mut().run(updates)
    }
    fn state(&self) -> anyhow::Result<NamedArrays> {
        self.fake.borrow().state()
    }
    fn load_state(&mut self, state: &[(String, HostArray)]) -> anyhow::Result<()> {
        self.fake.borrow_mut().load_state(state)
    }
    fn state_types(&self) -> Vec<(String, ArrayType)> {
        self.fake.borrow().state_types()
    }
    fn reseed(&mut self, attempt: u32) -> anyhow::Result<()> {
        self.fake.borrow_mut().reseed(attempt)
    }
    fn params(&self) -> anyhow::Result<NamedArrays> {
        self.fake.borrow().params()
    }
    fn params_metadata(&self) -> Vec<(String, String)> {
        self.fake.borrow().params_metadata()
    }
    fn spec(&self) -> &EnvSpec {
        &self.spec
    }
    fn evaluate(&self, plan: &Plan, go_on: &mut dyn FnMut() -> bool) -> anyhow::Result<Option<Vec<Episode>>> {
        self.fake.borrow().evaluate(plan, go_on)
    }
}

/// Fakes that are trained together.
struct FakeGroup(Vec<Rc<RefCell<Fake>>>);

impl Group for FakeGroup {
    fn members(&self) -> Vec<Box<dyn Learner>> {
        let seat = |fake: &Rc<RefCell<Fake>>| -> Box<dyn Learner> {
            let Fake { metrics, spec, .. } = Fake::new();
            Box::new(Seat { metrics, spec, fake: fake.clone() })
        };
        self.0.iter().map(seat).collect()
    }
    fn prepare_evaluation(&mut self, _choice: Choice, _episodes: usize) -> anyhow::Result<()> {
        Ok(())
    }
    fn run(&mut self, updates: usize) -> anyhow::Result<Vec<Vec<Vec<f32>>>> {
        self.0.iter().map(|fake| fake.borrow_mut().run(updates)).collect()
    }
}

/// Trains the runs `run-s0`, `run-s1`, ..., each with these settings.
pub fn train_fakes(settings: &Settings, fakes: Vec<Fake>) -> anyhow::Result<GroupOutcome> {
    let member = |index| {
        let settings = Settings { run_name: Some(format!("run-s{index}")), ..settings.clone() };
        Member { settings, config: "env = \"fake\"\n".into(), facts: Vec::new() }
    };
    let members: Vec<_> = (0..fakes.len()).map(member).collect();
    let mut group = FakeGroup(fakes.into_iter().map(|fake| Rc::new(RefCell::new(fake))).collect());
    let mut seats = group.members();
    train_group("run", &members, &mut group, &mut seats, None)
}

#[test]
fn a_run_of_a_group_is_the_run_alone_and_one_that_fails_leaves_the_others() {
    let (dir, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let poisoned = Fake { poisoned: 25, ..Fake::new() };
    let outcome = train_fakes(&settings(dir.path(), 47), vec![Fake::new(), poisoned, Fake::new()]).unwrap();
    let completed: Vec<_> = outcome.runs.iter().map(|outcome| outcome.run.as_str()).collect();
    assert_eq!(completed, ["run-s0", "run-s2"]);
    assert_same_run(&uninterrupted(alone.path()), &dir.path().join("run-s2"));
    let [Failure { run, error }] = &outcome.failures[..] else { panic!("{:?}", outcome.failures) };
    assert!(run == "run-s1" && error.starts_with("train/entropy is NaN at update 25"), "{run}: {error}");
    let failed = dir.path().join("run-s1");
    assert_eq!(status::Status::read(&failed).unwrap().state, status::State::Failed);
    assert!(failed.join("nonfinite_24.ckpt").exists());
    let again = train_fakes(&settings(dir.path(), 47), vec![Fake::new()]).unwrap_err().to_string();
    assert!(again.starts_with("there is a run run-s0 already; choose another --run-name"), "{again}");
}

#[test]
fn a_run_of_a_group_is_rolled_back_alone() {
    let (dir, alone) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let settings = Settings { save_interval: Some(10), on_nan: OnNan::Rollback, ..settings(dir.path(), 47) };
    let poisoned = |poisoned| Fake { poisoned, ..Fake::new() };
    let outcome = train_fakes(&settings, vec![Fake::new(), poisoned(28), poisoned(5), Fake::new()]).unwrap();
    // The metrics of this learner do not depend on its key, so nothing else differs.
    let whole = uninterrupted(alone.path());
    let completed: Vec<_> = outcome.runs.iter().map(|outcome| outcome.run.as_str()).collect();
    assert_eq!(completed, ["run-s0", "run-s3", "run-s1"], "who was rolled back is the last");
    completed.iter().for_each(|run| assert_same_run(&whole, &dir.path().join(run)));
    assert!(dir.path().join("run-s1/nonfinite_27.ckpt").exists());
    let [Failure { run, error }] = &outcome.failures[..] else { panic!("{:?}", outcome.failures) };
    assert_eq!((run.as_str(), error.as_str()), ("run-s2", "there is no checkpoint to go back to"));
}

#[test]
fn one_run_of_a_group_is_stopped_by_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("run-s1").join(run_dir::STOP_FILE);
    let stopping = Fake::new().before_chunk(move |done| {
        if done == 20 {
            fs::write(&file, "").unwrap();
        }
    });
    let outcome = train_fakes(&settings(dir.path(), 47), vec![Fake::new(), stopping]).unwrap();
    let ends: Vec<_> = outcome.runs.iter().map(|run| (run.run.as_str(), run.state, run.update)).collect();
    let [stopped, completed] = [status::State::Stopped, status::State::Completed];
    assert_eq!(ends, [("run-s1", stopped, 30), ("run-s0", completed, 47)]);
}

#[test]
fn a_name_that_could_not_be_resumed_is_refused_before_anything_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let long = Settings { run_name: Some("a".repeat(201)), ..settings(dir.path(), 47) };
    let members = [Member { settings: long, config: String::new(), facts: Vec::new() }];
    let error = check_group(&members).unwrap_err().to_string();
    assert!(error.starts_with("run_name has 201 characters, more than 200"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_device_that_fails_fails_all_runs_of_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let error =
        train_fakes(&settings(dir.path(), 47), vec![Fake { breaks_after: 22, ..Fake::new() }, Fake::new()])
            .unwrap_err();
    assert_eq!(error.to_string(), "the device is gone");
    for run in ["run-s0", "run-s1"] {
        let status = status::Status::read(&dir.path().join(run)).unwrap();
        assert_eq!(status.state, status::State::Failed);
        assert_eq!(status.error.as_deref(), Some("the device is gone"));
    }
}
