//! Another crate with an algorithm and a network of its own: its program has all commands, and what it trains is used from Rust.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use lockstep::algorithms::Entry;
use lockstep::envs::{self, Entry as Env, Erased, conformance};
use lockstep::trainer::load_params;
use lockstep::{App, Policy, algorithms};

mod network;
mod reinforce;
mod shaping;
mod training;

/// The program, run with these words: `main` of such a crate.
fn program(words: &str) -> ExitCode {
    let args = ["own"].into_iter().chain(words.split_whitespace()).map(OsString::from);
    App::new("own")
        .algorithm(Entry::of::<reinforce::Reinforce>())
        .algorithms(algorithms::builtin())
        .envs(environments())
        .main_with(args)
}

/// Two of lockstep, learned by the crate's own algorithm. The second packs its observations.
fn environments() -> [Env; 2] {
    ["cartpole", "hackmatrix"].map(|name| {
        let entry = envs::registry::find(name).unwrap();
        entry.algorithm("reinforce").defaults("[reinforce]\nhorizon = 32")
    })
}

#[track_caller]
fn run(words: &str) {
    assert_eq!(format!("{:?}", program(words)), format!("{:?}", ExitCode::SUCCESS), "own {words}");
}

#[track_caller]
fn fails(words: &str, status: u8) {
    assert_eq!(format!("{:?}", program(words)), format!("{:?}", ExitCode::from(status)), "own {words}");
}

#[test]
fn algorithm_and_network_take_less_than_150_lines() {
    let code = [include_str!("network.rs"), include_str!("reinforce.rs")].concat();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let count = code.lines().filter(is_code).count();
    assert!(count < 150, "{count} lines");
}

/// The last value of a metric in the log of a run.
fn last(run: &Path, metric: &str) -> f64 {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    row[metric].as_f64().unwrap_or_else(|| panic!("{metric} in {row}"))
}

#[test]
fn it_trains_with_the_whole_session() {
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().display();
    let train = format!("train --no-wandb --checkpoint-dir {runs} --log-interval 1");
    run(&format!(
        "{train} --run-name a --devices 2 --total-timesteps 20480 --save-interval 10 --eval-interval 10 --eval-episodes 4"
    ));
    let folder = dir.path().join("a");
    for file in [
        "config.toml",
        "checkpoint_20.ckpt",
        "final_params.safetensors",
        "best_params.safetensors",
        "updates.csv",
    ] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    let config = std::fs::read_to_string(folder.join("config.toml")).unwrap();
    assert!(config.contains("algo = \"reinforce\"") && config.contains("horizon = 32"), "{config}");
    let before = last(&folder, "train/loss");
    run(&format!("{train} --resume a --total-timesteps 22528"));
    assert!(last(&folder, "update") == 22.0 && last(&folder, "train/loss") != before);

    // Its flags are its own: they are checked, and belong to it alone.
    fails(&format!("{train} --horizon many"), 2);
    fails(&format!("{train} --clip-eps 0.1"), 2);
    fails(&format!("{train} --algo ppo --horizon 8"), 2);
    fails(&format!("{train} --resume a --horizon 8"), 2);
    fails(&format!("{train} --resume a --algo ppo"), 2);

    let params = folder.join("final_params.safetensors").display().to_string();
    run(&format!("eval {params} --episodes 4 --max-steps 50 --json"));
    run(&format!("watch {params} --episodes 1 --max-steps 5"));
    run(&format!("eval {} --episodes 4 --max-steps 50 --json", folder.join("checkpoint_22.ckpt").display()));
    run(&format!("{train} --run-name g --num-seeds 2 --devices 1 --total-timesteps 2048"));
    run("bench --num-envs 8 --updates 1 --json");
    run("metrics train/loss");
    run("envs cartpole");
    run(&format!("runs --checkpoint-dir {runs} show a"));

    // The plain program says which one to use.
    for words in
        [format!("eval {params}"), format!("watch {params}"), format!("train --resume {}", folder.display())]
    {
        let output = crate::common::lockstep().args(words.split_whitespace()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("reinforce") && said.contains("the program own"), "{words}: {said}");
        assert_eq!(said.trim().lines().count(), 1, "{words}: {said}");
    }

    // From Rust.
    let entry = Entry::of::<reinforce::Reinforce>();
    let spec = envs::registry::find("cartpole").unwrap().spec();
    let mut policy = Policy::load_with(&folder, &entry, &spec).unwrap();
    assert!(policy.act(&[0.0, 0.1, 0.0, -0.1]).unwrap() < 2);
    let error = Policy::load(&folder).err().unwrap().to_string();
    assert!(
        error.ends_with("an algorithm of another program; that loads it with Policy::load_with"),
        "{error}"
    );
}

