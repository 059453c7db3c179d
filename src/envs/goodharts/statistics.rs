//! How the scripted players fare, against the statistics of the reference: what `verify` measures.
//!
//! Agents live on for a long time: a life is never cut off, and the next one begins in the same world. Each number is a ratio of two sums
//! over worlds, such as steps per life, and is compared within four standard errors of both together.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;

use super::{Goodharts, Scripted, VIEW, layout};
use crate::array::{DType, HostArray};
use crate::envs::golden::{self, Tally};
use crate::envs::{Env, Open, Replay, boxed, random_action, vector};
use crate::lang::{
    Backend, Bool, Float, HostFunction, Int, Key, Leaves, boolean, int, select, vmap, while_loop,
};

/// A file of statistics.
#[derive(Deserialize)]
struct Document {
    runs: Vec<Known>,
}

/// How a player fared in so many worlds; mean and standard error of each number.
#[derive(Deserialize)]
struct Known {
    policy: String,
    source: String,
    done_agent: String,
    envs: usize,
    steps: i32,
    energy_per_1k: [f64; 2],
    food_per_1k: [f64; 2],
    poison_per_1k: [f64; 2],
    deaths_per_1k: [f64; 2],
    survival: [f64; 2],
    efficiency_per_life: [f64; 2],
    efficiency_aggregate: [f64; 2],
}

/// Standard errors that a number may be off.
const TOLERANCE: f64 = 4.0;
const SEED: u32 = 14;

/// Reads a file of statistics; nothing if it holds something else.
///
/// # Errors
/// One line with the name of the file.
pub fn open(file: &Path, open: Open) -> Result<Option<Replay>> {
    let text = golden::read_text(file)?;
    let Ok(Document { runs }) = serde_json::from_str(&text) else { return Ok(None) };
    let backend = open()?;
    Ok(Some(Box::new(move |_seeds, out| verify(&runs, &backend, out))))
}

fn verify(runs: &[Known], backend: &Backend, out: &mut dyn Write) -> Result<usize> {
    let mut tally = Tally::new(out);
    let mut programs: Vec<((&str, usize), HostFunction)> = Vec::new();
    for run in runs {
        let what = (run.policy.as_str(), run.envs);
        if !programs.iter().any(|(other, _)| *other == what) {
            programs.push((what, program(&run.policy, run.envs, backend)?));
        }
        let (_, program) = programs.iter().find(|(other, _)| *other == what).expect("it was just made");
        let differences = run.compare(&Worlds::live(program, run)?);
        let Known { policy, source, done_agent, steps, .. } = run;
        tally.add(&format!("{policy}, {done_agent}, {steps} steps ({source})"), &differences)?;
    }
    tally.finish()
}

/// What happened in each world, f32`[B]`.
#[derive(Clone, Copy)]
struct Lived {
    food: Float,
    poison: Float,
    deaths: Float,
    /// Lives, the unfinished ones among them, and the sum of their efficiencies.
    lives: Float,
    efficiency: Float,
}
crate::tree!(Lived { food, poison, deaths, lives, efficiency });

/// What was eaten in the lives that go on, f32`[B]`, and their steps.
#[derive(Clone, Copy)]
struct Life {
    food: Float,
    poison: Float,
    steps: Float,
}
crate::tree!(Life { food, poison, steps });

impl Life {
    /// The share of food in what was eaten; 1 if that is nothing.
    fn efficiency(&self) -> Float {
        let eaten = self.food + self.poison;
        select(eaten.gt(0.0), self.food / eaten.maximum(1.0), 1.0)
    }
}

/// A player in so many worlds, for so many steps.
fn program(policy: &str, envs: usize, backend: &Backend) -> Result<HostFunction> {
    let player = match policy {
        "random" => None,
        "omniscient_seeker" => Some(Scripted::OmniscientSeeker),
        "proxy_seeker" => Some(Scripted::ProxySeeker),
        _ => return Err(anyhow!("the statistics are of {policy}, which is no player")),
    };
    let scalar = |dtype| Int::placeholder(dtype, []);
    let input = (Int::placeholder(DType::U32, [2]), Bool::placeholder(DType::Bool, []), scalar(DType::I32));
    HostFunction::new(backend, "lives", &input, |(words, relocate, steps)| {
        let world = Goodharts::default();
        let params = super::Params {
            max_steps: int(i32::MAX),
            regenerate_grid_on_done: boolean(false),
            relocate,
            ..world.default_params()
        };
        let (env, params) = (boxed(world), Leaves::of(&params));
        let [first, key] = Key::from_words(words).split();
        let state = vector::reset(&*env, &params, first.split_last(envs));
        let words = key.into_words();
        let zeros = || Float::full([envs], 0.0);
        let nothing =
            Lived { food: zeros(), poison: zeros(), deaths: zeros(), lives: zeros(), efficiency: zeros() };
        let life = Life { food: zeros(), poison: zeros(), steps: zeros() };
        let (_, _, lived, life) = while_loop(
            (int(0), state, nothing, life),
            |(step, ..)| step.lt(steps),
            |(step, state, lived, life)| {
                let [action_key, step_key] = Key::from_words(words).fold_in(step).split();
                let obs = vector::view(&*env, &params, &state).obs.numbers();
                let action = vmap((obs, action_key.split_many(envs)), |(obs, key)| act(player, obs, key));
                let stepped = vector::step(&*env, &params, step_key.split_last(envs), state, action, None);
                let place = |name: &str| {
                    let named = |metric: &crate::envs::Metric| metric.name == name;
                    env.spec().metrics.iter().position(named).expect("the environment has this metric")
                };
                let [food, poison] =
                    ["stats/food_eaten", "stats/poison_eaten"].map(|name| stepped.metrics[place(name)]);
                let life =
                    Life { food: life.food + food, poison: life.poison + poison, steps: life.steps + 1.0 };
                let died = stepped.done;
                let lived = Lived {
                    food: lived.food + food,
                    poison: lived.poison + poison,
                    deaths: lived.deaths + died.as_f32(),
                    lives: lived.lives + died.as_f32(),
                    efficiency: lived.efficiency + select(died, life.efficiency(), 0.0),
                };
                let of_next = |x: Float| select(died, 0.0, x);
                let life = Life {
                    food: of_next(life.food),
                    poison: of_next(life.poison),
                    steps: of_next(life.steps),
                };
                (step + 1, stepped.state, lived, life)
            },
        );
        let goes_on = life.steps.gt(0.0);
        Lived {
            lives: lived.lives + goes_on.as_f32(),
            efficiency: lived.efficiency + select(goes_on, life.efficiency(), 0.0),
            ..lived
        }
    })
}

