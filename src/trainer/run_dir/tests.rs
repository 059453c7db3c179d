use super::name::next_name;
use super::*;
use crate::trainer::Resumed;
use crate::trainer::progress::Progress;

#[test]
fn names_count_up_within_a_day() {
    let date = jiff::civil::date(2026, 1, 5);
    let name = |existing: &[&str], suffix| next_name(existing.iter(), "hackmatrix", date, suffix);
    assert_eq!(name(&[], None), "hackmatrix-jan05-26-1");
    let existing = [
        "hackmatrix-jan05-26-1",
        "hackmatrix-jan05-26-12-wide",
        "hackmatrix-jan04-26-40",
        "cartpole-jan05-26-99",
        "hackmatrix-jan05-26-x",
        "README.md",
        "hackmatrix-jan05-26-18446744073709551615", // which has no next number
        "hackmatrix-jan05-26-99999999999999999999999",
    ];
    assert_eq!(name(&existing, None), "hackmatrix-jan05-26-13");
    assert_eq!(name(&existing, Some("lr")), "hackmatrix-jan05-26-13-lr");
}

/// Opening a pipe would wait for somebody who writes to it.
#[cfg(unix)]
#[test]
fn pipes_in_the_place_of_files_are_no_marks_of_a_run() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["meta.json", "owner.json", "status.json", "config.toml", "metrics.jsonl", "updates.csv"] {
        let made = std::process::Command::new("mkfifo").arg(dir.path().join(name)).status();
        assert!(made.unwrap().success());
    }
    assert!(!is_run(dir.path()) && id_of(dir.path()).is_none());
    assert_eq!(presence(dir.path()), Presence::Gone);
    assert!(remove(dir.path()).is_err());
    let log = crate::trainer::log_file::LogFile::open_lines(&dir.path().join("metrics.jsonl"), 10);
    assert!(format!("{:#}", log.unwrap_err()).ends_with("it is no regular file"));
}

/// A process that is killed between the two removals leaves the checkpoint, which the next one finds.
#[test]
fn parameters_go_before_their_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    for update in [1, 2] {
        fs::write(dir.path().join(format!("checkpoint_{update}.ckpt")), "").unwrap();
    }
    let params = dir.path().join("params_1.safetensors");
    fs::create_dir(&params).unwrap(); // cannot be removed as a file
    assert!(keep_newest(dir.path(), 1).is_err());
    assert!(dir.path().join("checkpoint_1.ckpt").exists());
    fs::remove_dir(&params).unwrap();
    keep_newest(dir.path(), 1).unwrap();
    assert_eq!(checkpoints(dir.path()).unwrap().len(), 1);
}

#[test]
fn a_run_has_an_id_that_it_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|place| {
        let run = RunDir::create(&settings(&dir.path().join(place), Some("same"))).unwrap();
        crate::trainer::status::write_meta(run.path(), run.id(), 0, &[]).unwrap();
        (run.path().to_path_buf(), run.id().to_string())
    });
    assert_ne!(a.1, b.1, "the same name in two places");
    assert_eq!(RunDir::reopen(&a.0).unwrap().id(), a.1);
    assert_eq!(id_of(&b.0), Some(b.1));
    assert!(a.1.len() == 12 && a.1.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{}", a.1);
}

fn settings(dir: &Path, name: Option<&str>) -> Settings {
    Settings {
        checkpoint_dir: dir.join("checkpoints"),
        run_name: name.map(String::from),
        ..Settings::default()
    }
}

const MOMENT: std::time::Duration = std::time::Duration::from_millis(20);

