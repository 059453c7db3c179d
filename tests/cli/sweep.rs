//! `lockstep sweep` from outside: a search that is killed and goes on, workers side by side, and what users do wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::{Done, finish, lockstep, run};
use crate::common::Ending;

/// Trials of ten small updates, three of them side by side.
const HEAD: &str = "env = \"cartpole\"\nnum_envs = 4\nnum_steps = 32\nhidden_dim = 8\ntotal_timesteps = 1280\nlog_interval = 2\n\
                    device = \"cpu\"\nno_wandb = true\n[sweep]\nparallel = 3\n";
const LR: &str = "[sweep.lr]\ndistribution = \"log_normal\"\nmin = 1e-5\nmax = 1e-1\n";

/// A directory with the file `s.toml`, and the arguments by which the sweep begins in it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(sweep: &str) -> Place {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("s.toml"), format!("{HEAD}{sweep}")).unwrap();
        Place { folder }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn begin(&self) -> Command {
        lockstep(&["sweep", &self.path("s.toml"), "--checkpoint-dir", &self.path("runs")])
    }

    fn sweep(&self) -> String {
        self.path("runs/s")
    }

    fn show(&self) -> Value {
        shown(&self.sweep())
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.path("runs/s/sweep.jsonl")).unwrap_or_default()
    }
}

fn shown(sweep: &str) -> Value {
    serde_json::from_str(&run(&["sweep", "show", sweep, "--json"]).stdout()).unwrap()
}

fn trials(shown: &Value) -> &Vec<Value> {
    shown["trials"].as_array().unwrap()
}

fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until something is so, for at most five minutes: a machine may be busy.
#[track_caller]
fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("it did not become so");
}

fn kill(mut process: Child) {
    process.kill().unwrap(); // SIGKILL
    process.wait().unwrap();
}

#[test]
fn a_sweep_goes_on_after_it_was_killed_and_its_best_configuration_is_trained() {
    let ent_coef = "[sweep.ent_coef]\ndistribution = \"log_normal\"\nmin = 1e-4\nmax = 1e-1\n";
    let place = Place::new(&format!("max_runs = 7\n{LR}{ent_coef}"));
    let process = spawn(&mut place.begin());
    wait_until(|| place.journal().lines().count() >= 4);
    kill(process);
    let resumed = run(&["sweep", "--resume", "s", "--checkpoint-dir", &place.path("runs")]);
    assert_eq!(resumed.status, Some(0), "{}", resumed.stderr);
    assert!(resumed.stderr.contains("completed 7 trials; the best is trial"), "{}", resumed.stderr);
    assert!(
        resumed.stderr.contains("group s: 3 agents"),
        "trials are trained as a group: {}",
        resumed.stderr
    );

    let shown = place.show();
    assert_eq!(trials(&shown).len(), 7);
    for trial in trials(&shown) {
        assert_eq!(trial["status"], "completed", "{trial}");
        assert!(trial["score"].as_f64().unwrap() > 5.0 && trial["cost"].as_f64().unwrap() > 0.0);
        let configuration =
            fs::read_to_string(place.path(&format!("runs/s/{}/config.toml", trial["run"].as_str().unwrap())));
        let configuration: toml::Table = configuration.unwrap().parse().unwrap();
        assert_eq!(configuration["lr"].as_float(), trial["values"]["lr"].as_f64());
    }
    assert!(trials(&shown).iter().any(|trial| trial["attempt"] == 2), "what was running is run again");
    let best = shown["best"].as_u64().unwrap() as usize - 1;
    assert!(!shown["front"].as_array().unwrap().is_empty() && shown["importance"]["lr"].is_number());

    let runs = place.sweep();
    let names: Vec<&str> = trials(&shown).iter().map(|trial| trial["run"].as_str().unwrap()).collect();
    let compared = run(&["runs", "compare", names[0], names[1], "--checkpoint-dir", &runs]).stdout();
    assert!(compared.contains("ent_coef"), "{compared}");
    let text = run(&["sweep", "show", &runs]).stdout();
    assert!(text.contains("Pareto front") && text.contains("7 of 7 trials done"), "{text}");
    let picture = place.path("s.svg");
    run(&["sweep", "show", &runs, "--plot", &picture]).stdout();
    assert!(fs::read_to_string(&picture).unwrap().contains("over ent_coef"));

    let file = place.path("best.toml");
    fs::write(&file, run(&["sweep", "best", &runs]).stdout()).unwrap();
    run(&["train", "--config", &file, "--checkpoint-dir", &place.path("runs"), "--run-name", "best"])
        .stdout();
    let trained: toml::Table =
        fs::read_to_string(place.path("runs/best/config.toml")).unwrap().parse().unwrap();
    assert_eq!(trained["lr"].as_float(), trials(&shown)[best]["values"]["lr"].as_f64());

    finish(&mut place.begin()).fails_in_one_line(1, &["there is a sweep in", "--resume"]);
    let again = run(&["sweep", "--resume", &runs]);
    assert_eq!(again.status, Some(0), "there is nothing left to do: {}", again.stderr);
}

