use super::*;

fn row(update: u64) -> Row {
    Row {
        update,
        timesteps: update * 100,
        names: vec!["train/entropy".into(), "train/mean_episode_return".into()],
        values: vec![Some(update as f32), None],
        steps_per_second: 10.0,
        updates_per_second: 0.1,
        wall_seconds: update as f64,
        phases: Some(Default::default()),
        episodes: 0,
        rates: crate::algorithms::schedule::Rates::default(),
        time: "2026-01-05T01:02:03Z".parse().unwrap(),
        naming: Default::default(),
    }
}

fn names() -> Vec<String> {
    row(0).names
}

/// All logs.
fn open(run: &Path, offsets: &BTreeMap<String, u64>, names: &[String]) -> Logs {
    let logs = Logs::open(run, offsets).unwrap();
    logs.with_csv(run, offsets, names, true).unwrap().with_tensorboard(run, offsets, true).unwrap()
}

#[test]
fn what_is_not_wanted_any_more_stays_as_the_checkpoint_knows_it() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let without = |offsets: &BTreeMap<String, u64>| {
        let logs = Logs::open(run, offsets).unwrap().with_csv(run, offsets, &names(), false).unwrap();
        logs.with_tensorboard(run, offsets, false).unwrap()
    };
    let logs = without(&BTreeMap::new());
    assert!(!run.join(UPDATES).exists() && !run.join(TENSORBOARD).exists());
    assert_eq!(logs.offsets().keys().collect::<Vec<_>>(), [CURVES, METRICS, WARNINGS]);
    let mut logs = open(run, &logs.offsets(), &names());
    logs.append(&row(10)).unwrap();
    let offsets = logs.offsets();
    logs.append(&row(20)).unwrap();
    let mut logs = without(&offsets);
    logs.append(&row(20)).unwrap();
    assert_eq!(fs::metadata(run.join(UPDATES)).unwrap().len(), offsets[UPDATES]);
    assert_eq!(tensorboard_files(run).len(), 1);
    assert!(logs.offsets()[METRICS] > offsets[METRICS] && logs.offsets()[UPDATES] == offsets[UPDATES]);
}

#[test]
fn all_logs_are_cut_back_to_the_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let mut logs = open(run, &BTreeMap::new(), &names());
    logs.append(&row(10)).unwrap();
    let offsets = logs.offsets();
    logs.append(&row(20)).unwrap();
    drop(logs);
    let events = tensorboard_files(run);
    assert_eq!(events.len(), 1);

    // Two processes that were killed before they saved anything.
    for _ in 0..2 {
        let mut logs = open(run, &offsets, &names());
        logs.append(&row(20)).unwrap();
    }
    let mut logs = open(run, &offsets, &names());
    logs.append(&row(20)).unwrap();
    assert!(logs.take_notices().is_empty());
    let text = |name| fs::read_to_string(run.join(name)).unwrap();
    let updates: Vec<_> = text(METRICS).lines().map(|line| line[..14].to_string()).collect();
    assert_eq!(updates, [r#"{"update":10,"#, r#"{"update":20,"#].map(|s| format!("{s}\"")));
    assert_eq!(
        text(UPDATES),
        "update,timesteps,train/entropy,train/mean_episode_return,\
         time/steps_per_second,time/updates_per_second,time/wall_seconds,time/train_percent,time/evaluate_percent,\
         time/save_percent,time/log_percent,time/other_percent,timestamp\n\
         10,1000,10,,10,0.1,10,0,0,0,0,0,2026-01-05T01:02:03Z\n20,2000,20,,10,0.1,20,0,0,0,0,0,2026-01-05T01:02:03Z\n"
    );
    let files = tensorboard_files(run);
    assert_eq!(files.len(), 2, "one of the first process, one of the last: {files:?}");
    assert_eq!(files[0], events[0]);
    assert_eq!(fs::metadata(run.join(&files[0])).unwrap().len(), offsets[&files[0]]);
    assert_eq!(logs.offsets().keys().filter(|name| name.starts_with(TENSORBOARD)).count(), 2);
}

#[test]
fn other_columns_begin_another_table() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let mut logs = open(run, &BTreeMap::new(), &names());
    logs.append(&row(10)).unwrap();
    let offsets = logs.offsets();
    open(run, &offsets, &["train/entropy".to_string()]);
    let text = fs::read_to_string(run.join(UPDATES)).unwrap();
    assert!(text.starts_with("update,timesteps,train/entropy,time/") && text.lines().count() == 1, "{text}");
    assert!(fs::read_to_string(run.join("updates_1.csv")).unwrap().contains("\n10,1000,10,,10"));
}

#[test]
fn a_log_that_lost_its_end_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path();
    let mut logs = open(run, &BTreeMap::new(), &names());
    logs.append(&row(10)).unwrap();
    let offsets = logs.offsets();
    fs::write(run.join(METRICS), "").unwrap();
    let notices = open(run, &offsets, &names()).take_notices();
    assert_eq!(notices, ["metrics.jsonl has lost its end; it continues after what is there"]);
    fs::write(run.join(METRICS), [vec![0xff; offsets[METRICS] as usize - 1], vec![b'\n']].concat()).unwrap();
    let notices = open(run, &offsets, &names()).take_notices();
    assert!(notices[0].contains("metrics.jsonl") && notices[0].contains("metrics_1.jsonl"), "{notices:?}");
    assert_eq!(fs::read(run.join(METRICS)).unwrap(), b"");
}

fn tensorboard_files(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join(TENSORBOARD)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| format!("{TENSORBOARD}/{}", entry.unwrap().file_name().to_string_lossy()))
        .collect();
    names.sort();
    names
}
