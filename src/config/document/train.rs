//! The training of a document: how long, against whom, and what happens on the way.

use anyhow::{Result, anyhow, bail, ensure};
use toml::{Table, Value};

use super::Game;
use super::agent::Agent;
use super::section::{Section, one_of, unknown};

/// The most steps of each environment in an update. The host hears of a run between updates, and a step may take tens of milliseconds.
const MOST_STEPS: u64 = 25;
/// Steps after which the status is written.
const STATUS_STEPS: u64 = 100;
/// About so many rows of metrics a run logs at most, if nobody says how many.
const MOST_ROWS: u64 = 2000;
/// Frozen agents that a device holds where a document sets no limit.
const FROZEN: u64 = 10;

/// The settings of a run: those of the trainer, and all those of the algorithm.
pub fn read(
    mut train: Section,
    game: &Game,
    agent: &Agent,
    seed: Option<u64>,
    notes: &mut Vec<String>,
) -> Result<Table> {
    let total = train.whole("total_steps", 1)?.unwrap_or(10_000);
    let num_envs = train.whole("num_envs", 1)?.unwrap_or(1);
    ensure!(
        total.is_multiple_of(num_envs),
        "train.total_steps is {total}; it must be a multiple of train.num_envs = {num_envs}"
    );
    let mut settings = Settings { agent, values: agent.settings.clone() };
    settings.only_if(train.flag("deterministic", false)?, "train.deterministic", "greedy")?;
    settings.only_if(train.flag("apply_augmentation", false)?, "train.apply_augmentation", "augment")?;
    let track_timings = train.flag("track_timings", false)?;
    if let Some(policy) = train.text("start_policy")? {
        one_of("train.start_policy", &policy, &["random", "agent_first", "opponent_first"])?;
        settings.set("start_policy", policy);
    }
    if let Some(opening) = train.optional("random_opening")? {
        settings.opening(opening)?;
    }
    let sampler = train.optional("opponent_sampler")?;
    let callbacks = Callbacks::read(train.list("callbacks")?, agent, notes)?;
    settings.sampler(sampler, game, seed, notes)?;
    train.end()?;

    settings.schedules(&callbacks)?;
    settings.set("num_envs", num_envs as i64);
    let whole = [Some(total), Some(callbacks.checkpoint.interval), callbacks.metrics.as_ref().map(|m| m.0)];
    let num_steps = steps_per_update(whole.into_iter().flatten(), num_envs);
    settings.set("num_steps", num_steps as i64);
    settings.set("freeze_every", callbacks.checkpoint.interval as i64);

    let per_update = num_steps * num_envs;
    let log_steps =
        callbacks.metrics.as_ref().map_or(STATUS_STEPS.max(total / MOST_ROWS), |metrics| metrics.0);
    let mut values = settings.values;
    let mut run = |key: &str, value: Value| values.insert(key.to_owned(), value);
    run("total_timesteps", Value::try_from(total)?);
    run("log_interval", Value::try_from(log_steps.div_ceil(per_update))?);
    run("save_steps", Value::try_from(callbacks.checkpoint.interval)?);
    run("checkpoint_prefix", callbacks.checkpoint.prefix.into());
    run("status_steps", Value::try_from(STATUS_STEPS)?);
    run("track_timings", track_timings.into());
    if let Some((_, name)) = callbacks.metrics {
        run("metrics_file", name.into());
    }
    Ok(values)
}

/// Steps of each environment in an update: as many as divide all numbers of steps at which something is to happen, as far as the
/// environments divide these.
fn steps_per_update(whole: impl Iterator<Item = u64>, num_envs: u64) -> u64 {
    let common =
        whole.filter(|steps| steps.is_multiple_of(num_envs)).map(|steps| steps / num_envs).fold(0, gcd);
    (1..=MOST_STEPS.min(common)).rev().find(|steps| common.is_multiple_of(*steps)).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Settings of an algorithm while they come together.
struct Settings<'a> {
    agent: &'a Agent,
    values: Table,
}