#[test]
fn a_trial_of_several_seeds_has_their_mean() {
    let place = Place::new(&format!("max_runs = 2\nseeds = 2\nmethod = \"sobol\"\n{LR}"));
    let done = finish(&mut place.begin());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    assert!(done.stderr.contains("group s: 4 agents"), "{}", done.stderr);
    let shown = place.show();
    for trial in trials(&shown) {
        let number = trial["trial"].as_u64().unwrap();
        let returns = |seed: u64| -> Vec<Option<f64>> {
            let log =
                fs::read_to_string(place.path(&format!("runs/s/s-t{number}-s{seed}/metrics.jsonl"))).unwrap();
            let row = |line: &str| serde_json::from_str::<Value>(line).unwrap();
            log.lines().map(|line| row(line)["train/mean_episode_return"].as_f64()).collect()
        };
        // The mean of the last rows in which both have a value: a row in which no episode ended has none.
        let [first, second] = [0, 1].map(returns);
        let both = first.iter().zip(&second).rev().find_map(|(a, b)| a.zip(*b)).unwrap();
        let (mean, score) = ((both.0 + both.1) / 2.0, trial["score"].as_f64().unwrap());
        assert!((mean - score).abs() < 1e-9 && first != second, "{mean} {trial}");
    }
    let both = Place::new(&format!("seeds = 2\nearly_stop = \"median\"\n{LR}"));
    finish(&mut both.begin())
        .fails_in_one_line(2, &["sweep.seeds is 2, but an early stop is for trials of one run"]);
}

/// A file of PufferLib, with its own words.
#[test]
fn a_file_of_pufferlib_is_a_sweep() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pole.ini");
    let text = "[base]\npackage = ocean\nenv_name = puffer_cartpole\n[vec]\ntotal_agents = 4\n[env]\nmax_steps = 50\n\
                [policy]\nhidden_size = 8\n[train]\ntotal_timesteps = 1280\nhorizon = 32\n\
                [sweep]\nmethod = Random ; no model for three trials\nmetric = score\ngoal = maximize\nmax_runs = 3\ngpus = 1\n\
                [sweep.train.learning_rate]\ndistribution = log_normal\nmin = 0.0001\nmean = 0.001\nmax = 0.1\nscale = 0.5\n\
                [sweep.env.gravity]\ndistribution = uniform\nmin = 5\nmax = 15\nscale = auto\n\
                [sweep.train.minibatch_size]\ndistribution = uniform_pow2\nmin = 8\nmax = 64\n";
    fs::write(&file, text).unwrap();
    let runs = folder.path().join("runs").display().to_string();
    let begin = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = lockstep(&["sweep", file.to_str().unwrap(), "--checkpoint-dir", &runs]);
        finish(command.envs([("LOCKSTEP_DEVICE", "cpu"), ("LOCKSTEP_NO_WANDB", "1")]))
    };
    begin(&text.replace("learning_rate]", "lerning_rate]"))
        .fails_in_one_line(2, &["pole.ini, line 20", "did you mean sweep.train.learning_rate?"]);
    begin(&text[..text.find("[sweep]").unwrap()]).fails_in_one_line(2, &["pole.ini is no file of a sweep"]);
    begin(&text.replace("max = 15", "max = 2")).fails(2, &["sweep.env.gravity.min is 5 and max is 2"]);
    let done = begin(text);
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let told =
        ["do not vary here: train.minibatch_size", "sweep.gpus has no effect here", "completed 3 trials"];
    for line in told {
        assert!(done.stderr.contains(line), "no {line:?} in {}", done.stderr);
    }
    let sweep = format!("{runs}/pole");
    let shown = shown(&sweep);
    assert_eq!(trials(&shown).len(), 3);
    for trial in trials(&shown) {
        let run = Path::new(&sweep).join(trial["run"].as_str().unwrap());
        let config: toml::Table = fs::read_to_string(run.join("config.toml")).unwrap().parse().unwrap();
        assert_eq!(config["lr"].as_float(), trial["values"]["lr"].as_f64());
        assert_eq!(config["num_steps"].as_integer(), Some(32));
        let gravity = format!("gravity={}", trial["values"]["env.gravity"]);
        let options = config["env_set"].as_array().unwrap();
        assert!(
            options.contains(&"max_steps=50".into()) && options.contains(&gravity.as_str().into()),
            "{options:?}"
        );
    }
}

