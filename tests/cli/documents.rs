//! Runs that a YAML document begins: their directory, how they end, and what others see of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Done, finish, lockstep, run};

/// A document of a small agent, with so many steps and these lines under `train`.
fn document(total_steps: u64, train: &str) -> String {
    format!(
        "# mine\nseed: 7\ngame: {{id: connect4, params: {{rows: 6, cols: 7}}}}\nagent:\n  id: dqn\n  params: {{conv: [], hidden_dim: 8, \
         batch_size: 8, replay_buffer_size: 500, learning_rate: 5.0e-4, epsilon_decay: 0.995, epsilon_min: 0.05}}\ntrain:\n  \
         total_steps: {total_steps}\n{train}"
    )
}

const USUAL: &str = "  opponent_sampler: {type: random}\n  callbacks:\n  - {type: checkpoint, params: {interval: 200, prefix: model}}\n  \
                     - {type: epsilon_decay, params: {every: step}}\n  - {type: lr_decay, params: {interval_steps: 200, min_lr: 1.0e-6}}\n  \
                     - {type: metrics_file, params: {interval: 100}}\n";
const POOL: &str = "  random_opening: {probability: 0.5}\n  apply_augmentation: true\n  start_policy: opponent_first\n  \
                    opponent_sampler: {type: pool, params: {self_play: {max_frozen_agents: 2}}}\n  callbacks:\n  \
                    - {type: checkpoint, params: {interval: 100, prefix: p}}\n";

/// A folder with a document in it.
struct Folder(TempDir);

impl Folder {
    fn with(document: &str) -> Folder {
        let folder = Folder(TempDir::new().unwrap());
        fs::write(folder.0.path().join("config.yaml"), document).unwrap();
        folder
    }

    fn run_dir(&self) -> PathBuf {
        self.0.path().join("runs/my_run")
    }

    fn train(&self) -> Command {
        let [config, run_dir] = [self.0.path().join("config.yaml"), self.run_dir()];
        lockstep(&[
            "train",
            "--config",
            config.to_str().unwrap(),
            "--run-dir",
            run_dir.to_str().unwrap(),
            "--device",
            "cpu",
        ])
    }

    fn list(&self, more: &[&str]) -> String {
        let runs = self.0.path().join("runs");
        run(&[&["runs", "list", "--runs-dir", runs.to_str().unwrap()], more].concat()).stdout()
    }

    fn stop(&self) -> Done {
        run(&["runs", "stop", self.run_dir().to_str().unwrap()])
    }

