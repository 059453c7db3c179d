use std::fs;
use std::path::Path;

use super::*;
use crate::algorithms::ppo;
use crate::trainer::{Checkpoint, Progress};

fn try_resolve(args: &[&str]) -> Result<Resolved> {
    let catalog = Catalog::builtin();
    let matches = train_command(&catalog).no_binary_name(true).try_get_matches_from(args)?;
    resolve(&catalog, &matches, Ranks::ONE)
}

/// The settings with their types.
fn ppo(config: &Config) -> ppo::Settings {
    config.settings.clone().try_into().unwrap()
}

fn config(args: &[&str]) -> Config {
    try_resolve(args).unwrap().config
}

/// The message of a mistake that ends with exit status 2.
fn usage_error(args: &[&str]) -> String {
    let error = try_resolve(args).unwrap_err();
    let text = error.downcast::<UsageError>().unwrap().to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

fn file(dir: &Path, text: &str) -> String {
    let path = dir.join("c.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn without_flags_the_defaults_hold() {
    let config = config(&[]);
    let algo = Some("ppo".to_owned());
    let run = trainer::Settings { env: "hackmatrix".into(), algo, ..trainer::Settings::default() };
    assert_eq!((&config.run, ppo(&config)), (&run, ppo::Settings::default()));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_environments_defaults() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "env = \"cartpole\"\nlr = 1\nent_coef = 0.5\nsave_interval = 7\n");
    let config = config(&["--config", &path, "--ent-coef", "0.25", "--anneal-lr", "false", "--no-wandb"]);
    assert_eq!(config.run.env, "cartpole");
    assert_eq!((ppo(&config).num_envs, ppo(&config).activation), (4, crate::nn::Activation::Tanh));
    assert_eq!((ppo(&config).lr, ppo(&config).ent_coef, ppo(&config).anneal_lr), (1.0, 0.25, false));
    assert_eq!((config.run.save_interval, config.run.no_wandb), (Some(7), true));
    // A flag that says the default still wins.
    let same = super::tests::config(&["--config", &path, "--ent-coef", "0.15", "--num-envs", "256"]);
    assert_eq!((ppo(&same).ent_coef, ppo(&same).num_envs), (0.15, 256));
}

#[test]
fn a_written_configuration_reads_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let all = [
        ["--env", "cartpole"],
        ["--num-envs", "2048"],
        ["--device", "cuda"],
        ["--seed", "9223372036854775807"],
        ["--max-grad-norm", "inf"],
        ["--run-suffix", "x"],
        ["--save-interval", "3"],
        ["--auto-tune", "true"],
        ["--init", "orthogonal"],
        ["--precision", "bf16"],
        ["--deterministic", "true"],
        ["--total-timesteps", "5"],
    ];
    for args in [&[][..], all.as_flattened()] {
        let mut original = config(args);
        original.adapt(DeviceKind::Cuda).unwrap();
        let path = file(dir.path(), &original.to_toml().unwrap());
        let mut again = config(&["--config", &path]);
        assert_eq!(again, original);
        assert!(again.adapt(DeviceKind::Cpu).unwrap().is_empty());
        assert_eq!(again, original);
    }
}

/// It is code, so that a file which somebody else may have written names none.
#[test]
fn a_plugin_comes_from_a_flag_only() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = Path::new("/mine.so");
    let written = config(&["--plugin", "/mine.so"]);
    assert_eq!(written.run.plugin.as_deref(), Some(plugin));
    assert!(!written.to_toml().unwrap().contains("/mine.so"));

    let path = file(dir.path(), "plugin = \"/theirs.so\"\nnum_envs = 64\n");
    let resolved = try_resolve(&["--config", &path]).unwrap();
    assert_eq!((ppo(&resolved.config).num_envs, resolved.config.run.plugin), (64, None));
    let note = format!(
        "warning: {path}: plugin = \"/theirs.so\" is not loaded, since it is code; name it with --plugin"
    );
    assert_eq!(resolved.notes, [note]);
    assert_eq!(config(&["--config", &path, "--plugin", "/mine.so"]).run.plugin.as_deref(), Some(plugin));
    assert_eq!(
        Config::stored(&Catalog::builtin(), "env = \"cartpole\"\nplugin = \"/theirs.so\"")
            .unwrap()
            .run
            .plugin,
        None
    );

    let run = dir.path().join("run");
    fs::create_dir(&run).unwrap();
    let config = "env = \"cartpole\"\nplugin = \"/theirs.so\"\n".to_string();
    let (env, progress) = ("cartpole".to_string(), Progress::new(&[]));
    let stored = Checkpoint { config, env, progress, state: Vec::new(), best: None };
    stored.save(&run.join("checkpoint_1.ckpt")).unwrap();
    let resolved = try_resolve(&["--resume", run.to_str().unwrap()]).unwrap();
    assert_eq!(resolved.config.run.plugin, None);
    assert!(resolved.notes[0].contains("is not loaded"), "{:?}", resolved.notes);
}

