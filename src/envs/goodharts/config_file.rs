//! The configuration file of the reference: sections of TOML, used alone, in which most keys must stand.
//!
//! What training reads of it becomes settings of lockstep and options of the environment. Keys that belong to other commands, or that
//! change nothing in the reference either, are known and have no effect. `jax_env_spec/goodharts/config.default.toml` has all of them.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow, bail, ensure};
use toml::{Table, Value};

use super::{Mode, layout};
use crate::envs::front::{ConfigFile, hint};

pub const CONFIG_FILE: ConfigFile = ConfigFile { sections: SECTIONS, check };

/// By which a file is known to be one.
const SECTIONS: &[&str] = &[
    "cell_types",
    "world",
    "resources",
    "agents",
    "agent",
    "visualization",
    "brain_view",
    "training",
    "evaluation",
    "runtime",
];

/// What a value is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Whole,
    Flag,
    Text,
    /// Three whole numbers.
    Color,
}
use Kind::{Color, Flag, Number, Text, Whole};

/// The keys that must stand in a file.
const NEEDED: &[(&str, Kind)] = &[
    ("cell_types.empty.color", Color),
    ("cell_types.empty.energy_delta", Number),
    ("cell_types.empty.interestingness", Number),
    ("cell_types.food.color", Color),
    ("cell_types.food.energy_delta", Number),
    ("cell_types.food.interestingness", Number),
    ("cell_types.poison.color", Color),
    ("cell_types.poison.energy_delta", Number),
    ("cell_types.poison.interestingness", Number),
    ("world.width", Whole),
    ("world.height", Whole),
    ("resources.food", Whole),
    ("resources.poison", Whole),
    ("resources.respawn", Flag),
    ("agent.view_range", Whole),
    ("agent.energy_start", Number),
    ("agent.energy_move_cost", Number),
    ("agent.move_cost_exponent", Number),
    ("agent.max_move_distance", Whole),
    ("training.learning_rate", Number),
    ("training.gamma", Number),
    ("training.gae_lambda", Number),
    ("training.eps_clip", Number),
    ("training.k_epochs", Whole),
    ("training.n_envs", Whole),
    ("training.n_minibatches", Whole),
    ("training.steps_per_env", Whole),
    ("training.brain_type", Text),
    ("training.value_head_type", Text),
    ("training.entropy_initial", Number),
    ("training.entropy_final", Number),
    ("training.entropy_decay_fraction", Number),
    ("training.entropy_floor", Number),
    ("training.entropy_floor_penalty", Number),
    ("training.value_coef", Number),
];

/// Those that have another value where they are missing, or that training does not read.
const OPTIONAL: &[(&str, Kind)] = &[
    ("agent.death_penalty_ratio", Number),
    ("training.lr_decay", Flag),
    ("training.lr_final", Number),
    ("training.eps_clip_final", Number),
    ("training.steps_per_episode", Whole),
    ("training.popart_beta_min", Number),
    ("training.popart_rescale_weights", Flag),
    ("training.min_food", Whole),
    ("training.max_food", Whole),
    ("training.min_poison", Whole),
    ("training.max_poison", Whole),
    ("training.checkpoint_interval", Whole),
    ("training.validation_interval", Whole),
    ("training.validation_episodes", Whole),
    ("training.validation_mode", Text),
    ("training.validation_food", Whole),
    ("training.validation_poison", Whole),
    ("training.seed", Whole),
    ("training.action_space_type", Text),
    ("training.privileged_critic", Flag),
    ("training.use_amp", Flag),
    ("training.compile_models", Flag),
    ("training.compile_env", Flag),
    ("training.compile_mode", Text),
    ("visualization.speed", Whole),
    ("visualization.steps", Whole),
    ("brain_view.enabled", Flag),
    ("brain_view.agent_type", Text),
    ("brain_view.model", Text),
    ("brain_view.freeze_energy", Flag),
    ("evaluation.n_envs", Whole),
    ("evaluation.steps_per_env", Whole),
    ("evaluation.runs", Whole),
    ("evaluation.base_seed", Whole),
    ("runtime.device", Text),
    ("runtime.hsa_override_gfx_version", Text),
    ("runtime.cudnn_benchmark", Flag),
];

