//! The command line of `train`, assembled from the settings of the modules below.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser};
use clap::{Arg, ArgAction, Args, Command};

use super::{Catalog, Nodes};
use crate::algorithms::Entry;
use crate::trainer;

/// What one command is asked to do, apart from the settings of the run.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Command")]
#[group(skip)]
pub struct Invocation {
    /// Read settings from a TOML file, such as the config.toml of a run, from a YAML document (.yaml, .yml), or from a file of PufferLib
    /// (.ini)
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The directory of the run [default: --run-name in --checkpoint-dir; of a document runs/NAME_TIME]
    #[arg(long, value_name = "DIR", alias = "run_dir", conflicts_with_all = ["resume", "checkpoint_dir", "run_name"])]
    pub run_dir: Option<PathBuf>,
    /// Continue a run: its name, its directory, a checkpoint or "latest"; "auto" continues the run of --run-name if it has a checkpoint,
    /// and begins it if not
    #[arg(long, value_name = "CKPT")]
    pub resume: Option<PathBuf>,
    /// With --resume: also delete what Weights & Biases has of the run after that checkpoint; without, what is there stays,
    /// and the run is logged again from where that ends
    #[arg(long, requires = "resume")]
    pub rewind: bool,
    /// Show the run on the full screen: live curves, keys to save and to stop
    #[arg(short, long)]
    pub dashboard: bool,
    /// Print a summary as one JSON object on stdout at the end
    #[arg(long)]
    pub json: bool,
}

/// The subcommand `train` with all settings as flags, those of all algorithms of the program.
pub fn train_command(catalog: &Catalog) -> Command {
    let command = Nodes::augment_args(Invocation::augment_args(Command::new("train")));
    let command = trainer::Settings::augment_args(command);
    let command = with_algorithms(command, catalog.algorithms.entries());
    let fronts = catalog.envs.entries().iter().filter_map(|entry| entry.front);
    let command = fronts.fold(command, |command, front| (front.flags)(command));
    let command = command.mut_arg("env", |arg| arg.default_value(catalog.default_env()));
    with_variables(command).about("Train an agent").long_about(None).after_help(
        "The environment may be the first word: `train NAME`. --env.PARAMETER VALUE is short for --env-set PARAMETER=VALUE, and \
         PufferLib's names of settings, such as --train.learning-rate or --vec.total-agents, are understood. \
         An environment may have other defaults; `envs NAME` shows them. Every flag can be given as an \
         environment variable (LOCKSTEP_NUM_ENVS=64) or, but for those under Command and Several processes, as a key of the file \
         (num_envs = 64). Flags win over variables, variables over the file, the file over the defaults.",
    )
}

/// The names of the settings of the run, also of those without a flag.
pub fn run_settings() -> Vec<String> {
    let command = trainer::Settings::augment_args(Command::new("run"));
    let flags = command.get_arguments().map(|arg| arg.get_id().to_string());
    flags.chain(trainer::UNFLAGGED.map(String::from)).collect()
}

/// Adds the settings of each algorithm. Where several have one of the same name, the first one's words stand for all, and the
/// value is read when it is known which of them is meant.
fn with_algorithms(command: Command, algorithms: &[Entry]) -> Command {
    algorithms.iter().fold(command, |command, algorithm| {
        let own = (algorithm.flags)(Command::new(algorithm.name));
        own.get_arguments().fold(command, |command, arg| {
            let known = command.get_arguments().find(|known| known.get_id() == arg.get_id());
            match known.map(|known| known.get_possible_values() == arg.get_possible_values()) {
                None => command.arg(arg.clone()),
                Some(true) if !arg.get_possible_values().is_empty() => command,
                Some(_) if matches!(arg.get_action(), ArgAction::SetTrue) => command,
                Some(_) => command.mut_arg(arg.get_id(), |arg| arg.value_parser(OsStringValueParser::new())),
            }
        })
    })
}

/// The command line of one algorithm's settings, as [`train_command`] has them.
pub fn settings_command(algorithm: &Entry) -> Command {
    with_variables((algorithm.flags)(Command::new("train").no_binary_name(true)))
}

/// Gives every flag its environment variable, and every switch an optional value (`--anneal-lr false`), so that a
/// later layer can also turn off what an earlier one turned on.
pub fn with_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let variable = format!("LOCKSTEP_{}", arg.get_id().as_str().to_uppercase());
        let arg = arg.env(variable).hide_env(true).allow_negative_numbers(true);
        if matches!(arg.get_action(), ArgAction::SetTrue) { switch(arg) } else { arg }
    })
}

fn switch(arg: Arg) -> Arg {
    let off_unless_said = arg.get_default_values().is_empty();
    let arg = arg
        .action(ArgAction::Set)
        .num_args(0..=1)
        .value_name("BOOL")
        .value_parser(BoolishValueParser::new())
        .default_missing_value("true")
        .hide_possible_values(true);
    if off_unless_said { arg.default_value("false").hide_default_value(true) } else { arg }
}
