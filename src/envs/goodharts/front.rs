//! The command line of the reference's trainer: modes, updates, environments, and the files that its readers expect.
//!
//! What a flag means in lockstep's own settings stands in [`meaning`]; the few that have no meaning here, such as the warm-up, are kept as
//! they were said.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Args, FromArgMatches};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use strum::IntoEnumIterator;
use toml::Table;

use super::config_file::{CONFIG_FILE, File, device_kind};
use super::{Mode, layout};
use crate::envs::front::{
    DeviceVariable, Episode, Front, Journal, Meaning, Measured, Said, Summary, Update, Variant,
};

pub const FRONT: Front = Front {
    flags: Flags::augment_args,
    read,
    meaning,
    config_file: Some(CONFIG_FILE),
    device: Some(DeviceVariable { name: "GOODHARTS_DEVICE", kind: device_kind }),
};

/// Ends a sequence of modes between two of them.
const STOP_FILE: &str = ".training_stop_signal";

/// Seed where none is said.
const SEED: u64 = 42;
/// Environment steps where neither steps nor updates are said, and those of a benchmark.
const TIMESTEPS: u64 = 100_000;
const BENCHMARK_TIMESTEPS: u64 = 50_000;
/// Of the reference's configuration.
const NUM_ENVS: u64 = 192;
const NUM_STEPS: u64 = 128;

/// The flags, and what is stored of them.
#[derive(Clone, Debug, PartialEq, Args, Serialize, Deserialize)]
#[command(next_help_heading = "Goodharts pipeline (only with --env goodharts)")]
#[group(skip)]
struct Flags {
    /// Modes to train in: one, several with commas, or all (all but ground_truth_handhold). Several are trained as one program
    #[arg(short, long, value_name = "MODE,..", default_value = "ground_truth")]
    mode: String,
    /// Environment steps of each mode [default: 100000, with --benchmark 50000]
    #[arg(short, long, value_name = "N")]
    timesteps: Option<u64>,
    /// PPO updates of each mode, instead of --timesteps
    #[arg(short, long, value_name = "N")]
    updates: Option<u64>,
    /// Train the modes one after the other
    #[arg(short, long)]
    sequential: bool,
    /// Parallel environments of each mode; 0 for the 192 of the settings
    #[arg(short = 'e', long, value_name = "N")]
    n_envs: Option<u64>,
    /// Minibatches of an epoch; 0 for the 1 of the settings
    #[arg(long, value_name = "N")]
    minibatches: Option<u64>,
    /// Entropy coefficient at the start; 0 for the 0.1 of the settings
    #[arg(long, value_name = "X")]
    entropy: Option<f64>,
    /// Network of the policy
    #[arg(long, value_name = "NAME", default_value = "base_cnn", value_parser = PossibleValuesParser::new(["base_cnn"]))]
    brain: String,
    /// Draw a seed instead of 42
    #[arg(long)]
    random_seed: bool,
    /// Measure the throughput and save nothing
    #[arg(short, long)]
    benchmark: bool,
    /// Write nothing into logs/
    #[arg(long)]
    no_log: bool,
    /// Mixed precision of the reference; here products are in f32 unless --precision says otherwise
    #[arg(long)]
    no_amp: bool,
    /// Warm-up of the reference; here programs are always compiled first, which is not timed
    #[arg(long)]
    no_warmup: bool,
    /// Timers of the reference; here there are none
    #[arg(long)]
    no_profile: bool,
    /// How the reference compiles; here it is always XLA
    #[arg(long, value_name = "NAME", default_value = "max-autotune")]
    #[arg(value_parser = PossibleValuesParser::new(["reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]))]
    compile_mode: String,
    /// Tell of every update
    #[arg(short, long)]
    #[serde(default)]
    verbose: bool,
    /// Cache of the reference, on which this had no effect either
    #[arg(long)]
    #[serde(default)]
    clean_cache: bool,
    /// What a configuration file says.
    #[arg(skip)]
    #[serde(default)]
    file: Option<Table>,
    #[arg(skip = SEED)]
    seed: u64,
    /// When the run began, as in the names of files.
    #[arg(skip)]
    began: String,
}

