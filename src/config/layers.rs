//! Merging the layers into one [`Config`].

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use toml::{Table, Value};

use super::{Config, Invocation, UsageError};
use crate::algorithms::ppo;
use crate::runtime::files;
use crate::trainer::find::nearest;
use crate::trainer::{self, Resumed};

/// What cannot change when a run is resumed: the shape of its state, and what it is called.
const FIXED: [&str; 18] = [
    "env",
    "seed",
    "num_seeds",
    "num_envs",
    "num_steps",
    "hidden_dim",
    "num_layers",
    "activation",
    "separate_trunks",
    "conv",
    "conv_channels",
    "rnn",
    "rnn_dim",
    "init",
    "curriculum_start_phase",
    "auto_scale",
    "auto_tune",
    "run_suffix",
];

/// What a command line comes to.
#[derive(Clone, Debug)]
pub struct Resolved {
    pub config: Config,
    /// The checkpoint to continue from.
    pub resumed: Option<Resumed>,
    pub rewind: bool,
    pub dashboard: bool,
    pub json: bool,
    /// Lines to tell the user: settings that a resumed run goes on with, other than it began.
    pub notes: Vec<String>,
}

/// Merges the layers: the defaults of the environment (which `env_defaults` gives), the file or checkpoint,
/// environment variables and flags.
///
/// # Errors
/// One line. A [`UsageError`] if a setting is unknown, of the wrong type, out of range or cannot be changed;
/// otherwise a file that cannot be read or loaded.
pub fn resolve(
    matches: &ArgMatches,
    env_defaults: impl Fn(&str) -> Result<ppo::Settings>,
) -> Result<Resolved> {
    let Invocation { config: file, resume, rewind, dashboard, json } = Invocation::from_arg_matches(matches)?;
    let run = trainer::Settings::from_arg_matches(matches)?;
    let given = given(matches, &run)?;
    let resumed = resume.map(|request| Resumed::open(&request, &run.checkpoint_dir)).transpose()?;
    let mut base = match (&file, &resumed) {
        (Some(path), _) => Layer::of_file(path)?,
        (None, Some(resumed)) => Layer::of_checkpoint(resumed)?,
        (None, None) => Layer::default(),
    };
    let trainer::Settings { env, plugin, .. } = run;
    let env = match (given.get("env"), base.values.get("env")) {
        (None, Some(Value::String(env))) => env.clone(),
        _ => env,
    };
    if let Some(resumed) = &resumed {
        check_fixed(resumed, &base.values, &given)?;
    }
    let env_settings = env_defaults(&env)?;
    let defaults: Table =
        table(&trainer::Settings::default())?.into_iter().chain(table(&env_settings)?).collect();
    let mut notes = if resumed.is_some() { changes(&base.values, &given) } else { Vec::new() };
    notes.extend(base.without_plugin());
    base.check(&defaults)?;
    let given_name = given.get("run_name").and_then(Value::as_str).map(String::from);

    let merged: Table = [defaults, base.values, given].into_iter().flatten().collect();
    let mut config = Config { run: merged.clone().try_into()?, ppo: merged.try_into()? };
    if resumed.as_ref().is_some_and(|resumed| !resumed.is_in_run()) {
        config.run.run_name = given_name; // another directory than that of the name in the checkpoint
    }
    config.run.env = env; // its default is the program's
    config.run.plugin = plugin;
    check(&config.run, &config.ppo)?;
    config.run.check_together().map_err(|error| UsageError(error.to_string()))?;
    if config.ppo.num_minibatches != env_settings.num_minibatches {
        config.run.auto_scale = false; // a number that was chosen is kept
    }
    Ok(Resolved { config, resumed, rewind, dashboard, json, notes })
}

