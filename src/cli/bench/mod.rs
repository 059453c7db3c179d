//! `lockstep bench`: how fast training and the environment alone are on this machine.
//!
//! Updates are timed after one that warms up, apart, or where they are short a few at a time, as training runs them: then the median is robust
//! on a noisy machine. The
//! environment is timed alone as well: random valid actions, no network. What the products of an update come to per second stands
//! beside the machine's own rate for products. `--logs` adds what logging costs, `--compare` the ratios to an earlier result.

mod baseline;
mod logs;
mod products;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};

use crate::algorithms::random::RandomRollout;
use crate::config::{auto_devices, check_devices, usage};
use crate::lower::Precision;
use crate::runtime::Client;
use crate::trainer::readable::{ABSENT, significant};
use crate::trainer::utilisation::peak_process_memory;
use crate::trainer::{self, Stage, thousands};
use crate::training::learner::{COMPILING, Facts, MAX_UPDATES, Plan, build, build_group, update_flops};

use self::baseline::Baseline;
use self::logs::Cost;
use self::products::Products;
use super::App;
use super::device::Device;
use super::workload::{Training, Workload};

/// What to time.
#[derive(Debug, Args)]
struct Bench {
    #[command(flatten)]
    workload: Workload,
    /// Agents trained in one program, whose steps per second are added up
    #[arg(long, value_name = "K", default_value_t = 1, conflicts_with_all = ["logs", "env_only"])]
    num_seeds: usize,
    /// Updates to time, after one that warms up
    #[arg(long, value_name = "N", default_value_t = 5)]
    updates: usize,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
    /// Devices to split the environments over [default: as in training]
    #[arg(long, value_name = "N")]
    devices: Option<usize>,
    /// First states for the episodes of an update to share; 0: a state of its own for each
    #[arg(long, value_name = "N", default_value_t = 0)]
    reset_pool: usize,
    /// Time the environment only
    #[arg(long)]
    env_only: bool,
    /// Time training with all its logs, too, in as many pairs as --updates says
    #[arg(long, conflicts_with = "env_only")]
    logs: bool,
    /// Print ratios to an earlier result, a file that --json has printed
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn command(env: &'static str) -> Command {
    let command = Bench::augment_args(Command::new("bench")).mut_arg("env", |arg| arg.default_value(env));
    command.about("Time training and the environment alone")
}

/// Times and prints.
///
/// # Errors
/// One line; a [`UsageError`](crate::config::UsageError) if the sizes make no sense.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    let bench = Bench::from_arg_matches(matches)?;
    let Workload { env, precision, deterministic, .. } = &bench.workload;
    let reset_pool = toml::Value::try_from(bench.reset_pool)?;
    let training = bench.workload.training(app, &[("reset_pool", reset_pool, toml::Value::from(0))])?;
    let Training { algorithm, settings, num_envs, num_steps, .. } = &training;
    bench.check().map_err(usage)?;
    let mut report: Map<String, Value> = Map::new();
    report.insert("env".into(), json!(env));
    report.insert("algo".into(), json!(algorithm.name));
    report.insert("num_envs".into(), json!(num_envs));
    report.insert("num_steps".into(), json!(num_steps));
    let baseline = bench.compare.as_deref().map(Baseline::read).transpose()?;
    baseline.iter().try_for_each(|baseline| baseline.check(&report))?;
    let plugin = bench.device.plugin()?;
    let devices = match bench.devices {
        Some(devices) => devices,
        None => auto_devices(algorithm, settings, bench.num_seeds, plugin.kind)?,
    };
    check_devices(algorithm, settings, bench.num_seeds, devices).map_err(usage)?;