fn read(said: &Said) -> Result<String> {
    let Said { flags: matches, file, seed, .. } = *said;
    let flags = Flags::from_arg_matches(matches)?;
    let source = matches.try_get_raw("seed").ok().and_then(|_| matches.value_source("seed"));
    let is_said = matches!(source, Some(ValueSource::CommandLine | ValueSource::EnvVariable));
    ensure!(
        !(is_said && flags.random_seed),
        "--random-seed draws a seed, and --seed says one; leave one of them out"
    );
    let seed = match (is_said, flags.random_seed) {
        (true, _) => seed,
        (false, true) => random_seed()?,
        (false, false) => file.and_then(|file| File(file.clone()).whole("training.seed")).unwrap_or(SEED),
    };
    let began = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
    let flags = Flags { seed, began, file: file.cloned(), ..flags };
    modes(&flags.mode)?;
    for (flag, number) in [("timesteps", flags.timesteps), ("updates", flags.updates)] {
        ensure!(number != Some(0), "--{flag} is 0; it must be at least 1");
    }
    let entropy = flags.entropy.unwrap_or(0.0);
    ensure!(
        entropy.is_finite() && entropy >= 0.0,
        "--entropy is {entropy}; it must be a finite number, 0 or above"
    );
    Ok(serde_json::to_string_pretty(&flags)?)
}

pub(super) fn random_seed() -> Result<u64> {
    let number = getrandom::u32().map_err(|error| anyhow!("the system gives no random numbers: {error}"))?;
    Ok(u64::from(number >> 1))
}

/// The modes in a list.
pub(super) fn modes(list: &str) -> Result<Vec<Mode>> {
    if list.trim() == "all" {
        return Ok(Mode::iter().filter(|mode| *mode != Mode::GroundTruthHandhold).collect());
    }
    let mut modes = Vec::new();
    for name in list.split(',').map(str::trim) {
        let mode = Mode::iter().find(|mode| mode.name() == name).ok_or_else(|| {
            let known: Vec<_> = Mode::iter().map(Mode::name).collect();
            anyhow!("there is no mode {name:?}; there are {}, and all", known.join(", "))
        })?;
        ensure!(!modes.contains(&mode), "--mode has {name} twice");
        modes.push(mode);
    }
    Ok(modes)
}

impl Flags {
    fn num_envs(&self) -> u64 {
        self.n_envs.filter(|&count| count > 0).unwrap_or(self.size("training.n_envs", NUM_ENVS))
    }

    fn num_steps(&self) -> u64 {
        self.size("training.steps_per_env", NUM_STEPS)
    }

    /// A number of the file, if there is one.
    fn size(&self, name: &str, other: u64) -> u64 {
        self.file().and_then(|file| file.whole(name)).unwrap_or(other)
    }

    fn file(&self) -> Option<File> {
        self.file.clone().map(File)
    }

    /// The options of the environment that are a mode, and what the file says of it.
    fn options(&self, mode: Mode) -> Vec<String> {
        let of_file = self.file().map(|file| file.options(mode)).unwrap_or_default();
        mode.options().into_iter().chain(of_file).collect()
    }

    fn total_timesteps(&self) -> u64 {
        let batch = self.num_envs().saturating_mul(self.num_steps());
        let default = if self.benchmark { BENCHMARK_TIMESTEPS } else { TIMESTEPS };
        self.updates.map_or(self.timesteps.unwrap_or(default), |updates| updates.saturating_mul(batch))
    }

    /// The name of a run in a mode.
    fn run_id(&self, mode: Mode) -> String {
        format!("{}_{}", mode.name(), self.began)
    }
}

