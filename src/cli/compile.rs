//! `lockstep compile`: the training programs of an environment, compiled for devices that this machine need not have.
//!
//! It says whether XLA takes them and what memory they need, before a GPU or a TPU is rented.

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde::Serialize;
use toml::Table;

use crate::algorithms::Entry;
use crate::algorithms::learner::Start;
use crate::config::{UsageError, check_devices, usage};
use crate::lower::Precision;
use crate::runtime::{CompileOptions, MemoryUse, Topology, plugin};
use crate::trainer::Stage;
use crate::training::learner::MAX_UPDATES;

use super::App;
use super::workload::{Training, Workload};

/// What to compile, and for what.
#[derive(Debug, Args)]
struct Compile {
    /// What to compile for: a100, h100 or h200, or several, such as h100:4, or h100:2x4 for two machines of four; or TPUs
    /// as libtpu calls them, such as v5e:2x2: four of generation v5e
    #[arg(long, value_name = "NAME")]
    topology: String,
    #[command(flatten)]
    workload: Workload,
    /// Devices to split the environments over, those of all machines
    #[arg(long, value_name = "N", default_value_t = 1)]
    devices: usize,
    /// PJRT plugin to load instead of searching for one
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn command(env: &'static str) -> Command {
    Compile::augment_args(Command::new("compile"))
        .mut_arg("env", |arg| arg.default_value(env))
        .about("Compile the training programs for GPUs or TPUs that this machine need not have")
        .after_help("It needs the plugin: `lockstep plugin install cuda12` for GPUs, `lockstep plugin install tpu` for TPUs.")
}

/// Compiles and prints what memory the programs take on each device.
///
/// # Errors
/// One line; a [`UsageError`](crate::config::UsageError) if the sizes make no sense.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let compile = Compile::from_arg_matches(matches)?;
    let Workload { env, precision, deterministic, .. } = &compile.workload;
    let training = compile.workload.training(app, &[])?;
    let Training { algorithm, ref settings, num_envs, num_steps, .. } = training;
    compile.check(&algorithm, settings).map_err(usage)?;
    if let Some(problem) = training.env.only_on_cpu() {
        return Err(
            UsageError(format!("{problem}; there is nothing to compile for {}", compile.topology)).into()
        );
    }
    let kind = Topology::kind_of(&compile.topology).map_err(|error| usage(error.into()))?;
    let plugin = plugin::find(Some(kind), compile.plugin.as_deref())?;
    let topology = Topology::open(&plugin, &compile.topology)?.deterministic(*deterministic);
    let start = Start {
        seed: 0,
        total_updates: 1,
        max_updates: MAX_UPDATES,
        num_devices: compile.devices,
        record: Default::default(),
    };
    let stage = Stage::begin(&format!("tracing the training in {env}"), None);
    let modules = (algorithm.modules)(&training.agent(), &start, plugin.kind)?;
    let options = CompileOptions { num_replicas: compile.devices, ..Default::default() };
    let mut report = Report {
        device_kind: topology.device_kind()?,
        topology: compile.topology,
        env: env.clone(),
        num_envs,
        num_steps,
        devices: compile.devices,
        precision: *precision,
        deterministic: *deterministic,
        programs: Vec::new(),
    };
    drop(stage);
    for (index, (name, module)) in modules.iter().enumerate() {
        let (number, count) = (index + 1, modules.len());
        let what = format!("compiling `{name}` for {}, {number} of {count}", report.topology);
        let stage = Stage::begin(&what, None);
        let started = Instant::now();
        let memory = topology
            .compile(module, &options)
            .with_context(|| format!("compiling the program `{name}` for {}", report.topology))?;
        drop(stage);
        let program = Compiled { name, seconds: started.elapsed().as_secs_f64(), memory };
        if !compile.json {
            super::print_line(&program)?;
        }
        report.programs.push(program);
    }
    match compile.json {
        true => super::print_line(serde_json::to_string(&report)?),
        false => super::print_line(format_args!("{} takes them ({})", report.topology, report.device_kind)),
    }
}

impl Compile {
    fn check(&self, algorithm: &Entry, settings: &Table) -> Result<()> {
        ensure!(self.devices > 0, "devices is 0; it must be at least 1");
        check_devices(algorithm, settings, 1, self.devices)
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    topology: String,
    device_kind: String,
    env: String,
    num_envs: usize,
    num_steps: usize,
    devices: usize,
    precision: Precision,
    deterministic: bool,
    programs: Vec<Compiled>,
}

#[derive(Serialize)]
struct Compiled {
    name: &'static str,
    seconds: f64,
    #[serde(rename = "bytes")]
    memory: MemoryUse,
}

impl fmt::Display for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let MemoryUse { code, arguments, results, temporary } = self.memory;
        write!(
            f,
            "{:<6} compiled in {:.1} s; on each device {}: code {}, arguments {}, new results {}, temporary {}",
            self.name,
            self.seconds,
            megabytes(self.memory.total()),
            megabytes(code),
            megabytes(arguments),
            megabytes(results),
            megabytes(temporary),
        )
    }
}
