//! The evaluation of the reference: how long agents of each mode live, and what they eat, when all of them can die.
//!
//! Whatever a mode was trained with, here energy counts and lives are not cut off.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, FromArgMatches};
use strum::IntoEnumIterator;

use super::front::{modes, random_seed};
use super::{Mode, SWITCHES, seeds};
use crate::envs::survival::{Item, Kind, Protocol, Seeds, Subject, Survival};

pub const SURVIVAL: Survival = Survival {
    flags: Flags::augment_args,
    read,
    kind_of,
    kinds: &[
        Kind { name: "ground_truth", dark: [0x22, 0xc7, 0x9a], light: [0x1a, 0x9e, 0x7a] },
        Kind { name: "ground_truth_handhold", dark: [0x4e, 0xcd, 0xc4], light: [0x3a, 0xb4, 0xa8] },
        Kind { name: "ground_truth_blinded", dark: [0xff, 0xc1, 0x07], light: [0xd4, 0xa0, 0x00] },
        Kind { name: "proxy_mortal", dark: [0xff, 0x9f, 0x43], light: [0xe0, 0x7b, 0x20] },
        Kind { name: "proxy", dark: [0xff, 0x6b, 0x6b], light: [0xdc, 0x35, 0x45] },
    ],
    pairs: &[
        ("ground_truth", "proxy"),
        ("ground_truth", "ground_truth_blinded"),
        ("proxy_mortal", "proxy"),
        ("ground_truth_blinded", "proxy_mortal"),
    ],
    good: Item { name: "food", metric: "stats/food_eaten", energy: "food_energy" },
    bad: Item { name: "poison", metric: "stats/poison_eaten", energy: "poison_energy" },
    step_cost: "move_cost",
};

/// Steps of a life that are never reached.
const MAX_STEPS: usize = 1_000_000;
/// Base of the seeds where actions are not drawn.
const BASE_SEED: u64 = 42;
/// The fewest runs of a report.
const REPORT_RUNS: usize = 3;
const MAX_RUNS: usize = 1000;

/// The flags, with the numbers of the reference's configuration.
#[derive(Clone, Debug, PartialEq, Args)]
#[command(next_help_heading = "Goodharts evaluation (only with --env goodharts)")]
#[group(skip)]
struct Flags {
    /// Modes to evaluate: one, several with commas, or all (those that have a model, without ground_truth_handhold)
    #[arg(short, long, value_name = "MODE,..", default_value = "ground_truth")]
    mode: String,
    /// Steps of each environment
    #[arg(short, long, value_name = "N", default_value_t = 16_384)]
    timesteps: usize,
    /// Parallel environments
    #[arg(short = 'e', long, value_name = "N", default_value_t = 8192)]
    n_envs: usize,
    /// Modes one after the other; here they always are, in one program
    #[arg(short, long)]
    sequential: bool,
    /// Take the most probable action instead of drawing one
    #[arg(long)]
    deterministic: bool,
    /// Draw actions as if all logits were divided by this
    #[arg(long, value_name = "T", default_value_t = 1.0)]
    temperature: f64,
    /// Food in every environment, with --poison [default: drawn from the range of the environment]
    #[arg(long, value_name = "N", requires = "poison")]
    food: Option<u64>,
    /// Poison in every environment, with --food
    #[arg(long, value_name = "N", requires = "food")]
    poison: Option<u64>,
    /// Energy that a step costs [default: that of the environment]
    #[arg(long, value_name = "C")]
    move_cost: Option<f64>,
    /// Where the results are written; those of a mode go beside it, as STEM_MODE.json, and how far it has come, as STEM_progress.json
    #[arg(short, long, value_name = "FILE", default_value = "generated/eval_results.json")]
    output: PathBuf,
    /// Parameters of the one mode: a file, a run, or a player that the environment brings [default: ppo_MODE.safetensors in
    /// --models-dir]
    #[arg(long, value_name = "RUN", conflicts_with = "models_dir")]
    model: Option<String>,
    /// Directory of the models
    #[arg(long, value_name = "DIR", default_value = "models")]
    models_dir: PathBuf,
    /// Runs with different seeds [default: 3, with --seed 1]
    #[arg(short, long, value_name = "N")]
    runs: Option<usize>,
    /// Where the seeds of the runs come from [default: drawn; 42 with --deterministic]
    #[arg(long, value_name = "N")]
    base_seed: Option<u64>,
    /// Write a report with figures, of at least 3 runs
    #[arg(long)]
    full_report: bool,
    /// Directory that gets a directory for each report
    #[arg(long, value_name = "DIR", default_value = "generated/reports")]
    report_dir: PathBuf,
}