#[test]
fn a_name_is_used_once_and_a_run_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let first = RunDir::create(&settings(dir.path(), None)).unwrap();
    let second = RunDir::create(&settings(dir.path(), None)).unwrap();
    assert!(first.name().ends_with("-1") && second.name().ends_with("-2"));
    let pid = std::process::id().to_string();
    assert_eq!(fs::read_to_string(first.file("pid")).unwrap(), pid);
    assert!(presence(first.path()).may_be_alive());
    let error = RunDir::reopen(first.path()).unwrap_err().to_string();
    assert_eq!(error, format!("the run {} is being trained by process {pid}; stop that first", first.name()));

    let path = first.path().to_path_buf();
    drop(first);
    assert!(!path.join("pid").exists());
    // A process that another test is just starting holds the lock for a moment, until it becomes its program.
    let free = || {
        (0..100).any(|_| {
            !presence(&path).may_be_alive() || {
                std::thread::sleep(MOMENT);
                false
            }
        })
    };
    assert!(free());
    crate::trainer::status::write_meta(&path, "abc", 0, &[]).unwrap();
    fs::write(path.join("stop"), "").unwrap();
    assert!(!RunDir::reopen(&path).unwrap().has_stop_file());

    let named = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap();
    assert_eq!(named.name(), "mine");
    let error = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap_err().to_string();
    assert!(error.ends_with("choose another --run-name, or wait until it has ended"), "{error}");
    let named = {
        let path = named.path().to_path_buf();
        drop(named);
        path
    };
    crate::trainer::status::write_meta(&named, "abc", 0, &[]).unwrap();
    fs::write(named.join("metrics.jsonl"), "{}\n").unwrap();
    let error = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap_err().to_string();
    assert!(
        error.starts_with("there is a run mine already; choose another --run-name, or remove it"),
        "{error}"
    );
    save(&named, 3);
    let error = RunDir::create(&settings(dir.path(), Some("mine"))).unwrap_err().to_string();
    assert!(error.ends_with(&format!("or continue it with --resume {}", named.display())), "{error}");
}

#[test]
fn a_place_where_nothing_can_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("checkpoints"), "a file").unwrap();
    let settings = settings(dir.path(), None);
    for error in [check_is_new(&settings).unwrap_err(), RunDir::create(&settings).map(drop).unwrap_err()] {
        let error = format!("{error:#}");
        assert!(error.starts_with("cannot make the run directory"), "{error}");
        assert!(error.contains("choose another --checkpoint-dir"), "{error}");
    }
}

fn save(directory: &Path, update: u64) -> PathBuf {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(format!("checkpoint_{update}.ckpt"));
    let progress = Progress { update, ..Progress::new(&[]) };
    let checkpoint =
        Checkpoint { config: String::new(), env: "x".into(), progress, state: Vec::new(), best: None };
    checkpoint.save(&path).unwrap();
    path
}

#[test]
fn resume_loads_the_newest_checkpoint_by_number() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for update in [9, 10, 100] {
        save(&root.join("a"), update);
    }
    fs::write(root.join("a/checkpoint_x.ckpt"), "").unwrap();
    let update = |request: &Path| Resumed::open(request, root).unwrap().checkpoint.progress.update;
    assert_eq!(update(&root.join("a/checkpoint_9.ckpt")), 9);
    assert_eq!(update(&root.join("a")), 100);
    assert_eq!(update(Path::new("a")), 100);
}

#[test]
fn a_damaged_newest_checkpoint_names_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for update in [10, 20, 30] {
        save(root, update);
    }
    for update in [20, 30] {
        fs::write(root.join(format!("checkpoint_{update}.ckpt")), "LOCKSTEP\x01\0\0\0").unwrap();
    }
    let error = Resumed::open(root, root).unwrap_err().to_string();
    let (newest, good) = (root.join("checkpoint_30.ckpt"), root.join("checkpoint_10.ckpt"));
    assert!(error.starts_with(&format!("{} is truncated", newest.display())), "{error}");
    assert!(error.ends_with(&format!("the one before it is {}", good.display())), "{error}");
}

#[test]
fn later_files_are_moved_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let run = RunDir::create(&settings(dir.path(), Some("r"))).unwrap();
    for update in [10, 20, 30] {
        fs::write(run.checkpoint_path(update), "c").unwrap();
        fs::write(run.params_path(update), "p").unwrap();
    }
    for (phase, update) in [(1, 20), (2, 30)] {
        fs::rename(save(&dir.path().join("other"), update), run.phase_path(phase)).unwrap();
    }
    fs::write(run.file("final_params.safetensors"), "f").unwrap();
    assert_eq!(run.supersede_after(20, 2000).unwrap(), 4);
    assert!(run.phase_path(1).exists());
    assert!(run.checkpoint_path(20).exists() && !run.checkpoint_path(30).exists());
    for name in
        ["checkpoint_30.ckpt", "params_30.safetensors", "phase_2_complete.ckpt", "final_params.safetensors"]
    {
        assert!(run.file("superseded").join(name).exists());
    }
    assert_eq!(run.supersede_after(20, 2000).unwrap(), 0);
}

