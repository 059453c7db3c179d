//! From a configuration to a compiled learner.

use std::rc::Rc;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use toml::Table;

use crate::algorithms::learner::{Start, Timing};
use crate::algorithms::recording::Record;
use crate::algorithms::{self, Agent, Group, Learner};
use crate::config::Config;
use crate::envs::{AnyEnv, Entry};
use crate::runtime::{Client, plugin::PluginFile};
use crate::trainer::{ENV_SET, Stage, status};

use super::team::Team;

/// The most updates in one chunk of training. Chunks aim at about a second, so this only bounds the table of metrics.
pub const MAX_UPDATES: usize = 1024;

/// The same where what each step comes to is recorded, too.
const MAX_RECORDED_UPDATES: usize = 64;

/// The same where single episodes are recorded: their table has a place for each step of each environment.
const MAX_UPDATES_WITH_EPISODES: usize = 4;

/// What people read while XLA works.
pub const COMPILING: &str = "compiling with XLA; the next time it is loaded from the cache";

/// What to compile, beside the settings of the algorithm.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The program that plays what is learned.
    pub program: &'static str,
    pub env: &'a Entry,
    /// What is chosen of it, in words.
    pub env_set: &'a [String],
    pub algorithm: &'a algorithms::Entry,
    pub seed: u64,
    pub total_updates: u64,
    pub max_updates: usize,
    /// Those of all processes.
    pub devices: usize,
    /// The processes that train together, if there are several.
    pub team: Option<&'a Team>,
    pub deterministic: bool,
    pub plugin: &'a PluginFile,
    /// Whether programs may call native kernels.
    pub kernels: bool,
    /// Whether programs may have clusters.
    pub clusters: bool,
    pub record: Record,
    /// Through which people hear what takes long.
    pub stage: &'a Stage,
}

impl<'a> Plan<'a> {
    /// What a configuration asks for, in an environment that was chosen as it says.
    ///
    /// # Errors
    /// A [`UsageError`](crate::config::UsageError): too many updates.
    pub fn of(
        program: &'static str,
        env: &'a Entry,
        config: &'a Config,
        plugin: &'a PluginFile,
        stage: &'a Stage,
    ) -> Result<Plan<'a>> {
        Ok(Plan {
            program,
            env,
            env_set: &config.run.env_set,
            algorithm: &config.algorithm,
            seed: config.run.seed,
            total_updates: config.num_updates(env)?,
            max_updates: MAX_UPDATES,
            devices: config.devices(),
            team: None,
            deterministic: config.run.deterministic,
            plugin,
            kernels: !config.run.no_kernels,
            clusters: !config.run.no_clusters,
            record: Record { steps: config.run.window_steps.is_some(), episodes: None },
            stage,
        })
    }

    /// How a learner of this plan starts.
    fn start(&self) -> Start {
        let &Plan { seed, total_updates, max_updates, devices: num_devices, record, .. } = self;
        let most = match record {
            Record { episodes: Some(_), .. } => MAX_UPDATES_WITH_EPISODES,
            Record { steps: true, .. } => MAX_RECORDED_UPDATES,
            Record { steps: false, .. } => max_updates,
        };
        Start { seed, total_updates, max_updates: max_updates.min(most), num_devices, record }
    }

    fn client(&self) -> Result<Client> {
        let processes = self.team.map_or(1, |team| team.place().size);
        let devices = self.devices / processes;
        let client = match self.team {
            Some(team) => Client::open_together(self.plugin, devices, team.world(), team.store())?,
            None => Client::open(self.plugin, devices)?,
        };
        let client = client.observed(self.stage.changer(COMPILING));
        self.stage.change(&format!("tracing the training in {}", self.env.name));
        Ok(client.deterministic(self.deterministic).with_kernels(self.kernels).with_clusters(self.clusters))
    }

    fn facts(&self, client: &Client, timing: Option<Timing>) -> Result<Facts> {
        let timing = timing.context("a learner that was compiled knows what it took")?;
        let facts = [
            (status::PROGRAM, json!(self.program)),
            ("platform", json!(client.platform())),
            ("device_kind", json!(client.device_kind())),
            ("devices", json!(self.devices)),
            ("plugin", json!(client.platform_version())),
            ("kernels", json!(client.target().kernels)),
            ("clusters", json!(client.target().clusters)),
            ("trace_seconds", json!(timing.trace_seconds)),
            ("compile_seconds", json!(timing.compile_seconds)),
            ("cache", json!(if timing.cached { "hit" } else { "miss" })),
        ];
        let processes = self.team.map(|team| ("processes", json!(team.place().size)));
        let options = (!self.env_set.is_empty()).then(|| (ENV_SET, json!(self.env_set.join(","))));
        Ok(facts
            .into_iter()
            .chain(processes)
            .chain(options)
            .map(|(key, value)| (key.to_owned(), value))
            .collect())
    }
}

/// What `meta.json` says of the device and the programs, by name.
pub type Facts = Vec<(String, Value)>;

/// The compiled learner.
pub fn build(agent: &Agent, plan: &Plan) -> Result<(Box<dyn Learner>, Facts)> {
    let client = plan.client()?;
    let learner = (plan.algorithm.build)(&client, agent, &plan.start())?;
    let facts = plan.facts(&client, learner.timing())?;
    Ok((learner, facts))
}

/// Floating-point operations of the products in one update of such an agent, on all devices together.
///
/// # Errors
/// As [`build`], before anything is compiled.
pub fn update_flops(agent: &Agent, plan: &Plan) -> Result<u64> {
    (plan.algorithm.update_flops)(agent, &plan.start(), plan.plugin.kind)
}

/// The compiled group of learners. The seed of the plan has no meaning.
pub fn build_group(agents: &[Agent], plan: &Plan) -> Result<(Box<dyn Group>, Facts)> {
    let client = plan.client()?;
    let group = (plan.algorithm.build_group)(&client, agents, &plan.start())?;
    let mut facts = plan.facts(&client, group.timing())?;
    facts.push(("num_seeds".into(), json!(agents.len())));
    Ok((group, facts))
}

impl Plan<'_> {
    /// The plan for those of its devices that are this process's own, which has nothing to do with the others.
    pub fn alone(&self) -> Self {
        let processes = self.team.map_or(1, |team| team.place().size);
        Plan { team: None, devices: self.devices / processes, ..*self }
    }

    /// So many agents that differ in their seeds alone, the first with that of the plan.
    pub fn agents(&self, settings: &Table, count: usize) -> Vec<Agent> {
        let env: Rc<dyn AnyEnv> = Rc::from(self.env.build());
        let agent = |seed| Agent::new(settings.clone(), env.clone(), seed);
        (self.seed..).take(count).map(agent).collect()
    }
}