    let stage = Stage::begin("opening the device", None);
    let mut add = |key: &str, value: Value| report.insert(key.into(), value);
    add("devices", json!(devices));
    add("num_seeds", json!(bench.num_seeds));
    add("precision", json!(precision));
    if !bench.env_only {
        let plan = Plan {
            program: app.name(),
            env: &training.env,
            algorithm,
            seed: bench.seed,
            total_updates: 1_000_000, // so that the learning rate stays
            env_set: &[],
            record: Default::default(),
            max_updates: MAX_UPDATES,
            devices,
            team: None,
            deterministic: *deterministic,
            plugin: &plugin,
            kernels: !bench.device.no_kernels,
            clusters: !bench.device.no_clusters,
            stage: &stage,
        };
        for (key, value) in bench.time_training(&training, &plan)? {
            add(&key, value);
        }
    }
    let client = bench.device.choose(Client::open(&plugin, devices)?.deterministic(*deterministic));
    let client = client.observed(stage.changer(COMPILING));
    add("platform", json!(client.platform()));
    if !bench.env_only {
        add("matrix_gflops", json!(bench.time_products(&client, *precision, &stage)?));
    }
    if bench.num_seeds == 1 {
        for (key, steps_per_second) in bench.time_env(&training, &client, &stage)? {
            add(key, json!(steps_per_second.round()));
        }
    }
    add("peak_rss_bytes", json!(peak_process_memory()));
    drop(stage);
    print(report, baseline.as_ref(), bench.json)
}

impl Bench {
    /// Checks the numbers of repetitions and devices.
    fn check(&self) -> Result<()> {
        ensure!(self.updates > 0, "updates is 0; it must be at least 1");
        ensure!(self.num_seeds > 0, "num_seeds is 0; it must be at least 1");
        ensure!(self.devices != Some(0), "devices is 0; it must be at least 1");
        Ok(())
    }

    /// Times updates of the agent or the group. Gives the figures and the facts.
    fn time_training(&self, training: &Training, plan: &Plan) -> Result<Facts> {
        let Training { settings, num_envs, num_steps, .. } = training;
        let (facts, seconds, cost) = if self.num_seeds > 1 {
            let (mut group, facts) = build_group(&plan.agents(settings, self.num_seeds), plan)?;
            plan.stage.change(&format!("timing {} updates of {} agents", self.updates, self.num_seeds));
            (facts, time_updates(self.updates, |updates| group.run(updates).map(drop))?, None)
        } else {
            let (mut learner, facts) = build(&training.agent(), plan)?;
            plan.stage.change(&format!("timing {} updates", self.updates));
            let seconds = time_updates(self.updates, |updates| learner.run(updates).map(drop))?;
            if self.logs {
                plan.stage.change("timing updates with and without logs");
            }
            let cost = self.logs.then(|| {
                let pair_seconds = 5.0; // the start of a session, which is no logging, must not count
                Cost::measure(&mut *learner, &self.workload.env, self.updates, median(&seconds), pair_seconds)
            });
            (facts, seconds, cost.transpose()?)
        };
        let steps = (self.num_seeds * num_envs * num_steps) as f64;
        let rate = json!((steps / median(&seconds)).round());
        let flops = self.num_seeds as f64 * update_flops(&training.agent(), plan)? as f64;
        let figures = [
            ("steps_per_second", rate),
            ("update_seconds", json!(seconds)),
            ("update_gflop", json!(1e-9 * flops)),
            ("gflops", json!(1e-9 * flops / median(&seconds))),
        ];
        let figures = figures.into_iter().chain(cost.iter().flat_map(Cost::figures));
        Ok(facts.into_iter().chain(figures.map(|(key, value)| (key.to_owned(), value))).collect())
    }

    /// The rate of large matrix products on all devices together, in GFLOP/s.
    fn time_products(&self, client: &Client, precision: Precision, stage: &Stage) -> Result<f64> {
        stage.change("timing matrix products");
        let products = Products::new(client, precision)?;
        let seconds = time(self.updates, || products.run())?;
        Ok(1e-9 * products.flops() / median(&seconds))
    }

    /// Steps per second of the environment alone, without and with observations.
    fn time_env(
        &self,
        training: &Training,
        client: &Client,
        stage: &Stage,
    ) -> Result<Vec<(&'static str, f64)>> {
        let &Training { ref env, num_envs, num_steps, .. } = training;
        let env = env.build();
        let rate = |(key, observe)| {
            stage.change("tracing the environment alone");
            let mut rollout = RandomRollout::new(client, &*env, num_envs, self.seed, observe)?;
            stage.change("timing the environment alone");
            let seconds = time(self.updates, || rollout.run(num_steps))?;
            Ok((key, (num_envs * num_steps) as f64 / median(&seconds)))
        };
        [("env_steps_per_second", false), ("env_obs_steps_per_second", true)].into_iter().map(rate).collect()
    }
}

