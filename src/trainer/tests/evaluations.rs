//! Evaluations on the way: they are logged, the best parameters are kept, and training does not notice.

use super::*;

/// The run of [`settings`] with evaluations at updates 6, 12, ... and their episodes in a table.
fn evaluating(dir: &Path) -> Settings {
    Settings {
        eval_interval: Some(6),
        eval_episodes: 5,
        eval_max_steps: 3,
        log_episodes: true,
        save_interval: Some(9),
        ..settings(dir, 47)
    }
}

/// The lines of `episodes.csv` without their timestamps.
fn episodes(run: &Path) -> Vec<String> {
    let text = fs::read_to_string(run.join("episodes.csv")).unwrap();
    text.lines().map(|line| line.rsplit_once(',').unwrap().0.to_string()).collect()
}

#[test]
fn evaluations_are_logged_and_change_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = uninterrupted(dir.path());
    let outcome = run(&evaluating(&dir.path().join("evaluated")), Fake::new());
    let directory = outcome.directory;
    assert_eq!(
        hash(&directory.join("final_params.safetensors")),
        hash(&whole.join("final_params.safetensors"))
    );

    // An evaluation has a row of its own update; the other rows have none of its columns.
    let rows = metrics(&directory);
    let update = |row: &Value| row["update"].as_u64().unwrap();
    let updates: Vec<_> = rows.iter().map(update).collect();
    assert_eq!(updates, [6, 10, 12, 18, 20, 24, 30, 36, 40, 42, 47]);
    let mut best: Option<(f64, u64)> = None;
    for row in &rows {
        let mean = row.get("eval/mean_return").and_then(Value::as_f64);
        assert_eq!(mean.is_some(), update(row) % 6 == 0, "{row}");
        let Some(mean) = mean else { continue };
        // Episodes of 1, 2, 3, 3 and 3 steps: the last two were cut off.
        assert_eq!((&row["eval/mean_length"], &row["eval/num_truncated"]), (&2.4.into(), &2.0.into()));
        assert_eq!(row["eval/num_episodes"], 5.0);
        if best.is_none_or(|(before, _)| mean > before) {
            best = Some((mean, update(row)));
        }
    }
    let (mean, update) = best.unwrap();
    let (_, metadata) = load_params(&outcome.best_params.unwrap()).unwrap();
    assert_eq!((&metadata["update"], metadata["env"].as_str()), (&update.to_string(), "fake"));
    assert_eq!(metadata["eval_mean_return"].parse::<f64>().unwrap() as f32, mean as f32);
    let summary: Value =
        serde_json::from_str(&fs::read_to_string(directory.join("summary.json")).unwrap()).unwrap();
    assert_eq!(
        (&summary["best_eval_update"], &summary["log_files"]["episodes"]),
        (&update.into(), &"episodes.csv".into())
    );

    let table = table(&directory);
    assert!(table.iter().all(|cells| cells.len() == table[0].len()), "{table:?}");
    let column = table[0].iter().position(|name| name == "eval/mean_return").unwrap();
    assert_eq!((table[1][column].is_empty(), table[2][column].as_str()), (false, ""));
    let episodes = episodes(&directory);
    assert_eq!(episodes[0], "update_num,total_steps,episode,reward,length,truncated");
    assert_eq!(episodes.len(), 1 + 7 * 5);
    assert!(episodes[5].starts_with("6,600,4,") && episodes[5].ends_with(",3,true"), "{}", episodes[5]);
}

#[test]
fn a_resumed_run_evaluates_as_an_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    let whole = run(&evaluating(&dir.path().join("whole")), Fake::new()).directory;
    let assert_same = |resumed: &Path| {
        assert_same_run(&whole, resumed);
        assert_eq!(episodes(&whole), episodes(resumed));
        let best = |run: &Path| hash(&run.join("best_params.safetensors"));
        assert_eq!(best(&whole), best(resumed));
    };
    let parts = dir.path().join("parts");
    for stop_at in [5, 6, 13, 29] {
        let learner = Fake::new().stopping_at(stop_at, &parts);
        let first = match stop_at {
            5 => run(&evaluating(&parts), learner),
            _ => resume(&evaluating(&parts), Path::new("run"), learner).unwrap(),
        };
        assert_eq!(first.update, stop_at);
    }
    assert_same(&resume(&evaluating(&parts), Path::new("run"), Fake::new()).unwrap().directory);

    // Back to each checkpoint: the best parameters are those of its time, until others are better.
    let best_at = |run: &Path| load_params(&run.join("best_params.safetensors")).unwrap().1["update"].clone();
    for update in [36, 9] {
        let path = whole.join(format!("checkpoint_{update}.ckpt"));
        let best = Checkpoint::load(&path).unwrap().best.unwrap();
        assert!(best.update <= update);
        let (run, expected) = (parts.join("run"), best.update.to_string());
        let learner = Fake::with_max_updates(1).before_chunk(move |done| {
            if done == update {
                assert_eq!(best_at(&run), expected);
            }
        });
        let checkpoint = parts.join(format!("run/checkpoint_{update}.ckpt"));
        assert_same(&resume(&evaluating(&parts), &checkpoint, learner).unwrap().directory);
    }

    // Without evaluations the best stays, and the table of episodes ends with the checkpoint.
    let plain = Settings { eval_interval: None, log_episodes: false, ..evaluating(&parts) };
    let checkpoint = parts.join("run/checkpoint_9.ckpt");
    let outcome = resume(&plain, &checkpoint, Fake::new()).unwrap();
    assert_eq!(episodes(&outcome.directory).len(), 1 + 5);
    assert_eq!(best_at(&outcome.directory), "6");
}

/// A long evaluation does not keep a run from stopping; it is played when the run goes on.
#[test]
fn a_run_stops_within_an_evaluation_and_catches_up() {
    let dir = tempfile::tempdir().unwrap();
    let whole = run(&evaluating(&dir.path().join("whole")), Fake::new()).directory;
    let parent = dir.path().join("stopped");
    let file = parent.join("run").join("stop");
    let stop = move |done| {
        if done == 18 {
            fs::write(&file, "").unwrap();
        }
    };
    let stopped = run(&evaluating(&parent), Fake { while_evaluating: Box::new(stop), ..Fake::new() });
    assert_eq!((stopped.state, stopped.update), (status::State::Stopped, 18));
    assert_eq!(metrics(&stopped.directory).last().unwrap()["update"], 12);
    let outcome = resume(&evaluating(&parent), &stopped.directory, Fake::new()).unwrap();
    assert_same_run(&whole, &outcome.directory);
    assert_eq!(episodes(&outcome.directory), episodes(&whole));
}
