//! A run that goes on from a checkpoint is the run that was never interrupted.

use super::*;
use crate::envs::health::Range;

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    for stop_at in [1, 9, 10, 13, 40, 46] {
        let parent = dir.path().join(format!("stop-{stop_at}"));
        let learner = Fake::new().stopping_at(stop_at, &parent);
        let first = run(&settings(&parent, 47), learner);
        assert_eq!((first.state, first.update), (status::State::Stopped, stop_at));
        assert!(!first.directory.join("final_params.safetensors").exists());
        let second = resume(&settings(&parent, 47), &first.directory, Fake::new()).unwrap();
        assert_eq!((second.state, second.run.as_str()), (status::State::Completed, "run"));
        assert_same_run(&whole, &second.directory);
    }
}

#[test]
fn a_complete_run_can_be_made_longer() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("grown");
    let short = run(&settings(&parent, 25), Fake::new());
    assert_eq!(metrics(&short.directory).last().unwrap()["update"], 25);
    let long = resume(&settings(&parent, 47), Path::new("run"), Fake::new()).unwrap();
    assert_same_run(&whole, &long.directory);
}

#[test]
fn resuming_a_complete_run_completes_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("again");
    let first = run(&settings(&parent, 47), Fake::new());
    fs::remove_file(first.directory.join("final_params.safetensors")).unwrap();
    let second = resume(&settings(&parent, 47), Path::new("latest"), Fake::new()).unwrap();
    assert_same_run(&whole, &second.directory);
}

#[test]
fn resuming_from_an_older_checkpoint_cuts_the_log_and_moves_the_later_files() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let parent = dir.path().join("older");
    let saving = Settings { save_interval: Some(12), ..settings(&parent, 47) };
    let first = run(&saving, Fake::new());
    let older = first.directory.join("checkpoint_12.ckpt");
    let second = resume(&settings(&parent, 47), &older, Fake::new()).unwrap();
    assert_same_run(&whole, &second.directory);
    assert!(second.directory.join("superseded/checkpoint_36.ckpt").exists());
    assert!(!second.directory.join("checkpoint_36.ckpt").exists());
}

#[test]
fn a_damaged_log_does_not_keep_a_run_from_going_on() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&Settings { save_interval: Some(20), ..settings(dir.path(), 40) }, Fake::new()).directory;
    fs::write(first.join("metrics.jsonl"), vec![0xff; 4000]).unwrap();
    let outcome = resume(&settings(dir.path(), 47), &first, Fake::new()).unwrap();
    assert_eq!((outcome.state, outcome.update), (status::State::Completed, 47));
}

#[test]
fn warnings_of_a_resumed_run_are_those_of_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let learner = |max_updates| {
        let mut learner = Fake::with_max_updates(max_updates);
        // The first goes up and down around 0, the second is 6 in every seventh update.
        learner.metrics[1].healthy = Some(Range::new(0.0, 1.0, "the first", ""));
        learner.metrics[4].healthy = Some(Range::new(0.0, 5.0, "the second", ""));
        learner
    };
    let text = |run: &Path| fs::read_to_string(run.join("warnings.jsonl")).unwrap();
    let every = |name: &str| Settings { log_interval: 1, ..settings(&dir.path().join(name), 47) };
    let whole = run(&every("whole"), learner(7)).directory;
    assert!(text(&whole).lines().count() >= 2, "{}", text(&whole));
    let first = run(&every("parts"), learner(1).stopping_at(23, &dir.path().join("parts")));
    let second = resume(&every("parts"), &first.directory, learner(1000)).unwrap();
    assert_eq!(text(&second.directory), text(&whole));
}

#[test]
fn a_checkpoint_of_something_else_is_refused_before_anything_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&settings(dir.path(), 15), Fake::new());
    let before = metrics(&first.directory);
    let other_network = resume(&settings(dir.path(), 47), Path::new("run"), Fake::with_ballast());
    assert_eq!(
        other_network.unwrap_err().to_string(),
        format!(
            "{} does not fit this program: ballast (f32[65536]) is missing",
            first.checkpoint.as_ref().unwrap().display()
        )
    );
    let other_env = Settings { env: "cartpole".into(), ..settings(dir.path(), 47) };
    let error = resume(&other_env, Path::new("run"), Fake::new()).unwrap_err().to_string();
    assert!(error.ends_with("checkpoint_15.ckpt was trained in fake, not in cartpole"), "{error}");
    assert_eq!(metrics(&first.directory), before);
}

/// A checkpoint that was copied out of its run, among files of the user's own with the names of a run's.
#[test]
fn a_checkpoint_that_lies_in_no_run_goes_on_in_a_directory_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let first = run(&settings(&dir.path().join("first"), 25), Fake::new());
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let own =
        ["metrics.jsonl", "final_params.safetensors", "updates.csv", "params_47.safetensors", ".notes.tmp"];
    own.iter().for_each(|name| fs::write(folder.join(name), "mine\n").unwrap());
    let checkpoint = folder.join("x.ckpt");
    fs::copy(first.checkpoint.unwrap(), &checkpoint).unwrap();
    let before = hash(&checkpoint);

    let outcome = resume(&settings(&dir.path().join("second"), 47), &checkpoint, Fake::new()).unwrap();
    assert_eq!(outcome.directory, dir.path().join("second/run"));
    assert_eq!(metrics(&outcome.directory), metrics(&whole)[2..]);
    let [ours, theirs] = [&outcome.directory, &whole].map(|run| hash(&run.join("final_params.safetensors")));
    assert_eq!(ours, theirs);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), own.len() + 1);
    own.iter().for_each(|name| assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), "mine\n"));
    assert_eq!(hash(&checkpoint), before);
    assert_ne!(run_dir::id_of(&outcome.directory), run_dir::id_of(&first.directory));
}

#[cfg(unix)]
#[test]
fn a_log_that_is_a_link_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let first = run(&settings(dir.path(), 25), Fake::new()).directory;
    let precious = dir.path().join("precious");
    fs::write(&precious, "text".repeat(1000)).unwrap();
    for name in ["metrics.jsonl", "warnings.jsonl", "tensorboard"] {
        let path = first.join(name);
        fs::rename(&path, dir.path().join("aside")).unwrap();
        std::os::unix::fs::symlink(&precious, &path).unwrap();
        let error = resume(&settings(dir.path(), 47), &first, Fake::new()).unwrap_err();
        assert!(format!("{error:#}").contains("is a link"), "{error:#}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "text".repeat(1000));
        fs::remove_file(&path).unwrap();
        fs::rename(dir.path().join("aside"), &path).unwrap();
    }
    // A table with other columns, as this is, is put aside.
    fs::remove_file(first.join("updates.csv")).unwrap();
    std::os::unix::fs::symlink(&precious, first.join("updates.csv")).unwrap();
    resume(&settings(dir.path(), 47), &first, Fake::new()).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "text".repeat(1000));
}
