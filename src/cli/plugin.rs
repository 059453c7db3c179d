//! `lockstep plugin`: which plugins there are, and how to get more.

use anyhow::Result;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::output::tell;
use crate::runtime::plugin::{self, TARGETS};

use super::print_line;

pub fn command() -> Command {
    let json = Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON on stdout");
    let target = Arg::new("target")
        .value_name("TARGET")
        .required(true)
        .value_parser(PossibleValuesParser::new(TARGETS.map(|target| target.name)))
        .help("What to install");
    let sizes = TARGETS.map(|target| {
        let (package, version) = target.wheel;
        format!("  {:<8}{package} {version}, {} MB; needs {}", target.name, target.megabytes, target.needs)
    });
    Command::new("plugin")
        .about("List and install the plugins through which XLA is reached")
        .subcommand_required(true)
        .subcommand(
            Command::new("list")
                .about("List the plugins on this machine, the first of a kind is used")
                .arg(json),
        )
        .subcommand(
            Command::new("install")
                .about("Download a plugin into lockstep's cache folder")
                .after_help(format!("Targets:\n{}", sizes.join("\n")))
                .arg(target),
        )
}

/// Lists or installs.
///
/// # Errors
/// One line if a plugin cannot be installed.
pub fn run(matches: &ArgMatches) -> Result<()> {
    match matches.subcommand() {
        Some(("install", matches)) => {
            let target = matches.get_one::<String>("target").expect("clap requires it");
            print_line(plugin::install(target)?.path.display())
        }
        Some((_, matches)) => list(matches.get_flag("json")),
        None => unreachable!("clap requires a subcommand"),
    }
}

fn list(as_json: bool) -> Result<()> {
    let found = plugin::list();
    if as_json {
        return print_line(serde_json::to_string(&found)?);
    }
    if found.is_empty() {
        tell("no plugin is there yet; the first run installs one for cpu");
    }
    for file in found {
        let source = match file.source {
            plugin::Source::Flag => "--plugin",
            plugin::Source::Variable => "LOCKSTEP_PJRT_PLUGIN",
            plugin::Source::Cache => "installed by lockstep",
            plugin::Source::Python => "a Python package",
        };
        print_line(format_args!("{:<6}{} ({source})", file.kind.to_string(), file.path.display()))?;
    }
    Ok(())
}
