//! The command line of the reference's trainer, and what the readers of its runs expect.
//!
//! Each field of [`Flags`] is a flag, and a key of the `config.json` that the reference writes, in its order. What a flag means in lockstep's
//! own settings stands in [`meaning`]; the few that have no meaning here, such as the number of worker processes, are kept as they were
//! said.

use anyhow::{Result, anyhow, ensure};
use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use toml::Table;

use super::telemetry::METRICS;
use crate::envs::front::{Front, Meaning, Milestone, Said};

pub const FRONT: Front = Front { flags: Flags::augment_args, read, meaning, config_file: None, device: None };

/// What trains: nothing, or PPO under either of its names.
const BACKENDS: [&str; 3] = ["random", "ppo", "puffer_ppo"];

/// The flags, and `config.json`.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Asteroid pipeline (only with --env asteroid)")]
#[group(skip)]
struct Flags {
    /// Directory that holds the run directories
    #[arg(long, value_name = "DIR", default_value = "runs")]
    run_root: String,
    /// Name of the run [default: time and commit, such as 20260105T101500Z-1a2b3c4]
    #[arg(long, value_name = "NAME")]
    run_id: Option<String>,
    /// Ticks of the whole run
    #[arg(long, value_name = "N", default_value_t = 6000)]
    total_env_steps: u64,
    /// Ticks of a window
    #[arg(long, value_name = "N", default_value_t = 2000)]
    window_env_steps: u64,
    #[arg(skip = 1u64)]
    checkpoint_every_windows: u64,
    #[arg(skip)]
    seed: u64,
    /// Ticks after which an episode is cut off
    #[arg(long, value_name = "X", default_value_t = 20000.0)]
    env_time_max: f64,
    /// What trains: random (nothing is learned), or ppo, which puffer_ppo is another name of
    #[arg(long, value_name = "NAME", default_value = "random", value_parser = PossibleValuesParser::new(BACKENDS))]
    trainer_backend: String,
    /// Log to Weights & Biases
    #[arg(long, value_name = "MODE", default_value = "disabled")]
    #[arg(value_parser = PossibleValuesParser::new(["disabled", "offline", "online"]))]
    wandb_mode: String,
    /// Weights & Biases project
    #[arg(long, value_name = "NAME", default_value = "asteroid-prospector")]
    wandb_project: String,
    #[arg(skip)]
    flush_partial_window: bool,
    /// Episodes for each window, the best of which becomes a replay
    #[arg(long, value_name = "N", default_value_t = 0)]
    eval_replays_per_window: u64,
    /// Steps after which an episode of a replay is cut off
    #[arg(long, value_name = "N", default_value_t = 512)]
    eval_max_steps_per_episode: u64,
    /// Frames of replays have all that is known of a step (the default)
    #[arg(long, default_value_t = true, overrides_with = "no_eval_include_info", action = ArgAction::SetTrue)]
    eval_include_info: bool,
    /// Frames of replays have only what is shown
    #[arg(long, overrides_with = "eval_include_info", action = ArgAction::SetTrue)]
    #[serde(skip)]
    no_eval_include_info: bool,
    /// Replays take the most probable action (the default)
    #[arg(long, default_value_t = true, overrides_with = "eval_policy_stochastic", action = ArgAction::SetTrue)]
    eval_policy_deterministic: bool,
    /// Replays draw actions with their probabilities
    #[arg(long, overrides_with = "eval_policy_deterministic", action = ArgAction::SetTrue)]
    #[serde(skip)]
    eval_policy_stochastic: bool,
    /// What is added to the seed for the episodes of replays
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    eval_seed_offset: u64,
    /// Net profits that earn a replay a tag
    #[arg(long, value_name = "X,..", default_value = "100,500,1000", allow_hyphen_values = true)]
    #[serde(with = "numbers")]
    eval_milestone_profit_thresholds: String,
    /// Returns that earn a replay a tag
    #[arg(long, value_name = "X,..", default_value = "10,25,50", allow_hyphen_values = true)]
    #[serde(with = "numbers")]
    eval_milestone_return_thresholds: String,
    /// Survivals that earn a replay a tag
    #[arg(long, value_name = "X,..", default_value = "1.0", allow_hyphen_values = true)]
    #[serde(with = "numbers")]
    eval_milestone_survival_thresholds: String,
    /// Choose among the actions that are possible only
    #[arg(long)]
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    mask_invalid: bool,
    /// Environments that step in lockstep
    #[arg(long, value_name = "N", default_value_t = 8)]
    ppo_num_envs: u64,
    /// Worker processes of the reference; here it only must divide the environments
    #[arg(long, value_name = "N", default_value_t = 4)]
    ppo_num_workers: u64,
    /// Steps of each environment per update
    #[arg(long, value_name = "N", default_value_t = 128)]
    ppo_rollout_steps: u64,
    /// Gradient steps per epoch
    #[arg(long, value_name = "N", default_value_t = 4)]
    ppo_num_minibatches: u64,
    /// Passes over each batch
    #[arg(long, value_name = "N", default_value_t = 4)]
    ppo_update_epochs: u64,
    /// Learning rate of Adam
    #[arg(long, value_name = "X", default_value_t = 3e-4)]
    ppo_learning_rate: f64,
    /// Discount per step
    #[arg(long, value_name = "X", default_value_t = 0.99)]
    ppo_gamma: f64,
    /// Decay of generalized advantage estimation
    #[arg(long, value_name = "X", default_value_t = 0.95)]
    ppo_gae_lambda: f64,
    /// How far the probability ratio may move before its gradient is clipped
    #[arg(long, value_name = "X", default_value_t = 0.2)]
    ppo_clip_coef: f64,
    /// Weight of the entropy bonus
    #[arg(long, value_name = "X", default_value_t = 0.01)]
    ppo_ent_coef: f64,
    /// Weight of the value loss
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    ppo_vf_coef: f64,
    /// Largest global norm of the gradient
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    ppo_max_grad_norm: f64,
    /// How the reference steps its environments; here they always step in one program
    #[arg(long, value_name = "NAME", default_value = "multiprocessing")]
    #[arg(value_parser = PossibleValuesParser::new(["serial", "multiprocessing"]))]
    ppo_vector_backend: String,
    /// Which implementation the reference steps; here there is one, compiled
    #[arg(long, value_name = "NAME", default_value = "auto")]
    #[arg(value_parser = PossibleValuesParser::new(["reference", "native", "auto"]))]
    ppo_env_impl: String,
}