fn read(matches: &ArgMatches, seed: Option<u64>) -> Result<Protocol> {
    let flags = Flags::from_arg_matches(matches)?;
    flags.check(seed)?;
    let all = modes(&flags.mode)?;
    ensure!(
        flags.model.is_none() || all.len() == 1,
        "--model is that of one mode; name the directory of several with --models-dir"
    );
    let is_batch = flags.mode.trim() == "all";
    let there = |mode: &Mode| !is_batch || Path::new(&flags.model_of(*mode)).exists();
    let chosen: Vec<Mode> = all.into_iter().filter(there).collect();
    let directory = flags.models_dir.display();
    ensure!(
        !chosen.is_empty(),
        "there is no model of any mode in {directory}; train them with train -m all, or name another directory with --models-dir"
    );
    let is_said = matches.value_source("report_dir") == Some(ValueSource::CommandLine);
    ensure!(!is_said || flags.full_report, "--report-dir is for a report; add --full-report");
    Ok(Protocol {
        subjects: chosen.iter().map(|mode| flags.subject(*mode)).collect(),
        envs: flags.n_envs,
        steps: flags.timesteps,
        seeds: flags.seeds(seed)?,
        deterministic: flags.deterministic,
        temperature: flags.temperature,
        output: flags.output.clone(),
        report: flags.full_report.then(|| flags.report_dir.clone()),
        facts: vec![("food_count", flags.food), ("poison_count", flags.poison)],
    })
}

impl Flags {
    fn check(&self, seed: Option<u64>) -> Result<()> {
        for (flag, number) in
            [("timesteps", Some(self.timesteps)), ("n-envs", Some(self.n_envs)), ("runs", self.runs)]
        {
            ensure!(number != Some(0), "--{flag} is 0; it must be at least 1");
        }
        let runs = self.runs.unwrap_or(1);
        ensure!(runs <= MAX_RUNS, "--runs is {runs}; it must be at most {MAX_RUNS}");
        let temperature = self.temperature;
        ensure!(
            temperature.is_finite() && temperature > 0.0,
            "--temperature is {temperature}; it must be a finite number above 0"
        );
        let cost = self.move_cost.unwrap_or(0.0);
        ensure!(
            cost.is_finite() && cost >= 0.0,
            "--move-cost is {cost}; it must be a finite number, 0 or above"
        );
        let several = runs > 1 || self.base_seed.is_some() || self.full_report;
        ensure!(
            seed.is_none() || !several,
            "--seed is that of a single run; the seeds of several come from --base-seed"
        );
        Ok(())
    }

    fn model_of(&self, mode: Mode) -> String {
        let file = || self.models_dir.join(format!("ppo_{}.safetensors", mode.name())).display().to_string();
        self.model.clone().unwrap_or_else(file)
    }

    fn subject(&self, mode: Mode) -> Subject {
        let max_steps = MAX_STEPS.max(self.timesteps.saturating_add(1));
        let mut options = mode.options();
        options.extend(["frozen=false".to_owned(), format!("max_steps={max_steps}")]);
        for (item, count) in [("food", self.food), ("poison", self.poison)] {
            let bounds = ["min", "max"].map(|bound| count.map(|count| format!("{bound}_{item}={count}")));
            options.extend(bounds.into_iter().flatten());
        }
        options.extend(self.move_cost.map(|cost| format!("move_cost={cost}")));
        let name = mode.name();
        Subject {
            kind: name,
            model: self.model_of(mode),
            advice: format!(
                "train it with train -m {name}, or name another one with --model or --models-dir"
            ),
            options,
        }
    }

    fn seeds(&self, seed: Option<u64>) -> Result<Seeds> {
        let runs = match (self.runs, seed) {
            (Some(runs), _) => runs,
            (None, Some(_)) => 1,
            (None, None) => REPORT_RUNS,
        };
        let runs = if self.full_report { runs.max(REPORT_RUNS) } else { runs };
        if let Some(seed) = seed {
            return Ok(Seeds::One(seed));
        }
        let base = match (self.base_seed, self.deterministic) {
            (Some(base), _) => base,
            (None, true) => BASE_SEED,
            (None, false) => random_seed()?,
        };
        let seeds = seeds::drawn(base, runs);
        Ok(match seeds[..] {
            [seed] => Seeds::One(seed),
            _ => Seeds::Drawn { base, seeds },
        })
    }
}