    /// Begins to train, and waits until the run has taken steps.
    fn begun(&self) -> Child {
        let mut child = self.train().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begin = Instant::now();
        // What an earlier run has left there is no sign of life.
        let has_begun = || {
            let status = json(&self.run_dir().join("status.json"));
            status["status"] == "running" && status["step"].as_u64().is_some_and(|step| step > 0)
        };
        while !has_begun() {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            assert!(begin.elapsed() < Duration::from_secs(300), "it does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
        child
    }
}

fn json(path: &Path) -> Value {
    fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or(Value::Null)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_document_has_a_run_directory_of_its_own_kind() {
    let folder = Folder::with(&document(500, USUAL));
    let config = folder.0.path().join("config.yaml");
    let said = finish(&mut folder.train());
    assert_eq!((said.stdout.as_str(), said.status), ("", Some(0)), "{}", said.stderr);
    let run_dir = folder.run_dir();
    assert_eq!(fs::read(run_dir.join("config.yaml")).unwrap(), fs::read(&config).unwrap());
    let expected = ["model_200.ckpt", "model_200.safetensors", "model_400.ckpt", "model_400.safetensors"];
    assert_eq!(names(&run_dir.join("checkpoints")), expected);
    assert!(!run_dir.join("pid").exists());

    let status = json(&run_dir.join("status.json"));
    let told: Vec<_> = ["status", "step", "total_steps"].iter().map(|key| status[key].to_string()).collect();
    assert_eq!(told, ["\"completed\"", "500", "500"]);
    assert!((status["epsilon"].as_f64().unwrap() - 0.081_572).abs() < 1e-9, "{status}");
    let text = fs::read_to_string(run_dir.join("status.json")).unwrap();
    let keys = ["status", "step", "total_steps", "episode", "start_time", "last_heartbeat", "epsilon"];
    let places: Vec<_> = keys.iter().map(|key| text.find(&format!("\"{key}\"")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");

    let meta = json(&run_dir.join("meta.json"));
    assert_eq!((&meta["seed"], &meta["device"]), (&7.into(), &"cpu".into()));
    assert!(meta["python_version"].is_null() && meta["torch_version"].is_null());
    assert_eq!(meta["config_path"].as_str(), config.to_str());
    assert!(meta["command"].as_str().unwrap().contains("--run-dir") && meta["git_dirty"].is_boolean());

    // Each line as the callbacks find things: before they lower anything.
    let table = fs::read_to_string(run_dir.join("metrics.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split(',').take(4).collect()).collect();
    assert_eq!(rows[0], ["step", "episode", "epsilon", "learning_rate"]);
    let steps: Vec<&str> = rows[1..].iter().map(|row| row[0]).collect();
    assert_eq!(steps, ["100", "200", "300", "400", "500"]);
    let number = |row: usize, column: usize| rows[row][column].parse::<f64>().unwrap();
    assert!((number(2, 2) - 0.995f64.powi(199)).abs() < 1e-9);
    let rates: Vec<f64> = (1..6).map(|row| number(row, 3)).collect();
    let expected = [5e-4, 5e-4, 2.5e-4, 2.5e-4, 1.25e-4];
    assert!(rates.iter().zip(expected).all(|(rate, expected)| (rate - expected).abs() < 1e-12), "{rates:?}");

    let line = folder.list(&["--all"]);
    let episodes = status["episode"].to_string();
    let begin = format!("  {:<40} completed  step=500/500 (100.0%)  ep={episodes:<6} ε=0.0816  [", "my_run");
    assert!(line.starts_with(&begin) && line.lines().count() == 1, "{line}");
    assert_eq!(folder.list(&[]), "No running pipelines. Use --all to show completed/stopped runs.\n");

    // The other commands know such a run and its files.
    let path = |name: &str| run_dir.join(name).display().to_string();
    assert!(run(&["runs", "show", &path("")]).stdout().contains("500 of 500"));
    for params in ["", "checkpoints/model_400.ckpt", "checkpoints/model_200.safetensors"] {
        let text = run(&["eval", &path(params), "--episodes", "8", "--device", "cpu"]).stdout();
        assert!(text.contains("8 episodes"), "{params}: {text}");
    }

    // Another run in the same directory begins anew; checkpoints stay.
    fs::write(&config, document(100, USUAL).replace("model", "other")).unwrap();
    fs::write(run_dir.join("stop"), "").unwrap();
    finish(&mut folder.train()).stdout();
    assert_eq!(json(&run_dir.join("status.json"))["step"], 100);
    assert_eq!(names(&run_dir.join("checkpoints")).len(), 4);
    assert_eq!(fs::read_to_string(run_dir.join("metrics.csv")).unwrap().lines().count(), 2);
    assert!(run_dir.join("superseded/final_params.safetensors").is_file());
}

#[cfg(unix)]
#[test]
fn a_run_is_stopped_by_a_signal_or_a_file_goes_on_and_may_be_dead() {
    let folder = Folder::with(&document(1_000_000_000, USUAL));
    let run_dir = folder.run_dir();
    let mut child = folder.begun();
    let line = folder.list(&[]);
    assert!(line.contains(" running ") && line.ends_with(&format!("  (pid={})\n", child.id())), "{line}");
    assert_eq!(fs::read_to_string(run_dir.join("pid")).unwrap(), child.id().to_string());
    // Nobody else may begin there meanwhile.
    finish(&mut folder.train()).fails(1, &["my_run"]);
    assert_eq!(folder.stop().stdout(), format!("Sent SIGTERM to PID {} (my_run)\n", child.id()));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let status = json(&run_dir.join("status.json"));
    assert_eq!(status["status"], "stopped");
    assert!(!run_dir.join("pid").exists());
    let step = status["step"].as_u64().unwrap();
    assert!(run_dir.join(format!("checkpoints/model_{step}.ckpt")).exists(), "what was learned is kept");

    // It goes on from there, and is stopped by a file.
    let mut resumed = lockstep(&["train", "--resume", run_dir.to_str().unwrap()]);
    let mut child = resumed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    while json(&run_dir.join("status.json"))["step"].as_u64().is_none_or(|now| now <= step) {
        assert!(child.try_wait().unwrap().is_none() && begin.elapsed() < Duration::from_secs(300));
        std::thread::sleep(Duration::from_millis(50));
    }
    fs::write(run_dir.join("stop"), "").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(json(&run_dir.join("status.json"))["status"], "stopped");
    let said = folder.stop().stdout();
    assert!(said.starts_with("Created stop file: ") && said.lines().count() == 2, "{said}");

    // A killed one says that it runs, and is dead.
    let mut child = folder.begun();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(json(&run_dir.join("status.json"))["status"], "running");
    assert!(run_dir.join("pid").exists());
    let line = folder.list(&["--all"]);
    assert!(line.contains(" dead ") && line.contains(&format!("(pid={})", child.id())), "{line}");
    assert!(folder.list(&[]).starts_with("No running pipelines."));
}

#[test]
fn a_pool_with_openings_and_mirrors_is_trained_and_another_board() {
    let text = document(200, POOL).replace("rows: 6", "rows: 5");
    let folder = Folder::with(&text);
    let said = finish(&mut folder.train());
    assert_eq!(said.status, Some(0), "{}", said.stderr);
    let run_dir = folder.run_dir();
    assert_eq!(names(&run_dir.join("checkpoints")).len(), 4);
    assert_eq!(json(&run_dir.join("status.json"))["epsilon"], 1.0, "without the callback it stays");
    // Whoever plays with what was trained plays on that board.
    let run_dir = run_dir.to_str().unwrap();
    let device = ["--device", "cpu"];
    let text = run(&[&["eval", run_dir, "--episodes", "8"], &device[..]].concat()).stdout();
    assert!(text.contains("8 episodes"), "{text}");
    let text =
        run(&[&["match", run_dir, "heuristic", "--games", "8", "--json"], &device[..]].concat()).stdout();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["games"] == 8, "{text}");
    let other = Folder::with(&document(25, POOL));
    assert_eq!(finish(&mut other.train()).status, Some(0));
    let params = other.run_dir().display().to_string();
    run(&["match", run_dir, &params]).fails(2, &["play connect4 of different sizes"]);
}

#[test]
fn a_bad_document_is_one_line_and_nothing_is_made() {
    let good = document(500, USUAL);
    for (text, status, parts) in [
        (String::new(), 2, vec!["Config must be a YAML mapping"]),
        ("game: [connect4\nagent: }".to_owned(), 2, vec!["config.yaml"]),
        (good.replace("type: random", "type: league"), 2, vec!["Unknown opponent_sampler type: league"]),
        (
            document(500, POOL).replace("{max_frozen", "{current_self_fraction: 1.5, max_frozen"),
            2,
            vec!["current_self_fraction is 1.5", "from 0 to 1"],
        ),
        (document(500, POOL).replace("seed: 7\n", ""), 2, vec!["requires config seed"]),
        (good.replace("rows: 6", "rows: 60"), 2, vec!["game.params", "60x7 is too large"]),
        (good.replace("total_steps", "total_step"), 2, vec!["train.total_step", "did you mean total_steps?"]),
        (good.replace("replay_buffer_size: 500", "replay_buffer_size: 5"), 2, vec!["batch_size is 8"]),
    ] {
        let folder = Folder::with(&text);
        finish(&mut folder.train()).fails_in_one_line(status, &parts);
        assert!(!folder.0.path().join("runs").exists(), "{parts:?}");
    }
    run(&["train", "--config", "nowhere.yaml"]).fails_in_one_line(1, &["Config not found: /"]);
    run(&["runs", "stop", "runs/nowhere"]).fails_in_one_line(1, &["Run directory not found: runs/nowhere"]);
    assert_eq!(
        run(&["runs", "list", "--runs-dir", "nowhere"]).stdout(),
        "Runs directory not found: nowhere\n"
    );
}

/// A folder of somebody's own is left alone.
#[test]
fn a_directory_that_is_no_run_is_not_taken() {
    let folder = Folder::with(&document(500, USUAL));
    fs::create_dir_all(folder.run_dir()).unwrap();
    fs::write(folder.run_dir().join("notes.txt"), "mine").unwrap();
    finish(&mut folder.train()).fails(1, &["is there already, and is no run"]);
    assert_eq!(names(&folder.run_dir()), ["notes.txt"]);
}

/// The lines of the log of a pool.
fn pool_of(run_dir: &Path) -> Vec<Value> {
    let log = fs::read_to_string(run_dir.join("pool.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// With two places on the device, four agents are frozen; all are kept, and may be met again.
#[test]
fn every_agent_that_was_frozen_stays_in_the_pool() {
    let whole = Folder::with(&document(400, POOL));
    assert_eq!(finish(&mut whole.train()).status, Some(0));
    let run_dir = whole.run_dir();
    let agents =
        ["agent_100.safetensors", "agent_200.safetensors", "agent_300.safetensors", "agent_400.safetensors"];
    assert_eq!(names(&run_dir.join("pool")), agents);
    let log = pool_of(&run_dir);
    let steps: Vec<u64> = log.iter().map(|row| row["timesteps"].as_u64().unwrap()).collect();
    assert_eq!(steps, [100, 200, 300, 400]);
    for row in &log {
        let list = |key: &str| row[key].as_array().unwrap().clone();
        let [here, elsewhere] = [list("opponents"), list("elsewhere")];
        let names: Vec<&str> = here[..4].iter().map(|opponent| opponent["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["random", "heuristic", "smart_heuristic", "self"]);
        let mut since: Vec<u64> =
            here[4..].iter().chain(&elsewhere).map(|frozen| frozen["since"].as_u64().unwrap()).collect();
        since.sort_unstable();
        let now = row["timesteps"].as_u64().unwrap();
        assert_eq!(since, [100, 200, 300, 400].into_iter().filter(|&step| step <= now).collect::<Vec<_>>());
        assert_eq!(here.len(), 4 + since.len().min(2), "{row}");
        // No game is lost where agents change places.
        let count = |key: &str| -> u64 {
            here.iter().chain(&elsewhere).map(|opponent| opponent[key].as_u64().unwrap()).sum()
        };
        assert_eq!(
            ["wins", "draws", "losses"].map(count).iter().sum::<u64>(),
            row["episodes"].as_u64().unwrap()
        );
    }

    // A run that is taken up again meets the same ones.
    let parts = Folder::with(&document(300, POOL));
    assert_eq!(finish(&mut parts.train()).status, Some(0));
    let half = parts.run_dir();
    let resume =
        || finish(&mut lockstep(&["train", "--resume", half.to_str().unwrap(), "--total-timesteps", "400"]));
    let away = pool_of(&half)[2]["elsewhere"][0]["since"].as_u64().unwrap();
    let file = half.join(format!("pool/agent_{away}.safetensors"));
    let kept = fs::read(&file).unwrap();
    fs::remove_file(&file).unwrap();
    resume().fails(1, &[&format!("agent_{away}.safetensors cannot be met"), "there are no parameters"]);
    let small = Folder::with(&document(100, POOL).replace("rows: 6", "rows: 5"));
    assert_eq!(finish(&mut small.train()).status, Some(0));
    fs::copy(small.run_dir().join("pool/agent_100.safetensors"), &file).unwrap();
    resume().fails(
        1,
        &[&format!("agent_{away}.safetensors cannot be met"), "params.hidden.0.kernel is", ", not "],
    );
    fs::write(&file, kept).unwrap();
    assert_eq!(resume().status, Some(0));
    assert_eq!(pool_of(&half), log);
    let params = |run: &Path| fs::read(run.join("final_params.safetensors")).unwrap();
    assert!(params(&half) == params(&run_dir));

    // One of them is a player like any other.
    let agent = run_dir.join("pool/agent_200.safetensors").display().to_string();
    let text = run(&["match", &agent, "random", "--games", "8", "--json", "--device", "cpu"]).stdout();
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["games"], 8, "{text}");
}
