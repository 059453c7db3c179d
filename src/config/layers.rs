//! Merging the layers into one [`Config`].

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use toml::{Table, Value};

use super::command::{run_settings, settings_command};
use super::text::{check_keys, parse};
use super::{Catalog, Config, Invocation, UsageError, document, puffer, stages, usage};
use crate::algorithms::Entry;
use crate::envs;
use crate::envs::front::{DeviceVariable, Meaning, Said};
use crate::files;
use crate::trainer::{self, ENV_SET, Resumed};

/// What cannot change when a run is resumed, beside what its algorithm says: what decides the shape of its state, and what it
/// is called.
const FIXED: [&str; 11] = [
    "env",
    "env_set",
    "algo",
    "seed",
    "num_seeds",
    "auto_scale",
    "auto_tune",
    "run_suffix",
    "window_steps",
    "checkpoint_prefix",
    "init_from",
];

/// The setting of which flags speak for one process, and files for all.
const DEVICES: &str = "devices";

/// What `--resume` is told for a run that may have begun.
const AUTO: &str = "auto";

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

/// The processes that a command line is for.
#[derive(Clone, Copy, Debug)]
pub struct Ranks<'a> {
    pub count: usize,
    /// What rank 0 has made of its command line, unless this is rank 0: what it begins with in the place of a file or checkpoint.
    pub settings_of_first: Option<&'a str>,
}

impl Ranks<'_> {
    pub const ONE: Ranks<'static> = Ranks { count: 1, settings_of_first: None };
}

/// Merges the layers: the defaults of the environment and its algorithm, the file or checkpoint, environment variables and flags.
///
/// # Errors
/// One line. A [`UsageError`] if a setting is unknown, of the wrong type, out of range or cannot be changed;
/// otherwise a file that cannot be read or loaded.
pub fn resolve(catalog: &Catalog, matches: &ArgMatches, ranks: Ranks) -> Result<Resolved> {
    resolve_over(catalog, matches, None, ranks)
}

