use std::fs;
use std::path::Path;

use toml::Table;

use super::*;
use crate::sweep::Plan;

const SWEEP: &str = "method = \"sobol\"\nmax_runs = 5\nparallel = 2\n[lr]\ndistribution = \"log_normal\"\nmin = 1e-5\nmax = 0.1\n";

fn plan() -> Plan {
    Plan::read(SWEEP.parse().unwrap()).unwrap()
}

fn begun(directory: &Path) -> Journal {
    let storage = Box::new(FileStorage::create(directory).unwrap());
    let settings = "env = \"x\"".parse().unwrap();
    Journal::begin(storage, Event::began("s", settings, SWEEP.parse().unwrap())).unwrap()
}

fn opened(directory: &Path) -> Result<Journal> {
    Journal::open(Box::new(FileStorage::open(directory, true)?))
}

fn claim(journal: &mut Journal, worker: &str) -> Vec<Claim> {
    journal.update(|state, gone| Ok(state.claim(&plan(), worker, gone))).unwrap()
}

fn observe(journal: &mut Journal, claim: &Claim, score: f64) {
    let points = vec![Point { steps: 10, score, cost: 1.5 }];
    let event = Event::observed(claim.trial, claim.attempt, "run".into(), points, false);
    journal.update(|_, _| Ok((vec![event], ()))).unwrap();
}

#[test]
fn a_journal_that_is_read_again_has_the_same_state() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("s");
    let mut journal = begun(&directory);
    let _here = journal.enlist("a").unwrap();
    let claims = claim(&mut journal, "a");
    assert_eq!(claims.iter().map(|claim| (claim.trial, claim.attempt)).collect::<Vec<_>>(), [(1, 1), (2, 1)]);
    observe(&mut journal, &claims[0], 0.25);
    let failed = Event::failed(2, 1, "run".into(), "it diverged".into(), 0.5);
    journal.update(|_, _| Ok((vec![failed], ()))).unwrap();
    let other = opened(&directory).unwrap();
    assert_eq!(other.state(), journal.state());
    let evidence = other.state().evidence(&plan());
    assert_eq!((evidence.done.len(), evidence.failed.len(), evidence.running.len()), (1, 1, 0));
    assert_eq!(evidence.done[0].outcome.score, 0.25);
}

#[test]
fn a_line_that_a_killed_process_left_half_written_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("s");
    let mut journal = begun(&directory);
    claim(&mut journal, "a");
    let whole = fs::read(directory.join(FILE)).unwrap();
    for cut in whole.len() - 40..whole.len() {
        fs::write(directory.join(FILE), &whole[..cut]).unwrap();
        let mut journal = opened(&directory).unwrap();
        assert_eq!(journal.state().trials.len(), 1, "cut at {cut}");
        let claims = claim(&mut journal, "b");
        assert_eq!(claims.iter().map(|claim| claim.trial).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(opened(&directory).unwrap().state(), journal.state());
    }
}

#[test]
fn the_trials_of_a_worker_that_is_gone_are_given_out_again_and_those_of_others_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("s");
    let mut first = begun(&directory);
    let here = first.enlist("a").unwrap();
    let mut second = opened(&directory).unwrap();
    let _there = second.enlist("b").unwrap();
    assert!(second.enlist("b").is_err(), "a name belongs to one worker");
    let of_first = claim(&mut first, "a");
    let of_second = claim(&mut second, "b");
    assert_eq!(
        of_second.iter().map(|claim| (claim.trial, claim.attempt)).collect::<Vec<_>>(),
        [(3, 1), (4, 1)]
    );
    drop(here); // as the system does for a process that was killed
    for claim in &of_second {
        observe(&mut second, claim, 1.0);
    }
    let again = claim(&mut second, "b");
    assert_eq!(again.iter().map(|claim| (claim.trial, claim.attempt)).collect::<Vec<_>>(), [(1, 2), (2, 2)]);
    assert_eq!(again[0].values, of_first[0].values);
    // The result that comes first stays.
    observe(&mut first, &of_first[0], 7.0);
    observe(&mut second, &again[0], 8.0);
    assert_eq!(second.state().trials[0].last().unwrap().score, 7.0);
    observe(&mut second, &again[1], 8.0);
    assert_eq!(claim(&mut second, "b").len(), 1, "five trials are all");
}

#[test]
fn a_released_trial_is_begun_once_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = begun(&folder.path().join("s"));
    let _here = journal.enlist("a").unwrap();
    let claims = claim(&mut journal, "a");
    observe(&mut journal, &claims[0], 1.0);
    journal.update(|_, _| Ok((vec![Event::released(2, 1)], ()))).unwrap();
    assert_eq!(
        claim(&mut journal, "a").iter().map(|c| (c.trial, c.attempt)).collect::<Vec<_>>(),
        [(2, 2), (3, 1)]
    );
}

#[test]
fn files_that_are_no_journal_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("s");
    begun(&directory);
    let taken = FileStorage::create(&directory).err().unwrap().to_string();
    assert!(taken.contains("there is a sweep in") && taken.contains("--resume"), "{taken}");
    let complaint = |text: &str| {
        fs::write(directory.join(FILE), text).unwrap();
        format!("{:#}", opened(&directory).err().unwrap())
    };
    assert!(complaint("").contains("holds no sweep"));
    assert!(complaint("{\"update\":1}\n").contains("line 1 of"));
    assert!(complaint("lr = 3\n").contains("is no event of a sweep"));
    let first = Event::released(1, 1).line().unwrap();
    assert!(complaint(&format!("{first}\n")).contains("the first event says how the sweep began"));
    let began = Event::began("s", Table::new(), Table::new()).line().unwrap();
    assert!(complaint(&format!("{began}\n{first}\n")).contains("there is no trial 1"));
    let newer = began.replace("\"version\":1", "\"version\":9");
    assert!(complaint(&format!("{newer}\n")).contains("the journal is of version 9"));
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "").unwrap();
    assert!(FileStorage::create(&other).err().unwrap().to_string().contains("is no sweep"));
    assert!(FileStorage::open(&folder.path().join("none"), false).is_err());
}

#[test]
fn a_journal_that_is_only_read_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("s");
    begun(&directory);
    let mut reader = Journal::open(Box::new(FileStorage::open(&directory, false).unwrap())).unwrap();
    let error = reader.update(|_, _| Ok((vec![Event::released(1, 1)], ()))).unwrap_err();
    assert!(error.to_string().contains("is only read"), "{error}");
}