fn meaning(config: &str) -> Result<Meaning> {
    let flags: Flags =
        serde_json::from_str(config).map_err(|error| anyhow!("the configuration of the run: {error}"))?;
    let modes = modes(&flags.mode)?;
    let count = |n: u64| toml::Value::Integer(n.min(i64::MAX as u64) as i64);
    let mut settings = Table::from_iter([
        ("seed".to_owned(), count(flags.seed)),
        ("total_timesteps".to_owned(), count(flags.total_timesteps())),
        ("num_envs".to_owned(), count(flags.num_envs())),
        ("num_steps".to_owned(), count(flags.num_steps())),
        ("auto_scale".to_owned(), false.into()),
    ]);
    if let Some(minibatches) = flags.minibatches.filter(|&count| count > 0) {
        settings.insert("num_minibatches".into(), count(minibatches));
    }
    if let Some(entropy) = flags.entropy.filter(|&entropy| entropy > 0.0) {
        settings.insert("ent_coef".into(), entropy.into());
    }
    if flags.verbose {
        settings.insert("log_interval".into(), count(1));
    }
    if let [mode] = modes[..] {
        settings.insert("run_name".into(), flags.run_id(mode).into());
        settings.insert("env_set".into(), flags.options(mode).into());
    }
    let journal = match modes[..] {
        [mode] if !flags.benchmark => Some(journal(&flags, mode)),
        _ => None,
    };
    let variant = |&mode: &Mode| {
        let own = Flags { mode: mode.name().to_owned(), ..flags.clone() };
        let config = serde_json::to_string_pretty(&own)?;
        Ok(Variant { run_name: flags.run_id(mode), env_set: flags.options(mode), config })
    };
    let variants = if modes.len() > 1 { modes.iter().map(variant).collect::<Result<_>>()? } else { vec![] };
    let sequential = flags.sequential;
    let of_file = flags.file().map(|file| file.settings()).transpose()?.unwrap_or_default();
    let notes = if flags.clean_cache { vec!["--clean-cache has no effect".to_owned()] } else { vec![] };
    Ok(Meaning {
        settings,
        of_file,
        notes,
        stop_file: Some(STOP_FILE),
        info: true,
        journal,
        variants,
        sequential,
        episodes: (!flags.benchmark && !flags.no_log).then_some(EPISODE_METRICS),
        measured: flags.benchmark.then_some(measured),
        ..Meaning::default()
    })
}

/// What a benchmark says. A run is called by its mode and a time of two parts.
fn measured(run: &Measured) -> Value {
    json!({
        "mode": run.run_name.rsplitn(3, '_').nth(2),
        "total_steps": run.steps,
        "elapsed_seconds": run.seconds,
        "throughput": run.steps as f64 / run.seconds,
        "model_path": null,
        "aborted": false,
    })
}

fn journal(flags: &Flags, mode: Mode) -> Journal {
    let metadata = [
        ("brain_type", flags.brain.clone()),
        ("architecture", architecture().to_string()),
        ("action_space", json!({"type": "discrete_grid", "max_move_distance": 1}).to_string()),
        ("mode", mode.name().to_owned()),
        ("seed", flags.seed.to_string()),
    ];
    Journal {
        subject: mode.name().to_owned(),
        name: flags.run_id(mode),
        logs: (!flags.no_log).then(|| PathBuf::from("logs")),
        events: PathBuf::from("generated/logs"),
        columns: COLUMNS,
        line,
        episode_columns: EPISODE_COLUMNS,
        episode_line,
        scalars,
        summary,
        model: PathBuf::from("models").join(format!("ppo_{}.safetensors", mode.name())),
        steps_key: "training_steps",
        metadata: metadata.map(|(key, value)| (key.to_owned(), value)).to_vec(),
    }
}

fn architecture() -> Value {
    json!({
        "input_shape": [11, 11],
        "input_channels": 2,
        "output_size": 8,
        "num_aux_inputs": 0,
        "action_mode": "discrete",
        "hidden_size": 512,
    })
}

/// The columns of `_updates.csv`.
const COLUMNS: &str = "update_num,total_steps,policy_loss,value_loss,entropy,explained_variance,episodes_count,reward_mean,reward_min,reward_max,food_mean,\
                       poison_mean,food_ratio,reward_per_consumed,action_probs,timestamp";

/// The columns of `_episodes.csv`. `food_density` is the food that the world of the episode is meant to hold, `curriculum_progress` the
/// share of the training that is done, `action_prob_std` how the shares of the actions in the update spread.
const EPISODE_COLUMNS: &str = "episode,reward,length,food_eaten,poison_eaten,food_density,curriculum_progress,action_prob_std,timestamp";

/// What is recorded of each episode, in this order.
const EPISODE_METRICS: &[&str] =
    &["stats/food_of_ended_lives", "stats/poison_of_ended_lives", "stats/food_count_of_ended_lives"];

/// What an update came to, in the words of the reference.
struct Numbers {
    policy_loss: f64,
    /// Of the mean square, not of its half.
    value_loss: f64,
    entropy: f64,
    explained_variance: f64,
    episodes: f64,
    /// Means over the lives that ended; 0 where none did.
    reward: f64,
    reward_min: f64,
    reward_max: f64,
    food: f64,
    poison: f64,
    /// Of what was eaten in all steps.
    food_ratio: f64,
    actions: Vec<f64>,
}