#[test]
fn a_trial_that_diverges_fails_and_the_others_go_on() {
    let place = Place::new(
        "method = \"grid\"\n[sweep.lr]\nvalues = [1e-3, 1e30]\n[sweep.num_steps]\nvalues = [32, 16]\n",
    );
    let done = finish(&mut place.begin());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let shown = place.show();
    let failed: Vec<&Value> = trials(&shown).iter().filter(|trial| trial["status"] == "failed").collect();
    assert_eq!((trials(&shown).len(), failed.len()), (4, 2), "{shown}");
    for trial in failed {
        assert_eq!(trial["values"]["lr"], 1e30);
        assert!(trial["error"].as_str().unwrap().contains("the state before it is kept"), "{trial}");
    }
    assert!(run(&["sweep", "show", &place.sweep()]).stdout().contains("2 failed"));
}

#[test]
fn where_all_trials_fail_the_sweep_ends_and_says_why() {
    let place = Place::new(
        "method = \"random\"\nmax_runs = 20\n[sweep.lr]\ndistribution = \"log_normal\"\nmin = 1e30\nmax = 1e32\n",
    );
    finish(&mut place.begin()).fails(1, &["trials failed, the last with", "the state before it is kept"]);
    run(&["sweep", "best", &place.sweep()]).fails_in_one_line(1, &["no trial of s has a score yet"]);
}

#[test]
fn what_makes_no_sense_is_said_in_one_line() {
    let with = |sweep: &str| finish(&mut Place::new(sweep).begin());
    let range = |name: &str, min: &str, max: &str| {
        format!("[sweep.{name}]\ndistribution = \"uniform\"\nmin = {min}\nmax = {max}\n")
    };
    with(&range("lrr", "0", "1")).fails_in_one_line(2, &["there is no setting lrr; did you mean lr?"]);
    with(&range("lr", "1", "0.5"))
        .fails_in_one_line(2, &["sweep.lr.min is 1 and max is 0.5; min must be below max"]);
    with(&range("gamma", "0.5", "1.5"))
        .fails_in_one_line(2, &["s.toml: sweep.gamma may be 1.5: gamma is 1.5"]);
    with(&range("env.gravty", "1", "2"))
        .fails_in_one_line(2, &["cartpole has no option gravty; did you mean env.gravity?"]);
    with(&range("anneal_lr", "0", "1")).fails_in_one_line(2, &["anneal_lr is no number", "values = [..]"]);
    with(&range("run_name", "0", "1")).fails_in_one_line(2, &["run_name cannot vary"]);
    with("").fails_in_one_line(2, &["nothing varies"]);
    with(&format!("metric = \"train/mean_episode_retrn\"\n{LR}")).fails_in_one_line(
        2,
        &["there is no metric train/mean_episode_retrn; did you mean train/mean_episode_return?"],
    );
    with(&format!("metric = \"eval/mean_return\"\n{LR}"))
        .fails_in_one_line(2, &["evaluations need eval_interval"]);
    with(&format!("methd = \"grid\"\n{LR}"))
        .fails_in_one_line(2, &["there is no sweep.methd; did you mean method?"]);
    with("= 3").fails_in_one_line(2, &["s.toml, line "]);
    let place = Place::new(LR);
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    let file = |text: &str| {
        fs::write(place.path("s.toml"), text).unwrap();
        finish(&mut place.begin())
    };
    file(&text.replace("num_envs", "num_env"))
        .fails_in_one_line(2, &["there is no setting num_env; did you mean num_envs?"]);
    file(&format!("num_seeds = 2\n{text}"))
        .fails_in_one_line(2, &["num_seeds is 2, but a trial trains one agent"]);
    file("lr = 1e-3").fails_in_one_line(2, &["s.toml is no file of a sweep: it has no table [sweep]"]);
    file("%YAML 1.2\nsweep: 3").fails_in_one_line(2, &["s.toml, line 1"]);
    let variable = finish(place_with(&text, &place).env("LOCKSTEP_LR", "0.5"));
    variable.fails_in_one_line(2, &["LOCKSTEP_LR is set, so lr cannot vary"]);
    run(&["sweep", "nowhere.toml"]).fails_in_one_line(1, &["cannot read nowhere.toml"]);
    run(&["sweep", "show", "nothing"]).fails_in_one_line(2, &["there is no sweep nothing in checkpoints"]);
    run(&["sweep", "--resume", "nothing"]).fails_in_one_line(2, &["there is no sweep nothing"]);
    run(&["sweep", "worker"]).fails_in_one_line(2, &["--storage <URL>"]);
    run(&["sweep", "worker", "--storage", "postgres://nobody@127.0.0.1:1/none"])
        .fails_in_one_line(1, &["cannot connect to postgres://nobody@127.0.0.1:1/none"]);
    assert!(!Path::new(&place.path("runs")).exists(), "nothing was made");
}

