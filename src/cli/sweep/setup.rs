//! From what a sweep says to the configuration of each trial, checked before the first of them begins.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use toml::{Table, Value};

use crate::algorithms::metrics::EPISODE_RETURN;
use crate::array::{DType, HostArray};
use crate::cli::App;
use crate::config::{Config, Ranks, Resolved, UsageError, resolve_over, run_settings, train_command};
use crate::envs::{self, Entry, default_params, name_and_value};
use crate::names::nearest;
use crate::sweep::{COST, ENV, Parameter, Plan, Values};
use crate::trainer::{ENV_SET, evaluation, time_metrics};
use crate::training::settle;

/// A setting of the run that may vary, beside those of the algorithm.
const OF_RUN: [&str; 2] = [COST, "seed"];

/// A sweep that is ready to begin.
pub struct Setup<'a> {
    app: &'a App,
    pub plan: Plan,
    /// Settings that all trials have in common.
    settings: Table,
    /// Where they come from, for messages.
    origin: String,
}

impl<'a> Setup<'a> {
    /// Reads and checks a sweep: the table `[sweep]`, the settings, and both together at the bounds of each setting that varies.
    ///
    /// # Errors
    /// A [`UsageError`].
    pub fn new(app: &'a App, settings: &Table, sweep: &Table, origin: &str) -> Result<Setup<'a>> {
        let wrong = |error: anyhow::Error| UsageError(format!("{origin}: {error:#}"));
        let plan = Plan::read(sweep.clone()).map_err(wrong)?;
        let mut setup = Setup { app, plan, settings: settings.clone(), origin: origin.to_owned() };
        let (config, entry) = setup.config(&Table::new(), 0, Path::new("."), "trial")?;
        let group = config.run.num_seeds;
        ensure!(
            group == 1,
            wrong(anyhow!("num_seeds is {group}, but a trial trains one agent; leave it out"))
        );
        let front = config.run.front.is_none();
        ensure!(
            front,
            wrong(anyhow!("it says settings in the words of {}; a sweep takes those of train", entry.name))
        );
        setup.plan.metric = metric(&config, &entry, &setup.plan.metric).map_err(wrong)?;
        let mut parameters = std::mem::take(&mut setup.plan.space.parameters);
        for parameter in &mut parameters {
            adjust(parameter, &config, &entry).map_err(wrong)?;
        }
        setup.plan.space.parameters = parameters;
        setup.check_bounds()?;
        Ok(setup)
    }

    /// Checks each setting at its bounds, with what the others are by default.
    fn check_bounds(&self) -> Result<()> {
        for parameter in &self.plan.space.parameters {
            let places = match &parameter.values {
                Values::Range { .. } => vec![parameter.value(-1.0), parameter.value(1.0)],
                Values::Choice(values) => values.clone(),
            };
            for value in places {
                let values = Table::from_iter([(parameter.name.clone(), value.clone())]);
                let (config, _) = self.config(&values, 0, Path::new("."), "trial").map_err(|error| {
                    UsageError(format!("{}: sweep.{} may be {value}: {error:#}", self.origin, parameter.name))
                })?;
                let is_said = is_value_of(&config, &parameter.name, &value);
                let name = parameter.name.to_uppercase();
                ensure!(
                    is_said,
                    UsageError(format!(
                        "LOCKSTEP_{name} is set, so {} cannot vary; unset it",
                        parameter.name
                    ))
                );
            }
        }
        Ok(())
    }

    /// The settings of a trial with these values, as a file for `train --config` says them.
    pub fn settings(&self, values: &Table) -> Table {
        let mut settings = self.settings.clone();
        let mut options = Vec::new();
        for (name, value) in values {
            match name.strip_prefix(ENV) {
                None => drop(settings.insert(name.clone(), value.clone())),
                Some(option) => options.push(Value::from(format!("{option}={}", plain(value)))),
            }
        }
        if !options.is_empty() {
            let before = settings.get(ENV_SET).and_then(Value::as_array).cloned().unwrap_or_default();
            settings.insert(ENV_SET.to_owned(), Value::Array([before, options].concat()));
        }
        settings
    }

    /// The configuration of a trial, and its environment.
    ///
    /// # Errors
    /// A [`UsageError`]: the values do not fit together.
    pub fn config(&self, values: &Table, seed: u64, directory: &Path, run: &str) -> Result<(Config, Entry)> {
        let catalog = self.app.catalog();
        let directory = directory.to_str().ok_or_else(|| anyhow!("{directory:?} is no UTF-8"))?;
        let words = ["train", "--checkpoint-dir", directory, "--run-name", run];
        let matches = train_command(catalog).try_get_matches_from(words)?;
        let Resolved { mut config, .. } =
            resolve_over(catalog, &matches, Some((&self.origin, self.settings(values))), Ranks::ONE)?;
        config.run.seed += seed;
        let entry = catalog.env(&config.run.env)?;
        let entry = settle(entry, &mut config)?;
        Ok((config, entry))
    }
}

/// Whether a configuration has that value.
fn is_value_of(config: &Config, name: &str, value: &Value) -> bool {
    if let Some(option) = name.strip_prefix(ENV) {
        let said = config.run.env_set.iter().rev().map(|option| name_and_value(option));
        return said
            .into_iter()
            .find(|(known, _)| *known == option)
            .is_some_and(|(_, said)| said == plain(value));
    }
    let number = |value: &Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
    match default_of(config, name) {
        Some(own) => own == *value || number(&own).zip(number(value)).is_some_and(|(a, b)| a == b),
        None => true,
    }
}

/// A value without quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What a setting is in a configuration.
fn default_of(config: &Config, name: &str) -> Option<Value> {
    let of_run = match name {
        COST => i64::try_from(config.run.total_timesteps).ok(),
        "seed" => i64::try_from(config.run.seed).ok(),
        _ => None,
    };
    of_run.map(Value::Integer).or_else(|| config.settings.get(name).cloned())
}

/// Checks that a setting can vary, and takes over what is known of it: whether it is whole, and where the search begins.
fn adjust(parameter: &mut Parameter, config: &Config, entry: &Entry) -> Result<()> {
    let name = &parameter.name;
    let default = match name.strip_prefix(ENV) {
        Some(option) => {
            let known = entry.options();
            ensure!(
                known.iter().any(|other| other == option),
                "sweep.{name}: {} has no option {option}{}",
                entry.name,
                hint(option, &known, ENV)
            );
            let params = default_params(&*entry.build());
            params.iter().find(|(other, _)| other == option).and_then(|(_, array)| scalar(array))
        }
        None => {
            let own = config.algorithm.settings();
            let of_run = OF_RUN.contains(&name.as_str());
            let fixed = run_settings().contains(name) && !of_run;
            ensure!(!fixed, "sweep.{name}: {name} cannot vary in a sweep; it is no number of the training");
            let known: Vec<String> = own.iter().cloned().chain(OF_RUN.map(String::from)).collect();
            ensure!(
                known.contains(name),
                "sweep.{name}: there is no setting {name}{}",
                hint(name, &known, "")
            );
            default_of(config, name)
        }
    };
    let is_range = matches!(parameter.values, Values::Range { .. });
    if let Some(Value::Boolean(_) | Value::String(_) | Value::Array(_)) = default {
        ensure!(!is_range, "sweep.{name}: {name} is no number; say which values it may have: values = [..]");
    }
    if let Some(Value::Integer(_)) = default {
        parameter.make_whole();
    }
    parameter.initial = parameter.initial.take().or(default);
    Ok(())
}

fn hint(name: &str, known: &[String], prefix: &str) -> String {
    match nearest(name, known.iter().map(String::as_str)) {
        Some(name) => format!("; did you mean {prefix}{name}?"),
        None => format!("; there are {}", known.join(", ")),
    }
}

/// The value of an option of an environment by default.
fn scalar(array: &HostArray) -> Option<Value> {
    match array.dtype() {
        DType::F32 => Some(Value::Float(array.as_slice::<f32>().first().copied()?.into())),
        DType::I32 => Some(Value::Integer(array.as_slice::<i32>().first().copied()?.into())),
        DType::Bool => Some(Value::Boolean(array.as_slice::<bool>().first().copied()?)),
        _ => None,
    }
}

/// The metric of that name, with or without its group, among those that the trials will have.
fn metric(config: &Config, entry: &Entry, name: &str) -> Result<String> {
    let env: std::rc::Rc<dyn envs::AnyEnv> = std::rc::Rc::from(entry.build());
    let own = (config.algorithm.metrics)(env.clone())?;
    let mut known: Vec<String> =
        own.iter().chain(&time_metrics()).map(|metric| metric.name.to_string()).collect();
    known.extend(evaluation::columns(&config.run, &env.spec()));
    if known.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let short = |name: &String| name.split_once('/').map_or(name.clone(), |(_, rest)| rest.to_owned());
    let so_called: Vec<&String> = known.iter().filter(|known| short(known) == name).collect();
    match so_called[..] {
        [only] => Ok(only.clone()),
        _ if name == "score" || name == "environment/score" => Ok(EPISODE_RETURN.to_owned()),
        _ => {
            let all: Vec<String> = known.iter().flat_map(|name| [name.clone(), short(name)]).collect();
            let hint = match nearest(name, all.iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near}?"),
                None => "`lockstep metrics` lists all".to_owned(),
            };
            let evaluated = if name.starts_with("eval/") { "; evaluations need eval_interval" } else { "" };
            Err(anyhow!("sweep.metric: there is no metric {name}; {hint}{evaluated}"))
        }
    }
}

/// What trials must have in common to be trained in one program: all but traced settings, parameters of the environment that are inputs of
/// the program, seeds and names.
pub fn program_of(config: &Config, entry: &Entry) -> Result<String> {
    let mut own = config.clone();
    // Windows belong to runs of one agent.
    if config.run.window_steps.is_none() {
        own.run.run_name = None;
    }
    own.run.seed = 0;
    own.settings.retain(|name, _| !config.algorithm.traced.iter().any(|traced| traced == &name));
    let inputs = default_params(&*entry.build());
    own.run.env_set.retain(|option| inputs.iter().all(|(name, _)| name != name_and_value(option).0));
    own.to_toml()
}
