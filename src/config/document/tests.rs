use std::fs;

use toml::Value;

use super::*;
use crate::config::{Config, Ranks, UsageError, resolve, train_command};

const EXAMPLE: &str = include_str!("../../../jax_env_spec/connect4/dqn_connect4.yaml");

/// What a command line with that document comes to.
fn resolved(text: &str, more: &[&str]) -> Result<Config> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my config.yaml");
    fs::write(&path, text).unwrap();
    let catalog = Catalog::builtin();
    let args = [&["--config", path.to_str().unwrap()], more].concat();
    let matches = train_command(&catalog).no_binary_name(true).try_get_matches_from(args)?;
    Ok(resolve(&catalog, &matches, Ranks::ONE)?.config)
}

fn config(text: &str) -> Config {
    resolved(text, &[]).unwrap()
}

/// What is wrong with a document, without the name of its file.
fn complaint(text: &str) -> String {
    let error = resolved(text, &[]).unwrap_err().downcast::<UsageError>().unwrap().to_string();
    assert!(!error.contains('\n'), "{error}");
    error.split_once(".yaml: ").map_or(error.clone(), |(_, problem)| problem.to_owned())
}

/// The smallest document, with other lines under `train` and other parameters of the agent.
fn small(train: &str, params: &str) -> String {
    format!(
        "seed: 1\ngame: {{ id: connect4 }}\nagent: {{ id: dqn, params: {{ {params} }} }}\n\
         train:\n  opponent_sampler: {{ type: random }}\n{train}"
    )
}

#[test]
fn the_example_is_what_the_specification_says() {
    let Config { run, algorithm, settings, .. } = config(EXAMPLE);
    assert_eq!((run.env.as_str(), algorithm.name), ("connect4", "dqn"));
    assert_eq!((run.seed, run.total_timesteps, run.save_steps), (42, 500, Some(200)));
    assert_eq!((run.checkpoint_prefix.as_deref(), run.status_steps), (Some("model"), Some(100)));
    assert_eq!(
        (run.env_set, run.checkpoint_dir.to_str()),
        (vec!["rows=6".into(), "cols=7".into()], Some("runs"))
    );
    assert!(run.run_name.unwrap().starts_with("my_config_20"));
    let document = run.document.unwrap();
    assert_eq!(document.text, EXAMPLE);
    assert!(document.facts.contains(&("seed".into(), json!(42))));
    let expected: Table = "num_envs = 1\nnum_steps = 25\nbatch_size = 128\nreplay_size = 50000\nlr = 5e-4\nlr_decay_interval = 200\n\
                           lr_decay = 0.5\nlr_min = 1e-6\ngamma = 0.99\nepsilon = 1.0\nepsilon_decay = 0.995\nepsilon_min = 0.05\n\
                           epsilon_every = \"step\"\ntarget_update_freq = 200\nsoft_update = false\nconv = [\"64\", \"128\"]\n\
                           conv_channels = \"first\"\nhidden_dim = 256\nnum_layers = 1\ndueling = false\ninit = \"uniform\"\n\
                           max_grad_norm = 1.0\nn_step = 1\nlearning_starts = 0\nupdates_per_step = 1\nopponent = \"random\"\n\
                           start_policy = \"random\"\ngreedy = false\nfreeze_every = 200"
        .parse()
        .unwrap();
    for (key, value) in &expected {
        assert_eq!(settings.get(key), Some(value), "{key}");
    }
}

#[test]
fn what_is_not_said_has_the_defaults_of_the_specification() {
    let Config { run, settings, .. } = config(&small("", ""));
    assert_eq!((run.total_timesteps, run.save_steps, run.metrics_file), (10_000, Some(2000), None));
    let number = |key: &str| settings[key].as_float().unwrap();
    // Nothing is lowered without a callback.
    assert_eq!((number("epsilon_decay"), number("epsilon_min"), number("lr")), (1.0, 0.01, 1e-3));
    assert_eq!(
        (&settings["batch_size"], &settings["lr_decay_interval"]),
        (&Value::from(32), &Value::from(0))
    );
}