/// The mode that a file of parameters says, or the one in whose environment they were trained.
fn kind_of(metadata: &BTreeMap<String, String>) -> Option<&'static str> {
    let named = |name: &str| Mode::iter().find(|mode| mode.name() == name).map(Mode::name);
    if let Some(mode) = metadata.get("mode") {
        return named(mode);
    }
    metadata.get("env")?;
    let options = metadata.get("env_set").map_or("", String::as_str);
    let is_on = |name: &str| options.split(',').any(|option| option == format!("{name}=true"));
    let switch = SWITCHES.iter().find(|switch| is_on(switch.name));
    Some(switch.map_or(Mode::default().name(), |switch| switch.name))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn asked(line: &str, seed: Option<u64>) -> Result<Protocol, String> {
        let words = line.split_whitespace();
        let matches = (SURVIVAL.flags)(Command::new("eval").no_binary_name(true)).try_get_matches_from(words);
        read(&matches.map_err(|error| error.to_string())?, seed).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_become_a_protocol() {
        let plan = asked("-m proxy,ground_truth --runs 2 --base-seed 42 --move-cost 0.02", None).unwrap();
        assert_eq!((plan.envs, plan.steps, plan.temperature), (8192, 16_384, 1.0));
        assert_eq!(plan.seeds, Seeds::Drawn { base: 42, seeds: vec![191_664_964, 1_662_057_958] });
        let [proxy, truth] = &plan.subjects[..] else { panic!("{:?}", plan.subjects) };
        assert_eq!(proxy.options, ["proxy=true", "frozen=false", "max_steps=1000000", "move_cost=0.02"]);
        assert_eq!(
            (truth.options[0].as_str(), truth.model.as_str()),
            ("frozen=false", "models/ppo_ground_truth.safetensors")
        );
        let long = asked("-t 3000000 --food 5 --poison 6 --seed", None);
        assert!(long.is_err(), "--seed is no flag of its own");
        let long = asked("-t 3000000 --food 5 --poison 6", Some(9)).unwrap();
        assert_eq!(long.seeds, Seeds::One(9));
        let options =
            ["frozen=false", "max_steps=3000001", "min_food=5", "max_food=5", "min_poison=6", "max_poison=6"];
        assert_eq!(long.subjects[0].options, options);
        assert_eq!(long.facts, [("food_count", Some(5)), ("poison_count", Some(6))]);
        let report = asked("--deterministic --full-report --runs 1", None).unwrap();
        assert_eq!(report.seeds.list(), [191_664_964, 1_662_057_958, 1_405_681_632]);
        assert_eq!(report.report, Some(PathBuf::from("generated/reports")));
        assert_eq!(asked("--runs 1 --base-seed 42", None).unwrap().seeds, Seeds::One(191_664_964));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let fails = |line: &str, seed, part: &str| {
            let problem = asked(line, seed).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        };
        fails("-m honest", None, "there is no mode \"honest\"");
        fails("-t 0", None, "--timesteps is 0; it must be at least 1");
        fails("-e 0", None, "--n-envs is 0");
        fails("--runs 0", None, "--runs is 0");
        fails("--temperature 0", None, "--temperature is 0; it must be a finite number above 0");
        fails("--move-cost=-1", None, "--move-cost is -1");
        fails("--food 3", None, "--poison <N>");
        fails("--runs 2", Some(1), "--seed is that of a single run");
        fails("-m proxy,ground_truth --model a", None, "--model is that of one mode");
        fails("--report-dir here", None, "add --full-report");
        fails("-m all --models-dir /nowhere", None, "there is no model of any mode in /nowhere");
    }

    #[test]
    fn a_model_is_known_by_its_mode_or_by_its_environment() {
        let metadata =
            |list: &[(&str, &str)]| list.iter().map(|&(key, value)| (key.into(), value.into())).collect();
        assert_eq!(kind_of(&metadata(&[("mode", "proxy"), ("env", "goodharts")])), Some("proxy"));
        assert_eq!(
            kind_of(&metadata(&[("env", "goodharts"), ("env_set", "relocate=false,proxy_mortal=true")])),
            Some("proxy_mortal")
        );
        assert_eq!(kind_of(&metadata(&[("env", "goodharts")])), Some("ground_truth"));
        assert_eq!(kind_of(&metadata(&[])), None);
    }
}