/// The keys of each of `[[agents]]`, which only the simulation of the reference reads.
const OF_AGENTS: &[&str] = &["type", "count", "model"];

/// The values of a file by their whole names, `training.gamma`, if they are what they must be.
///
/// # Errors
/// One line that names a key: it is unknown, missing, or its value makes no sense here.
fn check(file: &Table) -> Result<Table> {
    let mut values = Table::new();
    for (section, value) in file {
        match (section.as_str(), value) {
            ("agents", Value::Array(agents)) => check_agents(agents)?,
            _ => flatten(section, value, &mut values),
        }
    }
    let known = || NEEDED.iter().chain(OPTIONAL);
    for (name, value) in &values {
        let Some((_, kind)) = known().find(|(known, _)| known == name) else {
            let all = "config.default.toml has all that there are";
            bail!("there is no key {name}; {}", hint(name, known().map(|(name, _)| *name), all));
        };
        ensure!(kind.is_of(value), "{name} is {value}; it must be {}", kind.words());
    }
    if let Some((name, _)) = NEEDED.iter().find(|(name, _)| !values.contains_key(*name)) {
        bail!(
            "{name} is missing; a configuration is used alone, so it must have what config.default.toml has"
        );
    }
    let values = File(values);
    values.check_fixed()?;
    Ok(values.0)
}

fn check_agents(agents: &[Value]) -> Result<()> {
    for agent in agents {
        let Value::Table(agent) = agent else { bail!("agents is {agent}; it must be tables, [[agents]]") };
        if let Some(name) = agent.keys().find(|name| !OF_AGENTS.contains(&name.as_str())) {
            bail!("there is no key {name} in [[agents]]; there are {}", OF_AGENTS.join(", "));
        }
    }
    Ok(())
}

fn flatten(name: &str, value: &Value, into: &mut Table) {
    match value {
        Value::Table(section) => {
            section.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, into));
        }
        value => drop(into.insert(name.to_owned(), value.clone())),
    }
}

impl Kind {
    fn is_of(self, value: &Value) -> bool {
        let is_whole = |value: &Value| value.as_integer().is_some_and(|number| number >= 0);
        match self {
            Number => value.is_integer() || value.as_float().is_some_and(f64::is_finite),
            Whole => is_whole(value),
            Flag => value.is_bool(),
            Text => value.is_str(),
            Color => value.as_array().is_some_and(|parts| parts.len() == 3 && parts.iter().all(is_whole)),
        }
    }

    fn words(self) -> &'static str {
        match self {
            Number => "a number",
            Whole => "a whole number, 0 or above",
            Flag => "true or false",
            Text => "text in quotes",
            Color => "three whole numbers",
        }
    }
}

/// The values of a file that was checked, by their whole names.
pub struct File(pub Table);

impl File {
    fn number(&self, name: &str) -> Option<f64> {
        let value = self.0.get(name)?;
        value.as_float().or(value.as_integer().map(|number| number as f64))
    }

    /// A number that must stand in a file.
    fn needed(&self, name: &str) -> f64 {
        self.number(name).unwrap_or_else(|| panic!("{name} was checked"))
    }

