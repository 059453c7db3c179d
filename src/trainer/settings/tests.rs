use super::*;

#[test]
fn the_defaults_are_those_of_the_specification_and_pass() {
    let settings = Settings::default();
    settings.check().unwrap();
    assert_eq!(settings.total_timesteps, 10_000_000);
    assert_eq!((settings.log_interval, settings.save_interval), (10, None));
    assert_eq!(settings.save_interval_minutes, 10.0);
    assert_eq!(settings.checkpoint_dir, PathBuf::from("checkpoints"));
    assert_eq!((settings.project.as_deref(), settings.entity.as_deref()), (None, None));
    assert!(settings.auto_scale && !settings.auto_tune && !settings.no_wandb && !settings.no_artifact);
}

#[test]
fn timesteps_become_whole_updates_and_the_words_say_so() {
    let plan = |total_timesteps, steps| {
        let settings = Settings { total_timesteps, ..Settings::default() };
        (settings.num_updates(steps), settings.describe_updates(steps))
    };
    assert_eq!(plan(4096, 512), (8, "8 updates of 512 timesteps".to_string()));
    let rounded = "30 updates of 32,768 timesteps, 983,040 in all: total_timesteps is 1,000,000, and what is left is \
                   less than an update";
    assert_eq!(plan(1_000_000, 32_768), (30, rounded.to_string()));
    let least = "1 update of 32,768 timesteps, the least there is: total_timesteps is 1,000";
    assert_eq!(plan(1000, 32_768), (1, least.to_string()));
}

#[test]
fn a_learner_counts_no_more_updates_than_an_i32_holds() {
    let check = |total_timesteps| {
        let settings = Settings { total_timesteps, ..Settings::default() };
        settings.check_updates(2).map_err(|error| error.to_string())
    };
    assert_eq!(check((1 << 32) - 1), Ok(()));
    let error = check(1 << 32).unwrap_err();
    assert!(error.contains("which is 2,147,483,648 updates of 2 timesteps; it must be at most"), "{error}");
}

#[test]
fn bad_values_are_named() {
    let complaint = |change: fn(&mut Settings)| {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    };
    assert!(complaint(|s| s.total_timesteps = 0).contains("total_timesteps is 0"));
    assert!(complaint(|s| s.log_interval = 0).contains("log_interval is 0"));
    assert!(complaint(|s| s.save_interval = Some(0)).contains("save_interval is 0"));
    assert!(complaint(|s| s.eval_interval = Some(0)).contains("eval_interval is 0"));
    assert!(complaint(|s| s.eval_episodes = 0).contains("eval_episodes is 0"));
    assert!(complaint(|s| s.eval_max_steps = 1 << 30).contains("eval_max_steps is 1073741824"));
    assert!(complaint(|s| s.save_interval_minutes = f64::NAN).contains("save_interval_minutes is NaN"));
    assert!(complaint(|s| s.devices = Some(0)).contains("devices is 0"));
    assert!(complaint(|s| s.checkpoint_dir = PathBuf::new()).contains("checkpoint_dir is empty"));
    assert!(complaint(|s| s.num_seeds = 0).contains("num_seeds is 0; it must be from 1"));
    assert!(complaint(|s| s.run_name = Some("a/b".into())).contains(r#"run_name is "a/b""#));
    assert!(complaint(|s| s.run_name = Some("a".repeat(201))).starts_with("run_name has 201 characters"));
    assert!(complaint(|s| s.run_suffix = Some(String::new())).contains("run_suffix"));
    assert_eq!(
        complaint(|s| s.save_metadata = vec!["note".into()]),
        "save_metadata is \"note\"; write it as KEY=VALUE"
    );
    assert!(complaint(|s| s.save_metadata = vec!["=x".into()]).contains("write it as KEY=VALUE"));
    assert_eq!(
        complaint(|s| s.save_metadata = vec!["a=1".into(), "a=2".into()]),
        "save_metadata has the key a twice"
    );
}
