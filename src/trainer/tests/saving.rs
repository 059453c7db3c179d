//! When checkpoints are written, and which are kept.

use std::rc::Rc;

use super::*;

#[test]
fn time_based_saving_is_checked_after_each_chunk() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: None, save_interval_minutes: 1e-9, ..settings(dir.path(), 20) };
    let outcome = run(&settings, Fake::with_max_updates(5));
    assert_eq!(saved(&outcome.directory), [1, 6, 10, 15, 20]);
}

#[test]
fn only_the_newest_checkpoints_are_kept_if_asked() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { save_interval: Some(10), keep: Some(2), ..settings(dir.path(), 47) };
    let outcome = run(&settings, Fake::new());
    assert_eq!(saved(&outcome.directory), [40, 47]);
    assert!(!outcome.directory.join("params_30.safetensors").exists());
    assert!(outcome.directory.join("params_40.safetensors").exists());
}

#[test]
fn a_save_that_fails_is_survived_and_the_next_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("blocked");
    // A directory where the temporary file should go: nothing can be written there, not even by root.
    let obstacle = parent.join("run/.checkpoint_20.ckpt.tmp");
    let learner = Fake::with_max_updates(10).before_chunk(move |done| match done {
        10 => fs::create_dir(&obstacle).unwrap(),
        20 => fs::remove_dir(&obstacle).unwrap(),
        _ => {}
    });
    let outcome = run(&Settings { save_interval: Some(10), ..settings(&parent, 47) }, learner);
    assert_eq!(saved(&outcome.directory), [10, 30, 40, 47]);
    assert_same_run(&whole, &outcome.directory);
}

#[test]
fn a_screen_is_told_what_is_said_and_asks_to_save_and_to_stop() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path(), 47);
    let (live, remote) = live::connect();
    let remote = Rc::new(remote);
    let asking = remote.clone();
    let save_file = dir.path().join("run").join(SAVE_FILE);
    let mut learner = Fake::with_max_updates(1).before_chunk(move |done| match done {
        4 => asking.save(),
        12 => fs::write(&save_file, "").unwrap(), // so asks another process
        20 => asking.stop(),
        _ => {}
    });
    let outcome = train(&settings, "", &[], &mut learner, None, Some(live)).unwrap();
    let directory = outcome.directory;
    assert_eq!((outcome.state, outcome.update), (status::State::Stopped, 21));
    assert_eq!(saved(&directory), [5, 13, 21]);
    assert!(!directory.join(SAVE_FILE).exists());

    assert_eq!(remote.next(), Some(live::Event::Begun(directory.clone())));
    let mut lines = Vec::new();
    loop {
        match remote.next() {
            Some(live::Event::Line(line)) => lines.push(line),
            Some(live::Event::Row(_)) => {}
            event => break assert_eq!(event, Some(live::Event::Ended)),
        }
    }
    assert!(lines.contains(&format!("saved {}", directory.join("checkpoint_5.ckpt").display())), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("stopped at update 21"), "{lines:?}");
}