/// As [`resolve`], with these settings as those of a file; the text says where they come from.
///
/// # Errors
/// As [`resolve`].
pub fn resolve_over(
    catalog: &Catalog,
    matches: &ArgMatches,
    settings: Option<(&str, Table)>,
    ranks: Ranks,
) -> Result<Resolved> {
    let Invocation { config: mut file, run_dir, mut resume, rewind, dashboard, json } =
        Invocation::from_arg_matches(matches)?;
    if ranks.settings_of_first.is_some() {
        (file, resume) = (None, None); // rank 0 has read them
    }
    let run = trainer::Settings::from_arg_matches(matches)?;
    let begins_if_new = resume.as_deref() == Some(Path::new(AUTO));
    if let (Some(_), Some(_), false) = (&file, &resume, begins_if_new) {
        let message = "--config cannot be used with --resume, but for --resume auto: a run goes on with its own configuration";
        return Err(UsageError(message.into()).into());
    }
    let mut given = given_to_run(matches, &run)?;
    if let (Some(devices), true) = (run.devices, given.contains_key(DEVICES)) {
        let all = devices.saturating_mul(ranks.count) as i64;
        given.insert(DEVICES.into(), all.into()); // what is said of a process is meant for each
    }
    if let Some(run_dir) = &run_dir {
        given.extend(place_of(run_dir)?);
    }
    let (mut document, mut notes) = (None, Vec::new());
    let resumed = match resume {
        Some(_) if begins_if_new => Resumed::find(&run).map_err(usage)?,
        Some(request) => Some(Resumed::open(&request, &run.checkpoint_dir)?),
        None => None,
    };
    if resumed.is_some() {
        file = None; // the checkpoint has what it said
    }
    let mut base = match (&file, &resumed) {
        (Some(path), _) if document::is_document(path) => {
            let read = document::read(catalog, path)?;
            (document, notes) = (Some(read.document), read.notes);
            Layer { origin: path.display().to_string(), values: read.values }
        }
        (Some(path), _) if puffer::is_file(path) => {
            let (values, told) = puffer::read(catalog, path)?;
            notes = told;
            Layer { origin: path.display().to_string(), values }
        }
        (Some(path), _) => Layer::of_file(path)?,
        (None, Some(resumed)) => Layer::of_checkpoint(resumed)?,
        (None, None) => match ranks.settings_of_first {
            Some(text) => Layer::parse("the settings of rank 0".into(), text)?,
            None => settings
                .map_or_else(Layer::default, |(origin, values)| Layer { origin: origin.into(), values }),
        },
    };
    let of_front = base.take_file_of_front(catalog)?;
    let trainer::Settings { env, plugin, .. } = run;
    let env = match (given.get("env"), base.values.get("env")) {
        (None, Some(Value::String(env))) => env.clone(),
        _ => env,
    };
    let of_run = |error| match &resumed {
        Some(resumed) if !env.starts_with(envs::native::PREFIX) => about_run(resumed, error),
        _ => error,
    };
    let entry = catalog.env(&env).map_err(of_run)?;
    if let Some(given) = given.get_mut("env") {
        *given = entry.name.into(); // the path of a library becomes absolute
    }
    if let Some(resumed) = &resumed {
        let own = || Value::from(catalog.algorithm_of(&entry).name);
        base.values.entry("algo").or_insert_with(own); // runs of older versions do not say it
        check_fixed(resumed, &FIXED, &base.values, &given)?;
    }
    let front = given_to_front(catalog, &entry, matches, run.seed, of_front)?;
    if let Some(front) = &front {
        notes.extend(front.notes.clone());
        base.values.extend(front.of_file.clone());
    }
    if !given.contains_key("device") {
        given.extend(device_by_variable(&entry)?);
    }
    if let (Some(front), Some(resumed)) = (&front, &resumed) {
        let run = trainer::run_dir::name_of(resumed.directory());
        let flag = &front.flag;
        return Err(UsageError(format!(
            "{flag} is for a new run, and {run} goes on as it began; leave it out"
        ))
        .into());
    }
    let by_front = front.as_ref().map(|front| front.settings.clone()).unwrap_or_default();
    let algorithm = match given.get("algo").or(by_front.get("algo")).or(base.values.get("algo")) {
        Some(Value::String(name)) => catalog.algorithm(name).map_err(of_run)?,
        _ => catalog.algorithm_of(&entry),
    };
    given.extend(given_to_algorithm(catalog, &algorithm, matches)?);
    if let Some(resumed) = &resumed {
        check_fixed(resumed, algorithm.fixed, &base.values, &given)?;
    }
    let preset = given.get("preset").or(base.values.get("preset")).and_then(Value::as_str);
    let preset = algorithm.presets.iter().find(|(name, _)| Some(*name) == preset);
    let preset = preset.map_or(Ok(Table::new()), |(_, lines)| parse(lines))?;
    let own_defaults = catalog.defaults(&entry, &algorithm)?.into_iter().chain(preset).collect::<Table>();
    if resumed.is_some() {
        notes.extend(changes(&algorithm, &base.values, &given)?);
    }
    notes.extend(base.without_plugin());
    base.check(catalog, &algorithm)?;
    let given_name = given.get("run_name").and_then(Value::as_str).map(String::from);

    let defaults = run_defaults()?.into_iter().chain(own_defaults.clone());
    if let Some(front) = &front {
        front.check_agreement(&entry, &given)?;
        front.add_options(&mut given);
    }
    let merged: Table = defaults.chain(base.values).chain(by_front).chain(given).collect();
    let settings = (algorithm.complete)(&merged)?;
    let mut config = Config { run: merged.try_into()?, algorithm, settings, processes: ranks.count };
    if resumed.as_ref().is_some_and(|resumed| !resumed.is_in_run()) {
        config.run.run_name = given_name; // another directory than that of the name in the checkpoint
    }
    config.run.env = entry.name.to_owned(); // its default is the program's
    config.run.algo = Some(algorithm.name.to_owned());
    config.run.plugin = plugin;
    config.run.begins_again = begins_if_new;
    config.run.document = document;
    if let Some(front) = front {
        config.run.front = Some(front.config);
    }
    config.run.check().map_err(usage)?;
    (algorithm.check)(&config.settings).map_err(usage)?;
    stages::check(&config)?;
    config.run.check_together().map_err(usage)?;
    if algorithm.unscaled.iter().any(|&key| config.settings.get(key) != own_defaults.get(key)) {
        config.run.auto_scale = false; // a number that was chosen is kept
    }
    Ok(Resolved { config, resumed, rewind, dashboard, json, notes })
}