impl Settings<'_> {
    /// Says a setting, if the algorithm has it.
    fn set(&mut self, setting: &str, value: impl Into<Value>) {
        if self.agent.has(setting) {
            self.values.insert(setting.to_owned(), value.into());
        }
    }

    /// Turns a switch on that the algorithm must have then.
    fn only_if(&mut self, wanted: bool, path: &str, setting: &str) -> Result<()> {
        let name = self.agent.algorithm.name;
        ensure!(!wanted || self.agent.has(setting), "{path} is true, which {name} cannot do");
        self.set(setting, wanted);
        Ok(())
    }

    fn opening(&mut self, mut opening: Section) -> Result<()> {
        let share = opening.number("probability")?.unwrap_or(0.5);
        let path = opening.path("probability");
        ensure!((0.0..=1.0).contains(&share), "{path} is {share}; it must be from 0 to 1");
        let least = opening.whole("min_half_moves", 0)?.unwrap_or(1);
        let most = opening.whole("max_half_moves", 1)?.unwrap_or(6.max(least));
        opening.end()?;
        ensure!(
            least <= most,
            "train.random_opening.min_half_moves is {least}; it must be at most max_half_moves = {most}"
        );
        self.set("opening_share", share);
        self.set("opening_min", least as i64);
        self.set("opening_max", most as i64);
        Ok(())
    }

    /// The opponents.
    fn sampler(
        &mut self,
        sampler: Option<Section>,
        game: &Game,
        seed: Option<u64>,
        notes: &mut Vec<String>,
    ) -> Result<()> {
        let for_two = game.env.spec().players > 1;
        let Some(mut sampler) = sampler else {
            ensure!(!for_two, "train.opponent_sampler is required");
            return Ok(());
        };
        let kind = sampler.text("type")?.unwrap_or_else(|| "random".to_owned());
        let mut params = sampler.section("params")?;
        match kind.as_str() {
            "random" => {
                if params.whole("seed", 0)?.is_some() {
                    notes.push(format!(
                        "{} has no effect: opponents follow the seed of the run",
                        params.path("seed")
                    ));
                }
            }
            "pool" => {
                ensure!(seed.is_some(), "opponent_sampler type 'pool' requires config seed.");
                self.pool(&mut params)?;
            }
            other => bail!("Unknown opponent_sampler type: {other}"),
        }
        params.end()?;
        sampler.end()?;
        if for_two || kind == "pool" {
            self.set("opponent", kind);
        }
        Ok(())
    }

    fn pool(&mut self, params: &mut Section) -> Result<()> {
        let mut own = params.section("self_play")?;
        if let Some(episode) = own.whole("start_episode", 0)? {
            self.set("start_episode", episode as i64);
        }
        let mut shares = Vec::new();
        for key in ["current_self_fraction", "past_self_fraction"] {
            let (path, share) = (own.path(key), own.number(key)?.unwrap_or(0.3));
            ensure!((0.0..=1.0).contains(&share), "{path} is {share}; it must be from 0 to 1");
            self.set(key, share);
            shares.push(share);
        }
        ensure!(
            shares.iter().sum::<f64>() <= 1.0,
            "current_self_fraction + past_self_fraction is {}; it must be at most 1",
            shares.iter().sum::<f64>()
        );
        let frozen = own.whole("max_frozen_agents", 0)?.unwrap_or(FROZEN);
        self.set("max_frozen_agents", if frozen == 0 { FROZEN } else { frozen } as i64);
        own.whole("save_every", 0)?; // the checkpoints say when an agent is frozen
        own.end()?;
        let mut list = Vec::new();
        for (path, name, value) in params.section("heuristic_distribution")?.rest() {
            let share = value.as_f64().filter(|share| *share >= 0.0);
            let share =
                share.ok_or_else(|| anyhow!("{path} is {value}; it must be a number of 0 or above"))?;
            list.push(format!("{name}={share}"));
        }
        self.set("heuristic_distribution", list);
        Ok(())
    }

    /// What callbacks do to numbers on the way.
    fn schedules(&mut self, callbacks: &Callbacks) -> Result<()> {
        let decay = self.agent.number("epsilon_decay").unwrap_or(1.0);
        // Without the callback nothing is lowered; two of them lower it twice.
        self.set("epsilon_decay", decay.powi(callbacks.epsilon.len() as i32));
        if let Some(every) = callbacks.epsilon.first() {
            ensure!(
                callbacks.epsilon.iter().all(|other| other == every),
                "train.callbacks lower epsilon every step and every episode; leave one of them out"
            );
            self.set("epsilon_every", every.as_str());
        }
        self.set("lr_decay_interval", 0);
        if let Some(LrDecay { interval, factor, least }) = callbacks.lr {
            self.set("lr_decay_interval", interval as i64);
            self.set("lr_decay", factor);
            self.set("lr_min", least);
        }
        Ok(())
    }
}

struct Checkpoint {
    interval: u64,
    prefix: String,
}