fn print(mut report: Map<String, Value>, baseline: Option<&Baseline>, as_json: bool) -> Result<()> {
    let ratios = baseline.map(|baseline| baseline.ratios(&report));
    if as_json {
        report.extend(ratios.map(|ratios| ("ratios".into(), ratios.into_iter().collect())));
        return super::print_line(serde_json::to_string(&report)?);
    }
    super::print(&to_text(&report))?;
    for (key, ratio) in ratios.into_iter().flatten() {
        super::print_line(format_args!("  {key:<28}{ratio:>14.3} of the baseline"))?;
    }
    for line in baseline.iter().flat_map(|baseline| baseline.differences(&report)) {
        super::print_line(format_args!("{line}"))?;
    }
    Ok(())
}

/// The result in a few lines; `--json` has all figures.
fn to_text(report: &Map<String, Value>) -> String {
    let number = |key: &str| report.get(key).and_then(Value::as_f64);
    let word = |key: &str| report.get(key).and_then(Value::as_str).unwrap_or(ABSENT).to_owned();
    let whole = |key: &str| number(key).map_or(ABSENT.into(), |value| thousands(value as u64));
    let agents = match number("num_seeds") {
        Some(count) if count > 1.0 => format!("{count} agents, each with "),
        _ => String::new(),
    };
    let mut text = format!(
        "{}: {agents}{} environments x {} steps, {} on {} x {}\n",
        word("env"),
        whole("num_envs"),
        whole("num_steps"),
        word("precision"),
        whole("devices"),
        word("platform")
    );
    let mut line = |name: &str, value: String| text += &format!("  {name:<28}{value:>14}\n");
    for (name, key) in [
        ("training, steps/s", "steps_per_second"),
        ("  without logs", "bare_steps_per_second"),
        ("  with all logs", "logged_steps_per_second"),
        ("environment alone, steps/s", "env_steps_per_second"),
        ("  with observations", "env_obs_steps_per_second"),
    ] {
        if number(key).is_some() {
            line(name, whole(key));
        }
    }
    let seconds: Vec<f64> = report
        .get("update_seconds")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    if let (Some(least), Some(most)) =
        (seconds.iter().copied().reduce(f64::min), seconds.iter().copied().reduce(f64::max))
    {
        let [median, least, most] = [median(&seconds), least, most].map(|value| significant(1e3 * value, 3));
        line("update, ms", format!("{median} ({least} to {most})"));
    }
    if let (Some(rate), Some(most)) = (number("gflops").filter(|&rate| rate > 0.0), number("matrix_gflops")) {
        let [rate_text, most_text] = [rate, most].map(|value| significant(value, 3));
        line("products, GFLOP/s", format!("{rate_text} ({:.0} % of {most_text})", 100.0 * rate / most));
    }
    if let (Some(trace), Some(compile)) = (number("trace_seconds"), number("compile_seconds")) {
        line("trace, s", significant(trace, 3));
        let how = if word("cache") == "hit" { "load from cache, s" } else { "compile, s" };
        line(how, significant(compile, 3));
    }
    if let Some(bytes) = number("peak_rss_bytes") {
        line("peak memory, MB", significant(bytes / 1e6, 3));
    }
    text
}

/// Seconds per update, `count` times, after some that warm up. `run` does as many updates at a time as it is told, as in training.
fn time_updates(count: usize, mut run: impl FnMut(usize) -> Result<()>) -> Result<Vec<f64>> {
    /// Seconds of updates that run together.
    const TOGETHER: f64 = 0.05;
    let one = median(&time(1, || run(1))?);
    let together = ((TOGETHER / one) as u64).clamp(1, trainer::Settings::default().log_interval) as usize;
    let seconds = time(count, || run(together))?;
    Ok(seconds.into_iter().map(|seconds| seconds / together as f64).collect())
}

/// Seconds of each of `count` runs, after one that warms up.
fn time(count: usize, mut run: impl FnMut() -> Result<()>) -> Result<Vec<f64>> {
    run()?;
    let timed = |_| {
        let start = Instant::now();
        run()?;
        Ok(start.elapsed().as_secs_f64())
    };
    (0..count).map(timed).collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