/// The directory of a run as the directory of runs and a name in it.
fn place_of(run_dir: &Path) -> Result<Table> {
    let whole = std::path::absolute(run_dir).with_context(|| format!("cannot find {}", run_dir.display()))?;
    let (parent, name) = (whole.parent(), whole.file_name());
    let Some((parent, name)) = parent.and_then(Path::to_str).zip(name.and_then(|name| name.to_str())) else {
        let problem = format!("--run-dir is {}, which can be no run's directory", run_dir.display());
        return Err(UsageError(problem).into());
    };
    let values = [("checkpoint_dir", parent), ("run_name", name)];
    Ok(values.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect())
}

/// What the command line of an environment's own says.
struct OfFront {
    /// One of its flags that was given.
    flag: String,
    config: String,
    settings: Table,
    /// What its file says, which gives way to flags.
    of_file: Table,
    notes: Vec<String>,
}

impl OfFront {
    /// Refuses settings that are given as well, and differ.
    fn check_agreement(&self, entry: &envs::Entry, given: &Table) -> Result<()> {
        let differs = |(key, value): &(&String, &Value)| match given.get(*key) {
            Some(other) if *key == ENV_SET => options_differ(value, other),
            other => other.is_some_and(|other| other != *value),
        };
        let Some((key, value)) = self.settings.iter().find(differs) else { return Ok(()) };
        let (flag, env) = (key.replace('_', "-"), entry.name);
        Err(UsageError(format!(
            "--{flag} contradicts {key} = {value}, which the flags of {env} say; leave it out"
        ))
        .into())
    }

    /// Puts the options of the environment that the flags mean before those that are given.
    fn add_options(&self, given: &mut Table) {
        let own = self.settings.get(ENV_SET).and_then(Value::as_array).cloned().unwrap_or_default();
        if let Some(Value::Array(list)) = given.get_mut(ENV_SET) {
            *list = [own, std::mem::take(list)].concat();
        }
    }
}