    pub fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_integer().map(|number| number as u64)
    }

    fn flag(&self, name: &str) -> Option<bool> {
        self.0.get(name)?.as_bool()
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Refuses what other values of these keys would ask for.
    fn check_fixed(&self) -> Result<()> {
        let world = layout().world;
        let numbers = [
            ("world.width", world.width as f64, "the world that agents are trained in"),
            ("world.height", world.height as f64, "the world that agents are trained in"),
            ("agent.view_range", super::RADIUS as f64, "the network's window"),
            ("agent.max_move_distance", 1.0, "the network's actions"),
            ("cell_types.empty.energy_delta", 0.0, "an empty cell"),
            ("cell_types.empty.interestingness", 0.0, "an empty cell"),
        ];
        for (name, only, what) in numbers {
            let value = self.needed(name);
            ensure!(value == only, "{name} is {value}; it must be {only}, which is what {what} has");
        }
        let texts = [
            ("training.brain_type", "base_cnn"),
            ("training.action_space_type", "discrete_grid"),
            ("training.validation_mode", "training"),
        ];
        for (name, only) in texts {
            let value = self.text(name).unwrap_or(only);
            ensure!(value == only, "{name} is {value:?}; only {only:?} is known");
        }
        ensure!(
            self.flag("resources.respawn") == Some(true),
            "resources.respawn is false; here what is eaten always comes back"
        );
        for kind in ["food", "poison"] {
            let [least, most] = self.range(kind);
            ensure!(
                least <= most,
                "training.min_{kind} is {least} and training.max_{kind} {most}; the first must not be above the second"
            );
        }
        let [food, poison] = ["food", "poison"].map(|kind| self.range(kind)[1]);
        let cells = (world.width * world.height) as u64;
        ensure!(
            food.saturating_add(poison) < cells,
            "training.max_food is {food} and training.max_poison {poison}; together they must be below the {cells} cells of the world"
        );
        let steps = self.max_steps();
        ensure!(
            (1..=i32::MAX as u64).contains(&steps),
            "training.steps_per_episode is {steps}; it must be from 1 to {}",
            i32::MAX
        );
        let energies = [("cell_types.food.energy_delta", 1.0), ("cell_types.poison.energy_delta", -1.0)];
        for (name, sign) in energies {
            let value = self.needed(name);
            ensure!(value * sign >= 0.0, "{name} is {value}; food gives energy, and poison takes it");
        }
        self.settings().map(drop)
    }

    /// The least and the most items of a kind, where the reference has other ones if they are missing.
    fn range(&self, kind: &str) -> [u64; 2] {
        let [least, most] = if kind == "food" { [50, 200] } else { [20, 100] };
        let of = |bound: &str, other| self.whole(&format!("training.{bound}_{kind}")).unwrap_or(other);
        [of("min", least), of("max", most)]
    }

    fn max_steps(&self) -> u64 {
        self.whole("training.steps_per_episode").unwrap_or(500)
    }

    /// Settings of the run and of PPO.
    ///
    /// # Errors
    /// One line: a value that none of them can have.
    pub fn settings(&self) -> Result<Table> {
        let number = |name: &str| Value::Float(self.needed(&format!("training.{name}")));
        let whole = |name: &str| self.0[&format!("training.{name}")].clone();
        let lr = self.needed("training.learning_rate");
        let lr_final = match self.flag("training.lr_decay") {
            Some(true) => self.number("training.lr_final").unwrap_or(3e-5),
            _ => lr,
        };
        let mut settings = BTreeMap::from([
            ("lr", lr.into()),
            ("lr_final", lr_final.into()),
            ("gamma", number("gamma")),
            ("gae_lambda", number("gae_lambda")),
            ("clip_eps", number("eps_clip")),
            ("clip_eps_final", self.number("training.eps_clip_final").unwrap_or(0.1).into()),
            ("update_epochs", whole("k_epochs")),
            ("num_minibatches", whole("n_minibatches")),
            ("ent_coef", number("entropy_initial")),
            ("ent_coef_final", number("entropy_final")),
            ("ent_decay_fraction", number("entropy_decay_fraction")),
            ("entropy_floor", number("entropy_floor")),
            ("entropy_floor_penalty", number("entropy_floor_penalty")),
            // Of the mean square, where lockstep has half of it.
            ("vf_coef", (2.0 * self.needed("training.value_coef")).into()),
            ("value_head", whole("value_head_type")),
            ("popart_beta_min", self.number("training.popart_beta_min").unwrap_or(1e-3).into()),
            ("popart_rescale", self.flag("training.popart_rescale_weights").unwrap_or(true).into()),
        ]);
        let interval = |name: &str| {
            let count = self.whole(&format!("training.{name}")).filter(|&count| count > 0)?;
            Some(Value::Integer(count as i64))
        };
        settings.extend(interval("checkpoint_interval").map(|count| ("save_interval", count)));
        if let Some(count) = interval("validation_interval") {
            settings.insert("eval_interval", count);
            settings.insert("eval_episodes", interval("validation_episodes").unwrap_or(Value::Integer(16)));
        }
        if let Some(device) = self.text("runtime.device").filter(|device| !["", "auto"].contains(device)) {
            let kind = device_kind(device).map_err(|error| anyhow!("runtime.device: {error}"))?;
            settings.insert("device", kind.into());
        }
        Ok(settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What a mode's environment has other than by default, as options.
    pub fn options(&self, mode: Mode) -> Vec<String> {
        let [food, poison] = ["food", "poison"].map(|kind| {
            let of = |what: &str| self.needed(&format!("cell_types.{kind}.{what}"));
            [of("energy_delta"), of("interestingness")]
        });
        let move_cost = self.needed("agent.energy_move_cost");
        let ratio = self.number("agent.death_penalty_ratio").unwrap_or(2.0);
        let super::Layout { items, agent, interest, rewards, max_steps, .. } = layout();
        let [food_range, poison_range] = ["food", "poison"].map(|kind| self.range(kind).map(|n| n as f64));
        let mut numbers = vec![
            ("min_food", food_range[0], f64::from(items.min_food)),
            ("max_food", food_range[1], f64::from(items.max_food)),
            ("min_poison", poison_range[0], f64::from(items.min_poison)),
            ("max_poison", poison_range[1], f64::from(items.max_poison)),
            ("max_steps", self.max_steps() as f64, f64::from(*max_steps)),
            ("energy_start", self.needed("agent.energy_start"), agent.energy_start),
            ("move_cost", move_cost, agent.move_cost),
            ("food_energy", food[0], agent.food_energy),
            ("poison_energy", poison[0], agent.poison_energy),
            ("food_interest", food[1], interest.food),
            ("poison_interest", poison[1], interest.poison),
            ("gamma", self.needed("training.gamma"), rewards.gamma),
        ];
        let death = |ratio: f64, food: f64| -ratio * food;
        match mode {
            Mode::GroundTruth | Mode::GroundTruthBlinded => numbers.extend([
                ("food_reward", food[0], agent.food_energy),
                ("poison_reward", poison[0], agent.poison_energy),
                ("step_reward", -move_cost, -agent.move_cost),
                ("death_reward", death(ratio, food[0]), death(rewards.death_ratio, agent.food_energy)),
            ]),
            Mode::ProxyMortal | Mode::Proxy => numbers.extend([
                ("food_reward", food[1], interest.food),
                ("poison_reward", poison[1], interest.poison),
            ]),
            Mode::GroundTruthHandhold => {} // its numbers are its own
        }
        let changed = numbers.into_iter().filter(|(_, value, usual)| value != usual);
        changed.map(|(name, value, _)| format!("{name}={value}")).collect()
    }
}

/// The kind of a device by the name that the reference has for it, such as `cuda:0`.
///
/// # Errors
/// One line: there is no such kind, or it is not the first device of its kind.
pub fn device_kind(name: &str) -> Result<&str> {
    let (kind, number) = name.split_once(':').unwrap_or((name, "0"));
    ensure!(["cpu", "cuda", "tpu"].contains(&kind), "{name:?} is no device; there are cpu, cuda and tpu");
    ensure!(
        number == "0",
        "{name:?} is not the first device; choose it with CUDA_VISIBLE_DEVICES={number}, and say {kind}"
    );
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = include_str!("../../../jax_env_spec/goodharts/config.default.toml");

    fn file(text: &str) -> Result<File> {
        check(&text.parse().unwrap()).map(File)
    }

    /// The default file with one line changed; none that is not there.
    fn changed(from: &str, to: &str) -> Result<File> {
        assert!(DEFAULT.contains(from), "{from}");
        file(&DEFAULT.replacen(from, to, 1))
    }

    fn complaint(from: &str, to: &str) -> String {
        changed(from, to).err().unwrap_or_else(|| panic!("{to} is accepted")).to_string()
    }

    #[test]
    fn the_file_of_defaults_says_what_holds_without_one() {
        let file = file(DEFAULT).unwrap();
        let defaults: Table = include_str!("../../../jax_env_spec/goodharts/defaults.toml").parse().unwrap();
        for (name, value) in file.settings().unwrap() {
            let usual = match name.as_str() {
                "gamma" => 0.99.into(),
                "gae_lambda" => 0.95.into(),
                "ent_decay_fraction" => 1.0.into(),
                "entropy_floor_penalty" => 0.05.into(),
                "popart_beta_min" => 1e-3.into(),
                "popart_rescale" => true.into(),
                name => defaults.get(name).unwrap_or_else(|| panic!("{name}")).clone(),
            };
            assert_eq!(value, usual, "{name}");
        }
        use strum::IntoEnumIterator;
        for mode in Mode::iter() {
            assert_eq!(file.options(mode), [""; 0], "{}", mode.name());
        }
        let sizes = ["n_envs", "steps_per_env"].map(|name| file.whole(&format!("training.{name}")));
        let usual = ["num_envs", "num_steps"].map(|name| defaults[name].as_integer().map(|n| n as u64));
        assert_eq!(sizes, usual);
    }

    #[test]
    fn what_is_paid_follows_from_the_cells_in_each_mode() {
        let file = changed("energy_delta = 1.0", "energy_delta = 0.5").unwrap();
        let changes = |mode| file.options(mode).join(" ");
        assert_eq!(changes(Mode::GroundTruth), "food_energy=0.5 food_reward=0.5 death_reward=-2");
        assert_eq!(changes(Mode::Proxy), "food_energy=0.5");
        let file = changed("interestingness = 0.5", "interestingness = 2").unwrap();
        assert_eq!(file.options(Mode::ProxyMortal), ["poison_interest=2", "poison_reward=2"]);
        assert_eq!(file.options(Mode::GroundTruthHandhold), ["poison_interest=2"]);
    }

    #[test]
    fn what_may_be_missing_is_what_it_is_in_the_reference() {
        let file = changed("steps_per_episode = 512\n", "").unwrap();
        assert_eq!(file.options(Mode::Proxy), ["max_steps=500"]);
        let file = changed("lr_decay = true\n", "").unwrap();
        assert_eq!(file.settings().unwrap()["lr_final"], 3e-4.into());
        let file = changed("death_penalty_ratio = 4.0\n", "").unwrap();
        assert_eq!(file.options(Mode::GroundTruth), ["death_reward=-2"]);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(
            complaint("gamma =", "gama ="),
            "there is no key training.gama; did you mean training.gamma?"
        );
        assert!(complaint("gamma = 0.99\n", "").starts_with("training.gamma is missing; a configuration is"));
        assert_eq!(
            complaint("gamma = 0.99", "gamma = \"x\""),
            "training.gamma is \"x\"; it must be a number"
        );
        assert!(complaint("min_food = 64", "min_food = 300").contains("training.max_food 256"));
        assert!(complaint("max_food = 256", "max_food = 16200").contains("below the 16384 cells"));
        assert!(complaint("width = 128", "width = 64").starts_with("world.width is 64; it must be 128"));
        assert!(complaint("device = \"auto\"", "device = \"cuda:1\"").contains("CUDA_VISIBLE_DEVICES=1"));
        assert!(complaint("device = \"auto\"", "device = \"abacus\"").contains("cpu, cuda and tpu"));
        assert!(
            complaint("type = \"OmniscientSeeker\"", "kind = \"x\"").contains("no key kind in [[agents]]")
        );
    }
}