#[test]
fn mistakes_in_a_file_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let complaint = |text: &str| {
        let path = file(dir.path(), text);
        usage_error(&["--config", &path]).replace(&path, "FILE")
    };
    assert_eq!(complaint("num_env = 3"), "FILE: there is no setting num_env; did you mean num_envs?");
    assert_eq!(complaint("num-envs = 3"), "FILE: there is no setting num-envs; did you mean num_envs?");
    assert_eq!(
        complaint("xyzzy = 3"),
        "FILE: there is no setting xyzzy; `lockstep train --help` lists the settings"
    );
    assert_eq!(
        complaint("num_envs = \"many\""),
        "FILE: num_envs = \"many\": invalid type: string \"many\", expected usize"
    );
    assert!(complaint("num_envs = 2.5").starts_with("FILE: num_envs = 2.5: invalid type: floating point"));
    assert!(complaint("num_envs = -2").starts_with("FILE: num_envs = -2: invalid value: integer `-2`"));
    assert!(complaint("no_wandb = 1").starts_with("FILE: no_wandb = 1: invalid type: integer `1`"));
    assert!(complaint("activation = \"gelu\"").contains("unknown variant `gelu`, expected `relu` or `tanh`"));
    assert!(
        complaint("precision = \"f16\"").contains("unknown variant `f16`, expected one of `f32`, `tf32`")
    );
    assert!(complaint("lr = 1e-4\ngamma 0.9\n").starts_with("FILE, line 2: "));
    assert_eq!(complaint("gamma = 2"), "gamma is 2; it must be from 0 to 1");
    assert_eq!(complaint("env = \"chess\""), "unknown environment `chess`; `envs` lists all");
    let missing = try_resolve(&["--config", "/nowhere.toml"]).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read /nowhere.toml");
}

#[test]
fn mistakes_in_flags_are_named() {
    assert_eq!(usage_error(&["--num-envs", "0"]), "num_envs is 0; it must be from 1 to 4194304");
    assert_eq!(
        usage_error(&["--num-envs", "18446744073709551615"]),
        "num_envs is 18446744073709551615; it must be from 1 to 4194304"
    );
    assert_eq!(usage_error(&["--lr", "-1"]), "lr is -1; it must be a finite number above 0");
    assert_eq!(usage_error(&["--gamma", "nan"]), "gamma is NaN; it must be from 0 to 1");
    assert!(usage_error(&["--log-interval", "18446744073709551615"]).starts_with("log_interval is"));
    let message = |args: &[&str]| try_resolve(args).unwrap_err().to_string();
    assert!(message(&["--num-env", "3"]).contains("--num-envs"));
    assert!(message(&["--num-envs", "many"]).contains("invalid value 'many' for '--num-envs <N>'"));
    assert!(message(&["--seed", "-1"]).contains("invalid value '-1' for '--seed <N>'"));
    assert!(message(&["--rewind"]).contains("--resume"));
    assert!(message(&["--config", "a", "--resume", "b"]).contains("cannot be used with"));
}

fn adapted(args: &[&str], device: DeviceKind) -> (Config, Vec<String>) {
    let mut config = config(args);
    let lines = config.adapt(device).unwrap();
    (config, lines)
}

#[test]
fn large_batches_are_scaled_unless_the_minibatches_were_chosen() {
    let (scaled, lines) = adapted(&["--num-envs", "2048"], DeviceKind::Cpu);
    assert_eq!((ppo(&scaled).num_minibatches, ppo(&scaled).update_epochs), (32, 2));
    assert!(lines[0].starts_with("auto-scale: num_minibatches 4 -> 32, update_epochs 4 -> 2"), "{lines:?}");
    let (chosen, lines) = adapted(&["--num-envs", "2048", "--num-minibatches", "8"], DeviceKind::Cpu);
    assert_eq!((ppo(&chosen).num_minibatches, lines.len()), (8, 0));
    let (off, lines) = adapted(&["--num-envs", "2048", "--auto-scale=false"], DeviceKind::Cpu);
    assert_eq!((ppo(&off).num_minibatches, lines.len()), (4, 0));
    // A changed number of epochs alone does not turn it off.
    assert_eq!(
        ppo(&adapted(&["--num-envs", "2048", "--update-epochs", "16"], DeviceKind::Cpu).0).update_epochs,
        2
    );
}

#[test]
fn auto_tune_follows_auto_scale() {
    let (tuned, lines) = adapted(&["--num-envs", "2048", "--auto-tune"], DeviceKind::Cpu);
    assert_eq!((ppo(&tuned).num_envs, ppo(&tuned).num_minibatches, ppo(&tuned).update_epochs), (64, 2, 2));
    assert_eq!(lines.len(), 2);
    assert!(!tuned.run.auto_tune && !tuned.run.auto_scale);
}

#[test]
fn a_small_total_is_kept_as_it_was_asked_for() {
    for text in ["1000", "1e3", "1_000", "1k"] {
        let (small, lines) = adapted(&["--total-timesteps", text], DeviceKind::Cpu);
        assert_eq!(
            (small.run.total_timesteps, &lines[..]),
            (1000, &[] as &[String]),
            "{text} is not replaced"
        );
    }
}

