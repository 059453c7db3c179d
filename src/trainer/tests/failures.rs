//! Runs that go wrong: values that are not finite, devices that fail.

use super::*;

#[test]
fn a_value_that_is_not_finite_stops_the_run_and_the_state_before_it_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: Some(10), log_interval: 50, ..settings(dir.path(), 100) };
    let mut learner = Fake { poisoned: 28, max_updates: 7, ..Fake::new() };
    let error = train(&settings, "", &[], &mut learner, None, None).unwrap_err().to_string();
    let directory = dir.path().join("run");
    let kept = directory.join("nonfinite_27.ckpt");
    assert!(
        error.starts_with(&format!(
            "train/entropy is NaN at update 28; the state before it is kept in {}",
            kept.display()
        )),
        "{error}"
    );
    assert!(error.contains("checkpoint_20.ckpt is kept: continue from an earlier checkpoint"), "{error}");
    let kept = Checkpoint::load(&kept).unwrap();
    let mut healthy = Fake::new();
    (0..27).for_each(|_| drop(healthy.update()));
    assert_eq!((kept.progress.update, &kept.state), (27, &healthy.state().unwrap()));
    assert_eq!(saved(&directory), [10, 20]);
    assert_eq!(status::Status::read(&directory).unwrap().state, status::State::Failed);
    let warnings = fs::read_to_string(directory.join("warnings.jsonl")).unwrap();
    assert!(warnings.starts_with(r#"{"text":"train/entropy is NaN at update 28;"#), "{warnings}");
}

#[test]
fn parameters_that_go_bad_before_the_metrics_are_traced_to_their_update() {
    let dir = tempfile::tempdir().unwrap();
    // The bad parameters come at the end of a chunk, and are in a checkpoint before a metric shows them.
    let late = |max_updates| Fake { poisoned: 20, late: true, max_updates, ..Fake::new() };
    let every = |name: &str| Settings {
        save_interval: Some(10),
        run_name: Some(name.into()),
        ..settings(dir.path(), 47)
    };
    for max_updates in [7, 1000] {
        let (settings, mut learner) = (every(&format!("stop-{max_updates}")), late(max_updates));
        let error = train(&settings, "", &[], &mut learner, None, None).unwrap_err().to_string();
        let said = "train/entropy is NaN at update 21 and parameters are not finite since update 20; the state before it is";
        assert!(error.starts_with(said), "{error}");
        let path = dir.path().join(settings.run_name.unwrap()).join("nonfinite_19.ckpt");
        let kept = Checkpoint::load(&path).unwrap();
        let mut healthy = Fake::new();
        (0..19).for_each(|_| drop(healthy.update()));
        assert_eq!((kept.progress.update, &kept.state), (19, &healthy.state().unwrap()));
    }
    // A rollback goes past the bad checkpoint.
    let settings = Settings { on_nan: OnNan::Rollback, ..every("rollback") };
    assert_eq!(run(&settings, late(7)).state, status::State::Completed);
}

#[test]
fn a_rollback_goes_on_with_other_random_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        Settings { save_interval: Some(10), on_nan: OnNan::Rollback, ..settings(&dir.path().join("a"), 47) };
    let outcome = run(&settings, Fake { poisoned: 28, max_updates: 7, ..Fake::new() });
    assert_eq!(outcome.state, status::State::Completed);
    // The metrics of this learner do not depend on its key, so nothing else differs.
    assert_eq!(metrics(&outcome.directory), metrics(&uninterrupted(dir.path())));
    // Without a checkpoint there is nothing to go back to.
    let alone = Settings { save_interval: Some(100), run_name: Some("alone".into()), ..settings };
    let mut learner = Fake { poisoned: 5, ..Fake::new() };
    let error = train(&alone, "", &[], &mut learner, None, None).unwrap_err().to_string();
    assert_eq!(error, "there is no checkpoint to go back to");
}

#[test]
fn a_learner_that_fails_fails_the_run_and_leaves_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let saving = Settings { save_interval: Some(11), ..settings(dir.path(), 47) };
    let mut learner = Fake { breaks_after: 22, max_updates: 5, ..Fake::new() };
    let error = train(&saving, "", &[], &mut learner, None, None).unwrap_err();
    assert_eq!(error.to_string(), "the device is gone");
    let status = status::Status::read(&dir.path().join("run")).unwrap();
    assert_eq!((status.state, status.error.as_deref()), (status::State::Failed, Some("the device is gone")));
    let outcome = resume(&settings(dir.path(), 47), Path::new("run"), Fake::new()).unwrap();
    assert_same_run(&uninterrupted(dir.path()), &outcome.directory);
}

#[test]
fn a_run_whose_directory_is_gone_does_not_say_that_a_checkpoint_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let saving = Settings { save_interval: Some(11), ..settings(dir.path(), 47) };
    let directory = dir.path().join("run");
    let mut learner = Fake::with_max_updates(11).before_chunk(move |done| {
        if done == 22 {
            fs::remove_dir_all(&directory).unwrap();
        }
    });
    let error = format!("{:#}", train(&saving, "", &[], &mut learner, None, None).unwrap_err());
    assert!(
        error.starts_with("the last save failed (the run directory is gone, and all that was in it)"),
        "{error}"
    );
}
