//! `lockstep eval`: what a policy achieves, in numbers.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches};
use serde_json::{Map, Value, json};

use crate::algorithms::evaluation::{Evaluator, MAX_EPISODES, MAX_STEPS, Plan};
use crate::algorithms::policy::Choice;
use crate::algorithms::report::{Report, Spread};
use crate::config::{UsageError, own_flag, usage};
use crate::envs::Entry;

use super::device::Device;
use super::player::{Place, Player, Request, env_help};
use super::positions::Exam;
use super::{App, print, print_line, survival};

/// What to evaluate, and how.
#[derive(Debug, Args)]
struct Eval {
    #[command(flatten)]
    request: Request,
    /// Episodes to play
    #[arg(long, value_name = "N", default_value_t = 128)]
    episodes: usize,
    /// Draw actions with their probabilities instead of taking the most probable one
    #[arg(long)]
    stochastic: bool,
    /// Steps after which an episode is cut off
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_steps: usize,
    /// Positions whose results are known, in the place of episodes: how often a move keeps the result, and how often it is one of
    /// the best
    #[arg(long, value_name = "FILE", conflicts_with_all = ["episodes", "max_steps"])]
    positions: Option<PathBuf>,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    device: Device,
    /// Print one JSON object on stdout
    #[arg(long)]
    json: bool,
}

pub fn command(app: &App) -> Command {
    let env = app.catalog().default_env();
    let command = Eval::augment_args(Command::new("eval")).mut_arg("env", |arg| arg.help(env_help(env)));
    let own: Vec<_> = app.entries().iter().filter_map(|entry| entry.survival).collect();
    let command = own.iter().fold(command, |command, survival| (survival.flags)(command));
    let names: Vec<String> = own.iter().flat_map(|survival| survival.names()).collect();
    command
        .mut_arg("params", |arg| match names.is_empty() {
            true => arg,
            false => arg.required(false).required_unless_present_any(names),
        })
        .about("Evaluate trained parameters, a scripted player, or random play")
        .long_about(None)
        .after_help("Each episode counts once, however long it is. The same seed plays the same episodes.")
}

/// Evaluates and prints.
///
/// # Errors
/// One line; a [`UsageError`] if the numbers make no sense.
pub fn run(app: &App, matches: &ArgMatches) -> Result<()> {
    if let Some(request) = by_lives(app, matches)? {
        return request.run();
    }
    let eval = Eval::from_arg_matches(matches)?;
    eval.check().map_err(|error| UsageError(error.to_string()))?;
    let player = Player::named(app, &eval.request.params, &eval.request.place, eval.choice())?;
    if let Some(file) = &eval.positions {
        let Eval { seed, device, json, .. } = &eval;
        let exam = Exam { player: &player, choice: eval.choice(), file, seed: *seed, device, json: *json };
        return exam.run();
    }
    let env = player.env.build();
    let (client, stage) = eval.device.open(&format!("tracing the evaluation in {}", player.env.name))?;
    let evaluator = Evaluator::new(&client, &*env, &player.policy, eval.episodes)?;
    stage.change(&format!("playing {} episodes of at most {} steps", eval.episodes, eval.max_steps));
    let started = Instant::now();
    let Eval { episodes, max_steps, seed, .. } = eval;
    let episodes = evaluator.run(&Plan { episodes, max_steps, seed })?;
    drop(stage);
    let report = Report::new(&env.spec(), &episodes);
    if eval.json {
        print_line(eval.to_json(&player, &report, started.elapsed().as_secs_f64())?)
    } else {
        print(&eval.to_text(&player, &report))
    }
}

/// What is asked for if a flag is given that an environment brings, in which agents live on.
fn by_lives<'a>(app: &'a App, matches: &ArgMatches) -> Result<Option<survival::Request<'a>>> {
    let place = Place::from_arg_matches(matches)?;
    let name = place.env.as_deref().unwrap_or(app.catalog().default_env());
    let entry = app.catalog().env(name)?;
    let names = |entry: &Entry| entry.survival.map_or_else(Vec::new, |survival| survival.names());
    let flag = own_flag(app.catalog(), &entry, matches, names)?;
    let Some((survival, flag)) = entry.survival.zip(flag) else { return Ok(None) };
    let is_given = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
    if let Some(name) =
        ["params", "episodes", "stochastic", "max_steps", "positions"].into_iter().find(is_given)
    {
        let other = if name == "params" { "RUN".to_owned() } else { format!("--{}", name.replace('_', "-")) };
        let problem = format!(
            "{other} is for an evaluation by episodes and {flag} for one by lives; leave one of them out"
        );
        return Err(UsageError(problem).into());
    }
    let seed = is_given(&"seed").then(|| matches.get_one("seed").copied()).flatten();
    let protocol = (survival.read)(matches, seed).map_err(usage)?;
    let device = Device::from_arg_matches(matches)?;
    let json = matches.get_flag("json");
    Ok(Some(survival::Request { app, entry, survival, protocol, place, device, json }))
}

impl Eval {
    fn check(&self) -> Result<()> {
        let (episodes, steps) = (self.episodes, self.max_steps);
        ensure!(
            (1..=MAX_EPISODES).contains(&episodes),
            "episodes is {episodes}; it must be from 1 to {MAX_EPISODES}"
        );
        ensure!((1..=MAX_STEPS).contains(&steps), "max_steps is {steps}; it must be from 1 to {MAX_STEPS}");
        Ok(())
    }

    fn choice(&self) -> Choice {
        if self.stochastic { Choice::Sample } else { Choice::Greedy }
    }

    fn to_json(&self, player: &Player, report: &Report, seconds: f64) -> Result<String> {
        let mut object = Map::new();
        for (key, value) in [
            ("env", json!(player.env.name)),
            ("params", json!(player.name())),
            ("choice", json!(player.chooses(self.choice()))),
            ("seed", json!(self.seed)),
            ("max_steps", json!(self.max_steps)),
        ] {
            object.insert(key.to_owned(), value);
        }
        if let Value::Object(rest) = serde_json::to_value(report)? {
            object.extend(rest);
        }
        object.insert("seconds".to_owned(), json!(seconds));
        Ok(serde_json::to_string(&object)?)
    }

    fn to_text(&self, player: &Player, report: &Report) -> String {
        let Report { episodes, finished, steps, .. } = report;
        let (env, choice, seed) = (player.env.name, player.chooses(self.choice()), self.seed);
        let mut text =
            format!("{env}, {choice} policy, {episodes} episodes from seed {seed}, {steps} steps\n");
        if finished < episodes {
            text +=
                &format!("{} episodes were cut off after {} steps\n", episodes - finished, self.max_steps);
        }
        text += &format!("\n{:<28}{:>12}{:>12}{:>12}{:>12}\n", "", "mean", "std", "min", "max");
        let returns_and_lengths =
            [("episode_return", &report.episode_return), ("episode_length", &report.episode_length)];
        let per_episode = report.per_episode.iter().map(|(name, spread)| (name.as_str(), spread));
        for (name, Spread { mean, std, min, max }) in returns_and_lengths.into_iter().chain(per_episode) {
            text += &format!("{name:<28}{mean:>12.3}{std:>12.3}{min:>12.3}{max:>12.3}\n");
        }
        if !report.per_step.is_empty() {
            text += &format!("\n{:<28}{:>12}{:>12}\n", "", "per step", "per episode");
        }
        for (name, value) in &report.per_step {
            let per_episode = value * *steps as f64 / *episodes as f64;
            text += &format!("{name:<28}{value:>12.5}{per_episode:>12.3}\n");
        }
        text
    }
}