#[test]
fn sizes_that_do_not_divide_are_named() {
    let message = |args: &[&str]| config(args).adapt(DeviceKind::Cuda).unwrap_err().to_string();
    assert_eq!(
        message(&["--num-envs", "10", "--num-steps", "10", "--num-minibatches", "3"]),
        "num_minibatches = 3 does not divide num_envs x num_steps = 10 x 10 = 100; use num_minibatches = 2 or 4"
    );
    assert_eq!(
        message(&["--devices", "3"]),
        "num_envs = 256 cannot be split evenly over devices = 3; use num_envs = 258"
    );
}

/// A checkpoint of a cartpole run made with `args`; gives the checkpoint directory.
fn checkpoint(dir: &Path, args: &[&str]) -> String {
    let mut stored = config(&[&["--env", "cartpole"], args].concat());
    stored.adapt(DeviceKind::Cpu).unwrap();
    let run = dir.join("first");
    fs::create_dir_all(&run).unwrap();
    let checkpoint = Checkpoint {
        config: stored.to_toml().unwrap(),
        env: "cartpole".into(),
        progress: Progress::new(&[]),
        state: Vec::new(),
        best: None,
    };
    checkpoint.save(&run.join("checkpoint_0.ckpt")).unwrap();
    std::fs::write(run.join("meta.json"), r#"{"id": "abc"}"#).unwrap(); // the mark of a run
    fs::write(run.join("config.toml"), &checkpoint.config).unwrap();
    dir.to_str().unwrap().to_string()
}

#[test]
fn a_resumed_run_keeps_its_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let root = checkpoint(dir.path(), &["--lr", "0.001", "--num-steps", "64", "--total-timesteps", "50000"]);
    let resolved = try_resolve(&["--checkpoint-dir", &root, "--resume", "latest"]).unwrap();
    assert_eq!(resolved.resumed.unwrap().directory(), dir.path().join("first"));
    assert_eq!((resolved.config.run.env.as_str(), ppo(&resolved.config).num_envs), ("cartpole", 4));
    assert_eq!((ppo(&resolved.config).lr, resolved.config.run.total_timesteps), (0.001, 50_000));
    assert!(resolved.notes.is_empty());

    let flags = ["--checkpoint-dir", &root, "--resume", "first"];
    let with = |more: &[&'static str]| [&flags[..], more].concat();
    let longer =
        try_resolve(&with(&["--log-interval", "3", "--num-steps", "64", "--run-name", "first"])).unwrap();
    assert_eq!((longer.config.run.log_interval, longer.notes.len()), (3, 0));
    let changed = try_resolve(&with(&["--ent-coef", "0.2", "--total-timesteps", "60000"])).unwrap();
    assert_eq!(changed.config.run.total_timesteps, 60_000);
    assert_eq!(
        changed.notes, // cartpole anneals the learning rate over the whole run
        [
            "ent_coef 0.01 -> 0.2: the run goes on, but not as it would have without the change",
            "total_timesteps 50000 -> 60000: the run goes on, but not as it would have without the change"
        ]
    );
    assert_eq!(
        usage_error(&with(&["--num-envs", "8"])),
        "num_envs is 4 in the run first and cannot become 8; start a new run for that"
    );
    assert_eq!(
        usage_error(&with(&["--env", "hackmatrix"])),
        "env is \"cartpole\" in the run first and cannot become \"hackmatrix\"; start a new run for that"
    );
    assert_eq!(
        usage_error(&with(&["--run-name", "other"])),
        "a resumed run keeps its name first; leave out --run-name other"
    );

    // A checkpoint that lies in no run goes on as a run of another name, or of one that is given.
    std::fs::remove_file(dir.path().join("first/meta.json")).unwrap();
    let named = try_resolve(&with(&["--run-name", "other"])).unwrap().config.run;
    assert_eq!(named.run_name.as_deref(), Some("other"));
    assert_eq!(try_resolve(&flags).unwrap().config.run.run_name, None);
}

/// The environment belongs to the process, so the test asks for a process of its own.
#[test]
fn variables_stand_between_the_file_and_the_flags() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(dir.path(), "lr = 0.1\ngamma = 0.1\nent_coef = 0.1\n");
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "config::tests::child", "--ignored", "--nocapture"])
        .envs([("LOCKSTEP_CONFIG", path.as_str()), ("LOCKSTEP_GAMMA", "0.2"), ("LOCKSTEP_ENT_COEF", "0.2")])
        .env("LOCKSTEP_NO_WANDB", "1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("lr 0.1 gamma 0.2 ent_coef 0.3 no_wandb true"), "{said}");
}

#[test]
#[ignore = "the child of another test"]
fn child() {
    let config = config(&["--ent-coef", "0.3"]);
    let (run, ppo) = (&config.run, ppo(&config));
    println!("lr {} gamma {} ent_coef {} no_wandb {}", ppo.lr, ppo.gamma, ppo.ent_coef, run.no_wandb);
}
