//! `lockstep envs`: which environments there are, and what one of them consists of.

use anyhow::Result;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Value, json};
use toml::Table;

use crate::algorithms;
use crate::array::{DType, HostArray};
use crate::envs::description::{Group, Param};
use crate::envs::{Description, Entry, EnvSpec, default_params};

use super::{App, print, print_line};

/// What to show.
#[derive(Debug, Args)]
struct Envs {
    /// Show everything about this environment, which may be native:PATH, a C library [default: list all]
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn command() -> Command {
    Envs::augment_args(Command::new("envs")).about("List environments, or describe one")
}

/// Prints.
///
/// # Errors
/// An unknown name: one line with the nearest one.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let Envs { name, json } = Envs::from_arg_matches(matches)?;
    match (name, json) {
        (None, false) => print(&table(app)),
        (None, true) => print_line(Value::from_iter(app.entries().iter().map(row))),
        (Some(name), false) => print(&Facts::of(app, app.catalog().env(&name)?)?.to_text()),
        (Some(name), true) => print_line(Facts::of(app, app.catalog().env(&name)?)?.to_json()),
    }
}

fn row(entry: &Entry) -> Value {
    let spec = entry.spec();
    json!({
        "name": entry.name,
        "summary": entry.summary,
        "players": spec.players,
        "obs_size": spec.obs_size(),
        "obs_shape": spec.obs_shape,
        "privileged_shape": spec.privileged_shape,
        "num_actions": spec.num_actions,
    })
}

fn table(app: &App) -> String {
    let mut text = format!("{:<14}{:>8}{:>10}  summary\n", "name", "obs", "actions");
    for entry in app.entries() {
        let spec = entry.spec();
        let (name, summary) = (entry.name, entry.summary);
        text += &format!("{name:<14}{:>8}{:>10}  {summary}\n", spec.obs_size(), spec.num_actions);
    }
    text
}

/// All about one environment.
struct Facts {
    entry: Entry,
    spec: EnvSpec,
    description: Description,
    params: Vec<(String, HostArray)>,
    /// Players that follow a script.
    scripted: Vec<&'static str>,
    /// What learns it if nothing else is asked for, with its settings in this environment and in general.
    algorithm: algorithms::Entry,
    settings: Table,
    general: Table,
}

impl Facts {
    fn of(app: &App, entry: Entry) -> Result<Facts> {
        let env = entry.build();
        let algorithm = app.catalog().algorithm_of(&entry);
        Ok(Facts {
            entry,
            spec: env.spec(),
            description: entry.description(),
            params: default_params(&*env),
            scripted: env.players().iter().map(|player| player.name).collect(),
            settings: app.catalog().defaults(&entry, &algorithm)?,
            general: (algorithm.complete)(&Table::new())?,
            algorithm,
        })
    }

    fn to_json(&self) -> Value {
        let params = self.params.iter().map(|(name, value)| (name.clone(), number(value)));
        let mut object = row(&self.entry);
        object["observation"] = json!(self.description.observation);
        object["actions"] = json!(self.description.actions);
        object["rewards"] = json!(self.description.rewards);
        object["metrics"] = self.spec.metrics.iter().map(|metric| metric.name.as_str()).collect();
        object["params"] = params.collect();
        let ranges = self.description.params.iter().map(|param| (param.name.clone(), json!(param.range)));
        object["ranges"] = ranges.collect();
        object["scripted"] = json!(self.scripted);
        object["algo"] = json!(self.algorithm.name);
        object["settings"] = json!(self.settings);
        object
    }

    fn to_text(&self) -> String {
        let mut text = format!("{}: {}\n", self.entry.name, self.entry.summary);
        text += &format!("\nObservation: {} numbers\n", by(&self.spec.obs_shape));
        let mut start = 0;
        for group in &self.description.observation {
            text += &group_text(group, start);
            start += group.size();
        }
        if let Some(shape) = &self.spec.privileged_shape {
            text += &format!("\nPrivileged observation, for value functions alone: {} numbers\n", by(shape));
        }
        if self.spec.players > 1 {
            text += &format!("\nPlayers: {}\n", self.spec.players);
        }
        if !self.scripted.is_empty() {
            text += &format!("\nScripted players: {}\n", self.scripted.join(", "));
        }
        text += &format!("\nActions: {}\n", self.spec.num_actions);
        for (index, action) in self.description.actions.iter().enumerate() {
            text += &format!("  {index:>4}  {:<22}{}\n", action.name, action.does);
        }
        text += "\nReward: the sum of\n";
        for reward in &self.description.rewards {
            text += &format!("  {:<28}{} per {}\n", reward.name, reward.pays, reward.per);
        }
        text += "\nParameters, which never recompile\n";
        for (name, value) in &self.params {
            let what = self.description.params.iter().find(|param| param.name == *name);
            let what = what.map_or_else(|| kind(value), |param| format!("{}: {}", range(param), param.is));
            text += &format!("  {name:<28}{:<12}{what}\n", number(value).to_string());
        }
        text += &format!("\nSettings of training with {}: {}\n", self.algorithm.name, self.algorithm.summary);
        for (name, value) in &self.settings {
            let general = match self.general.get(name) {
                Some(general) if general != value => format!("  (elsewhere {general})"),
                _ => String::new(),
            };
            text += &format!("  {name:<28}{value}{general}\n");
        }
        if let Some((entity, project)) = self.entry.wandb {
            text += &format!("  {:<28}{entity:?}\n  {:<28}{project:?}\n", "entity", "project");
        }
        text
    }
}

/// The range of a parameter in words: 0 to 3.
fn range(param: &Param) -> String {
    let [low, high] = param.range;
    format!("{low} to {high}")
}

/// What a parameter can be of which no range is known.
fn kind(value: &HostArray) -> String {
    let kind = match (value.shape().is_empty(), value.dtype()) {
        (false, _) => return format!("{} numbers", by(value.shape())),
        (true, DType::Bool) => "true or false",
        (true, DType::F32) => "any number",
        (true, _) => "any whole number",
    };
    kind.to_owned()
}

/// A shape in words: 10x10.
fn by(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    if sizes.is_empty() { "1".to_owned() } else { sizes.join("x") }
}

/// A group of the observation that begins at `start`.
fn group_text(group: &Group, start: usize) -> String {
    let width = group.features.len();
    let mut text = match group.count {
        1 => format!("  {}\n", group.name),
        count => format!("  {}, {count} times {width} numbers\n", group.name),
    };
    for (i, feature) in group.features.iter().enumerate() {
        let index = if group.count == 1 { format!("{}", start + i) } else { format!("{}..", start + i) };
        let is = if feature.is == feature.name { "" } else { &feature.is };
        text += format!("  {index:>6}  {:<22}{is}", feature.name).trim_end();
        text.push('\n');
    }
    text
}

/// The value of a parameter: a number, or a list of them. f32 values are shown as short as they are exact.
fn number(value: &HostArray) -> Value {
    let short = |value: f64| serde_json::from_str(&(value as f32).to_string()).unwrap_or(json!(value));
    let mut values: Vec<Value> = value.to_f64().into_iter().map(short).collect();
    if value.shape().is_empty() { values.remove(0) } else { values.into() }
}