#[test]
fn every_key_has_its_setting() {
    let text = small(
        "  num_envs: 4\n  total_steps: 400\n  deterministic: true\n  track_timings: true\n  start_policy: agent_first\n  \
         apply_augmentation: true\n  random_opening: { probability: 0.25, min_half_moves: 2, max_half_moves: 4 }\n  callbacks:\n  \
         - { type: Checkpoint, enabled: false, params: { interval: 7 } }\n  - { type: checkpoint, params: { interval: 80, prefix: a } }\n  \
         - { type: checkpoint, params: { interval: 9 } }\n  - { type: epsilon_decay, params: { every: episode } }\n  \
         - { type: epsilon_decay, params: { every: episode } }\n  - { type: metrics_file, params: { interval: 40, filename: t.csv } }\n",
        "learning_rate: 1, discount_factor: 0.5, epsilon_decay: 0.9, replay_buffer_size: 100, use_per: true, use_twin_q: true, \
         network_type: dueling_dqn, target_q_clip: null, num_actions: 7, observation_shape: [2, 6, 7], seed: 5, device: cpu, \
         compute_detailed_metrics: false, updates_per_step: 2",
    );
    let Config { run, settings, .. } = config(&text);
    assert_eq!((run.save_steps, run.checkpoint_prefix.as_deref()), (Some(80), Some("a")));
    // Updates of 20 steps of 4 environments divide 400 and 80, not 40; those of 10 do.
    assert_eq!((run.log_interval, run.metrics_file.as_deref(), run.seed), (1, Some("t.csv"), 5));
    assert!(run.track_timings && run.device.is_some());
    let expected: Table = "num_envs = 4\nnum_steps = 10\ngreedy = true\naugment = true\nstart_policy = \"agent_first\"\n\
                           opening_share = 0.25\nopening_min = 2\nopening_max = 4\nepsilon_every = \"episode\"\nlr = 1.0\n\
                           gamma = 0.5\nreplay_size = 100\nprioritized = true\ntwin_q = true\ndueling = true\nupdates_per_step = 2"
        .parse()
        .unwrap();
    for (key, value) in &expected {
        assert_eq!(settings.get(key), Some(value), "{key}");
    }
    assert!(
        (settings["epsilon_decay"].as_float().unwrap() - 0.81).abs() < 1e-12,
        "two callbacks lower it twice"
    );
    assert!(settings.get("target_q_clip").is_none());
}

