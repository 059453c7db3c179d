//! The words of PufferLib on the command line and in its files.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

use super::{Done, run, trained};

/// The configuration of a run that was trained with these arguments, and what was said.
fn configured(args: &str) -> (Table, Done) {
    configured_with(args, &[])
}

/// The same with more arguments, which may be empty.
fn configured_with(args: &str, more: &[&str]) -> (Table, Done) {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    let all = ["--device", "cpu", "--no-wandb", "--checkpoint-dir", place, "--run-name", "puffer"];
    let done = run(&[&args.split_whitespace().collect::<Vec<_>>()[..], more, &all].concat());
    assert_eq!(done.status, Some(0), "{}", done.stderr);
    let text = fs::read_to_string(folder.path().join("puffer/config.toml")).unwrap();
    let mut config: Table = text.parse().unwrap();
    config.remove("checkpoint_dir"); // each has its own
    (config, done)
}

/// The same run, by flags and by a file.
#[test]
fn flags_and_files_of_pufferlib_are_settings() {
    let (by_flags, _) = configured(
        "train cartpole --train.total-timesteps 320 --vec.total-agents 4 --train.horizon=8 --train.minibatch-size 16 \
         --policy.hidden-size 8 --train.learning-rate .001 --env.max_steps 50",
    );
    let values =
        ["env", "total_timesteps", "num_envs", "num_steps", "num_minibatches", "hidden_dim", "lr", "env_set"];
    let values = values.map(|key| by_flags[key].to_string());
    assert_eq!(values, ["\"cartpole\"", "320", "4", "8", "2", "8", "0.001", "[\"max_steps=50\"]"]);

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("pole.ini");
    let text = "[base]\nenv_name = puffer_other puffer_cartpole\n[vec]\ntotal_agents = 4\nnum_workers = 2 ; moot\n\
                [train]\ntotal_timesteps = 3.2e2\nhorizon = 8\nminibatch_size = 16\nlearning_rate = .001\nvf_clip_coef = .2\n\
                [policy]\nhidden_size = 8\n[env]\nmax_steps = 50\n[sweep.train.gamma]\nmin = .8\n";
    fs::write(&file, text.replace("3.2e2", "320")).unwrap();
    let (by_file, done) = configured(&format!("train --config {}", file.to_str().unwrap()));
    assert_eq!(by_file, by_flags);
    let told = ["pole.ini: these mean nothing here: vec.num_workers", "without them: train.vf_clip_coef"];
    for line in told {
        assert!(done.stderr.contains(line), "{}", done.stderr);
    }
}

#[test]
fn a_preset_gives_way_to_what_is_said() {
    let small = "train bandit --preset puffer --vec.total-agents 8 --num-minibatches 2 --hidden-dim 8 --total-timesteps 1024";
    let (config, _) = configured(&format!("{small} --train.gamma 0.5"));
    let value = |key: &str| config[key].to_string();
    assert_eq!(
        (value("optimizer"), value("lr"), value("gamma")),
        ("\"muon\"".into(), "0.015".into(), "0.5".into())
    );
    assert_eq!((value("num_steps"), value("num_minibatches")), ("64".into(), "2".into()));
}

#[test]
fn an_evaluation_takes_parameters_too() {
    let run_dir = trained().to_str().unwrap();
    let report = run(&["eval", run_dir, "--env.max_steps", "5", "--episodes", "4", "--json"]).stdout();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["episode_length"]["max"], 5.0);
}

#[test]
fn mistakes_are_one_line() {
    let wrong = |args: &str, parts: &[&str]| {
        let args: Vec<&str> = args.split_whitespace().collect();
        run(&args).fails_in_one_line(2, parts);
    };
    wrong("train cartpole --train.lerning-rate 1", &["did you mean --train.learning-rate?"]);
    wrong("train cart-pole", &["did you mean `cartpole`?"]);
    wrong("train cartpole --vec.num-workers 2", &["--vec.num-workers means nothing here"]);
    wrong("train cartpole --train.learning-rate 1 --lr 1", &["--lr"]);
    wrong("train cartpole --env.gravitas 1", &["cartpole has no option gravitas; it has gravity,"]);
    wrong(
        "train cartpole --env.gravity 1000",
        &["the option gravity of cartpole is 1000; it must be from 0 to 100"],
    );
    wrong("train cartpole --env.max_steps x", &["takes a whole number, not x"]);
    wrong("train cartpole --train.minibatch-size 7", &["needs the number of agents and the horizon"]);
    wrong("train cartpole --preset pufer", &["pufer"]);
    wrong("train cartpole --prio-alpha -1", &["prio_alpha is -1; it must be from 0 to 10"]);
    wrong("train cartpole --accumulate 0", &["accumulate is 0"]);

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("x.ini");
    let file = file.to_str().unwrap();
    for (text, part) in [
        (
            "[train]\nlerning_rate = 1",
            ": there is no setting train.lerning_rate; did you mean train.learning_rate?",
        ),
        ("[train]\nlearning_rate = fast", "lr = \"fast\": "),
        ("[train\n", ", line 1: the section has no ]"),
        ("[base]\nenv_name = puffer_poles", "unknown environment `poles`"),
    ] {
        fs::write(file, text).unwrap();
        wrong(&format!("train --config {file}"), &[part]);
    }
    run(&["train", "--config", "nowhere.ini"]).fails_in_one_line(1, &["cannot read nowhere.ini"]);
}

#[test]
fn ranges_of_parameters_are_listed() {
    let text = run(&["envs", "bandit"]).stdout();
    assert!(text.contains("0 to 3: the arm that pays"), "{text}");
    let text = run(&["envs", "asteroid"]).stdout();
    assert!(text.contains("any number"), "{text}");
    let facts: Value = serde_json::from_str(&run(&["envs", "bandit", "--json"]).stdout()).unwrap();
    assert_eq!(facts["ranges"]["solution"], serde_json::json!([0.0, 3.0]));
}

#[test]
fn charts_have_puffers_names_where_they_are_wanted() {
    let folder = TempDir::new().unwrap();
    let place = folder.path().to_str().unwrap();
    let sizes = "train cartpole --num-envs 4 --num-steps 8 --hidden-dim 8 --total-timesteps 32 --device cpu --no-wandb --run-name a";
    let words: Vec<&str> = sizes.split_whitespace().collect();
    run(&[&words[..], &["--checkpoint-dir", place, "--metric-names", "puffer"]].concat()).stdout();
    let run_dir = folder.path().join("a");
    let events = fs::read_dir(run_dir.join("tensorboard")).unwrap().next().unwrap().unwrap().path();
    let events = String::from_utf8_lossy(&fs::read(events).unwrap()).into_owned();
    for name in
        ["SPS", "losses/policy_loss", "losses/importance", "environment/n", "agent_steps", "learning_rate"]
    {
        assert!(events.contains(name), "{name}");
    }
    assert!(!events.contains("train/pg_loss"));
    // What lockstep's own commands read stays as it is.
    assert!(fs::read_to_string(run_dir.join("metrics.jsonl")).unwrap().contains("train/pg_loss"));
    run(&["train", "cartpole", "--metric-names", "tiger"]).fails_in_one_line(2, &["tiger"]);
}

/// An environment whose images are read by convolutions by default can be learned without.
#[test]
fn convolutions_can_be_turned_off() {
    for none in ["none", ""] {
        let (config, _) = configured_with(
            "train --env goodharts --num-envs 4 --num-steps 4 --num-minibatches 1 --hidden-dim 8 --total-timesteps 16",
            &["--conv", none],
        );
        assert_eq!(config["conv"].to_string(), "[]");
    }
}