/// A list of numbers: text for the flag, a list in `config.json`.
mod numbers {
    use serde::de::{Deserialize, Deserializer, Error as _};
    use serde::ser::{Error as _, Serialize, Serializer};

    pub fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        super::thresholds("thresholds", text).map_err(S::Error::custom)?.serialize(serializer)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<String, D::Error> {
        let numbers = Vec::<f64>::deserialize(deserializer).map_err(D::Error::custom)?;
        Ok(numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(","))
    }
}

/// The numbers of a list with commas, in order and each once.
fn thresholds(flag: &str, text: &str) -> Result<Vec<f64>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let number: f64 = part.parse().map_err(|_| anyhow!("--{flag} has {part:?}, which is no number"))?;
        ensure!(
            number.is_finite() && number >= 0.0,
            "--{flag} has {part}; thresholds must be finite numbers, 0 or above"
        );
        numbers.push(number);
    }
    numbers.sort_by(f64::total_cmp);
    numbers.dedup();
    Ok(numbers)
}

impl Flags {
    fn check(&self) -> Result<()> {
        for (flag, value) in [
            ("total-env-steps", self.total_env_steps),
            ("window-env-steps", self.window_env_steps),
            ("eval-max-steps-per-episode", self.eval_max_steps_per_episode),
            ("ppo-num-workers", self.ppo_num_workers),
        ] {
            ensure!(value > 0, "--{flag} is 0; it must be at least 1");
        }
        let (window, total) = (self.window_env_steps, self.total_env_steps);
        ensure!(
            window <= total,
            "--window-env-steps is {window}, more than the {total} of --total-env-steps; lower it"
        );
        let time = self.env_time_max;
        ensure!(
            time.is_finite() && time >= 1.0,
            "--env-time-max is {time}; it must be a finite number, 1 or above"
        );
        for (flag, text) in self.milestones() {
            thresholds(&format!("eval-milestone-{flag}-thresholds"), text)?;
        }
        let (envs, workers) = (self.ppo_num_envs, self.ppo_num_workers);
        ensure!(
            self.ppo_vector_backend == "serial" || self.is_random() || envs.is_multiple_of(workers),
            "--ppo-num-envs = {envs} cannot be split evenly over --ppo-num-workers = {workers}"
        );
        Ok(())
    }

    fn is_random(&self) -> bool {
        self.trainer_backend == "random"
    }