/// What flags and environment variables say.
fn given(matches: &ArgMatches, run: &trainer::Settings) -> Result<Table> {
    let ppo = ppo::Settings::from_arg_matches(matches)?;
    check(run, &ppo)?; // first, for what is out of range may not fit into a table
    let explicit = |(name, _): &(String, Value)| {
        matches!(matches.value_source(name), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
    };
    Ok(table(run)?.into_iter().chain(table(&ppo)?).filter(explicit).collect())
}

fn check(run: &trainer::Settings, ppo: &ppo::Settings) -> Result<()> {
    run.check().and_then(|()| ppo.check()).map_err(|error| UsageError(error.to_string()).into())
}

fn table(settings: &impl Serialize) -> Result<Table> {
    Table::try_from(settings)
        .map_err(|error| UsageError(format!("a setting cannot be stored: {error}")).into())
}

/// `settings` with the values of a configuration file over them.
pub fn overlay(settings: &ppo::Settings, lines: &str) -> Result<ppo::Settings> {
    let layer = Layer::parse("the defaults of the environment".into(), lines)?;
    let defaults: Table = table(&trainer::Settings::default())?.into_iter().chain(table(settings)?).collect();
    layer.check(&defaults)?;
    Ok(defaults.into_iter().chain(layer.values).collect::<Table>().try_into()?)
}

/// The configuration that a run or a checkpoint holds; settings that it does not know have their defaults.
pub fn stored(text: &str) -> Result<Config> {
    let layer = Layer::parse("the stored configuration".into(), text)?;
    let (run, ppo) = (table(&trainer::Settings::default())?, table(&ppo::Settings::default())?);
    let merged: Table = [run, ppo, layer.values].into_iter().flatten().collect();
    let run = merged.clone().try_into().map_err(in_one_line)?;
    Ok(Config { run, ppo: merged.try_into().map_err(in_one_line)? })
}

/// What is wrong with a value, without the lines that say where it stands.
fn in_one_line(error: toml::de::Error) -> anyhow::Error {
    anyhow!("the stored configuration: {}", error.to_string().trim().replace('\n', " "))
}

/// A file's layer.
#[derive(Default)]
struct Layer {
    /// The file, for messages.
    origin: String,
    values: Table,
}

impl Layer {
    fn of_file(path: &Path) -> Result<Self> {
        let text = files::read_text(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(path.display().to_string(), &text)
    }

    fn of_checkpoint(resumed: &Resumed) -> Result<Self> {
        let origin = format!("the configuration in {}", resumed.path.display());
        Self::parse(origin, &resumed.checkpoint.config)
    }

    fn parse(origin: String, text: &str) -> Result<Self> {
        match text.parse() {
            Ok(values) => Ok(Self { origin, values }),
            Err(error) => {
                let error: toml::de::Error = error;
                let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                let message = error.message().replace('\n', ", ");
                Err(UsageError(format!("{origin}, line {line}: {message}")).into())
            }
        }
    }

    /// Takes out the plugin that runs of older versions stored. Gives a line that says so.
    fn without_plugin(&mut self) -> Option<String> {
        let plugin = self.values.remove("plugin")?;
        let origin = &self.origin;
        Some(format!(
            "warning: {origin}: plugin = {plugin} is not loaded, since it is code; name it with --plugin"
        ))
    }

    /// Checks that each key is known and each value of the right type.
    fn check(&self, defaults: &Table) -> Result<()> {
        let origin = &self.origin;
        let known = known_settings();
        for (key, value) in &self.values {
            if !known.contains(key) {
                let hint = match nearest(key, &known) {
                    Some(name) => format!("did you mean {name}?"),
                    None => "`lockstep train --help` lists the settings".to_string(),
                };
                return Err(UsageError(format!("{origin}: there is no setting {key}; {hint}")).into());
            }
            let mut alone = defaults.clone();
            alone.insert(key.clone(), value.clone());
            let typed = alone.clone().try_into::<trainer::Settings>().and(alone.try_into::<ppo::Settings>());
            if let Err(error) = typed {
                let message = error.message();
                return Err(UsageError(format!("{origin}: {key} = {value}: {message}")).into());
            }
        }
        Ok(())
    }
}

/// The names of all settings.
fn known_settings() -> Vec<String> {
    let command = trainer::Settings::augment_args(Command::new("settings"));
    let command = ppo::Settings::augment_args(command);
    command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
}

/// Refuses changes that the state of a resumed run does not allow.
fn check_fixed(resumed: &Resumed, stored: &Table, given: &Table) -> Result<()> {
    let run = trainer::run_dir::name_of(resumed.directory());
    let other_name = given.get("run_name").filter(|name| name.as_str() != Some(&run) && resumed.is_in_run());
    if let Some(Value::String(name)) = other_name {
        return Err(
            UsageError(format!("a resumed run keeps its name {run}; leave out --run-name {name}")).into()
        );
    }
    for key in FIXED {
        if let Some(value) = given.get(key).filter(|value| stored.get(key) != Some(value)) {
            let before = stored.get(key).map_or("not set".into(), Value::to_string);
            let message = format!(
                "{key} is {before} in the run {run} and cannot become {value}; start a new run for that"
            );
            return Err(UsageError(message).into());
        }
    }
    Ok(())
}

/// What a resumed run does differently from now on, if that changes its numbers.
fn changes(stored: &Table, given: &Table) -> Vec<String> {
    let numbers = table(&ppo::Settings::default()).unwrap_or_default();
    let anneals = stored.get("anneal_lr") == Some(&Value::Boolean(true));
    let matters = |key: &str| {
        numbers.contains_key(key)
            || ["device", "devices", "deterministic"].contains(&key)
            || (anneals && key == "total_timesteps")
    };
    let changed = given.iter().filter(|(key, value)| matters(key) && stored.get(*key) != Some(value));
    changed
        .map(|(key, value)| {
            let before = stored.get(key).map_or("not set".into(), Value::to_string);
            let how = match key.as_str() {
                // The same mathematics; sums are taken in another order, and each device shuffles its own samples.
                "devices" => format!("bit for bit as on {before}"),
                _ => "as it would have without the change".into(),
            };
            format!("{key} {before} -> {value}: the run goes on, but not {how}")
        })
        .collect()
}