fn place_with(text: &str, place: &Place) -> Command {
    fs::write(place.path("s.toml"), text).unwrap();
    place.begin()
}

#[test]
fn a_journal_that_is_none_is_named() {
    let place = Place::new(LR);
    fs::create_dir_all(place.sweep()).unwrap();
    fs::write(place.path("runs/s/sweep.jsonl"), "lr = 3\n").unwrap();
    for command in [&["sweep", "show"][..], &["sweep", "best"], &["sweep", "--resume"]] {
        let done = run(&[command, &[&place.sweep()]].concat());
        done.fails_in_one_line(1, &["line 1 of", "sweep.jsonl is no event of a sweep"]);
    }
}

/// A limit on the size of files is met as a full disk is: the write fails.
#[cfg(unix)]
#[test]
fn a_full_disk_ends_the_sweep_and_leaves_nothing_half_written() {
    let values: Vec<String> = (1..400).map(|value| format!("{value}e-6")).collect();
    let place = Place::new(&format!("[sweep.lr]\nvalues = [{}]\n", values.join(", ")));
    let command = place.begin();
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 2; exec \"$0\" \"$@\""]);
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        value.map(|value| shell.env(name, value));
    }
    finish(&mut shell).fails_in_one_line(1, &["cannot write", "sweep.jsonl: File too large"]);
    assert_eq!(place.journal(), "");
}

/// Begins a sweep with one worker, lets a second one join, kills the first while it trains, and waits for the second.
fn workers(place: &Place, begin: &mut Command, join: &mut Command, shown: &dyn Fn() -> Value) -> Done {
    let first = spawn(begin);
    let has_begun = || {
        let directory = fs::read_dir(place.sweep()).into_iter().flatten().flatten();
        directory.filter(|entry| entry.path().join("metrics.jsonl").exists()).count() >= 2
    };
    wait_until(has_begun);
    let second = join.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until(|| {
        let all = shown();
        let running = |second: bool| {
            let of_worker = |trial: &&Value| (trial["worker"] == "second") == second;
            trials(&all).iter().filter(of_worker).any(|trial| trial["status"] == "running")
        };
        running(false) && running(true)
    });
    kill(first);
    let done = super::done(second.wait_with_output().unwrap());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let all = shown();
    assert!(trials(&all).iter().all(|trial| trial["status"] == "completed"), "{all}");
    let mut workers: Vec<&str> = trials(&all).iter().map(|trial| trial["worker"].as_str().unwrap()).collect();
    workers.dedup();
    assert!(workers.contains(&"second"), "{all}");
    let again: Vec<&Value> = trials(&all).iter().filter(|trial| trial["attempt"] == 2).collect();
    assert!(!again.is_empty() && again.iter().all(|trial| trial["worker"] == "second"), "{all}");
    done
}