/// Most of what can be learned in 150 updates: random play balances for 22 steps.
#[test]
fn it_learns() {
    use lockstep::algorithms::learner::{Group as Agents, Start};
    use lockstep::algorithms::{Group, Recipe, metrics, recipe};
    let env = || envs::registry::find("cartpole").unwrap().build();
    let agent = |_| reinforce::Reinforce::make(recipe::defaults(), env().into()).unwrap();
    let start =
        Start { seed: 1, total_updates: 150, max_updates: 150, num_devices: 1, record: Default::default() };
    let mut group = Agents::new(&crate::common::plain_client(), (0..4).map(agent).collect(), &start).unwrap();
    let column = metrics::column(group.members()[0].metrics(), metrics::EPISODE_RETURN).unwrap();
    let rows = group.run(150).unwrap();
    let mut returns: Vec<f32> = rows.iter().map(|rows| rows[149][column]).collect();
    returns.sort_by(f32::total_cmp);
    assert!(returns[1] > 60.0, "{returns:?}");
}

#[test]
#[should_panic(expected = "two algorithms are called `ppo`")]
fn two_algorithms_of_one_name_are_refused() {
    let _ = App::new("own").algorithms(algorithms::builtin()).algorithms(algorithms::builtin());
}

#[test]
#[should_panic(expected = "two environments are called `hackmatrix`")]
fn two_environments_of_one_name_are_refused() {
    let _ = App::new("own").envs(envs::builtin()).envs(envs::builtin());
}

/// Without the potential, 60 steps of a random walk hardly ever reach the goal.
#[test]
fn a_shaped_corridor_is_walked_to_its_end() {
    conformance(&Erased::new(shaping::hurried())).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let runs = dir.path().display();
    let train = format!(
        "own train --env corridor --algo ppo --gamma 0.97 --num-envs 32 --num-steps 64 --hidden-dim 16 --num-layers 1 --ent-coef 0.01 \
         --lr 3e-3 --total-timesteps 61440 --no-wandb --device cpu --checkpoint-dir {runs} --run-name a --eval-interval 30"
    );
    let app = App::new("own").env(shaping::entry()).algorithms(algorithms::builtin());
    let done = app.main_with(train.split_whitespace().map(OsString::from));
    assert_eq!(format!("{done:?}"), format!("{:?}", ExitCode::SUCCESS));
    let value = |metric: &str| last(&dir.path().join("a"), metric);
    let [raw, shaped] = ["stats/raw_return", "stats/shaped_return"].map(value);
    assert!(raw > 0.9, "{raw}");
    assert!((value("train/mean_episode_return") - shaped).abs() < 1e-5);
    assert!((shaped - raw).abs() > 0.01, "{shaped} is not told apart from {raw}");
    assert!(value("eval/stats/raw_return") > 0.9);
}

#[test]
fn a_run_by_hand_is_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let outcome = training::train(dir.path()).unwrap();
    let run = dir.path().join("by-hand");
    assert_eq!((outcome.update, outcome.directory.as_path()), (100, run.as_path()));
    // What was taken back is nowhere: each update stands once in the log.
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let updates: Vec<u64> = log.lines().map(|line| row(line)["update"].as_u64().unwrap()).collect();
    assert_eq!(updates, (1..=10).map(|tenth| tenth * 10).collect::<Vec<_>>());
    let kept = std::fs::read_dir(&run).unwrap().map(|file| file.unwrap().path());
    let mut params = kept.filter(|path| path.to_string_lossy().contains("/params_"));
    let scored = params.find_map(|path| load_params(&path).unwrap().1.remove("score"));
    assert!(scored.unwrap().parse::<f64>().unwrap() > 0.0);

    // The same settings by the command line train the same agent.
    let text = std::fs::read_to_string(run.join("config.toml")).unwrap();
    let config = dir.path().join("again.toml");
    std::fs::write(&config, text.replace("by-hand", "by-command")).unwrap();
    let words = format!("own train --config {} --checkpoint-dir {}", config.display(), dir.path().display());
    let app = App::new("own").envs(envs::builtin()).algorithms(algorithms::builtin());
    let done = app.main_with(words.split_whitespace().map(OsString::from));
    assert_eq!(format!("{done:?}"), format!("{:?}", ExitCode::SUCCESS));
    let params = |name: &str| load_params(&dir.path().join(name).join("final_params.safetensors")).unwrap().0;
    assert!(params("by-hand") == params("by-command"));

    // It can be resumed, and made longer.
    let mut trainer = lockstep::Trainer::resume(&run).unwrap();
    assert!(trainer.is_done() && trainer.update() == 100);
    assert!(trainer.train(1).unwrap_err().to_string().contains("the run has ended"));
    assert!(trainer.load_checkpoint("nowhere.ckpt").is_err());
    assert_eq!(trainer.finish().unwrap().update, 100);
    let wrong = lockstep::Trainer::new("env = 'cartpole'\nlerning_rate = 1").err().unwrap().to_string();
    assert!(wrong.contains("there is no setting lerning_rate"), "{wrong}");
}