#[derive(Clone, Copy)]
struct LrDecay {
    interval: u64,
    factor: f64,
    least: f64,
}

/// What happens on the way.
struct Callbacks {
    checkpoint: Checkpoint,
    /// After what each callback lowers the exploration.
    epsilon: Vec<String>,
    lr: Option<LrDecay>,
    /// Steps between two lines of a table, and its name.
    metrics: Option<(u64, String)>,
}

const KINDS: [&str; 4] = ["checkpoint", "epsilon_decay", "lr_decay", "metrics_file"];

impl Callbacks {
    fn read(list: Vec<Section>, agent: &Agent, notes: &mut Vec<String>) -> Result<Callbacks> {
        let (mut checkpoints, mut epsilon, mut lrs, mut tables) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for mut callback in list {
            let path = callback.path("type");
            let kind = callback.text("type")?.ok_or_else(|| anyhow!("{path} is required"))?.to_lowercase();
            let enabled = callback.flag("enabled", true)?;
            let params = callback.section("params")?;
            callback.end()?;
            // One that is switched off must be right, too.
            match kind.as_str() {
                "checkpoint" => checkpoints.extend(Some(checkpoint(params)?).filter(|_| enabled)),
                "epsilon_decay" => epsilon.extend(Some(epsilon_decay(params)?).filter(|_| enabled)),
                "lr_decay" => lrs.extend(Some(lr_decay(params)?).filter(|_| enabled)),
                "metrics_file" => tables.extend(Some(metrics_file(params)?).filter(|_| enabled)),
                _ => return Err(unknown(&format!("{path} {kind}"), &kind, &KINDS.map(str::to_owned))),
            }
        }
        ensure!(lrs.len() < 2, "train.callbacks have lr_decay {} times; one is enough", lrs.len());
        ensure!(tables.len() < 2, "train.callbacks have metrics_file {} times; one is enough", tables.len());
        let name = agent.algorithm.name;
        if !lrs.is_empty() && !agent.has("lr_decay_interval") {
            notes.push(format!("warning: lr_decay has no effect: {name} has no such schedule"));
        }
        let usual = Checkpoint { interval: 2000, prefix: "model".to_owned() };
        Ok(Callbacks {
            checkpoint: checkpoints.into_iter().next().unwrap_or(usual),
            epsilon,
            lr: lrs.pop(),
            metrics: tables.pop(),
        })
    }
}

fn checkpoint(mut params: Section) -> Result<Checkpoint> {
    let interval = params.whole("interval", 1)?.unwrap_or(2000);
    let prefix = params.text("prefix")?.unwrap_or_else(|| "model".to_owned());
    params.end()?;
    Ok(Checkpoint { interval, prefix })
}

fn epsilon_decay(mut params: Section) -> Result<String> {
    let (path, every) = (params.path("every"), params.text("every")?.unwrap_or_else(|| "step".to_owned()));
    one_of(&path, &every, &["step", "episode"])?;
    params.end()?;
    Ok(every)
}

fn lr_decay(mut params: Section) -> Result<LrDecay> {
    let interval = params.whole("interval_steps", 1)?.unwrap_or(1000);
    let (path, factor) = (params.path("decay_factor"), params.number("decay_factor")?.unwrap_or(0.5));
    ensure!(factor > 0.0 && factor <= 1.0, "{path} is {factor}; it must be above 0 and at most 1");
    let (path, least) = (params.path("min_lr"), params.number("min_lr")?.unwrap_or(0.0));
    ensure!(least >= 0.0, "{path} is {least}; it must be 0 or above");
    // There is one optimizer, and its learning rate has one name.
    params.text("optimizer_attr")?;
    params.text("metric_key")?;
    params.end()?;
    Ok(LrDecay { interval, factor, least })
}

fn metrics_file(mut params: Section) -> Result<(u64, String)> {
    let interval = params.whole("interval", 1)?.unwrap_or(100);
    let name = params.text("filename")?.unwrap_or_else(|| "metrics.csv".to_owned());
    params.end()?;
    Ok((interval, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_ends_where_something_is_to_happen() {
        let steps = |whole: &[u64], num_envs| steps_per_update(whole.iter().copied(), num_envs);
        assert_eq!(steps(&[500, 200], 1), 25);
        assert_eq!(steps(&[500, 200], 4), 25);
        assert_eq!(steps(&[503, 200], 1), 1);
        assert_eq!(steps(&[640, 200], 64), 10, "200 is no multiple of 64");
        assert_eq!(steps(&[7], 1), 7);
    }
}