#[test]
fn a_pool_has_its_shares() {
    let sampler = "type: pool\n    params:\n      self_play: { start_episode: 3, current_self_fraction: 0.2, past_self_fraction: 0.8, \
                   max_frozen_agents: 4, save_every: 0 }\n      heuristic_distribution: { random: 1, heuristic: 3 }";
    let text = small("", "").replace("{ type: random }", &format!("\n    {sampler}"));
    let settings = config(&text).settings;
    assert_eq!(settings["opponent"].as_str(), Some("pool"));
    assert_eq!(
        (&settings["max_frozen_agents"], &settings["freeze_every"]),
        (&Value::from(4), &Value::from(2000))
    );
    let mut shares: Vec<&str> =
        settings["heuristic_distribution"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    shares.sort_unstable();
    assert_eq!(shares, ["heuristic=3", "random=1"]);

    let seedless = text.replace("seed: 1\n", "");
    assert_eq!(complaint(&seedless), "opponent_sampler type 'pool' requires config seed.");
    assert!(complaint(&text.replace("0.8", "0.9")).contains("it must be at most 1"));
    assert!(
        complaint(&text.replace("0.8", "1.5"))
            .starts_with("train.opponent_sampler.params.self_play.past_self_fraction is 1.5")
    );
    assert!(complaint(&text.replace("save_every", "save_evry")).ends_with("did you mean save_every?"));
    assert_eq!(
        complaint(&text.replace("type: pool", "type: league")),
        "Unknown opponent_sampler type: league"
    );
}

#[test]
fn other_boards_fit_or_are_refused() {
    let board = |text: &str| {
        small("", "").replace("{ id: connect4 }", &format!("{{ id: connect4, params: {text} }}"))
    };
    let run = config(&board("{ rows: 4, cols: 5 }")).run;
    assert_eq!(run.env_set, ["rows=4", "cols=5"]);
    assert!(
        complaint(&board("{ rows: 20, cols: 20 }")).starts_with("game.params: a board of 20x20 is too large")
    );
    assert_eq!(
        complaint(&board("{ row: 4 }")),
        "game.params.row is no key of such a document; did you mean rows?"
    );
}

#[test]
fn mistakes_are_one_line_with_the_path() {
    assert_eq!(complaint(""), "Config must be a YAML mapping");
    assert_eq!(complaint("# nothing\n"), "Config must be a YAML mapping");
    assert_eq!(complaint("- 1\n- 2\n"), "Config must be a YAML mapping");
    let broken = complaint("game: {id: connect4\nagent: ]\n");
    assert!(broken.contains("line"), "{broken}");
    assert_eq!(complaint("seed: 1\n"), "game is required");
    assert_eq!(complaint("game: {id: connect4}\n"), "agent is required");
    assert_eq!(complaint("game: {}\n"), "game.id is required");
    let without = "game: {id: connect4}\nagent: {id: dqn}\n";
    assert_eq!(complaint(without), "train.opponent_sampler is required");
    assert_eq!(complaint(&format!("{without}train: {{}}\n")), "train.opponent_sampler is required");
    assert!(
        complaint("game: {id: conect4}\n")
            .starts_with("game.id: unknown environment `conect4`; did you mean")
    );
    assert!(
        complaint("game: {id: connect4}\nagent: {id: dqm}\n")
            .contains("unknown algorithm `dqm`; did you mean `dqn`?")
    );
    for (text, problem) in [
        ("  total_step: 5\n", "train.total_step is no key of such a document; did you mean total_steps?"),
        ("  total_steps: 0\n", "train.total_steps is 0; it must be a whole number from 1 on"),
        ("  total_steps: many\n", "train.total_steps is \"many\"; it must be a whole number from 1 on"),
        ("  deterministic: 3\n", "train.deterministic is 3; it must be true or false"),
        ("  callbacks: 3\n", "train.callbacks must be a list"),
        ("  callbacks: [{params: {}}]\n", "train.callbacks[0].type is required"),
        (
            "  callbacks: [{type: lr_decay, params: {decay_facto: 2}}]\n",
            "train.callbacks[0].params.decay_facto is no key of such a document; did you mean decay_factor?",
        ),
        (
            "  callbacks: [{type: lr_decay, params: {interval_steps: 0}}]\n",
            "train.callbacks[0].params.interval_steps is 0; it must be a whole number from 1 on",
        ),
        (
            "  start_policy: me\n",
            "train.start_policy is me; it must be one of random, agent_first, opponent_first",
        ),
        ("  num_envs: 3\n", "train.total_steps is 10000; it must be a multiple of train.num_envs = 3"),
    ] {
        assert_eq!(complaint(&small(text, "")), problem);
    }
    assert!(
        complaint(&small("  callbacks: [{type: chekpoint}]\n", "")).ends_with("did you mean checkpoint?")
    );
    assert_eq!(
        complaint(&small("", "learning_rat: 1")),
        "agent.params.learning_rat is no key of such a document; did you mean learning_rate?"
    );
    assert!(
        complaint(&small("", "batch_size: many"))
            .starts_with("agent.params.batch_size is \"many\": invalid type")
    );
    assert!(complaint(&small("", "learning_rate: 1, lr: 2")).ends_with("which is said already"));
    assert!(complaint(&small("", "num_actions: 9")).contains("but connect4 has 7; leave it out"));
    assert!(complaint(&small("", "network_type: big")).starts_with("agent.params.network_type is \"big\""));
    assert_eq!(complaint(&small("", "epsilon: 1.5")), "epsilon is 1.5; it must be from 0 to 1");
    let missing = resolved("", &["--num-envs", "2"]).unwrap_err();
    assert!(missing.is::<UsageError>());
}

#[test]
fn a_run_directory_is_a_name_in_a_directory() {
    let place = |run_dir: &str| {
        let run = resolved(EXAMPLE, &["--run-dir", run_dir]).unwrap().run;
        (run.checkpoint_dir.display().to_string(), run.run_name.unwrap())
    };
    assert_eq!(place("/somewhere/runs/my_run"), ("/somewhere/runs".into(), "my_run".into()));
    assert_eq!(place("/somewhere/runs/my_run/"), ("/somewhere/runs".into(), "my_run".into()));
    let here = std::env::current_dir().unwrap().display().to_string();
    assert_eq!(place("my_run"), (here, "my_run".into()));
    assert!(resolved(EXAMPLE, &["--run-dir", "/"]).is_err());
    // Flags win over the document.
    assert_eq!(resolved(EXAMPLE, &["--total-timesteps", "50"]).unwrap().run.total_timesteps, 50);
}

#[test]
fn a_missing_file_is_named_with_its_whole_path() {
    let error = read(&Catalog::builtin(), Path::new("nowhere.yaml")).err().unwrap();
    assert!(!error.is::<UsageError>());
    let here = std::env::current_dir().unwrap();
    assert_eq!(error.to_string(), format!("Config not found: {}", here.join("nowhere.yaml").display()));
}