/// The options of an environment in a list.
fn options(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Whether two lists have other values for the same option.
fn options_differ(a: &Value, b: &Value) -> bool {
    let differ = |a, b| {
        let [a, b] = [a, b].map(envs::name_and_value);
        a.0 == b.0 && a.1 != b.1
    };
    options(a).any(|a| options(b).any(|b| differ(a, b)))
}

/// A file of a format that an environment brings with it.
struct FileOfFront {
    origin: String,
    owner: envs::Entry,
    values: Table,
}

/// What flags, environment variables and a file say to the front of an environment, if it is in use: if a flag of it is given, or such
/// a file.
fn given_to_front(
    catalog: &Catalog,
    entry: &envs::Entry,
    matches: &ArgMatches,
    seed: u64,
    file: Option<FileOfFront>,
) -> Result<Option<OfFront>> {
    if let Some(FileOfFront { origin, owner, .. }) = file.as_ref().filter(|file| file.owner != *entry) {
        let message = format!("{origin} is a configuration of {}, not of {}", owner.name, entry.name);
        return Err(UsageError(message).into());
    }
    let names = |other: &envs::Entry| other.front.map_or_else(Vec::new, |front| front.names());
    let by_file = || file.as_ref().map(|_| "--config".to_owned());
    let flag = own_flag(catalog, entry, matches, names)?.or_else(by_file);
    let Some((front, flag)) = entry.front.zip(flag) else { return Ok(None) };
    let commit =
        trainer::status::git_state().0.map_or("nogit".to_owned(), |commit| commit.chars().take(7).collect());
    let name = format!("{}-{commit}", jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ"));
    let file = file.as_ref().map(|file| &file.values);
    let config = (front.read)(&Said { flags: matches, file, seed, name: &name }).map_err(usage)?;
    let Meaning { settings, of_file, notes, .. } = (front.meaning)(&config).map_err(usage)?;
    Ok(Some(OfFront { flag, config, settings, of_file, notes }))
}

/// A flag on the command line that the environment brings, if one is given; `names` gives the names of those of an environment.
///
/// # Errors
/// A [`UsageError`]: a flag of another environment is given.
pub fn own_flag(
    catalog: &Catalog,
    entry: &envs::Entry,
    matches: &ArgMatches,
    names: impl Fn(&envs::Entry) -> Vec<String>,
) -> Result<Option<String>> {
    let flag_of = |other: &envs::Entry| {
        let is_flag = |name: &String| matches.value_source(name) == Some(ValueSource::CommandLine);
        let name = names(other).into_iter().find(is_flag)?;
        Some(format!("--{}", name.replace('_', "-")))
    };
    for other in catalog.envs.entries().iter().filter(|other| *other != entry) {
        if let Some(flag) = flag_of(other) {
            let message = format!(
                "{flag} is a flag of {}, not of {}; add --env {}",
                other.name, entry.name, other.name
            );
            return Err(UsageError(message).into());
        }
    }
    Ok(flag_of(entry))
}

/// The device that the environment's own variable says.
fn device_by_variable(entry: &envs::Entry) -> Result<Option<(String, Value)>> {
    let Some(DeviceVariable { name, kind }) = entry.front.and_then(|front| front.device) else {
        return Ok(None);
    };
    let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) else { return Ok(None) };
    let kind = kind(&value).map_err(|error| UsageError(format!("{name}: {error}")))?;
    Ok(Some(("device".to_owned(), kind.into())))
}

/// Whether a flag or an environment variable says a setting.
fn is_given(matches: &ArgMatches, name: &str) -> bool {
    matches!(matches.value_source(name), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// What flags and environment variables say of the run.
fn given_to_run(matches: &ArgMatches, run: &trainer::Settings) -> Result<Table> {
    run.check().map_err(usage)?; // first, for what is out of range may not fit into a table
    let table =
        Table::try_from(run).map_err(|error| UsageError(format!("a setting cannot be stored: {error}")))?;
    Ok(table.into_iter().filter(|(name, _)| is_given(matches, name)).collect())
}

/// What flags and environment variables say of the algorithm. Their values are read here, as its settings.
fn given_to_algorithm(catalog: &Catalog, algorithm: &Entry, matches: &ArgMatches) -> Result<Table> {
    let command = settings_command(algorithm);
    let own = algorithm.settings();
    for other in catalog.algorithms.entries() {
        let foreign = |name: &String| {
            !own.contains(name) && matches.value_source(name) == Some(ValueSource::CommandLine)
        };
        if let Some(name) = other.settings().into_iter().find(foreign) {
            let flag = name.replace('_', "-");
            return Err(UsageError(format!(
                "--{flag} is a setting of {}, not of {}; leave it out, or choose with --algo",
                other.name, algorithm.name
            ))
            .into());
        }
    }
    let words = command.get_arguments().filter_map(|arg| {
        let name = arg.get_id().as_str();
        let flag = arg.get_long().filter(|_| is_given(matches, name))?;
        let values = matches.get_raw(name).into_iter().flatten();
        Some(values.map(move |value| {
            let mut word = OsString::from(format!("--{flag}="));
            word.push(value);
            word
        }))
    });
    let words: Vec<OsString> = words.flatten().collect();
    let mut table = match (algorithm.parse)(&command.try_get_matches_from(words)?) {
        Err(error) if !error.is::<clap::Error>() => Err(usage(error)),
        parsed => parsed,
    }?;
    table.retain(|name, _| is_given(matches, name));
    Ok(table)
}

fn run_defaults() -> Result<Table> {
    Ok(Table::try_from(trainer::Settings::default())?)
}

/// The configuration that a run or a checkpoint holds; settings that it does not know have their defaults.
pub fn stored(catalog: &Catalog, text: &str) -> Result<Config> {
    let layer = Layer::parse("the stored configuration".into(), text)?;
    let mut values = run_defaults()?;
    values.extend(layer.values.clone());
    let run: trainer::Settings = values.try_into().map_err(|error: toml::de::Error| about(error.into()))?;
    let env = catalog.env(&run.env).map_err(about)?;
    let algorithm = match &run.algo {
        Some(name) => catalog.algorithm(name).map_err(about)?,
        None => catalog.algorithm_of(&env),
    };
    let settings = (algorithm.complete)(&layer.values).map_err(about)?;
    Ok(Config { run, algorithm, settings, processes: 1 })
}

/// What is wrong with the stored configuration, in one line.
fn about(error: anyhow::Error) -> anyhow::Error {
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
        match parse(text) {
            Ok(values) => Ok(Self { origin, values }),
            Err(error) => Err(UsageError(format!("{origin}, {error}")).into()),
        }
    }

    /// Takes out everything if it is in a format that an environment brings with it; what is left is which one that is.
    fn take_file_of_front(&mut self, catalog: &Catalog) -> Result<Option<FileOfFront>> {
        let owns = |entry: &&envs::Entry| {
            let file = entry.front.and_then(|front| front.config_file);
            file.is_some_and(|file| file.sections.iter().any(|name| self.values.contains_key(*name)))
        };
        let Some(&owner) = catalog.envs.entries().iter().find(owns) else { return Ok(None) };
        let file = owner.front.and_then(|front| front.config_file).expect("it was just found");
        let origin = self.origin.clone();
        let values =
            (file.check)(&self.values).map_err(|error| UsageError(format!("{origin}: {error:#}")))?;
        self.values = Table::from_iter([("env".to_owned(), owner.name.into())]);
        Ok(Some(FileOfFront { origin, owner, values }))
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
    fn check(&self, catalog: &Catalog, algorithm: &Entry) -> Result<()> {
        let wrong = |problem: String| UsageError(format!("{}: {problem}", self.origin)).into();
        let (run, own) = (run_settings(), algorithm.settings());
        for (key, value) in &self.values {
            let other = catalog.algorithms.entries().iter().find(|other| other.settings().contains(key));
            if let (Some(other), false) = (other, run.contains(key) || own.contains(key)) {
                let problem = format!("{key} is a setting of {}, not of {}", other.name, algorithm.name);
                return Err(wrong(problem));
            }
            let alone = Table::from_iter([(key.clone(), value.clone())]);
            check_keys(&alone, &[&run[..], &own].concat()).map_err(|error| wrong(error.to_string()))?;
            let typed = if run.contains(key) {
                let whole: Table = run_defaults()?.into_iter().chain(alone).collect();
                whole.try_into::<trainer::Settings>().map(drop).map_err(|error| error.message().to_owned())
            } else {
                let message = |error: anyhow::Error| match error.downcast::<toml::de::Error>() {
                    Ok(error) => error.message().to_owned(),
                    Err(error) => error.to_string(),
                };
                (algorithm.complete)(&alone).map(drop).map_err(message)
            };
            typed.map_err(|message| match key.as_str() {
                stages::KEY if value.is_array() => wrong(message), // which says of which stage it is
                _ => wrong(format!("{key} = {value}: {message}")),
            })?;
        }
        Ok(())
    }
}

/// An error about what a resumed run needs, with the program that has it.
fn about_run(resumed: &Resumed, error: anyhow::Error) -> anyhow::Error {
    let run = trainer::run_dir::name_of(resumed.directory());
    match trainer::status::program_of(resumed.directory()) {
        Some(program) => {
            anyhow!("{error}; the run {run} was trained by the program {program}, which resumes it")
        }
        None => error,
    }
}

/// Refuses changes that the state of a resumed run does not allow.
fn check_fixed(resumed: &Resumed, fixed: &[&str], stored: &Table, given: &Table) -> Result<()> {
    let run = trainer::run_dir::name_of(resumed.directory());
    let other_name = given.get("run_name").filter(|name| name.as_str() != Some(&run) && resumed.is_in_run());
    if let Some(Value::String(name)) = other_name {
        return Err(
            UsageError(format!("a resumed run keeps its name {run}; leave out --run-name {name}")).into()
        );
    }
    for &key in fixed {
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
fn changes(algorithm: &Entry, stored: &Table, given: &Table) -> Result<Vec<String>> {
    let own = algorithm.settings();
    let depends_on_length = (algorithm.depends_on_length)(&(algorithm.complete)(stored)?)?;
    let matters = |key: &String| {
        own.contains(key)
            || ["device", "devices", "deterministic"].contains(&key.as_str())
            || (depends_on_length && key == "total_timesteps")
    };
    let changed = given.iter().filter(|(key, value)| matters(key) && stored.get(*key) != Some(value));
    let lines = changed
        .map(|(key, value)| {
            let before = stored.get(key).map_or("not set".into(), Value::to_string);
            let how = match key.as_str() {
                // The same mathematics; sums are taken in another order, and each device shuffles its own samples.
                "devices" => format!("bit for bit as on {before}"),
                _ => "as it would have without the change".into(),
            };
            format!("{key} {before} -> {value}: the run goes on, but not {how}")
        })
        .collect();
    Ok(lines)
}