impl Numbers {
    fn of(update: &Update) -> Numbers {
        let value = |name: &str| (update.value)(name).unwrap_or(0.0);
        let episodes = value("train/num_episodes");
        let per_life = |name: &str| value(name) * value("train/num_timesteps") / episodes.max(1.0);
        let (food, poison) = (value("stats/food_eaten"), value("stats/poison_eaten"));
        let returns = || update.episodes.iter().map(|episode| f64::from(episode.episode_return));
        Numbers {
            policy_loss: value("train/pg_loss"),
            value_loss: 2.0 * value("train/vf_loss"),
            entropy: value("train/entropy"),
            explained_variance: value("train/explained_variance"),
            episodes,
            reward: value("train/mean_episode_return"),
            reward_min: returns().reduce(f64::min).unwrap_or(0.0),
            reward_max: returns().reduce(f64::max).unwrap_or(0.0),
            food: per_life("stats/food_of_ended_lives"),
            poison: per_life("stats/poison_of_ended_lives"),
            food_ratio: if food + poison > 0.0 { food / (food + poison) } else { 0.5 },
            actions: actions(update),
        }
    }

    fn reward_per_consumed(&self) -> f64 {
        let eaten = self.food + self.poison;
        if eaten > 0.0 { self.reward / eaten } else { 0.0 }
    }
}

fn line(update: &Update) -> String {
    let numbers = Numbers::of(update);
    let Numbers { policy_loss, value_loss, entropy, explained_variance, .. } = numbers;
    let Numbers { episodes, reward, reward_min, reward_max, food, poison, food_ratio, ref actions, .. } =
        numbers;
    let eaten = numbers.reward_per_consumed();
    let actions = serde_json::to_string(actions).unwrap_or_default();
    let Update { number, timesteps, time, .. } = update;
    format!(
        "{number},{timesteps},{policy_loss},{value_loss},{entropy},{explained_variance},{episodes},{reward},{reward_min},{reward_max},\
         {food},{poison},{food_ratio},{eaten},\"{actions}\",{time}"
    )
}

/// The shares of the actions in an update.
fn actions(update: &Update) -> Vec<f64> {
    let share =
        |action: &super::Move| (update.value)(&format!("actions/{}_frac", action.name)).unwrap_or(0.0);
    layout().actions.iter().map(share).collect()
}

fn episode_line(episode: &Episode, update: &Update) -> String {
    let Episode { number, episode_return, length, metrics, .. } = episode;
    let [food, poison, food_count] = metrics[..] else { panic!("an episode has what was asked for") };
    let (actions, progress, time) = (actions(update), update.progress, update.time);
    let mean = actions.iter().sum::<f64>() / actions.len() as f64;
    let squares: f64 = actions.iter().map(|share| (share - mean).powi(2)).sum();
    let spread = (squares / actions.len() as f64).sqrt();
    format!("{number},{episode_return},{length},{food},{poison},{food_count},{progress},{spread},{time}")
}

/// The scalars of TensorBoard.
fn scalars(update: &Update) -> Vec<(&'static str, f64)> {
    let numbers = Numbers::of(update);
    vec![
        ("loss/policy", numbers.policy_loss),
        ("loss/value", numbers.value_loss),
        ("metrics/entropy", numbers.entropy),
        ("metrics/explained_variance", numbers.explained_variance),
        ("metrics/food_ratio", numbers.food_ratio),
        ("metrics/reward_per_consumed", numbers.reward_per_consumed()),
    ]
}

fn summary(summary: &Summary) -> Value {
    let setting = |name: &str| summary.settings.get(name).cloned().unwrap_or(Value::Null);
    let Summary { journal, began, seconds, episodes, updates, best_return, .. } = summary;
    let subject = &journal.subject;
    json!({
        "run_id": journal.name,
        "mode": subject,
        "start_time": began,
        "duration_seconds": seconds,
        "total_episodes": episodes,
        "total_updates": updates,
        "best_efficiency": best_return,
        "final_model_path": summary.is_saved.then(|| journal.model.display().to_string()),
        "hyperparameters": {
            "mode": subject,
            "brain_type": "base_cnn",
            "n_envs": setting("num_envs"),
            "total_timesteps": setting("total_timesteps"),
            "lr": setting("lr"),
            "gamma": setting("gamma"),
            "gae_lambda": setting("gae_lambda"),
            "eps_clip": setting("clip_eps"),
            "k_epochs": setting("update_epochs"),
            "steps_per_env": setting("num_steps"),
            "n_minibatches": setting("num_minibatches"),
            "entropy_coef": setting("ent_coef"),
            "vectorized": true,
        },
        "log_files": {"episodes": summary.episodes_table, "updates": summary.updates_table},
    })
}