/// Trials that take some seconds each, longer than a second worker takes to join; two of them side by side.
fn long_trials() -> Place {
    let place = Place::new(&format!("max_runs = 6\nmethod = \"sobol\"\n{LR}"));
    let text = fs::read_to_string(place.path("s.toml")).unwrap();
    let text = text.replace("parallel = 3", "parallel = 2").replace("= 1280", "= 300_000");
    fs::write(place.path("s.toml"), text).unwrap();
    place
}

#[test]
fn the_trials_of_a_killed_worker_are_run_by_another() {
    let place = long_trials();
    let sweep = place.sweep();
    let mut join = lockstep(&["sweep", "worker", "--storage", &sweep, "--worker-name", "second"]);
    workers(&place, &mut place.begin(), &mut join, &|| place.show());
    assert_eq!(trials(&place.show()).len(), 6);
}

/// A PostgreSQL server of its own; nothing where there is none. It does not run for root, so it becomes another user then.
struct Server {
    _process: Ending,
    url: String,
    _folder: TempDir,
}

#[cfg(unix)]
fn server() -> Option<Server> {
    use std::os::unix::fs::chown;
    use std::os::unix::process::CommandExt;

    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let bin = versions.chain(std::env::split_paths(&path)).find(|bin| bin.join("initdb").exists())?;
    let user = rustix::process::geteuid().is_root().then(|| {
        let users = fs::read_to_string("/etc/passwd").unwrap();
        let id = users
            .lines()
            .find_map(|line| line.strip_prefix("postgres:")?.split(':').nth(1)?.parse::<u32>().ok());
        id.expect("the package makes the user postgres")
    });
    let as_user = |program: &str| {
        let mut command = Command::new(bin.join(program));
        if let Some(user) = user {
            command.uid(user);
        }
        command
    };
    let folder = TempDir::new().unwrap();
    if let Some(user) = user {
        chown(folder.path(), Some(user), None).unwrap();
    }
    let data: PathBuf = folder.path().join("data");
    let made = as_user("initdb")
        .args(["-A", "trust", "-U", "me", "-N", "-D"])
        .arg(&data)
        .current_dir(folder.path())
        .output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut serve = as_user("postgres");
    serve.arg("-D").arg(&data).arg("-k").arg(folder.path()).args(["-p", &port.to_string(), "-F"]);
    let process = Ending(spawn(serve.args(["-c", "listen_addresses=127.0.0.1"]).current_dir(folder.path())));
    let url = format!("postgres://me@127.0.0.1:{port}/postgres");
    let server = Server { _process: process, url, _folder: folder };
    wait_until(|| {
        let asked =
            Command::new(bin.join("pg_isready")).args(["-h", "127.0.0.1", "-p", &port.to_string()]).output();
        asked.unwrap().status.success()
    });
    Some(server)
}

#[cfg(unix)]
#[test]
fn workers_share_a_postgresql_server() {
    let Some(server) = server() else {
        println!("skipped: there is no PostgreSQL server here (apt-get install postgresql)");
        return;
    };
    let place = long_trials();
    let url = server.url.clone();
    let runs = place.path("runs");
    run(&["sweep", "show", &url]).fails_in_one_line(1, &["holds no sweep; begin one with"]);
    let mut begin = place.begin();
    begin.args(["--storage", &url]);
    let mut join = lockstep(&["sweep", "worker", "--storage", &url, "--checkpoint-dir", &runs]);
    join.args(["--worker-name", "second", "--patience", "3"]);
    workers(&place, &mut begin, &mut join, &|| shown(&url));
    assert_eq!(trials(&shown(&url)).len(), 6);
    assert!(run(&["sweep", "best", &url]).stdout().contains("lr = "));
    let taken = finish(place.begin().args(["--storage", &url]));
    taken.fails_in_one_line(1, &["has a sweep s already"]);
    let other = run(&["sweep", "worker", "--storage", &url, "--run-name", "t"]);
    other.fails_in_one_line(1, &["has no sweep t; it has s"]);
}