    fn milestones(&self) -> [(&'static str, &str); 3] {
        [
            ("profit", &self.eval_milestone_profit_thresholds),
            ("return", &self.eval_milestone_return_thresholds),
            ("survival", &self.eval_milestone_survival_thresholds),
        ]
    }

    /// Settings of the algorithm, and its name.
    fn algorithm(&self) -> (&'static str, Table, u64) {
        let count = |n: u64| toml::Value::Integer(n as i64);
        if self.is_random() {
            let (envs, steps) = (1, 128);
            let table = [("num_envs", count(envs)), ("num_steps", count(steps))];
            return ("uniform", named(table), envs * steps);
        }
        let number = toml::Value::Float;
        let word = |text: &str| toml::Value::String(text.to_owned());
        let table = [
            ("num_envs", count(self.ppo_num_envs)),
            ("num_steps", count(self.ppo_rollout_steps)),
            ("num_minibatches", count(self.ppo_num_minibatches)),
            ("update_epochs", count(self.ppo_update_epochs)),
            ("lr", number(self.ppo_learning_rate)),
            ("gamma", number(self.ppo_gamma)),
            ("gae_lambda", number(self.ppo_gae_lambda)),
            ("clip_eps", number(self.ppo_clip_coef)),
            ("ent_coef", number(self.ppo_ent_coef)),
            ("vf_coef", number(self.ppo_vf_coef)),
            ("max_grad_norm", number(self.ppo_max_grad_norm)),
            // What the reference has no flags for.
            ("clip_vloss", true.into()),
            ("adam_epsilon", number(1e-5)),
            ("activation", word("tanh")),
            ("init", word("uniform")),
        ];
        ("ppo", named(table), self.ppo_num_envs.saturating_mul(self.ppo_rollout_steps))
    }
}

fn named<const N: usize>(settings: [(&str, toml::Value); N]) -> Table {
    settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn read(said: &Said) -> Result<String> {
    let Said { flags: matches, seed, name, .. } = *said;
    let flag = |name: &str| matches.get_one::<bool>(name).copied().unwrap_or(false);
    let every = matches.get_one::<u64>("checkpoint_every_windows").copied().unwrap_or(1);
    let flags = Flags::from_arg_matches(matches)?;
    let flags = Flags {
        seed,
        run_id: flags.run_id.or_else(|| Some(name.to_owned())),
        checkpoint_every_windows: every,
        flush_partial_window: flag("flush_partial_window"),
        eval_include_info: !flags.no_eval_include_info,
        eval_policy_deterministic: !flags.eval_policy_stochastic,
        ..flags
    };
    flags.check()?;
    Ok(serde_json::to_string_pretty(&flags)?)
}

fn meaning(config: &str) -> Result<Meaning> {
    let flags: Flags =
        serde_json::from_str(config).map_err(|error| anyhow!("the configuration of the run: {error}"))?;
    let count = |n: u64| toml::Value::Integer(n.min(i64::MAX as u64) as i64);
    let word = |text: &str| toml::Value::String(text.to_owned());
    let (algorithm, own, batch) = flags.algorithm();
    let mut options = vec![format!("time_max={}", flags.env_time_max)];
    options.extend(flags.mask_invalid.then(|| "mask_invalid=true".to_owned()));
    // A step takes at least a tick, so there are never more steps than ticks.
    let most_steps = flags.total_env_steps.saturating_add(batch);
    let mut settings = named([
        ("algo", word(algorithm)),
        ("checkpoint_dir", word(&flags.run_root)),
        ("total_timesteps", count(most_steps)),
        ("total_ticks", count(flags.total_env_steps)),
        ("window_steps", count(flags.window_env_steps)),
        ("replays_per_window", count(flags.eval_replays_per_window)),
        ("eval_max_steps", count(flags.eval_max_steps_per_episode)),
        ("eval_stochastic", (!flags.eval_policy_deterministic || flags.is_random()).into()),
        ("auto_scale", false.into()),
        ("wandb", word(&flags.wandb_mode)),
        ("project", word(&flags.wandb_project)),
        ("env_set", options.into()),
    ]);
    if let Some(id) = &flags.run_id {
        settings.insert("run_name".into(), word(id));
    }
    settings.extend(own);
    let milestone = |(name, text): (&'static str, &str)| {
        let thresholds = thresholds(name, text)?;
        Ok(Milestone { name, outcome: (name != "return").then_some(name), thresholds })
    };
    Ok(Meaning {
        settings,
        backend: flags.trainer_backend.clone(),
        seed_offset: flags.eval_seed_offset,
        info: flags.eval_include_info,
        milestones: flags.milestones().into_iter().map(milestone).collect::<Result<_>>()?,
        metric_keys: METRICS.to_vec(),
        metadata: if flags.is_random() { Map::new() } else { of_ppo(&flags) },
        device_key: (!flags.is_random()).then_some("ppo_device"),
        updates_key: (!flags.is_random()).then_some("ppo_policy_updates"),
        tags: vec!["m3", "windowed-training"],
        ..Meaning::default()
    })
}

/// What the metadata of a run with PPO says besides.
fn of_ppo(flags: &Flags) -> Map<String, Value> {
    let facts = json!({
        "ppo_num_envs": flags.ppo_num_envs,
        "ppo_num_workers": flags.ppo_num_workers,
        "ppo_rollout_steps": flags.ppo_rollout_steps,
        "ppo_vector_backend": flags.ppo_vector_backend,
        "ppo_vector_backend_selected": "native_batch",
        "ppo_policy_arch": "mlp-256x256-tanh-v1",
        "ppo_env_impl_requested": flags.ppo_env_impl,
        "ppo_env_impl_selected": "native",
        "ppo_env_impl_auto_fallback": false,
        "ppo_native_available": true,
        "ppo_native_probe": null,
    });
    facts.as_object().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgAction, Command, value_parser};

    use super::*;

    /// What `train` makes of these flags and two of its own.
    fn parse(args: &str) -> Result<String> {
        let every = Arg::new("checkpoint_every_windows").long("checkpoint-every-windows");
        let flush = Arg::new("flush_partial_window").long("flush-partial-window");
        let command = Command::new("train")
            .no_binary_name(true)
            .arg(every.value_parser(value_parser!(u64)))
            .arg(flush.action(ArgAction::SetTrue));
        let command = Flags::augment_args(command);
        let flags = &command.try_get_matches_from(args.split_whitespace())?;
        read(&Said { flags, file: None, seed: 7, name: "name" })
    }

    #[test]
    fn a_configuration_has_the_keys_of_the_reference_in_its_order_and_reads_back() {
        let config =
            parse("--trainer-backend puffer_ppo --no-eval-include-info --eval-policy-stochastic").unwrap();
        let keys: Vec<&str> =
            config.lines().filter_map(|line| line.strip_prefix("  \"")?.split('"').next()).collect();
        assert_eq!((keys.len(), keys[0], keys[1], keys[32]), (33, "run_root", "run_id", "ppo_env_impl"));
        assert_eq!(keys[4..8], ["checkpoint_every_windows", "seed", "env_time_max", "trainer_backend"]);
        let read: Flags = serde_json::from_str(&config).unwrap();
        assert_eq!(serde_json::to_string_pretty(&read).unwrap(), config);
        assert_eq!((read.seed, read.eval_include_info, read.eval_policy_deterministic), (7, false, false));
        let meaning = meaning(&config).unwrap();
        assert_eq!((meaning.backend.as_str(), meaning.info), ("puffer_ppo", false));
        assert_eq!(meaning.settings["total_ticks"].as_integer(), Some(6000));
        assert_eq!(meaning.milestones[2].thresholds, [1.0]);
    }

    #[test]
    fn thresholds_are_sorted_and_each_there_once() {
        assert_eq!(thresholds("x", " 3, 1,3 ,, 0.5").unwrap(), [0.5, 1.0, 3.0]);
        assert_eq!(thresholds("x", "").unwrap(), [0.0; 0]);
        for wrong in ["1,-2", "nan", "inf", "many"] {
            assert!(thresholds("x", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let complaint = |args: &str| parse(args).unwrap_err().to_string();
        assert!(
            complaint("--window-env-steps 7000")
                .starts_with("--window-env-steps is 7000, more than the 6000")
        );
        assert!(complaint("--total-env-steps 0").starts_with("--total-env-steps is 0"));
        assert!(
            complaint("--eval-milestone-profit-thresholds -5")
                .starts_with("--eval-milestone-profit-thresholds has -5")
        );
        let uneven = complaint("--trainer-backend ppo --ppo-num-envs 6");
        assert!(
            uneven.contains("--ppo-num-envs = 6 cannot be split evenly over --ppo-num-workers = 4"),
            "{uneven}"
        );
    }
}