/// What a player does where it sees `obs`; without one, anything.
fn act(player: Option<Scripted>, obs: Float, key: Key) -> Int {
    let allowed = player.map(|player| {
        let channels = obs.reshape([2, VIEW * VIEW]);
        player.weights(channels.index(0, 0), channels.index(0, 1)).gt(0.0)
    });
    random_action(key, allowed, layout().actions.len())
}

/// What happened in each world, on the host.
struct Worlds {
    steps: f64,
    food: Vec<f64>,
    poison: Vec<f64>,
    deaths: Vec<f64>,
    lives: Vec<f64>,
    efficiency: Vec<f64>,
}

impl Worlds {
    fn live(program: &HostFunction, run: &Known) -> Result<Worlds> {
        let relocate = match run.done_agent.as_str() {
            "stays" => false,
            "relocated" => true,
            other => return Err(anyhow!("the statistics say that a done agent {other}")),
        };
        let words = HostArray::new(&[2], vec![0, SEED]);
        let inputs = [words, HostArray::scalar(relocate), HostArray::scalar(run.steps)];
        let mut found = program.call(&inputs).context("the lives of the players")?;
        let mut take = |name: &str| found.take(name).to_f64();
        let [food, poison, deaths, lives, efficiency] =
            ["food", "poison", "deaths", "lives", "efficiency"].map(&mut take);
        Ok(Worlds { steps: f64::from(run.steps), food, poison, deaths, lives, efficiency })
    }

    /// The ratio of the sums of two numbers over the worlds, and its standard error.
    fn ratio(&self, above: impl Fn(usize) -> f64, below: impl Fn(usize) -> f64) -> [f64; 2] {
        let worlds = || 0..self.food.len();
        let (count, total) = (self.food.len() as f64, worlds().map(&below).sum::<f64>());
        let ratio = worlds().map(&above).sum::<f64>() / total;
        let residuals = worlds().map(|world| (above(world) - ratio * below(world)).powi(2)).sum::<f64>();
        [ratio, (residuals * count / (count - 1.0).max(1.0)).sqrt() / total]
    }
}

impl Known {
    fn compare(&self, worlds: &Worlds) -> Vec<String> {
        let Worlds { steps, food, poison, deaths, lives, efficiency } = worlds;
        let per_1k = |number: &dyn Fn(usize) -> f64| worlds.ratio(|i| 1000.0 * number(i), |_| *steps);
        let found = [
            ("energy_per_1k", self.energy_per_1k, per_1k(&|i| food[i] - 2.0 * poison[i] - 0.01 * steps)),
            ("food_per_1k", self.food_per_1k, per_1k(&|i| food[i])),
            ("poison_per_1k", self.poison_per_1k, per_1k(&|i| poison[i])),
            ("deaths_per_1k", self.deaths_per_1k, per_1k(&|i| deaths[i])),
            ("survival", self.survival, worlds.ratio(|_| *steps, |i| lives[i])),
            ("efficiency_per_life", self.efficiency_per_life, worlds.ratio(|i| efficiency[i], |i| lives[i])),
            (
                "efficiency_aggregate",
                self.efficiency_aggregate,
                worlds.ratio(|i| food[i], |i| food[i] + poison[i]),
            ),
        ];
        let differs = |(name, [expected, error], [found, own]): (&str, [f64; 2], [f64; 2])| {
            let most = TOLERANCE * error.hypot(own);
            let agrees = (found - expected).abs() <= most; // not so for a NaN
            (!agrees).then(|| format!("{name}: expected {expected} within {most:.4}, got {found:.4}"))
        };
        found.into_iter().filter_map(differs).collect()
    }
}