/// A run that was trained, and is not any more.
fn past_run(dir: &Path, name: &str) -> PathBuf {
    let run = RunDir::create(&settings(dir, Some(name))).unwrap();
    crate::trainer::status::write_meta(run.path(), run.id(), 0, &[]).unwrap();
    save(run.path(), 3);
    run.path().to_path_buf()
}

/// The record of a process on another machine, which has given a sign of life so many seconds ago.
fn claim_from_elsewhere(run: &Path, silence: i64) {
    let heartbeat = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(silence);
    let record = serde_json::json!({
        "run": id_of(run), "host": "node7", "boot": "b", "pid_namespace": "pid:[1]", "pid": 42, "started": 1,
        "shared": false, "heartbeat": heartbeat.to_string(),
    });
    fs::write(run.join(OWNER), record.to_string()).unwrap();
}

#[test]
fn a_run_that_another_machine_may_be_training_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let run = past_run(dir.path(), "r");
    claim_from_elsewhere(&run, 20);
    let refusal = "the run r may still be trained by process 42 on node7, which has given a sign of life 2";
    for refused in [RunDir::reopen(&run).map(drop), remove(&run)] {
        let error = refused.unwrap_err().to_string();
        assert!(error.starts_with(refusal) && error.contains("stop that first, or wait"), "{error}");
    }
    assert_eq!(presence(&run).describe(), "process 42 on node7");
    let error = RunDir::create(&settings(dir.path(), Some("r"))).unwrap_err().to_string();
    assert!(error.ends_with("choose another --run-name, or wait until it has ended"), "{error}");
    claim_from_elsewhere(&run, 1000);
    drop(RunDir::reopen(&run).unwrap());
    remove(&run).unwrap();
    assert!(!run.exists());
}

#[test]
fn only_a_run_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("project");
    fs::create_dir(&folder).unwrap();
    for name in ["config.toml", "meta.json", "status.json", "thesis.tex"] {
        fs::write(folder.join(name), "{\"name\": \"mine\"}").unwrap();
    }
    let error = remove(&folder).unwrap_err().to_string();
    assert!(error.contains("project is not the directory of a run"), "{error}");
    assert!(folder.join("thesis.tex").exists());
}

#[test]
fn an_empty_or_half_begun_directory_does_not_block_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("checkpoints/r");
    let begin = || RunDir::create(&settings(dir.path(), Some("r")));
    fs::create_dir_all(&path).unwrap();
    check_is_new(&settings(dir.path(), Some("r"))).unwrap();
    drop(begin().unwrap());
    // What a process leaves that is killed before it has anything to keep.
    for name in ["config.toml", "meta.json", "metrics.jsonl", "updates.csv", ".status.json.tmp", "owner.json"]
    {
        fs::write(path.join(name), "").unwrap();
    }
    fs::create_dir(path.join("tensorboard")).unwrap();
    let run = begin().unwrap();
    assert!(!path.join("config.toml").exists() && path.join(OWNER).exists());
    // Not while somebody works on it, nor if there is anything in it.
    assert!(begin().is_err());
    drop(run);
    fs::write(path.join("notes.txt"), "").unwrap();
    let error = begin().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("{} is there already, and is no run; choose another --run-name", path.display())
    );
    fs::remove_file(path.join("notes.txt")).unwrap();
    fs::write(path.join("metrics.jsonl"), "{\"update\":1}\n").unwrap();
    assert!(check_is_new(&settings(dir.path(), Some("r"))).is_err());
}

#[test]
fn only_what_a_run_wrote_is_cleaned_up() {
    let dir = tempfile::tempdir().unwrap();
    let run = past_run(dir.path(), "r");
    let [own, others] = [".checkpoint_9.ckpt.tmp", ".thesis.tex.tmp"].map(|name| run.join(name));
    for path in [&own, &others] {
        fs::write(path, "half").unwrap();
    }
    RunDir::reopen(&run).unwrap();
    assert!(!own.exists() && others.exists());
}
